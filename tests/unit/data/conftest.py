"""Two small FASTA files and their corpus."""

import pytest
from small_corpus import ingested

POSITIVES = """>a chrom=chr2L start=3 end=11 strand=- group=g
acgtACGU
>b
ACGTNNAA
>again
ACGTACGT
>only_n
NNNNNN
>short
ACG
>long
ACGTACGTACGTACGT
"""
NEGATIVES = """>c
ACGTACGT
>d
TTTTTT
"""


@pytest.fixture
def files(tmp_path):
    paths = (tmp_path / "positives.fa", tmp_path / "negatives.fa")
    for path, text in zip(paths, (POSITIVES, NEGATIVES), strict=True):
        path.write_text(text)
    return paths


@pytest.fixture
def corpus(files, tmp_path):
    return ingested(files, tmp_path / "corpus", labels=(1, 0), min_length=6, max_length=8)
