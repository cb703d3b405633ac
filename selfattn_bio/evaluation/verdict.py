"""Say which of two classifiers is better, and no more than their trainings show.

Two trainings of one network with different seeds differ, and the mean of several networks is better than one. An interval over the test
records knows neither, so "better" and "worse" need as many networks on both sides, from several trainings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from selfattn_bio.errors import ResultsError

TRAININGS = 3  # with different seeds, at least, of each network that is called better or worse

Verdict = Literal["better", "worse", "higher", "lower", "not distinguishable"]


@dataclass(frozen=True)
class Size:
    """How much training a classifier is the result of.

    Attributes
    ----------
    networks
        Whose outputs are averaged; 0 if it is no network. Its fit then has no seed that matters.
    trainings
        They come from, with different seeds.
    parts
        Simple models that are stacked with the networks.
    """

    networks: int = 0
    trainings: int = 0
    parts: int = 0

    def equals(self, other: Size) -> bool:
        """Return whether both have as many networks and stacked parts, or one of them is no network."""
        return not self.networks or not other.networks or (self.networks, self.parts) == (other.networks, other.parts)

    @property
    def is_repeated(self) -> bool:
        """Return whether it was trained often enough to tell it from a lucky seed."""
        return not self.networks or self.trainings >= TRAININGS


def verdict(lead: Mapping[str, float], first: Size, second: Size) -> Verdict:
    """Judge a difference first - second by its interval `low` to `high`.

    "better" and "worse" need equal sizes and repeated trainings; without them the difference is "higher" or "lower".
    """
    if lead["low"] <= 0 <= lead["high"]:
        return "not distinguishable"
    shown = first.equals(second) and first.is_repeated and second.is_repeated
    if lead["low"] > 0:
        return "better" if shown else "higher"
    return "worse" if shown else "lower"


def sizes_of(metrics: Mapping[str, Any], *names: str) -> list[Size]:
    """Read the sizes of classifiers from metrics.json, which holds those of networks.

    Raises
    ------
    ResultsError
        If metrics.json was written before it held sizes.
    """
    if "sizes" not in metrics:
        message = "metrics.json does not say how many networks were trained; it is of an earlier version"
        raise ResultsError(message, cure="Run `selfattn-bio evaluate` again")
    return [Size(**metrics["sizes"].get(name, {})) for name in names]


def caveat(first: Size, second: Size) -> str:
    """Say why a difference proves no more than that, as the end of a sentence; empty if there is no reason."""
    reasons = []
    if first.networks and second.networks:
        if first.networks != second.networks:
            reasons.append(f"{first.networks} networks against {second.networks}")
        if first.parts != second.parts:
            reasons.append(f"{first.parts} stacked simple models against {second.parts}")
    if not (first.is_repeated and second.is_repeated):
        counts = {size.trainings for size in (first, second) if size.networks}
        each = " each" if first.networks and second.networks else ""
        number = {1: "one training", 2: "two trainings"}.get(min(counts), f"{min(counts)} trainings")
        reasons.append(f"{number}{each if len(counts) == 1 else ''}")
    return ", ".join(reasons)
