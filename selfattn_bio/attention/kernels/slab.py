"""Sparse attention in plain torch, for any pattern, position, precision and device.

It takes O(pairs) time and O(L) memory. Queries are processed in chunks: the scores of a chunk are a
dense tile over the keys that one part of the pattern can touch. Only the output and its log-sum-exp
are kept, and the backward pass computes the tiles again. Parts (band, global columns, random
blocks) are processed one after the other, each pair in one of them, and combined by their
log-sum-exp as in FlashAttention (Dao et al. 2022).

All tiles use the same few buffers, because page faults of new buffers take longer than the products
in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import DROPOUT_SEEDS, AttentionInputs, Rest, work_dtype
from selfattn_bio.attention.kernels.band import band_backward, band_forward, converted
from selfattn_bio.attention.kernels.band.calls import split_band
from selfattn_bio.attention.kernels.reference import EMPTY, NEVER, with_global_rows
from selfattn_bio.attention.positions import Terms, collect, look_up, relative_index, spread
from selfattn_bio.attention.tiles import AttentionTile, Walk, by_pair, walks

LN2 = math.log(2)


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries."""
    return with_global_rows(inputs, slab_attention(inputs))


def run_joint(inputs: AttentionInputs) -> Tensor:
    """Compute the window and its global keys by the band kernel, and the other parts in tiles."""
    out = slab_attention(converted(inputs), joint=True)
    return with_global_rows(inputs, out.to(inputs.q.dtype))


def slab_attention(inputs: AttentionInputs, *, joint: bool = False) -> Tensor:
    """Compute attention of all queries except the first `pattern.num_global`.

    Those attend to every key, and the caller must replace their rows. If `joint`, the band kernel
    computes the window of the pattern with its global keys; q, k and v must then have a type that
    the kernel accepts.
    """
    return _Slab.apply(inputs.rest, joint, inputs.q, inputs.k, inputs.v, *inputs.terms)


def _banded(inputs: AttentionInputs) -> AttentionInputs:
    """Return the request for the window of the pattern with its global keys."""
    found = split_band(inputs.pattern, inputs.length)
    assert found is not None  # the capabilities of `joint` require it
    return replace(inputs, pattern=found[0], seed=(inputs.seed + 1) % DROPOUT_SEEDS)


def _walks(inputs: AttentionInputs, banded: AttentionInputs | None) -> Iterator[tuple[int, Walk]]:
    """Yield the walks of the parts that the band kernel does not compute, with dropout seeds."""
    done = () if banded is None else banded.pattern.parts(inputs.length)
    found = walks(inputs.pattern, inputs.mask, inputs.q.shape[1], done)
    for number, walk in enumerate(found):
        # torch's CPU generator uses only the lowest 32 bits of a seed
        yield inputs.seed + (number << 24), walk


class _Work:
    """Scores and products of the tiles of one walk, in reused buffers."""

    def __init__(self, walk: Walk, q: Tensor, k: Tensor, terms: Terms) -> None:
        self.scale = 1 / math.sqrt(q.shape[-1])
        self.dtype = work_dtype(q)
        self.q, self.k = walk.to_rows(q), walk.to_columns(k)
        # (H or 1, 2M + 1); float16 cannot represent NEVER
        self.bias = (q.new_zeros(1, 1) if terms.bias is None else terms.bias).to(self.dtype)
        self.relative = None if terms.queries is None else walk.to_rows(terms.queries)
        # (H or 1, 1, 2M + 1, Dh)
        keys = terms.keys
        self.relative_keys = None if keys is None else (keys * self.scale).to(q.dtype)[:, None]
        self.buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def product(self, name: str, a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
        """Return scale x (b, H, G, m, d) @ (b, H, G or 1, d, n).

        The result is (b, H, G, m, n), in the buffer `name`.
        """
        shape = (*a.shape[:-1], b.shape[-1])
        out = self.buffer(name, shape, a.dtype)
        if b.shape[2] < a.shape[2]:
            b = b.expand(-1, -1, a.shape[2], -1, -1)
        out.view(-1, *shape[-2:]).baddbmm_(a.flatten(0, 2), b.flatten(0, 2), beta=0, alpha=scale)
        return out

    def buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return uninitialised memory of the given shape."""
        size, key = math.prod(shape), (name, dtype)
        if key not in self.buffers or self.buffers[key].numel() < size:
            self.buffers[key] = self.q.new_empty(size, dtype=dtype)
        return self.buffers[key][:size].view(shape)

    def scores(self, tile: AttentionTile) -> Tensor:
        """Return product + bias + relative term, (b, H, G, c, K).

        Pairs that may not attend have the score NEVER.
        """
        scores = self.product(
            "scores", tile.rows(self.q), tile.columns(self.k).transpose(-1, -2), self.scale
        ).to(self.dtype)
        if self.relative is not None and self.relative_keys is not None:
            # (b, H, G, c, 2M + 1)
            by_distance = tile.rows(self.relative) @ self.relative_keys.transpose(-1, -2)
            scores += spread(by_distance, tile.index(), scores.shape)
        # (H or 1, G or 1, R, c + n - 1)
        bias = look_up(self.bias, tile.distances).masked_fill(~tile.near, NEVER)
        rows = self.rows(len(bias), tile).copy_(bias[..., None, :])
        tile.by_block(scores).add_(by_pair(rows))
        if tile.allowed is not None:
            scores += torch.where(tile.allowed, 0.0, NEVER)
        return scores

    def rows(self, heads: int, tile: AttentionTile) -> Tensor:
        """Return uninitialised memory by query and diagonal, (H, G or 1, R, c, c + n - 1)."""
        *blocks, diagonals = tile.distances.shape
        return self.buffer("rows", (heads, *blocks, tile.chunk, diagonals), self.dtype)

    def add_bias_gradient(self, d_bias: Tensor, d_scores: Tensor, tile: AttentionTile) -> None:
        """Add the gradient of the bias, (H, 2M + 1), given the gradient of the scores of a tile."""
        rows = self.rows(len(d_bias), tile).zero_()
        pairs = by_pair(rows)
        pairs.copy_(tile.by_block(d_scores).sum_to_size(1, *pairs.shape)[0])
        by_diagonal = rows.sum(-2).flatten(1).to(d_bias.dtype)
        at = relative_index(tile.distances, d_bias.shape[-1]).flatten()
        d_bias.scatter_add_(1, at.expand_as(by_diagonal), by_diagonal)

    def relative_backward(
        self, d_scores: Tensor, tile: AttentionTile, d_keys: Tensor | None
    ) -> Tensor:
        """Return the gradient of the queries of the relative term, and add that of its keys."""
        assert self.relative is not None
        assert self.relative_keys is not None
        # (b, H, G, c, 2M + 1)
        by_distance = collect(d_scores, tile.index(), self.relative_keys.shape[-2])
        if d_keys is not None:
            products = by_distance.transpose(-1, -2) @ tile.rows(self.relative)
            found = products.sum((0, 2)) * self.scale  # (H, 2M + 1, Dh)
            d_keys.add_(found if len(d_keys) > 1 else found.sum(0, keepdim=True))
        return by_distance @ self.relative_keys

    def softmax(self, scores: Tensor) -> Tensor:
        """Return the softmax over the keys of the tile.

        A row without allowed pairs is meaningless and must be multiplied by 0.
        """
        return torch.softmax(
            scores, -1, out=self.buffer("weights", tuple(scores.shape), scores.dtype)
        )

    def kept(self, p: float, seed: int, tile: AttentionTile, like: Tensor) -> Tensor | None:
        """Return a dropout mask: 0 for a fraction `p` of the weights, else 1 / (1 - p).

        It depends only on the seed and the tile, so that the backward pass can sample it again.
        None if `p` is 0.
        """
        if p == 0:
            return None
        generator = torch.Generator(like.device).manual_seed((seed + tile.number) % DROPOUT_SEEDS)
        kept = self.buffer("kept", tuple(like.shape), like.dtype)
        return kept.uniform_(generator=generator).ge_(p).mul_(1 / (1 - p))


def _forward(
    inputs: AttentionInputs, banded: AttentionInputs | None
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Compute attention over all parts; `banded` is the request for the band kernel, if any.

    Returns
    -------
    Output (B, H, L, Dh); for each part the fraction of each row's weights in it, (B, H, L, 1); and
    the log-sum-exp of all parts, (B, H, L, 1). Those of the band kernel come first. The fractions
    of an empty row are 0.
    """
    q, k, v, terms = inputs.q, inputs.k, inputs.v, inputs.terms
    outs, sums = [], []
    if banded is not None:
        out, log_sum = band_forward(banded)
        outs.append(out)
        sums.append(torch.where(log_sum == float("inf"), float("-inf"), log_sum * LN2)[..., None])
    for seed, walk in _walks(inputs, banded):
        work, values = _Work(walk, q, k, terms), walk.to_columns(v)
        out = q.new_empty(*work.q.shape[:3], v.shape[-1])
        log_sum = q.new_empty(*work.q.shape[:3], 1, dtype=work.dtype)
        for tile in walk:
            scores = work.scores(tile)
            highest = scores.amax(-1, keepdim=True)
            weights = work.softmax(scores)
            log_of_highest = weights.amax(-1, keepdim=True).log_()
            tile.rows(log_sum).copy_(
                (highest - log_of_highest).masked_fill_(highest < EMPTY, float("-inf"))
            )
            if (kept := work.kept(inputs.dropout, seed, tile, weights)) is not None:
                weights *= kept
            weights = weights.to(v.dtype)
            result = work.product("result", weights, tile.columns(values))
            if terms.values is not None:
                by_distance = collect(weights, tile.index(), terms.values.shape[-2])
                result += by_distance @ terms.values[:, None].to(v.dtype)
            tile.rows(out).copy_(result)
        outs.append(walk.from_rows(out))
        sums.append(walk.from_rows(log_sum))
    total = torch.logsumexp(torch.stack(sums), 0)
    # +inf makes the fractions of an empty row 0
    total = total.masked_fill(total == float("-inf"), float("inf"))
    fractions = [(each - total).exp_() for each in sums]
    joined = torch.zeros_like(outs[0])
    for out, fraction in zip(outs, fractions, strict=True):
        joined.addcmul_(out, fraction.to(v.dtype))
    return joined, fractions, total


class _Slab(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rest: Rest, joint: bool, q: Tensor, k: Tensor, v: Tensor, *terms: Tensor | None
    ) -> Tensor:
        inputs = AttentionInputs(q, k, v, Terms(*terms), *rest)
        out, fractions, log_sum = _forward(inputs, _banded(inputs) if joint else None)
        ctx.save_for_backward(q, k, v, out, log_sum, *fractions, *terms)
        ctx.rest, ctx.joint, ctx.num_parts = rest, joint, len(fractions)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = gradients
        q, k, v, out, log_sum, *saved = ctx.saved_tensors
        fractions, terms = saved[: ctx.num_parts], Terms(*saved[ctx.num_parts :])
        inputs = AttentionInputs(q, k, v, terms, *ctx.rest)
        banded = _banded(inputs) if ctx.joint else None
        delta = (d_out.to(fractions[0].dtype) * out.to(fractions[0].dtype)).sum(-1, keepdim=True)
        found: list[tuple[Tensor, Tensor, Tensor]] = []  # gradients of q, k and v for each part
        needed = ctx.needs_input_grad[5:]
        d_terms = Terms(
            *(
                torch.zeros_like(x) if x is not None and needs else None
                for x, needs in zip(terms, needed, strict=True)
            )
        )
        if banded is not None:
            lse = log_sum[..., 0] / LN2
            *of_band, d_bias = band_backward(banded, out, lse, d_out, bias_needs_it=needed[0])
            found.append((of_band[0], of_band[1], of_band[2]))
            d_terms, fractions = d_terms._replace(bias=d_bias), fractions[1:]
        for (seed, walk), fraction in zip(_walks(inputs, banded), fractions, strict=True):
            found.append(_walk_backward(inputs, walk, seed, fraction, d_out, delta, d_terms))
        (d_q, d_k, d_v), *others = found
        for more in others:
            for total, x in zip((d_q, d_k, d_v), more, strict=True):
                total += x
        return None, None, d_q, d_k, d_v, *d_terms


def _walk_backward(
    inputs: AttentionInputs,
    walk: Walk,
    seed: int,
    fraction: Tensor,
    d_out: Tensor,
    delta: Tensor,
    d_terms: Terms,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v by one part, and add those of the terms to `d_terms`."""
    q, k, v, terms = inputs.q, inputs.k, inputs.v, inputs.terms
    work, values = _Work(walk, q, k, terms), walk.to_columns(v)
    # The weights of a row are its softmax within the part times the fraction of the part.
    # The gradient from above is multiplied by this fraction.
    above = walk.to_rows(d_out * fraction.to(d_out.dtype))
    delta_rows = walk.to_rows(delta * fraction)
    d_rows = q.new_empty(work.q.shape)
    d_k_columns, d_v_columns = (q.new_zeros(x.shape) for x in (work.k, values))
    d_relative = None if work.relative is None else q.new_empty(work.relative.shape)
    for tile in walk:
        weights = work.softmax(work.scores(tile))
        from_above, keys = tile.rows(above), tile.columns(work.k)
        d_weights = work.product(
            "d_weights", from_above, tile.columns(values).transpose(-1, -2)
        ).to(weights.dtype)
        if terms.values is not None:
            by_distance = from_above @ terms.values[:, None].transpose(-1, -2).to(v.dtype)
            d_weights += spread(by_distance, tile.index(), weights.shape)
        used = weights
        if (kept := work.kept(inputs.dropout, seed, tile, weights)) is not None:
            d_weights *= kept
            used = kept.mul_(weights)
        used = used.to(v.dtype)
        tile.add_columns(d_v_columns, work.product("d_columns", used.transpose(-1, -2), from_above))
        if d_terms.values is not None:
            by_distance = collect(used, tile.index(), d_terms.values.shape[-2])
            d_terms.values.add_((by_distance.transpose(-1, -2) @ from_above).sum((0, 1, 2)))
        d_scores = d_weights.sub_(tile.rows(delta_rows)).mul_(weights)
        if d_terms.bias is not None:
            work.add_bias_gradient(d_terms.bias, d_scores, tile)
        d_scores = d_scores.to(q.dtype)
        tile.rows(d_rows).copy_(work.product("d_rows", d_scores, keys, work.scale))
        tile.add_columns(
            d_k_columns,
            work.product("d_columns", d_scores.transpose(-1, -2), tile.rows(work.q), work.scale),
        )
        if d_relative is not None:
            tile.rows(d_relative).copy_(work.relative_backward(d_scores, tile, d_terms.keys))
    if d_relative is not None and d_terms.queries is not None:
        d_terms.queries.add_(walk.from_rows(d_relative))
    return walk.from_rows(d_rows), walk.from_columns(d_k_columns), walk.from_columns(d_v_columns)
