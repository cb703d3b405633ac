"""Base classes of attribution methods, and methods that read attention weights.

Each method is a small frozen class. `name` is its `kind` in a run file.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.attribution.capture import read_letters
from selfattn_bio.attribution.rules import by_batches, importance
from selfattn_bio.attribution.targets import Target
from selfattn_bio.config.interpret import KNOWN_METHODS, Need
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import NO_EMBEDDINGS
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.kmers import pad_letters


class Method(ABC):
    """Attribution method: scores how much each letter matters to a model.

    Attributes
    ----------
    name
        The kind in a run file.
    """

    name: ClassVar[str]

    @property
    def needs(self) -> Need:
        """Return the parts of a network that the method uses, from the registry in `config`.

        A method that is not registered, and so has no kind in run files, can override this. One
        with settings inherits it from its section of the run file.
        """
        return KNOWN_METHODS[self.name][1] if self.name in KNOWN_METHODS else "layers"

    def check(self, scorer: Scorer) -> None:
        """Check that the method can explain the network of a model.

        Raises
        ------
        ArgumentError
            If the network lacks parts that the method needs.
        """
        network = scorer.network
        if self.needs == "outputs":
            return
        if not network.has_rules and self.needs in ("layers", "weights"):
            raise ArgumentError(
                f"method {self.name!r} cannot explain {network.name!r}, because it has rules for "
                "the layers of this package only",
                hint="Use saturation; or guided, gradient or integrated_gradients if a module has "
                "embed and classify, or the tokens of a pretrained model have one length",
            )
        if not network.has_embeddings:
            message = f"method {self.name!r} needs gradients at letters, but {NO_EMBEDDINGS}"
            raise ArgumentError(message, hint="Use the method saturation")

    @abstractmethod
    def attribution(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        """Return the importance of each letter, one non-negative (L,) array per sequence."""


class AttributionMethod(Method):
    """Method with hypothetical scores: one for each letter that could be at a position."""

    @abstractmethod
    def scores(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        """Compute hypothetical scores.

        Parameters
        ----------
        scorer
            The model.
        letters
            (L,) ASCII, upper case, for each sequence; L >= k. Lengths may differ.
        target
            Output to explain; must pass `Target.check`.

        Returns
        -------
        (L, A) for each sequence, in units of the output (logits): the effect of each letter at
        each position relative to the mean over the letters, which is 0. Positions that cannot be
        scored, such as ambiguous letters, are 0.
        """

    def attribution(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        """Return the L2 norm of `hypothetical_scores` at each position."""
        return [importance(each) for each in hypothetical_scores(self, scorer, letters, target)]


def hypothetical_scores(
    method: AttributionMethod, scorer: Scorer, letters: Letters, target: Target
) -> list[Scores]:
    """Return the scores of a method, combined over both strands and with the stack if present.

    Parameters and result are those of `AttributionMethod.scores`.

    Raises
    ------
    ArgumentError
        If the method returns arrays of another number or shape, or values that are not finite.
    """

    def scores_of(letters: Letters) -> list[Scores]:
        scores = [np.asarray(each) for each in method.scores(scorer, letters, target)]
        shapes = [(len(row), len(scorer.alphabet.letters)) for row in letters]
        is_finite = all(np.isfinite(each).all() for each in scores)
        if not is_finite or [each.shape for each in scores] != shapes:
            message = f"method {method.name!r} did not return a finite array (L, A) per sequence"
            raise ArgumentError(f"{message}, such as {shapes[0]} for the first")
        return scores

    scores = scores_of(letters)
    if scorer.run.both_strands and not scorer.run.shares_strands:
        other = scores_of([scorer.alphabet.reverse_complement(row) for row in letters])
        # reverse both axes: positions, and letters, because ACGT reversed is its complement
        scores = [
            ((one + two[::-1, ::-1]) / 2).astype(np.float32)
            for one, two in zip(scores, other, strict=True)
        ]
    if scorer.stack is None:
        return scores
    output, scale, span = target.column(scorer), target.scale(scorer), target.span(scorer)
    return scorer.stack.attributions(scores, letters, output, scale, span)


def known_positions(scorer: Scorer, letters: Ascii) -> Integers:
    """Return the positions of unambiguous letters."""
    return np.flatnonzero(scorer.alphabet.codes(letters) < len(scorer.alphabet.letters))


def ascii_letters(scorer: Scorer) -> Ascii:
    """Return the letters of the alphabet as ASCII codes, (A,)."""
    return np.frombuffer(scorer.alphabet.letters.encode(), dtype=np.uint8)


def generator(seed: int, letters: Ascii) -> np.random.Generator:
    """Return a random generator that depends only on the seed and the sequence.

    Results for a sequence therefore do not depend on the other sequences of the call.
    """
    return np.random.default_rng((seed, zlib.crc32(letters.tobytes())))


class AttentionMethod(Method):
    """Method that reads attention weights, by the method of `AttentionReading` of its name.

    It shows where the model attends but does not explain its output, and does not score
    substitutions. These methods were the least accurate in our comparison
    (docs/interpretation.md).
    """

    def attribution(self, scorer: Scorer, letters: Letters, target: Target) -> list[Scores]:
        def read(batch: Letters) -> Scores:
            padded = pad_letters(list(batch))
            reading = read_letters(scorer, padded, [""] * len(padded))
            return getattr(reading, self.name)()

        return by_batches(letters, read)


@dataclass(frozen=True)
class Received(AttentionMethod):
    """Raw attention received, averaged over layers and heads."""

    name: ClassVar[str] = "received"


@dataclass(frozen=True)
class Rollout(AttentionMethod):
    """Attention rollout through the layers (Abnar and Zuidema 2020)."""

    name: ClassVar[str] = "rollout"
