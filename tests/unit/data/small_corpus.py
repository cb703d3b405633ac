"""Build small corpora, and read tables of errors."""

import re
from pathlib import Path

from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile


def ingested(files, folder, targets=None, labels=(None, None), alphabet=DNA, **rules):
    """Build a corpus of one file, or of two files with the two labels."""
    sources = [SequenceFile(Path(file), label) for file, label in zip(files, labels, strict=False)]
    return build_corpus(sources, folder, RecordRules(alphabet, **rules), targets)


def with_targets(files, tmp_path, text, name="targets.tsv", **rules):
    """Build a corpus with a table of targets."""
    (tmp_path / name).write_text(text)
    return ingested(files, tmp_path / "corpus", tmp_path / name, **rules)


def fasta(path, *texts, prefix="r"):
    """Write the texts as records r0, r1, ... and return the path."""
    path.write_text("".join(f">{prefix}{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


def errors(table):
    """Return pairs of a text and its error from lines `text => error`.

    " / " separates the lines of a text; indented lines continue a case.
    """
    lines = re.sub("\n {4}", " ", table).strip().splitlines()
    return [line.replace(" / ", "\n").split(" => ") for line in lines]
