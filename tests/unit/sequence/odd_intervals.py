"""Odd BED, GFF, bedGraph, bigWig and genome files; see odd.py.

Interval files are read as windows of a genome with chr1 (120 bp) and chrM (40 bp).
"""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyBigWig
import pysam
from odd import Odd, cases, unescaped

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
    """Write the genome of these tests to the file's folder, unless it is there, and open it."""
    genome = path.with_name("g.fa")
    if not genome.exists():
        genome.write_text(GENOME)
    return Genome(genome)


def cut(path: Path, width: int = 0, at_ends: windows.AtEnds = "drop") -> dict[str, str]:
    """Return the letters of the windows of an interval file, by id."""
    with genome_beside(path) as genome:
        rows = windows.place(read_intervals(path), genome)
        rows = windows.centered(rows, width) if width else rows
        rows = windows.within(rows, genome, at_ends, Counter())
        records = [record for _, record in windows.cut(rows, genome)]
    return {record.id: record.letters.tobytes().decode() for record in records}


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


def gff(text: str, end: str = "\n") -> bytes:
    """Return GFF from lines with columns separated by blanks."""
    lines = (line.split(" ", 8) for line in text.replace(r"\n", "\n").splitlines())
    return "".join("\t".join(line) + end for line in lines).encode()


def compressed(content: str, keep: int | None = None) -> Callable[[Path], None]:
    """Return a function that writes bgzip and keeps the first bytes."""

    def write(path: Path) -> None:
        with pysam.BGZFile(str(path), "wb") as handle:
            handle.write(content.encode())
        path.write_bytes(path.read_bytes()[:keep])

    return write


def bigwig(path: Path) -> None:
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([("chr1", 120)])
        track.addEntries(["chr1"], [2], ends=[5], values=[1.5])


def packed(text: str) -> bytes:
    return gzip.compress(unescaped(text))


CUT, AGAIN = gzip.compress(b"chr1\t1\t2\n" * 99)[:-12], ". Download or copy it again"
GTF_GZ = gzip.compress(b"#!x\n" + gff('chr1 . gene 99 121 . + . gene_id "g; 1"; x y;'))
COVERED = [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
OTHERS = {
    "truncated gz": Odd(CUT, "gz file is truncated" + AGAIN, intervals, "odd.bed.gz"),
    "ending in capitals": Odd(b"chr1\t1\t2\n", [("chr1", 1, 2)], intervals, "ODD.BED"),
    "folder": Odd(Path.mkdir, "this is a folder, not a file", intervals, "odd.bed"),
    "symlink loop": Odd(lambda path: path.symlink_to(path), "no such file", intervals, "odd.bed"),
    "GTF off the end": Odd(
        GTF_GZ, "2: interval [98, 121) ends beyond chr1 of <...>", cut, "odd.gtf.gz"
    ),
    "bigWig": Odd(bigwig, [None, None, *[1.5] * 3, *[None] * 5], values, "odd.bw"),
    "BED as a track": Odd(b"chr1\t2\t4\nchr1\t3\t6\n", COVERED, values, "odd.bed"),
    "empty genome": Odd(b"", "the file is empty", genome),
    "no genome": Odd(lambda path: None, "no such file", genome),
    "a folder as genome": Odd(Path.mkdir, "this is a folder, not a file", genome),
    "cut bgzip": Odd(
        compressed(GENOME, -30), "bgzip file is truncated" + AGAIN, genome, "odd.fa.gz"
    ),
}
TABLE = r"""
[bed]
browser x\n => no intervals in the file
chrom\tstart\tend\nchr1\t1\t2\n => 1: invalid start 'start' (expected a whole number, 0 or more).
    Put # before a header line
\ufeff# c\nbrowser x\ntrack name=a\n\nchr1\t5\t10\t.\t.\t. == [('chr1', 5, 10)]
chr1\t1\t2\ntrack name=b\nchr1\t3\t4\n == [('chr1', 1, 2), ('chr1', 3, 4)]
track7\t5\t10\n == [('track7', 5, 10)]
chr1\t1\t2\r\nchr1\t3\t4\r\n == [('chr1', 1, 2), ('chr1', 3, 4)]
chr1\t1\t2\rchr1\t3\t4\r => 1: invalid end '2\rchr1' (expected a whole number, 0 or more)
\udcff\udcfec\0 => the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)
chr1\t1\t2\nchr1\t3\t\x004\n => 2: binary data (expected text)
chr1 1   2 peak\n == [('chr1', 1, 2, 'peak')]
chr1\t1\t2\tmy peak\n == [('chr1', 1, 2, 'my peak')]
chr1\t1\t2\ta\x1bb\n => 1: invalid byte 0x1B in the name of a chromosome or interval
chr1 1\t2\n => 1: BED line has 2 columns (expected 3 to 12, separated by tabs or spaces)
chr1\t1\n => 1: BED line has 2 columns <...>
chr1\t5\t10\tn\t0\t+\t5\t10\t0\t1\t5\t0\n == [('chr1', 5, 10, '+', 'n', 0)]
chr1\t1\t2\t.\t.\t.\t.\t.\t.\t.\t.\t.\t.\n => 1: BED line has 13 columns <...>
chr1\t1\t2\nchr1\t1\t2\tx\n => 2: line has 4 columns, but the first line has 3
chr1\t9\t2\n => 1: start is not before end in [9, 2) (0-based half-open)
chr1\t1\t2\nchr1\t5\t5\n => 2: start is not before end in [5, 5) (0-based half-open)
chr1\t-1\t2\n => 1: invalid start '-1' (expected a whole number, 0 or more)
chr1\t1.0\t2\n => 1: invalid start '1.0' (expected a whole number, 0 or more)
chr1\t1\t999999999999999999999999999999999999\n => 1: invalid end '<...>' <...>
chr1\t\u0661\t\u0662\n => 1: invalid start '<...>' (expected a whole number, 0 or more)
\t1\t2\n => 1: the chromosome name is empty
chr1\t1\t2\tx\t-1.5e-3\n == [('chr1', 1, 2, 'x', -0.0015)]
chr1\t1\t2\tx\thigh\n => 1: invalid score 'high' (expected a number or .)
chr1\t1\t2\tx\tnan\n => 1: invalid score 'nan' (expected a number or .)
chr1\t1\t2\tx\t0\t1\n => 1: invalid strand '1' (expected +, - or .)
chr1\t1\t2\tx\t0\t*\n == [('chr1', 1, 2, 'x', 0.0)]
chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t4\n == [('chr1', 1, 9, 'x', 0.0, 4)]
[bed.gz]
chr1\t5\t10\tp q\t7.5\t-\r\n == [('chr1', 5, 10, '-', 'p q', 7.5)]
chr1\t5\t10\tn\t1e2\t.\t5.1\t-1\t-1\n == [('chr1', 5, 10, 'n', 100)]
[packed bed]
chr1\t1\t2\n == [('chr1', 1, 2)]
[txt]
 => unknown type of interval file<...>
chr1\t1\t2\n => unknown type of interval file<...>
Chr\tStart\tstop\tx\nchr1\t1\t2\t7\n\nchr1\t5\t10\t\n == [('chr1', 1, 2), ('chr1', 5, 10)]
chr\tname\tstrand\tstart\tend\nchr1\tp q\t-\t5\t10\n == [('chr1', 5, 10, '-', 'p q')]
chrom\tstart\tend\nchr1\t1\t2\nchr1\t1.5\t2\n => 3: invalid start '1.5'<...>
chrom\tstart\tend\nchr1\t1\n => 2: row has 2 cells, but the table has 3 columns<...>
chrom\tstart\tstart\tend\nchr1\t1\t2\t3\n => duplicate column 'start'
chrom\tstart\tend\n => no intervals in the file
[narrowPeak]
chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t3\n == [('chr1', 1, 9, 'x', 0.0, 3)]
chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t-1\n == [('chr1', 1, 9, 'x', 0.0)]
chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t8\n => 1: summit 8 (column 10) is outside the peak, which is 8 bp
    long
chr1\t1\t9\tx\t0\t.\t1.5\t1\t1\t-2\n => 1: invalid summit (column 10) '-2' (expected <...>
[gff3]
chr1 . gene 1 9 . + . ID=g%201;Name=x\nchr1 . gene 8 11 . - . Parent=g; ID=e1; == [('chr1', 0, 9,
    '+', 'g%201'), ('chr1', 7, 11, '-', 'e1')]
chr1 . gene 0 9 . + . ID=g => 1: start is 0, but GFF coordinates start at 1
chr1 . gene 9 3 . + . ID=g => 1: start is not before end in [8, 3) (0-based half-open)
chr1 . snp 9 9 3 ? . ID=g == [('chr1', 8, 9, 'g', 3)]
chr1,gene => 1: GFF line has 1 columns (expected 9, separated by tabs)
chr1 . gene 1 9 . + . ID=g\n##FASTA\n>chr1\nACGT == [('chr1', 0, 9, '+', 'g')]
c . gene 1 9 . + . ID=g\nc . exon 2 9 . + . ID=e\nc . gene 3 9 . - . ID=h => the file has several
    types of lines: gene (2), exon (1). Choose one, e.g. feature = "gene"
[gtf]
chr1 . exon 1 9 5 - 0 gene_id "a;b"; note "x y" ;;transcript_id\nchr1 . exon 1 9 . - . gene_id a ==
    [('chr1', 0, 9, '-', 'a;b', 5.0), ('chr1', 0, 9, '-')]
chr1 . exon 1 9 . + .  == [('chr1', 0, 9, '+')]
[genes]
c . gene 1 9 . + . ID=g\nc . exon 2 9 . + . ID=e\nc . gene 3 9 . - . ID=h == [('c', 0, 9, '+', 'g'),
    ('c', 2, 9, '-', 'h')]
c . exon 2 9 . + . ID=e => no lines of type gene (the file has exon (1))
[genes in bed]
c\t1\t2\n => feature 'gene' applies only to GFF and GTF files
[placed]
chr1\t0\t2\nchr1\t117\t120\n == {'chr1:0-2(+)': 'AC', 'chr1:117-120(+)': 'TAC'}
track\n\nchr1\t1\t2\nchr1 100 121\n => 4: interval [100, 121) ends beyond chr1 of {folder}/g.fa (120
    bp). Is it the same assembly?
chr9\t1\t2\n => 1: no chromosome 'chr9' in the genome (it has chr1, chrM): {folder}/g.fa. Did you
    mean <...>?
1\t0\t4\tx\t0\t-\n == {'chr1:0-4(-)': 'ACGT'}
MT\t0\t4\n == {'chrM:0-4(+)': 'GATT'}
chr1\t0\t4\nchr1\t0\t4\n == {'chr1:0-4(+)': 'ACGT'}
chr1 0 3 . 0 +\nchr1 0 3 . 0 -\n == {'chr1:0-3(+)': 'ACG', 'chr1:0-3(-)': 'CGT'}
[centered]
chr1\t1\t2\nchr1\t8\t9\n == {'chr1:5-11(+)': 'CGTACA'}
chrM\t1\t2\n => no window is left: all 1 extend beyond their chromosome
[padded]
chr1\t1\t2\nchrM\t38\t40\n == {'chr1:-2-4(+)': 'NNACGT', 'chrM:36-42(+)': 'AGATNN'}
[refused]
chr1\t1\t2\n => 1: window [-2, 4) extends beyond chr1 (120 bp). Set at_ends = "drop" or "pad"
[bedGraph]
track type=bedGraph\n#\nchr1\t2\t4\t1.5\nchr1 5 6 -1\n == [None, None, 1.5, 1.5, None, -1, None,
    None, None, None]
track type=bedGraph\n => no intervals in the file
chr1\t2\t4\n => 1: bedGraph line has 3 columns (expected 4: chrom, start, end, value)
chr1\t2\t4\thigh\n => 1: invalid value 'high' (expected a finite number or nan)
chr1\t2\t4\tinf\n => 1: invalid value 'inf' (expected a finite number or nan)
chr1\t2\t4\tnan\nchr1\t4\t5\t1\n == [None, None, None, None, 1, None, None, None, None, None]
chr1\t5\t9\t1\nchr1\t2\t6\t2\n => 1: interval [5, 9) of chr1 overlaps [2, 6) in line 2
chr1\t9\t4\t1\n => 1: start is not before end in [9, 4) (0-based half-open)
[bigWig]
chr1\t => damaged bigWig file: unexpected end of file. Download or copy it again
a text that is longer than the header of a bigWig file, which has 64 bytes, and something more =>
    damaged bigWig file: not in bigWig format. <...>
[wig]
 => unknown type of track file (expected .bw, .bigWig, .bedGraph, .bdg, .bg, or BED or GFF)
[genome]
>a\nacgu\nRyNn\nAC == {'a': 'ACGTRYNNAC'}
@r\nACGT\n+\nIIII\n => not FASTA: the file starts with character '@' instead of '>'
ACGT\n>a\nACGT\n => not FASTA: the file starts with character 'A' instead of '>'
>\nACGT\n => 1: no name after '>' in '>'
>a\nA\n>b\nA\n>a x\nA\n => 5: duplicate name 'a' (first in line 1). Rename or remove one
>a\nA\n>b\n>c\nA\n => 3: record 'b' has no sequence. Remove the header or add its sequence
>a\nA\n>b\n\n => 3: record 'b' has no sequence. <...>
>a\nAC\nACG\n => 3: unequal line lengths in a record: 3 characters after a line of 2. Wrap the lines
    again, e.g. seqtk seq -l 60 old.fa > new.fa
>a\nAC\nA\nAC\n => 4: unequal line lengths in a record: 2 characters after a shorter line. <...>
>a\nAC\n\nAC\n => 4: unequal line lengths in a record: 2 characters after a shorter line. <...>
>a\nAC\nAC\r\nAC\n => 3: the record mixes LF and CRLF line ends. Convert it, e.g. tr -d '\r' <
    old.fa > new.fa
>a\rAC\r => 1: lines end in CR (expected LF or CRLF). Convert it, <...>
>a\nA C\n => 2: invalid character ' ' in the sequence of 'a'
>a\nA\0C\n => 2: invalid byte 0x00 in the sequence of 'a'
>a\nAC\n>b\nAC\nA-\n => 5: invalid character '-' in the sequence of 'b'
[gz genome]
>a\nACGT\n => the file is gz but not bgzip, so it has no random access. Compress it with bgzip:
    gzip -dc {path} | bgzip > odd.fa.bgz, or use the unpacked file
"""
of_genes = partial(intervals, feature="gene")
SECTIONS = {
    "bed": (intervals, "odd.bed"),
    "bed.gz": (intervals, "odd.bed.gz", packed),
    "packed bed": (intervals, "odd.bed", packed),
    "txt": (intervals, "odd.txt"),
    "narrowPeak": (intervals, "odd.narrowPeak"),
    "gff3": (intervals, "odd.gff3", gff),
    "gtf": (intervals, "odd.gtf", partial(gff, end="\r\n")),
    "genes": (of_genes, "odd.gff", gff),
    "genes in bed": (of_genes, "odd.bed"),
    "placed": (cut, "odd.bed"),
    "centered": (partial(cut, width=6), "odd.bed"),
    "padded": (partial(cut, width=6, at_ends="pad"), "odd.bed"),
    "refused": (partial(cut, width=6, at_ends="error"), "odd.bed"),
    "bedGraph": (values, "odd.bedGraph"),
    "bigWig": (values, "odd.bw"),
    "wig": (values, "odd.wig"),
    "genome": (genome,),
    "gz genome": (genome, "odd.fa.gz", packed),
}
ODD_FILES = [*cases(TABLE, SECTIONS), *OTHERS.items()]
