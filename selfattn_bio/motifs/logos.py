"""Draw sequence logos and letter tracks, on axes of matplotlib or as SVG text.

Bases, and residues by their chemistry as in WebLogo, have colours of the Okabe-Ito palette, which
people with any colour vision can distinguish.
SVG text is small, because each letter is defined once and reused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike

BASES = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00", "U": "#D55E00"}
OF_CHEMISTRY = {"KRH": "#0072B2", "DE": "#D55E00", "GSTYC": "#009E73", "NQ": "#CC79A7"}
RESIDUES = {letter: colour for group, colour in OF_CHEMISTRY.items() for letter in group}
OTHER_COLOUR = "#555555"  # also of hydrophobic residues
LETTER_WIDTH, MARGIN = 0.94, 0.03  # of a position
SMALLEST = 0.005  # fraction of the axis height; smaller letters are invisible and not drawn
WIDTH = 10  # px per letter
TICKS = 14  # px below the letters
GROUND = "#e4eaf0"  # colour behind shaded letters
COMMANDS = {
    Outline.MOVETO: "M",
    Outline.LINETO: "L",
    Outline.CURVE3: "Q",
    Outline.CURVE4: "C",
    Outline.CLOSEPOLY: "Z",
}


@dataclass(frozen=True)
class LetterPlot:
    """Stacks of letters, one per position: a `logo` or a `track`.

    Letters with positive heights are stacked upwards from 0, those with negative heights downwards.
    The tallest letter is farthest from 0.

    Attributes
    ----------
    heights
        Height of each letter, (L, A).
    letters
        The A letters.
    limits
        Lowest and highest value of the axis.
    start
        0-based coordinate of the first position. The labels of positions count from 1.
    in_bits
        Whether the heights are those of a logo.
    """

    heights: np.ndarray
    letters: str
    limits: tuple[float, float]
    start: int = 0
    in_bits: bool = False

    @property
    def span(self) -> float:
        """Return the height of the axis."""
        return (self.limits[1] - self.limits[0]) or 1.0

    def colour(self, index: int) -> str:
        """Return the colour of a letter, given its index in the alphabet."""
        colours = BASES if len(self.letters) == 4 else RESIDUES
        return colours.get(self.letters[index], OTHER_COLOUR)

    def stacked(self) -> Iterator[tuple[int, int, float, float]]:
        """Yield the letters that are large enough to be visible.

        Yields
        ------
        Position, index of the letter in the alphabet, lower edge, and height of the letter
        (positive).
        """
        for sign in (1, -1):
            for position, row in enumerate(np.where(sign * self.heights > 0, self.heights, 0.0)):
                edge = 0.0
                for letter in np.argsort(np.abs(row)):
                    if abs(row[letter]) > SMALLEST * self.span:
                        height = float(row[letter])
                        yield position, int(letter), min(edge, edge + height), abs(height)
                    edge += float(row[letter])

    def draw(self, ax: Axes) -> None:
        """Draw on axes, whose limits are set: position i covers x in [start + i, start + i + 1).

        At most about ten positions have their number, counted from 1, below their letters.
        """
        (low, high), start, width = self.limits, self.start, len(self.heights)
        ax.set_xlim(start, start + width)
        ax.spines[["top", "right"]].set_visible(False)
        if self.in_bits:
            ax.set_ylim(low, high)
            ax.set_yticks([0, high / 2, high])
            ax.set_ylabel("bits")
        else:
            ax.set_ylim(low - 0.03 * self.span, high + 0.03 * self.span)
            ax.axhline(0, color="#888888", linewidth=0.6)
        number_positions(ax, start, start + width)
        for position, index, bottom, height in self.stacked():
            left = start + position + MARGIN
            fit = Affine2D().scale(LETTER_WIDTH, height).translate(left, bottom)
            glyph = _glyph(self.letters[index]).transformed(fit)
            ax.add_patch(PathPatch(glyph, facecolor=self.colour(index), linewidth=0))

    def svg(self, *, label: str, height: int = 60, shaded: tuple[int, int] | None = None) -> str:
        """Return an `<svg>` element with 10 px per letter.

        Parameters
        ----------
        label
            Alternative text for screen readers.
        height
            Height of the axis in px.
        shaded
            Interval [start, end) with a darker background, for example a site, in the coordinates
            of `start`.
        """
        start, letters = self.start, self.letters
        unit = height / self.span  # px per unit
        zero = self.limits[1] / self.span * height  # y of 0
        placed = [
            (
                letter,
                f"{LETTER_WIDTH * WIDTH:.4g} 0 0 {-tall * unit:.4g} "
                f"{(position + MARGIN) * WIDTH:.6g} {zero - bottom * unit:.4g}",
            )
            for position, letter, bottom, tall in self.stacked()
        ]
        # Ids are global in a page. Equal pictures may share them, different ones must not.
        own = "g" + hashlib.sha256(repr((placed, label, start)).encode()).hexdigest()[:8]
        glyphs = "".join(
            f'<path id="{own}{i}" fill="{self.colour(i)}" d="{_outline(letters[i])}"/>'
            for i in sorted({letter for letter, _ in placed})
        )
        uses = "".join(
            f'<use href="#{own}{letter}" transform="matrix({fit})"/>' for letter, fit in placed
        )
        ground = ""
        if shaded is not None:
            ground = (
                f'<rect x="{(shaded[0] - start) * WIDTH}" '
                f'width="{(shaded[1] - shaded[0]) * WIDTH}" height="{height}" fill="{GROUND}"/>'
            )
        width, every = len(self.heights) * WIDTH, 5 if len(self.heights) <= 40 else 10
        ticks = "".join(
            f'<text x="{(number - start - 0.5) * WIDTH:g}" y="{height + TICKS - 3}" '
            f'text-anchor="middle">{number}</text>'
            for number in range(start + 1, start + len(self.heights) + 1)
            if number % every == 0 or number == start + 1
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
            f'width="{width}" height="{height + TICKS}" '
            f'viewBox="0 0 {width} {height + TICKS}" font-size="9" font-family="sans-serif" '
            f'fill="#555"><defs>{glyphs}</defs>'
            f'{ground}<path d="M0 {zero:.4g}H{width}" stroke="#888" '
            f'stroke-width=".6"/>{uses}{ticks}</svg>'
        )


def logo(ppm: ArrayLike, letters: str = "ACGT") -> LetterPlot:
    """Return the logo of a motif; `logo(ppm).draw(axes)` draws it.

    At each position the letters are stacked, the most frequent on top. The height of the stack is
    the information content in bits, log2(A) minus the entropy.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, A); rows sum to 1.
    letters
        The A letters of the alphabet, in the order of the columns of `ppm`.

    References
    ----------
    Schneider and Stephens 1990, Sequence logos.
    """
    p = np.asarray(ppm, dtype=np.float64)
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)
    most = float(np.log2(len(letters)))
    return LetterPlot(p * (most - entropy)[:, None], letters, (0.0, most), in_bits=True)


def track(scores: ArrayLike, letters: str = "ACGT", start: int = 0) -> LetterPlot:
    """Return scores as letters, positive ones upwards and negative ones downwards.

    Parameters
    ----------
    scores
        Shape (L, A), any sign. To draw one sequence, set only the column of the observed letter at
        each position; the other columns are 0.
    letters
        The A letters of the alphabet, in the order of the columns of `scores`.
    start
        0-based coordinate of the first position.
    """
    heights = np.asarray(scores, dtype=np.float64)
    below, above = (part(heights, 0).sum(axis=1) for part in (np.minimum, np.maximum))
    return LetterPlot(
        heights, letters, (float(below.min(initial=0)), float(above.max(initial=0))), start
    )


@cache
def _glyph(letter: str) -> Outline:
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


def _outline(letter: str) -> str:
    """Return the glyph as an SVG path in the unit square, y upwards."""
    return "".join(
        COMMANDS[code] + (" ".join(f"{x:.3g}" for x in points) if COMMANDS[code] != "Z" else "")
        for points, code in _glyph(letter).iter_segments(curves=True)
    )


def number_positions(ax: Axes, start: int, end: int) -> None:
    """Label positions from [start, end), 0-based, with numbers from 1; at most about ten."""
    space = 0.1 * len(f"{end:,}") + 0.2  # inches of a label
    most = max(1, min(10, int(ax.bbox.width / ax.figure.dpi / space)))
    locator = MaxNLocator(most, steps=[1, 2, 5, 10], integer=True)
    ticks = locator.tick_values(start + 1, max(end, start + 2))  # not of an empty range
    shown = [int(tick) for tick in ticks if start < tick <= end]
    ax.set_xticks([tick - 0.5 for tick in shown], [f"{tick:,}" for tick in shown])
