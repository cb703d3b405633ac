"""Outputs of models: the classes, labels and numbers that scores and motifs are about."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import ClassVar, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from selfattn_bio.display import did_you_mean, shortened
from selfattn_bio.errors import ArgumentError

Array = NDArray[np.float64]
LOG_ODDS = "log-odds"  # the unit of classes and labels
SHOWN = 20  # names of outputs in a message


@dataclass(frozen=True)
class Output(ABC):
    """One output of a model, with one value per record.

    Attributes
    ----------
    name
        Name of the class, label or column; "part.name" for an output of a part.
    column
        Index among the outputs of the network for a record (`Objective.record_outputs` if they
        are per token or position).
    truth
        Function from the targets of n records (`Objective.targets`) to one number per record, (n,),
        NaN if unknown: 1 or 0 for a class, a number in `unit` otherwise.
    value
        Function from these outputs (..., C) to the score of a record, in `unit`, (...).
    unit
        Unit of scores and effects.
    scale
        Effects below a fraction of this are negligible: 1 for log-odds and logarithms, the standard
        deviation of the training records for numbers of the table.
    """

    name: str
    column: int
    truth: Callable[[NDArray], Array]
    value: Callable[[Array], Array]
    unit: str = LOG_ODDS
    scale: float = 1.0

    records: ClassVar[str]  # the records to explain, for messages

    @abstractmethod
    def candidates(self, truth: Array) -> NDArray[np.bool_]:
        """Return which records may be explained, (n,), given their targets (n,)."""

    @abstractmethod
    def choose(self, scores: Array, called: int, limit: int) -> NDArray[np.int64]:
        """Choose at most `limit` candidates to explain.

        Parameters
        ----------
        scores
            Scores of the candidates, highest first, (n,).
        called
            Number of candidates that the model assigns to the class.
        limit
            Largest number to choose.

        Returns
        -------
        Indices of the chosen candidates, in rising order.
        """

    def note(self, chosen: int, called: int, threshold: float) -> str:
        """Return a remark on the choice for the log, if one is needed.

        `called` is as in `choose`, and `threshold` the probability from which records are called.
        """
        return ""


class ClassOutput(Output):
    """A class or label: each record belongs to it (1) or not (0)."""

    records = "positive"

    def candidates(self, truth: Array) -> NDArray[np.bool_]:
        return truth == 1

    def choose(self, scores: Array, called: int, limit: int) -> NDArray[np.int64]:
        """Choose evenly over the ranks of the called positives.

        The most confident ones are similar and show one motif. If too few are called, as by a
        control or a weak model, the next best are added.
        """
        number = min(max(called, limit), len(scores))
        return np.linspace(0, number - 1, min(limit, number)).round().astype(int)

    def note(self, chosen: int, called: int, threshold: float) -> str:
        if called >= chosen:
            return ""
        return f"; the probability of {called} of them reaches the threshold {threshold:.3g}"


class LabelOutput(ClassOutput):
    """A label. Unlike classes, a record may have several."""


class NumberOutput(Output):
    """A number: motifs can raise or lower it."""

    records = "record"

    def candidates(self, truth: Array) -> NDArray[np.bool_]:
        return np.isfinite(truth)

    def choose(self, scores: Array, called: int, limit: int) -> NDArray[np.int64]:
        """Choose the highest and the lowest scores, in equal numbers."""
        number = min(limit, len(scores))
        lowest = np.arange(len(scores) - number // 2, len(scores))
        return np.concatenate([np.arange(number - number // 2), lowest])


class Track(NamedTuple):
    """A score of windows, positions or bins along a genome.

    Attributes
    ----------
    name
        Name of the output; empty for two classes, whose files have no name of an output.
    value
        Function from outputs (..., C) to scores (...) in `unit`.
    unit
        Unit of the scores.
    """

    name: str
    value: Callable[[Array], Array]
    unit: str = LOG_ODDS


def safe_names(outputs: Sequence[str], *, ascii: bool = False) -> dict[str, str]:
    """Return the names of outputs in names of files: letters, digits, "_" and ".".

    "+" becomes "plus", "-" at the end of a word "minus", and other characters become "_". INFO
    fields have only `ascii` letters.

    Raises
    ------
    ArgumentError
        If two outputs would share a name. Upper and lower case are equal in many file systems.
    """
    names: dict[str, str] = {}
    for output in outputs:
        text = re.sub(r"-(?!\w)", "minus", output.replace("+", "plus"))
        name = re.sub(r"[^\w.]", "_", text, flags=re.ASCII if ascii else re.UNICODE)
        for other, taken in names.items():
            if name == taken or (not ascii and name.lower() == taken.lower()):
                raise ArgumentError(
                    f"outputs {other!r} and {output!r} would both be {name!r} in names of "
                    f"{'INFO fields' if ascii else 'files'}",
                    hint="Rename a class or column and train again",
                )
        names[output] = name
    return names


def find_output(outputs: Sequence[Output], name: str) -> Output:
    """Return the output with this name; "" is the only one.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    if name == "" and len(outputs) == 1:
        return outputs[0]
    for output in outputs:
        if output.name == name:
            return output
    raise unknown_output(name, [output.name for output in outputs])


def unknown_output(name: str, names: Sequence[str]) -> ArgumentError:
    """Return the error about a name that is not among the outputs; it suggests a similar one."""
    message = f"no output {name!r}; the outputs are {shortened(names, SHOWN)}"
    return ArgumentError(message, hint=did_you_mean(name, names).replace("did", "Did", 1))


def no_output_chosen(names: Sequence[str], argument: str) -> ArgumentError:
    """Return the error about a choice between several outputs that `argument` did not make."""
    message = f"the model has {len(names)} outputs; choose one of {shortened(names, SHOWN)}"
    return ArgumentError(message, hint=f'For example, add {argument}="{names[-1]}"')


def class_log_odds(outputs: Array, column: int) -> Array:
    """Return the log-odds of a class against all others, from logits (..., C) of a softmax."""
    others = np.delete(outputs, column, axis=-1)
    return outputs[..., column] - scipy.special.logsumexp(others, axis=-1)


def joined_names(names: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    """Join the names that are chosen in each row of (n, C) by "; "; "none" if there is none."""
    return ["; ".join(compress(names, row)) or "none" for row in chosen]


def spread(scores: Array) -> Array:
    """Return the standard deviation of scores (M, ...) over the M members, (...)."""
    return scores.std(axis=0, ddof=1)


def spreads(values: dict[str, Array]) -> dict[str, Array]:
    """Return the standard deviation over the members, (n,), of each column with values (M, n).

    A single model has no such columns.
    """
    return {name: spread(of_members) for name, of_members in values.items() if len(of_members) > 1}
