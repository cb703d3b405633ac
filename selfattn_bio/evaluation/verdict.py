"""Decide which of two classifiers is better, as far as units and trainings allow.

A bootstrap over few units gives intervals that are too narrow, so a difference over fewer than
`units.FEW_UNITS` says nothing. Trainings with different seeds give different results, and the
mean of several networks is better than one network. An interval over test records accounts for
neither. "better" and "worse" therefore require the same number of networks in both classifiers,
from several trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from selfattn_bio.config.derived import STACKED
from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.units import TOO_NARROW

# Minimum number of trainings with different seeds for the verdicts better and worse
TRAININGS = 3

Verdict = Literal["too few", "better", "worse", "higher", "lower", "not distinguishable"]


@dataclass(frozen=True)
class ClassifierSize:
    """Number of networks and trainings behind a classifier.

    Attributes
    ----------
    networks
        Number of networks whose outputs are averaged; 0 for other classifiers, whose fit does not
        depend on a seed.
    trainings
        Number of trainings with different seeds that produced the networks.
    """

    networks: int = 0
    trainings: int = 0

    def equals(self, other: ClassifierSize) -> bool:
        """Return whether sizes are equal, or one of the classifiers is not a network."""
        return not self.networks or not other.networks or self.networks == other.networks

    @property
    def is_repeated(self) -> bool:
        """Return whether there were enough trainings to rule out a lucky seed."""
        return not self.networks or self.trainings >= TRAININGS


def verdict(
    lead: Mapping[str, float],
    unit: str,
    first: ClassifierSize = ClassifierSize(),
    second: ClassifierSize = ClassifierSize(),
) -> Verdict:
    """Judge the difference first - second by its interval from `low` to `high`.

    If 0 is in the interval, the two are "not distinguishable". "better" and "worse" require equal
    sizes and repeated trainings; otherwise the difference is only "higher" or "lower". If `unit`
    has the note of `Units.entry` that there are few, these are "too few" for any verdict.
    """
    if unit.endswith(TOO_NARROW):
        return "too few"
    if lead["low"] <= 0 <= lead["high"]:
        return "not distinguishable"
    conclusive = first.equals(second) and first.is_repeated and second.is_repeated
    if lead["low"] > 0:
        return "better" if conclusive else "higher"
    return "worse" if conclusive else "lower"


def sizes_of(metrics: Mapping[str, Any], *names: str) -> list[ClassifierSize]:
    """Read the sizes of classifiers from metrics.json, which contains those of networks.

    Raises
    ------
    ResultsError
        If metrics.json was written by a version that did not compare networks alone.
    """
    if "networks" not in metrics["differences"]:
        message = "metrics.json is from an earlier version and lacks a comparison of networks"
        raise ResultsError(message, hint="Run `selfattn-bio evaluate TASK` again")
    sizes = metrics["sizes"]
    return [ClassifierSize(**sizes.get(name.removesuffix(STACKED), {})) for name in names]


def caveat(first: ClassifierSize, second: ClassifierSize) -> str:
    """Return why a difference is not conclusive, as a clause; empty if it is conclusive.

    A model of two networks and a CNN of one network, each trained once, give "the numbers of
    networks differ (2 and 1) and each was trained only once".
    """
    reasons = []
    if not first.equals(second):
        reasons.append(f"the numbers of networks differ ({first.networks} and {second.networks})")
    if not (first.is_repeated and second.is_repeated):
        counts = [size.trainings for size in (first, second) if size.networks]
        number = min(counts)
        if len(counts) == 2:
            who = "each" if counts[0] == counts[1] else "one of them"
            times = {1: "once", 2: "twice"}.get(number, f"{number} times")
            reasons.append(f"{who} was trained only {times}")
        else:
            trainings = {1: "one training", 2: "two trainings"}.get(number, f"{number} trainings")
            reasons.append(f"the comparison is based on only {trainings}")
    *others, last = reasons or [""]
    return f"{', '.join(others)} and {last}" if others else last
