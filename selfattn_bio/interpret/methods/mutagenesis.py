"""Methods by intervention: letters are changed and the model is asked again.

Hides: which letters are changed, how mutants share forward passes, and how measured scores are joined with guessed ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.interpret.methods.base import Letters, Scores, Scoring
from selfattn_bio.interpret.methods.gradients import AttnLRP
from selfattn_bio.interpret.relevance import centred, importance
from selfattn_bio.interpret.targets import Target
from selfattn_bio.scoring.scorer import Scorer

Positions = NDArray[np.int64]
TOGETHER = 90  # mutants: passes of so many sequences of 200 letters were fastest; those of short sequences share one
AT_ONCE = 1 << 26  # letters of mutants in memory


@dataclass(frozen=True)
class Saturation(Scoring):
    """Each letter replaced by each other one: what a substitution does to the output. Source: Alipanahi et al. 2015."""

    name: ClassVar[str] = "saturation"

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`."""
        positions = [known_positions(scorer, sequence) for sequence in letters]
        measured = substitution_effects(scorer, letters, positions, target)
        return [_at(sequence, where, centred(effects)) for sequence, where, effects in zip(letters, positions, measured, strict=True)]


@dataclass(frozen=True)
class Guided(Scoring):
    """AttnLRP says where to look, forward passes say what a substitution does.

    Of 300 letters and `fraction` .15, the 45 positions of highest AttnLRP importance are mutated to each of the 3 other letters:
    135 forward passes instead of 900. The other positions keep their AttnLRP scores, scaled so that both kinds have the same norm over
    the mutated positions: seqlets are called against the sequence's own background, which zeros would remove.

    Parameters
    ----------
    fraction
        Share of the unambiguous letters to mutate, in (0, 1].

    Raises
    ------
    ValueError
        If `fraction` is not in (0, 1].
    """

    name: ClassVar[str] = "guided"
    fraction: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`."""
        guessed = AttnLRP().scores(scorer, letters, target)
        positions = [most_important(scorer, *each, self.fraction) for each in zip(letters, guessed, strict=True)]
        measured = substitution_effects(scorer, letters, positions, target)
        return [joined(guess, where, centred(effects)) for guess, where, effects in zip(guessed, positions, measured, strict=True)]


@dataclass(frozen=True)
class Blocks(Scoring):
    """Each block of `width` letters replaced as a whole: for long sequences, of which single letters are too many.

    A block's score is what the output loses on average over `draws`. It is divided evenly among its letters, so that the scores of the
    letters that stand there add up to it; every other letter has the same share of the opposite. It says where, not which letter.
    Source: occlusion, Zeiler and Fergus 2014.

    Parameters
    ----------
    width
        Letters to a block; the last one may have fewer.
    by
        "shuffle" = its letters in random order, which keeps its composition; "random" = letters drawn evenly.
    draws
        Replacements of each block.
    seed
        Of the replacements.

    Raises
    ------
    ValueError
        If `width` or `draws` is less than 1, or `by` is neither.
    """

    name: ClassVar[str] = "blocks"
    width: int = 10
    by: Literal["shuffle", "random"] = "shuffle"
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "draws"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if self.by not in ("shuffle", "random"):
            raise ValueError(f"by must be 'shuffle' or 'random', got {self.by!r}")

    def scores(self, scorer: Scorer, letters: Sequence[Letters], target: Target) -> list[Scores]:
        """As `Scoring.scores`."""
        return [self._of_one(scorer, sequence, target, number) for number, sequence in enumerate(letters)]

    def _of_one(self, scorer: Scorer, letters: Letters, target: Target, number: int) -> Scores:
        rng = np.random.default_rng((self.seed, number))
        alphabet, starts = _ascii(scorer), np.arange(0, len(letters), self.width)
        lost = np.empty(len(starts))
        own = target.values(scorer, [letters])[0]
        some = max(1, AT_ONCE // (len(letters) * self.draws))
        for first in range(0, len(starts), some):
            mutants = np.repeat(letters[None], self.draws * len(starts[first : first + some]), axis=0)
            for row, start in enumerate(np.repeat(starts[first : first + some], self.draws)):
                block = mutants[row, start : start + self.width]
                block[:] = rng.permutation(block) if self.by == "shuffle" else rng.choice(alphabet, len(block))
            lost[first : first + some] = own - target.values(scorer, mutants).reshape(-1, self.draws).mean(1)
        known = known_positions(scorer, letters)
        share = lost[known // self.width] / np.bincount(known // self.width, minlength=len(starts))[known // self.width]
        stands = letters[known, None] == alphabet  # (P, A)
        return _at(letters, known, np.where(stands, share[:, None], -share[:, None] / (len(alphabet) - 1)))


def known_positions(scorer: Scorer, letters: Letters) -> Positions:
    """Where an unambiguous letter stands."""
    return np.flatnonzero(scorer.alphabet.codes(letters) < len(scorer.alphabet.letters))


def most_important(scorer: Scorer, letters: Letters, hypothetical: Scores, fraction: float) -> Positions:
    """The positions of highest importance among the unambiguous letters, `fraction` of them (rounded up), in sequence order."""
    candidates = known_positions(scorer, letters)
    rank = np.argsort(-importance(hypothetical[candidates]), kind="stable")
    return np.sort(candidates[rank[: math.ceil(fraction * len(candidates))]])


def joined(guessed: Scores, positions: Positions, measured: Scores) -> Scores:
    """`guessed` (L, A) with `measured` (P, A) at the positions, scaled so that both have the same norm over them."""
    if not len(positions):
        return guessed
    guess = np.linalg.norm(guessed[positions])
    scores = guessed * (np.linalg.norm(measured) / guess if guess > 0 else 0.0)
    scores[positions] = measured
    return scores.astype(np.float32)


def substitution_effects(scorer: Scorer, letters: Sequence[Letters], positions: Sequence[Positions], target: Target) -> list[Scores]:
    """What changing one letter does to the output.

    Parameters
    ----------
    scorer
        The model.
    letters
        (L,) ASCII of each sequence, unambiguous at its positions.
    positions
        (P,) 0-based, of each sequence.
    target
        Of which output.

    Returns
    -------
    Of each sequence (P, A): output with the letter there less the output of the sequence; 0 for the letter that stands there.
    """
    effects = [np.zeros((len(where), len(_ascii(scorer))), dtype=np.float32) for where in positions]
    for group in _groups(scorer, letters, positions):
        mutants: list[Letters] = []
        changes = []
        for number, part in group:
            of_one, at, letter = _mutants(scorer, letters[number], positions[number][part])
            changes.append((number, part.start + at, letter, slice(len(mutants), len(mutants) + len(of_one) - 1)))
            mutants.extend(of_one)
        values = target.values(scorer, mutants)
        for number, at, letter, rows in changes:
            effects[number][at, letter] = values[rows] - values[rows.stop]
    return effects


def _groups(scorer: Scorer, letters: Sequence[Letters], positions: Sequence[Positions]) -> Iterator[list[tuple[int, slice]]]:
    """Sequences, and which of their positions, whose mutants are scored together: TOGETHER mutants or a few more, AT_ONCE letters."""
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


def _mutants(scorer: Scorer, letters: Letters, positions: Positions) -> tuple[Letters, Positions, Positions]:
    """(P x (A - 1) + 1, L), the last of them the sequence itself; of each mutant which of the positions and which letter."""
    alphabet = _ascii(scorer)
    at, letter = np.nonzero(letters[positions][:, None] != alphabet)  # each (P x (A - 1),)
    mutants = np.repeat(letters[None], len(at) + 1, axis=0)
    mutants[np.arange(len(at)), positions[at]] = alphabet[letter]
    return mutants, at, letter


def _ascii(scorer: Scorer) -> Letters:
    return np.frombuffer(scorer.alphabet.letters.encode(), dtype=np.uint8)


def _at(letters: Letters, positions: Positions, scores: NDArray[np.floating]) -> Scores:
    """(L, A), 0 but for `scores` (P, A) at the positions."""
    found = np.zeros((len(letters), scores.shape[1]), dtype=np.float32)
    found[positions] = scores
    return found
