"""Stems: convolution and pooling between token embeddings and the encoder.

Every stem keeps padding at 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.inputs import is_complete
from selfattn_bio.model.convolution import EmbeddedTokens, TokenConv, max_pool, without_padding


class NoStem(nn.Module):
    """Pass token embeddings on unchanged: (B, N, D) -> (B, N, D)."""

    def __init__(self, section: config.NoStemSection, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.token_dim, self.pool = embed_dim, 1

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, N, D) and mask (B, N) unchanged."""
        return x, mask

    def with_responses(
        self, x: Tensor | EmbeddedTokens, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x as detectors (B, D, N), x and the mask."""
        assert isinstance(x, Tensor)  # only a ConvStem reads tokens
        return x.transpose(1, 2), x, mask


class BatchNorm(nn.BatchNorm1d):
    """Batch norm with the interface of `RecordNorm`.

    Padding is included, as it is in the running statistics.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise x (B, D, M); the mask is ignored."""
        # as (B M, D), because torch is slow with (B, D, M) in the layout of (B, M, D)
        rows = x.transpose(1, 2)
        return super().forward(rows.flatten(0, 1)).view(rows.shape).transpose(1, 2)


class RecordNorm(nn.Module):
    """Normalise each record to mean 0 and deviation 1 over all detectors and positions.

    Padding is excluded. A learned scale and shift per detector follow. Records are normalised
    independently, as private training requires. Differences in strength between detectors and
    between positions are preserved. This is group norm with one group (Wu and He 2018); the version
    in torch does not support padding.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise x (B, D, M) with mask (B, M); without a mask every position counts."""
        centred, deviation = self.parts(x, mask)
        return self.scaled(centred / deviation)

    def parts(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return x minus its mean, (B, D, M), and its deviation, (B, 1, 1)."""
        # (B, 1, M)
        inside = x.new_ones(len(x), 1, x.shape[-1]) if mask is None else mask[:, None].to(x.dtype)
        size = (inside.sum((1, 2), keepdim=True) * x.shape[1]).clamp(min=1)
        centred = x - (x * inside).sum((1, 2), keepdim=True) / size
        return centred, (
            (centred.square() * inside).sum((1, 2), keepdim=True) / size + self.eps
        ).sqrt()

    def scaled(self, x: Tensor) -> Tensor:
        """Apply the learned scale and shift of each detector to x (B, D, M)."""
        return x * self.weight[:, None] + self.bias[:, None]


class ConvStem(nn.Module):
    """Apply convolution, max-pooling and a residual convolution.

    Maps (B, N, token_dim) to (B, ceil(N / pool), D). The convolutions detect motifs, as in Basset
    (Kelley 2016) and Enformer (Avsec 2021); attention then relates the detected motifs. Batch norm
    preserves how strongly a detector fires compared with neighbouring positions; layer norm would
    make every position equally strong. The norm follows the pooling, where only one position in
    `pool` has to be normalised.

    Parameters
    ----------
    section
        Section [model.stem].
    embed_dim
        Dimension D of the output.
    dropout
        Probability of dropout after the first convolution.
    """

    def __init__(self, section: config.ConvStemSection, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.token_dim, self.pool = section.token_dim, section.pool
        norm = BatchNorm if section.norm == "batch" else RecordNorm
        self.first = TokenConv(section.token_dim, embed_dim, section.kernel)
        self.first_norm = norm(embed_dim)
        self.first_act = nn.GELU()
        self.second = TokenConv(embed_dim, embed_dim, section.second_kernel)
        self.second_norm = norm(embed_dim)
        self.second_act = nn.GELU()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor | EmbeddedTokens, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, N, token_dim), mask (B, N) to (B, M, D), (B, M) with M = ceil(N / pool)."""
        return self.combined(*self.detected(x, mask))

    def with_responses(
        self, x: Tensor | EmbeddedTokens, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the responses of the detectors, (B, D, N), and the result of `forward`.

        Responses at padding are arbitrary.
        """
        responses = self.first(without_padding(x, mask))
        return responses, *self.combined(*self.active(*max_pool(responses, mask, self.pool)))

    def detected(self, x: Tensor | EmbeddedTokens, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the strongest response of each detector in each group of `pool` tokens.

        Maps x (B, N, token_dim) and mask (B, N) to (B, D, M) and (B, M).
        """
        return self.active(*self.first.pooled(without_padding(x, mask), mask, self.pool))

    def active(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return `detected` from the pooled responses (B, D, M) and mask (B, M)."""
        return self.dropout(self.first_act(self.first_norm(x, mask))) * mask[:, None], mask

    def combined(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Add the second convolution to x (B, D, M); returns (B, M, D) and mask (B, M)."""
        y = self.second_act(self.second_norm(self.second(x), mask))
        return ((x + y) * mask[:, None]).transpose(1, 2), mask


class TowerStem(nn.Module):
    """Apply several stages of convolution and max-pooling, for long sequences.

    Maps (B, N, token_dim) to (B, ceil(N / pool), D). Every stage except the first ends with a
    residual convolution, as in Basenji (Kelley 2018) and Enformer (Avsec 2021). The layers are 2-D
    convolutions on images of height 1 in channels-last memory format: with five poolings, 1-D
    convolutions took twice as long (docs/decisions.md#long-sequences).

    Parameters
    ----------
    section
        Section [model.stem].
    embed_dim
        Dimension D of the output.
    dropout
        Ignored; towers have none.
    """

    def __init__(self, section: config.TowerStemSection, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.token_dim, self.pool = section.token_dim, section.pool
        widths = (section.token_dim, *section.channels, embed_dim)
        shapes = zip(widths, widths[1:], section.kernels, section.pools, strict=False)
        self.stages = nn.ModuleList(
            TowerStage(*shape, residual_kernel=section.residual_kernel if number else None)
            for number, shape in enumerate(shapes)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, N, token_dim), mask (B, N) to (B, M, D), (B, M) with M = ceil(N / pool)."""
        # (B, C, 1, N), channels last
        x = _without_padding(x.unsqueeze(1).permute(0, 3, 1, 2), mask)
        for stage in self.stages:
            x, mask = stage(x, mask)
        return x[:, :, 0].transpose(1, 2), mask


class TowerStage(nn.Module):
    """Apply one stage of a tower; padding is 0 before and after it."""

    def __init__(
        self, before: int, after: int, kernel: int, pool: int, residual_kernel: int | None
    ) -> None:
        super().__init__()
        self.pool = pool
        self.first = nn.Conv2d(before, after, (1, kernel), padding=(0, kernel // 2), bias=False)
        self.first_norm, self.first_act = nn.BatchNorm2d(after), nn.GELU()
        self.second = None
        if residual_kernel is not None:
            self.second = nn.Conv2d(
                after, after, (1, residual_kernel), padding=(0, residual_kernel // 2), bias=False
            )
            self.second_norm, self.second_act = nn.BatchNorm2d(after), nn.GELU()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, C, 1, N), mask (B, N) to (B, D, 1, M), (B, M) with M = ceil(N / pool)."""
        x, mask = max_pool(self.first(x), mask, self.pool)
        x = self.first_act(self.first_norm(x))
        if self.second is None:
            return _without_padding(x, mask), mask
        x = _without_padding(x, mask)
        return x + _without_padding(self.second_act(self.second_norm(self.second(x))), mask), mask


def _without_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Set x (B, C, 1, N) to 0 at padding; without padding, x is returned uncopied."""
    return x if is_complete(mask) else x * mask[:, None, None]


Stem = NoStem | ConvStem | TowerStem


def build_stem(section: config.AnyStem, embed_dim: int, dropout: float) -> Stem:
    """Build the stem that the run file names, with outputs of size `embed_dim`."""
    kinds = {"none": NoStem, "conv": ConvStem, "tower": TowerStem}
    return kinds[section.kind](section, embed_dim, dropout)
