"""Attention weights, computed tile by tile and reduced.

The functions sum the weights that keys receive, sum weights between spans or bins, find the largest
weights, and follow attention through layers. Time is that of the pattern. Memory is that of one
tile and the result, never L x L. The weights equal those of `attend.weights`, which stores every
pair. A layer is given as the inputs of its attention, from `inputs.prepare`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.reference import attention_weights
from selfattn_bio.attention.kernels.slab import tile_weights


@dataclass(frozen=True)
class WeightTile:
    """Weights of some queries over some keys, for the sequences `batch` (b of them).

    Each pair of a layer is in one tile.
    """

    batch: slice
    queries: Tensor  # (G, c) int64 tokens, -1 = none
    keys: Tensor  # (G or 1, K) int64 tokens, -1 = none
    weights: Tensor  # (b, H, G, c, K), 0 for missing queries and keys


def weight_tiles(layer: AttentionInputs) -> Iterator[WeightTile]:
    """Yield all weights of a layer in tiles, without gradients."""
    q, at = layer.q, torch.arange(layer.length, device=layer.q.device)
    num = min(layer.pattern.num_global, layer.length)
    if num:
        with torch.no_grad():  # not around a yield, where it would stay active in the caller
            rows = attention_weights(
                q[:, :, :num],
                layer.k,
                terms=layer.terms.first(num),
                allowed=layer.mask.keys,
            )
        yield WeightTile(slice(None), at[None, :num], at[None], rows[:, :, None].to(_work(q)))
    for tile, weights in tile_weights(layer):
        # padding and global tokens become -1; the rows of global tokens are already done
        queries = tile.query[..., 0].masked_fill(tile.query[..., 0] < num, -1)
        yield WeightTile(
            tile.batch, queries, tile.key[:, 0], weights.masked_fill((queries < 0)[..., None], 0.0)
        )


def received(layer: AttentionInputs) -> Tensor:
    """Return the sum of the weights that each key receives from all tokens, (B, H, L).

    Padding queries do not count.
    """
    ones = layer.mask.tokens.to(_work(layer.q))
    return pushed(layer, ones[:, None].expand(-1, layer.q.shape[1], -1))


def pushed(layer: AttentionInputs, given: Tensor) -> Tensor:
    """Pass the mass `given` (B, H, L) from queries to keys by the weights.

    Returns row vector times matrix, (B, H, L).
    """
    length = layer.q.shape[2]
    # the last position collects values without a token
    total = given.new_zeros(*given.shape[:2], length + 1)
    given = torch.nn.functional.pad(given, (0, 1))
    for tile in weight_tiles(layer):
        queries, keys = _indices(tile, length)
        mass = given[tile.batch][:, :, queries]  # (b, H, G, c)
        to_keys = (mass[..., None, :] @ tile.weights).squeeze(-2)  # (b, H, G, K)
        keys = keys.expand(to_keys.shape[2:]).flatten()
        total[tile.batch].index_add_(2, keys, to_keys.flatten(2))
    return total[..., :length]


def gathered(layer: AttentionInputs, values: Tensor) -> Tensor:
    """Return the mean of `values` (B, H, L) of the keys, weighted by the weights of each query.

    Returns matrix times column vector, (B, H, L); 0 for an empty row.
    """
    length = layer.q.shape[2]
    total = values.new_zeros(*values.shape[:2], length + 1)
    values = torch.nn.functional.pad(values, (0, 1))
    for tile in weight_tiles(layer):
        queries, keys = _indices(tile, length)
        of_keys = values[tile.batch][:, :, keys].expand(-1, -1, len(queries), -1)  # (b, H, G, K)
        total[tile.batch].index_add_(
            2, queries.flatten(), (tile.weights @ of_keys[..., None]).squeeze(-1).flatten(2)
        )
    return total[..., :length]


def pushed_by_gradient(layer: AttentionInputs, given: Tensor, above: Tensor) -> Tensor:
    """Pass mass from queries to keys by weight x gradient of the weight.

    Negative products count as 0, and the products are averaged over heads.

    Parameters
    ----------
    layer
        The attention layer.
    given
        (B, L) mass at the queries.
    above
        (B, H, L, Dh) gradient with respect to the output of each head. The gradient of the weight
        of query i and key j is above_i . v_j.

    Returns
    -------
    (B, L) mass at the keys. Its sum differs from that of `given`.
    """
    length = layer.q.shape[2]
    total = given.new_zeros(len(given), length + 1)
    given = torch.nn.functional.pad(given, (0, 1))
    above, v = (torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (above, layer.v))
    for tile in weight_tiles(layer):
        queries, keys = _indices(tile, length)
        of_weights = above[tile.batch][:, :, queries] @ v[tile.batch][:, :, keys].transpose(
            -1, -2
        )  # (b, H, G, c, K)
        rule = (tile.weights * of_weights).clamp(min=0).mean(1)  # (b, G, c, K)
        to_keys = (given[tile.batch][:, queries][..., None, :] @ rule).squeeze(-2)  # (b, G, K)
        total[tile.batch].index_add_(
            1, keys.expand(to_keys.shape[1:]).flatten(), to_keys.flatten(1)
        )
    return total[:, :length]


def between(layer: AttentionInputs, spans: Tensor) -> Tensor:
    """Return the sum of the weights from each span to each span, (B, H, S, S).

    Rows are the spans of the queries.

    Parameters
    ----------
    layer
        The attention layer.
    spans
        (B, S, L), 1 if a token belongs to a span, else 0. Other numbers weight the tokens.
    """
    total = spans.new_zeros(
        len(spans), layer.q.shape[1], spans.shape[1], spans.shape[1], dtype=_work(layer.q)
    )
    spans = torch.nn.functional.pad(spans.to(total.dtype), (0, 1))
    for tile in weight_tiles(layer):
        queries, keys = _indices(tile, layer.q.shape[2])
        given, taken = (
            spans[tile.batch][:, :, queries],
            spans[tile.batch][:, :, keys],
        )  # (b, S, G, c), (b, S, G or 1, K)
        taken = taken.expand(-1, -1, len(queries), -1)
        total[tile.batch] += torch.einsum("bsgc,bhgck,btgk->bhst", given, tile.weights, taken)
    return total


def binned(layer: AttentionInputs, bins: Tensor, count: int) -> Tensor:
    """Return the sum of the weights from each bin to each bin, (B, H, count, count).

    Rows are the bins of the queries.

    Parameters
    ----------
    layer
        The attention layer.
    bins
        (L,) int64: bin of each token; `count` for a token in no bin.
    count
        Number of bins.
    """
    total = layer.q.new_zeros(*layer.q.shape[:2], (count + 1) ** 2, dtype=_work(layer.q))
    bins = torch.nn.functional.pad(bins, (0, 1), value=count)
    for tile in weight_tiles(layer):
        queries, keys = (bins[each] for each in _indices(tile, layer.q.shape[2]))
        pairs = queries[..., None] * (count + 1) + keys[:, None]  # (G, c, K)
        total[tile.batch].index_add_(2, pairs.flatten(), tile.weights.flatten(2))
    return total.unflatten(2, (count + 1, count + 1))[..., :count, :count]


def top_edges(layer: AttentionInputs, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the `count` largest weights among the tokens of each sequence and head.

    Returns
    -------
    query, key (B, H, count) int64, -1 if there are fewer pairs, and weight (B, H, count), in
    descending order of weight.
    """
    batch, heads, length = layer.q.shape[:3]
    best = layer.q.new_zeros(batch, heads, count, dtype=_work(layer.q))
    pairs = torch.full((batch, heads, count), -1, dtype=torch.int64, device=layer.q.device)
    real = torch.nn.functional.pad(layer.mask.tokens, (0, 1))
    for tile in weight_tiles(layer):
        queries, keys = _indices(tile, length)
        weights = (tile.weights * real[tile.batch][:, queries][:, None, ..., None]).flatten(2)
        number = (queries[:, :, None] * length + keys[:, None, :]).flatten()
        heaviest, where = weights.topk(min(count, weights.shape[-1]))
        both = torch.cat((best[tile.batch], heaviest), -1)
        numbers = torch.cat((pairs[tile.batch], number[where].masked_fill(heaviest == 0, -1)), -1)
        best[tile.batch], order = both.topk(count)
        pairs[tile.batch] = numbers.gather(-1, order)
    return (
        pairs.div(length, rounding_mode="floor").clamp(min=-1),
        pairs.remainder(length).masked_fill(pairs < 0, -1),
        best,
    )


def rollout(layers: Sequence[AttentionInputs], start: Tensor) -> Tensor:
    """Follow attention from the last layer to the input tokens.

    At each layer half of the mass stays (the residual connection).

    Parameters
    ----------
    layers
        First layer first.
    start
        (B, L) mass at the tokens of the last layer, such as 1 at [CLS].

    Returns
    -------
    (B, L) mass at the input tokens. The sum of each sequence is that of `start`.

    References
    ----------
    Abnar and Zuidema 2020, attention rollout, with the mean over heads; here as vector times
    matrices instead of a product of matrices.
    """
    mass = start
    for layer in reversed(layers):
        given = mass[:, None].expand(-1, layer.q.shape[1], -1)
        mass = (mass + pushed(layer, given).mean(1)) / 2
    return mass


def value_rollout(
    layers: Sequence[AttentionInputs], norms: Sequence[Tensor], start: Tensor
) -> Tensor:
    """Follow attention with each weight multiplied by the norm of the value of its key.

    The products of each query are scaled to sum to 1; otherwise as `rollout`.

    Parameters
    ----------
    layers, start
        As in `rollout`.
    norms
        For each layer (B, H, L): norm of the value of each key after the output projection of the
        layer.

    References
    ----------
    Kobayashi et al. 2020, attention is not only a weight; within the rollout of Abnar and Zuidema
    2020.
    """
    mass = start
    for layer, norm in zip(reversed(layers), reversed(norms), strict=True):
        total = gathered(layer, norm)
        given = torch.where(
            total > 0, mass[:, None] / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0
        )
        mass = (mass + (pushed(layer, given) * norm).mean(1)) / 2
    return mass


def gradient_rollout(
    layers: Sequence[AttentionInputs], above: Sequence[Tensor], start: Tensor
) -> Tensor:
    """Follow attention through the layers by weights times their gradients.

    Mass also stays at its token, so that it grows from layer to layer; see `pushed_by_gradient`.

    Parameters
    ----------
    layers, start
        As in `rollout`.
    above
        For each layer (B, H, L, Dh): gradient with respect to the output of each head.

    Returns
    -------
    (B, L) mass at the input tokens, at least that of `start`.

    References
    ----------
    Chefer et al. 2021, generic attention-model explainability: R = R + mean over heads of (gradient
    x weight)+ R, here for one row of R.
    """
    mass = start
    for layer, from_above in zip(reversed(layers), reversed(above), strict=True):
        mass = mass + pushed_by_gradient(layer, mass, from_above)
    return mass


def _work(x: Tensor) -> torch.dtype:
    """Return the precision in which weights are computed."""
    return torch.promote_types(x.dtype, torch.float32)


def _indices(tile: WeightTile, length: int) -> tuple[Tensor, Tensor]:
    """Return queries and keys with -1 replaced by `length`, one past the last token."""
    return tile.queries.remainder(length + 1), tile.keys.remainder(length + 1)
