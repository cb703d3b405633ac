"""Odd tables: CSV, TSV and Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from odd import (
    EMPTY,
    LABELS,
    NO_ID,
    NUMBERED,
    A,
    Odd,
    Promised,
    annotations,
    bad,
    invalid,
    kinds,
    labelled,
    numbered,
    read,
)

from selfattn_bio.sequence.records import Fields

LENGTHS = ". Quote cells that contain the separator"
NO_PARQUET = "cannot read the Parquet file: <...>. Download or write it again"
csv = partial(Odd, name="odd.csv")
bad_csv = partial(bad, name="odd.csv")
bad_parquet = partial(bad, name="odd.parquet")


def without_sequence(columns: str, similar: str = "", name: str = "NAME") -> str:
    """Return the message about a table with these columns."""
    return (
        f"no column 'sequence' in the table (columns: {columns}).{similar} Rename the column, or "
        f'set columns = {{ sequence = "{name}" }} in [data]'
    )


def parquet(**columns: Any) -> Callable[[Path], None]:
    from pyarrow import parquet as written

    return lambda path: written.write_table(pyarrow.table(columns), path)


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a function that writes Parquet and changes its bytes."""

    def write(path: Path) -> None:
        parquet(sequence=["AC"])(path)
        path.write_bytes(change(path.read_bytes()))

    return write


ODD_FILES: dict[str, Odd] = {
    "CSV": csv(b"id,sequence\na,ACGT\n", A),
    "CSV by its content": Odd(b"id,sequence\na,ACGT\n", A, name="odd"),
    "TSV": Odd(b"id\tsequence\na\tACGT\n", A, name="odd.tsv"),
    "TSV that is called CSV": csv(b"id\tsequence\na\tACGT\n", A),
    "semicolons": csv(b"id;sequence\na;ACGT\n", A),
    "CSV of CRLF": csv(b"id,sequence\r\na,ACGT\r\n", A),
    "CSV with a mark before the column": csv(b"\xef\xbb\xbfsequence\nACGT\n", [("odd_1", "ACGT")]),
    "CSV without line end": csv(b"id,sequence\na,ACGT", A),
    "CSV with blank lines": csv(b"id,sequence\n\na,ACGT\n\n", A),
    "CSV with quotes": csv(b'"id","sequence"\n"a, b","AC\nGT"\n', [("a, b", "ACGT")]),
    "CSV without ids": csv(b"sequence\nACGT\nAC\n", [("odd_1", "ACGT"), ("odd_2", "AC")]),
    "all columns": csv(
        b"id,sequence,chrom,start,end,strand,group,height,kind\na,ACGT,c,2,6,-,g,1.5,\n",
        [("a", "c", 2, 6, "-", "g", None, {"height": "1.5", "kind": None})],
        annotations,
    ),
    "empty cells": csv(b"id,sequence,chrom,group\na,ACGT,,\n", [("a", *[None] * 7)], annotations),
    "columns of other names": csv(
        b"name,seq\na,ACGT\n",
        A,
        partial(read, fields=Fields(columns={"sequence": "seq", "id": "name"})),
    ),
    "a label": csv(b"id,sequence,label\na,AC,1\nb,GT,0\n", LABELS, labelled),
    "a label of words": csv(b"id,sequence,kind\na,AC,tss\nb,GT,exon\n", LABELS, kinds),
    "a label that is no number": bad_csv(
        b"id,sequence,label\na,AC,yes\n",
        2,
        "label 'yes' in 'label' is neither 1 nor 0. Name the positive labels, e.g. positive = "
        '"yes" in [data]',
        labelled,
    ),
    "empty label": bad_csv(
        b"id,sequence,label\na,AC,\n", 2, "the label 'label' is empty", labelled
    ),
    "a line break in a chromosome": bad_csv(
        b'id,sequence,chrom\na,AC,"c\nd"\n',
        3,
        "invalid chrom 'c\\nd' (expected a name)",
        annotations,
    ),
    "no column of the label": bad_csv(
        b"id,sequence\na,AC\n",
        1,
        "no column 'label' in the table (columns: 'id', 'sequence'). Set label = \"NAME\" in "
        "[data]",
        labelled,
    ),
    "a label column of another name": bad_csv(
        b"id,sequence,labels\na,AC,1\n",
        1,
        "no column 'label' in the table (columns: 'id', 'sequence', 'labels'). "
        "Did you mean 'labels'? Set label = \"labels\" in [data]",
        labelled,
    ),
    "no sequence": bad_csv(b"id,letters\na,ACGT\n", 1, without_sequence("'id', 'letters'")),
    "several columns that may be the sequence": bad(
        b"text,label,Seq\nACGT,1,AC\n",
        1,
        without_sequence("'text', 'label', 'Seq'", " Did you mean 'Seq' or 'text'?", "Seq"),
        name="odd.txt",
    ),
    "a column of another field": bad_csv(
        b"sequence,chr\nACGT,1\n",
        1,
        "no column 'chromosome' in the table (columns: 'sequence', 'chr'). Rename the "
        'column, or set columns = { chrom = "NAME" } in [data]',
        partial(read, fields=Fields(columns={"chrom": "chromosome"})),
    ),
    "a table without names": bad_csv(b"a,ACGT\nb,AC\n", 1, without_sequence("'a', 'ACGT'")),
    "names alone": bad_csv(b"id,sequence\n", 0, "the table has no rows"),
    "a blank CSV": bad_csv(b"\n", 1, without_sequence("none")),
    "the same column twice": bad_csv(b"id,sequence,id\na,AC,b\n", 1, "duplicate column 'id'"),
    "too few cells": bad_csv(
        b"id,sequence,x\na,AC,1\nb,AC\n",
        3,
        "row has 2 cells, but the table has 3 columns" + LENGTHS,
    ),
    "an empty sequence": bad_csv(b"id,sequence\na,AC\nb,\n", 3, EMPTY),
    "an empty id": bad_csv(
        b"id,sequence\n,AC\n",
        2,
        NO_ID.replace("header '>'. Write an id after '>'", "empty cell. Fill it"),
    ),
    "ids of a table, numbered": csv(
        b"id,sequence\na,AC\na,GT\n,G\n",
        [("odd_1", "AC"), ("odd_2", "GT"), ("odd_3", "G")],
        numbered,
    ),
    "the same id in a table": csv(
        b"id,sequence\na,AC\na,GT\n",
        Promised("{path}:3: record id 'a' is used twice (first in {path}:2)" + NUMBERED),
    ),
    "a foreign letter": bad_csv(b"id,sequence\na,AC\nb,A?\n", 3, invalid("character '?'", "b")),
    "a coordinate that is no number": bad_csv(
        b"sequence,start,end\nAC,x,3\n", 2, "invalid start 'x' (expected a whole number)"
    ),
    "an open quote": bad_csv(b'id,sequence\na,"AC\n', 2, "malformed table: <...>"),
    "a quote that ends early": bad_csv(b'id,sequence\na,"AC"GT\n', 2, "malformed table: <...>"),
    "a CSV that is not UTF-8": bad_csv(
        b"id,sequence\n\xe9,ACGT\n",
        1,
        "invalid byte 0xE9 in the table (expected UTF-8). Save it as CSV UTF-8",
    ),
    "a NUL in a CSV": bad_csv(
        b"id,sequence\n" + b"".join(b"r%d,ACGT\n" % i for i in range(600)) + b"b\x00,AC\n",
        602,
        "invalid byte 0x00 in the record id",
    ),
    "line break in an id": bad_csv(b'id,sequence\n"a\nb",ACGT\n', 3, "line break in the record id"),
    "a mark that turns the direction of text": bad_csv(
        "id,sequence\na\u202eb,ACGT\n", 2, "invalid character U+202E in the record id"
    ),
    "Parquet": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd.parquet"),
    "Parquet by its content": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd"),
    "the types of Parquet": Odd(
        parquet(
            **{"sequence": ["AC", "GT"], "start": [1, None], "end": [3, None]},
            **{"x": [0.5, None], "yes": [True, None], "label": [1, 0]},
        ),
        [
            ("odd_1", None, 1, 3, None, None, 1, {"x": "0.5", "yes": "1"}),
            ("odd_2", *[None] * 5, 0, {"x": None, "yes": None}),
        ],
        labelled,
        name="odd.parquet",
    ),
    "Parquet without the column": bad_parquet(
        parquet(id=["a"], seq=["ACGT"]),
        0,
        without_sequence("'id', 'seq'", " Did you mean 'seq'?", "seq"),
    ),
    "Parquet without rows": bad_parquet(
        parquet(sequence=pyarrow.array([], pyarrow.string())), 0, "the table has no rows"
    ),
    "Parquet with lists": bad_parquet(
        parquet(sequence=["AC"], x=[[1, 2]]),
        0,
        "column 'x' contains a list (expected text, numbers or booleans)",
    ),
    "Parquet of numbers": bad_parquet(parquet(sequence=[7]), 0, invalid("character '7'", "odd_1")),
    "Parquet that is none": bad_parquet(b"PAR1 is no Parquet", 0, NO_PARQUET),
    "a text that is called Parquet": bad_parquet(b"ACGT\n", 0, NO_PARQUET),
    "Parquet in gz": bad(
        changed(gzip.compress),
        0,
        "Parquet cannot be read from a pipe or a compressed file. Unpack it, or save it as a file",
        name="odd.parquet.gz",
    ),
    "truncated Parquet": bad_parquet(changed(lambda content: content[:100]), 0, NO_PARQUET),
}
