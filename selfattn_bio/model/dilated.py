"""The dilated convolutional baseline for long sequences, as in Basenji.

It is a model kind, trained by the same command as attention models.
"""

from __future__ import annotations

from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.model.heads import BinHead
from selfattn_bio.model.stem import build_stem


class Dilated(nn.Module):
    """Apply a stem, residual convolutions of growing dilation, and a head with outputs per bin.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs per bin.

    References
    ----------
    Kelley et al. 2018.
    """

    def __init__(self, section: config.DilatedModel, num_outputs: int) -> None:
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
        self.head = BinHead(dim, num_outputs, num_global=0, reads_stem=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to (B, M, C)."""
        x, mask = self.stem(x, mask)
        x = x.transpose(1, 2)  # (B, D, M)
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + self.dropout(self.act(norm(convolve(x)))) * mask[:, None]
        return self.head(x.transpose(1, 2), mask)
