"""The dilated convolutional baseline for long sequences, as in Basenji.

It is a model kind, trained by the same command as attention models.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.model.heads import BinHead
from selfattn_bio.model.stem import Stem


class Dilated(nn.Module):
    """Apply a stem, residual convolutions of growing dilation, and a head with outputs per bin.

    Parameters
    ----------
    stem
        From token embeddings to vectors of size `embed_dim`.
    embed_dim, num_outputs
        Sizes D and C.
    dilations
        Dilation of each convolution.
    kernel
        Size of the convolutions, odd.
    dropout
        Probability of dropout after each convolution.

    References
    ----------
    Kelley et al. 2018.
    """

    def __init__(
        self,
        stem: Stem,
        embed_dim: int,
        num_outputs: int,
        *,
        dilations: Sequence[int],
        kernel: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem, self.token_dim = stem, stem.token_dim
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                embed_dim, embed_dim, kernel, padding=d * (kernel // 2), dilation=d, bias=False
            )
            for d in dilations
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(embed_dim) for _ in dilations)
        self.act, self.dropout = nn.GELU(), Dropout(dropout)
        self.head = BinHead(embed_dim, num_outputs, num_global=0, reads_stem=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to (B, M, C)."""
        x, mask = self.stem(x, mask)
        x = x.transpose(1, 2)  # (B, D, M)
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + self.dropout(self.act(norm(convolve(x)))) * mask[:, None]
        return self.head(x.transpose(1, 2), mask)
