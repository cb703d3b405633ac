"""FlexAttention on CUDA: sparse patterns and a bias by distance in one compiled kernel.

The kernel computes forward and backward. On the CPU the backward pass of FlexAttention raises an
error, so the CPU tests cover only the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from selfattn_bio.attention.inputs import AttentionInputs, AttentionMask
from selfattn_bio.attention.patterns import AttentionPattern, SampledBlocks
from selfattn_bio.attention.positions import relative_index

BLOCK = 128  # tokens; FlexAttention skips blocks of this size

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries, including global ones.

    Only the bias of the position is used, not its other terms.
    """
    score_mod = None
    if (bias := inputs.terms.bias) is not None:
        entries = bias.shape[1]
        # Rounded to the precision of q, because the kernel adds it to scores in that precision.
        bias = bias.to(inputs.q.dtype)

        def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + bias[h, relative_index(j - i, entries)]

    return _compiled()(
        inputs.q,
        inputs.k,
        inputs.v,
        score_mod=score_mod,
        block_mask=_block_mask(inputs.pattern, inputs.mask),
    )


@cache
def _compiled() -> Any:
    # fullgraph raises an error instead of falling back to code that stores every pair
    return torch.compile(flex_attention, fullgraph=True)


def _block_mask(pattern: AttentionPattern, mask: AttentionMask) -> BlockMask:
    """Return the block mask of a batch, which all layers share."""
    return mask.once(("blocks", pattern), lambda: _new_block_mask(pattern, mask))


def _new_block_mask(pattern: AttentionPattern, mask: AttentionMask) -> BlockMask:
    padded, longest = mask.length, max(mask.ends)
    # random blocks depend on the length, so each sequence has its own
    sampled = any(isinstance(part, SampledBlocks) for part in pattern.parts(padded))
    touched = [
        _touched(pattern, length, padded, mask.device)
        for length in (mask.ends if sampled else [longest])
    ]
    number, indices = (torch.cat(each) for each in zip(*touched, strict=True))
    rule = _rule(pattern, mask, longest)
    return BlockMask.from_kv_blocks(
        number, indices, BLOCK_SIZE=BLOCK, mask_mod=rule, seq_lengths=(padded, padded)
    )


@lru_cache(maxsize=128)
def _touched(
    pattern: AttentionPattern, length: int, padded: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the number and the indices of the key blocks that each block of queries touches.

    The shapes are (1, 1, n) and (1, 1, n, n), int32.
    """
    n = -(-padded // BLOCK)
    with torch.inference_mode(False):  # they are cached, and a training step may use them later
        touched = torch.zeros(n, n, dtype=torch.bool, device=device)
        real = -(-length // BLOCK)
        touched[:real, :real] = pattern.block_mask(length, BLOCK, device)
        order = touched.to(torch.int8).argsort(dim=1, descending=True, stable=True).to(torch.int32)
        return touched.sum(1, dtype=torch.int32)[None, None], order[None, None]


def _rule(pattern: AttentionPattern, mask: AttentionMask, longest: int) -> Rule:
    """Return a function that evaluates pattern and padding for each pair.

    It uses only operations that FlexAttention can trace.
    """
    tokens, parts = mask.padded, pattern.parts(longest)
    lengths = mask.lengths.expand(len(mask.tokens))
    sampled = {  # (B, blocks, count)
        part: part.sampled(
            torch.arange(-(-longest // part.block), device=mask.device)[None], lengths[:, None]
        )
        for part in parts
        if isinstance(part, SampledBlocks)
    }

    def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        allowed = i < pattern.num_global
        for part in parts:
            if isinstance(part, SampledBlocks):
                blocks = sampled[part]
                row = (i // part.block).clamp(max=blocks.shape[1] - 1)
                covered = (blocks[b, row] == j // part.block).any(-1)
                allowed = allowed | (covered & (j <= i) if part.causal else covered)
            else:
                allowed = allowed | part.covers(i, j, longest)
        return allowed if tokens is None else allowed & tokens[b, j]

    return rule
