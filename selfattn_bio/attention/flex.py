"""FlexAttention on CUDA: sparse patterns and distance biases in one compiled kernel, forward and backward.

Hides: BlockMask, score_mod and mask_mod. `attend` calls it. On the CPU its backward raises, so that only its forward is tested there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from selfattn_bio.attention.patterns import Blocks, Pattern
from selfattn_bio.attention.positions import NO_TERMS, Terms, entry
from selfattn_bio.attention.tiles import Setting

BLOCK = 128  # tokens; what FlexAttention skips is blocks of this size

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def flex(q: Tensor, k: Tensor, v: Tensor, *, setting: Setting, terms: Terms = NO_TERMS, compiled: bool = True) -> Tensor:
    """Attention of all queries, global ones too; (B, H, L, Dh); 0 for a query that may attend to nothing.

    Parameters
    ----------
    q, k, v
        (B, H, L, Dh).
    setting
        Who may attend to whom.
    terms
        Of what a position adds the bias alone.
    compiled
        False runs the same rules without a kernel, keeping every pair: for tests.
    """
    score_mod = None
    if (bias := terms.bias) is not None:
        entries = bias.shape[1]
        # The table is rounded to q's precision, as the kernel adds it to scores of q's.
        bias = bias.to(q.dtype)

        def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + bias[h, entry(j - i, entries)]

    return (_compiled() if compiled else flex_attention)(q, k, v, score_mod=score_mod, block_mask=_block_mask(setting))


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, fullgraph=True)  # which raises where it would give up and keep every pair


def _block_mask(setting: Setting) -> BlockMask:
    padded, lengths = setting.shape[2], setting.lengths()
    longest = int(lengths.max())
    drawn = any(isinstance(part, Blocks) for part in setting.pattern.parts(padded))  # by length: each sequence has its own blocks
    touched = [_touched(setting.pattern, length, padded, setting.device) for length in (lengths.tolist() if drawn else [longest])]
    number, indices = (torch.cat(each) for each in zip(*touched, strict=True))
    rule = _rule(setting, lengths, longest)
    return BlockMask.from_kv_blocks(number, indices, BLOCK_SIZE=BLOCK, mask_mod=rule, seq_lengths=(padded, padded))


@lru_cache(maxsize=128)
def _touched(pattern: Pattern, length: int, padded: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each block of queries how many key blocks it touches, and which, (1, 1, n) and (1, 1, n, n) int32."""
    n = -(-padded // BLOCK)
    with torch.inference_mode(False):  # they are kept, and may serve a training step next
        touched = torch.zeros(n, n, dtype=torch.bool)
        real = -(-length // BLOCK)
        touched[:real, :real] = pattern.block_mask(length, BLOCK)
        order = touched.to(torch.int8).argsort(dim=1, descending=True, stable=True).to(torch.int32)
        return touched.sum(1, dtype=torch.int32)[None, None].to(device), order[None, None].to(device)


def _rule(setting: Setting, lengths: Tensor, longest: int) -> Rule:
    """The pattern, padding and segments, pair by pair, in operations that FlexAttention can trace."""
    pattern, mask, segments = setting.pattern, setting.mask, setting.segments
    parts = pattern.parts(longest)
    lengths = lengths.expand(setting.shape[0])
    drawn = {  # (B, blocks, count)
        part: part.drawn(torch.arange(-(-longest // part.block), device=setting.device)[None], lengths[:, None])
        for part in parts
        if isinstance(part, Blocks)
    }

    def rule(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        allowed = i < pattern.num_global
        for part in parts:
            if isinstance(part, Blocks):
                blocks = drawn[part]
                row = (i // part.block).clamp(max=blocks.shape[1] - 1)
                covered = (blocks[b, row] == j // part.block).any(-1)
                allowed = allowed | (covered & (j <= i) if part.causal else covered)
            else:
                allowed = allowed | part.covers(i, j, longest)
        if mask is not None:
            allowed = allowed & mask[b, j]
        return allowed if segments is None else allowed & (segments[b, i] == segments[b, j])

    return rule
