"""Draw sequence logos with matplotlib.

The colours are those of Okabe and Ito, which can be distinguished with any colour vision and in
print.
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
SMALLEST = 0.005  # fraction of the axis; smaller letters are invisible and not drawn


def information_content(ppm: ArrayLike) -> np.ndarray:
    """Return the information content (width,) in bits: log2(letters) minus the entropy.

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
    """Draw a motif as a logo.

    At each position the letters are stacked, the most frequent on top. The height of the stack is
    the information content.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, letters), rows summing to 1, columns in the order of `letters`.
    ax
        Axes for the logo. Letter i covers x in [i, i + 1); y is 0 to log2(letters) bits. The
        limits are set.

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
    """Return the height in bits of each letter of a logo, (width, letters).

    Raises ValueError like `draw_logo`.
    """
    p = checked(ppm, "ppm", letters)
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
        Shape (L, letters), any sign. For one sequence, non-zero only in the column of its letter.
    ax
        Axes for the track. Letter i covers x in [start + i, start + i + 1).
    start
        0-based coordinate of the first letter.

    Raises
    ------
    ValueError
        If `scores` does not have one column per letter, or is not finite.
    """
    s = checked(scores, "scores", letters)
    high, low = (
        np.maximum(s, 0).sum(axis=1).max(initial=0),
        np.minimum(s, 0).sum(axis=1).min(initial=0),
    )
    span = (high - low) or 1.0
    _style(ax, len(s), (low - 0.03 * span, high + 0.03 * span), start)
    ax.axhline(0, color="#888888", linewidth=0.6)
    for sign in (1, -1):
        _draw_stacks(np.where(sign * s > 0, s, 0.0), ax, letters, span, start)


def stacks(heights: np.ndarray, span: float) -> Iterator[tuple[int, int, float, float]]:
    """Yield position, letter, bottom and height of each visible letter.

    `heights` are (L, letters) of one sign; `span` is the height of the axis.
    """
    for position, row in enumerate(heights):
        bottom = 0.0
        for letter in np.argsort(np.abs(row)):  # the tallest letter is last, farthest from the axis
            if abs(row[letter]) > SMALLEST * span:
                yield position, int(letter), bottom, float(row[letter])
            bottom += float(row[letter])


def _draw_stacks(heights: np.ndarray, ax: Axes, letters: str, span: float, start: int = 0) -> None:
    for position, letter, bottom, height in stacks(heights, span):
        _draw_letter(letters[letter], start + position, bottom, height, ax)


def _draw_letter(letter: str, x: float, bottom: float, height: float, ax: Axes) -> None:
    """Draw a letter in [x, x + 1) and [bottom, bottom + height].

    With a negative height it is below `bottom`, but still upright.
    """
    fit = Affine2D().scale(0.94, abs(height)).translate(x + 0.03, min(bottom, bottom + height))
    ax.add_patch(
        PathPatch(
            glyph(letter).transformed(fit), facecolor=COLOURS.get(letter, OTHER_COLOUR), linewidth=0
        )
    )


@cache
def glyph(letter: str) -> Outline:
    """Return the outline of a letter, scaled to the unit square."""
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


def checked(values: ArrayLike, name: str, letters: str | None = None) -> np.ndarray:
    """Return the values as (positions, letters) float64.

    Raises ValueError if the shape is wrong or a value is not finite.
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
