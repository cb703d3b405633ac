"""The properties that all kinds of [objective] have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from selfattn_bio.config.section import Section


class ObjectiveSection(Section):
    """Common properties of objectives.

    The package `objectives` has one class per section, with everything that depends on the kind.

    Attributes
    ----------
    outputs_per
        Whether the network has outputs per sequence, per token, per position of the encoder, or
        per base of a window in the middle of the sequence. The properties `is_per_sequence`,
        `is_per_token`, `is_per_bin` and `is_per_base` tell them apart.
    has_classes
        Whether each record has one class, so that classes can be weighted.
    learns_classes
        Whether the target columns have classes or labels, whose proportions splits keep.
    block
        Default of [evaluation] block: bp of a chromosome whose examples are resampled together.
    has_scores
        Whether a record has a score, which can be averaged over models.
    is_unlabelled
        Whether the model learns from the letters alone, so that windows of records can be used.
    allows_edits
        Whether targets are still valid after random edits of a record.
    allows_privacy
        Whether the loss is the sum over records, with no value from the other training records.
    robust
        Settings of a loss that outliers affect less, if there is one.
    """

    outputs_per: ClassVar[Literal["sequence", "token", "position", "base"]] = "sequence"
    has_classes: ClassVar[bool] = False
    learns_classes: ClassVar[bool] = False
    block: ClassVar[int] = 500_000
    has_scores: ClassVar[bool] = True
    is_unlabelled: ClassVar[bool] = False
    allows_edits: ClassVar[bool] = False
    allows_privacy: ClassVar[bool] = True
    robust: ClassVar[Mapping[str, str]] = {}
    kind: str

    @property
    def is_per_sequence(self) -> bool:
        """Return whether the network has outputs per sequence."""
        return self.outputs_per == "sequence"

    @property
    def is_per_token(self) -> bool:
        """Return whether the network has outputs per token."""
        return self.outputs_per == "token"

    @property
    def is_per_bin(self) -> bool:
        """Return whether the network has outputs per position of the encoder, as for bins."""
        return self.outputs_per == "position"

    @property
    def is_per_base(self) -> bool:
        """Return whether the network has outputs per base."""
        return self.outputs_per == "base"

    @property
    def is_per_record(self) -> bool:
        """Return whether a record has one set of outputs, whose scores have no strand."""
        return self.outputs_per in ("sequence", "base")

    @property
    def target_columns(self) -> tuple[str, ...]:
        """Return the columns of [data] targets that the objective reads."""
        column = getattr(self, "column", None)
        return (column,) if column else self.number_columns

    @property
    def class_columns(self) -> tuple[str, ...]:
        """Return the target columns of classes and labels."""
        return self.target_columns if self.learns_classes else ()

    @property
    def number_columns(self) -> tuple[str, ...]:
        """Return the target columns in which words such as NA are missing values, not classes."""
        return getattr(self, "columns", ())

    @property
    def output_names(self) -> tuple[str, ...]:
        """Return the column or class of each output in order.

        It is empty while classes are unknown.
        """
        return self.target_columns

    @property
    def hashes(self) -> dict[str, str]:
        """Map the files of targets to their SHA-256 when the model was trained, "" before it."""
        return {}

    def num_outputs(self, vocabulary_size: int) -> int:
        """Return the number of outputs per sequence, token, position or base."""
        return len(self.output_names)

    def with_tracks(self, tracks: Mapping[str, Sequence[str]]) -> Self:
        """Return the section with the columns of tracks in place of their names."""
        if "columns" not in type(self).model_fields:
            return self
        named: Sequence[str] = self.target_columns or tuple(tracks)
        columns = tuple(column for name in named for column in tracks.get(name, [name]))
        return self.model_copy(update={"columns": columns})
