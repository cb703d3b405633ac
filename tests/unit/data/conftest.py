"""Two small FASTA files and their corpus, and corpora of run files."""

import pytest
from commands import run
from small_corpus import ingested

import selfattn_bio as sb

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


@pytest.fixture
def ingest(here):
    """Write files and a run file, ingest them in their folder, and open the corpus.

    In names of files, _ stands for a dot and __ for a slash.
    """

    def ingest(run_file, **files):
        for name, text in files.items():
            path = here / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        (here / "run.toml").write_text(run_file)
        run("ingest .")
        return sb.Study(".").corpus

    return ingest
