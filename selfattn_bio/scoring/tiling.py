"""Inputs too long for one pass: tiles that overlap, of which the cores are kept and put side by side.

Hides: where tiles begin, which outputs of a tile are kept, and how far an output of a model can see. For models with an output a letter
or a bin: `score_sequences` reads by it, in memory that does not grow with the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.scoring.scorer import BATCH_LETTERS, Ensemble, Scorer

ABSOLUTE = ("sinusoidal", "learned")  # positions by which a token knows its place in the input
FAR = 4  # times the longest training record: up to there a model that sees the whole input is given it whole

Letters = NDArray[np.uint8]
Ask = Callable[[list[Letters]], Sequence[NDArray[Any]]]  # some inputs -> the outputs of each, one every so many letters


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
    """Tokens to either side that an output can see: those of the stem, and of each layer its window or the taps of its convolution.

    None if an output sees the whole input or knows its place in it: full attention, global tokens, random or strided patterns, blocks,
    absolute positions, a stem normalised by the record, outputs of a sequence.
    """
    if run.objective.kind not in (*config.PER_TOKEN, *config.PER_PLACE):
        return None
    match run.model:
        case config.DilatedModel() as model:
            reach = sum(model.dilations) * (model.kernel // 2)
        case config.AttentionModel(pattern=config.WindowPattern() as pattern) as model:
            if pattern.num_global or model.position.kind in ABSOLUTE:
                return None
            if getattr(model.stem, "norm", "batch") == "record":
                return None
            reach = model.num_layers * pattern.window * pattern.dilation
        case _:
            return None
    for kernel, pool, second_kernel in reversed(_stages(model.stem)):
        reach = (reach + second_kernel // 2 + 1) * pool - 1 + kernel // 2
    return reach


def _stages(stem: config.Stem) -> list[tuple[int, int, int]]:
    """Kernel, pooling and second kernel of each stage."""
    match stem:
        case config.ConvStem():
            return [(stem.kernel, stem.pool, stem.second_kernel)]
        case config.TowerStem():
            second = [1] + [stem.residual_kernel] * (len(stem.kernels) - 1)  # the first stage has none
            return list(zip(stem.kernels, stem.pools, second, strict=True))
        case _:
            return []


@dataclass(frozen=True)
class Tiling:
    """How a model, or the mean of several, reads inputs of any length; all in letters.

    Attributes
    ----------
    exact
        Whether tiles give what one pass over the whole would, but for the order of sums: their overlap is the model's reach.
    longest
        Inputs up to it are passed whole.
    size, overlap, step
        Of `tiles`; size is 0 where the model sees the whole input and its folder does not tell how long its training records were.
    unit
        An output stands for so many: a bin, or a letter.
    """

    exact: bool
    longest: int
    size: int
    overlap: int
    step: int
    unit: int

    @classmethod
    def of(cls, scorer: Scorer | Ensemble) -> Tiling:
        """That of a model of bins or labels.

        Where each output sees so far and no further, tiles overlap by that. Else nothing equals the pass over the whole, which would be of
        a length that the model never saw: an input more than FAR times as long as the longest training record is read in tiles of that
        length, in whole steps, which overlap by a quarter to each side.
        """
        runs = [member.run for member in scorer.members]
        unit = getattr(scorer.run.objective, "bin", 1)
        step = math.lcm(unit, *(run.pitch for run in runs))
        reaches = [(reach_of(run), run.tokens) for run in runs]
        reach = [each * tokens.stride + tokens.k - 1 for each, tokens in reaches if each is not None]
        if len(reach) == len(runs):
            overlap = -(-max(reach) // step) * step
            size = -(-max(BATCH_LETTERS, 4 * overlap + step) // step) * step
            return cls(True, size, size, overlap, step, unit)
        trained = [int(member.reference.limits[1]) for member in scorer.members if member.reference]
        if len(trained) < len(runs):
            return cls(False, FAR * BATCH_LETTERS, 0, 0, step, unit)
        size = max(1, min(trained) // step) * step
        return cls(False, max(BATCH_LETTERS, FAR * min(trained)), size, size // 4 // step * step, step, unit)

    def read(self, inputs: Sequence[Letters], ask: Ask) -> list[NDArray[Any]]:
        """What `ask` says of each input, those that are too long tile by tile.

        Raises
        ------
        ValueError
            If an input is too long to be passed whole, and no tile is known.
        """
        whole = [row for row in inputs if len(row) <= self.longest]
        said = iter(ask(whole))
        return [next(said) if len(row) <= self.longest else np.concatenate(list(self._stitched(row, ask))) for row in inputs]

    def _stitched(self, letters: Letters, ask: Ask) -> Iterator[NDArray[Any]]:
        if not self.size:
            rule = f"sequences must be at most {self.longest:,} letters long for a model that sees the whole of them"
            cure = "train it again: its folder does not tell how long its training records were"
            raise ValueError(f"{rule}, got {len(letters):,}: {cure}")
        for tile in tiles(len(letters) // self.unit * self.unit, self.size, self.overlap, self.step):
            kept = slice((tile.first - tile.start) // self.unit, (tile.last - tile.start) // self.unit)
            yield ask([letters[tile.start : tile.end]])[0][kept]
