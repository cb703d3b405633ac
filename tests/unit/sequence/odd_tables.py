"""Odd tables: CSV, TSV and Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from odd import EMPTY, NUMBERED, A, Odd, Promised, annotations, error, invalid, numbered, read

from selfattn_bio.sequence.readers.fields import Fields

NO_SEQUENCE = "no column 'sequence' in the table (columns: "
NAME_IT = (
    ' Rename the column, or set columns = {{ sequence = "{0}" }} in [data] (--sequence-column {0})'
)
label = Fields("label")


def parquet(**columns: list[Any]) -> Callable[[Path], None]:
    from pyarrow import parquet as written

    return lambda path: written.write_table(pyarrow.table(columns), path)


ODD_FILES: dict[str, Odd] = {
    "CSV": Odd(b"id,sequence\na,ACGT\n", A, name="odd.csv"),
    "CSV by its content": Odd(b"id,sequence\na,ACGT\n", A, name="odd"),
    "CSV gz": Odd(gzip.compress(b"id,sequence\na,ACGT\n"), A, name="odd.csv.gz"),
    "TSV": Odd(b"id\tsequence\na\tACGT\n", A, name="odd.tsv"),
    "TSV that is called CSV": Odd(b"id\tsequence\na\tACGT\n", A, name="odd.csv"),
    "semicolons": Odd(b"id;sequence\na;ACGT\n", A, name="odd.csv"),
    "CSV of CRLF": Odd(b"id,sequence\r\na,ACGT\r\n", A, name="odd.csv"),
    "CSV with a byte order mark": Odd(b"\xef\xbb\xbfid,sequence\na,ACGT\n", A, name="odd.csv"),
    "CSV with a mark before the column": Odd(
        b"\xef\xbb\xbfsequence\nACGT\n", [("odd_1", "ACGT")], name="odd.csv"
    ),
    "CSV without line end": Odd(b"id,sequence\na,ACGT", A, name="odd.csv"),
    "CSV with blank lines": Odd(b"id,sequence\n\na,ACGT\n\n", A, name="odd.csv"),
    "CSV with quotes": Odd(
        b'"id","sequence"\n"a, b","AC\nGT"\n', [("a, b", "ACGT")], name="odd.csv"
    ),
    "CSV without ids": Odd(
        b"sequence\nACGT\nAC\n", [("odd_1", "ACGT"), ("odd_2", "AC")], name="odd.csv"
    ),
    "a sequence of 200,000 letters": Odd(
        b"id,sequence\na," + b"ACGT" * 50_000 + b"\n", [("a", "ACGT" * 50_000)], name="odd.csv"
    ),
    "all columns": Odd(
        b"id,sequence,chrom,start,end,strand,group,height,kind\na,ACGT,c,2,6,-,g,1.5,\n",
        [("a", "c", 2, 6, "-", "g", None, {"height": "1.5", "kind": None})],
        annotations,
        name="odd.csv",
    ),
    "empty cells": Odd(
        b"id,sequence,chrom,group\na,ACGT,,\n", [("a", *[None] * 7)], annotations, name="odd.csv"
    ),
    "columns of other names": Odd(
        b"name,seq\na,ACGT\n",
        A,
        partial(read, fields=Fields(columns={"sequence": "seq", "id": "name"})),
        name="odd.csv",
    ),
    "a label": Odd(
        b"id,sequence,label\na,AC,1\nb,GT,0\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "a label of words": Odd(
        b"id,sequence,kind\na,AC,tss\nb,GT,exon\n",
        [("a", *[None] * 5, 1, None), ("b", *[None] * 5, 0, None)],
        partial(annotations, fields=Fields("kind", ("tss",))),
        name="odd.csv",
    ),
    "a label that is no number": Odd(
        b"id,sequence,label\na,AC,yes\n",
        error(
            2,
            "label 'yes' in 'label' is neither 1 nor 0. Name the positive labels, e.g. positive = "
            '"yes" in [data]',
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "an empty label": Odd(
        b"id,sequence,label\na,AC,\n",
        error(2, "the label 'label' is empty"),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "a line break in a chromosome": Odd(
        b'id,sequence,chrom\na,AC,"c\nd"\n',
        error(3, "invalid chrom 'c\\nd' (expected a name)"),
        annotations,
        name="odd.csv",
    ),
    "no column of the label": Odd(
        b"id,sequence\na,AC\n",
        error(
            1,
            "no column 'label' in the table (columns: 'id', 'sequence'). Set label = \"NAME\" in "
            "[data]",
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "a label column of another name": Odd(
        b"id,sequence,labels\na,AC,1\n",
        error(
            1,
            "no column 'label' in the table (columns: 'id', 'sequence', 'labels'). "
            "Did you mean 'labels'? Set label = \"labels\" in [data]",
        ),
        partial(annotations, fields=label),
        name="odd.csv",
    ),
    "no column of the sequence": Odd(
        b"id,letters\na,ACGT\n",
        error(1, NO_SEQUENCE + "'id', 'letters')." + NAME_IT.format("NAME")),
        name="odd.csv",
    ),
    "a column Sequence": Odd(
        b"id,Sequence\na,ACGT\n",
        error(
            1,
            NO_SEQUENCE
            + "'id', 'Sequence'). Did you mean 'Sequence'?"
            + NAME_IT.format("Sequence"),
        ),
        name="odd.csv",
    ),
    "several columns that may be the sequence": Odd(
        b"text,label,Seq\nACGT,1,AC\n",
        error(
            1,
            NO_SEQUENCE
            + "'text', 'label', 'Seq'). Did you mean 'Seq' or 'text'?"
            + NAME_IT.format("Seq"),
        ),
        name="odd.txt",
    ),
    "a column of another field": Odd(
        b"sequence,chr\nACGT,1\n",
        error(
            1,
            "no column 'chromosome' in the table (columns: 'sequence', 'chr'). Rename the "
            'column, or set columns = { chrom = "NAME" } in [data]',
        ),
        partial(read, fields=Fields(columns={"chrom": "chromosome"})),
        name="odd.csv",
    ),
    "a table without names": Odd(
        b"a,ACGT\nb,AC\n",
        error(1, NO_SEQUENCE + "'a', 'ACGT')." + NAME_IT.format("NAME")),
        name="odd.csv",
    ),
    "names alone": Odd(
        b"id,sequence\n",
        error(None, "the table has no rows"),
        name="odd.csv",
    ),
    "a blank CSV": Odd(
        b"\n",
        error(1, NO_SEQUENCE + "none)." + NAME_IT.format("NAME")),
        name="odd.csv",
    ),
    "the same column twice": Odd(
        b"id,sequence,id\na,AC,b\n",
        error(1, "duplicate column 'id'"),
        name="odd.csv",
    ),
    "too few cells": Odd(
        b"id,sequence,x\na,AC,1\nb,AC\n",
        error(
            3,
            "row has 2 cells, but the table has 3 columns. Quote cells that contain the separator",
        ),
        name="odd.csv",
    ),
    "too many cells": Odd(
        b"id,sequence\na,AC\nb,AC,1\n",
        error(
            3,
            "row has 3 cells, but the table has 2 columns. Quote cells that contain the separator",
        ),
        name="odd.csv",
    ),
    "an empty sequence": Odd(b"id,sequence\na,AC\nb,\n", error(3, EMPTY), name="odd.csv"),
    "an empty id": Odd(
        b"id,sequence\n,AC\n",
        error(2, "record without an id: empty cell. Fill it, or" + NUMBERED.partition(", or")[2]),
        name="odd.csv",
    ),
    "ids of a table, numbered": Odd(
        b"id,sequence\na,AC\na,GT\n,G\n",
        [("odd_1", "AC"), ("odd_2", "GT"), ("odd_3", "G")],
        numbered,
        "odd.csv",
    ),
    "the same id in a table": Odd(
        b"id,sequence\na,AC\na,GT\n",
        Promised("{path}:3: record id 'a' is used twice (first in {path}:2)" + NUMBERED),
        name="odd.csv",
    ),
    "a foreign letter in a table": Odd(
        b"id,sequence\na,AC\nb,A?\n",
        error(3, invalid("character '?'", "b")),
        name="odd.csv",
    ),
    "a coordinate that is no number": Odd(
        b"sequence,start,end\nAC,x,3\n",
        error(2, "invalid start 'x' (expected a whole number)"),
        name="odd.csv",
    ),
    "coordinates of another length": Odd(
        b"sequence,start,end\nAC,1,9\n",
        error(
            2,
            "end - start is 8, but the sequence has length 2. Coordinates are 0-based half-open",
        ),
        name="odd.csv",
    ),
    "a start alone": Odd(
        b"sequence,start\nAC,1\n",
        error(2, "start without end"),
        name="odd.csv",
    ),
    "an open quote": Odd(
        b'id,sequence\na,"AC\n',
        error(2, "malformed table: <...>"),
        name="odd.csv",
    ),
    "a quote that ends early": Odd(
        b'id,sequence\na,"AC"GT\n',
        error(2, "malformed table: <...>"),
        name="odd.csv",
    ),
    "a CSV that is not UTF-8": Odd(
        b"id,sequence\n\xe9,ACGT\n",
        error(1, "invalid byte 0xE9 in the table (expected UTF-8). Save it as CSV UTF-8"),
        name="odd.csv",
    ),
    "a NUL in a CSV": Odd(
        b"id,sequence\n" + b"".join(b"r%d,ACGT\n" % i for i in range(600)) + b"b\x00,AC\n",
        error(602, "invalid byte 0x00 in the record id"),
        name="odd.csv",
    ),
    "a line break in an id": Odd(
        b'id,sequence\n"a\nb",ACGT\n',
        error(3, "line break in the record id"),
        name="odd.csv",
    ),
    "a mark that turns the direction of text": Odd(
        "id,sequence\na\u202eb,ACGT\n".encode(),
        error(2, "invalid character U+202E in the record id"),
        name="odd.csv",
    ),
    "Parquet": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd.parquet"),
    "Parquet by its content": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd"),
    "Parquet without ids": Odd(
        parquet(sequence=["ACGT", "AC"]), [("odd_1", "ACGT"), ("odd_2", "AC")], name="odd.parquet"
    ),
    "the types of Parquet": Odd(
        parquet(
            sequence=["AC", "GT"],
            start=[1, None],
            end=[3, None],
            x=[0.5, None],
            yes=[True, None],
            label=[1, 0],
        ),
        [
            ("odd_1", None, 1, 3, None, None, 1, {"x": "0.5", "yes": "1"}),
            ("odd_2", *[None] * 5, 0, {"x": None, "yes": None}),
        ],
        partial(annotations, fields=label),
        name="odd.parquet",
    ),
    "Parquet without the column": Odd(
        parquet(id=["a"], seq=["ACGT"]),
        error(
            None,
            NO_SEQUENCE + "'id', 'seq'). Did you mean 'seq'?" + NAME_IT.format("seq"),
        ),
        name="odd.parquet",
    ),
    "Parquet without rows": Odd(
        lambda path: parquet(sequence=pyarrow.array([], pyarrow.string()))(path),
        error(None, "the table has no rows"),
        name="odd.parquet",
    ),
    "Parquet with lists": Odd(
        parquet(sequence=["AC"], x=[[1, 2]]),
        error(None, "column 'x' contains a list (expected text, numbers or booleans)"),
        name="odd.parquet",
    ),
    "Parquet of numbers as sequence": Odd(
        parquet(sequence=[7]),
        error(None, invalid("character '7'", "odd_1")),
        name="odd.parquet",
    ),
    "Parquet that is none": Odd(
        b"PAR1 is no Parquet",
        error(
            None,
            "cannot read the Parquet file: <...>. Download or write it again",
        ),
        name="odd.parquet",
    ),
    "a text that is called Parquet": Odd(
        b"ACGT\n",
        error(None, "cannot read the Parquet file: <...>. Download or write it again"),
        name="odd.parquet",
    ),
    "Parquet in gz": Odd(
        lambda path: (
            parquet(sequence=["AC"])(path),
            path.write_bytes(gzip.compress(path.read_bytes())),
        ),
        error(
            None,
            "Parquet cannot be read from a pipe or a compressed file. Unpack it, or save it as a "
            "file",
        ),
        name="odd.parquet.gz",
    ),
    "truncated Parquet": Odd(
        lambda path: (parquet(sequence=["AC"])(path), path.write_bytes(path.read_bytes()[:100])),
        error(None, "cannot read the Parquet file: <...>. Download or write it again"),
        name="odd.parquet",
    ),
}
