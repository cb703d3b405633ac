"""Plots of motifs, attributions and attention.

Each function draws into the given axes. Call it inside `with plots.style():`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from selfattn_bio.interpret.matching import match_label
from selfattn_bio.report.plots import BASELINE, MODEL, VERDICTS, draw_intervals

if TYPE_CHECKING:  # readout imports torch, which reports do not need
    from selfattn_bio.interpret.readout import AttentionMap


def draw_evidence(motifs: pd.DataFrame, ax: Axes) -> None:
    """Draw the effect of each motif with its interval, coloured by verdict.

    Parameters
    ----------
    motifs
        Table motifs.tsv: name, match, effect, effect_low, effect_high (decrease in log-odds) and
        verdict. Motifs without an effect are left out.
    """
    measured = motifs[motifs["effect"].notna()]
    rows = [
        (
            f"{row['name']} {match_label(row)}".strip(),
            {"value": row["effect"], "low": row["effect_low"], "high": row["effect_high"]},
            VERDICTS[row["verdict"]],
        )
        for row in measured.to_dict("records")
    ]
    draw_intervals(rows, ax, "effect (decrease in log-odds)", 0.0)
    if not rows:
        return
    for verdict in dict.fromkeys(measured["verdict"]):
        ax.plot([], [], "o", color=VERDICTS[verdict], label=verdict)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(VERDICTS), columnspacing=1.0)


def draw_position_profile(
    positions: ArrayLike, length: int, ax: Axes, colour: str = MODEL, bins: int = 30
) -> None:
    """Draw a histogram of the middles of a motif's sites along the record.

    Parameters
    ----------
    positions
        Middle of each site, 0-based, from 0 to `length`.
    length
        Length of the records.
    bins
        Largest number of bins.
    """
    ax.hist(np.asarray(positions), bins=min(bins, length), range=(0, length), color=colour)
    ax.set_xlim(0, length)
    ax.grid(axis="x", visible=False)
    ax.set(xlabel="position in the record", ylabel="sites")


def draw_attention_and_attribution(
    attention: ArrayLike, attribution: ArrayLike, ax: Axes, unit: str = ""
) -> None:
    """Draw mean raw attention received and mean attribution by position.

    Each curve is scaled to sum to 1.

    Parameters
    ----------
    attention, attribution
        (records, L), non-negative, 0 where a record is padded. The attention of models without
        attention weights is 0 everywhere and is not drawn.
    unit
        Unit of the positions for the axis label, such as "bp".
    """
    curves = [("attribution", attribution, MODEL), ("raw attention", attention, BASELINE)]
    for name, values, colour in curves if np.any(attention) else curves[:1]:
        mean = np.asarray(values, dtype=np.float64).mean(axis=0)
        ax.plot(
            np.arange(len(mean)),
            mean / (mean.sum() or 1.0),
            color=colour,
            label=name,
            linewidth=1.2,
        )
    ax.set_xlim(0, max(len(mean) - 1, 1))
    ax.set_ylim(bottom=0)
    ax.set(xlabel=f"position ({unit})" if unit else "position", ylabel="fraction of the total")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def draw_attention_map(attention: AttentionMap, ax: Axes) -> None:
    """Draw the attention map of one sequence, with a colour bar.

    Rows attend to columns; darker cells receive a larger fraction of the row's attention. Axes are
    in 0-based positions, with the first position at the top left.
    """
    edges = attention.edges
    cells = ax.pcolormesh(edges, edges, attention.weights, cmap="Blues", vmin=0, rasterized=True)
    ax.set(
        xlabel="to position",
        ylabel="from position",
        xlim=(edges[0], edges[-1]),
        ylim=(edges[-1], edges[0]),
    )
    ax.set_aspect("equal")
    ax.grid(False)
    bar = ax.figure.colorbar(cells, ax=ax, shrink=0.8)
    bar.outline.set_visible(False)
    bar.set_label("fraction of the row's attention")
