"""Sparse attention in plain torch: any pattern, position, precision and device, O(pairs) time and O(L) memory.

Hides: how queries meet their keys. They are taken in chunks; a chunk's scores stand in one dense tile against the slab of keys that a
part of the pattern may touch, and only output and log-sum-exp are kept: the backward makes the tiles anew. The parts (band, global
columns, random blocks) are walked one after the other, each pair in one of them, and joined by their log-sum-exp, as FlashAttention
joins its blocks (Dao et al. 2022). `attend` calls it; `readout` reads weights from the same tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from selfattn_bio.attention.positions import NO_TERMS, Terms
from selfattn_bio.attention.tiles import Setting, Tile, Walk

DROPOUT_SEEDS = 2**62


def slab_attention(q: Tensor, k: Tensor, v: Tensor, *, setting: Setting, terms: Terms = NO_TERMS, dropout: float = 0.0) -> Tensor:
    """Attention of every query but the first `pattern.num_global`, which see all keys and are for the caller to replace.

    Parameters
    ----------
    q, k, v
        (B, H, L, Dh), rotated where the position does so.
    setting
        Who may attend to whom.
    terms
        What the position adds.
    dropout
        Share of the weights set to 0; drawn anew at each call from torch's global CPU generator, and the same in its backward.

    Returns
    -------
    (B, H, L, Dh); 0 for a query that may attend to nothing.
    """
    seed = int(torch.randint(DROPOUT_SEEDS, ())) if dropout else 0
    return _Slab.apply(setting, dropout, seed, q, k, v, *terms)


def tile_weights(q: Tensor, k: Tensor, *, setting: Setting, terms: Terms = NO_TERMS) -> Iterator[tuple[Tile, Walk, Tensor]]:
    """Each tile of the pattern with its walk and the attention weights (B, H, G, c, K) in it; for reading, in O(tile) memory."""
    with torch.no_grad():
        _, lse = _forward(setting, 0.0, 0, q, k, torch.zeros_like(k), terms)
        for walk in setting.walks():
            scores_of = _Scores(walk, q, k, terms)
            lse_places = walk.to_places(lse)
            for tile in walk:
                yield tile, walk, (scores_of(tile) - tile.rows(lse_places)).exp()


class _Scores:
    """The scores of a walk's tiles: product, bias and relative term; -inf where a query may not attend."""

    def __init__(self, walk: Walk, q: Tensor, k: Tensor, terms: Terms) -> None:
        scale = 1 / math.sqrt(q.shape[-1])
        self.terms = terms
        self.q, self.k = walk.to_places(q * scale), walk.to_places(k)
        self.relative = None if terms.queries is None else walk.to_places(terms.queries * scale)
        self.uniform: Tensor | None = None  # (H or 1, 1, c, K): bias and mask of all tiles where both depend on the distance alone
        if walk.uniform is not None:
            index, allowed = walk.uniform
            bias = (
                q.new_zeros(1, *index.shape, dtype=_work(q)) if terms.bias is None else terms.bias[:, _entry(index, terms.bias.shape[-1])]
            )
            self.uniform = bias.to(_work(q)).masked_fill(~allowed, float("-inf"))

    def __call__(self, tile: Tile) -> Tensor:
        scores = (tile.rows(self.q) @ tile.columns(self.k).transpose(-1, -2)).to(_work(self.q))  # (B, H, G, c, K)
        if self.relative is not None and self.terms.keys is not None:
            by_distance = tile.rows(self.relative) @ self.terms.keys[:, None].transpose(-1, -2).to(
                self.relative.dtype
            )  # (B, H, G, c, 2M + 1)
            scores += by_distance.gather(-1, _entry(tile.index, self.terms.keys.shape[-2]).expand_as(scores))
        if self.uniform is not None:
            scores += self.uniform
        elif self.terms.bias is not None:
            scores += self.terms.bias[:, _entry(tile.index, self.terms.bias.shape[-1])].to(scores.dtype)
        return scores if tile.allowed is None else scores.masked_fill_(~tile.allowed, float("-inf"))


def _forward(setting: Setting, dropout: float, seed: int, q: Tensor, k: Tensor, v: Tensor, terms: Terms) -> tuple[Tensor, Tensor]:
    """Output (B, H, L, Dh) and log-sum-exp (B, H, L, 1), +inf for a query that may attend to nothing: its weights are exp(-inf) = 0."""
    out, lse = None, None
    for number, walk in enumerate(setting.walks()):
        scores_of, values = _Scores(walk, q, k, terms), walk.to_places(v)
        part_out = values.new_zeros(*q.shape[:2], walk.num_places, v.shape[-1])
        part_lse = q.new_zeros(*q.shape[:2], walk.num_places, 1, dtype=_work(q))
        for tile in walk:
            scores = scores_of(tile)
            highest = scores.amax(-1, keepdim=True)
            highest = highest.masked_fill(highest == float("-inf"), 0.0)
            weights = scores.sub_(highest).exp_()
            total = weights.sum(-1, keepdim=True)
            weights.div_(total.clamp(min=torch.finfo(total.dtype).tiny))
            tile.rows(part_lse).copy_(total.log().add_(highest))
            weights = _dropped(weights, dropout, (seed, number, tile.number)).to(v.dtype)
            result = weights @ tile.columns(values)
            if terms.values is not None:
                result += _by_distance(weights, tile, terms.values) @ terms.values[:, None].to(v.dtype)
            tile.rows(part_out).copy_(result)
        part_out, part_lse = walk.from_places(part_out), walk.from_places(part_lse)
        if out is None or lse is None:
            out, lse = part_out, part_lse
        else:
            both = torch.logaddexp(lse, part_lse)
            shift = both.masked_fill(both == float("-inf"), 0.0)
            out = (out * (lse - shift).exp() + part_out * (part_lse - shift).exp()).to(v.dtype)
            lse = both
    assert out is not None
    assert lse is not None
    return out, lse.masked_fill(lse == float("-inf"), float("inf"))


class _Slab(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        setting: Setting,
        dropout: float,
        seed: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *terms: Tensor | None,
    ) -> Tensor:
        out, lse = _forward(setting, dropout, seed, q, k, v, Terms(*terms))
        ctx.save_for_backward(q, k, v, out, lse, *terms)
        ctx.setting, ctx.dropout, ctx.seed = setting, dropout, seed
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = gradients
        q, k, v, out, lse, *rest = ctx.saved_tensors
        terms, scale = Terms(*rest), 1 / math.sqrt(q.shape[-1])
        delta = (d_out.to(lse.dtype) * out.to(lse.dtype)).sum(-1, keepdim=True)
        d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        d_terms = Terms(*(None if x is None else torch.zeros_like(x) for x in terms))
        for number, walk in enumerate(ctx.setting.walks()):
            scores_of, values = _Scores(walk, q, k, terms), walk.to_places(v)
            lse_p, delta_p, d_out_p = walk.to_places(lse), walk.to_places(delta), walk.to_places(d_out)
            d_q_p, d_k_p, d_v_p = torch.zeros_like(scores_of.q), torch.zeros_like(scores_of.k), torch.zeros_like(values)
            d_relative = None if scores_of.relative is None else torch.zeros_like(scores_of.relative)
            d_uniform = None if scores_of.uniform is None else torch.zeros_like(scores_of.uniform)
            for tile in walk:
                weights = scores_of(tile).sub_(tile.rows(lse_p)).exp_()
                d_rows, keys = tile.rows(d_out_p), tile.columns(scores_of.k)
                d_weights = (d_rows @ tile.columns(values).transpose(-1, -2)).to(weights.dtype)
                if terms.values is not None:
                    by_distance = d_rows @ terms.values[:, None].transpose(-1, -2).to(v.dtype)
                    d_weights += by_distance.gather(-1, _entry(tile.index, terms.values.shape[-2]).expand_as(weights))
                kept = _dropped(torch.ones_like(weights), ctx.dropout, (ctx.seed, number, tile.number)) if ctx.dropout else None
                used = (weights if kept is None else weights * kept).to(v.dtype)
                tile.add_columns(d_v_p, used.transpose(-1, -2) @ d_rows)
                if d_terms.values is not None:
                    d_terms.values.add_((_by_distance(used, tile, d_terms.values).transpose(-1, -2) @ d_rows).sum((0, 1, 2)))
                if kept is not None:
                    d_weights *= kept
                d_scores = d_weights.sub_(tile.rows(delta_p)).mul_(weights)
                _add_bias_gradient(d_terms.bias, d_uniform, d_scores, tile)
                d_scores = d_scores.to(q.dtype)
                tile.rows(d_q_p).copy_(d_scores @ keys)
                tile.add_columns(d_k_p, d_scores.transpose(-1, -2) @ tile.rows(scores_of.q))
                if d_relative is not None and d_terms.keys is not None and terms.keys is not None:
                    by_distance = _by_distance(d_scores, tile, terms.keys)  # (B, H, G, c, 2M + 1)
                    tile.rows(d_relative).copy_(by_distance @ terms.keys[:, None].to(q.dtype))
                    found = (by_distance.transpose(-1, -2) @ tile.rows(scores_of.relative)).sum((0, 2))  # (H, 2M + 1, Dh)
                    d_terms.keys.add_(found if len(d_terms.keys) > 1 else found.sum(0, keepdim=True))
            if d_uniform is not None and d_terms.bias is not None and walk.uniform is not None:
                entry = _entry(walk.uniform[0], d_terms.bias.shape[-1]).flatten().expand(len(d_terms.bias), -1)
                d_terms.bias.scatter_add_(1, entry, d_uniform.flatten(1).to(d_terms.bias.dtype))
            d_q += walk.from_places(d_q_p) * scale
            d_k += walk.from_places(d_k_p)
            d_v += walk.from_places(d_v_p)
            if d_relative is not None and d_terms.queries is not None:
                d_terms.queries.add_(walk.from_places(d_relative) * scale)
        return None, None, None, d_q, d_k, d_v, *d_terms


def _add_bias_gradient(d_bias: Tensor | None, d_uniform: Tensor | None, d_scores: Tensor, tile: Tile) -> None:
    if d_bias is None:
        return
    if d_uniform is not None:
        d_uniform.add_(d_scores.sum((0, 2))[:, None])
        return
    over_batch = d_scores.sum(0)  # (H, G, c, K)
    entry = _entry(tile.index, d_bias.shape[-1]).expand_as(over_batch)
    d_bias.scatter_add_(1, entry.flatten(1), over_batch.flatten(1).to(d_bias.dtype))


def _by_distance(x: Tensor, tile: Tile, table: Tensor) -> Tensor:
    """Sum (B, H, G, c, K) over the keys of each entry of a table of distances -> (B, H, G, c, 2M + 1)."""
    entry = _entry(tile.index, table.shape[-2]).expand_as(x)
    return x.new_zeros(*x.shape[:-1], table.shape[-2]).scatter_add_(-1, entry, x)


def _entry(distance: Tensor, entries: int) -> Tensor:
    """The entry of a distance in a table of the distances -M..M, 2M + 1 = `entries`."""
    return distance.clamp(-(entries // 2), entries // 2) + entries // 2


def _dropped(weights: Tensor, share: float, at: tuple[int, int, int]) -> Tensor:
    """Set a share of the weights to 0 and let the rest grow, by the seed and the number of the tile, so that it can be drawn again."""
    if share == 0:
        return weights
    generator = torch.Generator(weights.device).manual_seed(hash(at) % 2**63)
    kept = torch.rand(weights.shape, generator=generator, device=weights.device, dtype=weights.dtype).ge_(share)
    return weights.mul_(kept.mul_(1 / (1 - share)))


def _work(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
