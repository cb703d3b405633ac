"""Odd FASTA files: lines, letters, labels in headers, proteins."""

from __future__ import annotations

from functools import partial

from odd import A, Odd, annotations, cases, counted, kinds, labelled, numbered, read

from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.records import Fields

TABLE = r"""
[read]
>a\nACGT == {'a': 'ACGT'}
\n\n>a\nACGT\n == {'a': 'ACGT'}
>a\nAC GT\t\n == {'a': 'ACGT'}
>a\nAC\r\nGT\n>b\r\nAC\n == {'a': 'ACGT', 'b': 'AC'}
>a\rACGT\r => 1: lines end in CR (expected LF or CRLF). Convert it, e.g. tr '\r' '\n' < old.fa >
    new.fa
\ufeff>a\nACGT\n == {'a': 'ACGT'}
>a\tsome words\nACGT\n == {'a': 'ACGT'}
>séq_序列\nACGT\n == {'séq_序列': 'ACGT'}
>a>b > c\nACGT\n == {'a>b': 'ACGT'}
> a b\nACGT\n == {'a': 'ACGT'}
>a\nACGT>b\nACGT\n => 2: invalid character '>' in record 'a' (expected IUPAC DNA codes). Correct the
    sequence or remove the record
; old style\n>a\nACGT\n => 1: no '>' header before '; old style'. Put '>' and an id on a line before
    each sequence
\nACGT\n>a\nACGT\n => 2: no '>' header before 'ACGT'. <...>
>a\nACGT\n>b\n>c\nA\n => 3: record 'b' has no sequence. Remove the record or add its sequence
>a\nAC\n\n>b\n\n => 4: record 'b' has no sequence. <...>
>a\nAC\n>b => 3: record 'b' has no sequence. <...>
> => 1: record without an id: header '>'. Write an id after '>', or number the records: ids =
    "numbered" in [data]
>a\nAC\n>b\nAC\n>a x\nGG\n => 5: record id 'a' is used twice (first in {path}:1). Rename or remove
    one (an id ends at the first space), or number the records: ids = "numbered" in [data]
>a \udce9\nACGT\n => 1: invalid byte 0xE9 in the header (expected UTF-8)
>a\nACGT\n>b\nACGT\nACJT\n => 5: invalid character 'J' in record 'b' <...>
>b\r\nACGTACGTACGTACGTACGT\r\n\r\nA?GT!\r\n => 4: invalid character '?' and 1 more in record <...>
>a\nACéGT\n => 2: invalid byte 0xC3 and 1 more in record 'a' (expected IUPAC <...>
>a\nAC--GT\n => 2: invalid character '-' and 1 more in record 'a' (expected IUPAC DNA codes). Remove
    the alignment gaps, <...>, or set gaps = "remove" in [data]
>a\nACGT..\n => 2: invalid character '.' and 1 more <...>. Remove the alignment gaps, <...>
>p\nMKVLAAGIVGLLLAQPSFE\n => 2: invalid character 'L' and 8 more <...>. It looks like protein:
    choose a model, or motifs, of protein, or set alphabet = "protein" in [data]
>a\nACGT*\n => 2: invalid character '*' in record 'a' (expected IUPAC DNA codes). Remove the stop
    signs; only one at the end of a protein is removed automatically
[numbered]
> 6400\nACGT\n>\nAC\n == {'odd_1': 'ACGT', 'odd_2': 'AC'}
>DNA\nACGT\n>DNA\nAC\n == {'odd_1': 'ACGT', 'odd_2': 'AC'}
[counted]
>a\r\nAC\r\nGT\r\n == ('ACGT', {'CRLF': 1})
>a\nAC\rGT\n == ('ACGT', {'CRLF': 1})
>a\nacGT\n == ('ACGT', {'lower case': 1})
>a\nACGU\n == ('ACGT', {'U in DNA': 1})
>a\nACGNRY\n == ('ACGNRY', {'IUPAC codes': 1})
[without gaps]
>a\nA-C--GT.\n == ('ACGT', {'gaps (removed)': 1})
>b\n----\n => 1: record 'b' has no sequence. <...>
[hard]
>a\nacGTnu\n == ('NNGTNN', {'lower case': 1, 'U in DNA': 1, 'IUPAC codes': 1})
[annotations]
>a chrom=c2 start=7 end=11 strand=- group=g1 other=2\nACGT\n>b\nAC\n == {'a': {'chrom': 'c2',
    'start': 7, 'end': 11, 'strand': '-', 'group': 'g1'}, 'b': {}}
>a\tchrom=c\tstart=2\tend=6\nACGT\n == {'a': {'chrom': 'c', 'start': 2, 'end': 6}}
>a chrom=c start=x end=4\nACGT\n => 1: invalid start 'x' in the header (expected a whole
    number<...>)
>a chrom=c start=4\nACGT\n => 1: start without end in the header. Give both, or rename the one
    that is given
>a chrom=c end=4\nACGT\n => 1: end without start in the header. <...>
>a start=4\nACGT\n>b start=x end=y strand=f group=g\nACGT\n == {'a': {}, 'b': {'group': 'g'}}
>a chrom=c strand=f\nACGT\n => 1: invalid strand 'f' in the header (expected +, -, or . or
    * for none)
>a strand=.\nACGT\n>b strand=*\nAC\n == {'a': {}, 'b': {}}
>a chrom= x\nACGT\n => 1: invalid chrom '' in the header (expected a name)
>a chrom=c start=1 end=4\nACGT\n => 1: end - start in the header is 3, but the sequence has length
    4.
    Coordinates are 0-based half-open: subtract 1 from a 1-based start
>a group="two words" start=2 end=6 chrom="c\nACGT\n == {'a': {'chrom': '"c', 'start': 2, 'end': 6,
    'group': 'two words'}}
[labelled]
>a label="1" group="g"\nAC\n == {'a': {'label': 1, 'group': 'g'}}
>a label=1\nAC\n>b label=0\nGT\n == {'a': {'label': 1}, 'b': {'label': 0}}
>a\nA\n>b label=1\nGT\n => 1: no label in the header '>a' (expected label=...)
>a label=1 note="was label=0 before" label=0\nAC\n == {'a': {'label': 1}}
>a note="was label=0 before" label=1\nAC\n == {'a': {'label': 1}}
>a label="1 x\nAC\n => 1: label '"1' in 'label' is neither 1 <...>
>a label=2\nAC\n => 1: label '2' in 'label' is neither 1 <...>
>a label= x\nAC\n => 1: the label 'label' is empty
[kinds]
>a kind=tss\nAC\n == {'a': {'label': 1}}
[class]
>a class:x\nAC\n == {'a': {'label': 'x'}}
>a\nAC\n => 1: header '>a' lacks label. Change the record, or the pattern header in
    [data]
[label of class]
>a class:x\nAC\n>b class:y\nGT\n == {'a': {'label': 1}, 'b': {'label': 0}}
[positions]
>x chr2:4-6(+) 37C\nAC\n == {'x': {'chrom': 'chr2', 'start': 4, 'end': 6, 'strand': '+',
    'temperature': '37'}}
[id]
>sp|P1|X\nAC\n == {'P1': {}}
[protein]
>p\nACDEFGHIKLMNPQRSTVWY\n == ('ACDEFGHIKLMNPQRSTVWY', {})
>p\nMKUO\n == ('MKUO', {'selenocysteine or pyrrolysine (U, O)': 1})
>p\nMKBZJX\n == ('MKBZJX', {'ambiguous residues (B, Z, J, X)': 1})
>p\nMKVL*\n == ('MKVL', {'a stop sign at the end (removed)': 1})
>p\nMKVL\n*\n == ('MKVL', {'a stop sign at the end (removed)': 1})
>p\nMK\nM*VL\n => 3: invalid character '*' in record 'p' (expected one-letter amino acid codes).
    Remove the stop signs; only one at the end of a protein is removed automatically
>p\nMKVL**\n => 2: invalid character '*' and 1 more in record <...>. Remove the stop signs; <...>
>b\n*\n => 1: record 'b' has no sequence. <...>
>p\nMK-VL\n => 2: invalid character '-' in record 'p' <...>. Remove the alignment gaps, <...>
[rna]
>r\nacgTU\n == ('ACGUU', {'lower case': 1, 'T in RNA': 1})
>r\nACGN\n>s\nMKVLAAGI\n => 4: invalid character 'L' and 1 more in record 's' (expected IUPAC RNA
    codes). It looks like protein<...>
[hard protein]
>p\nmkVLz\n == ('XXVLX', {'lower case': 1, 'ambiguous residues (B, Z, J, X)': 1})
"""
POSITIONS = r"(?P<chrom>\w+):(?P<start>\d+)-(?P<end>\d+)\((?P<strand>.)\) (?P<temperature>\d+)C"
hard = partial(counted, policy=SequencePolicy(DNA, "hard"))
SECTIONS = {
    "read": (read,),
    "numbered": (numbered,),
    "counted": (counted,),
    "without gaps": (partial(counted, policy=SequencePolicy(DNA, gaps="remove")),),
    "hard": (hard,),
    "annotations": (annotations,),
    "labelled": (labelled,),
    "kinds": (kinds,),
    "class": (partial(annotations, fields=Fields(header=r"class:(\w+)")),),
    "label of class": (partial(annotations, fields=Fields("label", ("x",), r"class:(\w+)")),),
    "positions": (partial(annotations, fields=Fields(header=POSITIONS)),),
    "id": (partial(annotations, fields=Fields(header=r"sp\|(?P<id>\w+)")),),
    "protein": (partial(counted, policy=SequencePolicy(PROTEIN)),),
    "rna": (partial(counted, policy=SequencePolicy(RNA)),),
    "hard protein": (partial(counted, policy=SequencePolicy(PROTEIN, "hard")),),
}
M, HALF_M = b"ACGT" * 700_000, b"A" * (2**20 - 5)  # more than a block, and nearly a block
TWO = {"a": HALF_M.decode(), "b": "AC"}
NUL = b">" + b"x" * 5000 + b"\nA\n>b\x00\nA\n"
LATE = b">a\n" + b"ACGT\n" * 300_000 + b"A!GT\n"
OTHERS = {
    "a NUL in the id": Odd(NUL, "3: invalid byte 0x00 in the record id"),
    "a header of a mebibyte": Odd(
        b">" + b"x" * 3 * 2**20,
        "1: header '>xxxxxxxxxxxxxxxxxxx'... is longer than 1,048,576 bytes",
    ),
    "a long header": Odd(b">a " + b"x" * 100_000 + b"\nACGT\n", A),
    "a late letter": Odd(LATE, "300002: invalid character '!' <...>"),
    "a long record": Odd(b">a\n" + M + b"\n>b\nAC\n", {"a": M.decode(), "b": "AC"}),
    "a header at the border of a block": Odd(b">a\n" + HALF_M + b"\n>b\nAC\n", TWO),
    "a mask over blocks": Odd(
        b">a\nAC" + b"g" * 3_000_000 + b"T\n",
        (f"AC{'N' * 3_000_000}T", {"lower case": 1}),
        hard,
    ),
}
ODD_FILES = [*cases(TABLE, SECTIONS), *OTHERS.items()]
