"""Odd tables: CSV, TSV and Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from odd import A, Odd, annotations, cases, kinds, labelled, numbered, read
from odd_fasta import POSITIONS

from selfattn_bio.sequence.records import Fields

TABLE = r"""
[csv]
id,sequence\na,ACGT\n == {'a': 'ACGT'}
id,sequence\na,ACGT == {'a': 'ACGT'}
id\tsequence\na\tACGT\n == {'a': 'ACGT'}
id;sequence\na;ACGT\n == {'a': 'ACGT'}
id,sequence\r\na,ACGT\r\n == {'a': 'ACGT'}
\ufeffsequence\nACGT\nAC\n == {'odd_1': 'ACGT', 'odd_2': 'AC'}
id,sequence\n\na,ACGT\n\n == {'a': 'ACGT'}
"id","sequence"\n"a, b","AC\nGT"\n == {'a, b': 'ACGT'}
id,letters\na,ACGT\n => 1: no column 'sequence' in the table (columns: 'id', 'letters'). Rename the
    column, or set columns = { sequence = "NAME" } in [data]
a,ACGT\nb,AC\n => 1: no column 'sequence' in the table (columns: 'a', 'ACGT'). Rename <...>
\n => 1: no column 'sequence' in the table (columns: none). Rename <...>
id,sequence\n => the table has no rows
id,sequence,id\na,AC,b\n => 1: duplicate column 'id'
id,sequence,x\na,AC,1\nb,AC\n => 3: row has 2 cells, but the table has 3 columns. Quote cells that
    contain the separator
id,sequence\na,AC\nb,\n => 3: record 'b' has no sequence. Remove the record or add its sequence
id,sequence\n,AC\n => 2: record without an id: empty cell. Fill it, or number the records: ids =
    "numbered" in [data]
id,sequence\na,AC\na,GT\n => 3: record id 'a' is used twice (first in {path}:2). <...>
id,sequence\na,AC\nb,A?\n => 3: invalid character '?' in record 'b' (expected <...>
sequence,chrom,start,end\nAC,c,x,3\n => 2: invalid start 'x' (expected a whole number<...>)
id,sequence,chrom\na,AC,"c\nd"\n => 3: invalid chrom 'c\nd' (expected a name)
id,sequence\na,"AC\n => 2: malformed table: <...>
id,sequence\na,"AC"GT\n => 2: malformed table: <...>
id,sequence\n\udce9,ACGT\n => 1: invalid byte 0xE9 in the table (expected UTF-8). Save it as CSV
    UTF-8
id,sequence\n"a\nb",ACGT\n => 3: line break in the record id
id,sequence\na\u202eb,ACGT\n => 2: invalid character U+202E in the record id
[numbered]
id,sequence\na,AC\na,GT\n,G\n == {'odd_1': 'AC', 'odd_2': 'GT', 'odd_3': 'G'}
[annotations]
id,sequence,chrom,start,end,strand,group,height,kind\na,ACGT,c,2,6,-,g,1.5,\n == {'a': {'chrom':
    'c', 'start': 2, 'end': 6, 'strand': '-', 'group': 'g', 'height': '1.5', 'kind': None}}
id,sequence,chrom,group\na,ACGT,,\n == {'a': {}}
id,sequence,start,height\na,ACGT,28,1.5\n == {'a': {'height': '1.5'}}
id,sequence,start,end,strand\na,ACGT,29,32,f\n == {'a': {}}
[labelled]
id,sequence,label\na,AC,1\nb,GT,0\n == {'a': {'label': 1}, 'b': {'label': 0}}
id,sequence,label\na,AC,yes\n => 2: label 'yes' in 'label' is neither 1 nor 0. Name the positive
    labels, e.g. positive = "yes" in [data]
id,sequence,label\na,AC,\n => 2: the label 'label' is empty
id,sequence\na,AC\n => 1: no column 'label' in the table (columns: 'id', 'sequence'). Set label =
    "NAME" in [data]
id,sequence,labels\na,AC,1\n => 1: no column 'label' in the table (columns: 'id', 'sequence',
    'labels'). Did you mean 'labels'? Set label = "labels" in [data]
[kinds]
id,sequence,kind\na,AC,tss\nb,GT,exon\n == {'a': {'label': 1}, 'b': {'label': 0}}
[positions]
id,sequence\nc:2-6(-) 7C,ACGT\n == {'c:2-6(-) 7C': {'chrom': 'c', 'start': 2, 'end': 6, 'strand':
    '-', 'temperature': '7'}}
id,sequence\na,ACGT\n => 2: id 'a' lacks <...>. Change the record, or the pattern header in
    [data]
sequence\nACGT\n => 1: no column 'id' in the table (columns: 'sequence'). <...>
[label of class]
id,sequence\na class:x,AC\nb class:y,GT\n == {'a class:x': {'label': 1}, 'b class:y': {'label': 0}}
[columns]
name,seq\na,ACGT\n == {'a': 'ACGT'}
[chromosome]
sequence,chr\nACGT,1\n => 1: no column 'chromosome' in the table (columns: 'sequence', 'chr').
    Rename the column, or set columns = { chrom = "NAME" } in [data]
[no start]
"",id,sequence,chrom,start,end,strand\n1,a,ACGT,c,3,6,*\n == {'a': {'': '1', 'chrom': 'c'}}
[tsv]
id\tsequence\na\tACGT\n == {'a': 'ACGT'}
#chrom\tstart\tend\tid\tsequence\nchr1\t2\t10\ta\tACGTacgt\n == {'a': 'ACGTACGT'}
#chrom\tstart\tend\tsequence\tid\nchr1\t2\t10\tMKVLAAGIVGLLMKVLAAGI\ta\n => 2: invalid <...>
#chrom\tstart\tend\tpeak_seq\nchr1\t2\t10\tACGTacgt\n => 1: no column 'sequence' in the table
    (columns: '#chrom', <...>
[peaks]
#chrom\tstart\tend\tid\tpeak_seq\nchr1\t2\t10\ta\tACGTacgt\n == {'a': 'ACGTACGT'}
peak\tplanted\na\tb\n => 1: no column 'peak_seq' in the table (columns: 'peak', 'planted'). Rename
    the column, or set <...>
[any]
#chrom\tstart\tend\tname\tscore\nchr1\t2\t10\tENHANCER\t5\n => unsupported file type: BED or GFF
    intervals (<...> remove any # before the column names
##gff-version 3\nchr1\t.\tgene\t1\t20\t.\t+\t.\tACGTACGT\n => unsupported file type: BED or GFF
    intervals <...>
id,sequence\na,ACGT\n == {'a': 'ACGT'}
text,label,Seq\nACGT,1,AC\n => 1: no column 'sequence' in the table (columns: 'text', 'label',
    'Seq'). Did you mean 'Seq' or 'text'? Rename the column, or set columns = { sequence = "Seq" }
    in [data]
[parquet]
PAR1 is no Parquet => cannot read the Parquet file: <...>. Download or write it again
ACGT\n => cannot read the Parquet file: <...>. Download or write it again
"""
SECTIONS = {
    "csv": (read, "odd.csv"),
    "numbered": (numbered, "odd.csv"),
    "annotations": (annotations, "odd.csv"),
    "labelled": (labelled, "odd.csv"),
    "kinds": (kinds, "odd.csv"),
    "positions": (partial(annotations, fields=Fields(header=POSITIONS)), "odd.csv"),
    "label of class": (
        partial(annotations, fields=Fields("label", ("x",), r"class:(\w+)")),
        "odd.csv",
    ),
    "columns": (partial(read, fields=Fields(columns={"sequence": "seq", "id": "name"})), "odd.csv"),
    "no start": (partial(annotations, fields=Fields(columns={"start": "", "end": ""})), "odd.csv"),
    "chromosome": (partial(read, fields=Fields(columns={"chrom": "chromosome"})), "odd.csv"),
    "tsv": (read, "odd.tsv"),
    "peaks": (partial(read, fields=Fields(columns={"sequence": "peak_seq"})), "odd.tsv"),
    "any": (read, "odd.txt"),
    "parquet": (read, "odd.parquet"),
}
ROWS = b"".join(b"r%d,ACGT\n" % i for i in range(600))
TYPES = {
    "sequence": ["AC", "GT"],
    "chrom": ["c", None],
    "start": [1, None],
    "end": [3, None],
    "label": [1, 0],
}
TYPES |= {"x": [0.5, None], "yes": [True, None]}
TYPED = {
    "odd_1": {"chrom": "c", "start": 1, "end": 3, "label": 1, "x": "0.5", "yes": "1"},
    "odd_2": {"label": 0, "x": None, "yes": None},
}
in_parquet = partial(Odd, name="odd.parquet")


def parquet(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pyarrow.parquet.write_table(pyarrow.table(columns), path)


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a function that writes Parquet and changes its bytes."""

    def write(path: Path) -> None:
        parquet(sequence=["AC"])(path)
        path.write_bytes(change(path.read_bytes()))

    return write


OTHERS = {
    "a NUL": Odd(
        b"id,sequence\n" + ROWS + b"b\x00,AC\n",
        "602: invalid byte 0x00 in the record id",
        name="odd.csv",
    ),
    "Parquet": in_parquet(parquet(id=["a"], sequence=["ACGT"]), A),
    "Parquet by its content": Odd(parquet(id=["a"], sequence=["ACGT"]), A, name="odd"),
    "the types of Parquet": in_parquet(parquet(**TYPES), TYPED, labelled),
    "Parquet without the column": in_parquet(
        parquet(id=["a"], seq=["ACGT"]),
        "no column 'sequence' in the table (columns: 'id', 'seq'). Did you mean 'seq'? <...>",
    ),
    "Parquet without rows": in_parquet(
        parquet(sequence=pyarrow.array([], pyarrow.string())), "the table has no rows"
    ),
    "Parquet with lists": in_parquet(
        parquet(sequence=["AC"], x=[[1, 2]]),
        "column 'x' contains a list (expected text, numbers or booleans)",
    ),
    "Parquet of numbers": in_parquet(
        parquet(sequence=[7]), "invalid character '7' in record 'odd_1' <...>"
    ),
    "truncated Parquet": in_parquet(
        changed(lambda content: content[:100]), "cannot read the Parquet file: <...>"
    ),
    "Parquet in gz": Odd(
        changed(gzip.compress),
        "Parquet cannot be read from a pipe or a compressed file. Unpack it, or save it as a file",
        name="odd.parquet.gz",
    ),
}
ODD_FILES = [*cases(TABLE, SECTIONS), *OTHERS.items()]
