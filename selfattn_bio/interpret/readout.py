"""Raw attention, read out as it is: a proposal of where to look, not an explanation.

Hides: where the weights are, and the way from pooled tokens back to letters. `explain` keeps it beside relevance, the report shows both.
It follows the network's routes, not what they do to the score, so nothing is called on it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.attention.attend import weights
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.encoder import SelfAttention
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import PAD


def attention_received(scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much attention each letter receives: the mean over layers, heads and attending tokens.

    A letter's figure is the mean over the tokens that cover it; of a [CLS] vector, what it gives counts and what it receives does not.

    Parameters
    ----------
    scorer
        The model.
    letters
        (B, L) ASCII, padded with 0.

    Returns
    -------
    (B, L), 0 in padding; all 0 for a network without attention, as the CNN.
    """
    members, tokens = scorer.network.members, scorer.tokens(letters)
    body = members[0]  # all have the same form
    if not isinstance(body, AttentionBody):
        return np.zeros(letters.shape, dtype=np.float32)
    received: list[Tensor] = []

    def read(module: SelfAttention, inputs: tuple[Tensor, Tensor]) -> None:
        x, mask = inputs
        q, k, _ = module.qkv(x)
        given = weights(q, k, pattern=module.pattern, position=module.position, mask=mask).mean(1)  # (B, M, M)
        real = mask[..., None].to(given.dtype)
        received.append((given * real).sum(1) / real.sum(1).clamp(min=1))  # (B, M)

    handles = [module.register_forward_pre_hook(read) for module in members.modules() if isinstance(module, SelfAttention)]
    try:
        with torch.inference_mode():
            scorer.network(tokens)
    finally:
        for handle in handles:
            handle.remove()
    pooled = torch.stack(received).mean(0)[:, body.head.num_prefix :]  # (B, M)
    by_token = pooled.repeat_interleave(body.stem.pool, dim=1)[:, : tokens.shape[1]]  # (B, N)
    return _to_letters(by_token.cpu().numpy(), (tokens != PAD).cpu().numpy(), scorer, letters.shape)


def _to_letters(by_token: NDArray[np.float32], real: NDArray[np.bool_], scorer: Scorer, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Mean over the covering tokens that are no padding, (B, N) -> (B, L)."""
    total, covering = np.zeros(shape), np.zeros(shape)
    for offset in range(scorer.tokenizer.k):
        at = slice(offset, offset + (by_token.shape[1] - 1) * scorer.tokenizer.stride + 1, scorer.tokenizer.stride)
        total[:, at] += by_token * real
        covering[:, at] += real
    return (total / np.maximum(covering, 1)).astype(np.float32)
