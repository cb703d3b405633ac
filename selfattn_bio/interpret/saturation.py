"""Draw saturation mutagenesis maps: the effect of each substitution in a region."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from selfattn_bio.interpret.logos import draw_letters

LETTERS = "ACGT"


def draw_saturation(effects: pd.DataFrame, letters: Axes, heat: Axes) -> None:
    """Draw the mean effect of each position as letters, and each substitution as a heat map.

    Parameters
    ----------
    effects
        Table of `score_variants`, one row per substitution: pos (1-based), ref, alt, effect
        (logits). Positions without a row stay empty. A letter is as tall as the mean loss of its
        substitutions.
    letters, heat
        Axes for the letters and the heat map; x is the 0-based position.
    """
    start = int(effects["pos"].min()) - 1
    position = effects["pos"].to_numpy() - 1 - start
    effects_by_base = np.full((position.max() + 1, len(LETTERS)), np.nan)
    effects_by_base[position, [LETTERS.index(alt) for alt in effects["alt"]]] = effects["effect"]
    heights = np.zeros_like(effects_by_base)
    mean = effects["effect"].groupby(position).mean()
    heights[
        mean.index,
        [
            LETTERS.index(effects["ref"].iloc[row])
            for row in np.unique(position, return_index=True)[1]
        ],
    ] = -mean.fillna(0.0)
    draw_letters(heights, letters, LETTERS, start)
    letters.set_ylabel("mean loss (logits)")
    most = float(np.nanmax(np.abs(effects_by_base), initial=1e-9))
    extent = (start, start + len(effects_by_base), len(LETTERS), 0)
    image = heat.imshow(
        effects_by_base.T,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        aspect="auto",
        interpolation="nearest",
        extent=extent,
    )
    heat.set_yticks(np.arange(len(LETTERS)) + 0.5, list(LETTERS))
    heat.set_xlabel("position (0-based)")
    heat.xaxis.set_major_locator(MaxNLocator(integer=True))
    heat.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    letters.figure.colorbar(image, ax=[letters, heat], label="effect (logits)", shrink=0.8)
