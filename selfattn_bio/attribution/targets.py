"""Select the value to explain: an output of a sequence, or the sum of an output over a span.

Maps names of outputs to columns, and spans of letters to tokens or encoder positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from selfattn_bio.arrays import Floats
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.build import num_outputs
from selfattn_bio.objectives.outputs import NumberOutput, no_output_chosen, unknown_output
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters


@dataclass(frozen=True)
class Target:
    """Value of a model to explain.

    `Target()` is the logit of positives against negatives and `Target("helix")` the logit of a
    class. For a model with one label per letter, `Target("H")` is the mean log-odds of H over all
    letters, and `Target("H", 10, 14)` the sum of the logits of H over letters 10 to 13. For bins,
    `Target("+")` is the log of the expected number of points on the forward strand.

    Parameters
    ----------
    output
        Name of a class, label, column, strand ("+", "-") or k-mer, "part.name" for an output of a
        part, or a 0-based index. Not needed if there is only one output.
    start, end
        For models with outputs per token or encoder position: the letters whose outputs are
        summed, 0-based half-open. A token extends from its first letter to the first letter of the
        next token. If neither is given, the objective summarises the complete sequence
        (`Objective.record_outputs`); language models sum over all tokens.
    """

    output: str | int | None = None
    start: int | None = None
    end: int | None = None

    @classmethod
    def of_name(cls, target: Target | str | int | None) -> Target:
        """Return a target, or the complete output with this name or index, as a target.

        Raises
        ------
        ArgumentError
            If it is something else, such as a list of names.
        """
        if isinstance(target, Target):
            return target
        if target is not None and not isinstance(target, str | int):
            message = f"target is {target!r}; it must be one output, by name or index"
            raise ArgumentError(message, hint="Call the function once for each output")
        return cls(target)

    def label(self, scorer: Scorer) -> str:
        """Return the name of the output, followed by the span if there is one.

        Raises
        ------
        ArgumentError
            As for `column`.
        """
        return f"{output_names(scorer)[self.column(scorer)]}{self._span}"

    def is_number(self, scorer: Scorer) -> bool:
        """Return whether the value is the number of a record, and not that of a class or span."""
        numbers = [each for each in scorer.objective.outputs if isinstance(each, NumberOutput)]
        return not self._span and self.column(scorer) in [each.column for each in numbers]

    def __str__(self) -> str:
        return f"{'' if self.output is None else self.output}{self._span}"

    @property
    def _span(self) -> str:
        is_complete = self.start is None and self.end is None
        return "" if is_complete else f"[{self.start or 0}, {'' if self.end is None else self.end})"

    def check(self, scorer: Scorer, lengths: Sequence[int]) -> None:
        """Check that the model has this target for sequences of these lengths.

        Raises
        ------
        ArgumentError
            If it does not.
        """
        self.column(scorer)
        if self.start is None and self.end is None:
            return
        if scorer.run.objective.is_per_sequence:
            raise ArgumentError(
                f"objective {scorer.run.objective.kind!r} predicts complete sequences, so a target "
                "cannot have start or end"
            )
        start, end, shortest = self.start or 0, self.end, min(lengths)
        if not 0 <= start < (shortest if end is None else end) <= shortest:
            raise ArgumentError(
                f"target [{start}, {end}) is not within the shortest sequence, which has length "
                f"{shortest}"
            )
        num = scorer.tokenizer.num_tokens(shortest)
        if num <= self._positions(scorer)[0] * scorer.tokens_per_output:
            raise ArgumentError(
                f"target [{start}, {end}) contains no token of the shortest sequence, which has "
                f"{num} tokens"
            )

    def column(self, scorer: Scorer) -> int:
        """Return the index of the output.

        Raises
        ------
        ArgumentError
            If there is no such output, or the model has several and none is selected.
        """
        if isinstance(self.output, str):
            names = output_names(scorer)
            if self.output not in names:
                raise unknown_output(self.output, names)
            return names.index(self.output)
        size = num_outputs(scorer.run)
        if self.output is None and size > 1:
            raise no_output_chosen(output_names(scorer), "target")
        if not 0 <= (column := self.output or 0) < size:
            message = f"no output {column}; the outputs are numbered from 0 to {size - 1}"
            raise ArgumentError(message)
        return column

    def scale(self, scorer: Scorer) -> float:
        """Return the unit of the value of a sequence in those of the network's outputs."""
        scales = {each.column: each.scale for each in scorer.objective.outputs}
        has_scale = scorer.objective.section.is_per_sequence
        return scales.get(self.column(scorer), 1.0) if has_scale else 1.0

    def span(self, scorer: Scorer) -> slice | None:
        """Return the tokens or encoder positions whose outputs are summed; None without a span."""
        return slice(*self._positions(scorer)) if self._span else None

    def of(self, scorer: Scorer, outputs: Tensor, tokens: Tensor) -> Tensor:
        """Return the value of each sequence, with a gradient.

        Parameters
        ----------
        scorer
            The model.
        outputs
            (B, C), or (B, N, C) per token or encoder position.
        tokens
            (B, N) int, padded with 0.

        Returns
        -------
        (B,): logits of classes, numbers in the units of their column, up to a constant.
        """
        column = self.column(scorer)
        if outputs.ndim == 2:
            return outputs[:, column] * self.scale(scorer)
        if scorer.objective.outputs and not self._span:
            return scorer.of_records(outputs, tokens)[:, column]
        of_real = outputs[..., column] * scorer.is_real(tokens)
        return of_real[:, slice(*self._positions(scorer))].sum(1)

    def values(self, scorer: Scorer, letters: Ascii | Letters) -> Floats:
        """Compute the value of each sequence, (n,), in the batches of the scorer.

        `letters` are ASCII, (n, L) padded with 0 or n arrays.
        """

        def read(tokens: Tensor) -> Tensor:
            return self.of(scorer, scorer.network(tokens).double().mean(1), tokens)

        return np.array(scorer.of_each(letters, read), dtype=np.float64)

    def _positions(self, scorer: Scorer) -> tuple[int, int | None]:
        """Return the first and last (exclusive) token or encoder position of the span."""
        stride = scorer.tokenizer.stride * scorer.tokens_per_output
        return (self.start or 0) // stride, None if self.end is None else -(-self.end // stride)


def output_names(scorer: Scorer) -> list[str]:
    """Return the names of the outputs, in order."""
    return scorer.objective.output_names(scorer.tokenizer)
