"""Window attention on the CPU in one fused kernel, with the gradient of a learned bias by distance.

Time and memory are O(L x window). The kernel is the C++ source `band.cpp`, which `native` compiles.
This module checks arguments, builds the structures of its C interface and runs its threads.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfattn_bio.attention.native import Call, library
from selfattn_bio.attention.packing import room_for
from selfattn_bio.config import BAND_HEAD_DIMS

# rows per unit of work; the last bits of results depend on it, so it must not depend on the number
# of threads
SPAN = 1024
NO_MORE = 2**62  # larger than the number of any span


def band_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    left: int,
    right: int,
    num_global: int = 0,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    segments: Tensor | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Compute attention of each query to the keys in a window and to the first `num_global` keys.

    With left 1, right 0 and num_global 1, query 3 attends to keys 0, 2 and 3. Results do not depend
    on the number of threads, to the bit.

    Parameters
    ----------
    q, k, v
        (B, H, L, Dh) float32 on the CPU, Dh one of 16, 32, 64. Any strides; they are not copied if
        head_dim is contiguous.
    left, right
        Query i attends to key j if -left <= j - i <= right; each may be larger than L.
    num_global
        Every query also attends to keys 0, ..., num_global - 1; if `right` is 0, only to those at
        or before the query. The rows of global *queries*, which attend to all keys, are left to the
        caller.
    bias
        (H, 2M + 1) float32, added to the scaled score at the distances key - query of -M, ..., M.
        Longer distances use the entry at the end.
    mask
        (B, L) bool, True = token, False = padding, which no query attends to. Padded queries are
        computed like others.
    segments
        (B, L) integers: a query attends only to keys of its segment.
    dropout
        Fraction of the weights set to 0; the others are scaled up to keep the mean. `dropout_mask`
        returns which.
    seed
        Seed of the dropout, in [0, 2^64).

    Returns
    -------
    (B, H, L, Dh), a transposed view of (B, L, H, Dh). A query without allowed keys gets output and
    gradients 0.

    Raises
    ------
    ValueError
        If an argument breaks one of these rules.
    RuntimeError
        If the kernel cannot run on this machine; see `native.unavailable_reason`.

    References
    ----------
    Dao 2023 (FlashAttention-2): the softmax is kept as its log-sum-exp and computed again in the
    backward pass.
    """
    _check(
        q,
        k,
        v,
        bias,
        mask,
        segments,
        left=left,
        right=right,
        num_global=num_global,
        dropout=dropout,
        seed=seed,
    )
    return _Band.apply(
        q, k, v, bias, BandRule(left, right, num_global, *labels(mask, segments), dropout, seed)
    )


def dropout_mask(seed: int, dropout: float, batches: int, heads: int, length: int) -> Tensor:
    """Return which weights `band_attention` keeps, (B, H, L, L) bool, True = kept.

    Rows are queries. It takes O(L^2) and is for tests.
    """
    low, high = (
        np.array([seed & 0xFFFFFFFF], dtype=np.uint32),
        np.array([seed >> 32], dtype=np.uint32),
    )
    of_head = _mixed(_mixed(low ^ _mixed(high)) + np.arange(batches * heads, dtype=np.uint32))
    at = np.arange(length, dtype=np.uint32)
    of_query = _mixed(of_head[:, None] + at)
    hashed = _mixed(of_query[:, :, None] ^ (at * np.uint32(0x9E3779B9)))
    return torch.from_numpy(hashed >= np.uint32(_threshold(dropout))).reshape(
        batches, heads, length, length
    )


def _mixed(x: np.ndarray) -> np.ndarray:
    """Return the integer hash lowbias32 of Wellons 2018, as in band.cpp."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _threshold(dropout: float) -> int:
    return min(round(dropout * 2**32), 2**32 - 1)


# ------------ arguments
@dataclass(frozen=True)
class BandRule:
    """Which pairs may attend, and dropout: the arguments of `band_attention` except the bias.

    Padding and segments are given as `labels`.
    """

    left: int
    right: int
    num_global: int
    # (B, L) int32: a query attends to keys with its label; None: all labels are equal
    query_labels: Tensor | None
    key_labels: Tensor | None
    dropout: float
    seed: int


def labels(mask: Tensor | None, segments: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Convert padding and segments to labels of queries and keys, (B, L) int32 each.

    A query may attend to keys with its label. Padding keys have label -1. None, None if all pairs
    may attend.
    """
    if mask is not None and bool(mask.all()):
        mask = None
    if segments is not None:
        queries = segments.unique(return_inverse=True)[1].to(torch.int32)
    elif mask is not None:
        queries = torch.zeros_like(mask, dtype=torch.int32)
    else:
        return None, None
    keys = queries if mask is None else queries.masked_fill(~mask, -1)
    return queries.contiguous(), keys.contiguous()


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    segments: Tensor | None,
    *,
    left: int,
    right: int,
    num_global: int,
    dropout: float,
    seed: int,
) -> None:
    for name, x in (("q", q), ("k", k), ("v", v), ("bias", bias)):
        if x is not None and (x.dtype != torch.float32 or x.device.type != "cpu"):
            raise ValueError(f"{name} is {x.dtype} on {x.device}; expected float32 on the CPU")
    if q.dim() != 4 or q.shape[-1] not in BAND_HEAD_DIMS or 0 in q.shape:
        raise ValueError(
            f"q has shape {tuple(q.shape)}; expected (B, H, L, Dh), none of them 0 and Dh one of "
            f"{BAND_HEAD_DIMS}"
        )
    for name, x in (("k", k), ("v", v)):
        if x.shape != q.shape:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}; expected that of q, {tuple(q.shape)}"
            )
    if bias is not None and (
        bias.dim() != 2 or bias.shape[0] != q.shape[1] or bias.shape[1] % 2 == 0
    ):
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}; expected (H, 2 M + 1) with H = {q.shape[1]}"
        )
    for name, x in (("mask", mask), ("segments", segments)):
        if x is not None and x.shape != (q.shape[0], q.shape[2]):
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}; expected (B, L) = {(q.shape[0], q.shape[2])}"
            )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask has type {mask.dtype}; expected torch.bool")
    if segments is not None and (
        segments.is_floating_point() or segments.is_complex() or segments.dtype == torch.bool
    ):
        raise ValueError(f"segments has type {segments.dtype}; expected an integer type")
    for name, number in (("left", left), ("right", right), ("num_global", num_global)):
        if number < 0:
            raise ValueError(f"{name} is {number}; it cannot be negative")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; expected a fraction in [0, 1)")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}; expected an integer in [0, 2^64)")


# ------------ autograd
class _Band(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rule: BandRule
    ) -> Tensor:
        out, lse = band_forward(q, k, v, bias, rule)
        ctx.save_for_backward(q, k, v, bias, out, lse)
        ctx.rule = rule
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, out, lse = ctx.saved_tensors
        return *band_backward(
            q, k, v, bias, out, lse, grad_out, ctx.rule, bias_needs_it=ctx.needs_input_grad[3]
        ), None


def band_forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rule: BandRule
) -> tuple[Tensor, Tensor]:
    """Run the forward pass without autograd.

    Returns
    -------
    Output (B, H, L, Dh), and log-sum-exp (B, H, L) to the base 2, +inf for a query without allowed
    keys.
    """
    q, k, v = (_rows_contiguous(x) for x in (q, k, v))
    batches, heads, length, head_dim = q.shape
    out = q.new_empty(batches, length, heads, head_dim).transpose(1, 2)  # (B, H, L, Dh)
    lse = q.new_empty(batches, heads, length)
    shape = _Shape(length, rule, backward=False)
    band_bias, global_bias = shape.bias_rows(bias, heads)
    call = _call(q, k, v, out, lse, rule, shape, band_bias, global_bias)
    _run("band_forward", call)
    return out, lse


def band_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor,
    grad_out: Tensor,
    rule: BandRule,
    *,
    bias_needs_it: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of q, k, v and the bias.

    If `out` and `lse` are from more pairs than those of the band, only the contribution of the band
    is returned.
    """
    q, k, v, grad_out = (_rows_contiguous(x) for x in (q, k, v, grad_out))
    batches, heads, length, head_dim = q.shape
    grad_q, grad_k, grad_v = room_for(3, q)
    grad_q.zero_()  # the kernel adds to it, and overwrites the others
    shape = _Shape(length, rule, backward=True)
    band_bias, global_bias = shape.bias_rows(bias, heads)
    units = (batches, shape.spans, heads)
    global_grads = q.new_empty(2, *units, shape.globals, head_dim)
    call = _call(q, k, v, out, lse, rule, shape, band_bias, global_bias)
    call.point(grad_out=grad_out, grad_q=grad_q, grad_k=grad_k, grad_v=grad_v)
    call.point(global_grad_k=global_grads[0], global_grad_v=global_grads[1])
    table_grad = None
    if bias is not None and bias_needs_it:
        table_grad = bias.new_zeros(bias.shape, dtype=torch.float64)
        band_grad, global_grad = (
            q.new_zeros(*units, shape.band_size),
            q.new_zeros(*units, shape.global_grad_size),
        )
        call.point(band_grad=band_grad, global_grad=global_grad, table_grad=table_grad)
        call.max_distance = bias.shape[1] // 2

    for phase in range(min(shape.spans, 2)):
        _run("band_backward", call, phase)
    if rule.num_global:
        count = min(rule.num_global, length)
        for span in range(shape.spans):  # in a fixed order, for reproducible sums
            grad_k[:, :, :count] += global_grads[0, :, span, :, :count]
            grad_v[:, :, :count] += global_grads[1, :, span, :, :count]
    if table_grad is not None:
        _run("band_fold_bias_grad", call, workers=1)
        table_grad = table_grad.float()
    return grad_q, grad_k, grad_v, table_grad


def _rows_contiguous(x: Tensor) -> Tensor:
    """Return `x`, or a copy if the floats of a row are not contiguous."""
    return x if x.stride(-1) == 1 else x.contiguous()


# ------------ the C interface
class _Shape:
    """`Shape` of band.cpp, and the bias as the tiles read it.

    In the backward pass, rows are keys and columns are queries.
    """

    def __init__(self, length: int, rule: BandRule, *, backward: bool) -> None:
        tile = library().band_tile()
        self.length, self.rule, self.tile, self.backward = length, rule, tile, backward
        self.left, self.right, self.num_global = (
            min(x, length) for x in (rule.left, rule.right, rule.num_global)
        )
        reach = self.left + self.right
        # Spans of the same parity must not touch the same block of queries, so a span is at least
        # as long as the reach plus a tile.
        self.span = _up(min(length, max(SPAN, reach + tile)), tile)
        self.spans = -(-length // self.span)
        self.globals = _up(self.num_global, tile)
        self.band_size = tile + _up(tile + reach, tile)
        self.global_size = self.globals + 2 * tile + length
        self.global_grad_size = self.globals + self.span + self.band_size - tile

    def bias_rows(self, bias: Tensor | None, heads: int) -> tuple[Tensor, Tensor]:
        """Return the bias for each distance column - row, in base 2.

        The shapes are (H, band_size) and (H, global_size). Distances that may not attend have -inf.
        """
        before, beyond = (self.right, self.globals) if self.backward else (self.left, self.length)
        near = torch.arange(self.band_size) - before - self.tile
        far = torch.arange(self.global_size if self.num_global else 0) - beyond - self.tile
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
            reach = bias.shape[1] // 2
            row = bias.detach()[:, distance.clamp(-reach, reach) + reach] / math.log(2)
        return row.masked_fill_(~allowed, float("-inf"))


def _up(number: int, to: int) -> int:
    return -(-number // to) * to


def _call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    rule: BandRule,
    shape: _Shape,
    band_bias: Tensor,
    global_bias: Tensor,
) -> Call:
    """Return the arguments that forward and backward have in common."""
    call = Call(*q.shape, shape.left, shape.right, shape.num_global, shape.span)
    call.point(q=q, k=k, v=v, out=out, lse=lse, band_bias=band_bias, global_bias=global_bias)
    call.point(query_label=rule.query_labels, key_label=rule.key_labels)
    call.seed, call.threshold, call.keep_scale = (
        rule.seed,
        _threshold(rule.dropout),
        1 / (1 - rule.dropout),
    )
    return call


def _run(name: str, call: Call, phase: int = 0, workers: int | None = None) -> None:
    """Call the function of band.cpp once per thread.

    ctypes releases the GIL, and the threads take spans from a common counter.
    """
    function = getattr(library(), name)
    call.phase, call.next = phase, ctypes.pointer(ctypes.c_int64(0))
    workers = workers or torch.get_num_threads()
    if workers == 1:
        failed = function(ctypes.byref(call))
    else:
        jobs: list[Future[int]] = []
        try:
            for _ in range(workers):
                jobs.append(_pool(workers).submit(function, ctypes.byref(call)))
            failed = sum(job.result() for job in jobs)
        # after Ctrl-C, wait until each thread has finished its span, because the threads write to
        # the tensors
        except BaseException:
            call.next[0] = NO_MORE
            wait(jobs)
            raise
    if failed:
        raise MemoryError(f"out of memory for the buffers of {name}")


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="band")


# a forked process has no threads, so its pool would wait forever
os.register_at_fork(after_in_child=_pool.cache_clear)
