"""Rewrite a network with modules for all non-linear operations, as DeepLIFT/SHAP requires.

DeepLIFT/SHAP attaches its rules to modules for products, softmax, max pooling and rectifiers. The
rewritten network stores all pairs of tokens and supports no padding, so it is for short sequences
of one length. Its outputs equal those of the network (tests/oracle/test_modules.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.attention.inputs import prepare
from selfattn_bio.attention.kernels.reference import (
    distances,
    with_position,
    with_position_values,
)
from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.attention.mixers import Softmax
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.cnn import Cnn
from selfattn_bio.model.encoder import SelfAttention
from selfattn_bio.model.exits import ConfidenceExits
from selfattn_bio.model.heads import PoolingHead, equal_parts
from selfattn_bio.model.stem import ConvStem, TowerStage

NEVER = -1e9  # score of a masked pair: weight 0 in float32, and differences are not NaN

MakeProduct = Callable[..., nn.Module]  # takes an einsum equation, or nothing for a matrix product


class Product(nn.Module):
    """Product of two tensors as a module: a matrix product, or `equation` as in einsum."""

    def __init__(self, equation: str | None = None) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply tensors of matching shapes."""
        return left @ right if self.equation is None else torch.einsum(self.equation, left, right)


def with_modules(network: Network, product: MakeProduct = Product) -> Network:
    """Copy a network in evaluation mode, with a module for each non-linear operation.

    Parameters
    ----------
    network
        Network of any kind; its weights are copied.
    product
        Factory of the modules for products.

    Raises
    ------
    ValueError
        If the network has a mixer other than softmax, or has early exits, with which a sequence
        and its reference may pass different numbers of layers.
    """
    if any(isinstance(module, ConfidenceExits) for module in network.modules()):
        raise ValueError(
            "this method does not support confidence exits; use attnlrp or a substitution method"
        )
    copied = copy.deepcopy(network).eval()
    replacements: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
        SelfAttention: lambda part: _Attention(part, product),
        PoolingHead: lambda part: _Pooling(part, product),
        ConvStem: _Stem,
        TowerStage: _Stage,
        Cnn: _Cnn,
    }
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            if type(child) in replacements:
                setattr(parent, name, replacements[type(child)](child))
    return copied


class _Attention(nn.Module):
    """`SelfAttention`, computed like `reference_attention`."""

    part: SelfAttention

    def __init__(self, part: SelfAttention, product: MakeProduct) -> None:
        super().__init__()
        if not isinstance(part.mixer, Softmax):
            kind = type(part.mixer).__name__.lower()
            raise ValueError(
                f"this method supports mixer 'softmax', not {kind!r}; use attnlrp or a "
                "substitution method"
            )
        self.part, self.pattern = part, part.mixer.pattern
        self.scores, self.softmax, self.values = product(), nn.Softmax(-1), product()

    def forward(self, x: Tensor, mask: AttentionMask) -> Tensor:
        q, k, v = self.part.qkv(x)
        inputs = prepare(q, k, v, pattern=self.pattern, position=self.part.position)
        scale, terms, distance = 1 / math.sqrt(q.shape[-1]), inputs.terms, distances(q, k)
        scores = self.scores(inputs.q * scale, inputs.k.transpose(-2, -1))  # (B, H, L, L)
        scores = with_position(scores, terms, distance, scale)
        if (allowed := inputs.mask.dense(self.pattern)) is not None:
            scores = scores.masked_fill(~allowed, NEVER)
        weights = self.softmax(scores)
        y = with_position_values(self.values(weights, inputs.v), weights, terms, distance)
        return self.part.joined(y)


class _Pooling(nn.Module):
    """`PoolingHead` for sequences of one length."""

    num_prefix = 0

    part: PoolingHead

    def __init__(self, part: PoolingHead, product: MakeProduct) -> None:
        super().__init__()
        self.part, self.softmax, self.product = part, nn.Softmax(1), product("blph,blhd->bphd")

    def add_prefix(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return x, mask

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores, values = self.part.project(x)
        inside = equal_parts(mask, self.part.parts)[..., None]  # (B, L, P, 1)
        weights = self.softmax(scores[:, :, None].masked_fill(~inside, NEVER))
        return self.part.classify(
            self.product(weights.masked_fill(~inside, 0.0), values).flatten(1)
        )


class _Stem(nn.Module):
    """`ConvStem` without padding."""

    part: ConvStem

    def __init__(self, part: ConvStem) -> None:
        super().__init__()
        self.part, self.pooling = part, nn.MaxPool1d(part.pool, ceil_mode=True)
        self.token_dim, self.pool = part.token_dim, part.pool

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        detected = self.part.first_act(
            self.part.first_norm(self.pooling(self.part.first(x.transpose(1, 2))))
        )
        return self.part.combined(detected, mask[:, :: self.pool])


class _Stage(nn.Module):
    """`TowerStage` without padding."""

    part: TowerStage

    def __init__(self, part: TowerStage) -> None:
        super().__init__()
        self.part, self.pooling = part, nn.MaxPool2d((1, part.pool), ceil_mode=True)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.part.first_act(self.part.first_norm(self.pooling(self.part.first(x))))
        mask = mask[:, :: self.part.pool]
        if self.part.second is None:
            return x, mask
        return x + self.part.second_act(self.part.second_norm(self.part.second(x))), mask


class _Cnn(nn.Module):
    """`Cnn` without padding."""

    part: Cnn

    def __init__(self, part: Cnn) -> None:
        super().__init__()
        self.part, self.token_dim = part, part.token_dim
        self.rectifiers = nn.ModuleList(nn.ReLU() for _ in part.pools)
        self.poolings = nn.ModuleList(nn.MaxPool1d(pool, ceil_mode=True) for pool in part.pools)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for convolve, norm, rectify, pool in zip(
            self.part.convolutions, self.part.norms, self.rectifiers, self.poolings, strict=True
        ):
            x = pool(rectify(norm(convolve(x))))
            mask = mask[:, : x.shape[-1]]
        return self.part.dense(self.part._bin_means(x, mask).flatten(1))
