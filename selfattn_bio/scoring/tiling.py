"""Read inputs that are too long for one pass in overlapping tiles.

Only the core of each tile is kept, and the cores are joined. This is for models with one output per
position or bin. Memory does not grow with the length of the input.
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

ABSOLUTE = ("sinusoidal", "learned")  # encodings of the absolute position in the input
# A model that sees the complete input reads it in one pass up to this multiple of its longest
# training record.
FAR = 4

Letters = NDArray[np.uint8]
Predict = Callable[[list[Letters]], Sequence[NDArray[Any]]]  # inputs -> outputs of each


class Tile(NamedTuple):
    """A tile [start, end) and its core [first, last), which is kept; 0-based half-open."""

    start: int
    end: int
    first: int
    last: int


def tiles(length: int, size: int, overlap: int, step: int = 1) -> Iterator[Tile]:
    """Cut [0, length) into tiles of at most `size` whose cores cover it exactly once.

    With length 10, size 6 and overlap 1, the tiles are [0, 6) with core [0, 5) and [4, 10) with
    core [5, 10).

    Parameters
    ----------
    length, size
        Length of the input, and maximum length of a tile.
    overlap
        Minimum distance of a core from both ends of its tile, except at the ends of the input.
    step
        Tiles start at multiples of `step`, the number of positions that a stem pools.

    Raises
    ------
    ValueError
        If a tile is too small for two overlaps and a step.
    """
    hop = (size - 2 * overlap) // step * step
    if overlap < 0 or hop < 1:
        raise ValueError(
            f"a tile of {size} positions has no space for two overlaps and a step "
            f"({2 * overlap} + {step})"
        )
    start = first = 0
    while start + size < length:
        last = start + hop + overlap
        yield Tile(start, start + size, first, last)
        start, first = start + hop, last
    yield Tile(start, length, first, length)


def reach_of(run: config.RunFile) -> int | None:
    """Return the receptive field of an output in tokens to either side, or None if it is unlimited.

    The receptive field adds up the stem and, for each layer, its window or the kernel of its
    convolution. It is unlimited with full attention, global tokens, random or strided patterns,
    blocks, absolute positions, a stem that normalises each record, and outputs per sequence.
    """
    if run.objective.kind not in (*config.PER_TOKEN, *config.PER_POSITION):
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
    """Return the kernel, pooling and second kernel of each stage of a stem."""
    match stem:
        case config.ConvStemSection():
            return [(stem.kernel, stem.pool, stem.second_kernel)]
        case config.TowerStemSection():
            # the first stage has no residual block
            second = [1] + [stem.residual_kernel] * (len(stem.kernels) - 1)
            return list(zip(stem.kernels, stem.pools, second, strict=True))
        case _:
            return []


@dataclass(frozen=True)
class Tiling:
    """How a model or an ensemble reads inputs of any length, in bp or residues.

    Attributes
    ----------
    exact
        Whether tiles give the same result as one pass over the complete input, up to rounding. The
        overlap is then the receptive field of the model.
    longest
        Inputs up to this length are read in one pass.
    size, overlap, step
        Arguments of `tiles`. `size` is 0 if the model sees the complete input and its folder does
        not give the length of its training records.
    unit
        Number of positions per output: the size of a bin, or 1.
    """

    exact: bool
    longest: int
    size: int
    overlap: int
    step: int
    unit: int

    @classmethod
    def of(cls, scorer: Scorer | Ensemble) -> Tiling:
        """Return the tiling for a model of bins or labels.

        If the receptive field is limited, tiles overlap by it. Otherwise no tiling equals one pass
        over the complete input, and such a pass would exceed all lengths seen in training. Inputs
        more than FAR times as long as the longest training record are then read in tiles of that
        length (rounded to steps), which overlap by a quarter on each side.
        """
        runs = [member.run for member in scorer.members]
        unit = getattr(scorer.run.objective, "bin", 1)
        step = math.lcm(unit, *(run.pitch for run in runs))
        reaches = [(reach_of(run), run.tokens) for run in runs]
        reach = [
            each * tokens.stride + tokens.k - 1 for each, tokens in reaches if each is not None
        ]
        if len(reach) == len(runs):
            overlap = -(-max(reach) // step) * step
            size = -(-max(BATCH_LETTERS, 4 * overlap + step) // step) * step
            return cls(True, size, size, overlap, step, unit)
        trained = [int(member.reference.limits[1]) for member in scorer.members if member.reference]
        if len(trained) < len(runs):
            return cls(False, FAR * BATCH_LETTERS, 0, 0, step, unit)
        size = max(1, min(trained) // step) * step
        return cls(
            False,
            max(BATCH_LETTERS, FAR * min(trained)),
            size,
            size // 4 // step * step,
            step,
            unit,
        )

    def read(self, inputs: Sequence[Letters], predict: Predict) -> list[NDArray[Any]]:
        """Return the outputs of `predict` for each input; long inputs are read tile by tile.

        Raises
        ------
        ValueError
            If an input is too long for one pass and the size of a tile is unknown.
        """
        short = [row for row in inputs if len(row) <= self.longest]
        outputs = iter(predict(short))
        return [
            next(outputs)
            if len(row) <= self.longest
            else np.concatenate(list(self._stitched(row, predict)))
            for row in inputs
        ]

    def _stitched(self, letters: Letters, predict: Predict) -> Iterator[NDArray[Any]]:
        if not self.size:
            raise ValueError(
                f"a sequence has {len(letters):,} positions, but the model can read at most "
                f"{self.longest:,}, because its folder does not store the length of its training "
                "records; train it again"
            )
        for tile in tiles(
            len(letters) // self.unit * self.unit, self.size, self.overlap, self.step
        ):
            kept = slice(
                (tile.first - tile.start) // self.unit, (tile.last - tile.start) // self.unit
            )
            yield predict([letters[tile.start : tile.end]])[0][kept]
