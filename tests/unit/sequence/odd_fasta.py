"""Odd FASTA files: lines, letters, labels in headers, proteins."""

from __future__ import annotations

import gzip
from functools import partial

from odd import (
    EMPTY,
    GAPS,
    LABELS,
    LOOKS_PROTEIN,
    NO_ID,
    NUMBERED,
    RANDOM,
    STOPS,
    A,
    Odd,
    Promised,
    annotations,
    bad,
    counted,
    counted_protein,
    in_protein,
    invalid,
    kinds,
    labelled,
    masked,
    numbered,
    protein,
    read,
)

from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.records import Fields

M = b"ACGT" * 700_000  # more than a block
TWO = [("odd_1", "ACGT"), ("odd_2", "AC")]
CRLF = ("ACGT", {"CRLF": 1})
NO_HEADER = "no '>' header before {!r}. Put '>' and an id on a line before each sequence"
X = b">" + b"x" * 5000 + b"\nA\n"
without_gaps = SequencePolicy(DNA, gaps="remove")
FASTA = {
    "no line end at the end": Odd(b">a\nACGT", A),
    "blank lines before": Odd(b"\n\n>a\nACGT\n", A),
    "blanks": Odd(b">a\nAC GT\t\n", A),
    "CRLF": Odd(b">a\r\nAC\r\nGT\r\n", CRLF, counted),
    "CRLF in the header alone": Odd(b">a\r\nACGT\n", CRLF, counted),
    "mixed line ends": Odd(b">a\nAC\r\nGT\n>b\r\nAC\n", [("a", "ACGT"), ("b", "AC")]),
    "CR within the letters": Odd(b">a\nAC\rGT\n", CRLF, counted),
    "CR alone": bad(
        b">a\rACGT\r",
        1,
        "lines end in CR (expected LF or CRLF). Convert it, e.g. tr '\\r' '\\n' < old.fa > new.fa",
    ),
    "a byte order mark": Odd(b"\xef\xbb\xbf>a\nACGT\n", A),
    "a byte order mark in a gz": Odd(gzip.compress(b"\xef\xbb\xbf>a\nACGT\n"), A),
    "a tab after the id": Odd(b">a\tsome words\nACGT\n", A),
    "tabs": Odd(
        b">a\tchrom=c\tstart=2\tend=6\nACGT\n", [("a", "c", 2, 6, *[None] * 4)], annotations
    ),
    "an id of other letters": Odd(">séq_序列\nACGT\n", [("séq_序列", "ACGT")]),
    "> in the header": Odd(b">a>b > c\nACGT\n", [("a>b", "ACGT")]),
    "> in the letters": bad(b">a\nACGT>b\nACGT\n", 2, invalid("character '>'")),
    "; comment": bad(b"; old style\n>a\nACGT\n", 1, NO_HEADER.format("; old style")),
    "letters first": bad(b"\nACGT\n>a\nACGT\n", 2, NO_HEADER.format("ACGT")),
    "letters alone": bad(b"ACGT\n", 1, NO_HEADER.format("ACGT")),
    "an empty record": bad(b">a\nACGT\n>b\n>c\nA\n", 3, EMPTY),
    "an empty last record": bad(b">a\nAC\n\n>b\n\n", 4, EMPTY),
    "a header alone": bad(b">b\n", 1, EMPTY),
    "a header without line end": bad(b">a\nAC\n>b", 3, EMPTY),
    "> alone": bad(b">", 1, NO_ID),
    "a blank before the id": Odd(b"> a b\nACGT\n", A),
    "blank ids, numbered": Odd(b"> 6400\nACGT\n>\nAC\n", TWO, numbered),
    "repeated ids, numbered": Odd(b">DNA\nACGT\n>DNA\nAC\n", TWO, numbered),
    "the same id": Odd(
        b">a\nAC\n>b\nAC\n>a x\nGG\n",
        Promised("{path}:5: record id 'a' is used twice (first in {path}:1)" + NUMBERED),
    ),
    "a NUL in the id": bad(X + b">b\x00\nA\n", 3, "invalid byte 0x00 in the record id"),
    "Latin-1": bad(b">a \xe9\nACGT\n", 1, "invalid byte 0xE9 in the header (expected UTF-8)"),
    "a header of a mebibyte": bad(
        b">" + b"x" * 3 * 2**20,
        1,
        "header '>xxxxxxxxxxxxxxxxxxx'... is longer than 1,048,576 bytes",
    ),
    "a long header": Odd(b">a " + b"x" * 100_000 + b"\nACGT\n", A),
    "a foreign letter": bad(b">a\nACGT\n>b\nACGT\nACJT\n", 5, invalid("character 'J'", "b")),
    "foreign letters": bad(
        b">b\r\nACGTACGTACGTACGTACGT\r\n\r\nA?GT!\r\n", 4, invalid("character '?' and 1 more", "b")
    ),
    "a late letter": bad(
        b">a\n" + b"ACGT\n" * 300_000 + b"A!GT\n", 300_002, invalid("character '!'")
    ),
    "letters that are not ASCII": bad(b">a\nAC\xc3\xa9GT\n", 2, invalid("byte 0xC3 and 1 more")),
    "gaps": bad(b">a\nAC--GT\n", 2, invalid("character '-' and 1 more", "a", GAPS)),
    "dots": bad(b">a\nACGT..\n", 2, invalid("character '.' and 1 more", "a", GAPS)),
    "gaps that are removed": Odd(
        b">a\nA-C--GT.\n", ("ACGT", {"gaps (removed)": 1}), partial(counted, policy=without_gaps)
    ),
    "gaps alone, removed": bad(b">b\n----\n", 1, EMPTY, partial(read, policy=without_gaps)),
    "protein": bad(
        b">p\nMKVLAAGIVGLLLAQPSFE\n", 2, invalid("character 'L' and 8 more", "p", LOOKS_PROTEIN)
    ),
    "a stop sign in DNA": bad(b">a\nACGT*\n", 2, invalid("character '*'", "a", STOPS)),
    "lower case": Odd(b">a\nacGT\n", ("ACGT", {"lower case": 1}), counted),
    "U": Odd(b">a\nACGU\n", ("ACGT", {"U in DNA": 1}), counted),
    "IUPAC": Odd(b">a\nACGNRY\n", ("ACGNRY", {"IUPAC codes": 1}), counted),
    "lower case as a mask": Odd(
        b">a\nacGTac\nGtt\n>b\nACGT\n>c\nacgt\n", [[[0, 2], [4, 6], [7, 9]], [], [[0, 4]]], masked
    ),
    "a mask over blocks": Odd(b">a\nAC" + b"g" * 3_000_000 + b"T\n", [[[2, 3_000_002]]], masked),
    "lower case as N": Odd(
        b">a\nacGTnu\n",
        ("NNGTNN", {"lower case": 1, "U in DNA": 1, "IUPAC codes": 1}),
        partial(counted, policy=SequencePolicy(DNA, "hard")),
    ),
    "attributes": Odd(
        b">a chrom=chr2L start=7 end=11 strand=- group=g1 other=2\nACGT\n>b\nAC\n",
        [("a", "chr2L", 7, 11, "-", "g1", None, None), ("b", *[None] * 7)],
        annotations,
    ),
    "start": bad(
        b">a start=x end=4\nACGT\n", 1, "invalid start 'x' in the header (expected a whole number)"
    ),
    "start without end": bad(b">a start=4\nACGT\n", 1, "start without end in the header"),
    "end without start": bad(b">a end=4\nACGT\n", 1, "end without start in the header"),
    "strand": bad(b">a strand=f\nACGT\n", 1, "invalid strand 'f' in the header (expected + or -)"),
    "no chrom": bad(b">a chrom= x\nACGT\n", 1, "invalid chrom '' in the header (expected a name)"),
    "1-based coordinates": bad(
        b">a start=1 end=4\nACGT\n",
        1,
        "end - start in the header is 3, but the sequence has length 4. Coordinates are 0-based "
        "half-open",
    ),
    "a long record": Odd(b">a\n" + M + b"\n>b\nAC\n", [("a", M.decode()), ("b", "AC")]),
    "a header at the border of a block": Odd(
        b">a\n" + b"A" * (2**20 - 5) + b"\n>b\nAC\n", [("a", "A" * (2**20 - 5)), ("b", "AC")]
    ),
    "a single line of 100 MB": Odd(
        lambda path: path.write_bytes(b">a\n" + RANDOM * 20_000),
        100_000_000,
        lambda path: len(read(path)[0][1]),
        long=True,
    ),
}

# labels from the header
pattern = partial(annotations, fields=Fields(header=r"class:(\w+)"))
positions = r"(?P<chrom>\w+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>.)\) (?P<temperature>\d+)C"
HEADERS = {
    "label=": Odd(b">a label=1\nAC\n>b label=0\nGT\n", LABELS, labelled),
    "no label=": bad(
        b">a\nA\n>b label=1\nGT\n", 1, "no label in the header '>a' (expected label=...)", labelled
    ),
    "label 2": bad(b">a label=2\nAC\n", 1, "label '2' in 'label' is neither 1 <...>", labelled),
    "label= without value": bad(b">a label= x\nAC\n", 1, "the label 'label' is empty", labelled),
    "another attribute": Odd(b">a kind=tss\nAC\n", LABELS[:1], kinds),
    "a pattern": Odd(b">a class:x\nAC\n", [("a", *[None] * 6, {"label": "x"})], pattern),
    "a pattern that holds the label": Odd(
        b">a class:x\nAC\n>b class:y\nGT\n",
        LABELS,
        partial(annotations, fields=Fields("label", ("x",), r"class:(\w+)")),
    ),
    "a pattern that is not there": bad(
        b">a\nAC\n",
        1,
        "header '>a' does not match 'class:(\\\\w+)'. Change header in [data], or the record",
        pattern,
    ),
    "a pattern of names": Odd(
        b">x chr2:4-6(+) 37C\nAC\n",
        [("x", "chr2", 4, 6, "+", None, None, {"temperature": "37"})],
        partial(annotations, fields=Fields(header=positions)),
    ),
    "a pattern of the id": Odd(
        b">sp|P1|X\nAC\n",
        [("P1", *[None] * 7)],
        partial(annotations, fields=Fields(header=r"sp\|(?P<id>\w+)")),
    ),
}

# protein
RARE = "selenocysteine or pyrrolysine (U, O)"
AMBIGUOUS = "ambiguous residues (B, Z, J, X)"
STOP = "a stop sign at the end (removed)"
PROTEINS = {
    "every residue": Odd(b">p\nACDEFGHIKLMNPQRSTVWY\n", [("p", "ACDEFGHIKLMNPQRSTVWY")], protein),
    "U and O": Odd(b">p\nMKUO\n", ("MKUO", {RARE: 1}), counted_protein),
    "B, Z, J and X": Odd(b">p\nMKBZJX\n", ("MKBZJX", {AMBIGUOUS: 1}), counted_protein),
    "a stop at the end": Odd(b">p\nMKVL*\n", ("MKVL", {STOP: 1}), counted_protein),
    "a stop on a separate line": Odd(b">p\nMKVL\n*\n", [("p", "MKVL")], protein),
    "a stop inside": bad(b">p\nMK\nM*VL\n", 3, in_protein("character '*'", STOPS), protein),
    "two stops": bad(b">p\nMKVL**\n", 2, in_protein("character '*' and 1 more", STOPS), protein),
    "a stop alone": bad(b">b\n*\n", 1, EMPTY, protein),
    "gaps of an alignment": bad(b">p\nMK-VL\n", 2, in_protein("character '-'", GAPS), protein),
    "residues in lower case as X": Odd(
        b">p\nmkVL\n", [("p", "XXVL")], partial(read, policy=SequencePolicy(PROTEIN, "hard"))
    ),
}

ODD_FILES: dict[str, Odd] = {**FASTA, **HEADERS, **PROTEINS}
