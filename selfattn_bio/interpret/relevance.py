"""Relevance as a modified gradient: the rules of AttnLRP and CP-LRP, and the way from tokens back to letters.

Hides: the rules, put on the network's modules as hooks for the length of a `with` block. The methods by gradient call it. A network without
the named modules (the CNN) is explained by its plain gradient.

Both are gradient x input where some kinds of operation share their relevance otherwise:

| operation | AttnLRP (Achtibat et al. 2024) | CP-LRP (Ali et al. 2022) | as a hook |
|---|---|---|---|
| weights(q, k) @ v | half to the weights (a quarter to q, to k), half to v | all to v | gradients of q, k, v times 1/4, 1/4, 1/2; 0, 0, 1 |
| LayerNorm, RecordNorm | the deviation is a constant | the same | (x - mean) / deviation.detach() |
| keys at length 1 (Reformer; by the same thought, no one's rule) | the length is a constant | the same | x / length.detach() |
| GELU | the gate act(x) / x is a constant | the same | x * (act(x) / x).detach() |

They act before and after the kernel, so they hold for every softmax kernel, sparse and long ones too. A position with keys or values of
its own (Shaw, Transformer-XL) has the shares of the tokens' keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfattn_bio.attention.mixers.reformer import UnitLength
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.encoder import QKVProjection
from selfattn_bio.model.heads import PoolingProjection
from selfattn_bio.model.paired import CrossProjection
from selfattn_bio.model.stem import RecordNorm
from selfattn_bio.scoring.scorer import BATCH_LETTERS, Scorer
from selfattn_bio.sequence.kmers import PAD, SPECIAL, KmerTokenizer

BATCH = 64  # sequences to a backward pass
FIRST_KMER = len(SPECIAL)  # tokens below stand for no letters

Letters = NDArray[np.uint8]
Rules = Mapping[type[nn.Module], Callable[..., Any]]
Chosen = Callable[[Tensor, Tensor], Tensor]  # outputs (B, C) or (B, N, C) and tokens (B, N) -> what is explained, (B,)


def all_outputs(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Every output: of a network with one a sequence, that one."""
    return outputs


def _share(*shares: float) -> Callable[[nn.Module, Any, tuple[Tensor, ...]], None]:
    def rule(module: nn.Module, inputs: Any, outputs: tuple[Tensor, ...]) -> None:
        for output, share in zip(outputs, shares, strict=True):
            output.register_hook(lambda gradient, share=share: gradient * share)

    return rule


def _constant_deviation(module: nn.LayerNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    deviating = inputs[0] - inputs[0].mean(-1, keepdim=True)
    normal = deviating / (deviating.square().mean(-1, keepdim=True) + module.eps).sqrt().detach()
    return normal if module.weight is None else normal * module.weight + module.bias


def _constant_spread(module: RecordNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    centred, deviation = module.parts(inputs[0], inputs[1] if len(inputs) > 1 else None)
    return module.scaled(centred / deviation.detach())


def _constant_gate(module: nn.GELU, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    with torch.no_grad():
        zero = x.abs() < 1e-6  # there the gate is 0 / 0; its limit for GELU is 1/2
        gate = (output / x.masked_fill(zero, 1.0)).masked_fill_(zero, 0.5)
    return x * gate


def _constant_length(module: UnitLength, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12).detach()


_CONSTANTS: Rules = {nn.LayerNorm: _constant_deviation, RecordNorm: _constant_spread, nn.GELU: _constant_gate, UnitLength: _constant_length}
_ATTENTION, _WEIGHTS_FIXED = _share(1 / 4, 1 / 4, 1 / 2), _share(0.0, 0.0, 1.0)
ATTNLRP: Rules = {QKVProjection: _ATTENTION, CrossProjection: _ATTENTION, PoolingProjection: _share(1 / 2, 1 / 2), **_CONSTANTS}
CP_LRP: Rules = {QKVProjection: _WEIGHTS_FIXED, CrossProjection: _WEIGHTS_FIXED, PoolingProjection: _share(0.0, 1.0), **_CONSTANTS}
PLAIN: Rules = {}  # the gradient as it is


@contextmanager
def relevance_rules(network: nn.Module, rules: Rules) -> Iterator[None]:
    """Let gradients through `network` follow `rules` inside the block; its outputs stay what they are.

    The hooks are removed at the end of the block, also after an exception.
    """
    handles = [module.register_forward_hook(rules[type(module)]) for module in network.modules() if type(module) in rules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradient_at(network: Network, embeddings: Tensor, tokens: Tensor, rules: Rules = ATTNLRP, chosen: Chosen = all_outputs) -> Tensor:
    """Gradient, by `rules`, of what is chosen of the outputs at the embeddings.

    Parameters
    ----------
    network
        In evaluation mode.
    embeddings
        (B, N, D): those of `tokens`, or others in their place.
    tokens
        (B, N) int, padded with 0.
    rules
        ATTNLRP, CP_LRP or PLAIN.
    chosen
        What is explained.

    Returns
    -------
    (B, N, D); by LRP, times the embeddings it is the relevance of the tokens, in units of the output.

    References
    ----------
    Achtibat et al. 2024, AttnLRP; Ali et al. 2022, CP-LRP; Arras et al. 2025 (the form as a modified gradient).
    """
    embeddings = embeddings.detach().requires_grad_()
    with relevance_rules(network, rules), torch.enable_grad():
        value = chosen(network.classify(embeddings, tokens != PAD), tokens)
    return torch.autograd.grad(value.sum(), embeddings)[0]


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
        (V, D) embedding of each token; or (k, V, D), of each of its letters the part that is its own (`letter_parts`).
    tokenizer
        Whose tokens these are.
    length
        L, letters; all tokens lie within.

    Returns
    -------
    (B, L, A) in units of the output, not centred; [UNK] and padding give 0.
    """
    size, k, stride = len(tokenizer.alphabet.letters), tokenizer.k, tokenizer.stride
    num_tokens = tokens.shape[1]
    scores = gradient.new_zeros(tokens.shape[0], length, size)
    real = (tokens >= FIRST_KMER)[..., None]  # (B, N, 1)
    kmers = (tokens.long() - FIRST_KMER).clamp(min=0)
    letters = torch.arange(size, device=tokens.device)
    for offset in range(k):
        place = size ** (k - 1 - offset)  # a k-mer's index is its letters as digits, the first the most significant
        letter = kmers // place % size
        changed = kmers[..., None] + (letters - letter[..., None]) * place + FIRST_KMER  # (B, N, A)
        of_letter = table if table.ndim == 2 else table[offset]
        before = (gradient * of_letter[kmers + FIRST_KMER]).sum(-1, keepdim=True)  # (B, N, 1)
        effect = torch.einsum("bnd,bnad->bna", gradient, of_letter[changed]) - before
        scores[:, offset : offset + (num_tokens - 1) * stride + 1 : stride] += effect * real
    return scores


def letter_parts(table: Tensor, tokenizer: KmerTokenizer) -> Tensor:
    """Divide what a k-mer's embedding has beside the mean of all k-mers among its letters, so that the parts add up to it.

    A letter's part is its Shapley value: what the mean embedding changes by when the letter is known, averaged over the orders in which
    the k letters may become known. Of k = 1 it is the embedding less the mean. The mean over the letters at a place is 0.

    Parameters
    ----------
    table
        (V, D) embedding of each token.
    tokenizer
        Whose tokens these are.

    Returns
    -------
    (k, V, D); 0 for the special tokens.

    References
    ----------
    Lundberg and Lee 2017, SHAP; exact here, as 2^k subsets are few.
    """
    k, size = tokenizer.k, len(tokenizer.alphabet.letters)
    kmers = table[FIRST_KMER:].unflatten(0, (size,) * k)  # one axis a letter
    known = {
        subset: kmers.mean([axis for axis in range(k) if axis not in subset], keepdim=True) if len(subset) < k else kmers
        for count in range(k + 1)
        for subset in combinations(range(k), count)
    }
    parts = table.new_zeros(k, *table.shape)
    for subset, without in known.items():
        for letter in set(range(k)) - set(subset):
            weight = 1 / (k * math.comb(k - 1, len(subset)))
            gained = (known[tuple(sorted((*subset, letter)))] - without).expand_as(kmers)
            parts[letter, FIRST_KMER:] += weight * gained.flatten(0, k - 1)
    return parts


def embedding_table(scorer: Scorer) -> Tensor:
    """(V, D) the embedding of each token."""
    return scorer.network.embed(torch.arange(scorer.tokenizer.vocabulary_size, device=scorer.device)[None])[0].detach()


def backward_batches(sequences: Sequence[Letters]) -> Iterator[slice]:
    """Neighbouring sequences in batches of at most BATCH, and of at most BATCH_LETTERS letters with their padding."""
    start = 0
    while start < len(sequences):
        end, longest = start, 0
        while end < len(sequences) and end - start < BATCH:
            longest = max(longest, len(sequences[end]))
            if end > start and (end + 1 - start) * longest > BATCH_LETTERS:
                break
            end += 1
        yield slice(start, end)
        start = end


def paired_batches(first: Sequence[Letters], partner: Sequence[Letters]) -> Iterator[slice]:
    """`backward_batches` of pairs: a batch of them is one of either input alone, too."""
    start = 0
    while start < len(first):
        end = start + min(next(backward_batches(side[start : start + BATCH])).stop for side in (first, partner))
        yield slice(start, end)
        start = end


def gradient_scores(
    scorer: Scorer, letters: Letters, rules: Rules = ATTNLRP, chosen: Chosen = all_outputs, at: Letters | None = None
) -> NDArray[np.float32]:
    """Hypothetical score of each letter at each position of a batch, by one backward pass.

    Parameters
    ----------
    scorer
        The model.
    letters
        (B, L) ASCII, upper case, padded with 0; L >= k.
    rules, chosen
        As of `gradient_at`.
    at
        Other letters of the same lengths, to take the gradient at.

    Returns
    -------
    (B, L, A) in units of the output, centred: at each position the mean over the letters is 0. Padding and letters that stand in no whole,
    unambiguous k-mer are 0.
    """
    tokens = scorer.tokens(letters)
    there = tokens if at is None else scorer.tokens(at)
    gradient = gradient_at(scorer.network, scorer.network.embed(there), there, rules, chosen)
    scores = project_to_letters(gradient, tokens, embedding_table(scorer), scorer.tokenizer, letters.shape[1])
    return centred(scores.float().cpu().numpy())


def attnlrp_importance(scorer: Scorer, sequences: Sequence[Letters]) -> list[NDArray[np.float32]]:
    """Importance of each letter by AttnLRP alone, one (L,) array a sequence; without the forward passes of mutagenesis."""
    found: list[NDArray[np.float32]] = []
    for batch in backward_batches(sequences):
        rows = importance(gradient_scores(scorer, pad_letters(list(sequences[batch]))))
        found += [row[: len(letters)] for row, letters in zip(rows, sequences[batch], strict=True)]
    return found


def centred(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """`scores` (..., A) less their mean over the letters, so that a position is not relevant for being compared with one letter."""
    return scores - scores.mean(axis=-1, keepdims=True)


def importance(hypothetical: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much a position matters, whatever letter stands there: the L2 norm over its centred scores, (..., A) -> (...)."""
    return np.linalg.norm(hypothetical, axis=-1)
