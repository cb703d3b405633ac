"""Odd files of any format: names, links, encodings, compression, and other types of files."""

from __future__ import annotations

import gzip
import os
import socket
import zlib
from pathlib import Path

from odd import AGAIN, GOOD, GZ, RANDOM, A, Odd, Promised, error, invalid, read, unsupported, zstd


def loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def link(path: Path) -> None:
    path.with_name("target").write_bytes(GOOD)
    path.symlink_to("target")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the absolute path is too long for a socket


def nothing(path: Path) -> None:
    pass


ODD_FILES: dict[str, Odd] = {
    "empty file": Odd(b"", error(None, "the file is empty")),
    "empty gz": Odd(gzip.compress(b""), error(None, "the file is empty")),
    "empty zstd": Odd(zstd(b""), error(None, "the file is empty")),
    "blank lines alone": Odd(b"\n\n \n", error(None, "no '>' header in the file")),
    "a byte order mark alone": Odd(b"\xef\xbb\xbf", error(None, "no '>' header in the file")),
    "no such file": Odd(nothing, error(None, "no such file")),
    "a folder": Odd(Path.mkdir, error(None, "this is a folder, not a file")),
    "links that lead to each other": Odd(loop, error(None, "symbolic links form a loop")),
    "a link to nothing": Odd(
        lambda path: path.symlink_to("gone"), error(None, "broken symbolic link")
    ),
    "a link to itself": Odd(
        lambda path: path.symlink_to(path), error(None, "symbolic links form a loop")
    ),
    "a link": Odd(link, A),
    "a socket": Odd(listen, error(None, "this is a device, not a file")),
    "a device": Odd(
        lambda path: path.symlink_to("/dev/null"), error(None, "this is a device, not a file")
    ),
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
    "a quote in the name": Odd(b">a\nAC!T\n", error(2, invalid("character '!'")), name="it's.fa"),
    "no ending in the name": Odd(GOOD, A, name="sequences"),
    "gz that is called plain": Odd(gzip.compress(GOOD), A, name="odd.fa"),
    "plain that is called gz": Odd(GOOD, A, name="odd.fa.gz"),
    "FASTA that is called a table": Odd(GOOD, A, name="odd.csv"),
    "FASTA that is called FASTQ": Odd(GOOD, A, name="odd.fastq"),
    "binary": Odd(b">a\nACGT\x00\x01", error(None, "binary data (expected text or Parquet)")),
    "NULs": Odd(b"\x00" * 100, error(None, "binary data (expected text or Parquet)")),
    "gz in gz": Odd(gzip.compress(GZ), error(None, "binary data (expected text or Parquet)")),
    "UTF-16": Odd(
        ">a\nACGT".encode("utf-16"),
        error(None, "the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)"),
    ),
    "UTF-16, the other way": Odd(
        b"\xfe\xff" + ">a\nACGT".encode("utf-16-be"),
        error(None, "the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)"),
    ),
    "UTF-16 without a mark": Odd(
        ">a\nACGT".encode("utf-16-le"), error(None, "binary data (expected text or Parquet)")
    ),
    "an Excel sheet": Odd(
        b"PK\x03\x04" + bytes(50),
        unsupported("zip archive or Excel sheet", ". Save the sheet as CSV UTF-8"),
    ),
    "an old Excel sheet": Odd(
        b"\xd0\xcf\x11\xe0" + bytes(50), unsupported("Excel sheet", ". Save the sheet as CSV UTF-8")
    ),
    "BAM": Odd(
        gzip.compress(b"BAM\x01" + bytes(50)),
        unsupported("BAM or CRAM alignments", ". Convert it, e.g. samtools fasta reads.bam"),
    ),
    "SAM": Odd(
        b"@HD\tVN:1.6\n@SQ\tSN:c\tLN:9\n",
        unsupported("SAM alignments", ". Convert it, e.g. samtools fasta reads.sam"),
    ),
    "bzip2": Odd(b"BZh91AY&SY", unsupported("bzip2", ". Compress it as gz or zstd, or unpack it")),
    "xz": Odd(b"\xfd7zXZ\x00\x00", unsupported("xz", ". Compress it as gz or zstd, or unpack it")),
    "a web page": Odd(
        b"<!DOCTYPE html>\n<html>404", unsupported("web page or XML", ". Download the file itself")
    ),
    "VCF": Odd(b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", unsupported("VCF variants")),
    "gz": Odd(gzip.compress(GOOD), A),
    "bgzip": Odd(gzip.compress(b">a\nAC") + gzip.compress(b"GT\n") + gzip.compress(b""), A),
    "gz of many members": Odd(b"".join(gzip.compress(bytes([byte])) for byte in GOOD), A),
    "gz, then zeros": Odd(gzip.compress(GOOD) + bytes(512), A),
    "gz, then something else": Odd(
        gzip.compress(GOOD) + b"ACGT", error(None, "damaged gz file: <...>" + AGAIN)
    ),
    "gz of a mebibyte and more": Odd(
        gzip.compress(b">a\n" + b"ACGT" * 600_000), [("a", "ACGT" * 600_000)]
    ),
    "truncated gz": Odd(GZ[: len(GZ) // 2], error(None, "gz file is truncated" + AGAIN)),
    "gz without its last byte": Odd(GZ[:-1], error(None, "gz file is truncated" + AGAIN)),
    "the header of a gz alone": Odd(GZ[:10], error(None, "gz file is truncated" + AGAIN)),
    "two bytes of a gz": Odd(GZ[:2], error(None, "gz file is truncated" + AGAIN)),
    "truncated second member": Odd(
        GZ + gzip.compress(RANDOM)[:60], error(None, "gz file is truncated" + AGAIN)
    ),
    "gz with another sum": Odd(
        GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:], error(None, "damaged gz file: <...>" + AGAIN)
    ),
    "gz with another length": Odd(GZ[:-1] + b"\x01", error(None, "damaged gz file: <...>" + AGAIN)),
    "gz of another method": Odd(
        b"\x1f\x8b\x07" + GZ[3:], error(None, "damaged gz file: <...>" + AGAIN)
    ),
    "zlib that is no gz": Odd(
        zlib.compress(GOOD * 100, 9), error(None, "binary data (expected text or Parquet)")
    ),
    "zstd": Odd(zstd(GOOD), A),
    "zstd of two frames": Odd(zstd(b">a\nAC") + zstd(b"GT\n"), A),
    "truncated zstd": Odd(zstd(GZ)[:-2], error(None, "zstd file is truncated" + AGAIN)),
    "four bytes of a zstd": Odd(b"\x28\xb5\x2f\xfd", error(None, "zstd file is truncated" + AGAIN)),
    "zstd, then something else": Odd(
        zstd(GOOD) + b"garbage.", error(None, "damaged zstd file: <...>" + AGAIN)
    ),
    "damaged zstd": Odd(
        b"\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff\xff\xff",
        error(None, "damaged zstd file: <...>" + AGAIN),
    ),
}
