"""Put both strands of DNA into one batch, and undo it."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(x: Tensor, mask: Tensor) -> Tensor:
    """Reverse the order of the tokens in each row; padding stays at the end.

    Maps x (B, N, D) and mask (B, N) bool, True = token, to (B, N, D). Tokens 1 2 3 with two
    positions of padding become 3 2 1, followed by the padding.
    """
    if bool(mask.all()):
        return x.flip(1)
    positions = torch.arange(mask.shape[1], device=mask.device)
    source = torch.where(mask, mask.sum(1, keepdim=True) - 1 - positions, positions)  # (B, N)
    return x.take_along_dim(source[..., None], 1)


def both_strands(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Replace each row by two rows, one per strand, each in its own reading direction.

    Maps embeddings (B, N, 2 D) of each token and its reverse complement, and mask (B, N), to (2 B,
    N, D) and (2 B, N). Rows 2 i and 2 i + 1 are the given and the other strand of row i. The first
    half of a batch thus stays in the first half, as DeepLIFT requires for sequences and references.
    """
    given, other = embeddings.chunk(2, -1)
    return torch.stack((given, mirrored(other, mask)), 1).flatten(0, 1), mask.repeat_interleave(
        2, 0
    )
