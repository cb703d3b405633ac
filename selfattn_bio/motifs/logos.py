"""Draw sequence logos, letter tracks and saturation mutagenesis with matplotlib.

Bases have colours of the Okabe-Ito palette, which people with any colour vision can distinguish.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike

COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
OTHER_COLOUR = "#555555"
LETTER_WIDTH, MARGIN = 0.94, 0.03  # of a position
SMALLEST = 0.005  # fraction of the axis height; smaller letters are invisible and not drawn
LETTERS = "ACGT"


def information_content(ppm: ArrayLike) -> np.ndarray:
    """Return the information content of each position in bits: log2(A) minus the entropy.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, A) for an alphabet of A letters; rows sum to 1.

    Returns
    -------
    Shape (width,).

    Raises
    ------
    ValueError
        If `ppm` does not have two dimensions, or a value is not finite.
    """
    p = check_matrix(ppm, "ppm")
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log2(p), 0.0).sum(axis=1)
    return np.log2(p.shape[1]) - entropy


def draw_logo(ppm: ArrayLike, ax: Axes, letters: str = "ACGT") -> None:
    """Draw a motif as a logo.

    At each position the letters are stacked, the most frequent on top. The height of the stack is
    the information content.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, A); rows sum to 1.
    ax
        Axes for the logo. Its limits are set: position i covers x in [i, i + 1), and y is 0 to
        log2(A) bits.
    letters
        The A letters of the alphabet, in the order of the columns of `ppm`.

    Raises
    ------
    ValueError
        If `ppm` does not have one column per letter, or a row does not sum to 1.

    References
    ----------
    Schneider and Stephens 1990, Sequence logos.
    """
    heights, bits = logo_heights(ppm, letters), float(np.log2(len(letters)))
    _style(ax, len(heights), (0.0, bits))
    ax.set_yticks([0, bits / 2, bits])
    ax.set_ylabel("bits")
    _draw_stacks(heights, ax, letters, bits)


def logo_heights(ppm: ArrayLike, letters: str) -> np.ndarray:
    """Return the height in bits of each letter of a logo, (width, A).

    Parameters and errors are those of `draw_logo`.
    """
    p = check_matrix(ppm, "ppm", letters)
    if not np.allclose(p.sum(axis=1), 1, atol=1e-3) or (p < 0).any():
        raise ValueError(
            "a row of ppm sums to "
            f"{p.sum(axis=1)[np.argmax(np.abs(p.sum(axis=1) - 1))]:.3g} instead of 1"
        )
    return p * information_content(p)[:, None]


def draw_letters(scores: ArrayLike, ax: Axes, letters: str = "ACGT", start: int = 0) -> None:
    """Draw scores as letters, positive ones upwards and negative ones downwards.

    Parameters
    ----------
    scores
        Shape (L, A), any sign. To draw one sequence, set only the column of the observed letter at
        each position; the other columns are 0.
    ax
        Axes for the track. Its limits are set: position i covers x in [start + i, start + i + 1).
    letters
        The A letters of the alphabet, in the order of the columns of `scores`.
    start
        0-based coordinate of the first position. The tick labels count from 1.

    Raises
    ------
    ValueError
        If `scores` does not have one column per letter, or is not finite.
    """
    heights = check_matrix(scores, "scores", letters)
    low, high = stack_limits(heights)
    span = (high - low) or 1.0
    _style(ax, len(heights), (low - 0.03 * span, high + 0.03 * span), start)
    ax.axhline(0, color="#888888", linewidth=0.6)
    _draw_stacks(heights, ax, letters, span, start)


def stack_limits(heights: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest end of the stacks (positions, letters); 0 is included."""
    below, above = (part(heights, 0).sum(axis=1) for part in (np.minimum, np.maximum))
    return float(below.min(initial=0)), float(above.max(initial=0))


def stacked_letters(heights: np.ndarray, span: float) -> Iterator[tuple[int, int, float, float]]:
    """Stack the letters of each position, and yield those that are large enough to be visible.

    Letters with positive heights are stacked upwards from 0, those with negative heights downwards.
    The tallest letter is farthest from 0.

    Parameters
    ----------
    heights
        Shape (L, A).
    span
        Height of the axis, in the units of `heights`.

    Yields
    ------
    Position, index of the letter in the alphabet, lower edge, and height of the letter (positive).
    """
    for sign in (1, -1):
        for position, row in enumerate(np.where(sign * heights > 0, heights, 0.0)):
            edge = 0.0
            for letter in np.argsort(np.abs(row)):
                if abs(row[letter]) > SMALLEST * span:
                    height = float(row[letter])
                    yield position, int(letter), min(edge, edge + height), abs(height)
                edge += float(row[letter])


def _draw_stacks(heights: np.ndarray, ax: Axes, letters: str, span: float, start: int = 0) -> None:
    for position, index, low, height in stacked_letters(heights, span):
        letter = letters[index]
        fit = Affine2D().scale(LETTER_WIDTH, height).translate(start + position + MARGIN, low)
        colour = COLOURS.get(letter, OTHER_COLOUR)
        ax.add_patch(PathPatch(glyph(letter).transformed(fit), facecolor=colour, linewidth=0))


@cache
def glyph(letter: str) -> Outline:
    """Return the outline of a letter, scaled to the unit square and centred in x."""
    outline = TextPath(
        (0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold")
    )
    box = outline.get_extents()
    width = max(box.width, 0.35)  # keeps I narrow and centred
    return outline.transformed(
        Affine2D()
        .translate(-(box.x0 + box.x1) / 2, -box.y0)
        .scale(1 / width, 1 / box.height)
        .translate(0.5, 0)
    )


def _style(ax: Axes, width: int, limits: tuple[float, float], start: int = 0) -> None:
    ax.set_xlim(start, start + width)
    ax.set_ylim(*limits)
    ax.spines[["top", "right"]].set_visible(False)
    if width <= 40:
        ax.set_xticks(
            np.arange(width) + start + 0.5,
            [str(start + i + 1) if (i + 1) % 5 == 0 or i == 0 else "" for i in range(width)],
        )
        ax.tick_params(axis="x", length=0, labelsize=mpl.rcParams["font.size"] * 0.8)


def number_positions(ax: Axes, start: int, end: int) -> None:
    """Label positions from [start, end) below their letters; at most about ten, 0-based."""
    space = 0.1 * len(f"{end:,}") + 0.2  # inches of a label
    most = max(1, min(10, int(ax.bbox.width / ax.figure.dpi / space)))
    ticks = MaxNLocator(most, steps=[1, 2, 5, 10], integer=True).tick_values(start, end - 1)
    shown = [int(tick) for tick in ticks if start <= tick < end]
    ax.set_xticks([tick + 0.5 for tick in shown], [f"{tick:,}" for tick in shown])


def check_matrix(values: ArrayLike, name: str, letters: str | None = None) -> np.ndarray:
    """Return the values as float64, (positions, A).

    `name` is the name of the argument in messages. With `letters`, A must be their number.

    Raises
    ------
    ValueError
        If the shape is wrong or a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (letters is not None and array.shape[1] != len(letters)):
        raise ValueError(
            f"{name} has shape {array.shape} instead of "
            f"(positions, {len(letters) if letters else 'letters'})"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains {array[~np.isfinite(array)][0]}")
    return array


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
    number_positions(heat, start, start + len(effects_by_base))
    letters.figure.colorbar(image, ax=[letters, heat], label="effect (logits)", shrink=0.8)
