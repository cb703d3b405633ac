"""Units of records that are not independent, such as those of a cluster or of a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

LEAST_UNITS = 3  # with two units of one label each, all resamples would be equal
# Minimum number of units to measure the effect of a motif. With n units, the smallest possible
# p-value is 2 / 2^n, and with fewer than 10 it is not significant among 25 motifs.
MIN_UNITS = 10
FEW_UNITS = 20  # a bootstrap over fewer units gives intervals that are too narrow
# A unit counts for a class that is at least this many times as frequent in it as in all records,
# so that one wrong label in a family of another class does not count.
TYPICAL = 0.75
TOO_NARROW = ", so intervals are too narrow)"  # ends the name of few units


@dataclass(frozen=True)
class Units:
    """Records that belong together, because they are not independent.

    Bootstraps resample them together, and tests account for their similarity.

    Attributes
    ----------
    name
        Name of the units, such as "records", "clusters" or "blocks of 500,000 bp".
    numbers
        Number of each record's unit, from 0, (n,).
    """

    name: str
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, keys: ArrayLike, name: str) -> Units:
        """Form units of records with equal keys (n,); single records if there are only one or two.

        Three records with keys a, b, a have the numbers 0, 1, 0.
        """
        found, numbers = np.unique(keys, return_inverse=True)
        if len(found) < min(LEAST_UNITS, len(numbers)):
            few = f"records (fewer than {LEAST_UNITS} {name}{TOO_NARROW}"
            return cls(few, np.arange(len(numbers)))
        return cls(name, numbers)

    @classmethod
    def single(cls, number: int) -> Units:
        """Return units of single records."""
        return cls("records", np.arange(number))

    def within(self, rows: NDArray[Any]) -> Units:
        """Return the units of some records."""
        return Units.of(self.numbers[rows], self.name)

    def entry(self) -> dict[str, Any]:
        """Return what the units are, with a note if they are few, and their number."""
        number, few = int(self.numbers.max()) + 1, f" (fewer than {FEW_UNITS}{TOO_NARROW}"
        is_named = number >= FEW_UNITS or TOO_NARROW in self.name
        return {"unit": self.name if is_named else self.name + few, "units": number}

    def design_effect(self, first: NDArray[Any], second: NDArray[Any] | None = None) -> float:
        """Return how much larger the variance of sum(first * second) is than of single records.

        It is at least 1, and exactly 1 for single records. Four records per unit with equal values
        of both have 4. The covariances within units of both factors, (n,) or (n, k), are estimated
        separately, because they are independent if the null hypothesis holds. Values that are all
        equal count as similar within units. Without a second factor it is that of sum(first).

        References
        ----------
        Scott and Holt 1982, The effect of two-stage sampling on ordinary least squares methods.
        """
        sizes = np.bincount(self.numbers)
        pairs, number, shared = int(sizes @ (sizes - 1)), len(self.numbers), 1.0
        if not pairs:
            return 1.0
        for values in (first, np.ones(number) if second is None else second):
            x = (values - values.mean(axis=0)).reshape(number, -1)
            sums = np.stack([np.bincount(self.numbers, column) for column in x.T])
            total = (x**2).sum()
            shared *= (sums**2).sum() / total - 1 if total else pairs / number
        return max(1.0, 1 + shared * number / pairs)


def growth(found: int, needed: int) -> float:
    """Return how many times as many test records are about enough for the needed units.

    The largest units are assigned first, so test gets mostly small ones and their number grows
    slowly: with 2.7 times the records, test had 1.5 times as many families of proteins.
    """
    return (needed / max(found, 1)) ** 2


def count_units(keys: ArrayLike, classes: pd.DataFrame) -> pd.Series:
    """Count the units that have many records of each class (`TYPICAL`), by column and class.

    Parameters
    ----------
    keys
        Key of the unit of each record, (n,).
    classes
        Class of each record, one column per question; missing values are not counted.
    """
    counts = {}
    for column, of in classes.items():
        records = pd.DataFrame({"unit": keys, "class": of.to_numpy()}).value_counts()
        fractions = records / records.groupby("unit").transform("sum")
        overall = records.groupby("class").transform("sum") / records.sum()
        counts[column] = (fractions >= TYPICAL * overall).groupby("class").sum()
    return pd.concat(counts)
