"""Plots of predicted numbers, classes, labels and bins next to their true values.

As in `report.plots`, each function draws into the given axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from selfattn_bio.arrays import Bools, Floats, Integers
from selfattn_bio.display import short_name
from selfattn_bio.evaluation.summary import COVERAGE
from selfattn_bio.report.plots import (
    ABOVE,
    BASELINE,
    DOTS,
    DOTTED,
    MODEL,
    MUTED,
    PALETTE,
    VERDICTS,
    error_bars,
    name_rows,
)
from selfattn_bio.report.words import MISSING

MAX_POINTS = 1000  # more records are drawn as hexagons
HEXAGONS = 30  # along the horizontal axis
PARTS = 10  # parts of equal size, for means along an axis
MAX_CELLS = 12  # classes of a confusion matrix whose counts are written


def draw_scatter(predicted: ArrayLike, observed: ArrayLike, ax: Axes, name: str = "") -> None:
    """Draw observed against predicted values; the dotted diagonal is a perfect prediction.

    More than 1,000 records are counted in hexagons; darker ones have more records. Orange dots are
    means of ten groups of equal size with similar predictions; lines are their 95 % intervals over
    records. Groups with equal predictions are joined.

    Parameters
    ----------
    predicted, observed
        (n,), in the same unit.
    name
        Name of the column, for the labels of the axes.
    """
    x, y = np.asarray(predicted, dtype=float), np.asarray(observed, dtype=float)
    if len(x) > MAX_POINTS:
        ax.hexbin(x, y, gridsize=HEXAGONS, mincnt=1, bins="log", cmap="Blues", linewidths=0)
    else:
        ax.plot(x, y, "o", color=MODEL, alpha=0.45, markersize=2.5, markeredgewidth=0)
    groups = similar_groups(x)
    middles, means = ([of[group].mean() for group in groups] for of in (x, y))
    halves = [1.96 * y[group].std(ddof=1) / np.sqrt(group.sum()) for group in groups]
    orange = VERDICTS["contradicted"]
    ax.errorbar(middles, means, yerr=halves, ls="", color=orange, zorder=4, **DOTS)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    ax.plot([low, high], [low, high], color=MUTED, **DOTTED)
    ax.set(xlabel=f"predicted {name}".strip(), ylabel=f"observed {name}".strip())


def draw_profiles(shown: Sequence[Mapping[str, Any]], strands: int, ax: Any) -> None:
    """Draw observed and predicted counts per base of one record in each of the axes.

    `shown` are entries of `Profile.shown`. The reverse strand is drawn below 0.
    """
    for panel, each in zip(np.atleast_1d(ax), shown, strict=True):
        for sign, observed, predicted in zip(
            (1, -1),
            np.array_split(each["observed"], strands),
            np.array_split(each["predicted"], strands),
            strict=False,
        ):
            at = np.arange(len(observed)) - len(observed) // 2
            panel.vlines(at, 0, sign * observed, color=MUTED, linewidth=0.8)
            panel.plot(at, sign * predicted, color=MODEL, linewidth=0.9)
        panel.set(xlabel="bp from the middle", ylabel="counts")
        panel.set_title(short_name(f"{each['track']}, {each['id']}", 50), fontsize=7.5, loc="left")
        panel.label_outer()


def similar_groups(predicted: ArrayLike) -> list[Bools]:
    """Return ten groups of equal size with similar predictions, as masks (n,).

    Groups with equal predictions are joined, and those of a single record are left out.
    """
    edges = np.unique(np.quantile(np.asarray(predicted), np.linspace(0, 1, PARTS + 1)))
    last = max(len(edges) - 2, 0)
    part = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, last)
    return [part == i for i in range(last + 1) if (part == i).sum() > 1]


def draw_coverage(predicted: ArrayLike, inside: ArrayLike, ax: Axes, name: str = "") -> None:
    """Draw the fraction of prediction intervals that contain the observed value.

    Dots are groups of records with similar predictions; lines are 95 % intervals.

    Parameters
    ----------
    predicted
        (n,), the predicted values.
    inside
        Whether the interval of each record contains its observed value, (n,).
    name
        Name of the column, for the label of the horizontal axis.
    """
    x, inside = np.asarray(predicted, dtype=float), np.asarray(inside)
    groups = similar_groups(x)
    values, ends = error_bars([proportion(inside[group]) for group in groups])
    middles = [x[group].mean() for group in groups]
    ax.errorbar(middles, values, yerr=ends, ls="", color=MODEL, **DOTS)
    ax.axhline(COVERAGE, color=MUTED, **DOTTED)
    ax.set(ylim=(0, 1.02), xlabel=f"predicted {name}".strip(), ylabel="intervals with the value")


def proportion(inside: Bools) -> dict[str, float]:
    """Return the fraction of true values and its 95 % interval (Wilson 1927)."""
    found = binomtest(int(inside.sum()), len(inside)).proportion_ci(method="wilson")
    return {"value": float(inside.mean()), "low": found.low, "high": found.high}


def draw_confusion(counts: Integers, names: Sequence[str], ax: Axes) -> None:
    """Draw how often each true class (row) is predicted as each class (column).

    Cells are coloured by their fraction of the row. With up to 12 classes, they also have the
    fraction in percent and, below it, the count.

    Parameters
    ----------
    counts
        (C, C), as from `objectives.multiclass.confusion`.
    names
        Names of the classes, C.
    """
    rows = counts.sum(axis=1, keepdims=True)
    fractions = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    edges = np.arange(len(names) + 1) - 0.5
    # Not an image, because the page's policy forbids images
    ax.pcolormesh(edges, edges, fractions, cmap="Blues", vmin=0, vmax=1)
    ax.set(ylim=(edges[-1], edges[0]), aspect="equal")
    size = mpl.rcParams["font.size"] * (0.9 if len(names) <= 6 else 0.62)
    if len(names) <= MAX_CELLS:
        for (row, column), count in np.ndenumerate(counts):
            fraction = fractions[row, column]
            ax.text(
                column,
                row,
                f"{100 * fraction:.0f} %\n{count:,}" if rows[row] else MISSING,
                ha="center",
                va="center",
                fontsize=size,
                color="white" if fraction > 0.55 else "black",
            )
    is_wide = len(names) > 4 or len(names) * max(map(len, names)) > 24
    ax.set_xticks(range(len(names)), names, rotation=90 if is_wide else 0)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="predicted class", ylabel="true class")


def draw_pairs(
    rows: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]],
    names: tuple[str, str],
    ax: Axes,
    label: str,
    references: Sequence[float] = (),
) -> None:
    """Draw a metric of two classifiers with intervals for each class or column, top to bottom.

    Parameters
    ----------
    rows
        Name, interval of the model, and interval of the baseline or None. An interval has the keys
        value, low and high; undefined ones (None) are left out.
    names
        Names of both in the legend.
    label
        Label of the horizontal axis.
    references
        Position of a grey tick for each row, such as the chance level; empty for none.
    """
    both = (
        (names[0], MODEL, 4.0, -0.15, [of_model for _, of_model, _ in rows]),
        (names[1], BASELINE, 3.2, 0.15, [other for _, _, other in rows]),
    )
    for name, colour, size, away, found in both:
        known = [(y, of) for y, of in enumerate(found) if of and of["value"] is not None]
        if known:
            values, ends = error_bars([of for _, of in known])
            ax.errorbar(
                values,
                [y + away for y, _ in known],
                xerr=ends,
                fmt="o",
                color=colour,
                markersize=size,
                linewidth=size / 2.5,
                label=name,
            )
    if references:
        ax.plot(references, range(len(references)), "|", color=MUTED, markersize=9, label="chance")
    name_rows([name for name, *_ in rows], ax)
    ax.set_xlabel(label)
    ax.legend(**ABOVE, ncols=3, columnspacing=1.0)


def draw_distances(fractions: Mapping[str, Floats], chance: Floats, size: int, ax: Axes) -> None:
    """Draw the fraction of called bins with a point within each distance.

    Parameters
    ----------
    fractions
        Name of the classifier, the model first -> fraction for distances of 0, 1, 2, ... bins.
    chance
        The same for bins called at random.
    size
        bp per bin.
    ax
        Axes to draw into.
    """
    kb = np.arange(len(chance)) * size / 1000
    for i, (name, of) in enumerate(fractions.items()):
        ax.plot(kb, of, marker="o", markersize=3.5, color=PALETTE[i % len(PALETTE)], label=name)
    ax.plot(kb, chance, color=MUTED, label="bins at random", **DOTTED)
    ax.set(ylim=(0, 1.02), xlabel="maximum distance to a point (kb)")
    ax.set_ylabel("fraction of called bins")
    ax.legend(loc="lower right")


def draw_losses(losses: ArrayLike, mean: float, name: str, ax: Axes, label: str) -> None:
    """Draw a histogram of the mean loss of each record.

    Parameters
    ----------
    losses
        (n,); missing values are left out.
    mean, name
        Position and name of a dotted line, the mean of the best baseline.
    label
        Label of the horizontal axis.
    """
    values = np.asarray(losses, dtype=float)
    ax.hist(values[np.isfinite(values)], bins=30, color=MODEL, label="this model")
    ax.axvline(mean, color=VERDICTS["contradicted"], label=f"mean of {name}", **DOTTED)
    ax.set(xlabel=label, ylabel="records")
    ax.grid(axis="x", visible=False)
    ax.legend(**ABOVE, ncols=2)
