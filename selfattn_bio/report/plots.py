"""Plots of scores, metrics, motifs and attention, and the style of all figures of the report.

Each function draws into the given axes. Call it inside `with style():` to get the style of the
report. The colours can be distinguished with any colour vision, as those of `motifs.logos`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from selfattn_bio.attribution.readout import AttentionMap
from selfattn_bio.display import short_name, short_names
from selfattn_bio.evaluation.calibration import reliability
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.motifs.families import match_label
from selfattn_bio.report.words import of_row

INK, MUTED, GRID = "#1c2733", "#6b7783", "#dfe4e8"
MODEL, BASELINE, CONTROL = "#0072B2", "#E69F00", "#999999"
COLOURS = {"model": MODEL, "baseline": BASELINE, "control": CONTROL}  # by role of a classifier
DOTTED: Any = {"linewidth": 0.8, "linestyle": ":"}  # of reference lines
DOTS: Any = {"marker": "o", "markersize": 3.5, "linewidth": 1.4}  # with intervals
# legend above the axes; a wide one has space above the names at their left
ABOVE: Any = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0)}
VERDICTS = {"supported": "#0072B2", "inconclusive": "#999999", "contradicted": "#D55E00"}
# Fraction of the records for a position whose mean is drawn. Positions that only long records have
# show the ends of these: a signal at the end of all records would have a peak there.
MIN_REACHED = 0.5
PALETTE = (MODEL, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # the model is first
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.6,
    # Keep text as text, which is small, searchable and shown in the reader's font
    "svg.fonttype": "none",
    "svg.hashsalt": "selfattn_bio",  # equal figures give equal files
}


def style() -> Any:
    """Return a context in which figures are drawn in the style of the report."""
    return mpl.rc_context(STYLE)


def draw_roc(labels: ArrayLike, probabilities: Mapping[str, ArrayLike], ax: Axes) -> None:
    """Draw one ROC curve per classifier, the first one bold; the dotted line is chance level.

    Parameters
    ----------
    labels
        (n,), 0 or 1.
    probabilities
        Name of each classifier in the legend -> its scores, (n,).
    """
    curves = {name: roc_curve(labels, p)[:2] for name, p in probabilities.items()}
    _draw_curves(curves, ax, "false positive rate", "true positive rate")
    ax.plot([0, 1], [0, 1], color=MUTED, **DOTTED)
    ax.legend(loc="lower right")


def draw_precision_recall(
    labels: ArrayLike, probabilities: Mapping[str, ArrayLike], ax: Axes
) -> None:
    """Draw precision against recall for each classifier; the dotted line is chance level.

    The parameters are those of `draw_roc`.
    """
    curves = {name: precision_recall_curve(labels, p)[1::-1] for name, p in probabilities.items()}
    _draw_curves(curves, ax, "recall", "precision")
    ax.axhline(float(np.mean(np.asarray(labels))), color=MUTED, **DOTTED)
    ax.legend(loc="best")


def draw_calibration(labels: ArrayLike, before: ArrayLike, after: ArrayLike, ax: Axes) -> None:
    """Draw the observed fraction of positives against the predicted probability.

    Two curves show probabilities before and after calibration; the dotted diagonal is
    perfect calibration.

    Parameters
    ----------
    labels
        (n,), 0 or 1.
    before, after
        Probabilities before and after scaling, (n,).
    """
    ax.plot([0, 1], [0, 1], color=MUTED, **DOTTED)
    for name, p, colour, marker in (
        ("before scaling", before, CONTROL, "s"),
        ("after scaling", after, MODEL, "o"),
    ):
        table = reliability(p, labels)
        line = DOTS | {"color": colour, "marker": marker, "linewidth": 1.2}
        ax.plot(table["predicted"], table["observed"], label=name, **line)
    _set_unit_axes(ax, "predicted probability", "observed fraction of positives")
    ax.legend(loc="best")


def draw_scores(
    labels: ArrayLike, probabilities: ArrayLike, ax: Axes, threshold: float | None = None
) -> None:
    """Draw histograms of the predicted probabilities of negatives and positives.

    Parameters
    ----------
    labels, probabilities
        (n,), 0 or 1; and in [0, 1].
    threshold
        Position of a dotted line; records at or above it are called positive.
    """
    labels, p = np.asarray(labels), np.asarray(probabilities)
    for label, name, colour in ((0, "negatives", CONTROL), (1, "positives", MODEL)):
        ax.hist(p[labels == label], bins=40, range=(0, 1), color=colour, alpha=0.65, label=name)
    if threshold is not None:
        ax.axvline(threshold, color=INK, **DOTTED)
    ax.set(xlim=(0, 1), xlabel="predicted probability", ylabel="records")
    ax.grid(axis="x", visible=False)
    ax.legend(**ABOVE, ncols=2)


def draw_learning_curves(
    history: pd.DataFrame, ax: Axes, metric: str = "auroc", best: float | None = None
) -> None:
    """Draw training and validation loss (left axis) and a validation metric (right axis) by step.

    Parameters
    ----------
    history
        One row per evaluation with the columns step, train_loss (missing in private runs),
        valid_loss and `valid_<metric>`.
    metric
        Metric such as "auroc", "worst_auroc" or "perplexity".
    best
        Step with the best value of the metric, for a dotted line; None for no line.
    """
    history, name = history.set_index("step"), title_of(metric)
    dots: Any = {"marker": "o", "markersize": 3}  # markers make a single evaluation visible
    if "train_loss" in history:
        ax.plot(history["train_loss"], color=CONTROL, label="training loss", **dots)
    ax.plot(history["valid_loss"], color=BASELINE, label="validation loss", **dots)
    ax.set(xlabel="step", ylabel="loss")
    right = ax.twinx()
    right.plot(history[f"valid_{metric}"], color=MODEL, label=f"validation {name}", **dots)
    lines = [*ax.get_lines(), *right.get_lines()]
    right.set_ylabel(name, color=MODEL)
    right.spines["right"].set_visible(True)
    right.grid(False)
    if best is not None:
        ax.axvline(best, color=MODEL, **DOTTED)
    ax.legend(lines, [str(line.get_label()) for line in lines], **ABOVE, ncols=2, columnspacing=1.0)


def draw_intervals(
    rows: Sequence[tuple[str, Mapping[str, float], str]],
    ax: Axes,
    label: str,
    reference: float | None = None,
) -> None:
    """Draw one value with its interval per row, from top to bottom.

    Parameters
    ----------
    rows
        (name, interval, colour) of each row. An interval has the keys value, low and high.
    label
        Label of the horizontal axis.
    reference
        Position of a dotted line, such as 0.5 for the AUROC of chance or 0 for no effect.
    """
    for y, (_, interval, colour) in enumerate(rows):
        value, ends = error_bars([interval])
        ax.errorbar(value, y, xerr=ends, fmt="o", color=colour, linewidth=2.2, mec="white")
    if reference is not None:
        ax.axvline(reference, color=MUTED, **DOTTED)
    name_rows([name for name, _, _ in rows], ax)
    ax.margins(x=0.06)
    ax.set_xlabel(label, loc="right")


def name_rows(names: Sequence[str], ax: Axes) -> None:
    """Write one name per row at the left, from top to bottom, without ticks or lines."""
    ax.set_yticks(range(len(names)), short_names(names))
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)


def error_bars(intervals: Sequence[Mapping[str, float]]) -> tuple[list[float], NDArray[np.float64]]:
    """Return the values, and their distances to the ends of the intervals, (2, n)."""
    values = [of["value"] for of in intervals]
    ends = [[of["value"] - of["low"], of["high"] - of["value"]] for of in intervals]
    return values, np.maximum(np.reshape(ends, (-1, 2)), 0).T


def draw_track(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the predicted probability of a point along a chromosome, and mark bins that contain one.

    Parameters
    ----------
    table
        One row per bin, consecutive on one chromosome: chrom, start, end (0-based half-open), label
        (1 if the bin contains a point) and model (predicted probability).
    """
    kb = table["start"] / 1000
    ax.fill_between(kb, table["model"], step="post", color=MODEL, linewidth=0)
    has_point = table["label"] == 1
    ax.plot(
        kb[has_point] + (table["end"] - table["start"])[has_point] / 2000,  # middle of the bin
        np.full(has_point.sum(), 1.06),
        "v",
        color=VERDICTS["contradicted"],
        markersize=4,
        clip_on=False,
    )
    ax.set(
        xlim=(kb.min(), table["end"].max() / 1000),
        ylim=(0, 1.12),
        xlabel=f"{table['chrom'].iloc[0]}, kb",
        ylabel="probability",
    )
    ax.set_yticks([0, 0.5, 1])
    ax.grid(axis="x", visible=False)


def _draw_curves(
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], ax: Axes, x: str, y: str
) -> None:
    """Draw curves of classifiers by name; the first one is the model, bold and on top."""
    for i, (name, curve) in enumerate(curves.items()):
        line: Any = {"linewidth": 2.0 if i == 0 else 1.1, "zorder": 3 - 0.1 * i}
        ax.plot(*curve, color=PALETTE[i % len(PALETTE)], label=name, **line)
    _set_unit_axes(ax, x, y)


def _set_unit_axes(ax: Axes, x: str, y: str) -> None:
    """Set both axes to [0, 1] at the same scale, with labels `x` and `y`."""
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    ax.set_aspect("equal")


def draw_evidence(motifs: pd.DataFrame, ax: Axes) -> None:
    """Draw the effect of each motif with its interval, coloured by verdict.

    Motifs of several outputs are below the name of their output.

    Parameters
    ----------
    motifs
        Rows of motifs.tsv with the same unit: name, target, match, effect, effect_low, effect_high,
        unit and verdict. Motifs without an effect are left out.
    """
    measured = motifs[motifs["effect"].notna()]
    rows: list[tuple[str, dict[str, float], str]] = []
    for target, own in measured.groupby("target", sort=False):
        if len(own) < len(measured):
            rows.append((f"{target}:", dict.fromkeys(("value", "low", "high"), np.nan), INK))
        rows += [
            (f"{row['name']} {match_label(row)}", of_row(row, "effect"), VERDICTS[row["verdict"]])
            for row in own.to_dict("records")
        ]
    draw_intervals(rows, ax, f"effect on {short_name(motifs['unit'].iloc[0])}", 0.0)
    if not rows:
        return
    for verdict in dict.fromkeys(measured["verdict"]):
        ax.plot([], [], "o", color=VERDICTS[verdict], label=verdict)
    ax.legend(**ABOVE, ncols=len(VERDICTS), columnspacing=1.0)


def draw_position_profile(
    positions: ArrayLike, ends: tuple[int, int], window: tuple[float, float], ax: Axes
) -> None:
    """Draw a small histogram of the middles of a motif's sites along the record.

    Parameters
    ----------
    positions
        Middle of each site, counted from 1; negative if positions count from the end.
    ends
        First and last position of the longest record, such as (1, 200), or (-200, -1) from the end.
    window
        First and last shaded position; missing for none.
    """
    first, last = ends
    edges = first - 0.5, last + 0.5
    ax.hist(np.asarray(positions), bins=min(30, last - first + 1), range=edges, color=MODEL)
    if not np.isnan(window).any():
        ax.axvspan(window[0] - 0.5, window[1] + 0.5, color=BASELINE, alpha=0.35, linewidth=0)
    ax.set(xlim=edges, xticks=ends, ylabel="sites")
    ax.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    ax.tick_params(labelsize=6, length=2)
    ax.grid(False)


def by_position(values: ArrayLike, lengths: ArrayLike, side: str = "start") -> pd.Series:
    """Return the mean over records at each position, as multiples of the mean of each record.

    Parameters
    ----------
    values
        (records, L), 0 where a record is padded.
    lengths
        (records,)
    side
        "start" or "end", at which records of different length are aligned.

    Returns
    -------
    Value by position, for those that at least half of the records have. Positions are 1-based;
    the last one is -1 if they count from the end.
    """
    values, lengths = np.asarray(values, dtype=np.float64), np.asarray(lengths)[:, None]
    means = values.sum(axis=1, keepdims=True) / lengths
    values, width = values / np.where(means > 0, means, 1), values.shape[1]
    columns = np.arange(width) + np.where(side == "end", lengths - width, 0)
    inside = (columns >= 0) & (columns < lengths)
    counts, totals = inside.sum(axis=0), np.take_along_axis(values, columns, axis=1).sum(axis=0)
    first = -width if side == "end" else 1
    curve = pd.Series(totals / np.maximum(counts, 1), np.arange(first, first + width))
    return curve[counts >= MIN_REACHED * len(values)]


def draw_along(curves: Mapping[str, pd.Series], ax: Axes, label: str = "position") -> None:
    """Draw attribution and raw attention along the record; the dotted line is their mean.

    Parameters
    ----------
    curves
        Name of each curve in the legend -> its values by position, as returned by `by_position`.
    label
        Label of the horizontal axis.
    """
    for (name, curve), colour in zip(curves.items(), PALETTE, strict=False):
        ax.plot(curve.index, curve, color=colour, label=name, linewidth=1.2)
    ax.axhline(1, color=MUTED, **DOTTED)
    ax.margins(x=0)
    ax.set(xlabel=label, ylabel="multiple of the mean", ylim=(0, None))
    ax.legend(**ABOVE, ncols=2)


def draw_attention_map(attention: AttentionMap, ax: Axes) -> None:
    """Draw the attention map of one sequence, with a colour bar.

    Rows attend to columns; darker cells receive a larger fraction of the row's attention. Axes
    count positions from 1, at the top left.
    """
    edges = attention.edges + 0.5  # the middle of the first position is at 1
    cells = ax.pcolormesh(edges, edges, attention.weights, cmap="Blues", vmin=0, rasterized=True)
    ax.set(
        xlabel="to position",
        ylabel="from position",
        xlim=(edges[0], edges[-1]),
        ylim=(edges[-1], edges[0]),
    )
    ax.set_aspect("equal")
    ax.grid(False)
    bar = ax.figure.colorbar(cells, ax=ax, shrink=0.8, label="fraction of the row's attention")
    bar.outline.set_visible(False)
