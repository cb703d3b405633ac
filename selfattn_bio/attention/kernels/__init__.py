"""Kernels of softmax attention, and the choice between them.

A kernel is the function `run(inputs)` of the file with its name, or a function in `ELSEWHERE`. It
maps `AttentionInputs` to the output (B, H, L, Dh), 0 for a query without allowed keys.
`config.KERNELS` lists the kernels with their capabilities. With `kernel="auto"` the first suitable
kernel runs. A kernel named explicitly raises `KernelError` if it cannot handle the request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pkgutil import resolve_name

import torch
from torch import Tensor

from selfattn_bio.attention.inputs import AttentionInputs
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.kernels.band.calls import split_band
from selfattn_bio.attention.patterns import Full
from selfattn_bio.config import KERNELS, Capabilities, PatternShape, Preferences
from selfattn_bio.errors import KernelError
from selfattn_bio.log import LOG

ELSEWHERE = {"sdpa": "reference:run_sdpa", "joint": "slab:run_joint"}


def run(name: str, inputs: AttentionInputs) -> Tensor:
    """Compute attention with the kernel `name`."""
    return _function(name)(inputs)


@cache
def _function(name: str) -> Callable[[AttentionInputs], Tensor]:
    return resolve_name(f"{__name__}.{ELSEWHERE.get(name, f'{name}:run')}")


def choose(inputs: AttentionInputs, kernel: str = "auto") -> str:
    """Return the name of the kernel that handles a request.

    Raises
    ------
    KernelError
        If `kernel` is not in `KERNELS`, or cannot handle the request.
    """
    if kernel == "auto":
        return _first_suitable(inputs)
    if kernel not in KERNELS:
        raise KernelError(f"unknown kernel {kernel!r}; available: auto, {', '.join(KERNELS)}")
    if (reason := why_unsupported(kernel, inputs)) is not None:
        message = f"kernel {kernel!r} cannot handle this request: {reason}"
        raise KernelError(message, hint="Use kernel 'auto'")
    return kernel


def _first_suitable(inputs: AttentionInputs) -> str:
    shape = pattern_shape(inputs)
    for name, kernel in KERNELS.items():
        if not _is_avoided(kernel.auto, inputs, shape) and not _unsupported(kernel, inputs, shape):
            if not kernel.compiled or (reason := unavailable_reason()) is None:
                return name
            _warn_once(
                f"compiled attention kernels are not available ({reason}); using slower ones"
            )
    raise KernelError("no attention kernel can handle this request")


def why_unsupported(name: str, inputs: AttentionInputs) -> str | None:
    """Return why a kernel cannot handle a request, or None if it can."""
    kernel = KERNELS[name]
    reasons = _unsupported(kernel, inputs, pattern_shape(inputs))
    if not reasons and kernel.compiled and (problem := unavailable_reason()) is not None:
        return problem
    return "; ".join(reasons) or None


def _is_avoided(auto: Preferences, inputs: AttentionInputs, shape: PatternShape) -> bool:
    """Return whether "auto" leaves a request to a kernel that comes later and is faster."""
    tokens, bias = inputs.length, inputs.terms.bias
    if tokens <= auto.joined_tokens and shape in ("sampled", "joined"):
        return False
    if auto.full_only and not isinstance(inputs.pattern, Full):
        return True
    if bias is not None:
        is_learned = torch.is_grad_enabled() and bias.requires_grad
        if is_learned and not auto.learned_bias:
            return True
        if not auto.min_bias_tokens <= tokens <= (auto.max_bias_tokens or tokens):
            return True
    return not auto.min_tokens <= tokens <= (auto.max_tokens or tokens)


def pattern_shape(inputs: AttentionInputs) -> PatternShape:
    """Return the shape of the pattern, as capabilities describe it."""
    found = split_band(inputs.pattern, inputs.length)
    if found is None:
        return "other"
    return "joined" if found[1] else "window" if found[0].sampled is None else "sampled"


def _unsupported(kernel: Capabilities, inputs: AttentionInputs, shape: PatternShape) -> list[str]:
    q = inputs.q
    device, dtype = q.device.type, str(q.dtype).removeprefix("torch.")
    if kernel.devices is not None and device not in kernel.devices:
        needed = " or ".join(each.upper() for each in kernel.devices)
        return [f"it needs {needed}, but the tensors are on the device {device!r}"]
    return kernel.unsupported(
        pattern=shape,
        own_keys=inputs.terms.queries is not None,
        head_dim=q.shape[-1],
        dropout=inputs.dropout,
        dtype=dtype,
    )


def warn_of_fallback(name: str, inputs: AttentionInputs) -> None:
    """Warn if "auto" chose a kernel because a faster one of this device cannot be used."""
    faster = KERNELS[name].fallback_for
    if faster and inputs.q.device.type in (KERNELS[faster].devices or ()):
        _warn_once(
            f"attention kernel {faster!r} cannot handle this request: "
            f"{why_unsupported(faster, inputs)}; using the slower kernel {name!r}"
        )


@cache
def _warn_once(text: str) -> None:
    """Log a warning once per process."""
    LOG.warning(text)
