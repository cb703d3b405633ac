"""Sample new sequences from a causal language model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import SPECIAL


def sample(
    model: Scorer | str | Path,
    *,
    number: int,
    length: int,
    start: str = "",
    temperature: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """Sample sequences from a causal language model, token by token.

    `sample("results/language/model", number=2, length=300)` returns two sequences of 300 bp.

    Parameters
    ----------
    model
        A model folder or the result of `load`, with objective "causal".
    number, length
        Number of sequences, and the length of each in positions.
    start
        Prefix of every sequence. Its length must be a multiple of the model's k. By default each
        sequence starts with one k-mer sampled uniformly.
    temperature
        Divisor of the logits. Values below 1 favour likely tokens.
    seed
        The same seed gives the same sequences on the same machine.

    Raises
    ------
    ValueError
        If the model is an ensemble or not causal, a number is not positive, or the length of
        `start` is not a multiple of k or exceeds `length`.
    """
    if not isinstance(model, Scorer | str | Path):
        raise ValueError(
            f"cannot sample from {type(model).__name__}; pass one model folder or one loaded model"
        )
    scorer = model if isinstance(model, Scorer) else load(model)
    k = scorer.tokenizer.k
    if not scorer.objective.can_sample:
        raise ValueError(
            f"cannot sample from a model of objective {scorer.run.objective.kind!r}; train one "
            "with objective 'causal'"
        )
    if min(number, length) < 1 or temperature <= 0:
        raise ValueError(
            f"number ({number}), length ({length}) and temperature ({temperature}) must be positive"
        )
    if len(start) % k or len(start) > length:
        raise ValueError(
            f"start has {len(start)} positions; it must consist of complete {k}-mers and not be "
            f"longer than length ({length})"
        )
    generator = torch.Generator().manual_seed(seed)
    if start:
        tokens = scorer.tokens_of([scorer.policy.letters_of(start)]).cpu().expand(number, -1)
    else:
        tokens = torch.randint(
            len(SPECIAL), scorer.tokenizer.vocabulary_size, (number, 1), generator=generator
        )
    with torch.inference_mode():
        while tokens.shape[1] * k < length:
            logits = (
                scorer.network(tokens.to(scorer.device)).mean(1)[:, -1].float().cpu() / temperature
            )
            logits[:, : len(SPECIAL)] = float("-inf")
            sampled = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, sampled], dim=1)
    letters = scorer.tokenizer.decode(tokens.numpy().astype(np.int64))
    return [row.tobytes().decode()[:length] for row in letters]
