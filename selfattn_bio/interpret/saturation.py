"""Draw saturation mutagenesis maps: the effect of each substitution in a region."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from selfattn_bio.interpret.logos import draw_letters

LETTERS = "ACGT"


def draw_saturation(effects: pd.DataFrame, letters: Axes, heat: Axes) -> None:
    """Draw the mean loss at each position as letters, and each substitution in a heat map.

    A reference base is as tall as the mean loss of its substitutions: minus their mean effect. The
    heat map has one row per alternative base, with its effect. The colour bar is added to the
    figure of the axes.

    Parameters
    ----------
    effects
        One row per substitution, at least one, all on one chromosome: pos (1-based), ref, alt and
        effect (logits; NaN if not scored), as from `score_variants`. Positions without a row stay
        empty.
    letters, heat
        Axes for the letters and the heat map. They must share the x axis, which has 0-based
        positions.

    Raises
    ------
    ValueError
        If ref or alt is not A, C, G or T.
    """
    start = int(effects["pos"].min()) - 1
    position = effects["pos"].to_numpy() - 1 - start
    effects_by_base = np.full((position.max() + 1, len(LETTERS)), np.nan)
    effects_by_base[position, [LETTERS.index(alt) for alt in effects["alt"]]] = effects["effect"]
    heights = np.zeros_like(effects_by_base)
    mean_effect = effects["effect"].groupby(position).mean()  # index: sorted positions
    first_rows = np.unique(position, return_index=True)[1]
    ref_column = [LETTERS.index(ref) for ref in effects["ref"].iloc[first_rows]]
    heights[mean_effect.index, ref_column] = -mean_effect.fillna(0.0)
    draw_letters(heights, letters, LETTERS, start)
    letters.set_ylabel("mean loss (logits)")
    limit = float(np.nanmax(np.abs(effects_by_base), initial=1e-9))
    extent = (start, start + len(effects_by_base), len(LETTERS), 0)
    image = heat.imshow(
        effects_by_base.T,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
        extent=extent,
    )
    heat.set_yticks(np.arange(len(LETTERS)) + 0.5, list(LETTERS))
    heat.set_xlabel("position (0-based)")
    heat.xaxis.set_major_locator(MaxNLocator(integer=True))
    heat.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    letters.figure.colorbar(image, ax=[letters, heat], label="effect (logits)", shrink=0.8)
