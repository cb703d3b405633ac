"""Choose the size of the test split, so that motifs can be tested on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.evaluation.units import FEW_UNITS, MIN_UNITS, count_units
from selfattn_bio.evidence.records import MIN_RECORDS
from selfattn_bio.sequence.readers.table import is_missing
from selfattn_bio.sequence.splits import SplitSampler
from selfattn_bio.wizard.columns import Texts

FRACTION = 0.15  # fraction of the records in valid, and in test
MOST = 0.25  # fraction of the records that valid or test may have after a chromosome is added
# larger fractions of the records in test, if groups or clusters are few. Train keeps 45 % or more:
# of 78 families in three classes, test had 9 of each class with 0.3, and 10 with 0.4.
LARGER = (0.2, 0.25, 0.3, 0.35, 0.4)
CLASS_UNITS = 15  # clusters of a class wanted in test: 10 with a site are needed
NUMBER_UNITS = 30  # clusters wanted in test if numbers are learned
MIN_CHROMOSOMES = 3  # one each for train, valid and test


def choose_fraction(kind: str, units: Sequence[Any], classes: Sequence[Texts]) -> tuple[float, str]:
    """Return the fraction of the records in test, and the reason if it is larger than `FRACTION`.

    It is the smallest with enough units (groups or clusters, one per record) of each class and in
    all. If no fraction has enough, it is the one with most.
    """
    table, keys = _class_table(classes), pd.factorize(np.asarray(units, dtype=object))[0]
    wanted, found = CLASS_UNITS if table.nunique().max() > 1 else NUMBER_UNITS, {}
    for fraction in (FRACTION, *LARGER):
        is_test = SplitSampler(FRACTION, fraction, 0, table).assign(table, keys) == "test"
        counts = count_units(keys[is_test], table[is_test].assign(all="all"))
        found[fraction] = counts.min(), min(counts.min() / wanted, counts["all", "all"] / FEW_UNITS)
        if found[fraction][1] >= 1:
            break
    best = max(found, key=lambda fraction: found[fraction][1])
    more = f"gives {found[best][0]} {kind} of the rarest class, not {found[FRACTION][0]}"
    return best, f"{more}; a motif needs {MIN_UNITS}" if best > FRACTION else ""


def choose_chromosomes(chromosomes: Texts, classes: Sequence[Texts]) -> dict[str, list[str]]:
    """Choose the chromosomes of valid and test; an empty dictionary if none fit.

    Both start with one chromosome that has about `FRACTION` of the records. The smaller of the two
    gets more until each has `FRACTION`, and then test until it has `MIN_RECORDS` of each of the
    `classes` of the columns. None gets above `MOST` by this. Of two classes, each chromosome has
    both.
    """
    total = Counter(chromosomes)
    if None in total or len(total) < MIN_CHROMOSOMES:
        return {}
    counts = pd.get_dummies(_class_table(classes)).groupby(np.array(chromosomes)).sum()
    fit = [name for name in total if name and (counts.shape[1] > 2 or counts.loc[name].all())]
    fit.sort(key=lambda name: (abs(total[name] / len(chromosomes) - FRACTION), name))
    if len(fit) < 2 or sum(total[name] for name in fit[:2]) > len(chromosomes) / 2:
        return {}
    chosen = {"valid": fit[:1], "test": fit[1:2]}
    sizes = {"test": total[fit[1]], "valid": total[fit[0]]}
    for name in fit[2:]:
        small = [split for split, size in sizes.items() if size < FRACTION * len(chromosomes)]
        split = min(small, key=sizes.__getitem__, default="test")
        fits = sizes[split] + total[name] <= MOST * len(chromosomes)
        if fits and (small or counts.loc[chosen["test"]].sum().min() < MIN_RECORDS):
            chosen[split].append(name)
            sizes[split] += total[name]
    return chosen


def _class_table(classes: Sequence[Texts]) -> pd.DataFrame:
    """Return the class of each record in each column; missing ones are None."""
    return pd.DataFrame(classes).map(lambda text: None if is_missing(text) else text)
