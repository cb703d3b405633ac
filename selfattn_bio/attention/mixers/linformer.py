"""Low-rank attention (Linformer).

The keys and values of up to `max_length` tokens are reduced to `rank` learned sums, to which every
query attends. Padding does not contribute. Each layer has one matrix for keys and one for values,
shared by its heads.

References
----------
Wang et al. 2020 (Linformer).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from selfattn_bio.attention.dropout import dropout as dropped
from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.mixers.base import FullMixer, work_dtype
from selfattn_bio.errors import ArgumentError


class Linformer(FullMixer):
    """Attention to learned sums: out = softmax(q (E k)^T / sqrt(Dh)) F v.

    E and F are (rank, max_length). A shorter sequence uses their first columns.
    """

    def __init__(self, max_length: int, rank: int) -> None:
        super().__init__()
        self.keys, self.values = (
            nn.Parameter(torch.randn(rank, max_length) / math.sqrt(max_length)) for _ in range(2)
        )

    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention; see `FullMixer.mix`.

        Raises
        ------
        ArgumentError
            If L is larger than `max_length`.
        """
        length, most = inputs.q.shape[2], self.keys.shape[1]
        if length > most:
            raise ArgumentError(
                f"a sequence has {length} tokens, more than model.mixer.max_length = {most}",
                hint="Use shorter sequences or windows, or train with a larger "
                "model.mixer.max_length",
            )
        k, v = inputs.k, inputs.v
        if (tokens := inputs.mask.padded) is not None:
            k, v = (x.masked_fill(~tokens[:, None, :, None], 0.0) for x in (k, v))
        k, v = (
            self.keys[:, :length].to(k.dtype) @ k,
            self.values[:, :length].to(v.dtype) @ v,
        )  # (B, H, rank, Dh)
        scores = inputs.q / math.sqrt(inputs.q.shape[-1]) @ k.transpose(-1, -2)  # (B, H, L, rank)
        weights = dropped(scores.to(work_dtype(scores)).softmax(-1), inputs.dropout)
        return weights.to(v.dtype) @ v

    def num_pairs(self, length: int) -> int:
        """Return the pairs that cost as much as forming the sums and attending to them."""
        return 2 * length * len(self.keys)
