"""Softmax attention under a pattern, a position and padding.

`attend` checks its inputs, chooses a kernel and runs it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from selfattn_bio.attention import kernels
from selfattn_bio.attention.inputs import DROPOUT_SEEDS, prepare
from selfattn_bio.attention.kernels.reference import dense_weights
from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.attention.patterns import AttentionPattern, Full
from selfattn_bio.attention.positions import NoPosition, RelativePosition
from selfattn_bio.config import KERNELS


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    pattern: AttentionPattern = Full(),  # noqa: B008, immutable
    position: RelativePosition = NoPosition(),  # noqa: B008, without state
    mask: AttentionMask | Tensor | None = None,
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
        Which queries may attend to which keys; by default all.
    position
        Effect of positions and distances on the scores; by default none.
    mask
        (B, L) bool, True = token, False = padding, which no query attends to. None: no padding. An
        `AttentionMask` shares its work between several calls.
    dropout
        Fraction of the weights set to 0; the others are scaled up to keep the mean. 0 outside
        training.
    kernel
        A name from `config.KERNELS`, or "auto" for the first suitable kernel.

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
    inputs = prepare(q, k, v, pattern=pattern, position=position, mask=mask, dropout=dropout)
    if 0 in q.shape:
        return torch.zeros_like(q)
    name = kernels.choose(inputs, kernel)
    if kernel == "auto":
        kernels.warn_of_fallback(name, inputs)
    if dropout and KERNELS[name].seeded:
        inputs = replace(inputs, seed=int(torch.randint(DROPOUT_SEEDS, ())))
    return kernels.run(name, inputs)


def weights(
    q: Tensor,
    k: Tensor,
    *,
    pattern: AttentionPattern = Full(),  # noqa: B008, immutable
    position: RelativePosition = NoPosition(),  # noqa: B008, without state
    mask: AttentionMask | Tensor | None = None,
) -> Tensor:
    """Return the attention weights (B, H, L, L) that `attend` would use, for inspection.

    Arguments and errors are those of `attend`.
    """
    inputs = prepare(q, k, k, pattern=pattern, position=position, mask=mask)
    return dense_weights(inputs)
