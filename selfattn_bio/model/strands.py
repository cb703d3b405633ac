"""Both strands of DNA as rows of one batch, and the way back."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(x: Tensor, mask: Tensor) -> Tensor:
    """Reverse the order of the tokens in each row; padding stays at the end.

    x (B, N, D), mask (B, N) bool, True = token -> (B, N, D). With 1 2 3 and two tokens of padding:
    3 2 1 and the padding.
    """
    if bool(mask.all()):
        return x.flip(1)
    places = torch.arange(mask.shape[1], device=mask.device)
    source = torch.where(mask, mask.sum(1, keepdim=True) - 1 - places, places)  # (B, N)
    return x.take_along_dim(source[..., None], 1)


def both_strands(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each row into two, one per strand, each in its own reading direction.

    embeddings (B, N, 2 D) of each token and its reverse complement, mask (B, N) -> (2 B, N, D),
    (2 B, N): rows 2 i and 2 i + 1 are the given and the other strand of row i. Each half of the
    batch therefore stays a half, as DeepLIFT needs it for sequences and their references.
    """
    given, other = embeddings.chunk(2, -1)
    return torch.stack((given, mirrored(other, mask)), 1).flatten(0, 1), mask.repeat_interleave(2, 0)
