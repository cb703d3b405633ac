"""Attribution by modified gradients: rules of AttnLRP and CP-LRP, and projection to letters.

The rules are hooks on modules of the network, installed for the duration of a `with` block. A
network without these modules (the CNN) is explained by its plain gradient.

Both methods are gradient x input with modified gradients for some operations:

| operation | AttnLRP (Achtibat et al. 2024) | CP-LRP (Ali et al. 2022) |
|---|---|---|
| weights(q, k) @ v | a quarter to q, a quarter to k, half to v | all to v |
| LayerNorm, RecordNorm | the deviation is a constant | the same |
| GELU | the gate act(x) / x is a constant | the same |

As hooks:

- attention: gradients of q, k, v times 1/4, 1/4, 1/2 (AttnLRP) or 0, 0, 1 (CP-LRP)
- normalisation: (x - mean) / deviation.detach()
- GELU: x * (act(x) / x).detach()

The hooks act before and after the attention kernel and therefore work with every softmax kernel,
including sparse and long ones. Keys or values of relative positions (Shaw, Transformer-XL) are
scaled like those of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from selfattn_bio.arrays import Scores
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.convolution import shifted
from selfattn_bio.model.encoder import QKVProjection
from selfattn_bio.model.heads import PoolingProjection
from selfattn_bio.model.paired import CrossProjection
from selfattn_bio.model.stem import RecordNorm
from selfattn_bio.scoring.scorer import BATCH_LETTERS, Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.kmers import PAD, SPECIAL, KmerTokenizer

BATCH = 128  # sequences per backward pass
FIRST_KMER = len(SPECIAL)  # smaller token numbers are special tokens, without letters

Rules = Mapping[type[nn.Module], Callable[..., Any]]
# outputs (B, C) or (B, N, C) and tokens (B, N) to explained values (B,)
Chosen = Callable[[Tensor, Tensor], Tensor]


def all_outputs(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Return the outputs unchanged: networks with one output per sequence need no selection."""
    return outputs


def _scaled(*factors: float) -> Callable[[nn.Module, Any, tuple[Tensor, ...]], None]:
    def rule(module: nn.Module, inputs: Any, outputs: tuple[Tensor, ...]) -> None:
        for output, factor in zip(outputs, factors, strict=True):
            output.register_hook(lambda gradient, factor=factor: gradient * factor)

    return rule


def _constant_deviation(module: nn.LayerNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    deviating = inputs[0] - inputs[0].mean(-1, keepdim=True)
    normal = deviating / (deviating.square().mean(-1, keepdim=True) + module.eps).sqrt().detach()
    scaled = normal if module.weight is None else normal * module.weight
    return scaled if module.bias is None else scaled + module.bias


def _constant_spread(module: RecordNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    centred, deviation = module.parts(inputs[0], inputs[1] if len(inputs) > 1 else None)
    return module.scaled(centred / deviation.detach())


def _constant_gate(module: nn.GELU, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    # the gate is 0 / 0 at 0; the limit of GELU is 1/2
    return x * (output.detach() / x.detach()).nan_to_num_(nan=0.5)


_CONSTANTS: Rules = {
    nn.LayerNorm: _constant_deviation,
    RecordNorm: _constant_spread,
    nn.GELU: _constant_gate,
}
_ATTENTION, _WEIGHTS_FIXED = _scaled(1 / 4, 1 / 4, 1 / 2), _scaled(0.0, 0.0, 1.0)
ATTNLRP: Rules = {
    QKVProjection: _ATTENTION,
    CrossProjection: _ATTENTION,
    PoolingProjection: _scaled(1 / 2, 1 / 2),
    **_CONSTANTS,
}
CP_LRP: Rules = {
    QKVProjection: _WEIGHTS_FIXED,
    CrossProjection: _WEIGHTS_FIXED,
    PoolingProjection: _scaled(0.0, 1.0),
    **_CONSTANTS,
}
PLAIN: Rules = {}  # unmodified gradient


@contextmanager
def attribution_rules(network: nn.Module, rules: Rules) -> Iterator[None]:
    """Apply `rules` to gradients through `network` inside the block; outputs do not change.

    The hooks are removed at the end of the block, also after an exception.
    """
    with ExitStack() as hooks:
        for module in network.modules():
            if type(module) in rules:
                hooks.enter_context(module.register_forward_hook(rules[type(module)]))
        yield


def gradient_at(
    network: Network,
    tokens: Tensor,
    shift: Tensor,
    rules: Rules = ATTNLRP,
    chosen: Chosen = all_outputs,
) -> Tensor:
    """Return the gradient of selected outputs at a shift of the embeddings, modified by `rules`.

    Parameters
    ----------
    network
        In evaluation mode.
    tokens
        (B, N) int, padded with 0.
    shift
        (S, N, D). Row i is added to the embeddings of rows i, i + S, i + 2 S, ... of the tokens,
        which have the same length, and its gradient is the sum of theirs.
    rules
        ATTNLRP, CP_LRP or PLAIN.
    chosen
        Selects the explained value from the outputs.

    Returns
    -------
    (B, N, D). With LRP rules, this times the embeddings is the attribution of the tokens, in units
    of the output.

    References
    ----------
    Achtibat et al. 2024, AttnLRP; Ali et al. 2022, CP-LRP; Arras et al. 2025 (LRP as a modified
    gradient).
    """
    shift = shift.detach().requires_grad_()
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)  # allows faster kernels
    try:
        with attribution_rules(network, rules), torch.enable_grad():
            mask = tokens != PAD
            x = shifted(network.inputs(tokens), shift * mask[: len(shift), :, None])
            value = chosen(network.classify(x, mask), tokens)
        return torch.autograd.grad(value.sum(), shift)[0]
    finally:
        for parameter in learned:
            parameter.requires_grad_()


def project_to_letters(
    gradient: Tensor, tokens: Tensor, table: Tensor, tokenizer: KmerTokenizer, length: int
) -> Tensor:
    """Convert a gradient at tokens to a score of every letter at every position.

    The hypothetical score of letter b at position p is the sum, over the tokens that cover p, of
    gradient . (embedding of the token with p changed to b - embedding of the token). With k = 3
    and stride 1, position 5 is covered by the tokens at 3, 4 and 5. The observed letter scores 0.
    For a network that is linear in its embeddings, the score is exactly the effect of the
    substitution on the logit.

    Parameters
    ----------
    gradient
        (B, N, D) at the token embeddings.
    tokens
        (B, N) int.
    table
        (V, D) embedding of each token; or (k, V, D), the part of the embedding that belongs to each
        letter of the token (`letter_parts`).
    tokenizer
        Tokenizer of `tokens`.
    length
        L, number of letters; all tokens are within.

    Returns
    -------
    (B, L, A) in units of the output, not centred. [UNK] and padding contribute 0.
    """
    size, k, stride = len(tokenizer.alphabet.letters), tokenizer.k, tokenizer.stride
    num_tokens = tokens.shape[1]
    scores = gradient.new_zeros(tokens.shape[0], length, size)
    real = (tokens >= FIRST_KMER)[..., None]  # (B, N, 1)
    kmers = (tokens.long() - FIRST_KMER).clamp(min=0)
    letters = torch.arange(size, device=tokens.device)
    for offset in range(k):
        # the index of a k-mer has its letters as digits, the first most significant
        weight = size ** (k - 1 - offset)
        letter = kmers // weight % size
        # (B, N, A)
        changed = kmers[..., None] + (letters - letter[..., None]) * weight + FIRST_KMER
        of_letter = table if table.ndim == 2 else table[offset]
        before = (gradient * of_letter[kmers + FIRST_KMER]).sum(-1, keepdim=True)  # (B, N, 1)
        effect = torch.einsum("bnd,bnad->bna", gradient, of_letter[changed]) - before
        scores[:, offset : offset + (num_tokens - 1) * stride + 1 : stride] += effect * real
    return scores


def letter_parts(table: Tensor, tokenizer: KmerTokenizer) -> Tensor:
    """Divide the embedding of each k-mer, minus the mean over k-mers, among its letters.

    The part of a letter is its Shapley value: the change of the mean embedding when the letter
    becomes known, averaged over the orders in which the k letters may become known. With k = 1 it
    is the embedding minus the mean. The parts sum to the embedding minus the mean, and the mean
    over the letters at a position is 0.

    Parameters
    ----------
    table
        (V, D) embedding of each token.
    tokenizer
        Tokenizer of these tokens.

    Returns
    -------
    (k, V, D); 0 for the special tokens.

    References
    ----------
    Lundberg and Lee 2017 (SHAP); computed exactly, because there are only 2^k subsets.
    """
    k, size = tokenizer.k, len(tokenizer.alphabet.letters)
    kmers = table[FIRST_KMER:].unflatten(0, (size,) * k)  # one axis per letter
    known = {
        subset: kmers.mean([axis for axis in range(k) if axis not in subset], keepdim=True)
        if len(subset) < k
        else kmers
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
    """Return the embedding of each token, (V, D)."""
    return scorer.network.embed(
        torch.arange(scorer.tokenizer.vocabulary_size, device=scorer.device)[None]
    )[0].detach()


def backward_batches(*inputs: Letters, copies: int = 1) -> Iterator[slice]:
    """Yield slices of one or more sequences for a backward pass over copies of each.

    A pass has at most BATCH rows and BATCH_LETTERS letters, padding included, if there is more than
    one sequence. Several inputs have the same number of sequences, and the limits apply to each.
    """
    start, number = 0, len(inputs[0])
    while start < number:
        end, longest = start, 0
        while end < number:
            longest = max(longest, *(len(sequences[end]) for sequences in inputs))
            rows = (end + 1 - start) * copies
            if end > start and (rows > BATCH or rows * longest > BATCH_LETTERS):
                break
            end += 1
        yield slice(start, end)
        start = end


def by_batches(sequences: Letters, score: Callable[[Letters], Scores]) -> list[Scores]:
    """Score `backward_batches` of sequences, and cut each row of (B, L, ...) to its length."""
    found: list[Scores] = []
    for batch in backward_batches(sequences):
        rows = score(sequences[batch])
        found += [row[: len(letters)] for row, letters in zip(rows, sequences[batch], strict=True)]
    return found


def gradient_scores(
    scorer: Scorer,
    letters: Ascii,
    rules: Rules = ATTNLRP,
    chosen: Chosen = all_outputs,
    at: Ascii | None = None,
) -> Scores:
    """Compute hypothetical scores of a batch with one backward pass.

    Parameters
    ----------
    scorer
        The model.
    letters
        (B, L) ASCII, upper case, padded with 0; L >= k.
    rules, chosen
        As in `gradient_at`.
    at
        (C B, L), other letters of the same lengths at which the gradient is taken: C copies of row
        i in the rows i, i + B, i + 2 B, ... Their scores are summed.

    Returns
    -------
    (B, L, A) in units of the output, centred: the mean over the letters at each position is 0.
    Padding and letters outside complete, unambiguous k-mers are 0.
    """
    tokens, table = scorer.tokens(letters), embedding_table(scorer)
    there = tokens if at is None else scorer.tokens(at)
    shift = table.new_zeros(*tokens.shape, table.shape[1])
    gradient = gradient_at(scorer.network, there, shift, rules, chosen)
    scores = project_to_letters(gradient, tokens, table, scorer.tokenizer, letters.shape[1])
    return centred(scores.float().cpu().numpy())


def centred(scores: Scores) -> Scores:
    """Subtract the mean over the letters from scores (..., A).

    Otherwise importance would depend on the letter that the scores are relative to.
    """
    return scores - scores.mean(axis=-1, keepdims=True)


def importance(hypothetical: Scores) -> Scores:
    """Return the L2 norm over the letters, (..., A) to (...): the importance of each position."""
    return np.linalg.norm(hypothetical, axis=-1)
