"""Softmax attention under a pattern, a position, padding and segments.

`attend` checks its inputs, chooses a kernel from `KERNELS` and runs it. With `kernel="auto"` the
first suitable kernel runs. A kernel named explicitly raises `KernelError` if it cannot handle the
request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio.attention.band import band_attention
from selfattn_bio.attention.flex import flex
from selfattn_bio.attention.native import unavailable_reason
from selfattn_bio.attention.patterns import AttentionPattern, Band, Full, GlobalKeys
from selfattn_bio.attention.positions import NO_TERMS, NoPosition, Terms, relative_index
from selfattn_bio.attention.reference import attention_weights, reference_attention
from selfattn_bio.attention.rows import global_rows
from selfattn_bio.attention.slab import DROPOUT_SEEDS, Fused, slab_attention
from selfattn_bio.attention.tiles import AttentionMask
from selfattn_bio.config import BAND_HEAD_DIMS, FLEX_HEAD_DIM
from selfattn_bio.errors import KernelError

LONG = 4096  # tokens; "auto" does not use a bias per pair for longer sequences
SHORT = 64  # tokens; up to this length one tile holds all pairs
OWN_KEYS = "the position has its own keys"


@dataclass(frozen=True)
class AttentionInputs:
    """Inputs of one attention call, as kernels receive them.

    q and k are rotated. k and v have as many heads as q.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    attention_mask: AttentionMask
    terms: Terms
    dropout: float

    @property
    def bias_is_learned(self) -> bool:
        """Return whether the bias needs a gradient."""
        return (
            torch.is_grad_enabled()
            and self.terms.bias is not None
            and self.terms.bias.requires_grad
        )


@dataclass(frozen=True)
class Kernel:
    """One way to compute attention.

    `cannot` returns the reason why the kernel cannot handle a request, or None. `should_not` does
    the same for requests that another kernel handles better; `kernel="auto"` obeys both.
    """

    name: str
    purpose: str
    cannot: Callable[[AttentionInputs], str | None]
    should_not: Callable[[AttentionInputs], str | None]
    run: Callable[[AttentionInputs], Tensor]


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    pattern: AttentionPattern,
    position: NoPosition,
    mask: Tensor | None = None,
    segments: Tensor | None = None,
    dropout: float = 0.0,
    kernel: str = "auto",
) -> Tensor:
    """Compute scaled dot-product attention.

    Parameters
    ----------
    q
        (B, H, L, Dh), not yet rotated.
    k, v
        (B, G, L, Dh), H a multiple of G. Head h of q uses head h // (H / G) of k and v
        (grouped-query attention, Ainslie et al. 2023).
    pattern
        Which queries may attend to which keys.
    position
        Effect of positions and distances on the scores.
    mask
        (B, L) bool, True = token, False = padding, which no query attends to. None: no padding.
    segments
        (B, L) int; tokens attend only within their segment (packed sequences). None: one segment.
        Positions and global tokens are counted from the start of the row, so packed sequences must
        not depend on absolute positions or on global tokens of each sequence. Rotary and relative
        positions do not.
    dropout
        Fraction of the weights set to 0; the others are scaled up to keep the mean. 0 outside
        training.
    kernel
        A name from `KERNELS`, or "auto" for the first suitable kernel.

    Returns
    -------
    (B, H, L, Dh); 0 for a query without allowed keys.

    Raises
    ------
    ValueError
        If shapes or types do not fit.
    KernelError
        If the named kernel cannot handle the request, or cannot run on this machine.
    """
    inputs = prepared(q, k, v, pattern, position, mask, segments, dropout)
    if 0 in q.shape:
        return torch.zeros_like(q)
    chosen = choose(inputs, kernel)
    if kernel == "auto" and chosen.name == "slab" and inputs.q.device.type == "cuda":
        _warn_once(
            f"attention: kernel 'flex' cannot handle this request: {_flex_cannot(inputs)}; using "
            "the slower kernel 'slab'"
        )
    return chosen.run(inputs)


def weights(
    q: Tensor,
    k: Tensor,
    *,
    pattern: AttentionPattern,
    position: NoPosition,
    mask: Tensor | None = None,
    segments: Tensor | None = None,
) -> Tensor:
    """Return the attention weights (B, H, L, L) that `attend` would use, for inspection.

    Arguments and errors are those of `attend`.
    """
    inputs = prepared(q, k, k, pattern, position, mask, segments)
    return attention_weights(
        inputs.q, inputs.k, terms=inputs.terms, allowed=inputs.attention_mask.dense_mask()
    )


def prepared(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: AttentionPattern,
    position: NoPosition,
    mask: Tensor | None = None,
    segments: Tensor | None = None,
    dropout: float = 0.0,
) -> AttentionInputs:
    """Check the arguments of `attend` and convert them for the kernels.

    k and v get as many heads as q, q and k are rotated, and the terms of the position are computed.
    """
    batch, heads, length, _ = q.shape
    if (
        k.shape != v.shape
        or k.shape[0] != batch
        or k.shape[2:] != q.shape[2:]
        or heads % k.shape[1]
    ):
        raise ValueError(
            f"the shapes of q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not "
            "fit; expected (B, H, L, Dh) for q and (B, G, L, Dh) for k and v, H a multiple of G"
        )
    for name, x in (("mask", mask), ("segments", segments)):
        if x is not None and x.shape != (batch, length):
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}; expected (B, L) = {(batch, length)}"
            )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask has type {mask.dtype}; expected torch.bool")
    if segments is not None and (segments.is_floating_point() or segments.dtype == torch.bool):
        raise ValueError(f"segments has type {segments.dtype}; expected an integer type")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; expected a fraction in [0, 1)")
    if k.shape[1] != heads:
        k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    attention_mask = AttentionMask(
        pattern,
        (batch, heads, length),
        q.device,
        None if mask is None or bool(mask.all()) else mask,
        segments,
    )
    terms = position.terms(q, attention_mask.reach())
    if terms.bias is not None and len(terms.bias) != heads:
        raise ValueError(f"position has {len(terms.bias)} heads, but q has {heads}")
    q, k = position.rotate(q, k)
    return AttentionInputs(q, k, v, attention_mask, terms, dropout)


def choose(inputs: AttentionInputs, kernel: str = "auto") -> Kernel:
    """Return the kernel that handles a request.

    Raises
    ------
    KernelError
        If `kernel` is not in `KERNELS`, or cannot handle the request.
    """
    if kernel == "auto":
        return next(
            each
            for each in KERNELS.values()
            if (each.should_not(inputs) or each.cannot(inputs)) is None
        )
    if kernel not in KERNELS:
        raise KernelError(f"unknown kernel {kernel!r}; available: auto, {', '.join(KERNELS)}")
    if (reason := KERNELS[kernel].cannot(inputs)) is not None:
        raise KernelError(
            f"kernel {kernel!r} cannot handle this request: {reason}",
            hint="Use kernel 'auto', or see `selfattn-bio doctor`",
        )
    return KERNELS[kernel]


# ------------ kernels
def _plain(inputs: AttentionInputs) -> Tensor:
    return reference_attention(
        inputs.q,
        inputs.k,
        inputs.v,
        terms=inputs.terms,
        allowed=inputs.attention_mask.dense_mask(),
        dropout=inputs.dropout,
    )


def _sdpa(inputs: AttentionInputs) -> Tensor:
    allowed = inputs.attention_mask.dense_mask()
    if inputs.terms.bias is not None:
        length = inputs.attention_mask.shape[2]
        at = torch.arange(length, device=inputs.q.device)
        bias = inputs.terms.bias[
            :, relative_index(at[None, :] - at[:, None], inputs.terms.bias.shape[1])
        ].to(inputs.q.dtype)
        bias = bias[None]  # (1, H, L, L): with three dimensions SDPA leaves its fast path
        allowed = bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
    return scaled_dot_product_attention(
        inputs.q, inputs.k, inputs.v, attn_mask=allowed, dropout_p=inputs.dropout
    )


def _slab(inputs: AttentionInputs) -> Tensor:
    out = slab_attention(
        inputs.q,
        inputs.k,
        inputs.v,
        attention_mask=inputs.attention_mask,
        terms=inputs.terms,
        dropout=inputs.dropout,
    )
    return _with_global_rows(inputs, out)


def _band(inputs: AttentionInputs) -> Tensor:
    fused = _fused(inputs)
    assert fused is not None  # _band_cannot has checked it
    seed = int(torch.randint(DROPOUT_SEEDS, ())) if inputs.dropout else 0
    bias, attention_mask = inputs.terms.bias, inputs.attention_mask
    out = band_attention(
        *(x.float() for x in (inputs.q, inputs.k, inputs.v)),  # the kernel computes in float32
        left=fused.left,
        right=fused.right,
        num_global=fused.num_global,
        bias=None if bias is None else bias.float(),
        mask=attention_mask.mask,
        segments=attention_mask.segments,
        dropout=inputs.dropout,
        seed=seed,
    )
    return _with_global_rows(inputs, out.to(inputs.q.dtype))


def _joint(inputs: AttentionInputs) -> Tensor:
    bias = inputs.terms.bias
    out = slab_attention(
        *(x.float() for x in (inputs.q, inputs.k, inputs.v)),
        attention_mask=inputs.attention_mask,
        terms=NO_TERMS if bias is None else inputs.terms._replace(bias=bias.float()),
        dropout=inputs.dropout,
        fused=_fused(inputs),
    )
    return _with_global_rows(inputs, out.to(inputs.q.dtype))


def _flex(inputs: AttentionInputs) -> Tensor:
    return flex(
        inputs.q, inputs.k, inputs.v, attention_mask=inputs.attention_mask, terms=inputs.terms
    )


def _with_global_rows(inputs: AttentionInputs, out: Tensor) -> Tensor:
    """Replace the rows of the global tokens, which attend to every key, in O(L num_global)."""
    num = min(inputs.attention_mask.pattern.num_global, inputs.q.shape[2])
    if num == 0:
        return out
    q, terms, allowed = inputs.q[:, :, :num], inputs.terms, inputs.attention_mask.global_rows()
    if terms.queries is None and not inputs.dropout:
        rows = global_rows(q, inputs.k, inputs.v, bias=terms.bias, allowed=allowed)
    else:
        terms = (
            terms if terms.queries is None else terms._replace(queries=terms.queries[:, :, :num])
        )
        rows = reference_attention(
            q, inputs.k, inputs.v, terms=terms, allowed=allowed, dropout=inputs.dropout
        )
    return torch.cat((rows, out[:, :, num:]), dim=2)


def _always(inputs: AttentionInputs) -> str | None:
    return None


def _is_long(inputs: AttentionInputs) -> str | None:
    length = inputs.attention_mask.shape[2]
    return (
        None if length <= SHORT else f"it stores all pairs, which is too much for {length} tokens"
    )


def _sdpa_cannot(inputs: AttentionInputs) -> str | None:
    return None if inputs.terms.queries is None else OWN_KEYS


def _sdpa_should_not(inputs: AttentionInputs) -> str | None:
    if not isinstance(inputs.attention_mask.pattern, Full):
        return "it would compute all pairs of a causal or sparse pattern"
    if inputs.bias_is_learned:
        return "it is slow with a bias that needs a gradient"
    if inputs.terms.bias is not None and (length := inputs.attention_mask.shape[2]) > LONG:
        return f"it stores the bias of all pairs, which is too much for {length} tokens"
    return None


def _fused(inputs: AttentionInputs) -> Fused | None:
    """Return the parts that the band kernel computes: one undilated window and its global keys."""
    parts = inputs.attention_mask.pattern.parts(inputs.attention_mask.shape[2])
    band = next(
        (
            part
            for part in parts
            if isinstance(part, Band) and part.dilation == 1 and not part.block
        ),
        None,
    )
    if band is None:
        return None
    columns = [
        part for part in parts if isinstance(part, GlobalKeys) and part.causal == (band.right == 0)
    ]
    return Fused(
        (band, *columns), band.left, band.right, max((part.count for part in columns), default=0)
    )


def _band_cannot(inputs: AttentionInputs) -> str | None:
    fused = _fused(inputs)
    if fused is None or len(fused.parts) < len(
        inputs.attention_mask.pattern.parts(inputs.attention_mask.shape[2])
    ):
        return "the pattern is not one window with or without global tokens"
    return _no_band(inputs)


def _joint_cannot(inputs: AttentionInputs) -> str | None:
    fused = _fused(inputs)
    if fused is None or len(fused.parts) == len(
        inputs.attention_mask.pattern.parts(inputs.attention_mask.shape[2])
    ):
        return "the pattern is not one window combined with other parts"
    return _no_band(inputs)


def _no_band(inputs: AttentionInputs) -> str | None:
    q = inputs.q
    if inputs.terms.queries is not None:
        return OWN_KEYS
    if q.device.type != "cpu" or q.dtype not in (torch.float32, torch.bfloat16):
        return f"it needs float32 or bfloat16 on the CPU, not {q.dtype} on {q.device.type}"
    if q.shape[-1] not in BAND_HEAD_DIMS:
        reason: str | None = f"head_dim {q.shape[-1]} is not one of {BAND_HEAD_DIMS}"
    else:
        reason = unavailable_reason()
    if reason is not None:
        _warn_once(f"attention: kernel 'band' is not available ({reason}); using slower kernels")
    return reason


@cache
def _warn_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _flex_cannot(inputs: AttentionInputs) -> str | None:
    if inputs.q.device.type != "cuda":
        return f"it needs CUDA, but the tensors are on the device {inputs.q.device.type!r}"
    head_dim = inputs.q.shape[-1]
    # list all reasons, so that users can fix them together
    reasons = {
        OWN_KEYS: inputs.terms.queries is not None,
        "it does not support float64": inputs.q.dtype == torch.float64,
        f"head_dim {head_dim} is less than {FLEX_HEAD_DIM}": head_dim < FLEX_HEAD_DIM,
        "it does not support dropout (set model.dropout = 0)": inputs.dropout > 0,
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds) or None


def _is_short(inputs: AttentionInputs) -> str | None:
    length = inputs.attention_mask.shape[2]
    return None if length > SHORT else f"for {length} tokens torch is as fast and needs no compiler"


# `kernel="auto"` tries the kernels in this order. On the CPU, band is the fastest one, also for
# full attention.
KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel(
            "band",
            "C++ on the CPU, compiled on first use: full attention or one window, with or without "
            "global tokens",
            _band_cannot,
            _is_short,
            _band,
        ),
        Kernel(
            "sdpa", "torch's fused attention over all pairs", _sdpa_cannot, _sdpa_should_not, _sdpa
        ),
        Kernel(
            "reference",
            f"plain torch that stores all pairs: the reference in tests, fast up to {SHORT} tokens",
            _always,
            _is_long,
            _plain,
        ),
        Kernel(
            "joint",
            "band for a window with its global tokens, slab for the other parts of the pattern",
            _joint_cannot,
            _is_short,
            _joint,
        ),
        Kernel(
            "flex",
            "FlexAttention on CUDA: any pattern, bias by distance, no dropout",
            _flex_cannot,
            _always,
            _flex,
        ),
        Kernel(
            "slab",
            "plain torch in tiles: any pattern and position, memory proportional to the length",
            _always,
            _always,
            _slab,
        ),
    )
}
