"""Two small FASTA files and their corpus, for the tests of corpora."""

from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA

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


def write_files(tmp_path):
    paths = (tmp_path / "positives.fa", tmp_path / "negatives.fa")
    for path, text in zip(paths, (POSITIVES, NEGATIVES), strict=True):
        path.write_text(text)
    return paths


def ingested(files, tmp_path):
    return build_corpus(
        zip(files, (1, 0), strict=True),
        tmp_path / "corpus",
        RecordRules(DNA, "made up", min_length=6, max_length=8),
    )


def with_targets(files, tmp_path, text, name="targets.tsv"):
    (tmp_path / name).write_text(text)
    return build_corpus(
        [(path, None) for path in files], tmp_path / "corpus", RecordRules(DNA), tmp_path / name
    )
