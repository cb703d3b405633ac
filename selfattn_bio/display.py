"""Show counts, times and names in text."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

LABEL = 26  # most characters of a name in a figure, about a third of the width of a phone


def one_line(text: str) -> str:
    """Return text on one line: line breaks and other unprintable characters become escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def shortened(names: Sequence[str], most: int) -> str:
    """Join names with commas; those after the first `most` become "and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def short_name(name: str, most: int = LABEL) -> str:
    """Replace the middle of a name by "…" if it has more than `most` characters."""
    end = most // 3
    return name if len(name) <= most else f"{name[: most - end - 1]}…{name[-end:]}"


def short_names(names: Sequence[str], most: int = LABEL) -> list[str]:
    """Return a short label for each name; labels of different names differ.

    If a name has more than `most` characters, the first words are left out if all names share them:
    "LOCATION: Nucleus." becomes "Nucleus." next to "LOCATION: Golgi apparatus.". Names that are
    still longer lose their middle. If labels of different names are equal, all have their number.
    """
    is_long = len(names) > 1 and max(map(len, names)) > most
    starts = zip(*(name.split(" ")[:-1] for name in names), strict=False)
    shared = len(list(takewhile(lambda words: len({*words}) == 1, starts))) * is_long
    labels = [short_name(name.split(" ", shared)[-1].strip(), most) for name in names]
    is_clear = len({*labels}) == len({*names})
    return labels if is_clear else [f"{label} ({i})" for i, label in enumerate(labels, start=1)]


def did_you_mean(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Suggest the closest known name, as "did you mean 'split'?"; empty if none is close.

    Names that contain `name` are closest if this has more than three characters. Case is ignored,
    so "location" is equal to "Location".
    """
    lower, lowered = name.lower(), {each.lower(): each for each in known}
    within = [each for each in lowered if len(name) > 3 and lower in each]
    near = difflib.get_close_matches(lower, within or lowered, n=1, cutoff=0 if within else cutoff)
    return f"did you mean {lowered[near[0]]!r}?" if near else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 record" or "1,234 records"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def position_range(first: float, last: float, beyond: int = 0) -> str:
    """Name an interval of positions from 1, such as `positions 100 to 109`; both ends are included.

    Negative positions count from the end, where -1 is the last: `positions 31 to 26 from the end`,
    or `the last 31 positions` if no more than `beyond` positions follow.
    """
    if -1 - beyond <= last < 0 and first < last:
        return f"the last {-first:.0f} positions"
    side = " from the end" if first < 0 else ""
    if first == last:
        return f"position {abs(first):.0f}{side}"
    return f"positions {abs(first):.0f} to {abs(last):.0f}{side}"


def decimals(digits: int, *ends: float | None) -> int:
    """Return the digits to show an interval with: one or two more if an end is rounded to 0.

    An interval of a difference from -0.006 to -0.0003 would seem to contain 0 otherwise.
    """
    for number in range(digits, digits + 3):
        if not any(end and round(end, number) == 0 for end in ends):
            return number
    return digits


def with_interval(value: float, low: float, high: float, digits: int = 2, sign: str = "+") -> str:
    """Format a value and its interval, which may be missing: `+0.81 (+0.62 to +1.01)`."""
    if math.isnan(value):
        return "not measured"
    if math.isnan(low):
        return f"{value:{sign}.{digits}f}"
    shown = f"{sign}.{decimals(digits, low, high)}f"
    return f"{value:{shown}} ({low:{shown}} to {high:{shown}})"


def duration(seconds: float) -> str:
    """Return a time in a suitable unit, such as "59 s", "2.0 min", "2.0 h" or "2.3 days"."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{math.ceil(seconds)} s"


def dotted(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each entry of nested tables."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner_key}", inner) for inner_key, inner in dotted(value))
        else:
            yield key, value
