"""Arguments of the functions of `band.cpp`, and the part of a pattern that it computes."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.patterns import AttentionPattern, Band, GlobalKeys, Part, check_minimum
from selfattn_bio.attention.positions import look_up

# rows per unit of work; the last bits of results depend on it, so it must not depend on the number
# of threads
SPAN = 1024


@dataclass(frozen=True)
class Banded(AttentionPattern):
    """Attend to a window and to the first `num_keys` keys: the pairs of the band kernel.

    Query i attends to key j if -left <= j - i <= right. If `right` is 0, it attends only to those
    of the first keys that are at or before it. With left 1, right 0 and num_keys 1, query 3 attends
    to keys 0, 2 and 3. `left` and `right` may be larger than the length.
    """

    left: int
    right: int
    num_keys: int = 0

    def __post_init__(self) -> None:
        check_minimum(0, left=self.left, right=self.right, num_keys=self.num_keys)

    def parts(self, length: int) -> tuple[Part, ...]:
        """Return the band, and the global keys if there are any."""
        keys = (GlobalKeys(self.num_keys, self.right == 0),) if self.num_keys else ()
        return (Band(self.left, self.right), *keys)


@cache
def split_band(pattern: AttentionPattern, length: int) -> tuple[Banded, tuple[Part, ...]] | None:
    """Split a pattern into one undilated window with its global keys, and the remaining parts.

    None if the pattern has no such window. The rows of global tokens are in neither.
    """
    parts = pattern.parts(length)
    bands = (p for p in parts if isinstance(p, Band) and p.dilation == 1 and not p.block)
    band = next(bands, None)
    if band is None:
        return None
    keys = [p for p in parts if isinstance(p, GlobalKeys) and p.causal == (band.right == 0)]
    found = Banded(band.left, band.right, max((part.count for part in keys), default=0))
    return found, tuple(part for part in parts if part is not band and part not in keys)


class TensorView(ctypes.Structure):
    """`View` of interface.h: a (batch, head, row, head_dim) tensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("row", ctypes.c_int64),
    )


_SIZES = "batches heads length head_dim left right num_global span item_size max_distance"
_VIEWS = "q k v out grad_out grad_q grad_k grad_v"
_POINTERS = (
    "lse band_bias global_bias band_grad global_grad global_grad_k global_grad_v "
    "table_grad query_label key_label"
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
        self.band_size = tile + _round_up(tile + width, tile)
        self.global_size = self.globals + 2 * tile + length
        self.global_grad_size = self.globals + self.span + self.band_size - tile

    def bias_rows(self, bias: Tensor | None, heads: int) -> tuple[Tensor, Tensor]:
        """Return the bias for each distance column - row, in base 2.

        The shapes are (H, band_size) and (H, global_size). Distances that may not attend have -inf.
        """
        before, beyond = (self.right, self.globals) if self.backward else (self.left, self.length)
        near = torch.arange(self.band_size) - before - self.tile
        far = torch.arange(self.global_size if self.num_keys else 0) - beyond - self.tile
        if self.backward:  # convert to key - query
            near, far = -near, -far
        in_band = (near >= -self.left) & (near <= self.right)
        out_of_band = (far < -self.left) | ((far > self.right) & (self.right > 0))
        return self._bias_row(bias, near, in_band, heads), self._bias_row(
            bias, far, out_of_band, heads
        )

    @staticmethod
    def _bias_row(bias: Tensor | None, distance: Tensor, allowed: Tensor, heads: int) -> Tensor:
        if bias is None:
            row = torch.zeros(heads, len(distance), dtype=torch.float32)
        else:
            row = look_up(bias.detach(), distance) / math.log(2)
        return row.masked_fill_(~allowed, float("-inf"))


def _round_up(number: int, to: int) -> int:
    return -(-number // to) * to
