"""Attention weights, computed for some queries at a time and reduced.

The functions sum the weights that keys receive, sum weights between spans or bins, and follow
attention through layers. Time is that of all pairs of tokens. Memory is that of
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
