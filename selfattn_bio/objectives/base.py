"""The base class of objectives and the registry of all kinds.

To add a kind of question, write its section in `config.objective`, a subclass of `Objective` in a
new file of this package. The class is registered by its `kind=`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfattn_bio.arrays import Integers
from selfattn_bio.config import AnyObjective, RunFile
from selfattn_bio.config.objective_section import ObjectiveSection
from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.loss import Loss, count_known
from selfattn_bio.objectives.outputs import Output, Track, spreads
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.split_names import SPLIT_NAMES

if TYPE_CHECKING:
    from selfattn_bio.evaluation.calibration import Calibration
    from selfattn_bio.scoring.scorer import Scorer

Array = NDArray[np.float64]
Predictions = Array | list[Array]  # (n, C), or n arrays (L, C) for one output per token
AnswerKind = Literal["label", "rate", "class", "number", "robust", "count"]
Measurer = Callable[[Integers], dict[str, float]]  # rows -> metrics of these records
# rows -> metrics of these records by (output, metric)
OutputMeasurer = Callable[[Integers], dict[tuple[str, str], float]]
SectionT = TypeVar("SectionT", bound=ObjectiveSection)
Exported = tuple[Callable[[Tensor], Tensor], str]

TABLE_LIMITS = (
    "It learned from its table, including the errors of the table.",
    "It was tested only on held-out records of the same source.",
)


class Answer(NamedTuple):
    """Targets that a simple model learns alone, in the units of the network's outputs.

    Attributes
    ----------
    kind
        "label" (0 or 1, whose output is the log-odds), "rate" (1 if there is at least one event,
        whose output is the logarithm of their rate), "class" (a number, with one logit per class
        as outputs), "number", "robust" (a number, with Huber's loss), or "count" (whose output
        is the logarithm of the rate).
    values
        Float (n,) of records, positions, or bins and their strands; NaN if unknown.
    size
        Number of outputs.
    """

    kind: AnswerKind
    values: Array
    size: int = 1


class Examples(NamedTuple):
    """Records that metrics count, or the bins in these records.

    Fields are the columns that name them in the table of predictions; their targets, as for
    `Objective.measure`; and a function from outputs of records (`Objective.read`) to theirs.
    """

    table: pd.DataFrame
    targets: NDArray
    of_records: Callable[[Any], Any] = lambda outputs: outputs


OBJECTIVES: dict[str, type[Objective[Any]]] = {}  # by kind


class Objective(ABC, Generic[SectionT]):
    """Everything that depends on the kind of question; the base class of all kinds.

    A class is registered with the name of its kind: `class Binary(Objective, kind="binary")`.

    Attributes
    ----------
    section, kind
        The section [objective] of the run file, and the name of its kind.
    main_metric, higher_is_better
        The metric that chooses the best weights, and its direction.
    predicts, limits
        Sentences of the model card: the predictions, and two limits of their use.
    examples
        Name of the units that the metrics count (`examples_of`).
    is_labelled
        Whether the targets are the labels 0 and 1 of the corpus.
    has_calls
        Whether predictions are probabilities of label 1, (n,), which a threshold turns into calls.
    has_log_odds
        Whether the output is the log-odds of positives against negatives. It is then calibrated
        by Platt scaling, and genome scans accept the model.
    has_coverage
        Whether prediction sets or intervals with a chosen coverage are available.
    no_strand_mean
        Why outputs of the two strands cannot be averaged; empty if they can.
    column_prefix
        Beginning of the names of the prediction columns in the score table.
    no_motifs
        Why motifs cannot be found; empty if `outputs` has the outputs to find them for.
    exported
        Function from outputs (..., C) to the numbers of the score table, for exported networks, and
        their unit.
    alignment
        Positions whose multiples training windows keep to; 0 if there are none.
    """

    main_metric: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    predicts: ClassVar[str]
    limits: ClassVar[tuple[str, str]] = TABLE_LIMITS
    examples: ClassVar[str] = "records"
    is_labelled: ClassVar[bool] = False
    has_calls: ClassVar[bool] = False
    has_log_odds: ClassVar[bool] = False
    has_coverage: ClassVar[bool] = False
    no_strand_mean: ClassVar[str] = ""
    column_prefix: ClassVar[str] = "probability_"
    no_motifs: ClassVar[str] = ""
    exported: Exported = (torch.clone, "log-odds")
    alignment: int = 0

    def __init_subclass__(cls, kind: str | None = None, **others: Any) -> None:
        super().__init_subclass__(**others)
        if kind in OBJECTIVES:
            raise ValueError(f"objective {kind!r} exists already: {OBJECTIVES[kind].__qualname__}")
        if kind:
            OBJECTIVES[kind] = cls

    def __init__(self, section: SectionT) -> None:
        self.section = section
        self.kind = section.kind

    def describe(self) -> str:
        """Return the question in short. Models with different descriptions cannot be compared."""
        return " ".join((self.kind, *self.section.target_columns))

    # ------------ targets
    def complete(self, train: pd.DataFrame, records: pd.DataFrame, place: str) -> SectionT:
        """Return the section with settings filled in from the training records.

        Settings that already have a value are kept.

        Parameters
        ----------
        train
            The `target_columns` of the training records, n rows of text.
        records, place
            As in `targets`.

        Raises
        ------
        CorpusError
            If the training records do not determine a setting, or as in `targets`.
        """
        return self.section

    @abstractmethod
    def targets(self, table: pd.DataFrame, records: pd.DataFrame, place: str) -> NDArray:
        """Convert the target columns of n records to an array with n rows.

        Parameters
        ----------
        table
            The `target_columns` of the section, n rows of text.
        records
            The same rows of `Corpus.records`: id, length, label, chrom, start, strand.
        place
            Path of the table, for error messages.

        Raises
        ------
        CorpusError
            If a value is not valid for the objective.
        """

    def check_split(self, targets: NDArray, split: str, place: str, split_path: str) -> None:
        """Refuse a training or validation split from which nothing can be learned.

        Parameters
        ----------
        targets
            Targets of the records of the split, from `targets`.
        split
            "train" or "valid".
        place, split_path
            Paths of the table of targets and of the split table, for error messages.

        Raises
        ------
        CorpusError
            If no target is known, or those of the validation split do not differ.
        """
        if not self.section.target_columns:
            return
        columns = " or ".join(self.section.target_columns)
        if not count_known(targets):
            message = f"no record of the {SPLIT_NAMES[split]} split has a value in column {columns}"
            CorpusError.fail(message, place)
        numbers = (pd.Series(each.values).nunique() for each in self.answers(targets))
        if split == "valid" and max(numbers, default=2) < 2:
            raise CorpusError(
                f"the {SPLIT_NAMES[split]} split has no two different values in column {columns}, "
                "so no step of a training is better than another",
                place=place,
                hint="Add records, or change [split]",
            )

    def check_evaluated(self, targets: NDArray, split: str, place: str) -> None:
        """Refuse a validation or test split whose metrics would be undefined.

        Raises
        ------
        CorpusError
            If they would be.
        """

    def shortest(self, k: int) -> tuple[int, str]:
        """Return the minimum length of a record, and the setting that it comes from."""
        return k, "tokens.k"

    def targets_of_views(self, targets: NDArray, views: Sequence[tuple[int, int, bool]]) -> NDArray:
        """Return the targets of parts of records: first and last position, and the strand.

        By default, targets belong to the complete record.
        """
        return targets

    # ------------ network
    def output_names(self, tokenizer: KmerTokenizer) -> list[str]:
        """Return the names of the outputs, in order."""
        return list(self.section.output_names)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs with one score per record, in order; empty while they are unknown."""
        return ()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Return the scores along a genome, by default those of the `outputs` in windows."""
        return tuple(Track(each.name, each.value, each.unit) for each in self.outputs)

    def record_outputs(self, outputs: Tensor, is_real: Tensor) -> Tensor:
        """Summarise the outputs of tokens or positions, for `outputs`.

        Parameters
        ----------
        outputs
            (..., N, C) outputs of the network.
        is_real
            (..., N, 1) bool, False for padding; broadcasts to `outputs`.

        Returns
        -------
        (..., K), with a gradient.
        """
        raise ValueError(f"objective {self.kind!r} has no outputs for complete sequences")

    def stackable(self, outputs: Array, run: RunFile, length: int) -> Array:
        """Convert the outputs (N, ..., C) of one record to those that a stack combines."""
        return outputs

    def stacked_outputs(self, rows: Array) -> Array:
        """Summarise what a stack returns for a record, (N, ..., C), as `record_outputs` does."""
        x = torch.from_numpy(np.moveaxis(rows, 0, -2))
        return self.record_outputs(x, torch.ones(len(rows), 1)).numpy()

    @abstractmethod
    def loss(self, run: RunFile, tokenizer: KmerTokenizer, targets: NDArray) -> Loss:
        """Build the loss; `targets` are those of the training records."""

    def read(self, scorer: Scorer, inputs: Sequence[Any]) -> Any:
        """Return the outputs of a model for n inputs: (n, C), or n arrays for outputs per token."""
        return scorer.outputs(inputs)

    def read_batches(self, scorer: Scorer, inputs: Sequence[Any]) -> Iterator[tuple[Integers, Any]]:
        """Yield row numbers and outputs of batches; a caller can stop between two of them."""
        for rows in scorer.batches(inputs):
            yield rows, self.read(scorer, [inputs[i] for i in rows])

    # ------------ predictions
    def examples_of(self, targets: NDArray, records: pd.DataFrame) -> Examples:
        """Return the examples that metrics count, by default the records with these targets."""
        return Examples(records[["id"]], targets)

    def predictions(self, outputs: Array) -> Array:
        """Convert outputs (..., C) to predictions of the same shape.

        Predictions are probabilities of classes or labels, or numbers in the units of the targets;
        by default the outputs.
        """
        return outputs

    def predictions_of(self, outputs: Any) -> Predictions:
        """Convert the outputs of records or, in a list, of the positions of each record."""
        if isinstance(outputs, list):
            return [self.predictions(rows) for rows in outputs]
        return self.predictions(outputs)

    def measure(self, predictions: Array, targets: NDArray) -> dict[str, float]:
        """Compute the metrics of `predictions` for targets of their records; NaN if undefined.

        A subclass defines this method or `measurer`.
        """
        if type(self).measurer is Objective.measurer:
            raise NotImplementedError(f"objective {self.kind!r} defines no metrics")
        return self.measurer(predictions, targets)(np.arange(len(targets)))

    def measurer(self, predictions: Predictions, targets: NDArray) -> Measurer:
        """Return a function from rows to the metrics of these records."""
        return lambda rows: self.measure(predictions[rows], targets[rows])

    def output_measurer(self, predictions: Predictions, targets: NDArray) -> OutputMeasurer:
        """Return a function from rows to the metrics of each class or column; by default none."""
        return lambda rows: {}

    def shown(self, predictions: Any, examples: Examples) -> list[dict[str, Any]]:
        """Return values of a few test examples for the report; by default none."""
        return []

    def prediction_columns(self, predictions: Predictions) -> dict[str, Any]:
        """Return the columns of predictions in the tables of `evaluate`, one value per example."""
        each = dict(zip(self.section.output_names, np.transpose(predictions), strict=True))
        return self.calls(np.asarray(predictions)) | each

    def calls(self, predictions: Array, threshold: float = 0.5) -> dict[str, Any]:
        """Return the column `predicted` of all tables: the label, class or labels of each record.

        Labels are called if their probability is at least the threshold. Numbers have no calls.
        """
        return {"predicted": (predictions >= threshold).astype(int)} if self.has_calls else {}

    def columns(
        self, outputs: Array, calibration: Calibration, coverage: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the columns of the score table, with one value per record.

        Parameters
        ----------
        outputs
            Outputs of M models, (M, n, C).
        calibration
            Calibration of the model, or the mean of those of the models.
        coverage
            Columns from `coverage_columns`.
        """
        names, each = self.section.output_names, self.predictions(outputs)
        mean = self.predictions(outputs.mean(axis=0))
        values = {self.column_prefix + name: mean[:, i] for i, name in enumerate(names)}
        return (
            self.calls(mean)
            | values
            | spreads({f"spread_{name}": each[..., i] for i, name in enumerate(names)})
            | coverage
        )

    def position_table(
        self, ids: Sequence[str], outputs: Sequence[NDArray], flags: dict[str, list[str]]
    ) -> pd.DataFrame:
        """Return the score table of records from their outputs per token or position (`merged`).

        `flags` has the column `out_of_distribution`, if there is one.
        """
        raise ValueError(f"objective {self.kind!r} has no outputs per token or position")

    def merged(self, outputs: Array) -> NDArray:
        """Convert the mean outputs of a record, per token or position, for `position_table`."""
        return outputs

    # ------------ prediction sets and intervals
    @property
    def coverage_names(self) -> tuple[str, ...]:
        """Return the labels, classes or columns that have separate nonconformity scores."""
        return self.section.output_names

    def nonconformity(self, outputs: Array, targets: NDArray) -> dict[str, Array]:
        """Return the scores of the calibration examples of each name; by default none."""
        return {}

    def coverage_columns(self, outputs: Array, quantiles: Array) -> dict[str, Any]:
        """Return the columns with the prediction set or interval of each record; by default none.

        Parameters
        ----------
        outputs
            Outputs of M models, (M, n, C).
        quantiles
            The highest nonconformity score inside the set, by model and name, (M, C).
        """
        return {}

    # ------------ baselines
    def answers(self, targets: NDArray) -> list[Answer]:
        """Return what simple models learn, in the order of the outputs; by default nothing."""
        return []


def objective_of(section: AnyObjective | ObjectiveSection) -> Objective[Any]:
    """Return the objective that a section [objective] describes."""
    return OBJECTIVES[section.kind](section)


def measurer_of_each(measurers: Mapping[str, Measurer]) -> OutputMeasurer:
    """Return the measurer of several outputs, from that of each by name."""
    return lambda rows: {
        (name, metric): value
        for name, measured in measurers.items()
        for metric, value in measured(rows).items()
    }
