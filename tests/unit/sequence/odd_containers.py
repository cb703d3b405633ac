"""Odd files of any format: names, links, encodings, compression, and other types of files."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path

from odd import AGAIN, GOOD, GZ, A, Odd, Promised, bad, read, unsupported, zstd

NO_HEADER = "no '>' header in the file"
LOOP, DEVICE = "symbolic links form a loop", "this is a device, not a file"
BINARY = "binary data (expected text or Parquet)"
UTF_16 = "the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)"
CUT, DAMAGED = "gz file is truncated" + AGAIN, "damaged gz file: <...>" + AGAIN
CUT_ZSTD, DAMAGED_ZSTD = "zstd file is truncated" + AGAIN, "damaged zstd file: <...>" + AGAIN
READS = ". Convert it, e.g. samtools fasta reads.<...>am"
UNPACK, SHEET = ". Compress it as gz or zstd, or unpack it", ". Save the sheet as CSV UTF-8"


def loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def link(path: Path) -> None:
    path.with_name("target").write_bytes(GOOD)
    path.symlink_to("target")


def link_to(target: str) -> object:
    return lambda path: path.symlink_to(target)


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the absolute path is too long for a socket


def nothing(path: Path) -> None:
    pass


ODD_FILES: dict[str, Odd] = {
    "empty file": bad(b"", 0, "the file is empty"),
    "empty gz": bad(gzip.compress(b""), 0, "the file is empty"),
    "empty zstd": bad(zstd(b""), 0, "the file is empty"),
    "blank lines alone": bad(b"\n\n \n", 0, NO_HEADER),
    "a byte order mark alone": bad(b"\xef\xbb\xbf", 0, NO_HEADER),
    "no such file": bad(nothing, 0, "no such file"),
    "a folder": bad(Path.mkdir, 0, "this is a folder, not a file"),
    "links that lead to each other": bad(loop, 0, LOOP),
    "a link to nothing": bad(link_to("gone"), 0, "broken symbolic link"),
    "a link": Odd(link, A),
    "a socket": bad(listen, 0, DEVICE),
    "a device": bad(link_to("/dev/null"), 0, DEVICE),
    "a file in a file": Odd(
        GOOD,
        Promised("{path}/b.fa: cannot open the file: Not a directory"),
        lambda path: read(path / "b.fa"),
    ),
    "a name that is too long": Odd(
        nothing,
        Promised("{folder}/" + "x" * 300 + ": cannot open the file: File name too long"),
        lambda path: read(path.with_name("x" * 300)),
    ),
    "blanks and other letters in the name": Odd(GOOD, A, name="my séquences é 序列 (1).fa"),
    "no ending in the name": Odd(GOOD, A, name="sequences"),
    "gz that is called plain": Odd(gzip.compress(GOOD), A),
    "plain that is called gz": Odd(GOOD, A, name="odd.fa.gz"),
    "FASTA that is called FASTQ": Odd(GOOD, A, name="odd.fastq"),
    "binary": bad(b">a\nACGT\x00\x01", 0, BINARY),
    "NULs": bad(b"\x00" * 100, 0, BINARY),
    "gz in gz": bad(gzip.compress(GZ), 0, BINARY),
    "UTF-16": bad(">a\nACGT".encode("utf-16"), 0, UTF_16),
    "UTF-16, the other way": bad(b"\xfe\xff" + ">a\nACGT".encode("utf-16-be"), 0, UTF_16),
    "an Excel sheet": unsupported(b"PK\x03\x04" + bytes(50), "zip archive or Excel sheet", SHEET),
    "an old Excel sheet": unsupported(b"\xd0\xcf\x11\xe0" + bytes(50), "Excel sheet", SHEET),
    "BAM": unsupported(gzip.compress(b"BAM\x01" + bytes(50)), "BAM or CRAM alignments", READS),
    "SAM": unsupported(b"@HD\tVN:1.6\n@SQ\tSN:c\tLN:9\n", "SAM alignments", READS),
    "bzip2": unsupported(b"BZh91AY&SY", "bzip2", UNPACK),
    "xz": unsupported(b"\xfd7zXZ\x00\x00", "xz", UNPACK),
    "HTML": unsupported(
        b"<!DOCTYPE html>\n<html>404", "web page or XML", ". Download the file itself"
    ),
    "VCF": unsupported(b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", "VCF variants"),
    "bgzip": Odd(gzip.compress(b">a\nAC") + gzip.compress(b"GT\n") + gzip.compress(b""), A),
    "gz of many members": Odd(b"".join(gzip.compress(bytes([byte])) for byte in GOOD), A),
    "gz, then zeros": Odd(gzip.compress(GOOD) + bytes(512), A),
    "gz, then something else": bad(gzip.compress(GOOD) + b"ACGT", 0, DAMAGED),
    "gz of a mebibyte": Odd(gzip.compress(b">a\n" + b"ACGT" * 600_000), [("a", "ACGT" * 600_000)]),
    "truncated gz": bad(GZ[: len(GZ) // 2], 0, CUT),
    "gz without its last byte": bad(GZ[:-1], 0, CUT),
    "the header of a gz alone": bad(GZ[:10], 0, CUT),
    "gz with another sum": bad(GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:], 0, DAMAGED),
    "gz of another method": bad(b"\x1f\x8b\x07" + GZ[3:], 0, DAMAGED),
    "zstd": Odd(zstd(GOOD), A),
    "zstd of two frames": Odd(zstd(b">a\nAC") + zstd(b"GT\n"), A),
    "truncated zstd": bad(zstd(GZ)[:-2], 0, CUT_ZSTD),
    "four bytes of a zstd": bad(b"\x28\xb5\x2f\xfd", 0, CUT_ZSTD),
    "zstd, then something else": bad(zstd(GOOD) + b"garbage.", 0, DAMAGED_ZSTD),
    "damaged zstd": bad(b"\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff\xff\xff", 0, DAMAGED_ZSTD),
}
