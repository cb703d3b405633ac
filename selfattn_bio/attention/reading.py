"""Attention weights, computed for some queries at a time and reduced.

The functions sum the weights that keys receive, sum weights between spans or bins, find the largest
weights, and follow attention through layers. Time is that of all pairs of tokens. Memory is that of
the result and of the weights of a few queries, never L x L. A layer is given as the inputs of its
attention, from `inputs.prepare`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from selfattn_bio.attention.inputs import AttentionInputs, work_dtype
from selfattn_bio.attention.kernels.reference import attention_weights

WEIGHTS = 2**20  # weights computed at a time


def weight_rows(layer: AttentionInputs) -> Iterator[tuple[slice, Tensor]]:
    """Yield the weights (B, H, c, L) of the queries of each slice, without gradients.

    They are computed in at least float32.
    """
    dtype, at = work_dtype(layer.q), torch.arange(layer.length, device=layer.q.device)
    q, k = (x.detach().to(dtype) for x in (layer.q, layer.k))
    lengths, keys = layer.mask.lengths[:, None, None, None], layer.mask.keys
    step = max(1, WEIGHTS // max(1, q[:, :, 0, 0].numel() * layer.length))
    for first in range(0, layer.length, step):
        rows = slice(first, first + step)
        allowed = layer.pattern.allows(at[rows, None], at, lengths)  # (B or 1, 1, c, L)
        with torch.no_grad():  # not around a yield, where it would stay active in the caller
            weights = attention_weights(
                q[:, :, rows],
                k,
                terms=layer.terms.of_queries(rows),
                allowed=allowed if keys is None else allowed & keys,
                first=first,
            )
        yield rows, weights


def received(layer: AttentionInputs) -> Tensor:
    """Return the sum of the weights that each key receives from all tokens, (B, H, L).

    Padding queries do not count.
    """
    ones = layer.mask.tokens.to(work_dtype(layer.q))
    return pushed(layer, ones[:, None].expand(-1, layer.q.shape[1], -1))


def pushed(layer: AttentionInputs, given: Tensor) -> Tensor:
    """Pass the mass `given` (B, H, L) from queries to keys by the weights.

    Returns row vector times matrix, (B, H, L).
    """
    total = torch.zeros_like(given)
    for rows, weights in weight_rows(layer):
        total += (given[:, :, None, rows] @ weights).squeeze(2)
    return total


def gathered(layer: AttentionInputs, values: Tensor) -> Tensor:
    """Return the mean of `values` (B, H, L) of the keys, weighted by the weights of each query.

    Returns matrix times column vector, (B, H, L); 0 for an empty row.
    """
    found = [(weights @ values[..., None]).squeeze(-1) for _, weights in weight_rows(layer)]
    return torch.cat(found, 2)


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
    total = torch.zeros_like(given)
    for rows, weights in weight_rows(layer):
        of_weights = above[:, :, rows] @ layer.v.transpose(-1, -2)  # (B, H, c, L)
        rule = (weights * of_weights).clamp(min=0).mean(1)  # (B, c, L)
        total += (given[:, None, rows] @ rule).squeeze(1)
    return total


def between(layer: AttentionInputs, spans: Tensor) -> Tensor:
    """Return the sum of the weights from each span to each span, (B, H, S, S).

    Rows are the spans of the queries.

    Parameters
    ----------
    layer
        The attention layer.
    spans
        (B or 1, S, L), 1 if a token belongs to a span, else 0. Other numbers weight the tokens.
    """
    spans = spans[:, None].to(work_dtype(layer.q))  # (B or 1, 1, S, L)
    total = spans.new_zeros(*layer.q.shape[:2], *[spans.shape[2]] * 2)
    for rows, weights in weight_rows(layer):
        total += spans[..., rows] @ weights @ spans.transpose(-1, -2)
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
    return between(layer, one_hot(bins, count + 1)[:, :count].T[None])


def top_edges(layer: AttentionInputs, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the `count` largest weights among the tokens of each sequence and head.

    Returns
    -------
    query, key (B, H, count) int64, -1 if there are fewer pairs, and weight (B, H, count), in
    descending order of weight.
    """
    batch, heads, length = layer.q.shape[:3]
    best = layer.q.new_zeros(batch, heads, count, dtype=work_dtype(layer.q))
    pairs = torch.full((batch, heads, count), -1, dtype=torch.int64, device=layer.q.device)
    for rows, weights in weight_rows(layer):
        of_tokens = (weights * layer.mask.tokens[:, None, rows, None]).flatten(2)
        heaviest, where = of_tokens.topk(min(count, of_tokens.shape[-1]))
        both = torch.cat((best, heaviest), -1)
        number = (where + rows.start * length).masked_fill(heaviest == 0, -1)
        best, order = both.topk(count)
        pairs = torch.cat((pairs, number), -1).gather(-1, order)
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
