"""Stand in for a corpus: a table of records and their letters in memory."""

from types import SimpleNamespace

import numpy as np

from selfattn_bio.evaluation.lineage import seen_table
from selfattn_bio.sequence.alphabet import DNA


def corpus_of(records, letters, assembly=""):
    """Return records and their letters in the form of a `Corpus` of DNA."""
    corpus = SimpleNamespace(records=records, alphabet=DNA, assembly=assembly)
    corpus.each = lambda rows: [letters[row] for row in rows]
    return corpus


def seen(records, letters, assembly="", parent=None, partners=()):
    """Return `seen_table` of all records of such a corpus."""
    corpus = corpus_of(records, letters, assembly)
    return seen_table(corpus, np.arange(len(records)), parent, partners)
