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
from odd import Odd, Promised

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
        rows = windows.within(
            windows.centered(rows, width) if width else rows, genome, at_ends, Counter()
        )
        return [
            (record.id, record.letters.tobytes().decode())
            for _, record in windows.cut(rows, genome)
        ]


def values(path: Path) -> list[float | None]:
    """Return the first ten values of a track on chr1."""
    return [
        None if math.isnan(value) else float(value)
        for value in read_track(path).values("chr1", 0, 10)
    ]


def genome(path: Path) -> dict[str, str]:
    """Return the letters of each chromosome, by name.

    The genome is opened twice, so that the index is created and then reused.
    """
    for _ in range(2):
        with Genome(path) as opened:
            found = {name: opened.fetch(name).tobytes().decode() for name in opened.names}
    return found


def bed(content: str | bytes, expected: Any, name: str = "odd.bed", **options: Any) -> Odd:
    """Return a row for BED text, read as intervals."""
    content = content if isinstance(content, bytes) else content.encode()
    return Odd(
        content,
        Promised(expected) if isinstance(expected, str) else expected,
        partial(intervals, **options),
        name,
    )


def of_genome(content: str, expected: Any, **options: Any) -> Odd:
    """Return a row for BED text, read as windows of the genome."""
    return Odd(
        content.encode(),
        Promised(expected) if isinstance(expected, str) else expected,
        partial(cut, **options),
        "odd.bed",
    )


def track(content: str | bytes, expected: Any, name: str = "odd.bedGraph") -> Odd:
    """Return a row for a track."""
    content = content if isinstance(content, bytes) else content.encode()
    return Odd(content, Promised(expected) if isinstance(expected, str) else expected, values, name)


def fasta(content: Any, expected: Any, name: str = "odd.fa") -> Odd:
    """Return a row for a genome."""
    content = content.encode() if isinstance(content, str) else content
    return Odd(content, Promised(expected) if isinstance(expected, str) else expected, genome, name)


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
AGAIN = ". Download or copy it again"
BIGWIG = "{path}: damaged bigWig file: "


def not_whole(what: str, found: str, line: int = 1) -> str:
    return f"{{path}}:{line}: invalid {what} {found!r} (expected a whole number, 0 or more)"


def reversed_span(start: int, end: int, line: int = 1) -> str:
    return f"{{path}}:{line}: start is not before end in [{start}, {end}) (0-based half-open)"


def columns(count: int) -> str:
    return (
        f"{{path}}:1: BED line has {count} columns (expected 3 to 12, separated by tabs or spaces)"
    )


ODD_FILES: dict[str, Odd] = {
    # BED, line by line
    "empty BED": bed("", "{path}: no intervals in the file"),
    "comments alone": bed("# a\n\ntrack name=x\n", "{path}: no intervals in the file"),
    "header line": bed(
        "chrom\tstart\tend\nchr1\t1\t2\n",
        not_whole("start", "start") + ". Put # before a header line",
    ),
    "track and browser lines": bed(
        "browser position chr1:1-9\ntrack name=a\nchr1\t1\t2\n", [("chr1", 1, 2)]
    ),
    "a track line in the middle": bed(
        "chr1\t1\t2\ntrack name=b\nchr1\t3\t4\n", [("chr1", 1, 2), ("chr1", 3, 4)]
    ),
    "CRLF": bed("chr1\t1\t2\r\nchr1\t3\t4\r\n", [("chr1", 1, 2), ("chr1", 3, 4)]),
    "CR alone": bed("chr1\t1\t2\rchr1\t3\t4\r", not_whole("end", "2\rchr1")),
    "BOM": bed("\ufeffchr1\t1\t2\n", [("chr1", 1, 2)]),
    "UTF-16": bed(
        "chr1\t1\t2\n".encode("utf-16"),
        "{path}:1: binary data or not UTF-8 (expected UTF-8 text)",
    ),
    "NUL": bed("chr1\t1\t2\nchr1\t3\t\x004\n", "{path}:2: binary data (expected text)"),
    "blanks": bed("chr1 1   2\n", [("chr1", 1, 2)]),
    "blanks in a name": bed("chr1\t1\t2\tmy peak\n", [("chr1", 1, 2, "my peak")]),
    "control character in a name": bed(
        "chr1\t1\t2\ta\x1bb\n",
        "{path}:1: invalid byte 0x1B in the name of a chromosome or interval",
    ),
    "blanks and tabs mixed": bed("chr1 1\t2\n", columns(2)),
    "commas": bed("chr1,1,2\n", columns(1)),
    "two columns": bed("chr1\t1\n", columns(2)),
    "13 columns": bed("chr1\t1\t2" + "\t." * 10 + "\n", columns(13)),
    "columns change": bed(
        "chr1\t1\t2\nchr1\t1\t2\tx\n",
        "{path}:2: line has 4 columns, but the first line has 3",
    ),
    "start after end": bed("chr1\t9\t2\n", reversed_span(9, 2)),
    "no letters": bed("chr1\t1\t2\nchr1\t5\t5\n", reversed_span(5, 5, 2)),
    "negative": bed("chr1\t-1\t2\n", not_whole("start", "-1")),
    "float": bed("chr1\t1.0\t2\n", not_whole("start", "1.0")),
    "exponent": bed("chr1\t1\t1e5\n", not_whole("end", "1e5")),
    "thousands": bed("chr1\t1\t1,000\n", not_whole("end", "1,000")),
    "too large a number": bed(
        "chr1\t1\t" + "9" * 40 + "\n",
        not_whole("end", "999999999999999999999999999999"),
    ),
    "other digits": bed("chr1\t\u0661\t\u0662\n", not_whole("start", "\u0661")),
    "blank in a number": bed("chr1\t1 \t2\n", not_whole("start", "1 ")),
    "no chromosome": bed("\t1\t2\n", "{path}:1: the chromosome name is empty"),
    "score": bed("chr1\t1\t2\tx\t-1.5e-3\n", [("chr1", 1, 2, "x", -0.0015)]),
    "score of words": bed(
        "chr1\t1\t2\tx\thigh\n", "{path}:1: invalid score 'high' (expected a number or .)"
    ),
    "score not a number": bed(
        "chr1\t1\t2\tx\tnan\n", "{path}:1: invalid score 'nan' (expected a number or .)"
    ),
    "strand 1": bed("chr1\t1\t2\tx\t0\t1\n", "{path}:1: invalid strand '1' (expected +, - or .)"),
    "strand before score": bed(
        "chr1\t1\t2\tx\t+\t0\n", "{path}:1: invalid strand '0' (expected +, - or .)"
    ),
    "summit beyond the peak": bed(
        "chr1\t1\t9\tx\t0\t.\t1\t1\t1\t8\n",
        "{path}:1: summit 8 (column 10) is outside the peak, which is 8 bp long",
        "odd.narrowPeak",
    ),
    "summit -1": bed(
        "chr1\t1\t9\tx\t0\t.\t1\t1\t1\t-1\n", [("chr1", 1, 9, "x", 0.0)], "odd.narrowPeak"
    ),
    "summit -2": bed(
        "chr1\t1\t9\tx\t0\t.\t1\t1\t1\t-2\n",
        not_whole("summit (column 10)", "-2"),
        "odd.narrowPeak",
    ),
    "narrowPeak named bed": bed(
        "chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t4\n", [("chr1", 1, 9, "x", 0.0, 4)]
    ),
    "gz": bed(gzip.compress(b"chr1\t1\t2\n"), [("chr1", 1, 2)], "odd.bed.gz"),
    "gz without its name": bed(gzip.compress(b"chr1\t1\t2\n"), [("chr1", 1, 2)]),
    "plain named gz": bed("chr1\t1\t2\n", [("chr1", 1, 2)], "odd.bed.gz"),
    "truncated gz": bed(
        gzip.compress(b"chr1\t1\t2\n" * 99)[:-12],
        "{path}: gz file is truncated" + AGAIN,
        "odd.bed.gz",
    ),
    "another ending": bed("chr1\t1\t2\n", "{path}: " + ENDINGS, "odd.txt"),
    "no ending": bed("chr1\t1\t2\n", "{path}: " + ENDINGS, "odd"),
    "ending in capitals": bed("chr1\t1\t2\n", [("chr1", 1, 2)], "ODD.BED"),
    "blanks and other letters in its path": bed("chr1\t1\t2\n", [("chr1", 1, 2)], "pé ak.1.bed"),
    "feature of BED": bed(
        "chr1\t1\t2\n",
        "{path}: feature 'gene' applies only to GFF and GTF files",
        feature="gene",
    ),
    "missing BED": Odd(
        lambda path: None,
        Promised("{path}: no such file"),
        intervals,
        "odd.bed",
    ),
    "folder": Odd(
        lambda path: path.mkdir(),
        Promised("{path}: this is a folder, not a file"),
        intervals,
        "odd.bed",
    ),
    "symlink loop": Odd(
        lambda path: path.symlink_to(path),
        Promised("{path}: no such file"),
        intervals,
        "odd.bed",
    ),
    # GFF
    "GFF": bed(
        gff("chr1 . gene 1 9 . + . ID=g%201;Name=x"), [("chr1", 0, 9, "+", "g%201")], "odd.gff3"
    ),
    "GFF from 0": bed(
        gff("chr1 . gene 0 9 . + . ID=g"),
        "{path}:1: start is 0, but GFF coordinates start at 1",
        "odd.gff3",
    ),
    "GFF start after end": bed(gff("chr1 . gene 9 3 . + . ID=g"), reversed_span(8, 3), "odd.gff"),
    "GFF of one letter": bed(gff("chr1 . snp 9 9 . ? . ID=g"), [("chr1", 8, 9, "g")], "odd.gff3"),
    "GFF parted by blanks": bed(
        "chr1 . gene 1 9 . + . ID=g\n",
        "{path}:1: GFF line has 1 columns (expected 9, separated by tabs)",
        "odd.gff3",
    ),
    "GFF of 8 columns": bed(
        gff("chr1 . gene 1 9 . + ."),
        "{path}:1: GFF line has 8 columns (expected 9, separated by tabs)",
        "odd.gtf",
    ),
    "GFF with sequences": bed(
        gff("chr1 . gene 1 9 . + . ID=g") + "##FASTA\n>chr1\nACGT\n",
        [("chr1", 0, 9, "+", "g")],
        "odd.gff3",
    ),
    "several GFF types": bed(
        gff("chr1 . gene 1 9 . + . ID=g", "chr1 . exon 1 9 . + . ID=e"),
        "{path}: the file has several types of lines: gene (1), exon (1). "
        'Choose one, e.g. feature = "gene"',
        "odd.gff3",
    ),
    "GFF type": bed(
        gff("chr1 . gene 1 9 . + . ID=g", "chr1 . exon 2 9 . + . ID=e"),
        [("chr1", 1, 9, "+", "e")],
        "odd.gff3",
        feature="exon",
    ),
    "GFF type that is not there": bed(
        gff("chr1 . gene 1 9 . + . ID=g"),
        "{path}: no lines of type 'tss' (the file has gene (1))",
        "odd.gff3",
        feature="tss",
    ),
    "GTF with odd attributes": bed(
        gff(
            'chr1 . exon 1 9 5 - 0 gene_id "a;b"; note "x y" ;;transcript_id',
            "chr1 . exon 1 9 . - . gene_id a",
        ),
        [("chr1", 0, 9, "-", "a;b", 5.0), ("chr1", 0, 9, "-")],
        "odd.gtf",
    ),
    "GTF without attributes": bed(
        gff("chr1 . exon 1 9 . + . ", end="\r\n"), [("chr1", 0, 9, "+")], "odd.gtf"
    ),
    # positions in a genome
    "first and last letters": of_genome(
        "chr1\t0\t2\nchr1\t117\t120\n", [("chr1:0-2(+)", "AC"), ("chr1:117-120(+)", "TAC")]
    ),
    "off the end": of_genome(
        "chr1\t1\t2\nchr1\t100\t121\n",
        "{path}:2: interval [100, 121) ends beyond chr1 of {folder}/g.fa (120 bp). Is it the same "
        "assembly?",
    ),
    "unknown chromosome": of_genome(
        "chr9\t1\t2\n",
        "{path}:1: no chromosome 'chr9' in the genome (it has chr1, chrM): {folder}/g.fa. Did you "
        "mean <...>?",
    ),
    "1 for chr1": of_genome("1\t0\t4\tx\t0\t-\n", [("chr1:0-4(-)", "ACGT")]),
    "MT for chrM": of_genome("MT\t0\t4\n", [("chrM:0-4(+)", "GATT")]),
    "the same window twice": of_genome(
        "chr1\t0\t4\nchr1\t0\t4\nchr1\t0\t4\n", [("chr1:0-4(+)", "ACGT")]
    ),
    "the same window on both strands": of_genome(
        "chr1 0 3 . 0 +\nchr1 0 3 . 0 -\n", [("chr1:0-3(+)", "ACG"), ("chr1:0-3(-)", "CGT")]
    ),
    "windows off the end, dropped": of_genome(
        "chr1\t1\t2\nchr1\t8\t9\n", [("chr1:5-11(+)", "CGTACA")], width=6
    ),
    "windows off the end, padded": of_genome(
        "chr1\t1\t2\nchrM\t38\t40\n",
        [("chr1:-2-4(+)", "NNACGT"), ("chrM:36-42(+)", "AGATNN")],
        width=6,
        at_ends="pad",
    ),
    "windows off the end, refused": of_genome(
        "chr1\t1\t2\n",
        '{path}:1: window [-2, 4) extends beyond chr1 (120 bp). Set at_ends = "drop" or "pad"',
        width=6,
        at_ends="error",
    ),
    "windows longer than the chromosome": of_genome(
        "chrM\t1\t2\n",
        "{path}: no window is left: all 1 extend beyond their chromosome",
        width=500,
    ),
    # bedGraph and bigWig
    "bedGraph": track(
        "track type=bedGraph\n#\nchr1\t2\t4\t1.5\nchr1 5 6 -1\n",
        [None, None, 1.5, 1.5, None, -1, None, None, None, None],
    ),
    "empty bedGraph": track("track type=bedGraph\n", "{path}: no intervals in the file"),
    "bedGraph of 3 columns": track(
        "chr1\t2\t4\n",
        "{path}:1: bedGraph line has 3 columns (expected 4: chrom, start, end, value)",
    ),
    "bedGraph of words": track(
        "chr1\t2\t4\thigh\n", "{path}:1: invalid value 'high' (expected a finite number or nan)"
    ),
    "bedGraph without a number": track(
        "chr1\t2\t4\tnan\nchr1\t4\t5\t1\n", [None] * 4 + [1, *[None] * 5]
    ),
    "infinite bedGraph": track(
        "chr1\t2\t4\tinf\n", "{path}:1: invalid value 'inf' (expected a finite number or nan)"
    ),
    "bedGraph that overlaps": track(
        "chr1\t5\t9\t1\nchr1\t2\t6\t2\n",
        "{path}:1: interval [5, 9) of chr1 overlaps [2, 6) in line 2",
    ),
    "bedGraph backwards": track("chr1\t9\t4\t1\n", reversed_span(9, 4)),
    "bigWig": Odd(
        bigwig, [None, None, 1.5, 1.5, 1.5, None, None, None, None, None], values, "odd.bw"
    ),
    "truncated bigWig": Odd(
        partial(bigwig, keep=300), Promised(BIGWIG + "<...>" + AGAIN), values, "odd.bigWig"
    ),
    "bigWig of nothing": track(b"", BIGWIG + "<...>" + AGAIN, "odd.bw"),
    "bedGraph named bigWig": track(
        "chr1\t2\t4\t1.5\n", BIGWIG + "unexpected end of file" + AGAIN, "odd.bw"
    ),
    "long bedGraph named bigWig": track(
        "chr1\t2\t4\t1.5\n" * 9, BIGWIG + "not in bigWig format" + AGAIN, "odd.bw"
    ),
    "BED as a track": track("chr1\t2\t4\nchr1\t3\t6\n", [0, 0, 1, 1, 1, 1, 0, 0, 0, 0], "odd.bed"),
    "wiggle": track(
        "",
        "{path}: unknown type of track file (expected .bw, .bigWig, .bedGraph, .bdg, .bg, or BED "
        "or GFF)",
        "odd.wig",
    ),
    # genomes; test_genome.py has malformed lines
    "genome": fasta(GENOME, {"chr1": CHR1, "chrM": CHRM}),
    "bgzip genome": fasta(compressed(GENOME), {"chr1": CHR1, "chrM": CHRM}, "odd.fa.gz"),
    "genome in gz that is not bgzip": fasta(
        gzip.compress(GENOME.encode()),
        "{path}: the genome is gz but not bgzip, so it has no random access. "
        "Compress it with bgzip: gzip -dc {path} | bgzip > odd.fa.bgz, or use the unpacked file",
        "odd.fa.gz",
    ),
    "truncated bgzip genome": fasta(
        compressed(GENOME, -30),
        "{path}: bgzip file is truncated" + AGAIN,
        "odd.fa.gz",
    ),
    "index of another genome": fasta(stale, {"chr7": "ACGT"}),
    "index older than the genome": fasta(
        older, {"chr1": CHR1, "chrM": CHRM.replace("GATTACA", "CATTACA")}
    ),
    "genome of one line without end": fasta(">a\nacgu", {"a": "ACGT"}),
    "blanks and other letters in its path ": fasta(">a\nACGT\n", {"a": "ACGT"}, "gé nome 1.fa"),
}
