"""Inputs too long for one pass: tiles that overlap, of which the cores are kept and put side by side.

Hides: where tiles begin, which tokens of a tile are kept, and how far an output of a model can see. For models with an output a token or a
bin; `tiles` knows no model and counts in whatever it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.scoring.scorer import Scorer

ABSOLUTE = ("sinusoidal", "learned")  # positions by which a token knows its place in the input


class Tile(NamedTuple):
    """A stretch [start, end) that is passed, and its core [first, last) that is kept; 0-based, half-open."""

    start: int
    end: int
    first: int
    last: int


def tiles(length: int, size: int, overlap: int, step: int = 1) -> Iterator[Tile]:
    """Cut [0, length) into tiles of at most `size` whose cores cover it once.

    Length 10, size 6, overlap 1: [0, 6) of which [0, 5) is kept, then [4, 10) with [5, 10).

    Parameters
    ----------
    length, size
        Of the whole, and of a tile at most.
    overlap
        A core is at least so far from both ends of its tile, but where that is an end of the whole.
    step
        Tiles begin at multiples of it: what a stem pools to one.

    Raises
    ------
    ValueError
        If a tile would be all overlap.
    """
    hop = (size - 2 * overlap) // step * step
    if overlap < 0 or hop < 1:
        raise ValueError(f"a tile must be larger than two overlaps and a step ({2 * overlap} + {step}), got {size}")
    start = first = 0
    while start + size < length:
        last = start + hop + overlap
        yield Tile(start, start + size, first, last)
        start, first = start + hop, last
    yield Tile(start, length, first, length)


def reach_of(run: config.RunFile) -> int | None:
    """Tokens to either side that an output can see: those of the stem, and of each layer its window.

    None if an output sees the whole input or knows its place in it: full attention, global tokens, random or strided patterns, blocks,
    absolute positions, outputs of a sequence.
    """
    model = run.model
    if not isinstance(model, config.AttentionModel) or not isinstance(pattern := model.pattern, config.WindowPattern):
        return None
    if pattern.num_global or model.position.kind in ABSOLUTE or run.objective.kind not in config.PER_TOKEN:
        return None
    stem, each = model.stem, model.num_layers * pattern.window * pattern.dilation
    if not isinstance(stem, config.ConvStem):
        return each
    return (each + stem.second_kernel // 2 + 1) * stem.pool - 1 + stem.kernel // 2


def stitched_outputs(
    scorer: Scorer, letters: NDArray[np.uint8], size: int, overlap: int | None = None
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Outputs of each token of a long input, tile by tile, in order.

    With the overlap of the model's reach they are those of one pass over the whole, but for the order of sums; where a model sees the whole
    input there is no such overlap, and one must be chosen.

    Parameters
    ----------
    scorer
        Of an objective with outputs a token.
    letters
        (L,) ASCII.
    size, overlap
        Of a tile, in tokens; no overlap for the reach.

    Returns
    -------
    Number of the first token, and outputs (n, C).

    Raises
    ------
    ValueError
        If the model sees the whole input and no overlap is given, a tile is too small, or the outputs are not those of tokens.
    """
    overlap = reach_of(scorer.run) if overlap is None else overlap
    if overlap is None:
        raise ValueError("overlap must be given for a model whose outputs see the whole input, got none")
    tokenizer, stem = scorer.tokenizer, getattr(scorer.run.model, "stem", None)
    step = stem.pool if isinstance(stem, config.ConvStem) else 1
    for tile in tiles(tokenizer.num_tokens(len(letters)), size, overlap, step):
        part = letters[tile.start * tokenizer.stride : (tile.end - 1) * tokenizer.stride + tokenizer.k]
        yield tile.first, scorer.token_outputs([part])[0][tile.first - tile.start : tile.last - tile.start]
