"""Recognise numbers that are not learned next to others: statistics, counts and replicates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from selfattn_bio.sequence.intervals import finite

Texts = Sequence[str | None]

# properties of the sequence and statistics, such as GC content (%), adj.P.Val, SD of replicates
PROPERTY_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:len|length|width|gc|mfe|start|end|pos|position|p|q|fdr|sd|(?:lfc)?se|sem|cv"
    r"|std|standard)[\W_]*(?:bp|nt|aa|content|val|value|adj|err|error|dev|deviation)?"
    r"(?:\W*(?:\(|of\b).*)?\W*$"
)
# such as #barcodes, n_reads, reads.T0 and counts_rep1
COUNT_NAME = re.compile(
    r"(?i)^(?:#|(?:n|num|number)[_ ])"
    r"|(?:^|[_ .])(?:counts?|reads|barcodes|umis)(?:[_ .](?:t|rep)?[_ .]?\d+)?$"
)
REPLICATE_NAME = re.compile(r"(?i)(?:^|[_ .-])rep(?:licate)?[_ .-]?\d+$|[_ .-]r\d+$|replicate$")
NEARLY = 0.95  # smallest fraction of records with their own length in a column of lengths
ALIKE = 0.7  # smallest Spearman correlation, of any sign, of replicates and a number made of them


def is_auxiliary(name: str, texts: Texts, lengths: Sequence[int]) -> bool:
    """Return whether a column has such a name, or the lengths of the records."""
    patterns = (PROPERTY_NAME, COUNT_NAME, REPLICATE_NAME)
    return any(each.search(name.strip()) for each in patterns) or are_lengths(texts, lengths)


def are_lengths(texts: Texts, lengths: Sequence[int]) -> bool:
    """Return whether nearly all values are the lengths of the records."""
    equal = sum(finite(text or "") == length for text, length in zip(texts, lengths, strict=True))
    return equal >= NEARLY * len(lengths)


def replaced(numbers: Mapping[str, Texts]) -> list[str]:
    """Return the columns of numbers that are not learned: replicates, or the others next to them.

    Several replicates of one measurement, such as `y_rep1` and `y_rep2`, are learned unless another
    column correlates with their mean, as a column of the mean does.
    """
    replicates = [name for name in numbers if REPLICATE_NAME.search(name.strip())]
    others = [name for name in numbers if name not in replicates]
    stems = {REPLICATE_NAME.sub("", name.strip()) for name in replicates}
    if len(replicates) < 2 or len(stems) > 1:
        return replicates if others else []
    values = {name: [finite(text or "") for text in texts] for name, texts in numbers.items()}
    table = pd.DataFrame(values, dtype=float)
    mean = table[replicates].mean(axis="columns")
    pairs = [pd.DataFrame({0: mean, 1: table[name]}) for name in others]
    are_alike = any(abs(pair.corr("spearman").to_numpy()[0, 1]) >= ALIKE for pair in pairs)
    return replicates if are_alike else others
