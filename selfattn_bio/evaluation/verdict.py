"""Decide which of two classifiers is better, as far as their trainings allow.

Trainings with different seeds give different results, and the mean of several networks is better
than one network. An interval over test records accounts for neither. "better" and "worse" therefore
require the same number of networks in both classifiers, from several trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from selfattn_bio.errors import ResultsError

# Minimum number of trainings with different seeds for the verdicts better and worse
TRAININGS = 3

Verdict = Literal["better", "worse", "higher", "lower", "not distinguishable"]


@dataclass(frozen=True)
class ClassifierSize:
    """Number of networks, trainings and stacked models behind a classifier.

    Attributes
    ----------
    networks
        Number of networks whose outputs are averaged; 0 for other classifiers, whose fit does not
        depend on a seed.
    trainings
        Number of trainings with different seeds that produced the networks.
    parts
        Number of simple models stacked with the networks.
    """

    networks: int = 0
    trainings: int = 0
    parts: int = 0

    def equals(self, other: ClassifierSize) -> bool:
        """Return whether sizes are equal, or one of the classifiers is not a network."""
        return (
            not self.networks
            or not other.networks
            or (self.networks, self.parts) == (other.networks, other.parts)
        )

    @property
    def is_repeated(self) -> bool:
        """Return whether there were enough trainings to rule out a lucky seed."""
        return not self.networks or self.trainings >= TRAININGS


def verdict(lead: Mapping[str, float], first: ClassifierSize, second: ClassifierSize) -> Verdict:
    """Judge the difference first - second by its interval from `low` to `high`.

    If 0 is in the interval, the two are "not distinguishable". "better" and "worse" require equal
    sizes and repeated trainings; otherwise the difference is only "higher" or "lower".
    """
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
        If metrics.json was written by a version that did not store sizes.
    """
    if "sizes" not in metrics:
        message = "metrics.json is from an earlier version and lacks the number of networks"
        raise ResultsError(message, hint="Run `selfattn-bio evaluate TASK` again")
    return [ClassifierSize(**metrics["sizes"].get(name, {})) for name in names]


def caveat(first: ClassifierSize, second: ClassifierSize) -> str:
    """Return why a difference is not conclusive, as a clause; empty if it is conclusive.

    A model of two networks and a CNN of one network, each trained once, give "the numbers of
    networks differ (2 and 1) and each was trained only once".
    """
    reasons = []
    if first.networks and second.networks:
        if first.networks != second.networks:
            reasons.append(
                f"the numbers of networks differ ({first.networks} and {second.networks})"
            )
        if first.parts != second.parts:
            reasons.append(
                "they are combined with different numbers of simple models "
                f"({first.parts} and {second.parts})"
            )
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
