"""Attention whose weights are products of features, phi(q) . phi(k): summed over keys first, it is linear in the length.

Hides: the order of the products and what keeps them in range. out_i = phi(q_i) . sum_j phi(k_j) v_j / phi(q_i) . sum_j phi(k_j), with

| kind | phi(x) | a position inside |
|---|---|---|
| `Linear` | elu(x) + 1 | none: phi(q) . phi(k) of turned q and k is no function of the distance |
| `Performer` | exp(w_r . x - x^2 / 2) / sqrt(r) over r random w, x divided by Dh^(1/4) | rotary: it estimates exp(q . k / sqrt(Dh)) |

Sources: Katharopoulos et al. 2020; Choromanski et al. 2021, FAVOR+ with positive orthogonal features, not drawn anew in training.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import elu

from selfattn_bio.attention.attend import Asked
from selfattn_bio.attention.mixers.base import FullMixer, work_dtype


class Features(FullMixer):
    """Attention by features. It keeps no weights, so that none are dropped."""

    def mix(self, asked: Asked) -> Tensor:
        """As `FullMixer.mix`."""
        with torch.autocast(asked.q.device.type, enabled=False):  # sums over a sequence are more than float16 holds
            q, k, v = (x.to(work_dtype(x)) for x in (asked.q, asked.k, asked.v))
            real = None if asked.setting.mask is None else asked.setting.mask[:, None, :, None]  # (B, 1, L, 1)
            q, k = self.of_queries(q), self.of_keys(k, real)  # (B, H, L, R)
            if real is not None:
                k = k.masked_fill(~real, 0.0)
            found = q @ (k.transpose(-1, -2) @ v)  # (B, H, L, Dh)
            total = q @ k.sum(2)[..., None]  # (B, H, L, 1)
            return found / total.masked_fill(total < torch.finfo(total.dtype).tiny, 1.0)  # of nothing to take from, 0 / 1

    @abstractmethod
    def of_queries(self, q: Tensor) -> Tensor:
        """(B, H, L, Dh) -> non-negative (B, H, L, R); each query's may have a factor of its own."""

    @abstractmethod
    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """(B, H, L, Dh), and where there is a token (B, 1, L, 1) -> non-negative (B, H, L, R); a sequence and head may have a factor."""


class Linear(Features):
    """Features elu(x) + 1. Source: Katharopoulos et al. 2020."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def of_queries(self, q: Tensor) -> Tensor:
        """As `Features.of_queries`."""
        return elu(q) + 1

    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """As `Features.of_keys`."""
        return elu(k) + 1

    def num_pairs(self, length: int) -> int:
        """Two products with a Dh x Dh matrix a token."""
        return length * self.head_dim


class Performer(Features):
    """Random features whose products are exp(q . k / sqrt(Dh)) on average: softmax attention, the nearer the more features there are.

    The directions are drawn with the weights from torch's global generator, orthogonal in groups of Dh and as long as normal vectors
    are, and stay in the model folder.
    """

    directions: Tensor

    def __init__(self, num_heads: int, head_dim: int, features: int) -> None:
        super().__init__()
        groups = -(-features // head_dim)
        q, r = torch.linalg.qr(torch.randn(num_heads, groups, head_dim, head_dim))
        q = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]  # else the first ones point to one side (Mezzadri 2007)
        directions = q.flatten(1, 2)[:, :features]
        lengths = torch.randn(num_heads, features, head_dim).norm(dim=-1, keepdim=True)
        self.register_buffer("directions", directions * lengths)  # (H, R, Dh)

    def of_queries(self, q: Tensor) -> Tensor:
        """As `Features.of_queries`."""
        log = self._log(q)
        return (log - log.detach().amax(-1, keepdim=True)).exp()

    def of_keys(self, k: Tensor, real: Tensor | None) -> Tensor:
        """As `Features.of_keys`."""
        log = self._log(k)
        if real is not None:  # what a key of padding is must not move the others
            log = log.masked_fill(~real, torch.finfo(log.dtype).min)
        return (log - log.detach().amax((-1, -2), keepdim=True)).exp()

    def num_pairs(self, length: int) -> int:
        """Features of query and key, and two products with a matrix of features x Dh, a token."""
        return 2 * length * self.directions.shape[1]

    def keep(self, heads: Sequence[int]) -> None:
        """Their directions."""
        self.directions = self.directions[list(heads)].clone()

    def _log(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        return x @ self.directions.to(x.dtype).transpose(-1, -2) - x.square().sum(-1, keepdim=True) / 2
