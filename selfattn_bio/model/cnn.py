"""The convolutional baselines: as in Basset, and dilated as in Basenji for long sequences.

They are model kinds, trained by the same command and in the same way as attention models.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.model.convolution import EmbeddedTokens, TokenConv, max_pool, without_padding
from selfattn_bio.model.heads import BinHead, ProfileHead, equal_parts
from selfattn_bio.model.stem import BatchNorm, ConvStem, NoStem, build_stem


class Cnn(nn.Module):
    """Apply convolutions with batch norm, ReLU and max-pooling, then two dense layers.

    The dense layers read the means of `bins` equal parts of the sequence. Basset's dense layer
    reads every position of inputs of one fixed length; equal parts preserve the position and accept
    any length.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs.

    References
    ----------
    Kelley et al. 2016.
    """

    reads_tokens = True  # `forward` takes embedded tokens in place of embeddings

    def __init__(self, section: config.CnnModel, num_outputs: int) -> None:
        super().__init__()
        self.token_dim, self.bins, self.pools = section.embed_dim, section.bins, section.pools
        widths = (section.embed_dim, *section.channels)
        self.convolutions = nn.ModuleList(
            TokenConv(before, after, kernel, bias=True)
            for before, after, kernel in zip(widths, widths[1:], section.kernels, strict=False)
        )
        self.norms = nn.ModuleList(BatchNorm(width) for width in section.channels)
        self.dropout = Dropout(section.dropout)
        self.dense = nn.Sequential(
            nn.Linear(section.bins * widths[-1], section.hidden_dim),
            nn.ReLU(),
            self.dropout,
            nn.Linear(section.hidden_dim, num_outputs),
        )

    def forward(self, x: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to (B, C)."""
        found = without_padding(x, mask)
        for convolve, norm, pool in zip(self.convolutions, self.norms, self.pools, strict=True):
            # (B, C, N / pool), 0 at padding
            pooled, mask = max_pool(norm(convolve(found)), mask, pool)
            found = self.dropout(pooled.relu())  # after the maximum, where numbers are fewer
        assert isinstance(found, Tensor)  # there is at least one convolution
        return self.dense(self._bin_means(found, mask).flatten(1))

    def _bin_means(self, x: Tensor, mask: Tensor) -> Tensor:
        """Average x (B, C, M) over equal parts of the unpadded sequence, (B, C, bins).

        A part without positions is 0.
        """
        member = equal_parts(mask, self.bins).to(x.dtype)  # (B, M, bins)
        return x @ (member / member.sum(1, keepdim=True).clamp(min=1))


class Dilated(nn.Module):
    """Apply a stem, residual convolutions of growing dilation, and a head per bin or for a profile.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs per bin.
    objective
        Section [objective].

    References
    ----------
    Kelley et al. 2018.
    """

    def __init__(
        self,
        section: config.DilatedModel,
        num_outputs: int,
        objective: Any,
    ) -> None:
        super().__init__()
        dim, kernel = section.embed_dim, section.kernel
        self.stem = build_stem(section.stem, dim, section.dropout)
        self.token_dim = self.stem.token_dim
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=d * (kernel // 2), dilation=d, bias=False)
            for d in section.dilations
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in section.dilations)
        self.act, self.dropout = nn.GELU(), Dropout(section.dropout)
        self.head: BinHead | ProfileHead
        if objective.is_per_base:
            self.head = ProfileHead(objective, dim, dim, self.stem.pool)
        else:
            self.head = BinHead(dim, num_outputs, num_global=0, reads_stem=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to (B, M, C), or to that of `ProfileHead`."""
        inside, fine, stem = mask, None, self.stem
        if isinstance(self.head, ProfileHead):
            assert isinstance(stem, ConvStem | NoStem)  # the run file is validated before
            fine, x, mask = stem.with_responses(x, mask)
        else:
            x, mask = self.stem(x, mask)
        before, x = x, x.transpose(1, 2)  # (B, M, D), (B, D, M)
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + self.dropout(self.act(norm(convolve(x)))) * mask[:, None]
        x = x.transpose(1, 2)
        return self.head(x, mask) if fine is None else self.head(x, mask, before, fine, inside)
