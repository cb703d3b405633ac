"""Cut inputs that are too long for one pass into overlapping tiles.

Each tile is passed through the model, only the outputs of its core are kept, and those of all cores
are joined. This is for models with one output per position or bin. The memory of a pass does not
grow with the length of the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.baselines.bins import AROUND
from selfattn_bio.baselines.features import FLANK
from selfattn_bio.errors import ArgumentError
from selfattn_bio.scoring.loading import BaselineScorer
from selfattn_bio.scoring.scorer import BATCH_LETTERS, Ensemble, Scorer
from selfattn_bio.sequence.alphabet import Ascii

# A model with an unlimited receptive field reads inputs in one pass up to this multiple of its
# longest training record.
FAR = 4

# n inputs, (L,) ASCII each, to n arrays with one row per position or bin of the input
Predict = Callable[[list[Ascii]], Sequence[NDArray[Any]]]


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
    length
        Length of the input.
    size
        Maximum length of a tile, at least two overlaps and a step.
    overlap
        Minimum distance of a core from both ends of its tile, except at the ends of the input.
    step
        Tiles start at multiples of `step`, for example the number of positions that a stem pools.

    Yields
    ------
    The tiles in order. An input of length 0 has one empty tile.
    """
    hop = (size - 2 * overlap) // step * step
    start = first = 0
    while start + size < length:
        last = start + hop + overlap
        yield Tile(start, start + size, first, last)
        start, first = start + hop, last
    yield Tile(start, length, first, length)


def receptive_field(run: config.RunFile) -> int | None:
    """Return how many tokens to either side an output depends on, or None without such a limit.

    This is the sum over the stem and the layers: the window of an attention layer, or half the
    kernel of a convolution, in tokens. Only windowed attention and dilated convolutions have a
    limit. They have none if the run has one output per sequence, global tokens, absolute positions,
    or a stem that normalises each record.
    """
    if run.objective.is_per_sequence:
        return None
    match run.model:
        case config.DilatedModel() as model:
            field = sum(model.dilations) * (model.kernel // 2)
        case config.AttentionModel(pattern=config.WindowPattern() as pattern) as model:
            if pattern.num_global or model.position.effect == "absolute":
                return None
            if getattr(model.stem, "norm", "batch") == "record":
                return None
            field = model.num_layers * pattern.window * pattern.dilation
        case _:
            return None
    # from the vectors of the encoder back through the stages of the stem to the tokens
    for kernel, pool, second_kernel in reversed(_stages(model.stem)):
        field = (field + second_kernel // 2 + 1) * pool - 1 + kernel // 2
    return field


def _stages(stem: config.AnyStem) -> list[tuple[int, int, int]]:
    """Return the kernel, pooling and second kernel of each stage of a stem, input first.

    The list is empty for a stem without convolutions.
    """
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
    """How a model or an ensemble reads inputs of any length.

    All lengths are in positions (bp or residues).

    Attributes
    ----------
    exact
        Whether tiles give the same result as one pass over the complete input, up to rounding. The
        overlap is then at least the receptive field of the model to either side.
    longest
        Inputs up to this length are read in one pass.
    size, overlap, step
        Arguments of `tiles`. `size` is 0 if no size is known: the receptive field is unlimited, and
        the model folder does not store the length of the training records.
    unit
        Number of positions per output: the size of a bin, or 1.
    """

    exact: bool
    longest: int
    size: int
    overlap: int
    step: int
    unit: int

    @property
    def difference(self) -> str:
        """How long inputs are read, for a warning; empty if the result is that of one pass."""
        if self.exact or not self.size:
            return ""
        return (
            f"read in windows of {self.size:,}, the length of the training records, because the "
            "model was not trained on longer ones"
        )

    @classmethod
    def of(cls, scorer: Scorer | Ensemble) -> Tiling:
        """Return the tiling for a model with one output per position ("labels") or bin ("bins").

        If the receptive field of all members is limited, tiles overlap by the largest one.
        Otherwise tiles cannot give the same result as one pass. A pass much longer than the
        training records would not be reliable either, so inputs more than FAR times as long as the
        longest training record are read in tiles of that length (rounded down to steps), which
        overlap by a quarter on each side. Simple models read only the neighbours of each position
        or bin.
        """
        unit = getattr(scorer.objective.section, "bin", 1)
        is_baseline = isinstance(scorer, BaselineScorer)
        has_parts = is_baseline or any(member.stack for member in scorer.members)
        near = AROUND if unit > 1 and has_parts else FLANK  # what simple models read
        runs = [] if is_baseline else [member.run for member in scorer.members]
        step = math.lcm(unit, *(run.output_stride for run in runs))
        fields = [
            field * run.tokens.stride + run.tokens.k - 1
            for run in runs
            if (field := receptive_field(run)) is not None
        ]
        if len(fields) == len(runs):
            overlap = -(-max([*fields, near]) // step) * step
            size = -(-max(BATCH_LETTERS, 4 * overlap + step) // step) * step
            return cls(True, size, size, overlap, step, unit)
        lengths = [int(member.reference.limits[1]) for member in scorer.members if member.reference]
        if len(lengths) < len(runs):
            return cls(False, FAR * BATCH_LETTERS, 0, 0, step, unit)
        trained = min(lengths)  # each member was trained on records of at least this length
        size = max(1, trained // step) * step
        overlap = size // 4 // step * step
        return cls(False, max(BATCH_LETTERS, FAR * trained), size, overlap, step, unit)

    def read(self, inputs: Sequence[Ascii], predict: Predict) -> list[NDArray[Any]]:
        """Return the outputs of `predict` for each input; long inputs are read tile by tile.

        Parameters
        ----------
        inputs
            (L,) ASCII each, of any lengths.
        predict
            Returns the outputs of each of its inputs, one row per `unit` positions.

        Returns
        -------
        One array per input, with one row per `unit` positions. An incomplete unit at the end has no
        output.

        Raises
        ------
        ArgumentError
            If an input is too long for one pass and the size of a tile is unknown.
        """
        of_short = iter(predict([letters for letters in inputs if len(letters) <= self.longest]))
        return [
            next(of_short)
            if len(letters) <= self.longest
            else np.concatenate(list(self._core_outputs(letters, predict)))
            for letters in inputs
        ]

    def cut(self, length: int) -> Iterator[Tile]:
        """Cut an input into tiles, or into one of its length if it is read in one pass.

        Raises
        ------
        ArgumentError
            If an input is too long for one pass and the size of a tile is unknown.
        """
        if length <= self.longest:
            return iter([Tile(0, length, 0, length)])
        if not self.size:
            raise ArgumentError(
                f"a sequence has {length:,} positions, but the model can read at most "
                f"{self.longest:,}, because its folder does not store the length of its training "
                "records; train it again"
            )
        return tiles(length // self.unit * self.unit, self.size, self.overlap, self.step)

    def _core_outputs(self, letters: Ascii, predict: Predict) -> Iterator[NDArray[Any]]:
        """Yield the outputs of the core of each tile, in order."""
        for tile in self.cut(len(letters)):
            first, last = (tile.first - tile.start), (tile.last - tile.start)
            outputs = predict([letters[tile.start : tile.end]])[0]
            yield outputs[first // self.unit : last // self.unit]
