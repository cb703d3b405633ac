"""Relevance of letters by AttnLRP: one modified backward pass, for any network of this package.

Hides: the rules, put on the network's modules as hooks for the length of a `with` block, and the way from tokens back to letters.
`explain` calls it. A network without the named modules (the CNN) is explained by its plain gradient.

AttnLRP (Achtibat et al. 2024) is gradient x input where three kinds of operation share their relevance evenly or linearly:

| operation | rule | as a hook |
|---|---|---|
| weights(q, k) @ v | half to the weights (a quarter each to q and k), half to v | gradients of q, k times 1/4, of v times 1/2 |
| LayerNorm | the deviation is a constant | (x - mean) / deviation.detach() |
| GELU | the gate act(x) / x is a constant | x * (act(x) / x).detach() |

They act before and after the kernel, so they hold for every softmax kernel, sparse and long ones too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.encoder import QKVProjection
from selfattn_bio.model.heads import PoolingProjection
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import PAD, SPECIAL, KmerTokenizer

BATCH = 64  # sequences to a backward pass
FIRST_KMER = len(SPECIAL)  # tokens below stand for no letters


@contextmanager
def attnlrp_rules(network: nn.Module) -> Iterator[None]:
    """Let gradients through `network` follow the AttnLRP rules inside the block; its outputs stay what they are.

    The hooks are removed at the end of the block, also after an exception.
    """
    rules: dict[type[nn.Module], Callable[..., Any]] = {
        QKVProjection: _share(1 / 4, 1 / 4, 1 / 2),
        PoolingProjection: _share(1 / 2, 1 / 2),
        nn.LayerNorm: _constant_deviation,
        nn.GELU: _constant_gate,
    }
    handles = [module.register_forward_hook(rules[type(module)]) for module in network.modules() if type(module) in rules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def embedding_gradient(network: Network, tokens: Tensor) -> Tensor:
    """AttnLRP gradient of the logit at the token embeddings.

    Parameters
    ----------
    network
        In evaluation mode.
    tokens
        (B, N) int, padded with 0.

    Returns
    -------
    (B, N, D); times the embeddings it is the relevance of the tokens, in logits.

    References
    ----------
    Achtibat et al. 2024, AttnLRP; Arras et al. 2025 (the form as a modified gradient).
    """
    embeddings = network.embed(tokens).detach().requires_grad_()
    with attnlrp_rules(network), torch.enable_grad():
        logits = network.classify(embeddings, tokens != PAD)
    return torch.autograd.grad(logits.sum(), embeddings)[0]


def project_to_letters(gradient: Tensor, tokens: Tensor, table: Tensor, tokenizer: KmerTokenizer, length: int) -> Tensor:
    """Turn a gradient at tokens into the score of every letter at every position.

    The hypothetical score of letter b at position p is the sum, over the tokens that cover p, of
    gradient . (embedding of the token with p changed to b - embedding of the token). With k = 3 and stride 1, position 5 is covered
    by the tokens at 3, 4 and 5. The letter that stands there scores 0. For a network that is linear in its embeddings this is
    exactly what the substitution does to the logit.

    Parameters
    ----------
    gradient
        (B, N, D) at the token embeddings.
    tokens
        (B, N) int.
    table
        (V, D) embedding of each token.
    tokenizer
        Whose tokens these are.
    length
        L, letters; all tokens lie within.

    Returns
    -------
    (B, L, A) in logits, not centred; [UNK] and padding give 0.
    """
    size, k, stride = len(tokenizer.alphabet.letters), tokenizer.k, tokenizer.stride
    num_tokens = tokens.shape[1]
    scores = gradient.new_zeros(tokens.shape[0], length, size)
    real = (tokens >= FIRST_KMER)[..., None]  # (B, N, 1)
    kmers = (tokens.long() - FIRST_KMER).clamp(min=0)
    before = (gradient * table[kmers + FIRST_KMER]).sum(-1, keepdim=True)  # (B, N, 1)
    letters = torch.arange(size, device=tokens.device)
    for offset in range(k):
        place = size ** (k - 1 - offset)  # a k-mer's index is its letters as digits, the first the most significant
        letter = kmers // place % size
        changed = kmers[..., None] + (letters - letter[..., None]) * place + FIRST_KMER  # (B, N, A)
        effect = torch.einsum("bnd,bnad->bna", gradient, table[changed]) - before
        scores[:, offset : offset + (num_tokens - 1) * stride + 1 : stride] += effect * real
    return scores


def attnlrp_scores(scorer: Scorer, letters: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Hypothetical score of each letter at each position of a batch, by AttnLRP.

    Parameters
    ----------
    scorer
        The model.
    letters
        (B, L) ASCII, upper case, padded with 0; L >= k.

    Returns
    -------
    (B, L, A) in logits, centred: at each position the mean over the letters is 0. Padding and letters that stand in no whole,
    unambiguous k-mer are 0.
    """
    tokens = scorer.tokens(letters)
    table = scorer.network.embed(torch.arange(scorer.tokenizer.vocabulary_size, device=scorer.device)[None])[0].detach()
    gradient = embedding_gradient(scorer.network, tokens)
    scores = project_to_letters(gradient, tokens, table, scorer.tokenizer, letters.shape[1]).float().cpu().numpy()
    return centred(scores)


def attnlrp_importance(scorer: Scorer, sequences: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Importance of each letter by AttnLRP alone, one (L,) array a sequence; without the forward passes of mutagenesis."""
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(sequences), BATCH):
        batch = list(sequences[start : start + BATCH])
        rows = importance(attnlrp_scores(scorer, pad_letters(batch)))
        found += [row[: len(letters)] for row, letters in zip(rows, batch, strict=True)]
    return found


def centred(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """`scores` (..., A) less their mean over the letters, so that a position is not relevant for being compared with one letter."""
    return scores - scores.mean(axis=-1, keepdims=True)


def importance(hypothetical: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much a position matters, whatever letter stands there: the L2 norm over its centred scores, (..., A) -> (...)."""
    return np.linalg.norm(hypothetical, axis=-1)


def _share(*shares: float) -> Callable[[nn.Module, Any, tuple[Tensor, ...]], None]:
    def rule(module: nn.Module, inputs: Any, outputs: tuple[Tensor, ...]) -> None:
        for output, share in zip(outputs, shares, strict=True):
            output.register_hook(lambda gradient, share=share: gradient * share)

    return rule


def _constant_deviation(module: nn.LayerNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    deviating = inputs[0] - inputs[0].mean(-1, keepdim=True)
    normal = deviating / (deviating.square().mean(-1, keepdim=True) + module.eps).sqrt().detach()
    return normal if module.weight is None else normal * module.weight + module.bias


def _constant_gate(module: nn.GELU, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    # At 0 the gate is 0 / 0; its limit for GELU is 1/2.
    gate = torch.where(x.abs() < 1e-6, 0.5, output / torch.where(x.abs() < 1e-6, 1.0, x)).detach()
    return x * gate
