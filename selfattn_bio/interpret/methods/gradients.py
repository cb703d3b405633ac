"""Methods by gradient: AttnLRP, CP-LRP, the plain gradient, integrated gradients.

Hides: batches and the path from a reference. Scores at tokens go to letters by `relevance.project_to_letters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.methods.base import Letters, Scores, Scoring
from selfattn_bio.interpret.relevance import (
    ATTNLRP,
    CP_LRP,
    FIRST_KMER,
    PLAIN,
    Rules,
    backward_batches,
    embedding_table,
    gradient_at,
    gradient_scores,
    letter_parts,
    project_to_letters,
)
from selfattn_bio.interpret.targets import Target
from selfattn_bio.scoring.scorer import Scorer


class _OneBackward(Scoring):
    """One backward pass under rules."""

    rules: ClassVar[Rules]

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`: gradient . (embedding with the letter there - embedding), summed over the tokens that cover it."""
        found: list[Scores] = []
        for batch in backward_batches(letters):
            rows = gradient_scores(scorer, pad_letters(list(letters[batch])), self.rules, partial(target.of, scorer))
            found += [row[: len(sequence)] for row, sequence in zip(rows, letters[batch], strict=True)]
        return found


@dataclass(frozen=True)
class AttnLRP(_OneBackward):
    """Relevance by the rules of AttnLRP. Source: Achtibat et al. 2024."""

    name: ClassVar[str] = "attnlrp"
    rules: ClassVar[Rules] = ATTNLRP


@dataclass(frozen=True)
class CPLRP(_OneBackward):
    """Relevance with the attention weights as constants. Source: Ali et al. 2022."""

    name: ClassVar[str] = "cp_lrp"
    rules: ClassVar[Rules] = CP_LRP


@dataclass(frozen=True)
class Gradient(_OneBackward):
    """The plain gradient, times what a letter changes. Source: Simonyan et al. 2014."""

    name: ClassVar[str] = "gradient"
    rules: ClassVar[Rules] = PLAIN


@dataclass(frozen=True)
class IntegratedGradients(Scoring):
    """The mean gradient on the way from the mean of all k-mers to the sequence.

    The scores of the letters that stand there add up to what the output is beside that of the mean k-mer everywhere (but for the error of
    the sum over `steps`): a k-mer's score is divided among its letters by `letter_parts`. Source: Sundararajan et al. 2017.

    Parameters
    ----------
    steps
        Points on the way, the middles of as many equal parts.

    Raises
    ------
    ValueError
        If `steps` is less than 1.
    """

    name: ClassVar[str] = "integrated_gradients"
    steps: int = 20

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`."""
        table, found = embedding_table(scorer), []
        parts, mean = letter_parts(table, scorer.tokenizer), table[FIRST_KMER:].mean(0)
        for batch in backward_batches(letters):
            tokens = scorer.tokens_of(letters[batch])
            here = scorer.network.embed(tokens).detach()
            reference = torch.where((tokens >= FIRST_KMER)[..., None], mean, here)  # [UNK] stays: no letter of it has a score
            gradient = torch.zeros_like(here)
            for step in range(self.steps):
                on_the_way = reference + (here - reference) * ((step + 0.5) / self.steps)
                gradient += gradient_at(scorer.network, on_the_way, tokens, PLAIN, partial(target.of, scorer)) / self.steps
            rows = project_to_letters(gradient, tokens, parts, scorer.tokenizer, max(map(len, letters[batch])))
            rows -= rows.mean(-1, keepdim=True)
            found += [row[: len(sequence)] for row, sequence in zip(rows.float().cpu().numpy(), letters[batch], strict=True)]
        return found
