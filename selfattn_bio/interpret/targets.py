"""Which number of a model is explained: an output of a sequence, or the sum of an output over the tokens or places of a span.

Hides: how objectives name their outputs, and which tokens or places stand for a span of letters. Methods ask it for a number a sequence,
`explain` whether a model has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from selfattn_bio.config import PER_PLACE, PER_TOKEN, BinaryObjective, CausalObjective, MaskedObjective
from selfattn_bio.model.classifier import num_outputs
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.kmers import PAD, SPECIAL


@dataclass(frozen=True)
class Target:
    """What is explained.

    `Target()` is the logit of positives against negatives, `Target("helix")` that of a class, `Target("H", 10, 14)` of a model of
    labels a letter the sum of the logits of H over letters 10 to 13.

    Parameters
    ----------
    output
        Name of a class, label, column, of a part's as "part.name", of a strand ("+", "-"), or of a k-mer; or its number, from 0. Not
        needed where there is one only.
    start, end
        Of a model with outputs a token or place: the letters whose outputs are added up, 0-based half-open; all if not given. A token
        counts from its first letter to the next one's.
    """

    output: str | int | None = None
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        where = "" if self.start is None and self.end is None else f"[{self.start or 0}, {'' if self.end is None else self.end})"
        return f"{'' if self.output is None else self.output}{where}"

    def check(self, scorer: Scorer, lengths: Sequence[int]) -> None:
        """Whether the model has it, for sequences of such lengths.

        Raises
        ------
        ValueError
            If it has not.
        """
        self.column(scorer)
        if self.start is None and self.end is None:
            return
        if scorer.run.objective.kind not in (*PER_TOKEN, *PER_PLACE):
            raise ValueError(f"target must be without start and end, as objective {scorer.run.objective.kind!r} is of whole sequences")
        start, end, shortest = self.start or 0, self.end, min(lengths)
        if not 0 <= start < (shortest if end is None else end) <= shortest:
            raise ValueError(f"target must lie within each sequence, the shortest of {shortest} letters, got [{start}, {end})")
        if (num := scorer.tokenizer.num_tokens(shortest)) <= self._places(scorer)[0] * _pool(scorer):
            raise ValueError(f"target must hold a token of each sequence, the shortest of {num} tokens, got [{start}, {end})")

    def column(self, scorer: Scorer) -> int:
        """The number of the output among the model's.

        Raises
        ------
        ValueError
            If there is none such, or several and it is not said which.
        """
        if isinstance(self.output, str):
            names = output_names(scorer)
            if self.output not in names:
                raise ValueError(f"target output must be one of {_listed(names)}, got {self.output!r}")
            return names.index(self.output)
        size = num_outputs(scorer.run)
        if self.output is None and size > 1:
            raise ValueError(f"target output must be one of {_listed(output_names(scorer))}, got none")
        if not 0 <= (column := self.output or 0) < size:
            raise ValueError(f"target output must be in 0-{size - 1}, got {column}")
        return column

    def of(self, scorer: Scorer, outputs: Tensor, tokens: Tensor) -> Tensor:
        """The number of each sequence, with a gradient.

        Parameters
        ----------
        scorer
            Whose outputs they are.
        outputs
            (B, C), or (B, N, C) of tokens or places.
        tokens
            (B, N) int, padded with 0.

        Returns
        -------
        (B,), in units of the output.
        """
        outputs = outputs[..., self.column(scorer)]
        if outputs.ndim == 1:
            return outputs
        missing = -tokens.shape[1] % _pool(scorer)
        there = pad(tokens != PAD, (0, missing)).unflatten(1, (-1, _pool(scorer))).any(-1)  # (B, N)
        return (outputs * there)[:, slice(*self._places(scorer))].sum(1)

    def values(self, scorer: Scorer, letters: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """The number of each sequence, (n,): ASCII letters (n, L) padded with 0, or n arrays; in batches as the scorer makes them."""
        found = np.empty(len(letters))
        with torch.inference_mode():
            for rows in scorer.batches(letters):
                tokens = scorer.tokens_of([letters[i][: np.count_nonzero(letters[i])] for i in rows])
                found[rows] = self.of(scorer, scorer.network(tokens).double().mean(1), tokens).cpu().numpy()  # as in `Scorer.outputs`
        return found

    def _places(self, scorer: Scorer) -> tuple[int, int | None]:
        """First and last (exclusive) of the tokens or places of the span."""
        pitch = scorer.tokenizer.stride * _pool(scorer)
        return (self.start or 0) // pitch, None if self.end is None else -(-self.end // pitch)


def output_names(scorer: Scorer) -> list[str]:
    """What the outputs are called, in order."""
    match scorer.run.objective:
        case BinaryObjective():
            return ["positive"]
        case MaskedObjective() | CausalObjective():
            kmers = scorer.tokenizer.decode(np.arange(len(SPECIAL), scorer.tokenizer.vocabulary_size)[:, None])
            return [*SPECIAL, *(row.tobytes().decode() for row in kmers)]
        case objective:
            return list(objective.output_names)


def _pool(scorer: Scorer) -> int:
    """Tokens to an output: of a model with outputs a place those of a place."""
    return scorer.run.pitch // scorer.tokenizer.stride if scorer.run.objective.kind in PER_PLACE else 1


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
