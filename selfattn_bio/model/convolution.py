"""Convolution over token embeddings as a sum of table rows, and max-pooling without padding.

A batch has thousands of positions but few distinct tokens. The product of each token's embedding
with each position of the kernel is therefore computed once, and the convolution adds rows of this
table. On the CPU this takes a fifth of the time of the convolution of embeddings, forward and
backward (docs/decisions.md#training). The compiled kernel of `attention.kernels.band` does it in
one pass with the maxima; without it, torch does, with the same results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, embedding_bag, max_pool2d, pad

from selfattn_bio.attention.kernels import band
from selfattn_bio.sequence.kmers import PAD

LARGEST = 2048  # tokens of a vocabulary whose tables are smaller than the activations
# Numbers of a gradient that are added to a table at a time. Each position of the kernel reads them,
# so they should stay in the cache of a core.
CACHED = 2**18


@dataclass(frozen=True)
class EmbeddedTokens:
    """Token embeddings of a batch that are not stored for each position.

    Attributes
    ----------
    tokens
        (B, N) int64, padded with 0.
    table
        (V, E), the embedding of each token; 0 for padding.
    shift
        (S, N, E), 0 for padding, or None. Row i is added to the embeddings of rows i, i + S,
        i + 2 S, ... Gradients at the embeddings are taken here.
    """

    tokens: Tensor
    table: Tensor
    shift: Tensor | None = None


def shifted(x: Tensor | EmbeddedTokens, shift: Tensor) -> Tensor | EmbeddedTokens:
    """Add row i of a shift (S, N, E) to the embeddings (B, N, E) of rows i, i + S, i + 2 S, ..."""
    if isinstance(x, EmbeddedTokens):
        return replace(x, shift=shift)
    return x + shift.repeat(len(x) // len(shift), 1, 1)


def without_padding(x: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor | EmbeddedTokens:
    """Return the input of the first convolution, (B, E, N) with 0 at padding.

    The end of a sequence then looks like the edge of the tensor to the convolution. Maps x
    (B, N, E) and mask (B, N); embedded tokens are returned unchanged.
    """
    return x if isinstance(x, EmbeddedTokens) else (x * mask[..., None]).transpose(1, 2)


class TokenConv(nn.Conv1d):
    """A 1-D convolution of stride 1 that keeps the length.

    It is computed as a convolution of images of height 1, because torch supports the memory layout
    (B, N, D) only for images. Outputs have the layout of the input.
    """

    def __init__(self, before: int, after: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor | EmbeddedTokens) -> Tensor:
        """Map x (B, E, N), or the embedded tokens (B, N), to (B, D, N)."""
        if isinstance(x, EmbeddedTokens):
            return self._looked_up(x, torch.ones_like(x.tokens, dtype=torch.bool))
        image, weight = x.unsqueeze(2), self.weight.unsqueeze(2)
        return conv2d(image, weight, self.bias, padding=(0, self.kernel_size[0] // 2)).squeeze(2)

    def pooled(self, x: Tensor | EmbeddedTokens, mask: Tensor, pool: int) -> tuple[Tensor, Tensor]:
        """Return `max_pool` of the output. The compiled kernel does not store the output."""
        is_lookup = isinstance(x, EmbeddedTokens) and _is_compiled(x.table)
        if not is_lookup or self._forward_hooks:  # hooks get the output
            return max_pool(self(x), mask, pool)
        assert isinstance(x, EmbeddedTokens)
        return self._looked_up(x, mask, pool), pool_mask(mask, pool)

    def _looked_up(self, x: EmbeddedTokens, mask: Tensor, pool: int = 1) -> Tensor:
        """Return the maxima of groups of positions, (B, D, ceil(N / pool))."""
        with torch.autocast(x.table.device.type, enabled=False):
            products = x.table @ self.weight.permute(2, 1, 0)  # (K, V, D)
            # (S, N, D), with the bias
            shift = None if x.shift is None else self(x.shift.transpose(1, 2)).transpose(1, 2)
            if self.bias is not None and shift is None:
                # every sum has one row of the middle of the kernel
                products[self.kernel_size[0] // 2] += self.bias
            found: Tensor = _RowMaxima.apply(products, shift, x.tokens, mask, pool)
            return found.transpose(1, 2)


def _is_compiled(table: Tensor) -> bool:
    """Return whether a compiled kernel adds the rows of a table."""
    return table.dtype == torch.float32 and band.unavailable_reason() is None


class _RowMaxima(torch.autograd.Function):
    """Add the rows products[i, tokens[n + i - K // 2]] of all i, for each position n.

    Row i of a shift is added to the sums of the records i, i + S, i + 2 S, ... Returns the maximum
    of each group of `pool` positions, without those outside of the mask. Only the compiled kernel
    does that; otherwise `pool` must be 1, and the mask is ignored. Results are equal to the bit.
    """

    @staticmethod
    def forward(
        ctx: Any, products: Tensor, shift: Tensor | None, tokens: Tensor, mask: Tensor, pool: int
    ) -> Tensor:
        """Map products (K, V, D), tokens and mask (B, N) to (B, ceil(N / pool), D).

        The shift is (S, N, D) or None.
        """
        kernel, size, dim = ctx.shape = products.shape
        padded = pad(tokens, (kernel // 2, kernel // 2), value=PAD)
        places = None
        added = products[:0] if shift is None else shift
        ctx.sizes = pool, max(1, CACHED // dim), len(added)
        if _is_compiled(products):
            maxima = products.new_empty(len(tokens), -(-tokens.shape[1] // pool), dim)
            places = torch.empty_like(maxima, dtype=torch.int32)
            band.run_on_tokens("maxima", ctx.sizes, products, padded, mask, maxima, places, added)
        else:
            rows = padded.unfold(1, kernel, 1) + size * torch.arange(kernel)  # (B, N, K)
            maxima = embedding_bag(rows.reshape(-1, kernel), products.flatten(0, 1), mode="sum")
            if shift is not None:
                maxima = (maxima.view(-1, *shift.shape) + shift).flatten(0, 1)
        ctx.save_for_backward(padded, mask, places)
        return maxima.view(len(tokens), -1, dim)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Map the gradient of the maxima to those of the products and of the shift."""
        padded, mask, places = ctx.saved_tensors
        pool, step, shifts = ctx.sizes
        result = gradient.new_zeros(ctx.shape)
        if places is not None:
            sizes = pool, step if ctx.needs_input_grad[0] else 0, shifts
            of_shift = gradient.new_zeros(shifts, mask.shape[1], ctx.shape[2])
            band.run_on_tokens("gradient", sizes, result, padded, mask, gradient, places, of_shift)
            return result, of_shift if shifts else None, None, None, None
        summed = gradient.unflatten(0, (-1, shifts)).sum(0) if shifts else None
        kernel, size, dim = ctx.shape
        # each sequence after kernel - 1 rows of 0, which are read for positions beyond its ends
        rows = gradient.new_zeros(padded.numel() + kernel - 1, dim)
        rows[kernel - 1 :].view(*padded.shape, dim)[:, : gradient.shape[1]] = gradient
        back = torch.arange(kernel)[:, None]
        for start in range(0, padded.numel(), step):
            tokens, order = padded.flatten()[start : start + step].sort(stable=True)
            first = torch.searchsorted(tokens, torch.arange(size)) + len(tokens) * back  # (K, V)
            at = order + kernel - 1 - back  # (K, n), the rows of each token in turn
            near = rows[start : start + step + kernel - 1]
            result += embedding_bag(at.flatten(), near, first.flatten(), mode="sum").view(ctx.shape)
        return result, summed, None, None, None


def pool_mask(mask: Tensor, pool: int) -> Tensor:
    """Return which groups of `pool` tokens contain a token: (B, N) bool -> (B, ceil(N / pool))."""
    return pad(mask, (0, -mask.shape[1] % pool)).unflatten(1, (-1, pool)).any(-1)


def max_pool(x: Tensor, mask: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return the maximum of each group of `pool` tokens, 0 for groups of padding, and their mask.

    Padding in x is overwritten.

    x is (B, C, N), or an image of height 1, (B, C, 1, N), whose memory format is kept. The mask is
    (B, N) bool, True = token.
    """
    pooled_mask = pool_mask(mask, pool)
    if torch.compiler.is_exporting():
        x = x.masked_fill(~_along(mask, x), -torch.inf)
        x = pad(x, (0, -x.shape[-1] % pool), value=-torch.inf).unflatten(-1, (-1, pool)).amax(-1)
        return x.masked_fill(~_along(pooled_mask, x), 0.0), pooled_mask
    # Images are padded to complete groups: with ceil_mode, gradients differ in the last bits.
    missing = -x.shape[-1] % pool if x.dim() == 4 else 0
    if fills := missing > 0 or not bool(mask.all()):
        # In place and by indices, because copying x takes as long as the pooling. Autograd need not
        # know: gradients at padding are 0, because groups of padding are set to 0 below, and no
        # convolution or norm needs its output for gradients.
        x.data.movedim(-1, 1)[(~mask).nonzero(as_tuple=True)] = float("-inf")
    if x.dim() == 3:
        x = _Maxima.apply(x.transpose(1, 2), pool).squeeze(2)
    else:
        x = max_pool2d(pad(x, (0, missing), value=float("-inf")) if fills else x, (1, pool))
    if not bool(pooled_mask.all()):
        x.movedim(-1, 1)[(~pooled_mask).nonzero(as_tuple=True)] = 0.0
    return x, pooled_mask


class _Maxima(torch.autograd.Function):
    """Maximum of each group of rows. The gradient of torch copies (B, N, C) twice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, pool: int) -> Tensor:
        """Map rows (B, N, C) to an image (B, C, 1, ceil(N / pool))."""
        image = rows.transpose(1, 2).unsqueeze(2)  # (B, C, 1, N)
        maxima, at = max_pool2d(image, (1, pool), ceil_mode=True, return_indices=True)
        ctx.save_for_backward(at.squeeze(2).transpose(1, 2))
        ctx.shape = rows.shape
        return maxima

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the rows: that of a maximum at its position, 0 elsewhere."""
        (at,) = ctx.saved_tensors  # (B, M, C)
        each = gradient.squeeze(2).transpose(1, 2)
        return gradient.new_zeros(ctx.shape).scatter_(1, at, each), None


def _along(mask: Tensor, x: Tensor) -> Tensor:
    """Return the mask with dimensions of size 1 between those of the batch and the tokens."""
    return mask.view(mask.shape[0], *[1] * (x.dim() - 2), -1)
