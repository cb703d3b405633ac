"""Raw attention of a model, per letter or pair of positions. It explains nothing.

`explain` stores the attention that letters receive together with attributions, and the report shows
both. `write_maps` saves the maps of selected records with an explanation. Attention weights are
computed for some queries at a time, so memory grows with the length and not with its square. Scores
of pooled tokens are mapped back to letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfattn_bio.arrays import Bools, Integers, Scores
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.reading import between, binned, received, rollout
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.sequence.alphabet import Ascii


@dataclass(frozen=True)
class AttentionMap:
    """Attention between the intervals of one sequence in one layer.

    Attributes
    ----------
    edges
        (S + 1,) int64, 0-based: interval i is [edges[i], edges[i + 1]).
    weights
        (S, S) in [0, 1]: the mean fraction of attention from a position in the row's interval to
        the column's interval. A row sums to 1 minus the attention to a [CLS] vector.
    """

    edges: Integers
    weights: Scores


@dataclass(frozen=True)
class AttentionReading:
    """Raw attention of a model on some sequences.

    Attributes
    ----------
    ids
        Names of the sequences, in order.
    layers
        Per member of the model, first layer first: the inputs of attention at the M positions of
        the encoder.
    spans
        (M, 2) int64: letters [start, end) of each encoder position, 0-based; -1 for a [CLS] vector.
    lengths
        (B,) length of each sequence.
    seen
        (M,) bool: positions that the head reads, either [CLS] or those with letters.
    """

    ids: list[str]
    layers: tuple[tuple[AttentionInputs, ...], ...]
    spans: Integers
    lengths: Integers
    seen: Bools

    def __repr__(self) -> str:
        return (
            f"AttentionReading of {counted(len(self.ids), 'sequence')}, {len(self.layers)} x "
            f"{counted(len(self.layers[0]), 'layer')}"
        )

    def received(self) -> Scores:
        """Return the attention that each letter receives, (B, L), 0 in padding.

        It is the mean over heads and over the positions that attend. A letter covered by several
        encoder positions has their mean. Attention from a [CLS] vector counts, attention to it
        does not.
        """
        by_layer = [received(layer).mean(1) for layers in self.layers for layer in layers]
        number = self._mask().sum(1, keepdim=True).clamp(min=1)
        return self._to_letters(torch.stack(by_layer).mean(0) / number)

    def rollout(self) -> Scores:
        """Return the attention rollout from the last layer to the letters, (B, L), 0 in padding.

        It starts at [CLS], or uniformly at all positions. The total over encoder positions is 1; a
        letter covered by several positions has their mean.

        References
        ----------
        Abnar and Zuidema 2020.
        """
        mask = self._mask()
        start = mask * torch.from_numpy(self.seen).to(mask)
        start = start / start.sum(1, keepdim=True).clamp(min=1)
        by_member = [rollout(layers, start) for layers in self.layers]
        return self._to_letters(torch.stack(by_member).mean(0))

    def between(self, spans: Sequence[Integers]) -> list[Scores]:
        """Return the attention between spans of each sequence.

        It is the sum of weights to the receiving span, averaged over members, layers, heads and the
        positions of the attending span.

        Parameters
        ----------
        spans
            (S, 2) letters [start, end) for each sequence, 0-based.

        Returns
        -------
        (S, S) for each sequence, from row to column, in [0, 1]. An encoder position belongs to a
        span if they overlap.
        """
        most = max((len(each) for each in spans), default=0)
        member = np.zeros((len(spans), most, len(self.spans)), dtype=np.float32)
        starts, ends = self.spans.T
        for row, of_row in enumerate(spans):
            shared = (starts < of_row[:, 1:]) & (ends > of_row[:, :1])
            member[row, : len(of_row)] = shared & (starts >= 0)
        positions = torch.from_numpy(member).to(self.layers[0][0].q.device)
        by_layer = [between(each, positions).mean(1) for layers in self.layers for each in layers]
        given = torch.stack(by_layer).mean(0)  # (B, S, S)
        fractions = (given / positions.sum(2, keepdim=True).clamp(min=1)).float().cpu().numpy()
        return [
            fraction[: len(each), : len(each)]
            for fraction, each in zip(fractions, spans, strict=True)
        ]

    def map(
        self,
        row: int = 0,
        *,
        member: int = 0,
        layer: int = -1,
        head: int | None = None,
        bins: int = 200,
    ) -> AttentionMap:
        """Return the attention map of one sequence.

        It is computed in blocks, so memory depends on `bins` and not on the length.

        Parameters
        ----------
        row
            Index of the sequence.
        member, layer, head
            Which weights; the mean over heads if `head` is None.
        bins
            Largest number of intervals along the sequence; not more than the number of encoder
            positions.

        Raises
        ------
        ArgumentError
            If `bins` is not positive.
        """
        if bins < 1:
            raise ArgumentError(f"bins is {bins}; choose at least 1")
        read = self.layers[member][layer]
        one = read.select(slice(row, row + 1))
        positions = np.flatnonzero(one.mask.tokens[0].cpu().numpy() & (self.spans[:, 0] >= 0))
        count = min(bins, len(positions))
        bin_of_position = np.arange(len(positions)) * count // len(positions)
        number = np.full(len(self.spans), count)
        number[positions] = bin_of_position
        given = binned(one, torch.from_numpy(number).to(read.q.device), count)[0]  # (H, S, S)
        chosen = (given.mean(0) if head is None else given[head]).float().cpu().numpy()
        fractions = chosen / np.bincount(bin_of_position)[:, None]
        starts = self.spans[positions[np.searchsorted(bin_of_position, np.arange(count))], 0]
        end = min(self.spans[positions[-1], 1], self.lengths[row])
        return AttentionMap(np.append(starts, end), fractions.astype(np.float32))

    def _mask(self) -> Tensor:
        layer = self.layers[0][0]
        return layer.mask.tokens.to(layer.q.dtype)

    def _to_letters(self, by_position: Tensor) -> Scores:
        """Average (..., B, M) over the encoder positions that cover a letter: (..., B, L)."""
        length = int(self.lengths.max())
        values = (by_position * self._mask()).cpu().numpy()
        total = np.zeros((*values.shape[:-1], length))
        covering = np.zeros((len(self.lengths), length))
        for position, (start, end) in enumerate(self.spans):
            if start >= 0:
                total[..., start:end] += values[..., position, None]
                covering[:, start:end] += self._mask()[:, position, None].cpu().numpy()
        total[..., np.arange(length) >= self.lengths[:, None]] = 0
        return (total / np.maximum(covering, 1)).astype(np.float32)


@dataclass(frozen=True)
class MappedSequence:
    """Attention maps of one sequence.

    They show where the model attends. They do not explain its output.

    Attributes
    ----------
    letters
        (L,) ASCII.
    score
        Score of the sequence for the first explained output.
    layers
        Map of each layer, as returned by `attention_maps`; all have the same edges.
    """

    letters: Ascii
    score: float
    layers: Sequence[AttentionMap]


def write_maps(path: Path, maps: Mapping[str, MappedSequence]) -> None:
    """Write maps by record id as npz; nothing if there are none."""
    if not maps:
        return
    arrays: dict[str, Any] = {
        "ids": np.array(list(maps)),
        "scores": np.array([mapped.score for mapped in maps.values()]),
    }
    for i, mapped in enumerate(maps.values()):
        arrays |= {
            f"letters_{i}": mapped.letters,
            f"edges_{i}": mapped.layers[0].edges,
            f"weights_{i}": np.stack([layer.weights for layer in mapped.layers]),
        }
    np.savez_compressed(path, **arrays)


def read_maps(path: Path) -> dict[str, MappedSequence]:
    """Read a file of `write_maps`; there are no maps without the file.

    Raises
    ------
    OSError, ValueError, KeyError, BadZipFile
        If the file is damaged.
    """
    if not path.exists():
        return {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {
            str(name): MappedSequence(
                arrays[f"letters_{i}"],
                float(score),
                [AttentionMap(arrays[f"edges_{i}"], layer) for layer in arrays[f"weights_{i}"]],
            )
            for i, (name, score) in enumerate(zip(arrays["ids"], arrays["scores"], strict=True))
        }
