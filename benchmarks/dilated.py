"""A dilated CNN for numbers per sequence, with stem and head of the attention model.

Run files name it: `[model] kind = "module"`, `module = "dilated:build"`. Residual convolutions of
growing dilation, as in BPNet and Basenji, replace the encoder, with about as many parameters.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from selfattn_bio.config import AttentionModel, ConvStemSection
from selfattn_bio.model.heads import PoolingHead
from selfattn_bio.model.stem import BatchNorm, ConvStem

DILATIONS = (1, 2, 4, 8, 16)


class DilatedCnn(nn.Module):
    """Map tokens (B, N) to numbers (B, C); `pool` tokens are one vector."""

    def __init__(self, vocabulary_size: int, num_outputs: int, pool: int) -> None:
        super().__init__()
        stem = ConvStemSection(pool=pool)
        section = AttentionModel(stem=stem)
        dim = section.embed_dim
        self.embedding = nn.Embedding(vocabulary_size, stem.token_dim, padding_idx=0)
        self.stem = ConvStem(stem, dim, section.dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(dim, dim, 3, padding=dilation, dilation=dilation, bias=False),
                BatchNorm(dim),
                nn.GELU(),
                nn.Dropout(section.dropout),
            )
            for dilation in DILATIONS
        )
        self.head = PoolingHead(section, 6, num_outputs)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings (B, N, E)."""
        return cast(Tensor, self.embedding(tokens))

    def classify(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Return the outputs (B, C) for embeddings (B, N, E) and their mask (B, N)."""
        x, mask = self.stem(embeddings, mask)
        x, present = x.transpose(1, 2), mask[:, None]
        for block in self.blocks:
            x = x + block(x) * present
        return cast(Tensor, self.head(x.transpose(1, 2), mask))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.classify(self.embed(tokens), mask)


def build(vocabulary_size: int, num_outputs: int, pool: int = 16) -> DilatedCnn:
    """Build the network of a run file."""
    return DilatedCnn(vocabulary_size, num_outputs, pool)
