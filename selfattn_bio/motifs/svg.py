"""Draw logos and letter tracks as SVG text, for pages and notebooks.

Output is small, because each glyph is defined once and reused. Places and colours of the letters
come from `logos`.
"""

from __future__ import annotations

import hashlib
import math
from html import escape

import numpy as np
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike

from selfattn_bio.motifs.logos import (
    COLOURS,
    LETTER_WIDTH,
    MARGIN,
    OTHER_COLOUR,
    check_matrix,
    glyph,
    logo_heights,
    stack_limits,
    stacked_letters,
)

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


def logo_svg(
    ppm: ArrayLike, letters: str = "ACGT", *, height: int = 60, label: str = "sequence logo"
) -> str:
    """Draw a motif as an `<svg>` element, like `logos.draw_logo`.

    Parameters
    ----------
    ppm
        Probabilities, shape (width, letters), rows summing to 1, columns in the order of `letters`.
    letters
        Letters of the alphabet.
    height
        Height in px of log2(letters) bits.
    label
        Alternative text for screen readers.

    Raises
    ------
    ValueError
        If `ppm` does not have one column per letter, or a row does not sum to 1.
    """
    return _svg(
        logo_heights(ppm, letters), letters, (0.0, math.log2(len(letters))), height, label, 0
    )


def track_svg(
    scores: ArrayLike,
    letters: str = "ACGT",
    *,
    start: int = 0,
    shaded: tuple[int, int] | None = None,
    height: int = 80,
    label: str = "letter track",
) -> str:
    """Draw a track as an `<svg>` element, like `logos.draw_letters`, with 10 px per letter.

    Parameters
    ----------
    scores
        Shape (L, letters), any sign. For one sequence, non-zero only in the column of its letter.
    letters
        Letters of the alphabet.
    start
        0-based coordinate of the first letter. Numbers below the track count from 1, as in
        `draw_letters`.
    shaded
        Interval [start, end) with a darker background, for example a site, in the coordinates of
        `start`.
    height
        Distance in px between the highest and the lowest stack.
    label
        Alternative text for screen readers.

    Raises
    ------
    ValueError
        If `scores` does not have one column per letter, or is not finite.
    """
    s = check_matrix(scores, "scores", letters)
    return _svg(s, letters, stack_limits(s), height, label, start, shaded)


def _svg(
    heights: np.ndarray,
    letters: str,
    limits: tuple[float, float],
    height: int,
    label: str,
    start: int,
    shaded: tuple[int, int] | None = None,
) -> str:
    low, high = limits
    span = (high - low) or 1.0
    unit, zero = height / span, high / span * height  # px per unit, and y of 0
    placed = [
        (
            letter,
            f"{LETTER_WIDTH * WIDTH:.4g} 0 0 {-tall * unit:.4g} "
            f"{(position + MARGIN) * WIDTH:.6g} {zero - bottom * unit:.4g}",
        )
        for position, letter, bottom, tall in stacked_letters(heights, span)
    ]
    # Ids are global in a page. Equal pictures may share them, different ones must not.
    own = "g" + hashlib.sha256(repr((placed, label, start)).encode()).hexdigest()[:8]
    glyphs = "".join(
        f'<path id="{own}{i}" fill="{COLOURS.get(letters[i], OTHER_COLOUR)}" '
        f'd="{_outline(letters[i])}"/>'
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
    width, every = len(heights) * WIDTH, 5 if len(heights) <= 40 else 10
    numbers = [
        number
        for number in range(start + 1, start + len(heights) + 1)
        if number % every == 0 or number == start + 1
    ]
    ticks = "".join(
        f'<text x="{(number - start - 0.5) * WIDTH:g}" y="{height + TICKS - 3}" '
        f'text-anchor="middle">{number}</text>'
        for number in numbers
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{width}" height="{height + TICKS}" '
        f'viewBox="0 0 {width} {height + TICKS}" font-size="9" font-family="sans-serif" '
        f'fill="#555"><defs>{glyphs}</defs>'
        f'{ground}<path d="M0 {zero:.4g}H{width}" stroke="#888" '
        f'stroke-width=".6"/>{uses}{ticks}</svg>'
    )


def _outline(letter: str) -> str:
    """Return the glyph as an SVG path in the unit square, y upwards."""
    segments = glyph(letter).iter_segments(curves=True)
    return "".join(
        COMMANDS[code] + (" ".join(f"{x:.3g}" for x in points) if COMMANDS[code] != "Z" else "")
        for points, code in segments
    )
