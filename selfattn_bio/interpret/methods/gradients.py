"""Methods by gradient: AttnLRP of one pass or of copies, CP-LRP, the plain gradient, integrated gradients.

Hides: batches and the path from a reference. Scores at tokens go to letters by `relevance.project_to_letters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from selfattn_bio.config import PER_PLACE, PER_TOKEN
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.methods.base import Letters, Scores, Scoring, ascii_letters, generator, known_positions
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


class ByGradient(Scoring):
    """A method whose passes are of the sequences as they come, each in its row."""


class _OneBackward(ByGradient):
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
class AttnLRPCopies(ByGradient):
    """The mean of AttnLRP over copies with some letters replaced, of both strands.

    One pass is a line through one point, and jumps with the maxima of the stem and the gates of the network; what a motif means stays where
    letters elsewhere differ. A sequence's own letters are scored, whatever stands there in the copy. Copies are of either strand in turn if
    the model was trained with both and has an output a sequence, else of the strand as given. Source: SmoothGrad (Smilkov et al. 2017),
    with letters for noise.

    Parameters
    ----------
    copies
        Backward passes.
    share
        Of the unambiguous letters that are drawn anew, evenly, in each copy; in [0, 1).
    seed
        Of the letters.

    Raises
    ------
    ValueError
        If `copies` is less than 1 or `share` is not in [0, 1).
    """

    name: ClassVar[str] = "attnlrp_copies"
    copies: int = 16
    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(f"copies must be >= 1, got {self.copies}")
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be in [0, 1), got {self.share}")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`."""
        alike = scorer.run.training.reverse_complement and scorer.run.objective.kind not in (*PER_TOKEN, *PER_PLACE)
        found: list[Scores] = []
        for batch in backward_batches(letters):
            total = [np.zeros((len(row), len(scorer.alphabet.letters)), dtype=np.float32) for row in letters[batch]]
            chance = [generator(self.seed, row) for row in letters[batch]]
            for number in range(self.copies):
                turned = alike and number % 2
                rows = [scorer.alphabet.reverse_complement(row) if turned else row for row in letters[batch]]
                copies = [self._copy(scorer, *each) for each in zip(rows, chance, strict=True)]
                scores = gradient_scores(scorer, pad_letters(rows), ATTNLRP, partial(target.of, scorer), at=pad_letters(copies))
                for of_row, sum_of_row in zip(scores, total, strict=True):
                    of_row = of_row[: len(sum_of_row)]
                    sum_of_row += of_row[::-1, ::-1] if turned else of_row  # the alphabet backwards is its complement
            found += [(sum_of_row / self.copies).astype(np.float32) for sum_of_row in total]
        return found

    def _copy(self, scorer: Scorer, letters: Letters, chance: np.random.Generator) -> Letters:
        copy, known = letters.copy(), known_positions(scorer, letters)
        drawn = known[chance.random(len(known)) < self.share]
        copy[drawn] = chance.choice(ascii_letters(scorer), len(drawn))
        return copy


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
class IntegratedGradients(ByGradient):
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
