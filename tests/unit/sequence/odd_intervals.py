"""Odd BED, GFF, bedGraph, bigWig and genome files; see odd.py.

Interval files are read as windows of a genome with chr1 (120 bp) and chrM (40 bp).
"""

from __future__ import annotations

import gzip
import math
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyBigWig
import pysam
from odd import AGAIN, Odd, Promised

from selfattn_bio.sequence import windows
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import read_intervals
from selfattn_bio.sequence.tracks import read_track

CHR1, CHRM = "ACGTACGTAC" * 12, "GATTACAGAT" * 4
GENOME = f">chr1 of the tests\n{CHR1[:60]}\n{CHR1[60:]}\n>chrM\n{CHRM}\n"


def intervals(path: Path, feature: str = "") -> list[tuple[Any, ...]]:
    """Return the intervals of a file without missing values."""
    rows = read_intervals(path, feature)
    return [
        tuple(value for value in row[:7] if value not in (".", "", -1) and value == value)
        for row in rows.itertuples(index=False)
    ]


def genome_beside(path: Path) -> Genome:
    """Write the genome of these tests to the file's folder and open it."""
    genome = path.with_name("g.fa")
    genome.write_text(GENOME)
    return Genome(genome)


def cut(path: Path, width: int = 0, at_ends: windows.AtEnds = "drop") -> list[tuple[str, str]]:
    """Return ids and letters of the windows of an interval file."""
    with genome_beside(path) as genome:
        rows = windows.place(read_intervals(path), genome)
        rows = windows.centered(rows, width) if width else rows
        rows = windows.within(rows, genome, at_ends, Counter())
        records = [record for _, record in windows.cut(rows, genome)]
        return [(record.id, record.letters.tobytes().decode()) for record in records]


def values(path: Path) -> list[float | None]:
    """Return the first ten values of a track on chr1."""
    found = read_track(path).values("chr1", 0, 10).tolist()
    return [None if math.isnan(value) else value for value in found]


def genome(path: Path) -> dict[str, str]:
    """Return the letters of each chromosome, by name.

    The genome is opened twice, so that the index is created and then reused.
    """
    for _ in range(2):
        with Genome(path) as opened:
            found = {name: opened.fetch(name).tobytes().decode() for name in opened.names}
    return found


def row(read: Any, usual: str, content: Any, expected: Any, name: str = "", **options: Any) -> Odd:
    """Return a row of the table; an expected text is that of an error."""
    expected = Promised(expected) if isinstance(expected, str) else expected
    return Odd(content, expected, partial(read, **options), name or usual)


bed = partial(row, intervals, "odd.bed")
gff3 = partial(row, intervals, "odd.gff3")
peak = partial(row, intervals, "odd.narrowPeak")
of_genome = partial(row, cut, "odd.bed")
track = partial(row, values, "odd.bedGraph")
fasta = partial(row, genome, "odd.fa")


def gff(*lines: str, end: str = "\n") -> str:
    """Return GFF text from lines with columns separated by spaces."""
    return "".join("\t".join(line.split(" ", 8)) + end for line in lines)


def compressed(content: str, keep: int | None = None) -> Any:
    """Return a function that writes bgzip and keeps the first bytes."""

    def write(path: Path) -> None:
        with pysam.BGZFile(str(path), "wb") as handle:
            handle.write(content.encode())
        path.write_bytes(path.read_bytes()[:keep])

    return write


def stale(path: Path) -> None:
    """Write a genome that was replaced by another after it was indexed."""
    path.write_text(GENOME)
    with Genome(path):
        path.write_text(">chr7\nAC\nGT\n")
    os.utime(f"{path}.fai", (2e9, 2e9))


def older(path: Path) -> None:
    """Write a genome that is newer than its index."""
    path.write_text(GENOME)
    with Genome(path):
        path.write_text(GENOME.replace("GATTACA", "CATTACA"))
    os.utime(f"{path}.fai", (1, 1))


def bigwig(path: Path, keep: int | None = None) -> None:
    """Return a function that writes bigWig and keeps the first bytes."""
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([("chr1", 120)])
        track.addEntries(["chr1"], [2], ends=[5], values=[1.5])
    path.write_bytes(path.read_bytes()[:keep])


ENDINGS = (
    "unknown type of interval file (expected .bed, .narrowPeak, .broadPeak, .gff3, .gff or .gtf, "
    "also with .gz)"
)
BIGWIG = "{path}: damaged bigWig file: "


def not_whole(what: str, found: str, line: int = 1) -> str:
    return f"{{path}}:{line}: invalid {what} {found!r} (expected a whole number, 0 or more)"


def reversed_span(start: int, end: int, line: int = 1) -> str:
    return f"{{path}}:{line}: start is not before end in [{start}, {end}) (0-based half-open)"


def columns(count: int) -> str:
    expected = "expected 3 to 12, separated by tabs or spaces"
    return f"{{path}}:1: BED line has {count} columns ({expected})"


def gff_columns(count: int) -> str:
    return f"{{path}}:1: GFF line has {count} columns (expected 9, separated by tabs)"


ONE, TWO = [("chr1", 1, 2)], [("chr1", 1, 2), ("chr1", 3, 4)]
PEAK = "chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t"
GENE = gff("chr1 . gene 1 9 . + . ID=g")
THREE = GENE + gff("chr1 . exon 2 9 . + . ID=e", "chr1 . gene 3 9 . - . ID=h")
NO_INTERVALS = "{path}: no intervals in the file"
NO_STRAND = "{path}:1: invalid strand %r (expected +, - or .)"
NO_SCORE = "{path}:1: invalid score %r (expected a number or .)"
NO_VALUE = "{path}:1: invalid value %r (expected a finite number or nan)"
OFF = "interval [{}, 121) ends beyond chr1 of {{folder}}/g.fa (120 bp). Is it the same assembly?"
GENOME_LETTERS = {"chr1": CHR1, "chrM": CHRM}

ODD_FILES: dict[str, Odd] = {
    # BED, line by line
    "empty BED": bed("", NO_INTERVALS),
    "header line": bed(
        "chrom\tstart\tend\nchr1\t1\t2\n",
        not_whole("start", "start") + ". Put # before a header line",
    ),
    "lines before the first": bed(
        "\ufeff# c\nbrowser x\ntrack name=a\n\nchr1\t5\t10\t.\t.\t.", [("chr1", 5, 10)]
    ),
    "a track line": bed("chr1\t1\t2\ntrack name=b\nchr1\t3\t4\n", TWO),
    "a chromosome named like a track line": bed("track7\t5\t10\n", [("track7", 5, 10)]),
    "CRLF": bed("chr1\t1\t2\r\nchr1\t3\t4\r\n", TWO),
    "CR alone": bed("chr1\t1\t2\rchr1\t3\t4\r", not_whole("end", "2\rchr1")),
    "UTF-16": bed(
        "chr1".encode("utf-16"),
        "{path}: the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)",
    ),
    "NUL": bed("chr1\t1\t2\nchr1\t3\t\x004\n", "{path}:2: binary data (expected text)"),
    "blanks": bed("chr1 1   2 peak\n", [("chr1", 1, 2, "peak")]),
    "blanks in a name": bed("chr1\t1\t2\tmy peak\n", [("chr1", 1, 2, "my peak")]),
    "control character in a name": bed(
        "chr1\t1\t2\ta\x1bb\n",
        "{path}:1: invalid byte 0x1B in the name of a chromosome or interval",
    ),
    "blanks and tabs mixed": bed("chr1 1\t2\n", columns(2)),
    "two columns": bed("chr1\t1\n", columns(2)),
    "12 columns": bed("chr1\t5\t10\tn\t0\t+\t5\t10\t0\t1\t5\t0\n", [("chr1", 5, 10, "+", "n", 0)]),
    "13 columns": bed("chr1\t1\t2" + "\t." * 10 + "\n", columns(13)),
    "columns": bed(
        "chr1\t1\t2\nchr1\t1\t2\tx\n", "{path}:2: line has 4 columns, but the first line has 3"
    ),
    "start after end": bed("chr1\t9\t2\n", reversed_span(9, 2)),
    "no letters": bed("chr1\t1\t2\nchr1\t5\t5\n", reversed_span(5, 5, 2)),
    "negative": bed("chr1\t-1\t2\n", not_whole("start", "-1")),
    "float": bed("chr1\t1.0\t2\n", not_whole("start", "1.0")),
    "too large a number": bed("chr1\t1\t" + "9" * 40 + "\n", not_whole("end", "9" * 30)),
    "other digits": bed("chr1\t\u0661\t\u0662\n", not_whole("start", "\u0661")),
    "no chromosome": bed("\t1\t2\n", "{path}:1: the chromosome name is empty"),
    "score": bed("chr1\t1\t2\tx\t-1.5e-3\n", [("chr1", 1, 2, "x", -0.0015)]),
    "score of words": bed("chr1\t1\t2\tx\thigh\n", NO_SCORE % "high"),
    "score not a number": bed("chr1\t1\t2\tx\tnan\n", NO_SCORE % "nan"),
    "strand 1": bed("chr1\t1\t2\tx\t0\t1\n", NO_STRAND % "1"),
    "summit beyond the peak": peak(
        PEAK + "8\n", "{path}:1: summit 8 (column 10) is outside the peak, which is 8 bp long"
    ),
    "summit": peak(PEAK + "3\n", [("chr1", 1, 9, "x", 0.0, 3)]),
    "summit -1": peak(PEAK + "-1\n", [("chr1", 1, 9, "x", 0.0)]),
    "summit -2": peak(PEAK + "-2\n", not_whole("summit (column 10)", "-2")),
    "narrowPeak named bed": bed(PEAK + "4\n", [("chr1", 1, 9, "x", 0.0, 4)]),
    "broadPeak": bed(
        gzip.compress(b"chr1\t5\t10\tn\t1e2\t.\t5.1\t-1\t-1\n"),
        [("chr1", 5, 10, "n", 100)],
        "odd.broadPeak.gz",
    ),
    "gz": bed(
        gzip.compress(b"chr1\t5\t10\tp q\t7.5\t-\r\n"),
        [("chr1", 5, 10, "-", "p q", 7.5)],
        "odd.bed.gz",
    ),
    "gz without its name": bed(gzip.compress(b"chr1\t1\t2\n"), ONE),
    "truncated gz": bed(
        gzip.compress(b"chr1\t1\t2\n" * 99)[:-12],
        "{path}: gz file is truncated" + AGAIN,
        "odd.bed.gz",
    ),
    "another ending": bed("chr1\t1\t2\n", "{path}: " + ENDINGS, "odd.txt"),
    "ending in capitals": bed("chr1\t1\t2\n", ONE, "ODD.BED"),
    "feature": bed(
        "chr1\t1\t2\n", "{path}: feature 'gene' applies only to GFF and GTF files", feature="gene"
    ),
    "folder": bed(Path.mkdir, "{path}: this is a folder, not a file"),
    "symlink loop": bed(lambda path: path.symlink_to(path), "{path}: no such file"),
    # GFF
    "GFF": gff3(
        gff("chr1 . gene 1 9 . + . ID=g%201;Name=x", "chr1 . gene 8 11 . - . Parent=g; ID=e1;"),
        [("chr1", 0, 9, "+", "g%201"), ("chr1", 7, 11, "-", "e1")],
    ),
    "GFF from 0": gff3(
        gff("chr1 . gene 0 9 . + . ID=g"), "{path}:1: start is 0, but GFF coordinates start at 1"
    ),
    "GFF start after end": gff3(gff("chr1 . gene 9 3 . + . ID=g"), reversed_span(8, 3), "odd.gff"),
    "GFF of one letter": gff3(gff("chr1 . snp 9 9 3 ? . ID=g"), [("chr1", 8, 9, "g", 3)]),
    "GFF parted by blanks": gff3("chr1 . gene 1 9 . + . ID=g\n", gff_columns(1)),
    "GFF with sequences": gff3(GENE + "##FASTA\n>chr1\nACGT\n", [("chr1", 0, 9, "+", "g")]),
    "several GFF types": gff3(
        THREE,
        "{path}: the file has several types of lines: gene (2), exon (1). "
        'Choose one, e.g. feature = "gene"',
    ),
    "GFF type": gff3(THREE, [("chr1", 0, 9, "+", "g"), ("chr1", 2, 9, "-", "h")], feature="gene"),
    "GFF type that is not there": gff3(
        THREE, "{path}: no lines of type 'tss' (the file has gene (2), exon (1))", feature="tss"
    ),
    "GTF with odd attributes": gff3(
        gff(
            'chr1 . exon 1 9 5 - 0 gene_id "a;b"; note "x y" ;;transcript_id',
            "chr1 . exon 1 9 . - . gene_id a",
        ),
        [("chr1", 0, 9, "-", "a;b", 5.0), ("chr1", 0, 9, "-")],
        "odd.gtf",
    ),
    "bare GTF": gff3(gff("chr1 . exon 1 9 . + . ", end="\r\n"), [("chr1", 0, 9, "+")], "odd.gtf"),
    # positions in a genome
    "first and last letters": of_genome(
        "chr1\t0\t2\nchr1\t117\t120\n", [("chr1:0-2(+)", "AC"), ("chr1:117-120(+)", "TAC")]
    ),
    "off the end": of_genome("track\n\nchr1\t1\t2\nchr1 100 121\n", "{path}:4: " + OFF.format(100)),
    "GTF off the end": of_genome(
        gzip.compress(b"#!x\n" + gff('chr1 . gene 99 121 . + . gene_id "g; 1"; x y;').encode()),
        "{path}:2: " + OFF.format(98),
        "odd.gtf.gz",
    ),
    "unknown chromosome": of_genome(
        "chr9\t1\t2\n",
        "{path}:1: no chromosome 'chr9' in the genome (it has chr1, chrM): {folder}/g.fa. Did you "
        "mean <...>?",
    ),
    "1 for chr1": of_genome("1\t0\t4\tx\t0\t-\n", [("chr1:0-4(-)", "ACGT")]),
    "MT for chrM": of_genome("MT\t0\t4\n", [("chrM:0-4(+)", "GATT")]),
    "the same window twice": of_genome("chr1\t0\t4\n" * 3, [("chr1:0-4(+)", "ACGT")]),
    "the same window on both strands": of_genome(
        "chr1 0 3 . 0 +\nchr1 0 3 . 0 -\n", [("chr1:0-3(+)", "ACG"), ("chr1:0-3(-)", "CGT")]
    ),
    "windows, dropped": of_genome(
        "chr1\t1\t2\nchr1\t8\t9\n", [("chr1:5-11(+)", "CGTACA")], width=6
    ),
    "windows, padded": of_genome(
        "chr1\t1\t2\nchrM\t38\t40\n",
        [("chr1:-2-4(+)", "NNACGT"), ("chrM:36-42(+)", "AGATNN")],
        width=6,
        at_ends="pad",
    ),
    "windows, refused": of_genome(
        "chr1\t1\t2\n",
        '{path}:1: window [-2, 4) extends beyond chr1 (120 bp). Set at_ends = "drop" or "pad"',
        width=6,
        at_ends="error",
    ),
    "windows longer than the chromosome": of_genome(
        "chrM\t1\t2\n", "{path}: no window is left: all 1 extend beyond their chromosome", width=500
    ),
    # bedGraph and bigWig
    "bedGraph": track(
        "track type=bedGraph\n#\nchr1\t2\t4\t1.5\nchr1 5 6 -1\n",
        [None, None, 1.5, 1.5, None, -1, *[None] * 4],
    ),
    "empty bedGraph": track("track type=bedGraph\n", NO_INTERVALS),
    "bedGraph of 3 columns": track(
        "chr1\t2\t4\n",
        "{path}:1: bedGraph line has 3 columns (expected 4: chrom, start, end, value)",
    ),
    "bedGraph of words": track("chr1\t2\t4\thigh\n", NO_VALUE % "high"),
    "bedGraph of nan": track("chr1\t2\t4\tnan\nchr1\t4\t5\t1\n", [None] * 4 + [1, *[None] * 5]),
    "infinite bedGraph": track("chr1\t2\t4\tinf\n", NO_VALUE % "inf"),
    "bedGraph that overlaps": track(
        "chr1\t5\t9\t1\nchr1\t2\t6\t2\n",
        "{path}:1: interval [5, 9) of chr1 overlaps [2, 6) in line 2",
    ),
    "bedGraph backwards": track("chr1\t9\t4\t1\n", reversed_span(9, 4)),
    "bigWig": track(bigwig, [None, None, *[1.5] * 3, *[None] * 5], "odd.bw"),
    "short bigWig": track("chr1\t2\t4\t1.5\n", BIGWIG + "unexpected end of file" + AGAIN, "odd.bw"),
    "no bigWig": track("chr1\t2\t4\t1.5\n" * 9, BIGWIG + "not in bigWig format" + AGAIN, "odd.bw"),
    "BED as a track": track("chr1\t2\t4\nchr1\t3\t6\n", [0, 0, 1, 1, 1, 1, 0, 0, 0, 0], "odd.bed"),
    "wiggle": track(
        "",
        "{path}: unknown type of track file (expected .bw, .bigWig, .bedGraph, .bdg, .bg, or BED "
        "or GFF)",
        "odd.wig",
    ),
    # genomes; test_genome.py has malformed lines
    "genome in gz that is not bgzip": fasta(
        gzip.compress(GENOME.encode()),
        "{path}: the genome is gz but not bgzip, so it has no random access. "
        "Compress it with bgzip: gzip -dc {path} | bgzip > odd.fa.bgz, or use the unpacked file",
        "odd.fa.gz",
    ),
    "cut bgzip": fasta(
        compressed(GENOME, -30), "{path}: bgzip file is truncated" + AGAIN, "odd.fa.gz"
    ),
    "index of another genome": fasta(stale, {"chr7": "ACGT"}),
    "older index": fasta(older, {"chr1": CHR1, "chrM": CHRM.replace("GATTACA", "CATTACA")}),
    "genome of lower case and U": fasta(">a\nacgu\nRyNn\nAC", {"a": "ACGTRYNNAC"}),
}
