"""From token embeddings to the encoder's input.

Hides: convolution, pooling, and that padding must stay 0. The network builds one; nobody else imports it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, max_pool2d, pad

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout


class NoStem(nn.Module):
    """Token embeddings go in as they are: (B, N, D) -> (B, N, D)."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.token_dim, self.pool = embed_dim, 1

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, D), mask (B, N) -> the same."""
        return x, mask


class BatchNorm(nn.BatchNorm1d):
    """Batch norm, in the form of `RecordNorm`: padding counts, as it does for the running statistics."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, D, M) -> the same shape."""
        return super().forward(x)


class RecordNorm(nn.Module):
    """Mean 0 and deviation 1 over all detectors and places of a record together, padding left out; then a scale and shift a detector.

    A record is normalised by itself, as private training needs it; and a detector that fires louder than others, or here louder than
    there, still does. Group norm with one group (Wu and He 2018), which knows no padding in torch.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim)), eps

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, D, M), mask (B, M), all of it if not given -> (B, D, M)."""
        centred, deviation = self.parts(x, mask)
        return self.scaled(centred / deviation)

    def parts(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """x less its mean (B, D, M), and its deviation (B, 1, 1)."""
        inside = x.new_ones(len(x), 1, x.shape[-1]) if mask is None else mask[:, None].to(x.dtype)  # (B, 1, M)
        size = (inside.sum((1, 2), keepdim=True) * x.shape[1]).clamp(min=1)
        centred = x - (x * inside).sum((1, 2), keepdim=True) / size
        return centred, ((centred.square() * inside).sum((1, 2), keepdim=True) / size + self.eps).sqrt()

    def scaled(self, x: Tensor) -> Tensor:
        """(B, D, M) -> the same, each detector by its learned scale and shift."""
        return x * self.weight[:, None] + self.bias[:, None]


class ConvStem(nn.Module):
    """Convolution, max-pooling, convolution with a residual: (B, N, token_dim) -> (B, ceil(N / pool), D).

    Motif detectors first, as in Basset (Kelley 2016) and Enformer (Avsec 2021); attention then relates what they found. Batch norm
    keeps how strongly a detector fires beside its neighbours; layer norm would make every position equally loud. It comes after the
    pooling, where there is a `pool`-th to normalise.
    """

    def __init__(self, section: config.ConvStem, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.token_dim, self.pool = section.token_dim, section.pool
        self.first = nn.Conv1d(section.token_dim, embed_dim, section.kernel, padding=section.kernel // 2, bias=False)
        norm = BatchNorm if section.norm == "batch" else RecordNorm
        self.first_norm = norm(embed_dim)
        self.first_act = nn.GELU()
        self.second = nn.Conv1d(embed_dim, embed_dim, section.second_kernel, padding=section.second_kernel // 2, bias=False)
        self.second_norm = norm(embed_dim)
        self.second_act = nn.GELU()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, token_dim), mask (B, N) -> (B, M, D), (B, M) with M = ceil(N / pool)."""
        return self.combined(*self.detected(x, mask))

    def detected(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, token_dim), mask (B, N) -> how strongly each detector fires in each `pool` tokens, (B, D, M), and (B, M)."""
        x = x * mask[..., None]  # padding is 0, so that a convolution sees the end of a sequence as it sees the edge
        x, mask = self._pooled(self.first(x.transpose(1, 2)), mask)  # (B, D, M), (B, M)
        return self.dropout(self.first_act(self.first_norm(x, mask))) * mask[:, None], mask

    def combined(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D, M), mask (B, M) -> each with what its neighbours add, (B, M, D), (B, M)."""
        y = self.second_act(self.second_norm(self.second(x), mask))
        return ((x + y) * mask[:, None]).transpose(1, 2), mask

    def _pooled(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D, N), mask (B, N) -> the largest of each `pool` tokens (B, D, M), and where there is a token (B, M)."""
        missing = -x.shape[-1] % self.pool
        pooled_mask = pad(mask, (0, missing)).unflatten(1, (-1, self.pool)).any(-1)
        if not bool(mask.all()):
            x = x.masked_fill(~mask[:, None], float("-inf"))
        pooled = max_pool1d(x, self.pool, ceil_mode=True)
        return pooled.masked_fill(~pooled_mask[:, None], 0.0), pooled_mask


class TowerStem(nn.Module):
    """Stages of convolution, max-pooling and, but the first, a convolution with a residual: (B, N, token_dim) -> (B, ceil(N / pool), D).

    For long sequences, as the stems of Basenji (Kelley 2018) and Enformer (Avsec 2021). Convolutions are those of images one letter high,
    with the channels last in memory: those of sequences took twice as long, pooling five times (docs/decisions.md#long-sequences).
    """

    def __init__(self, section: config.TowerStem, embed_dim: int) -> None:
        super().__init__()
        self.token_dim, self.pool = section.token_dim, section.pool
        widths = (section.token_dim, *section.channels, embed_dim)
        shapes = list(zip(widths, widths[1:], section.kernels, section.pools, strict=False))
        self.stages = nn.ModuleList(
            TowerStage(*shape, residual_kernel=section.residual_kernel if number else None) for number, shape in enumerate(shapes)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, token_dim), mask (B, N) -> (B, M, D), (B, M) with M = ceil(N / pool)."""
        x = _without_padding(x.unsqueeze(1).permute(0, 3, 1, 2), mask)  # (B, C, 1, N), channels last
        for stage in self.stages:
            x, mask = stage(x, mask)
        return x[:, :, 0].transpose(1, 2), mask


class TowerStage(nn.Module):
    """One stage; padding is 0 before and after it."""

    def __init__(self, before: int, after: int, kernel: int, pool: int, residual_kernel: int | None) -> None:
        super().__init__()
        self.pool = pool
        self.first = nn.Conv2d(before, after, (1, kernel), padding=(0, kernel // 2), bias=False)
        self.first_norm, self.first_act = nn.BatchNorm2d(after), nn.GELU()
        self.second = None
        if residual_kernel is not None:
            self.second = nn.Conv2d(after, after, (1, residual_kernel), padding=(0, residual_kernel // 2), bias=False)
            self.second_norm, self.second_act = nn.BatchNorm2d(after), nn.GELU()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, 1, N), mask (B, N) -> (B, D, 1, ceil(N / pool)), (B, ceil(N / pool))."""
        x, missing = self.first(x), -mask.shape[1] % self.pool
        if missing or not bool(mask.all()):
            x = pad(x.masked_fill(~mask[:, None, None], float("-inf")), (0, missing), value=float("-inf"))
            mask = pad(mask, (0, missing)).unflatten(1, (-1, self.pool)).any(-1)
            x = max_pool2d(x, (1, self.pool)).masked_fill(~mask[:, None, None], 0.0)
        else:
            x, mask = max_pool2d(x, (1, self.pool)), mask[:, :: self.pool]
        x = self.first_act(self.first_norm(x))
        if self.second is None:
            return _without_padding(x, mask), mask
        x = _without_padding(x, mask)
        return x + _without_padding(self.second_act(self.second_norm(self.second(x))), mask), mask


def _without_padding(x: Tensor, mask: Tensor) -> Tensor:
    """x (B, C, 1, N), mask (B, N) -> x, 0 where there is no token; as it is where there is no padding, as most long records have none."""
    return x if bool(mask.all()) else x * mask[:, None, None]


def build_stem(section: config.Stem, embed_dim: int, dropout: float) -> NoStem | ConvStem | TowerStem:
    """The stem that the run file names."""
    match section:
        case config.ConvStem():
            return ConvStem(section, embed_dim, dropout)
        case config.TowerStem():
            return TowerStem(section, embed_dim)
        case _:
            return NoStem(embed_dim)
