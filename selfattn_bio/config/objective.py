"""[objective]: the quantity a model learns to predict."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from selfattn_bio.config.objective_section import ObjectiveSection
from selfattn_bio.config.section import Column, Different, Listed, Names, Positive, left_out


class BinaryObjective(ObjectiveSection):
    """Separate positives from negatives, with cross-entropy."""

    has_classes = allows_edits = True
    output_names: ClassVar[tuple[str, ...]] = ("positive",)
    kind: Literal["binary"] = "binary"


class MulticlassObjective(ObjectiveSection):
    """Predict one of several classes per sequence, with cross-entropy.

    Attributes
    ----------
    column
        column of [data] targets with the name of the class
    classes
        in the order of the outputs; taken from the training records if not given
    """

    has_classes = learns_classes = allows_edits = True
    kind: Literal["multiclass"] = "multiclass"
    column: Column
    classes: Listed[tuple[str, ...]] = ()

    def problems(self) -> Iterator[str]:
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            yield f"classes needs two or more different names; found {', '.join(self.classes)}"

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.classes


class MultilabelObjective(ObjectiveSection):
    """Predict several labels per sequence, each with binary cross-entropy.

    Attributes
    ----------
    columns
        columns of [data] targets: 0 or 1, or words such as no and yes, or inactive and active;
        empty if unknown
    """

    learns_classes = allows_edits = True
    kind: Literal["multilabel"] = "multilabel"
    columns: Different[Names]


class RegressionObjective(ObjectiveSection):
    """Predict one or more numbers per sequence.

    Attributes
    ----------
    columns
        columns of [data] targets: numbers, or empty if unknown; the name of a track of several
        files stands for all its columns; all columns of the tracks if not given
    loss
        poisson = outputs are rates and targets are counts; cosine_mse = squared error minus the
        cosine similarity of each record across columns (CREsted)
    normalisation
        of each column before learning; predictions and metrics have the normalised unit; log2 =
        logarithm to base 2 of numbers above 0, for skewed ones such as half-lives; size_factor =
        divide by the median ratio to the geometric mean of the columns (DESeq2); quantile = give
        all columns their mean distribution; the last two are fitted to the training records
    normaliser
        size factor, or quantiles, of each column; from the training records if not given
    center
        value subtracted from each column; the mean of the training records if not given (0 for
        cosine_mse)
    scale
        divisor of each column; the standard deviation of the training records if not given (for
        cosine_mse, the root mean square of all columns)
    """

    allows_edits = True
    robust: ClassVar[Mapping[str, str]] = {"loss": "huber"}
    kind: Literal["regression"] = "regression"
    columns: Different[Names] = ()
    loss: Literal["mse", "huber", "poisson", "cosine_mse"] = "mse"
    normalisation: Literal["none", "log2", "size_factor", "quantile"] = left_out("none")
    normaliser: Listed[tuple[Listed[tuple[float, ...]], ...]] = left_out(())
    center: Listed[tuple[float, ...]] = ()
    scale: Listed[tuple[Annotated[float, Field(gt=0)], ...]] = ()

    @property
    def compares_columns(self) -> bool:
        """Return whether the normalisation is fitted to all columns of the training records."""
        return self.normalisation in ("size_factor", "quantile")

    def problems(self) -> Iterator[str]:
        number = len(self.columns)
        if self.normalisation == "log2" and self.loss == "poisson":
            yield "loss 'poisson' learns counts, not their logarithms; remove normalisation 'log2'"
        if (len(self.center), len(self.scale)) not in ((0, 0), (number, number)):
            yield (
                f"center and scale have {len(self.center)} and {len(self.scale)} values for "
                f"{number} columns; give one value per column, or omit both"
            )
        if self.normaliser and len(self.normaliser) != number:
            yield f"normaliser has {len(self.normaliser)} values for {number} columns"


Weight = Annotated[float, Field(gt=0, description="weight of the part's mean loss")]


class MulticlassPart(MulticlassObjective):
    """Classes as one part of objective `several`."""

    weight: Weight = 1.0


class MultilabelPart(MultilabelObjective):
    """Labels as one part of objective `several`."""

    weight: Weight = 1.0


class RegressionPart(RegressionObjective):
    """Numbers as one part of objective `several`."""

    weight: Weight = 1.0


Part = Annotated[MulticlassPart | MultilabelPart | RegressionPart, Field(discriminator="kind")]


class SeveralObjective(ObjectiveSection):
    """Predict several things per sequence with one network.

    Each part is a table [objective.parts.NAME]. The loss is the weighted mean of the parts' losses.

    Attributes
    ----------
    parts
        two or more, with different columns
    """

    allows_privacy = False
    kind: Literal["several"] = "several"
    parts: dict[Annotated[str, Field(pattern="^[a-z0-9_]+$")], Part]

    def problems(self) -> Iterator[str]:
        if len(self.parts) < 2:
            yield "kind 'several' needs at least two parts; for one, use the kind of the part"
        columns = self.target_columns
        if both := sorted({column for column in columns if columns.count(column) > 1}):
            yield f"several parts use column {', '.join(both)}; keep it in one part"
        for name, part in self.parts.items():
            if getattr(part, "normalisation", "none") != "none":
                yield f"part {name!r} has normalisation, which only kind 'regression' can use"
            if not part.target_columns:
                yield f"part {name!r} has no columns"

    def with_tracks(self, tracks: Mapping[str, Sequence[str]]) -> Self:
        parts = {name: part.with_tracks(tracks) for name, part in self.parts.items()}
        return self.model_copy(update={"parts": parts})

    @property
    def target_columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts.values() for column in part.target_columns)

    @property
    def class_columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts.values() for column in part.class_columns)

    @property
    def number_columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts.values() for column in part.number_columns)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(
            f"{name}.{output}" for name, part in self.parts.items() for output in part.output_names
        )

    def slices(self) -> dict[str, slice]:
        """Return the slice of the outputs that belongs to each part."""
        ends = itertools.accumulate(len(part.output_names) for part in self.parts.values())
        return {
            name: slice(end - len(part.output_names), end)
            for (name, part), end in zip(self.parts.items(), ends, strict=True)
        }


class LabelsObjective(ObjectiveSection):
    """Predict one class per position, such as secondary structure, with cross-entropy.

    Attributes
    ----------
    column
        column of [data] targets: text as long as the sequence, one label per position; - if
        unknown
    classes
        the labels, one character each
    """

    outputs_per = "token"
    kind: Literal["labels"] = "labels"
    column: Column
    classes: Annotated[str, Field(min_length=2)]

    def problems(self) -> Iterator[str]:
        is_repeated = len(set(self.classes)) < len(self.classes)
        if is_repeated or "-" in self.classes or not self.classes.isascii():
            yield f"invalid classes {self.classes!r}; use different ASCII characters other than -"

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.classes)


class BinsObjective(ObjectiveSection):
    """Predict which bins of a long sequence hold a point of a BED file.

    Points are, for example, transcription start sites. The network predicts a probability for each
    encoder position and strand. The probability of a bin combines its positions as independent
    events (noisy-or), so the model learns locations within bins.

    Attributes
    ----------
    points
        BED file (plain or gz) of stranded points; for longer intervals, the first base on the
        strand
    bin
        bp; in evaluation bins are counted from position 0 of the chromosome, where records
        start at a multiple of the bin size
    points_sha256
        hash of the file when the model was trained
    """

    outputs_per = "position"
    output_names: ClassVar[tuple[str, ...]] = ("+", "-")
    block = 100_000
    allows_privacy = False
    kind: Literal["bins"] = "bins"
    points: str = Field(min_length=1)
    bin: Positive = 200
    points_sha256: str = ""

    @property
    def hashes(self) -> dict[str, str]:
        return {self.points: self.points_sha256}


TrackName = Annotated[str, Field(pattern="^[A-Za-z0-9_]+$")]


class ProfileObjective(ObjectiveSection):
    """Predict the counts per base of one or more tracks in the middle of each record.

    A track has a total count and a profile: the probability of each base and strand (BPNet, Avsec
    et al. 2021). A bias track has the counts that the assay alone would give (ChromBPNet, Pampari
    et al. 2024). The loss adds it to the network, whose scores then are free of the bias.

    Attributes
    ----------
    tracks
        bigWig or bedGraph file of counts per base of each track, or a pair of files for the strands
        + and -
    width
        bp in the middle of a record whose counts are predicted
    counts_weight
        weight of the squared error of log(1 + count), times the median count of the track; the
        weight of the profile's log-likelihood is 1
    bias
        bias track of each track that has one, in the same form as `tracks`
    scale
        median count of each track in the training records; computed if not given
    sha256
        hash of each file when the model was trained
    """

    outputs_per = "base"
    allows_privacy = False
    kind: Literal["profile"] = "profile"
    tracks: dict[TrackName, Names] = Field(min_length=1)
    width: int = Field(1000, ge=2, le=100_000)
    counts_weight: float = Field(0.1, gt=0)
    bias: dict[TrackName, Names] = left_out({})
    scale: Listed[tuple[Annotated[float, Field(gt=0)], ...]] = ()
    sha256: dict[str, str] = Field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        strands = {name: len(files) for name, files in self.tracks.items()}
        if set(strands.values()) not in ({1}, {2}):
            yield "give each of tracks one file, or each a pair of files for + and -"
        if len(set(self.output_names)) < 2 * len(self.tracks):
            yield "a track has the name of another one followed by _shape; rename it"
        for name, files in self.bias.items():
            if strands.get(name) != len(files):
                known = f"needs {strands[name]}" if name in strands else "is not one of tracks"
                yield f"bias.{name} has {len(files)} files, but the track {known}"
        if self.scale and len(self.scale) != len(self.tracks):
            yield f"scale has {len(self.scale)} values for {len(self.tracks)} tracks"

    @property
    def output_names(self) -> tuple[str, ...]:
        return (*self.tracks, *(f"{name}_shape" for name in self.tracks))

    @property
    def num_strands(self) -> int:
        """Return 2 if tracks are pairs of files, otherwise 1."""
        return len(next(iter(self.tracks.values())))

    @property
    def hashes(self) -> dict[str, str]:
        files = itertools.chain(*self.tracks.values(), *self.bias.values())
        return {file: self.sha256.get(file, "") for file in files}


class LanguageObjective(ObjectiveSection):
    """Common properties of language models, which have one output per token of the vocabulary."""

    outputs_per = "token"
    has_scores = False
    is_unlabelled = True

    def num_outputs(self, vocabulary_size: int) -> int:
        return vocabulary_size


class MaskedObjective(LanguageObjective):
    """Masked language model: predict hidden k-mers from their context.

    Spans are hidden, so that overlapping k-mers do not reveal each other (BERT, Devlin et al. 2019;
    spans as in DNABERT, Ji et al. 2021).

    Attributes
    ----------
    fraction
        fraction of positions that are hidden
    """

    kind: Literal["masked"] = "masked"
    fraction: float = Field(0.15, gt=0, le=0.5)


class CausalObjective(LanguageObjective):
    """Causal language model: predict each token from the tokens before it."""

    kind: Literal["causal"] = "causal"


AnyObjective = Annotated[
    BinaryObjective
    | MulticlassObjective
    | MultilabelObjective
    | RegressionObjective
    | SeveralObjective
    | LabelsObjective
    | BinsObjective
    | ProfileObjective
    | MaskedObjective
    | CausalObjective,
    Field(discriminator="kind"),
]
