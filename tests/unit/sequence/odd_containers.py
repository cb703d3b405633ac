"""Odd files of any format: names, links, encodings, compression, and other types of files."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path

from odd import GOOD, GZ, A, Odd, cases, read, zstd

LOOP, DEVICE = "symbolic links form a loop", "this is a device, not a file"
AGAIN = ". Download or copy it again"
CUT, DAMAGED = "gz file is truncated" + AGAIN, "damaged gz file: <...>" + AGAIN
CUT_ZSTD, DAMAGED_ZSTD = "zstd file is truncated" + AGAIN, "damaged zstd file: <...>" + AGAIN
CONVERT = ". Convert it, e.g. samtools fasta reads.<...>am"


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


PATHS = {
    "no such file": Odd(nothing, "no such file"),
    "a folder": Odd(Path.mkdir, "this is a folder, not a file"),
    "links that lead to each other": Odd(loop, LOOP),
    "a link to nothing": Odd(lambda path: path.symlink_to("gone"), "broken symbolic link"),
    "a link": Odd(link, A),
    "a socket": Odd(listen, DEVICE),
    "a device": Odd(lambda path: path.symlink_to("/dev/null"), DEVICE),
    "a name that is too long": Odd(
        nothing,
        "{folder}/" + "x" * 300 + ": cannot open the file: File name too long",
        lambda path: read(path.with_name("x" * 300)),
    ),
    "blanks and other letters in the name": Odd(GOOD, A, name="my séquences é 序列 (1).fa"),
    "no ending in the name": Odd(GOOD, A, name="sequences"),
    "plain that is called gz": Odd(GOOD, A, name="odd.fa.gz"),
    "FASTA that is called FASTQ": Odd(GOOD, A, name="odd.fastq"),
}
CONTENTS = r"""
[any]
\n\n \n => no '>' header in the file
\ufeff => no '>' header in the file
>a\nACGT\0\x01 => binary data (expected text or Parquet)
\0\0\0\0 => binary data (expected text or Parquet)
\udcff\udcfe>\0 => the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)
\udcfe\udcff\0> => the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)
BZh91AY&SY => unsupported file type: bzip2 (expected FASTA, FASTQ, GenBank, EMBL, CSV, TSV or
    Parquet). Compress it as gz or zstd, or unpack it
\udcfd7zXZ\0\0 => unsupported file type: xz (<...>). Compress it as gz or zstd, or unpack it
PK\x03\x04\0 => unsupported file type: zip archive or Excel sheet (<...>). Save the sheet as
    CSV UTF-8
\udcd0\udccf\x11\udce0\0 => unsupported file type: Excel sheet (<...>). Save the sheet as CSV UTF-8
@HD\tVN:1.6\n@SQ\tSN:c\tLN:9\n => unsupported file type: SAM alignments (<...>). Convert it, e.g.
    samtools fasta reads.<...>am
<!DOCTYPE html>\n<html>404 => unsupported file type: web page or XML (<...>). Download the file
    itself
##fileformat=VCFv4.2\n#CHROM\tPOS\n => unsupported file type: VCF variants (<...>)
"""
PACKED = {
    "empty": Odd(b"", "the file is empty"),
    "empty gz": Odd(gzip.compress(b""), "the file is empty"),
    "empty zstd": Odd(zstd(b""), "the file is empty"),
    "BAM": Odd(gzip.compress(b"BAM\1"), "unsupported file type: BAM or CRAM <...>" + CONVERT),
    "gz in gz": Odd(gzip.compress(GZ), "binary data <...>"),
    "gz that is called plain": Odd(gzip.compress(GOOD), A),
    "bgzip": Odd(gzip.compress(b">a\nAC") + gzip.compress(b"GT\n") + gzip.compress(b""), A),
    "gz of many members": Odd(b"".join(gzip.compress(bytes([byte])) for byte in GOOD), A),
    "gz, then zeros": Odd(gzip.compress(GOOD) + bytes(512), A),
    "gz, then something else": Odd(gzip.compress(GOOD) + b"ACGT", DAMAGED),
    "gz of a mebibyte": Odd(gzip.compress(b">a\n" + b"ACGT" * 600_000), {"a": "ACGT" * 600_000}),
    "truncated gz": Odd(GZ[: len(GZ) // 2], CUT),
    "gz without its last byte": Odd(GZ[:-1], CUT),
    "the header of a gz alone": Odd(GZ[:10], CUT),
    "gz with another sum": Odd(GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:], DAMAGED),
    "gz of another method": Odd(b"\x1f\x8b\x07" + GZ[3:], DAMAGED),
    "zstd": Odd(zstd(GOOD), A),
    "zstd of two frames": Odd(zstd(b">a\nAC") + zstd(b"GT\n"), A),
    "truncated zstd": Odd(zstd(GZ)[:-2], CUT_ZSTD),
    "four bytes of a zstd": Odd(b"\x28\xb5\x2f\xfd", CUT_ZSTD),
    "zstd, then something else": Odd(zstd(GOOD) + b"garbage.", DAMAGED_ZSTD),
    "damaged zstd": Odd(b"\x28\xb5\x2f\xfd\x00\x58\xff\xff\xff\xff\xff", DAMAGED_ZSTD),
}
ODD_FILES = [*PATHS.items(), *cases(CONTENTS, {"any": (read,)}), *PACKED.items()]
