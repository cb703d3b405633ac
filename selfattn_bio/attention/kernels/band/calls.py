"""Arguments of the functions of `band.cpp`, and the part of a pattern that it computes."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs, AttentionMask
from selfattn_bio.attention.patterns import (
    AttentionPattern,
    Band,
    GlobalKeys,
    Part,
    SampledBlocks,
    check_minimum,
)
from selfattn_bio.attention.positions import look_up
from selfattn_bio.config.kernels import BLOCK

# rows per unit of work; the last bits of results depend on it, so it must not depend on the number
# of threads
SPAN = 1024


@dataclass(frozen=True)
class Banded(AttentionPattern):
    """Attend to a window, to the first `num_keys` keys and to sampled blocks, in the band kernel.

    Query i attends to key j if -left <= j - i <= right. If `right` is 0, it attends only to those
    of the first keys that are at or before it. With left 1, right 0 and num_keys 1, query 3 attends
    to keys 0, 2 and 3. `left` and `right` may be larger than the length. The first `num_global`
    queries attend to every key; this needs sampled blocks.
    """

    left: int
    right: int
    num_keys: int = 0
    sampled: SampledBlocks | None = None
    num_global: int = 0

    def __post_init__(self) -> None:
        check_minimum(0, left=self.left, right=self.right, num_keys=self.num_keys)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the band, and the global keys and sampled blocks if there are any."""
        keys = (GlobalKeys(self.num_keys, self.right == 0),) if self.num_keys else ()
        return (Band(self.left, self.right), *keys, *((self.sampled,) if self.sampled else ()))


@cache
def split_band(pattern: AttentionPattern, length: int) -> tuple[Banded, tuple[Part, ...]] | None:
    """Split a pattern into the window, global keys and blocks of `Banded`, and the remaining parts.

    None if the pattern has no undilated window. The rows of global tokens are in neither.
    """
    parts = pattern.parts(length)
    bands = (p for p in parts if isinstance(p, Band) and p.dilation == 1 and not p.block)
    band = next(bands, None)
    if band is None:
        return None
    alike = [p for p in parts if not isinstance(p, Band) and p.causal == (band.right == 0)]
    keys = [p.count for p in alike if isinstance(p, GlobalKeys)]
    blocks = (p for p in alike if isinstance(p, SampledBlocks) and p.block % BLOCK == 0)
    found = Banded(band.left, band.right, max(keys, default=0), next(blocks, None))
    done = {band, found.sampled, *(p for p in alike if isinstance(p, GlobalKeys))}
    return found, tuple(part for part in parts if part not in done)


class TensorView(ctypes.Structure):
    """`View` of interface.h: a (batch, head, row, head_dim) tensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("row", ctypes.c_int64),
    )


_SIZES = (
    "batches heads length head_dim left right num_global num_rows block count span item_size "
    "max_distance"
)
_VIEWS = "q k v out grad_out grad_q grad_k grad_v"
_POINTERS = (
    "lse band_bias global_bias row_bias band_grad global_grad global_grad_k global_grad_v "
    "far_grad table_grad query_label key_label sampled"
)


class Call(ctypes.Structure):
    """`Call` of interface.h, field by field: the arguments of its functions."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES.split()),
        *((name, TensorView) for name in _VIEWS.split()),
        *((name, ctypes.c_void_p) for name in _POINTERS.split()),
        ("seed", ctypes.c_uint64),
        ("threshold", ctypes.c_uint32),
        ("keep_scale", ctypes.c_float),
        ("phase", ctypes.c_int64),
        ("next", ctypes.POINTER(ctypes.c_int64)),
        ("hidden_size", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("layers", ctypes.c_void_p * 14),
    )

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.tensors: list[Tensor] = []  # kept alive while threads may use them

    def point(self, **tensors: Tensor | None) -> None:
        """Set fields to the addresses of tensors."""
        for name, x in tensors.items():
            if x is not None:
                at, is_view = x.data_ptr(), name in _VIEWS.split()
                setattr(self, name, TensorView(at, *x.stride()[:3]) if is_view else at)
                self.tensors.append(x)


class BandLayout:
    """`Shape` of interface.h, and the bias as the tiles read it.

    In the backward pass, rows are keys and columns are queries.
    """

    def __init__(self, inputs: AttentionInputs, tile: int, *, backward: bool) -> None:
        pattern, length = inputs.pattern, inputs.length
        assert isinstance(pattern, Banded)
        self.length, self.tile, self.backward = length, tile, backward
        longest = max(length - 1, 1)  # 0 to the right would mean causal attention to global keys
        self.left, self.right = min(pattern.left, longest), min(pattern.right, longest)
        self.num_keys = min(pattern.num_keys, length)
        width = self.left + self.right
        # Spans of the same parity must not touch the same block of queries, so a span is at least
        # as long as the width of the band plus a tile.
        self.span = _round_up(min(length, max(SPAN, width + tile)), tile)
        self.spans = -(-length // self.span)
        self.globals = _round_up(self.num_keys, tile)
        self.sampled = pattern.sampled
        self.num_rows = min(pattern.num_global, length) if self.sampled else 0
        block, count = (self.sampled.block, self.sampled.count) if self.sampled else (1, 0)
        self.longest = _round_up(length, block)
        self.far = self.longest if count else self.globals
        window = (self.left, self.right, self.num_keys, self.num_rows)
        self.sizes = (*window, block if count else 0, count, self.span)
        self.band_size = tile + _round_up(tile + width, tile)
        self.global_size = self.far + 2 * tile + self.longest
        self.global_grad_size = self.globals + self.span + self.band_size - tile

    def bias_rows(self, bias: Tensor | None, heads: int) -> dict[str, Tensor]:
        """Return the bias for each distance column - row, in base 2.

        The shapes are (H, band_size) and (H, global_size). Distances that may not attend have -inf.
        """
        before, beyond = (self.right, self.far) if self.backward else (self.left, self.longest)
        near = torch.arange(self.band_size) - before - self.tile
        far = torch.arange(self.global_size) - beyond - self.tile
        if self.backward:  # convert to key - query
            near, far = -near, -far
        in_band = (near >= -self.left) & (near <= self.right)
        rows = {"band_bias": self._bias_row(bias, near, in_band, heads)}
        if self.far:
            out_of_band = (far < -self.left) | ((far > self.right) & (self.right > 0))
            rows["global_bias"] = self._bias_row(bias, far, out_of_band, heads)
            rows["row_bias"] = self._bias_row(bias, far, torch.ones_like(out_of_band), heads)
        return rows

    def blocks(self, mask: AttentionMask) -> Tensor | None:
        """Return the sampled blocks of keys for each block of queries, (B, blocks, count) int32."""
        if (part := self.sampled) is None:
            return None
        at = torch.arange(self.longest // part.block)
        chosen = mask.once(part, lambda: part.sampled(at, mask.lengths[:, None]).int())
        return chosen.expand(len(mask.tokens), -1, -1).contiguous()

    @staticmethod
    def _bias_row(bias: Tensor | None, distance: Tensor, allowed: Tensor, heads: int) -> Tensor:
        if bias is None:
            row = torch.zeros(heads, len(distance), dtype=torch.float32)
        else:
            row = look_up(bias.detach(), distance) / math.log(2)
        return row.masked_fill_(~allowed, float("-inf"))


def _round_up(number: int, to: int) -> int:
    return -(-number // to) * to
