"""Window attention on the CPU in one fused kernel, with the gradient of a learned bias by distance.

Time and memory are O(L x window). The kernel is the C++ source `band.cpp`, which `build` compiles.
It computes in float32, or multiplies bfloat16 tensors directly where the CPU has AVX512-BF16; sums
and the softmax are always float32. This module checks arguments and runs the threads of the kernel;
`calls` has the structures of its C interface. The same library has loops of the first convolution
(`run_on_tokens`) and of motif scores (`replace_bases`).
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.attention.inputs import AttentionInputs, Rest
from selfattn_bio.attention.kernels.band.build import library, unavailable_reason
from selfattn_bio.attention.kernels.band.calls import Banded, BandLayout, Call, split_band
from selfattn_bio.attention.kernels.reference import with_global_rows
from selfattn_bio.attention.positions import Terms

__all__ = ["band_attention", "band_backward", "band_forward", "run", "unavailable_reason"]

NO_MORE = 2**62  # larger than the number of any span


def run(inputs: AttentionInputs) -> Tensor:
    """Compute attention of all queries, in bfloat16 if q has that type and the CPU supports it."""
    found = split_band(inputs.pattern, inputs.length)
    assert found is not None  # the capabilities of the kernel require it
    pattern, rows = found[0], 0 if found[0].sampled is None else inputs.pattern.num_global
    out = band_attention(replace(converted(inputs), pattern=replace(pattern, num_global=rows)))
    out = out.to(inputs.q.dtype)
    return out if rows else with_global_rows(inputs, out)


def converted(inputs: AttentionInputs) -> AttentionInputs:
    """Return a request with tensors in the types that the kernel accepts."""
    terms, dtype = inputs.terms, computed_in(inputs.q.dtype)
    return replace(
        inputs,
        q=inputs.q.to(dtype),
        k=inputs.k.to(dtype),
        v=inputs.v.to(dtype),
        terms=terms if terms.bias is None else terms._replace(bias=terms.bias.float()),
    )


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which the kernel multiplies tensors of type `dtype` on this machine."""
    return dtype if dtype == torch.bfloat16 and library().band_bfloat16() else torch.float32


def band_attention(inputs: AttentionInputs) -> Tensor:
    """Compute attention of each query to the keys in a window, the first keys and sampled blocks.

    Results do not depend on the number of threads, to the bit.

    Parameters
    ----------
    inputs
        The pattern must be `Banded`. q, k and v are on the CPU and have one type: float32, or
        bfloat16 if `computed_in` returns it. Dh is one of 16, 32, 64, with any strides; they are
        not copied if head_dim is contiguous. The terms may have a bias in float32. Padded queries
        are computed like others. The seed is in [0, 2^64).

    Returns
    -------
    (B, H, L, Dh), a transposed view of (B, L, H, Dh). A query without allowed keys gets output and
    gradients 0.

    Raises
    ------
    ValueError
        If shapes or types of the tensors break one of these rules.
    RuntimeError
        If the kernel cannot run on this machine; see `unavailable_reason`.

    References
    ----------
    Dao 2023 (FlashAttention-2): the softmax is kept as its log-sum-exp and computed again in the
    backward pass.
    """
    return _BandAttention.apply(inputs.q, inputs.k, inputs.v, inputs.terms.bias, inputs.rest)


def _check(inputs: AttentionInputs) -> None:
    """Raise `ValueError` unless the tensors fit, because the C code gets only their addresses.

    Positions can change the shapes and types of the tensors after the checks of `prepare`.
    """
    q, bias = inputs.q, inputs.terms.bias
    heads, expected = q.shape[1], (computed_in(q.dtype), q.shape, "cpu")
    for name, x in (("q", q), ("k", inputs.k), ("v", inputs.v)):
        if (x.dtype, x.shape, x.device.type) != expected:
            raise ValueError(
                f"{name} has type {x.dtype} and shape {tuple(x.shape)} on {x.device}; expected "
                f"{expected[0]} and {tuple(q.shape)} on the CPU"
            )
    if bias is not None and (
        (bias.dtype, bias.dim(), len(bias), bias.device.type) != (torch.float32, 2, heads, "cpu")
        or bias.shape[1] % 2 == 0
    ):
        raise ValueError(
            f"bias has type {bias.dtype} and shape {tuple(bias.shape)} on {bias.device}; expected "
            f"torch.float32 and (H, 2 M + 1) with H = {heads} on the CPU"
        )


def encode(inputs: AttentionInputs, layers: Sequence[Any], x: Tensor) -> Tensor:
    """Compute a block of an encoder: x + attention(norm(x)), then x + feedforward(norm(x)).

    Results do not depend on the number of threads, to the bit.

    Parameters
    ----------
    inputs
        Attention over all pairs, which the kernel must support. The values of q, k and v are not
        read, only their sizes.
    layers
        In float32: norm, projections to q, k and v and from the heads, norm, and two layers with a
        GELU between them. Sizes of linear layers are multiples of 32.
    x
        (B, L, H Dh) float32, contiguous.

    Returns
    -------
    (B, L, H Dh).
    """
    pattern = Banded(inputs.length, inputs.length)
    layout = BandLayout(replace(inputs, pattern=pattern), library().band_tile(), backward=False)
    call, y = _call(inputs, inputs.q, x, layout), torch.empty_like(x)
    call.hidden_size, call.eps = layers[-1].in_features, layers[0].eps
    weights = [each.contiguous() for layer in layers for each in (layer.weight, layer.bias)]
    call.layers = tuple(each.data_ptr() for each in (x, y, *weights))
    _run("band_encode", call)
    return y


def run_on_tokens(name: str, sizes: Sequence[int], *tensors: Tensor) -> None:
    """Call "maxima" or "gradient" of convolution.h, which describes the sizes and the tensors.

    Raises
    ------
    IndexError
        If a token is not in the table.
    MemoryError
        If there is no memory for the buffers.
    """
    table, _, mask, *_ = tensors = tuple(x.contiguous() for x in tensors)
    addresses = (x.data_ptr() for x in tensors)
    fields = (*mask.shape, *table.shape, *sizes, torch.get_num_threads(), *addresses)
    function = getattr(library(), f"band_token_{name}")
    if failed := function((ctypes.c_int64 * len(fields))(*fields)):
        raise MemoryError if failed == 1 else IndexError(f"a token is not below {table.shape[1]}")


def replace_bases(
    codes: NDArray[np.uint8], values: Scores, widths: Integers, strands: int, *found: NDArray[Any]
) -> None:
    """Score a record, and its copies with one base replaced, as `motifs.scores._replace_bases`.

    Raises
    ------
    MemoryError
        If there is no memory for the buffers.
    """
    odds = np.exp(values, dtype=np.float64)
    given: list[NDArray[Any]] = [codes, *map(np.ascontiguousarray, (values, odds, widths))]
    addresses = (each.ctypes.data for each in (*given, *found))
    fields = (found[-1].shape[-1], *values.shape[:2], strands, *addresses)
    if library().band_replace_bases((ctypes.c_int64 * len(fields))(*fields)):
        raise MemoryError


# ------------ autograd
class _BandAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, rest: Rest
    ) -> Tensor:
        out, lse = band_forward(AttentionInputs(q, k, v, Terms(bias), *rest))
        ctx.save_for_backward(q, k, v, bias, out, lse)
        ctx.rest = rest
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, out, lse = ctx.saved_tensors
        inputs = AttentionInputs(q, k, v, Terms(bias), *ctx.rest)
        needs_bias = ctx.needs_input_grad[3]
        return *band_backward(inputs, out, lse, grad_out, bias_needs_it=needs_bias), None


def band_forward(inputs: AttentionInputs) -> tuple[Tensor, Tensor]:
    """Run the forward pass of a request with the pattern `Banded`, without autograd.

    Returns
    -------
    Output (B, H, L, Dh), and log-sum-exp (B, H, L) to the base 2, +inf for a query without allowed
    keys.
    """
    _check(inputs)
    batches, heads, length, head_dim = inputs.q.shape
    out = inputs.q.new_empty(batches, length, heads, head_dim).transpose(1, 2)  # (B, H, L, Dh)
    lse = inputs.q.new_empty(batches, heads, length, dtype=torch.float32)
    call = _call(inputs, out, lse, BandLayout(inputs, library().band_tile(), backward=False))
    _run("band_forward", call)
    return out, lse


def band_backward(
    inputs: AttentionInputs, out: Tensor, lse: Tensor, grad_out: Tensor, *, bias_needs_it: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of q, k, v and the bias.

    If `out` and `lse` are from more pairs than those of the band, only the contribution of the band
    is returned.
    """
    q, bias, grad_out = inputs.q, inputs.terms.bias, _rows_contiguous(grad_out)
    batches, heads, length, head_dim = q.shape
    # (B, H, L, Dh) in the memory layout of a projection
    grad_q, grad_k, grad_v = (
        q.new_empty(batches, length, heads, head_dim).transpose(1, 2) for _ in range(3)
    )
    grad_q.zero_()  # the kernel adds to it, and overwrites the others
    layout = BandLayout(inputs, library().band_tile(), backward=True)
    units = (batches, layout.spans, heads)
    global_grads = q.new_empty(2, *units, layout.globals, head_dim, dtype=torch.float32)
    call = _call(inputs, out, lse, layout)
    call.point(grad_out=grad_out, grad_q=grad_q, grad_k=grad_k, grad_v=grad_v)
    call.point(global_grad_k=global_grads[0], global_grad_v=global_grads[1])
    table_grad = None
    if bias is not None and bias_needs_it:
        table_grad = bias.new_zeros(bias.shape, dtype=torch.float64)
        band_grad = bias.new_zeros(*units, layout.band_size)
        global_grad = bias.new_zeros(*units, layout.global_grad_size)
        call.point(band_grad=band_grad, global_grad=global_grad, table_grad=table_grad)
        if layout.sampled is not None:
            call.point(far_grad=bias.new_zeros(batches, heads, layout.global_size))
        call.max_distance = bias.shape[1] // 2

    for phase in (*range(min(layout.spans, 2)), *((2,) if layout.sampled else ())):
        _run("band_backward", call, phase)
    if layout.num_keys:
        count = layout.num_keys
        for grad, by_span in zip((grad_k, grad_v), global_grads, strict=True):
            total = by_span[:, 0]
            for span in range(1, layout.spans):  # in a fixed order, for reproducible sums
                total += by_span[:, span]
            grad[:, :, :count] += total[:, :, :count]
    if table_grad is not None:
        _run("band_fold_bias_grad", call, workers=1)
        table_grad = table_grad.float()
    return grad_q, grad_k, grad_v, table_grad


def _rows_contiguous(x: Tensor) -> Tensor:
    """Return `x`, or a copy if the floats of a row are not contiguous."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _call(inputs: AttentionInputs, out: Tensor, lse: Tensor, layout: BandLayout) -> Call:
    """Return the arguments that forward and backward have in common."""
    q, k, v = (_rows_contiguous(x) for x in (inputs.q, inputs.k, inputs.v))
    call = Call(*q.shape, *layout.sizes, q.element_size())
    call.point(q=q, k=k, v=v, out=out, lse=lse, sampled=layout.blocks(inputs.mask))
    call.point(**layout.bias_rows(inputs.terms.bias, q.shape[1]))
    query_labels, key_labels = inputs.mask.labels
    call.point(query_label=query_labels, key_label=key_labels)
    call.seed, call.keep_scale = inputs.seed, 1 / (1 - inputs.dropout)
    call.threshold = min(round(inputs.dropout * 2**32), 2**32 - 1)
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
