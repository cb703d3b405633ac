"""Sequence logos: letters as tall as the information they carry, drawn with plain matplotlib.

Hides: glyph outlines. Colours are those of Okabe and Ito, told apart with any colour vision and in print; letters say the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike

COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
OTHER_COLOUR = "#555555"
SMALLEST = 0.005  # of the axis: a lower letter cannot be seen and is not drawn


def information_content(ppm: ArrayLike) -> np.ndarray:
    """Bits of each position against a uniform background, shape (width,): log2(letters) minus the entropy.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, letters), rows summing to 1.
    """
    p = checked(ppm, "ppm")
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log2(p), 0.0).sum(axis=1)
    return np.log2(p.shape[1]) - entropy


def draw_logo(ppm: ArrayLike, ax: Axes, letters: str = "ACGT") -> None:
    """Draw a motif: at each position the letters stacked, the likeliest on top, together as tall as the position's bits.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, letters), rows summing to 1, columns in the order of `letters`.
    ax
        Where to draw; its limits are set to the motif: letter i stands on [i, i + 1), 0 to log2(letters) bits.

    Raises
    ------
    ValueError
        If `ppm` has not one column a letter, or a row does not sum to 1.

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
    """Bits of each letter of a logo, (width, letters). Raises ValueError as `draw_logo`."""
    p = checked(ppm, "ppm", letters)
    if not np.allclose(p.sum(axis=1), 1, atol=1e-3) or (p < 0).any():
        raise ValueError(
            f"rows of ppm must be probabilities that sum to 1, got a sum of {p.sum(axis=1)[np.argmax(np.abs(p.sum(axis=1) - 1))]:.3g}"
        )
    return p * information_content(p)[:, None]


def draw_letters(scores: ArrayLike, ax: Axes, letters: str = "ACGT", start: int = 0) -> None:
    """Draw a track: at each position each letter as tall as its score, positive ones upwards, negative ones downwards.

    Parameters
    ----------
    scores
        Shape (L, letters), any sign; for one sequence, non-zero in the column of its letter only.
    ax
        Where to draw; letter i stands on [start + i, start + i + 1).
    start
        Coordinate of the first letter, 0-based.

    Raises
    ------
    ValueError
        If `scores` has not one column a letter, or holds a number that is not finite.
    """
    s = checked(scores, "scores", letters)
    high, low = np.maximum(s, 0).sum(axis=1).max(initial=0), np.minimum(s, 0).sum(axis=1).min(initial=0)
    span = (high - low) or 1.0
    _style(ax, len(s), (low - 0.03 * span, high + 0.03 * span), start)
    ax.axhline(0, color="#888888", linewidth=0.6)
    for sign in (1, -1):
        _draw_stacks(np.where(sign * s > 0, s, 0.0), ax, letters, span, start)


def stacks(heights: np.ndarray, span: float) -> Iterator[tuple[int, int, float, float]]:
    """Position, letter, bottom and height of each letter that can be seen on an axis of `span`; of (L, letters) heights of one sign."""
    for position, row in enumerate(heights):
        bottom = 0.0
        for letter in np.argsort(np.abs(row)):  # the tallest last, farthest from the axis
            if abs(row[letter]) > SMALLEST * span:
                yield position, int(letter), bottom, float(row[letter])
            bottom += float(row[letter])


def _draw_stacks(heights: np.ndarray, ax: Axes, letters: str, span: float, start: int = 0) -> None:
    for position, letter, bottom, height in stacks(heights, span):
        _draw_letter(letters[letter], start + position, bottom, height, ax)


def _draw_letter(letter: str, x: float, bottom: float, height: float, ax: Axes) -> None:
    """Fit a letter into [x, x + 1) times [bottom, bottom + height]; a negative height hangs it, still upright."""
    fit = Affine2D().scale(0.94, abs(height)).translate(x + 0.03, min(bottom, bottom + height))
    ax.add_patch(PathPatch(glyph(letter).transformed(fit), facecolor=COLOURS.get(letter, OTHER_COLOUR), linewidth=0))


@cache
def glyph(letter: str) -> Outline:
    """The letter's outline, stretched to the unit square."""
    outline = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = outline.get_extents()
    width = max(box.width, 0.35)  # I stays narrow, in the middle
    return outline.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, -box.y0).scale(1 / width, 1 / box.height).translate(0.5, 0))


def _style(ax: Axes, width: int, limits: tuple[float, float], start: int = 0) -> None:
    ax.set_xlim(start, start + width)
    ax.set_ylim(*limits)
    ax.spines[["top", "right"]].set_visible(False)
    if width <= 40:
        ax.set_xticks(np.arange(width) + start + 0.5, [str(start + i + 1) if (i + 1) % 5 == 0 or i == 0 else "" for i in range(width)])
        ax.tick_params(axis="x", length=0, labelsize=mpl.rcParams["font.size"] * 0.8)


def checked(values: ArrayLike, name: str, letters: str | None = None) -> np.ndarray:
    """The values as (positions, letters) float64; ValueError where they are of another shape, or not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or (letters is not None and array.shape[1] != len(letters)):
        raise ValueError(f"{name} must have the shape (positions, {len(letters) if letters else 'letters'}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array
