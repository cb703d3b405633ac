"""Odd FASTQ, GenBank and EMBL files."""

from __future__ import annotations

import gzip

from odd import A, Odd, annotations, cases, counted, read, zstd

FASTQ = r"""
[read]
@a x\nACGT\n+a x\nIIII\n == {'a': 'ACGT'}
@a\nACGT\n+\nIIII == {'a': 'ACGT'}
@a\nACGT\n+\n@@@@\n@b\nAC\n+\n>>\n == {'a': 'ACGT', 'b': 'AC'}
@a\nACGT\n+\nIIII\n\n@b\nACGT\n+\nIIII\n\n\n == {'a': 'ACGT', 'b': 'ACGT'}
\ufeff@a\nACGT\n+\nIIII\n == {'a': 'ACGT'}
@a\nACGT\n+\nIII\n => 4: FASTQ record has 3 qualities for 4 bases
@a\nACGT\n+\nIIIII\n => 4: FASTQ record has 5 qualities for 4 bases
@a\nACGT\n+\nIIII\n@b\nACGT\n+\n => 8: FASTQ record has 0 qualities for 4 bases
@a\nACGT\n+\nIIII\n@b\nACGT\n => 7: the file ends within a FASTQ record. Each FASTQ record has four
    lines: header, sequence, +, qualities
@a\nAC\nGT\n+\nIIII\n => 3: the third line of the FASTQ record is 'GT' instead of '+'. Each <...>
@a\nACGT\n+\nIIII\n>a\nACGT\n => 5: FASTQ record starts with '>a' instead of an '@' header. <...>
@\nACGT\n+\nIIII\n => 1: record without an id: header '@'. Write an id after '@', or <...>
@b\n\n+\n\n => 1: record 'b' has no sequence. Remove the record or add its sequence
@a\nACGT\n+\nIIII\n@a\nACGT\n+\nIIII\n => 5: record id 'a' is used twice (first in {path}:1). <...>
@a\nACGT\n+\nIIII\n@b\nAC.T\n+\nIIII\n => 6: invalid character '.' in record 'b' (expected IUPAC DNA
    codes). Remove the alignment gaps, <...>, or set gaps = "remove" in [data]
[counted]
@a\r\nACGT\r\n+\r\nIIII\r\n == ('ACGT', {'CRLF': 1})
@a\nACGN\n+\nIII!\n == ('ACGN', {'IUPAC codes': 1})
[fq]
ACGT\n => 1: FASTQ record starts with 'ACGT' instead of an '@' header. <...>
[gbk]
ACGT\n => no GenBank entry in the file
"""
SECTIONS = {
    "read": (read,),
    "counted": (counted,),
    "fq": (read, "odd.fq"),
    "gbk": (read, "odd.gbk"),
}
FQ = b"@a\nACGT\n+\nIIII\n"
PACKED = {
    "FASTQ gz": Odd(gzip.compress(FQ), A, name="odd.fq.gz"),
    "FASTQ zstd": Odd(zstd(FQ), A, name="odd.fq.zst"),
}

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
X1, X2 = {"X1.1": "ACGTACGTACGTACGTACGN"}, {"X2.1": "ACGTACGTACGT"}
ORGANISM = {"organism": "Drosophila melanogaster"}
FEATURES, _, _ = GENBANK.partition(b"ORIGIN")
CONTIG = GENBANK.partition(b"FEATURES")[0] + b"CONTIG      join(Y:1..20)\n//\n"
CANNOT = "Biopython cannot read {} entry 1: <...>"
FLAT = {
    "GenBank": Odd(GENBANK, X1, name="odd.gb"),
    "GenBank by its content": Odd(GENBANK, X1, name="odd.txt"),
    "GenBank gz": Odd(gzip.compress(GENBANK), X1, name="odd.gb.gz"),
    "GenBank of CRLF": Odd(GENBANK.replace(b"\n", b"\r\n"), X1),
    "two": Odd(GENBANK + GENBANK.replace(b"X1", b"X3"), X1 | {"X3.1": X1["X1.1"]}),
    "the organism of GenBank": Odd(GENBANK, {"X1.1": ORGANISM}, annotations),
    "N in GenBank": Odd(GENBANK, (X1["X1.1"], {"IUPAC codes": 1}), counted),
    "GenBank without ORIGIN": Odd(CONTIG, "record 'X1.1' has no sequence. <...>"),
    "twice": Odd(GENBANK + GENBANK, "record id 'X1.1' is used twice (first in {path}). <...>"),
    "J in GenBank": Odd(GENBANK.replace(b"acgn", b"acgj"), "invalid character 'J' in record <...>"),
    "GenBank that ends in a feature": Odd(FEATURES, CANNOT.format("GenBank")),
    "GenBank of features that end early": Odd(FEATURES + b"//\n", CANNOT.format("GenBank")),
    "EMBL": Odd(EMBL, X2, name="odd.embl"),
    "EMBL by its content": Odd(EMBL, X2),
    "EMBL without letters": Odd(EMBL.partition(b"SQ")[0] + b"//\n", CANNOT.format("EMBL")),
}
ODD_FILES = [*cases(FASTQ, SECTIONS), *PACKED.items(), *FLAT.items()]
