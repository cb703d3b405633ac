"""Attribution by mutagenesis: substitute letters and score the mutants.

Mutants of short sequences share forward passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.attribution.methods.base import AttributionMethod, ascii_letters, known_positions
from selfattn_bio.attribution.methods.gradients import AttnLRP
from selfattn_bio.attribution.rules import centred, importance
from selfattn_bio.attribution.targets import Target
from selfattn_bio.config.interpret import GuidedMethod
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters

TOGETHER = 90  # mutants per pass: the fastest number for sequences of 200 bp
AT_ONCE = 1 << 26  # letters of mutants in memory


@dataclass(frozen=True)
class Saturation(AttributionMethod):
    """Saturation mutagenesis: score every single substitution.

    References
    ----------
    Alipanahi et al. 2015.
    """

    name: ClassVar[str] = "saturation"

    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        positions = [known_positions(scorer, sequence) for sequence in letters]
        measured = substitution_effects(scorer, letters, positions, target)
        size = len(scorer.alphabet.letters)
        found = [np.zeros((len(sequence), size), dtype=np.float32) for sequence in letters]
        for scores, where, effects in zip(found, positions, measured, strict=True):
            scores[where] = centred(effects)
        return found


class Guided(GuidedMethod, AttributionMethod):
    """Mutagenesis at the positions with the highest AttnLRP attribution.

    With 300 positions and `fraction` 0.15, the 45 positions with the highest attribution are
    mutated to the 3 other bases: 135 forward passes instead of 900. The other positions keep their
    AttnLRP scores, scaled so that both kinds of scores have the same norm over the mutated
    positions. They are not set to 0 because seqlets are called against the background of the
    sequence itself.

    Parameters
    ----------
    fraction
        Fraction of the unambiguous letters to mutate, in (0, 1].
    """

    name: ClassVar[str] = "guided"

    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        guessed = AttnLRP().scores(scorer, letters, target)
        positions = [
            most_important(scorer, *each, self.fraction)
            for each in zip(letters, guessed, strict=True)
        ]
        measured = substitution_effects(scorer, letters, positions, target)
        return [
            joined(guess, where, centred(effects))
            for guess, where, effects in zip(guessed, positions, measured, strict=True)
        ]


def most_important(
    scorer: Scorer, letters: Ascii, hypothetical: Scores, fraction: float
) -> Integers:
    """Return the unambiguous positions with the highest importance, in sequence order.

    `fraction` of them are returned, rounded up.
    """
    candidates = known_positions(scorer, letters)
    rank = np.argsort(-importance(hypothetical[candidates]), kind="stable")
    return np.sort(candidates[rank[: math.ceil(fraction * len(candidates))]])


def joined(guessed: Scores, positions: Integers, measured: Scores) -> Scores:
    """Replace `guessed` (L, A) by `measured` (P, A) at the positions.

    The remaining scores are scaled so that both have the same norm over the positions.
    """
    if not len(positions):
        return guessed
    guess = np.linalg.norm(guessed[positions])
    scores = guessed * (np.linalg.norm(measured) / guess if guess > 0 else 0.0)
    scores[positions] = measured
    return scores.astype(np.float32)


def substitution_effects(
    scorer: Scorer, letters: Letters, positions: Sequence[Integers], target: Target
) -> list[Scores]:
    """Measure how single substitutions change the output.

    Parameters
    ----------
    scorer
        The model.
    letters
        (L,) ASCII for each sequence, unambiguous at its positions.
    positions
        (P,) 0-based, for each sequence.
    target
        Output to measure.

    Returns
    -------
    (P, A) for each sequence: output with the substitution minus output of the sequence; 0 for the
    observed letter.
    """
    alphabet = ascii_letters(scorer)
    effects = [np.zeros((len(where), len(alphabet)), dtype=np.float32) for where in positions]
    for group in _groups(scorer, letters, positions):
        mutants: list[Ascii] = []
        changes = []
        for number, part in group:
            sequence, where = letters[number], positions[number][part]
            at, letter = np.nonzero(sequence[where][:, None] != alphabet)  # each (P x (A - 1),)
            of_one = np.repeat(sequence[None], len(at) + 1, axis=0)  # the last is the sequence
            of_one[np.arange(len(at)), where[at]] = alphabet[letter]
            rows = slice(len(mutants), len(mutants) + len(at))
            changes.append((number, part.start + at, letter, rows))
            mutants.extend(of_one)
        values = target.values(scorer, mutants)
        for number, at, letter, rows in changes:
            effects[number][at, letter] = values[rows] - values[rows.stop]
    return effects


def _groups(
    scorer: Scorer, letters: Letters, positions: Sequence[Integers]
) -> Iterator[list[tuple[int, slice]]]:
    """Yield sequences and slices of their positions whose mutants are scored together.

    A group ends when it has TOGETHER mutants or more. A slice has at most AT_ONCE letters of
    mutants.
    """
    group: list[tuple[int, slice]] = []
    size = 0
    for number, (sequence, where) in enumerate(zip(letters, positions, strict=True)):
        some = max(1, AT_ONCE // (len(sequence) * len(scorer.alphabet.letters)))
        for first in range(0, len(where), some):
            group.append((number, slice(first, first + some)))
            size += len(where[first : first + some]) * (len(scorer.alphabet.letters) - 1)
            if size >= TOGETHER:
                yield group
                group, size = [], 0
    if group:
        yield group
