"""Define the base class of baselines: strands, calibration and saving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, create_model
from safetensors.numpy import save

from selfattn_bio.config import NO_DATABASE, AlphabetName, AnyObjective, BinaryObjective
from selfattn_bio.evaluation.calibration import Calibration
from selfattn_bio.files import check_replaceable, dump_json, sha256_of, whole_folder
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.base import Predictions
from selfattn_bio.objectives.profile import Profile
from selfattn_bio.sequence.alphabet import Alphabet, Letters
from selfattn_bio.sequence.policy import SequencePolicy, SoftMask
from selfattn_bio.split_names import SPLIT_NAMES
from selfattn_bio.stored import ArrayOf, Sha256, Stored, StoredCalibration

Array = NDArray[np.float64]
TWO_CLASSES, RECORD, POSITION, BIN, PROFILE = "two classes", "record", "position", "bin", "profile"
CARD, ARRAYS = "baseline.json", "arrays.safetensors"
# parts of the `SequencePolicy` in baseline.json
POLICY = ("soft_mask", "gaps", "id_column", "sequence_column", "header")


@dataclass(frozen=True)
class Setup:
    """Settings shared by the baselines of a task.

    Parameters
    ----------
    policy
        How the letters of the records were read.
    strands
        "given": read records as they are. "both": fit to both strands and average the logits of
        both.
    database
        Motif database as in `motifs.open_database`, or "none".
    threads
        Number of threads for fitting; 0 leaves it to OpenMP.
    section
        Section [objective] of the model, with the classes or scales of the training records.
    pretrained
        Folder of the pretrained model that the task starts from, or "".
    device
        Device of the pretrained model; "" is CUDA if there is a device, otherwise the CPU.
    """

    policy: SequencePolicy
    strands: Literal["given", "both"] = "given"
    database: str = NO_DATABASE
    threads: int = 0
    section: AnyObjective = field(default_factory=BinaryObjective)
    pretrained: str = ""
    device: str = ""

    @property
    def objective(self) -> Objective[Any]:
        """Return the objective that `section` describes."""
        return objective_of(self.section)

    @property
    def num_outputs(self) -> int:
        """Return the number of outputs per record or position."""
        return len(self.section.output_names)

    @property
    def is_per_position(self) -> bool:
        """Return whether outputs belong to positions or bins of a record."""
        return not self.section.is_per_record

    @property
    def unit(self) -> int:
        """Return the number of positions per output: the size of a bin, or 1."""
        return getattr(self.section, "bin", 1)

    @property
    def question(self) -> str:
        """Return the question of the objective, see `Baseline.suits`."""
        if self.is_per_position:
            return BIN if self.section.is_per_bin else POSITION
        if self.section.is_per_base:
            return PROFILE
        return TWO_CLASSES if self.objective.has_log_odds else RECORD

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the records."""
        return self.policy.alphabet

    @property
    def reading(self) -> tuple[str, str, str]:
        """Return how sequences are read; the columns of tables do not matter."""
        return self.alphabet.name, self.policy.soft_mask, self.policy.gaps


class State(Stored):
    """A fitted baseline, or a part of it, as plain data.

    A subclass declares its values, which are saved as JSON, and its arrays.
    """


class Card(Stored):
    """The contents of baseline.json that loading needs."""

    version: Literal[3]  # of the folder format
    kind: str
    alphabet: AlphabetName
    soft_mask: SoftMask
    gaps: Literal["refuse", "remove"]
    header: str = ""
    id_column: str = "id"
    sequence_column: str = "sequence"
    strands: Literal["given", "both"]
    database: Annotated[str, Field(min_length=1)]
    pretrained: str = ""
    objective: AnyObjective
    calibration: StoredCalibration | None = None  # of two classes and of bins
    records: Annotated[int, Field(ge=1)]
    settings: dict[str, Any]
    origin: dict[str, str]
    arrays_sha256: Sha256


class Baseline(ABC):
    """A simple model that is fitted to the training split.

    Its settings are chosen on the validation split. Most are a `PairBaseline`. Another subclass
    implements `chosen`, `_fit`, `_outputs`, `_effects`, `_state` and `_restore`, and `obstacle` if
    it does not suit all records of its alphabets. `states` declares what its folder contains. It is
    registered in `config.training.KNOWN_BASELINES`.

    Attributes
    ----------
    name
        Name of its folder and in metrics.json.
    title
        Readable name, for text next to `name`.
    alphabets
        Families of the alphabets it can read; "dna" includes RNA.
    suits
        Questions that it is fitted to: TWO_CLASSES, RECORD (other targets of records), POSITION
        (of positions), BIN or PROFILE (log counts, with the mean profile of the training records).
    records
        Number of training records it was fitted to; lower than the total if a large set is sampled.
    reads
        Which of `strands`, `database` and `pretrained` of `Setup` matter. Strands do not if both
        strands of a record have the same logit, or the model depends on the direction by design.
    is_special
        Whether it suits few data sets, so that no message says that it is left out.
    states
        Declarations of its values and arrays.
    both_strands
        Whether outputs are means over both strands.
    mean_profile
        Logits of the mean profile of the training records, (bases, tracks), if these are profiles.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    alphabets: ClassVar[tuple[str, ...]]
    suits: ClassVar[tuple[str, ...]] = (TWO_CLASSES,)
    reads: ClassVar[tuple[str, ...]] = ()
    is_special: ClassVar[bool] = False
    states: ClassVar[tuple[type[State], ...]]

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.both_strands = "strands" in self.reads and setup.strands == "both"
        self.calibration = Calibration()
        self.mean_profile: Array | None = None
        self.records = 0
        self.origin: dict[str, str] = {}

    @classmethod
    def obstacle(cls, setup: Setup, train: Letters) -> str:
        """Return why the baseline cannot be fitted to these records; empty if it can.

        The text is the end of a sentence.
        """
        return ""

    def fit(self, train: Letters, targets: NDArray, valid: Letters, valid_targets: NDArray) -> Self:
        """Fit to the training split.

        Validation records choose the settings and then the calibration. Targets are those of
        `Objective.targets`, such as labels (n,).

        Raises
        ------
        ValueError
            If there are two classes and the training or validation split lacks one of them.
        """
        objective = self.setup.objective
        for split, of_split in (("train", targets), ("valid", valid_targets)):
            if objective.has_log_odds and set(np.unique(of_split)) != {0, 1}:
                raise ValueError(
                    f"the {SPLIT_NAMES[split]} records of a baseline need both labels 0 and 1; "
                    f"they have {sorted(set(np.unique(of_split).tolist()))}"
                )
        if isinstance(objective, Profile):
            self.mean_profile = objective.mean_profile(targets)
        rows = sample_rows(self._strata(targets), self._most(train))
        train, targets = [train[row] for row in rows.tolist()], np.asarray(targets)[rows]
        self.records = len(train)
        if self.both_strands:
            train = [*train, *self._other_strand(train)]
            targets = np.concatenate([targets, targets])
        self._fit(train, targets, self._readings(valid), np.asarray(valid_targets))
        if objective.has_log_odds:
            self.calibration = Calibration.fit(self.logits(valid), valid_targets)
        return self

    def _strata(self, targets: NDArray) -> NDArray[Any]:
        """Return the label or class of each record, whose proportions a sample keeps."""
        answers = self.setup.objective.answers(targets)
        has_classes = len(answers) == 1 and answers[0].kind in ("label", "class")
        if not has_classes or self.setup.is_per_position:
            return np.zeros(len(targets))
        return np.nan_to_num(answers[0].values, nan=-1)

    def _most(self, train: Letters) -> int:
        """Return the maximum number of training records; if there are more, they are sampled."""
        return len(train)

    def outputs(self, letters: Letters) -> Array:
        """Return the outputs of a network for each record, or for each position of all records.

        They are logits, standardised numbers or logarithms of rates. If the baseline was fitted to
        both strands, the outputs of both are averaged.

        Returns
        -------
        (n, C)
        """
        if not len(letters):
            return np.empty((0, self.setup.num_outputs))
        return np.mean([self._outputs(reading) for reading in self._readings(letters)], axis=0)

    def position_outputs(self, letters: Letters) -> list[Array]:
        """Return the outputs of the positions or bins of each record, n arrays (L, C)."""
        numbers = [len(record) // self.setup.unit for record in letters]
        return np.split(self.outputs(letters), np.cumsum(numbers))[: len(letters)]

    def read(self, letters: Letters) -> Any:
        """Return the outputs of records as `Objective.read` does."""
        if self.setup.is_per_position:
            return self.position_outputs(letters)
        outputs, profile = self.outputs(letters), self.mean_profile
        if profile is None:
            return outputs
        shape = len(outputs), *profile.shape
        counts = np.broadcast_to(outputs[:, None, : shape[-1]], shape)
        parts = counts, np.broadcast_to(profile, shape)
        return np.concatenate(parts, axis=-1, dtype=np.float32)

    def predictions(self, letters: Letters) -> Predictions:
        """Return the predictions of records, (n, C), or of their positions, n arrays (L, C)."""
        return self.setup.objective.predictions_of(self.read(letters))

    def logits(self, letters: Letters) -> Array:
        """Return the log-odds of label 1 for each record, (n,), as `outputs`."""
        return self.outputs(letters)[:, 0]

    def window_outputs(self, letters: NDArray[np.uint8], size: int, stride: int) -> Array:
        """Return the outputs of overlapping windows of a sequence on both strands.

        Parameters
        ----------
        letters
            ASCII, the forward strand, (L,).
        size, stride
            Length of a window, and distance between the starts of neighbouring ones.

        Returns
        -------
        (2, n, C): forward strand and reverse complements, in the order of the forward strand.
        """
        windows = list(sliding_window_view(letters, size)[::stride])
        return np.stack([self.outputs(windows), self.outputs(self._other_strand(windows))])

    def substitution_effects(
        self, letters: Letters, output: int = 0, span: slice | None = None
    ) -> list[Array]:
        """Return the effect of each substitution on an output of each record.

        They are `outputs` of the changed record minus `outputs` of the record, and 0 for the
        original base. Those of `pretrained_linear` are gradients at most positions, scaled like the
        exact effects at the others (`Features.measured`). For outputs per position, they are
        effects on the mean of a track (`Objective.tracks`) over the record, or on the sum of the
        output over a span.

        Returns
        -------
        n arrays (L, A), with bases in the order of the alphabet.
        """
        given = self._effects(letters, output, span)
        if not self.both_strands:
            return given
        # Reverse positions and bases: the complements of ACGT are in reverse order
        other = self._effects(self._other_strand(letters), output, span)
        return [(one + two[::-1, ::-1]) / 2 for one, two in zip(given, other, strict=True)]

    @abstractmethod
    def chosen(self) -> dict[str, Any]:
        """Return the settings chosen on the validation split, for the report."""

    @abstractmethod
    def _fit(
        self, train: Letters, targets: NDArray, valid: tuple[Letters, ...], valid_targets: NDArray
    ) -> None:
        """Fit the model.

        `valid` contains the records as given and, if both strands are read, their reverse
        complements.
        """

    @abstractmethod
    def _outputs(self, letters: Letters) -> Array:
        """Return the outputs of records on the given strand, (n, C)."""

    @abstractmethod
    def _effects(self, letters: Letters, output: int, span: slice | None) -> list[Array]:
        """Return the effects of substitutions on the given strand."""

    @abstractmethod
    def _state(self) -> tuple[State, ...]:
        """Return the states that `_restore` needs, instances of `states`."""

    @abstractmethod
    def _restore(self, *states: Any) -> None:
        """Restore the fitted baseline from its states.

        Raises
        ------
        ValueError
            If values and arrays do not fit each other.
        """

    def restore(self, check: Callable[[type[State]], Any]) -> None:
        """Restore the fitted baseline; `check` returns the stored state of a declaration.

        Raises
        ------
        ValueError
            As for `_restore`.
        """
        self._restore(*map(check, self.states))
        if isinstance(objective := self.setup.objective, Profile):
            section = objective.section
            rule = ArrayOf("float64", (section.num_strands * section.width, len(section.tracks)))
            fields: Any = {"mean_profile": (Annotated[NDArray[np.float64], rule], ...)}
            declared = create_model("MeanProfile", __base__=State, **fields)
            self.mean_profile = check(declared).mean_profile

    def fitted_as(self, setup: Setup) -> bool:
        """Return whether a fit with `setup` to the same records gives this baseline."""

        def used(of: Setup) -> tuple[Any, ...]:
            return *of.reading, of.section, *(getattr(of, name) for name in self.reads)

        return used(self.setup) == used(setup)

    def _readings(self, letters: Letters) -> tuple[Letters, ...]:
        return (letters, self._other_strand(letters)) if self.both_strands else (letters,)

    def _other_strand(self, letters: Letters) -> Letters:
        return [self.setup.alphabet.reverse_complement(record) for record in letters]

    def save(self, folder: str | Path, origin: Mapping[str, str] | None = None) -> None:
        """Write the fitted baseline to a folder, replacing an earlier baseline there.

        Parameters
        ----------
        origin
            Source of the records, such as `corpus_fingerprint` and `split_sha256`.

        Raises
        ------
        OutputError
            If the folder contains anything other than a baseline.
        """
        settings: dict[str, Any] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for state in self._state():
            names = set(state.arrays())
            settings |= state.model_dump(exclude=names)
            arrays |= {name: np.ascontiguousarray(getattr(state, name)) for name in names}
        if self.mean_profile is not None:
            arrays["mean_profile"] = np.ascontiguousarray(self.mean_profile)
        check_replaceable(folder, "baseline", (CARD, ARRAYS), CARD)
        with whole_folder(folder) as temporary:
            (temporary / ARRAYS).write_bytes(save(arrays))
            card = {
                "kind": self.name,
                "version": 3,
                "title": self.title,
                "alphabet": self.setup.alphabet.name,
                **{name: getattr(self.setup.policy, name) for name in POLICY},
                "strands": self.setup.strands,
                "database": self.setup.database,
                "pretrained": self.setup.pretrained,
                "objective": self.setup.section.model_dump(mode="json"),
                "chosen": self.chosen(),
                "records": self.records,
                "settings": settings,
                "origin": dict(origin if origin is not None else self.origin),
                "arrays_sha256": sha256_of(temporary / ARRAYS),
            }
            if self.setup.objective.has_calls:
                card["calibration"] = vars(self.calibration)
            dump_json(temporary / CARD, card)


def sample_rows(labels: NDArray[Any], most: int, least: int = 1) -> NDArray[np.int64]:
    """Sample about `most` rows, reproducibly and in order; all rows if there are no more.

    Classes keep their proportions, but each has at least `least` rows if there are that many.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(0)
    sampled = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        number = max(least, round(most * len(rows) / len(labels)))
        sampled.append(rng.choice(rows, min(number, len(rows)), replace=False))
    return np.sort(np.concatenate(sampled))
