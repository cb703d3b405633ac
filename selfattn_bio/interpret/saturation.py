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
    place = effects["pos"].to_numpy() - 1 - start
    of_each = np.full((place.max() + 1, len(LETTERS)), np.nan)
    of_each[place, [LETTERS.index(alt) for alt in effects["alt"]]] = effects["effect"]
    heights = np.zeros_like(of_each)
    mean = effects["effect"].groupby(place).mean()
    heights[
        mean.index,
        [LETTERS.index(effects["ref"].iloc[row]) for row in np.unique(place, return_index=True)[1]],
    ] = -mean.fillna(0.0)
    draw_letters(heights, letters, LETTERS, start)
    letters.set_ylabel("mean loss (logits)")
    most = float(np.nanmax(np.abs(of_each), initial=1e-9))
    extent = (start, start + len(of_each), len(LETTERS), 0)
    image = heat.imshow(
        of_each.T,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        aspect="auto",
        interpolation="nearest",
        extent=extent,
    )
    heat.set_yticks(np.arange(len(LETTERS)) + 0.5, list(LETTERS))
    heat.set_xlabel("place (0-based)")
    heat.xaxis.set_major_locator(MaxNLocator(integer=True))
    heat.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    letters.figure.colorbar(image, ax=[letters, heat], label="effect (logits)", shrink=0.8)
