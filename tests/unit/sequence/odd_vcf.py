"""Odd VCF files, with the genome of odd_intervals.py."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from odd import Odd, cases, unescaped
from odd_intervals import genome_beside

from selfattn_bio.sequence.vcf import VcfFile

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
LINE = "chr1\t1\t.\tA\tC\t.\tPASS\tDP=1\n"


def variants(path: Path) -> list[tuple[Any, ...]]:
    with genome_beside(path) as genome:
        found = [(v.chrom, v.name, v.start, v.ref, v.alts) for v in VcfFile(path, genome)]
        assert all(0 <= start < genome.lengths[name] for _, name, start, _, _ in found)
    return found


def of_lines(text: str) -> bytes:
    r"""Return VCF of lines, separated by \n, of CHROM, POS, REF and ALT, separated by blanks."""
    rows = (line.split(" ") for line in unescaped(text).decode().split("\n"))
    lines = (f"{chrom}\t{at}\t.\t{ref}\t{alt}\t.\tPASS\tDP=1\n" for chrom, at, ref, alt in rows)
    return (HEADER + "".join(lines)).encode()


def beyond_header(text: str) -> bytes:
    return HEADER.encode() + unescaped(text)


TABLE = r"""
[lines]
chr1 3 G T\nchrM 2 A C\nchr1 1 A C == [('chr1', 'chr1', 2, 'G', ('T',)), ('chrM', 'chrM', 1, 'A',
    ('C',)), ('chr1', 'chr1', 0, 'A', ('C',))]
1 1 A C\nMT 1 G C == [('1', 'chr1', 0, 'A', ('C',)), ('MT', 'chrM', 0, 'G', ('C',))]
chr1 1 ACG A,ACGTT,T == [('chr1', 'chr1', 0, 'ACG', ('A', 'ACGTT', 'T'))]
chr1 1 a c,gt == [('chr1', 'chr1', 0, 'A', ('C', 'GT'))]
chr1 1 N NA == [('chr1', 'chr1', 0, 'N', ('NA',))]
chr1 1 A *,.,C == [('chr1', 'chr1', 0, 'A', ('*', '.', 'C'))]
chrM 40 T C == [('chrM', 'chrM', 39, 'T', ('C',))]
chr1 1e3 A C => 3: invalid POS '1e3' (expected a whole number, 1 or more)
chr1 -1 A C => 3: invalid POS '-1' <...>
chr1 0 A C => 3: invalid POS '0' <...>
chr1 \u0661 A C => 3: invalid POS <...>
chrM 41 A C => 3: REF ends at 41, beyond the end of chrM (40 bp). Is it the same assembly?
chrM 40 TA C => 3: REF ends at 41, beyond the end of chrM (40 bp). <...>
chrUn 1 A C => 3: no chromosome 'chrUn' in the genome (it has chr1, chrM)<...>
 1 A C => 3: no chromosome '' in the genome (it has chr1, chrM)<...>
chr1 1  C => 3: invalid REF '' (expected A, C, G, T or N)
chr1 1 . C => 3: invalid REF '.' <...>
chr1 1 R C => 3: invalid REF 'R' <...>
chr1 1 A  => 3: invalid ALT '' (expected A, C, G, T, N, . or *)
chr1 1 A C,,G => 3: invalid ALT '' <...>
chr1 1 A C- => 3: invalid ALT 'C-' <...>
chr1 1 A C,<DEL> => 3: unsupported symbolic ALT '<DEL>' (expected A, C, G, T, N, . or *). Remove
    such lines: bcftools view --exclude-types other,bnd
chr1 1 A <NON_REF> => 3: unsupported symbolic ALT '<NON_REF>' <...>
chr1 1 A A[2:3[ => 3: unsupported breakend ALT 'A[2:3[' <...>
chr1 1 A C\0 => 3: binary data (expected text)
[beyond the header]
 == []
chr1\t1\t.\tA\tC\t.\tPASS\tN=é == [('chr1', 'chr1', 0, 'A', ('C',))]
chr1\t1\t.\tA\tC\t.\tPASS\tDP\r\n\n == [('chr1', 'chr1', 0, 'A', ('C',))]
chr1 1 . A C . PASS\n => 3: line 'chr1 1 . A C . PASS' has 1 columns (expected 8, separated by tabs)
chr1\t1\t.\tA\tC\n => 3: line 'chr1\t1\t.\tA\tC' has 5 columns (expected 8, separated by tabs)
chr1\t1\t.\tA\tC\t.\t.\t.\tGT\n => 3: line <...> has 9 columns (expected 8, separated by tabs)
\udce9\n => 3: invalid byte 0xE9 (expected UTF-8 text)
[files]
 => 1: the file is empty
chr1\t1\t.\tA\tC\n => 1: VCF starts with 'chr1<...>' instead of ##fileformat=VCF
##fileformat=VCFv4.2\nchr1\t1\n => 2: VCF header ends with 'chr1<...>' instead of a #CHROM line
##fileformat=VCFv4.2\n => 1: VCF header ends with '##fileformat=VCFv4.2' instead of a #CHROM line
##fileformat=VCFv4.2\n#CHROM POS ID REF ALT QUAL FILTER INFO\n => 2: invalid columns '#CHROM POS ID
    REF ALT QUAL FILTER INFO' (expected #CHROM POS ID REF ALT QUAL FILTER INFO, separated by tabs)
##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\n => 2: invalid columns <...>
\udcff\udcfe#\0#\0 => the file is UTF-16 (expected UTF-8). Save it as plain text <...>
"""
SECTIONS = {
    "lines": (variants, "odd.vcf", of_lines),
    "beyond the header": (variants, "odd.vcf", beyond_header),
    "files": (variants, "odd.vcf"),
}
ONE = [("chr1", "chr1", 0, "A", ("C",))]
SAMPLE = HEADER.replace("INFO", "INFO\tFORMAT\ts1") + "chr1\t1\t.\tA\tC\t.\t.\t.\tGT\t0/1"
PACKED = gzip.compress((HEADER + LINE * 99).encode(), mtime=0)
OTHERS = {
    "samples": Odd(SAMPLE.encode(), ONE, variants),
    "byte order mark": Odd(("\ufeff" + HEADER + LINE).encode(), ONE, variants, "a é.vcf"),
    "gz by its content": Odd(PACKED, ONE * 99, variants, "packed"),
    "truncated gz": Odd(PACKED[:-20], "gz file is truncated. Download or copy it <...>", variants),
    "damaged gz": Odd(PACKED[:-8] + bytes(8), "damaged gz file: CRC check failed <...>", variants),
    "BCF": Odd(
        gzip.compress(b"BCF\2\2" + bytes(50)),
        "BCF is not supported. Convert it: bcftools view old.bcf > new.vcf",
        variants,
    ),
    "folder": Odd(Path.mkdir, "this is a folder, not a file", variants),
    "no such file": Odd(lambda path: None, "no such file", variants),
}
ODD_FILES = [*cases(TABLE, SECTIONS), *OTHERS.items()]
