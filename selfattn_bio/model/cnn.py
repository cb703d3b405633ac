"""The convolutional baseline, as in Basset.

It is a model kind, trained by the same command and in the same way as attention models.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.model.heads import equal_parts
from selfattn_bio.model.pooling import pool_mask


class Cnn(nn.Module):
    """Apply convolutions with batch norm, ReLU and max-pooling, then two dense layers.

    The dense layers read the means of `bins` equal parts of the sequence. Basset's dense layer
    reads every position of inputs of one fixed length; equal parts preserve the position and accept
    any length.

    Parameters
    ----------
    token_dim, num_outputs
        Dimension of the token embeddings, and number C of outputs.
    channels, kernels, pools
        Channels, kernel (odd) and pooling of each convolution.
    bins
        Number of equal parts of the sequence.
    hidden_dim
        Size of the hidden dense layer.
    dropout
        Probability of dropout after each convolution and in the dense layers.

    References
    ----------
    Kelley et al. 2016.
    """

    def __init__(
        self,
        token_dim: int,
        num_outputs: int,
        *,
        channels: Sequence[int],
        kernels: Sequence[int],
        pools: Sequence[int],
        bins: int,
        hidden_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.token_dim, self.bins, self.pools = token_dim, bins, pools
        widths = (token_dim, *channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding=kernel // 2)
            for before, after, kernel in zip(widths, widths[1:], kernels, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in channels)
        self.dropout = Dropout(dropout)
        self.dense = nn.Sequential(
            nn.Linear(bins * widths[-1], hidden_dim),
            nn.ReLU(),
            self.dropout,
            nn.Linear(hidden_dim, num_outputs),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to (B, C)."""
        x = x.transpose(1, 2)  # (B, token_dim, N)
        for convolve, norm, pool in zip(self.convolutions, self.norms, self.pools, strict=True):
            x = norm(convolve(x * mask[:, None])).relu() * mask[:, None]  # (B, C, N)
            missing = -x.shape[-1] % pool
            # After ReLU no value is below 0, so padding with 0 never becomes the maximum.
            # (B, C, N / pool)
            x = self.dropout(pad(x, (0, missing)).unflatten(-1, (-1, pool)).amax(-1))
            mask = pool_mask(mask, pool)
        return self.dense(self._bin_means(x, mask).flatten(1))

    def _bin_means(self, x: Tensor, mask: Tensor) -> Tensor:
        """Average x (B, C, M) over equal parts of the unpadded sequence, (B, C, bins).

        A part without positions is 0.
        """
        member = equal_parts(mask, self.bins).to(x.dtype)  # (B, M, bins)
        return x @ (member / member.sum(1, keepdim=True).clamp(min=1))
