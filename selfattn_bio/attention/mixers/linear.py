"""Attention whose weights are products of features, phi(q) . phi(k).

out_i = phi(q_i) . sum_j phi(k_j) v_j / phi(q_i) . sum_j phi(k_j). The sums over keys are computed
first, so that the cost is linear in the length.

- `Linear`: phi(x) = elu(x) + 1. It has no positions, because phi(q) . phi(k) of rotated q and k
  is not a function of the distance.
- `Performer`: phi(x) = exp(w_r . x - x^2 / 2) / sqrt(r) for r random vectors w, with x divided by
  Dh^(1/4). It supports rotary positions, because it estimates exp(q . k / sqrt(Dh)).

References
----------
Katharopoulos et al. 2020; Choromanski et al. 2021, FAVOR+ with positive orthogonal features, which
are not sampled again during training.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import elu

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.mixers.base import FullMixer, work_dtype


class Features(FullMixer):
    """Attention by features. No weights are computed, so dropout has no effect."""

    def mix(self, inputs: AttentionInputs) -> Tensor:
        """Compute the output of attention; see `FullMixer.mix`."""
        # sums over a sequence overflow in float16
        with torch.autocast(inputs.q.device.type, enabled=False):
            q, k, v = (x.to(work_dtype(x)) for x in (inputs.q, inputs.k, inputs.v))
            tokens = inputs.mask.padded
            real = None if tokens is None else tokens[:, None, :, None]  # (B, 1, L, 1)
            q, k = self.of_queries(q), self.of_keys(k, real)  # (B, H, L, R)
            if real is not None:
                k = k.masked_fill(~real, 0.0)
            found = q @ (k.transpose(-1, -2) @ v)  # (B, H, L, Dh)
            total = q @ k.sum(2)[..., None]  # (B, H, L, 1)
            # a sequence without keys gets 0 / 1
            return found / total.masked_fill(total < torch.finfo(total.dtype).tiny, 1.0)

    @abstractmethod
    def of_queries(self, q: Tensor) -> Tensor:
        """Return the features of queries: (B, H, L, Dh) -> non-negative (B, H, L, R).

        The features of each query may be scaled by any factor, which cancels.
        """

    @abstractmethod
    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """Return the features of keys: (B, H, L, Dh) -> non-negative (B, H, L, R).

        `real` (B, 1, L, 1) is True for tokens. All features of a sequence and head may be scaled by
        a common factor, which cancels.
        """


class Linear(Features):
    """Features elu(x) + 1.

    References
    ----------
    Katharopoulos et al. 2020.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def of_queries(self, q: Tensor) -> Tensor:
        """Return the features of queries; see `Features.of_queries`."""
        return elu(q) + 1

    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """Return the features of keys; see `Features.of_keys`."""
        return elu(k) + 1

    def num_pairs(self, length: int) -> int:
        """Return the pairs that cost as much as two products with a Dh x Dh matrix per token."""
        return length * self.head_dim


class Performer(Features):
    """Random features whose products are exp(q . k / sqrt(Dh)) on average, as in softmax attention.

    More features approximate it better. The directions are sampled with the weights from torch's
    global generator and saved in the model folder. They are orthogonal in groups of Dh and have the
    lengths of normal vectors.
    """

    directions: Tensor

    def __init__(self, num_heads: int, head_dim: int, features: int) -> None:
        super().__init__()
        groups = -(-features // head_dim)
        q, r = torch.linalg.qr(torch.randn(num_heads, groups, head_dim, head_dim))
        # otherwise the first directions point to one side (Mezzadri 2007)
        q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
        directions = q.flatten(1, 2)[:, :features]
        lengths = torch.randn(num_heads, features, head_dim).norm(dim=-1, keepdim=True)
        self.register_buffer("directions", directions * lengths)  # (H, R, Dh)

    def of_queries(self, q: Tensor) -> Tensor:
        """Return the features of queries; see `Features.of_queries`."""
        log = self._log(q)
        return (log - log.detach().amax(-1, keepdim=True)).exp()

    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """Return the features of keys; see `Features.of_keys`."""
        log = self._log(k)
        # padding keys must not affect the scale of the others
        if real is not None:
            log = log.masked_fill(~real, torch.finfo(log.dtype).min)
        return (log - log.detach().amax((-1, -2), keepdim=True)).exp()

    def num_pairs(self, length: int) -> int:
        """Return the pairs that cost as much as the features and two R x Dh products per token."""
        return 2 * length * self.directions.shape[1]

    def _log(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        return (
            x @ self.directions.to(x.dtype).transpose(-1, -2) - x.square().sum(-1, keepdim=True) / 2
        )
