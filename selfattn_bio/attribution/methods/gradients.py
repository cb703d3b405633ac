"""Gradient-based attribution: AttnLRP (single or averaged), CP-LRP, gradient, integrated gradients.

`rules.project_to_letters` converts gradients at tokens to scores of letters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from selfattn_bio.arrays import Scores
from selfattn_bio.attribution.methods.base import (
    AttributionMethod,
    ascii_letters,
    generator,
    known_positions,
)
from selfattn_bio.attribution.rules import (
    ATTNLRP,
    CP_LRP,
    FIRST_KMER,
    PLAIN,
    Rules,
    backward_batches,
    by_batches,
    embedding_table,
    gradient_at,
    gradient_scores,
    letter_parts,
    project_to_letters,
)
from selfattn_bio.attribution.targets import Target
from selfattn_bio.config.interpret import AttnLRPCopiesMethod, IntegratedGradientsMethod
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.kmers import pad_letters


class ByGradient(AttributionMethod):
    """Method whose passes process a batch of sequences, with `rows_per_sequence` rows for each."""

    rows_per_sequence = 1


class _OneBackward(ByGradient):
    """Method with a single backward pass under given propagation rules."""

    rules: ClassVar[Rules]

    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        """See `AttributionMethod.scores`.

        The score of a letter is gradient . (embedding with that letter - embedding), summed over
        the tokens that cover the position.
        """
        chosen = partial(target.of, scorer)
        return by_batches(
            letters,
            lambda batch: gradient_scores(scorer, pad_letters(list(batch)), self.rules, chosen),
        )


@dataclass(frozen=True)
class AttnLRP(_OneBackward):
    """Attribution by AttnLRP with one backward pass.

    References
    ----------
    Achtibat et al. 2024.
    """

    name: ClassVar[str] = "attnlrp"
    rules: ClassVar[Rules] = ATTNLRP


class AttnLRPCopies(AttnLRPCopiesMethod, ByGradient):
    """Mean of AttnLRP over copies of the sequence with some random substitutions, on both strands.

    A single pass is a linear approximation at one point, and changes abruptly with max pooling and
    activations of the network. The effect of a motif, however, remains if letters elsewhere change.
    Scores refer to the letters of the original sequence, also at substituted positions. Copies
    alternate between the strands if the model was trained on both and has one output per sequence;
    otherwise the given strand is used.

    Parameters
    ----------
    copies
        Number of backward passes.
    fraction
        Fraction of the unambiguous letters that are resampled uniformly in each copy, in [0, 1).
    seed
        Seed for the substitutions.

    References
    ----------
    Smilkov et al. 2017 (SmoothGrad), here with substitutions instead of noise.
    """

    name: ClassVar[str] = "attnlrp_copies"

    @property
    def rows_per_sequence(self) -> int:  # type: ignore[override]
        """Return the number of copies."""
        return self.copies

    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        run = scorer.run
        both_strands = run.training.reverse_complement and run.objective.is_per_record
        found: list[Scores] = []
        for batch in backward_batches(letters, copies=self.copies):
            strands = [list(letters[batch])]
            if both_strands and self.copies > 1:
                strands.append([scorer.alphabet.reverse_complement(row) for row in strands[0]])
            chance = [generator(self.seed, row) for row in letters[batch]]
            copies: list[list[Ascii]] = [[] for _ in strands]
            for number in range(self.copies):
                strand = number % len(strands)
                copies[strand] += map(partial(self._copy, scorer), strands[strand], chance)
            sums = (self._sums(scorer, *each, target) for each in zip(strands, copies, strict=True))
            for given, *other in zip(*sums, strict=True):
                # the alphabet reversed is its complement
                total = sum((scores[::-1, ::-1] for scores in other), given)
                found.append((total / self.copies).astype(np.float32))
        return found

    def _sums(
        self, scorer: Scorer, rows: list[Ascii], copies: list[Ascii], target: Target
    ) -> list[Scores]:
        """Return the sum of the scores of all copies for each row, (L, A)."""
        padded, chosen = pad_letters(rows), partial(target.of, scorer)
        # several passes if the copies of a single row exceed the limits of a batch
        passes = [pad_letters(copies[part]) for part in backward_batches(copies)]
        total = np.sum([gradient_scores(scorer, padded, ATTNLRP, chosen, at) for at in passes], 0)
        return [scores[: len(row)] for scores, row in zip(total, rows, strict=True)]

    def _copy(self, scorer: Scorer, letters: Ascii, chance: np.random.Generator) -> Ascii:
        copy, known = letters.copy(), known_positions(scorer, letters)
        drawn = known[chance.random(len(known)) < self.fraction]
        copy[drawn] = chance.choice(ascii_letters(scorer), len(drawn))
        return copy


@dataclass(frozen=True)
class CPLRP(_OneBackward):
    """Attribution by CP-LRP, which treats attention weights as constants.

    References
    ----------
    Ali et al. 2022.
    """

    name: ClassVar[str] = "cp_lrp"
    rules: ClassVar[Rules] = CP_LRP


@dataclass(frozen=True)
class Gradient(_OneBackward):
    """Plain gradient times the change in embedding of a substitution.

    References
    ----------
    Simonyan et al. 2014.
    """

    name: ClassVar[str] = "gradient"
    rules: ClassVar[Rules] = PLAIN


class IntegratedGradients(IntegratedGradientsMethod, ByGradient):
    """Gradient averaged along the path from the mean of all k-mers to the sequence.

    The scores of the observed letters sum to the output minus the output for the mean k-mer at all
    positions, up to the numerical error of `steps`. The score of a k-mer is divided among its
    letters by `letter_parts`.

    Parameters
    ----------
    steps
        Number of points on the path, the midpoints of equal intervals.

    References
    ----------
    Sundararajan et al. 2017.
    """

    name: ClassVar[str] = "integrated_gradients"

    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        table, chosen = embedding_table(scorer), partial(target.of, scorer)
        parts, mean = letter_parts(table, scorer.tokenizer), table[FIRST_KMER:].mean(0)

        def integrated(batch: Letters) -> Scores:
            tokens = scorer.tokens_of(batch)
            here = scorer.network.embed(tokens).detach()
            # [UNK] stays as it is: its letters have no scores
            to_mean = torch.where((tokens >= FIRST_KMER)[..., None], mean - here, 0.0)
            gradient = torch.zeros_like(here)
            for step in range(self.steps):
                shift = to_mean * (1 - (step + 0.5) / self.steps)
                gradient += gradient_at(scorer.network, tokens, shift, PLAIN, chosen) / self.steps
            longest = max(map(len, batch))
            rows = project_to_letters(gradient, tokens, parts, scorer.tokenizer, longest)
            return (rows - rows.mean(-1, keepdim=True)).float().cpu().numpy()

        return by_batches(letters, integrated)
