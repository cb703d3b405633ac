"""Softmax attention: within an input (`attend`), and from one input to another.

`attend` checks its inputs, chooses a kernel and runs it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfattn_bio.attention import kernels
from selfattn_bio.attention.inputs import DROPOUT_SEEDS, AttentionMask, prepare
from selfattn_bio.attention.kernels.reference import reference_attention
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
    if torch.compiler.is_exporting():  # plain operators, for any length
        return kernels.run("reference", inputs)
    name = kernels.choose(inputs, kernel)
    if kernel == "auto":
        kernels.warn_of_fallback(name, inputs)
    if dropout and KERNELS[name].seeded:
        inputs = replace(inputs, seed=int(torch.randint(DROPOUT_SEEDS, ())))
    return kernels.run(name, inputs)


def cross_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    position: RelativePosition,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute attention of the queries of one input to keys and values of another input.

    Parameters
    ----------
    q
        (B, H, L, Dh), not yet rotated.
    k, v
        (B, G, M, Dh) of the other input, H a multiple of G.
    position
        Effect of the distance j - i on the score of position i of the first input and position j of
        the other: `NoPosition`, `T5Bias`, `Alibi` or `Rotary`.
    mask
        (B, M) bool, True = token of the other input, False = padding, which no query attends to.
        None: no padding.
    dropout
        Fraction of the weights set to 0; 0 outside training.

    Returns
    -------
    (B, H, L, Dh); 0 in a row whose other input is all padding.

    References
    ----------
    Vaswani et al. 2017, section 3.2.3; checked against the explicit softmax
    (tests/oracle/test_cross.py).
    """
    heads = q.shape[1]
    if k.shape[1] != heads:
        k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    terms = position.terms(q, max(q.shape[2], k.shape[2]) - 1)
    # q and k are rotated by the positions in their own inputs
    q, k = position.rotate(q, q)[0], position.rotate(k, k)[1]
    allowed = None if mask is None else mask[:, None, None, :]
    if terms.bias is not None:
        return reference_attention(q, k, v, terms=terms, allowed=allowed, dropout=dropout)
    out = scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
    return out if mask is None else out.masked_fill(~mask.any(1)[:, None, None, None], 0.0)
