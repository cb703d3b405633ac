"""Choose the positions of a long sequence that notebooks and figures show."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from selfattn_bio.arrays import Scores
from selfattn_bio.errors import ArgumentError
from selfattn_bio.motifs.logos import track
from selfattn_bio.scoring.regions import split_region
from selfattn_bio.sequence.genome import matching_name

MOST = 100  # positions whose letters are readable in a figure as wide as a notebook
HTML_MOST = 200  # positions of an explanation in a notebook, which scrolls
ALL = "all"
WIDTHS = (5.0, 15.0)  # inches: least and most
MARGIN, STEP = 1.0, 0.1  # inches: left of the axes, and per position
NEAR = 0.95  # fraction of the largest sum

PlotRegion = tuple[int, int] | str | None


def best_window(scores: ArrayLike, width: int = MOST) -> tuple[int, int]:
    """Return the window [start, end) with the largest sum of absolute scores.

    Among windows with nearly the largest sum, the middle one is chosen, so that a single site is in
    the middle of the window and not at its edge. A shorter sequence is returned completely.
    """
    heights = np.abs(np.asarray(scores, dtype=np.float64))
    if len(heights) <= width:
        return 0, len(heights)
    sums = np.convolve(heights, np.ones(width), mode="valid")
    near = np.flatnonzero(sums >= NEAR * sums.max())
    start = int(near[len(near) // 2])
    return start, start + width


def plot_interval(
    region: PlotRegion, scores: ArrayLike, name: str, start: int = 0
) -> tuple[int, int]:
    """Return the interval to plot, 0-based half-open, in the coordinates of `start`.

    Parameters
    ----------
    region
        (start, end), 0-based half-open; "NAME:FIRST-LAST", 1-based inclusive as in samtools; "all";
        or None for `best_window`.
    scores
        (L,) scores of positions [start, start + L).
    name
        Name of the sequence, in texts and errors. Texts may have a spelling of `matching_name`.

    Raises
    ------
    ArgumentError
        If the region is empty, malformed, or not within the positions.
    """
    end = start + len(np.asarray(scores))
    if region is None:
        first, last = best_window(scores)
        return start + first, start + last
    if isinstance(region, str):
        found = split_region(region)
        if region == ALL or matching_name(region, [name]):
            region = start, end
        elif found and matching_name(found[0], [name]):
            region = found[1], end if found[2] is None else found[2]
    match region:
        case (int() | np.integer() as first, int() | np.integer() as last) if (
            start <= first < last <= end
        ):
            return int(first), int(last)
    raise ArgumentError(
        f"region {region!r} is not within {name!r}, which has positions [{start}, {end})",
        hint=f"Pass (start, end) with these 0-based half-open positions, '{name}:FIRST-LAST' "
        f"(1-based inclusive, as in samtools), or {ALL!r}",
    )


def record_interval(
    region: PlotRegion, scores: ArrayLike, record: pd.Series[Any]
) -> tuple[int, int]:
    """Return the interval of a record to plot, in positions of its sequence.

    `record` is a row of `Explanation.records`. Text may also name its chromosome. The other
    arguments and errors are those of `plot_interval`.
    """
    found = split_region(region) if isinstance(region, str) else None
    if found and pd.notna(record["chrom"]) and record["id"] != found[0] == record["chrom"]:
        _, first, last = found
        start, end = int(record["start"]), int(record["end"])
        last = end if last is None else last
        region = (
            (end - last, end - first) if record["strand"] == "-" else (first - start, last - start)
        )
    return plot_interval(region, scores, record["id"])


def best_track_html(name: str, scores: Scores, letters: str) -> str:
    """Return the name of a sequence and its letters as HTML; of a long one, the best window."""
    start, end = best_window(scores.sum(axis=1), HTML_MOST)
    length = len(scores)
    where = f", positions {start + 1} to {end} of {length}" if end - start < length else ""
    svg = track(scores[start:end], letters, start).svg(height=80, label=f"letter track of {name}")
    return f"<div>{escape(name)}{where}</div>{svg}"


def figure_width(positions: int) -> float:
    """Return the width in inches of a figure of so many positions."""
    return float(np.clip(MARGIN + STEP * positions, *WIDTHS))
