"""From token embeddings to the encoder's input.

Hides: convolution, pooling, and that padding must stay 0. The network builds one; nobody else imports it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

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
        self.first_norm = nn.BatchNorm1d(embed_dim)
        self.first_act = nn.GELU()
        self.second = nn.Conv1d(embed_dim, embed_dim, section.second_kernel, padding=section.second_kernel // 2, bias=False)
        self.second_norm = nn.BatchNorm1d(embed_dim)
        self.second_act = nn.GELU()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, token_dim), mask (B, N) -> (B, M, D), (B, M) with M = ceil(N / pool)."""
        return self.combined(*self.detected(x, mask))

    def detected(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, token_dim), mask (B, N) -> how strongly each detector fires in each `pool` tokens, (B, D, M), and (B, M)."""
        x = x * mask[..., None]  # padding is 0, so that a convolution sees the end of a sequence as it sees the edge
        x, mask = self._pooled(self.first(x.transpose(1, 2)), mask)  # (B, D, M), (B, M)
        return self.dropout(self.first_act(self.first_norm(x))) * mask[:, None], mask

    def combined(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D, M), mask (B, M) -> each with what its neighbours add, (B, M, D), (B, M)."""
        y = self.second_act(self.second_norm(self.second(x)))
        return ((x + y) * mask[:, None]).transpose(1, 2), mask

    def _pooled(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, D, N), mask (B, N) -> the largest of each `pool` tokens (B, D, M), and where there is a token (B, M)."""
        missing = -x.shape[-1] % self.pool
        pooled_mask = pad(mask, (0, missing)).unflatten(1, (-1, self.pool)).any(-1)
        if not bool(mask.all()):
            x = x.masked_fill(~mask[:, None], float("-inf"))
        pooled = max_pool1d(x, self.pool, ceil_mode=True)
        return pooled.masked_fill(~pooled_mask[:, None], 0.0), pooled_mask


def build_stem(section: config.NoStem | config.ConvStem, embed_dim: int, dropout: float) -> NoStem | ConvStem:
    """The stem that the run file names."""
    return ConvStem(section, embed_dim, dropout) if isinstance(section, config.ConvStem) else NoStem(embed_dim)
