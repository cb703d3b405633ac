"""The complete run file: its sections, and the runs of its variants, members and sweep jobs.

Rules about combinations of sections are in `rules`.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from selfattn_bio.config.data import Data, Partner
from selfattn_bio.config.derived import (
    Job,
    Sweep,
    VariantName,
    VariantSection,
    apply_variant,
    default_variants,
    jobs_of,
)
from selfattn_bio.config.genome import kind_of
from selfattn_bio.config.interpret import Interpret
from selfattn_bio.config.model import AnyModel, AttentionModel, Tokens
from selfattn_bio.config.objective import AnyObjective, BinaryObjective
from selfattn_bio.config.pretrained import Adaptation, PretrainedModel
from selfattn_bio.config.rules import RULES
from selfattn_bio.config.section import Section, left_out
from selfattn_bio.config.split import AnySplit, Audit, RandomSplit
from selfattn_bio.config.training import (
    EvaluationSection,
    Privacy,
    StackSection,
    Training,
    Transfer,
)

SHOWN = 3  # files in the repr


class RunFile(Section):
    """A task: its data, split, model, training, evaluation and interpretation.

    Attributes
    ----------
    title
        title of the report
    partner
        the second of two inputs; model kind paired reads both
    """

    title: str = ""
    data: Data
    split: AnySplit = RandomSplit()
    audit: Audit = Audit()
    tokens: Tokens = Tokens()
    partner: Partner | None = left_out(None)
    objective: AnyObjective = BinaryObjective()
    model: AnyModel = AttentionModel()
    training: Training = Training()
    transfer: Transfer | None = None
    privacy: Privacy | None = left_out(None)
    stack: StackSection = left_out(StackSection())
    evaluation: EvaluationSection = EvaluationSection()
    interpret: Interpret = Interpret()
    variants: dict[VariantName, VariantSection] = Field(default_factory=dict)
    sweep: Sweep | None = None
    _path: Path | None = PrivateAttr(None)
    # runs that were derived from the settings and validated
    _variants: dict[str, RunFile] = PrivateAttr(default_factory=dict)
    _jobs: list[Job] | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        """Compare the settings, not the files that they were read from."""
        return isinstance(other, RunFile) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        name = f"{self.path.stem!r}" if self.path else "without a file"
        files = self.data.inputs
        more = [f"{len(files) - SHOWN} more files"] if len(files) > SHOWN else []
        parts = [self.objective.kind, *files[:SHOWN], *more, f"model {self.model.kind}"]
        return f"RunFile {name}: {', '.join(parts)}"

    __str__ = __repr__  # instead of that of pydantic

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> RunFile:
        """Return a copy with other settings. Its variants and jobs are derived again."""
        copied = super().model_copy(update=update, deep=deep)
        copied._variants, copied._jobs = {}, None
        return copied

    @property
    def path(self) -> Path | None:
        """Return the file that the run was read from, for error messages; None if there is none."""
        return self._path

    def read_from(self, path: Path | None) -> RunFile:
        """Return a copy that remembers the file it was read from."""
        copied = copy.copy(self)
        copied._path = path
        return copied

    @model_validator(mode="before")
    @classmethod
    def _set_defaults(cls, values: Any) -> Any:
        """Set the defaults that depend on other sections.

        Files of [data] train and test are the split. Duplicates that [data] keeps are allowed. A
        pretrained model has its published vocabulary, so single letters are read. A model whose
        layers have no rules of attribution is explained by substitutions. The positions of a
        pretrained model are first ranked by gradients.
        """
        if not isinstance(values, dict):
            return values
        data, model = values.get("data"), values.get("model")
        given = data if isinstance(data, dict) else getattr(data, "__dict__", {})
        defaults: dict[str, Any] = {"split": {"kind": "files"}} if given.get("train") else {}
        if given.get("keep_duplicates"):
            defaults["audit"] = {"max_duplicates": None}
        if method := {"module": "saturation", "pretrained": "guided"}.get(str(kind_of(model))):
            defaults["interpret"] = {"method": {"kind": method}}
        for name, section in defaults.items():
            if isinstance(own := values.get(name, {}), dict):
                values = values | {name: section | own}
        if kind_of(model) == "pretrained":
            values = {"tokens": {"k": 1}} | values
        is_private, objective = values.get("privacy") is not None, kind_of(values.get("objective"))
        return {"variants": default_variants(objective or "binary", model, is_private)} | values

    @field_validator("objective")
    @classmethod
    def _name_tracks(cls, objective: AnyObjective, info: Any) -> AnyObjective:
        """Replace the names of tracks in [objective] columns by their columns."""
        data = info.data.get("data")
        return objective.with_tracks(data.track_columns) if data else objective

    def problems(self) -> Iterator[str]:
        return itertools.chain.from_iterable(rule(self) for rule in RULES)

    @model_validator(mode="after")
    def _parts_are_runs(self) -> RunFile:
        """Derive all variants and jobs now, so that errors point to [variants.NAME] or [sweep]."""
        errors: list[InitErrorDetails] = []
        for name, section in self.variants.items():
            errors += _errors_of(partial(self.variant, name), section, "variants", name)
        if not errors:
            errors = _errors_of(self.jobs, self.sweep, "sweep")
        if errors:
            raise ValidationError.from_exception_data("RunFile", errors)
        return self

    @property
    def shares_strands(self) -> bool:
        """Return whether the network itself reads both strands."""
        return getattr(self.model, "strands", "given") == "shared"

    @property
    def both_strands(self) -> bool:
        """Return whether a score is the mean over both strands of a sequence."""
        if self.shares_strands:
            return True
        if self.evaluation.strands is not None:
            return self.evaluation.strands == "both"
        return self.training.reverse_complement and self.objective.is_per_record

    @property
    def adaptation(self) -> Adaptation | None:
        """Return how the weights of a trained network are adapted; None if all are new."""
        return self.model if isinstance(self.model, PretrainedModel) else self.transfer

    @property
    def parents(self) -> list[Path]:
        """Return the model folders that the run and its variants start from."""
        transfers = [run.transfer for run in self.trained.values()]
        return list(dict.fromkeys(transfer.folder for transfer in transfers if transfer))

    @property
    def repeats(self) -> Literal["drop", "count", "keep"]:
        """Return how ingestion treats a repeated sequence, as in `data.writer.RecordRules`.

        Splits that name the test records keep all copies here, and drop those outside of test
        later.
        """
        if self.partner:  # records with the same sequence may have different partners
            return "keep"
        is_given = self.split.kind in ("chromosome", "region", "column", "files")
        return "count" if is_given or self.data.keep_duplicates else "drop"

    @property
    def output_stride(self) -> int:
        """Return the number of positions per vector of the encoder."""
        return self.tokens.stride * getattr(getattr(self.model, "stem", None), "pool", 1)

    @property
    def is_interpreted(self) -> bool:
        """Return whether the workflow searches for motifs, which the report then shows.

        Language models have none. Records with bins are long, so their motifs are searched only for
        the strands in [interpret] targets.
        """
        is_long = self.objective.is_per_bin
        return self.objective.has_scores and (not is_long or bool(self.interpret.targets))

    @property
    def trained(self) -> dict[str, RunFile]:
        """Return the run of the model, under "model", and of each variant under its name."""
        return {"model": self, **{name: self.variant(name) for name in self.variants}}

    def variant(self, name: str) -> RunFile:
        """Return the run file of a variant: this run with the variant's settings applied.

        Raises
        ------
        ValueError
            If there is no such variant.
        """
        if name not in self.variants:
            raise ValueError(
                f"unknown variant {name!r}; known variants: {', '.join(self.variants) or 'none'}"
            )
        if name not in self._variants:
            self._variants[name] = apply_variant(self, self.variants[name])
        return self._variants[name]

    def member(self, number: int) -> RunFile:
        """Return the run of one of `seeds` members, counted from 1: the same run with its own seed.

        Raises
        ------
        ValueError
            If there is no such member.
        """
        if not 1 <= number <= self.training.seeds:
            raise ValueError(f"no member {number}; training.seeds is {self.training.seeds}")
        training = self.training.model_dump() | {
            "seed": self.training.seed + number - 1,
            "seeds": 1,
        }
        return self.model_copy(update={"training": Training.model_validate(training)})

    def part(self, variant: str | None = None, member: int = 1, job: str | None = None) -> RunFile:
        """Return the run of one model folder: a member of the model or a variant, or a sweep job.

        Parameters
        ----------
        variant
            Name of a variant; None for the model.
        member
            Number of the member, from 1; ignored for a job.
        job
            Name of a job in the sweep of the model or variant.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        if job is None:
            return (self.variant(variant) if variant else self).member(member).read_from(self.path)
        jobs = {each.name: each.run for each in self.jobs() if each.of == (variant or "model")}
        if job not in jobs:
            raise ValueError(f"unknown job {job!r}; known jobs: {', '.join(jobs) or 'none'}")
        return jobs[job].read_from(self.path)

    def jobs(self) -> list[Job]:
        """Return all runs of [sweep], each validated as a run file with one seed.

        The list is empty without [sweep]. Jobs have no stack, because `ranking` reads the history
        of the networks.

        Raises
        ------
        ValueError
            If a key or value is invalid in a run file (a ValidationError), may not differ between
            jobs, or is listed twice.
        """
        if self._jobs is None:
            self._jobs = jobs_of(self)
        return self._jobs

    def is_control(self) -> bool:
        """Return whether this run is a control with shuffled labels."""
        return self.training.labels == "shuffled"


def _errors_of(
    derive: Callable[[], object], section: Section | None, *keys: str
) -> list[InitErrorDetails]:
    """Return the errors that `derive` raises about a section, with its keys in the run file."""
    try:
        derive()
    except ValidationError as error:
        return [
            InitErrorDetails(
                type=PydanticCustomError("unknown_key", "{hint}", each["ctx"])
                if each["type"] == "unknown_key"
                else each["type"],
                loc=(*keys, *each["loc"]),
                input=each["input"],
                ctx=each.get("ctx", {}),
            )
            for each in error.errors()
        ]
    except ValueError as error:
        return [InitErrorDetails(type="value_error", loc=keys, input=section, ctx={"error": error})]
    return []
