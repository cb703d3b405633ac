"""Odd FASTQ, GenBank and EMBL files."""

from __future__ import annotations

import gzip

from odd import (
    EMPTY,
    FOUR_LINES,
    GAPS,
    GOOD,
    NO_ID,
    NUMBERED,
    A,
    Odd,
    Promised,
    annotations,
    bad,
    counted,
    invalid,
    zstd,
)

# FASTQ
FQ = b"@a\nACGT\n+\nIIII\n"
NO_FASTQ = "FASTQ record starts with {!r} instead of an '@' header" + FOUR_LINES
FASTQ = {
    "FASTQ": Odd(FQ, A),
    "FASTQ gz": Odd(gzip.compress(FQ), A, name="odd.fq.gz"),
    "FASTQ zstd": Odd(zstd(FQ), A, name="odd.fq.zst"),
    "FASTQ with the id again": Odd(b"@a x\nACGT\n+a x\nIIII\n", A),
    "FASTQ without line end": Odd(FQ[:-1], A),
    "FASTQ of CRLF": Odd(FQ.replace(b"\n", b"\r\n"), ("ACGT", {"CRLF": 1}), counted),
    "@ as quality": Odd(b"@a\nACGT\n+\n@@@@\n@b\nAC\n+\n>>\n", [("a", "ACGT"), ("b", "AC")]),
    "FASTQ, blank lines": Odd(FQ + b"\n" + FQ.replace(b"@a", b"@b") + b"\n\n", [*A, ("b", "ACGT")]),
    "FASTQ with a byte order mark": Odd(b"\xef\xbb\xbf" + FQ, A),
    "FASTQ with N": Odd(b"@a\nACGN\n+\nIII!\n", ("ACGN", {"IUPAC codes": 1}), counted),
    "FASTQ attributes": Odd(b"@a chrom=c\nAC\n+\nII\n", [("a", "c", *[None] * 6)], annotations),
    "few qualities": bad(b"@a\nACGT\n+\nIII\n", 4, "FASTQ record has 3 qualities for 4 bases"),
    "many qualities": bad(b"@a\nACGT\n+\nIIIII\n", 4, "FASTQ record has 5 qualities for 4 bases"),
    "no qualities": bad(FQ + b"@b\nACGT\n+\n", 8, "FASTQ record has 0 qualities for 4 bases"),
    "half of a FASTQ": bad(
        FQ + b"@b\nACGT\n", 7, "the file ends within a FASTQ record" + FOUR_LINES
    ),
    "FASTQ of several lines": bad(
        b"@a\nAC\nGT\n+\nIIII\n",
        3,
        "the third line of the FASTQ record is 'GT' instead of '+'" + FOUR_LINES,
    ),
    "FASTQ, FASTA": bad(FQ + GOOD, 5, NO_FASTQ.format(">a")),
    "FASTQ without id": bad(b"@\nACGT\n+\nIIII\n", 1, NO_ID.replace(">", "@")),
    "FASTQ without letters": bad(b"@b\n\n+\n\n", 1, EMPTY),
    "FASTQ with the same id": Odd(
        FQ + FQ, Promised("{path}:5: record id 'a' is used twice (first in {path}:1)" + NUMBERED)
    ),
    "a letter in FASTQ": bad(FQ + b"@b\nAC.T\n+\nIIII\n", 6, invalid("character '.'", "b", GAPS)),
    "no FASTQ in .fq": bad(b"ACGT\n", 1, NO_FASTQ.format("ACGT"), name="odd.fq"),
}

# GenBank, EMBL
GENBANK = b"""LOCUS       X1                        20 bp    DNA     linear   INV 01-JAN-2000
DEFINITION  Synthetic.
ACCESSION   X1
VERSION     X1.1
SOURCE      Drosophila melanogaster
  ORGANISM  Drosophila melanogaster
            Eukaryota.
FEATURES             Location/Qualifiers
     gene            1..9
                     /gene="g"
ORIGIN
        1 acgtacgtac gtacgtacgn
//
"""
EMBL = b"""ID   X2; SV 1; linear; genomic DNA; STD; INV; 12 BP.
AC   X2;
DE   Synthetic.
OS   Drosophila melanogaster
SQ   Sequence 12 BP; 3 A; 3 C; 3 G; 3 T; 0 other;
     acgtacgtac gt                                                            12
//
"""
X1, X2 = [("X1.1", "ACGTACGTACGTACGTACGN")], [("X2.1", "ACGTACGTACGT")]
FEATURES, _, _ = GENBANK.partition(b"ORIGIN")
CANNOT = "Biopython cannot read {} entry 1: <...>"
FLAT = {
    "GenBank": Odd(GENBANK, X1, name="odd.gb"),
    "GenBank by its content": Odd(GENBANK, X1, name="odd.txt"),
    "GenBank gz": Odd(gzip.compress(GENBANK), X1, name="odd.gb.gz"),
    "GenBank of CRLF": Odd(GENBANK.replace(b"\n", b"\r\n"), X1),
    "GenBank of two": Odd(GENBANK + GENBANK.replace(b"X1", b"X3"), [*X1, ("X3.1", X1[0][1])]),
    "the organism of GenBank": Odd(
        GENBANK, [("X1.1", *[None] * 6, {"organism": "Drosophila melanogaster"})], annotations
    ),
    "N in GenBank": Odd(GENBANK, (X1[0][1], {"IUPAC codes": 1}), counted),
    "GenBank without ORIGIN": bad(
        GENBANK.partition(b"FEATURES")[0] + b"CONTIG      join(Y:1..20)\n//\n",
        0,
        EMPTY.replace("'b'", "'X1.1'"),
    ),
    "GenBank twice": Odd(
        GENBANK + GENBANK,
        Promised("{path}: record id 'X1.1' is used twice (first in {path})" + NUMBERED),
    ),
    "J in GenBank": bad(GENBANK.replace(b"acgn", b"acgj"), 0, invalid("character 'J'", "X1.1")),
    "GenBank that ends in a feature": bad(FEATURES, 0, CANNOT.format("GenBank")),
    "GenBank of features that end early": bad(FEATURES + b"//\n", 0, CANNOT.format("GenBank")),
    "no GenBank in .gbk": bad(b"ACGT\n", 0, "no GenBank entry in the file", name="odd.gbk"),
    "EMBL": Odd(EMBL, X2, name="odd.embl"),
    "EMBL by its content": Odd(EMBL, X2),
    "EMBL without letters": bad(EMBL.partition(b"SQ")[0] + b"//\n", 0, CANNOT.format("EMBL")),
}

ODD_FILES: dict[str, Odd] = {**FASTQ, **FLAT}
