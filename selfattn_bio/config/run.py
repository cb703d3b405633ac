"""The complete run file: its sections, variants and sweeps, and rules about their combination.

A variant and a job of a sweep are run files too, so all rules are validators of `RunFile`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from selfattn_bio.config.data import Data
from selfattn_bio.config.interpret import OF_WEIGHTS, Interpret
from selfattn_bio.config.model import (
    AnyModel,
    AttentionModel,
    CnnModel,
    DilatedModel,
    NoStemSection,
    PairedModel,
    Tokens,
    TowerStemSection,
)
from selfattn_bio.config.objective import (
    AnyObjective,
    BinaryObjective,
    BinsObjective,
    SeveralObjective,
)
from selfattn_bio.config.partner import Partner, SequencePartner, TrackPartner
from selfattn_bio.config.section import MAX_PROTEIN_K, Section, left_out
from selfattn_bio.config.split import AnySplit, Audit, RandomSplit
from selfattn_bio.config.stack import StackSection
from selfattn_bio.config.sweep import Sweep
from selfattn_bio.config.training import (
    PRIVATE_STEM,
    EvaluationSection,
    Privacy,
    Training,
    Transfer,
)


class VariantSection(Section):
    """[variants.NAME]: the same run with another model or training, as a baseline or control."""

    tokens: Tokens | None = None
    model: AnyModel | None = Field(
        None, description="if members is not given, it is that of [model]"
    )
    training: Training = Field(
        Training(),
        description="values that differ from [training]; all others are taken from there",
    )
    transfer: Transfer | None = Field(
        None,
        description="parent of the variant, if it has tokens or model; otherwise the parent is "
        "that of the run",
    )


def _is_a_run(variant: VariantSection, info: ValidationInfo) -> VariantSection:
    """Apply a variant to the run now, so that errors point to [variants.NAME]."""
    sections = {**info.data, "variants": {}}
    # otherwise another section is invalid, which is reported first
    if set(sections) | {"sweep"} == set(RunFile.model_fields):
        try:
            run = RunFile.model_validate(sections)
        except (
            ValidationError
        ):  # the run itself is invalid, which is reported by its own validators
            return variant
        run._with(variant)
    return variant


def _kind_of(section: Any) -> str:
    """Return the kind of a section that has not been validated yet."""
    return section.get("kind", "") if isinstance(section, dict) else getattr(section, "kind", "")


def _variants_of_pairs() -> dict[str, VariantSection]:
    return {
        "first_alone": VariantSection(training=Training(pairs="first_alone")),
        "partner_alone": VariantSection(training=Training(pairs="partner_alone")),
        "shuffled": VariantSection(training=Training(labels="shuffled")),
    }


def _default_variants() -> dict[str, VariantSection]:
    return {
        "cnn": VariantSection(model=CnnModel()),
        "shuffled": VariantSection(training=Training(labels="shuffled")),
    }


# Sections that may differ between jobs, which share data and objective.
SWEPT = ("tokens", "model", "training", "transfer")


def _same_in_jobs(training: Training) -> dict[str, Any]:
    """Return the [training] values that a sweep must not change: budget and comparison."""
    same = {
        name: getattr(training, name)
        for name in ("max_steps", "evaluate_every", "patience", "labels", "seeds", "window")
    }
    return same | {"batch_size * accumulate": training.batch_size * training.accumulate}


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes
    ----------
    of
        "model", or the name of the variant that is swept.
    settings
        Maps dotted keys of the run file to the values of this job.
    run
        The run file of the job.
    """

    of: str
    settings: dict[str, Any]
    run: RunFile

    @property
    def name(self) -> str:
        """Return a hash of the settings, so that longer lists of values train only the new jobs."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> str:
        """Return the path of the job below results/TASK/, which contains its model folder."""
        return f"{'' if self.of == 'model' else f'variants/{self.of}/'}sweep/{self.name}"


class RunFile(Section):
    """A task: its data, split, model, training, evaluation and interpretation."""

    title: str = ""
    data: Data
    split: AnySplit = RandomSplit()
    audit: Audit = Audit()
    tokens: Tokens = Tokens()
    partner: Partner | None = left_out(
        None, description="the second of two inputs; model kind paired reads both"
    )
    objective: AnyObjective = BinaryObjective()
    model: AnyModel = AttentionModel()
    training: Training = Training()
    transfer: Transfer | None = None
    privacy: Privacy | None = left_out(None)
    stack: StackSection = left_out(StackSection())
    evaluation: EvaluationSection = EvaluationSection()
    interpret: Interpret = Interpret()
    variants: dict[
        Annotated[str, Field(pattern="^[a-z0-9_]+$")],
        Annotated[VariantSection, AfterValidator(_is_a_run)],
    ] = Field(default_factory=_default_variants)
    sweep: Sweep | None = None  # last, because its validator needs all others
    _path: Path | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        """Compare the settings, not the files that they were read from."""
        return isinstance(other, RunFile) and self.__dict__ == other.__dict__

    @property
    def path(self) -> Path | None:
        """Return the file that the run was read from, for error messages; None if there is none."""
        return self._path

    def read_from(self, path: Path) -> RunFile:
        """Return a copy that remembers the file it was read from."""
        copied = self.model_copy()
        copied._path = path
        return copied

    @field_validator("sweep")
    @classmethod
    def _jobs_are_runs(cls, sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
        """Expand the sweep now, so that errors in the run of a job point to [sweep]."""
        # otherwise another section is invalid, which is reported first
        if sweep and {*info.data, "sweep"} == set(cls.model_fields):
            cls.model_construct(**info.data, sweep=sweep).jobs()
        return sweep

    @model_validator(mode="before")
    @classmethod
    def _set_default_variants(cls, values: Any) -> Any:
        """Set the default variants, which depend on the objective and the model.

        Binary runs get a CNN and a control with shuffled labels. Runs with two inputs get each
        input alone instead of the CNN. Private runs get none: a CNN cannot be private, and each
        variant would train on the records once more.
        """
        if not isinstance(values, dict):
            return values
        kind, model = (_kind_of(values.get(name)) for name in ("objective", "model"))
        if (kind or "binary") != "binary" or values.get("privacy") is not None:
            return {"variants": {}, **values}
        return {"variants": _variants_of_pairs(), **values} if model == "paired" else values

    @model_validator(mode="before")
    @classmethod
    def _files_are_the_split(cls, values: Any) -> Any:
        """Use the files as the split where [data] names train and test and [split] has no kind."""
        data = values.get("data") if isinstance(values, dict) else None
        train = data.get("train") if isinstance(data, dict) else getattr(data, "train", None)
        split = values.get("split", {}) if train else None
        return (
            {**values, "split": {"kind": "files", **split}} if isinstance(split, dict) else values
        )

    @model_validator(mode="after")
    def _split_fits_the_data(self) -> RunFile:
        kind = self.split.kind
        if kind == "files" and not self.data.train:
            raise ValueError(
                "[split] kind 'files' needs [data] train and test, the files of each split"
            )
        if kind != "files" and self.data.train:
            raise ValueError(
                f"[data] train, valid and test are the split, so [split] kind {kind!r} cannot be "
                "used; remove [split]"
            )
        return self

    @model_validator(mode="after")
    def _numbered_ids_join_nothing(self) -> RunFile:
        by_id = getattr(self.partner, "files", None) or (
            isinstance(self.partner, TrackPartner) and self.partner.path.endswith(".npz")
        )
        if self.data.ids == "numbered" and by_id:
            raise ValueError(
                "[partner] files and .npz arrays are joined by id, so [data] ids = 'numbered' "
                "cannot be used with them"
            )
        return self

    @model_validator(mode="after")
    def _objective_fits_the_data(self) -> RunFile:
        kind, data = self.objective.kind, self.data
        if (kind == "binary") == bool(data.unlabelled and not data.label):
            if kind == "binary":
                raise ValueError(
                    "[data] sequences have no labels for objective 'binary'; add label, or choose "
                    "another [objective] kind"
                )
            unused, fix = (
                ("label", "remove it")
                if data.label
                else ("positives and negatives", "use sequences instead")
            )
            raise ValueError(f"[data] {unused} cannot be used with objective {kind!r}; {fix}")
        wanted = bool(self.objective.target_columns)
        if wanted and not (data.targets or data.may_bring_columns):
            raise ValueError(
                f"[data] needs targets, a table with the columns of objective {kind!r}"
            )
        for name in ("targets", "tracks"):
            if getattr(data, name) and not wanted:
                raise ValueError(
                    f"[data] {name} cannot be used with objective {kind!r}; remove {name}"
                )
        trainings = [run.training for run in (self, *map(self.variant, self.variants))]
        if kind != "binary" and any(training.labels == "shuffled" for training in trainings):
            raise ValueError(
                f"training.labels 'shuffled' cannot be used with objective {kind!r}, only with "
                "'binary'"
            )
        kinds = {kind, *(part.kind for part in getattr(self.objective, "parts", {}).values())}
        if not kinds & {"binary", "multiclass"} and any(
            training.class_weights == "balanced" for training in trainings
        ):
            raise ValueError(
                f"training.class_weights 'balanced' cannot be used with objective {kind!r}, only "
                "with 'binary' and 'multiclass'"
            )
        return self

    @model_validator(mode="after")
    def _groups_fit_the_objective(self) -> RunFile:
        kind = self.objective.kind
        if kind != "binary" and self.evaluation.groups:
            raise ValueError(
                f"evaluation.groups cannot be used with objective {kind!r}, only with 'binary'"
            )
        for run in (self, *map(self.variant, self.variants)):
            if run.training.balance and kind != "binary":
                raise ValueError(
                    f"training.balance cannot be used with objective {kind!r}, only with 'binary'"
                )
            if run.training.balance and run.training.class_weights == "balanced":
                raise ValueError(
                    "training.class_weights cannot be used with training.balance, which already "
                    "balances the labels of each group; remove it"
                )
        return self

    @model_validator(mode="after")
    def _members_have_a_score(self) -> RunFile:
        if self.objective.kind in ("masked", "causal") and self.training.seeds > 1:
            raise ValueError(
                f"training.seeds cannot be used with objective {self.objective.kind!r}, which has "
                "no scores to average; remove it"
            )
        return self

    @model_validator(mode="after")
    def _windows_need_no_labels(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if not (window := run.training.window):
                continue
            if (kind := self.objective.kind) not in ("masked", "causal"):
                raise ValueError(
                    f"training.window cannot be used with objective {kind!r}, only with 'masked' "
                    "and 'causal', because labels belong to complete records"
                )
            if window < (least := 2 * run.tokens.k):
                raise ValueError(
                    f"training.window {window} is too small; use at least {least}, twice tokens.k"
                )
        return self

    @model_validator(mode="after")
    def _edits_keep_targets(self) -> RunFile:
        of_records = ("binary", "multiclass", "multilabel", "regression")
        for run in (self, *map(self.variant, self.variants)):
            if run.training.edits and self.objective.kind not in of_records:
                raise ValueError(
                    f"training.edits cannot be used with objective {self.objective.kind!r}, only "
                    f"with {', '.join(of_records)}"
                )
            if run.training.edits and self.partner:
                raise ValueError("training.edits cannot be used with [partner]; remove one of them")
        return self

    @model_validator(mode="after")
    def _transfer_is_of_attention(self) -> RunFile:
        if self.transfer and isinstance(self.model, CnnModel | PairedModel):
            raise ValueError(
                f"[transfer] cannot be used with model kind {self.model.kind!r}; remove it"
            )
        if self.transfer and isinstance(self.model, DilatedModel) and self.transfer.adapt != "all":
            raise ValueError(
                f"[transfer] adapt {self.transfer.adapt!r} cannot be used with model kind "
                "'dilated'; use 'all'"
            )
        return self

    @model_validator(mode="after")
    def _model_predicts_each_token(self) -> RunFile:
        kind = self.objective.kind
        if self.objective.outputs_per != "token":
            return self
        for run in (self, *map(self.variant, self.variants)):
            if not isinstance(run.model, AttentionModel):
                raise ValueError(
                    f"objective {kind!r} needs model kind 'attention'; kind {run.model.kind!r} has "
                    "no output per token"
                )
            if kind == "causal" and run.model.stem.kind != "none":
                raise ValueError(
                    "objective 'causal' needs stem kind 'none'; kind "
                    f"{run.model.stem.kind!r} sees later tokens"
                )
            if kind == "labels" and (
                run.tokens.k > 1 or run.training.shift or run.training.reverse_complement
            ):
                raise ValueError(
                    "objective 'labels' needs tokens.k = 1, training.shift = 0 and "
                    "training.reverse_complement = false, because it has one label per position"
                )
            if kind == "causal" and not run.model.pattern.causal:
                raise ValueError(
                    "objective 'causal' needs a causal pattern; set causal = true in model.pattern"
                )
            if (kind == "causal") and run.tokens.stride != run.tokens.k:
                raise ValueError(
                    "objective 'causal' needs tokens that do not overlap; set tokens.stride = "
                    f"{run.tokens.k}, the value of tokens.k"
                )
            if kind != "causal" and run.model.pattern.causal:
                raise ValueError(
                    f"objective {kind!r} cannot be used with a causal pattern; remove causal from "
                    "model.pattern"
                )
        return self

    @model_validator(mode="after")
    def _bins_fit_the_model(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            stem = getattr(run.model, "stem", None)
            if not isinstance(self.objective, BinsObjective):
                if isinstance(run.model, DilatedModel):
                    raise ValueError(
                        "model kind 'dilated' cannot be used with objective "
                        f"{self.objective.kind!r}, only with 'bins'"
                    )
                if isinstance(stem, TowerStemSection) and self.objective.outputs_per == "token":
                    raise ValueError(
                        "model.stem kind 'tower' cannot be used with objective "
                        f"{self.objective.kind!r}, which has one output per token"
                    )
            elif stem is None:
                raise ValueError(
                    f"objective 'bins' cannot be used with model kind {run.model.kind!r}, only "
                    "with 'attention' and 'dilated'"
                )
            elif run.data.alphabet != "dna":
                raise ValueError(
                    f"objective 'bins' needs DNA; [data] alphabet is {run.data.alphabet!r}"
                )
            elif self.objective.bin % (pitch := run.pitch):
                raise ValueError(
                    f"objective.bin {self.objective.bin} is not a multiple of {pitch}, the bases "
                    "per position of the encoder"
                )
            elif isinstance(run.model, AttentionModel) and run.model.pattern.causal:
                raise ValueError(
                    "objective 'bins' cannot be used with a causal pattern; remove causal from "
                    "model.pattern"
                )
        return self

    @model_validator(mode="after")
    def _exits_can_be_sure(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if (
                isinstance(run.model, AttentionModel)
                and run.model.exits.kind != "none"
                and self.objective.kind not in ("binary", "multiclass")
            ):
                raise ValueError(
                    f"model.exits {run.model.exits.kind!r} cannot be used with objective "
                    f"{self.objective.kind!r}, only with 'binary' and 'multiclass'"
                )
        return self

    @model_validator(mode="after")
    def _method_fits_the_model(self) -> RunFile:
        model, method = self.model, self.interpret.method.kind
        if isinstance(model, PairedModel) and method in OF_WEIGHTS:
            raise ValueError(
                f"[interpret] method {method!r} cannot explain model kind 'paired'; choose another"
            )
        if not isinstance(model, AttentionModel):
            return self
        if model.mixer.kind != "softmax" and method in OF_WEIGHTS:
            raise ValueError(
                f"[interpret] method {method!r} needs the attention weights of mixer 'softmax'; "
                f"mixer {model.mixer.kind!r} has none"
            )
        if model.exits.kind != "none" and method == "deep_lift_shap":
            raise ValueError(
                "[interpret] method 'deep_lift_shap' cannot be used with model.exits "
                f"{model.exits.kind!r}"
            )
        return self

    @model_validator(mode="after")
    def _run_can_be_private(self) -> RunFile:
        if self.privacy is None:
            return self
        training, model, objective = self.training, self.model, self.objective
        if not isinstance(model, AttentionModel):
            raise ValueError(
                f"model.kind {model.kind!r} cannot be used with [privacy], because its batch norms "
                "mix the records of a batch; use 'attention'"
            )
        if (
            not isinstance(model.stem, NoStemSection)
            and getattr(model.stem, "norm", "batch") == "batch"
        ):
            raise ValueError(
                f"model.stem kind {model.stem.kind!r} cannot be used with [privacy], because its "
                f"batch norm mixes the records of a batch. {PRIVATE_STEM}"
            )
        reasons = {
            "seeds": "each member would spend epsilon again; use model.members instead",
            "accumulate": "records are processed one at a time; set batch_size instead",
            "clip_norm": "gradients are clipped to privacy.max_grad_norm; remove it",
            "class_weights": "the weights would reveal the label counts; remove it",
            "balance": "records must be sampled and weighted equally; remove it",
            "window": "a batch could contain several windows of a record; remove it",
        }
        for name, reason in reasons.items():
            if getattr(training, name) != getattr(Training(), name):
                raise ValueError(f"training.{name} cannot be used with [privacy], because {reason}")
        if training.precision == "16-mixed":
            raise ValueError(
                "training.precision '16-mixed' cannot be used with [privacy], because steps that "
                "overflow would spend epsilon; use 'bf16-mixed'"
            )
        if self.transfer and self.transfer.adapt == "gradual":
            raise ValueError(
                "transfer.adapt 'gradual' cannot be used with [privacy], because gradients of "
                "frozen layers would be clipped too; use 'all', 'frozen' or 'lora'"
            )
        if isinstance(objective, SeveralObjective | BinsObjective):
            raise ValueError(f"objective.kind {objective.kind!r} cannot be used with [privacy]")
        for name in ("classes", "center", "scale"):
            if getattr(objective, name, None) == ():
                raise ValueError(
                    f"objective.{name} is required with [privacy]: values computed from the "
                    "training records would reveal information about them"
                )
        return self

    @model_validator(mode="after")
    def _stack_fits_the_run(self) -> RunFile:
        if not self.stack.parts:
            return self
        if self.objective.kind != "binary":
            raise ValueError(
                f"[stack] parts are models of two classes; the objective is {self.objective.kind!r}"
            )
        if isinstance(self.model, PairedModel):
            raise ValueError(
                "[stack] cannot be used with model kind 'paired': its parts read one input"
            )
        if self.privacy:
            raise ValueError(
                "[stack] cannot be used with [privacy]: its parts are fitted without clipping and "
                "noise"
            )
        if self.both_strands and "exact_positions" in self.stack.parts:
            raise ValueError(
                "[stack] part 'exact_positions' reads the given strand alone; the run reads both "
                "strands"
            )
        if self.training.balance:
            raise ValueError(
                "[stack] cannot be used with training.balance: its parts are fitted without it"
            )
        return self

    @model_validator(mode="after")
    def _both_strands_are_available(self) -> RunFile:
        if self.evaluation.strands != "both":
            return self
        if self.data.alphabet != "dna":
            raise ValueError(
                f"evaluation.strands 'both' needs DNA; [data] alphabet is {self.data.alphabet!r}"
            )
        if self.objective.outputs_per != "sequence" or isinstance(self.model, PairedModel):
            raise ValueError("evaluation.strands 'both' needs one score per sequence and one input")
        return self

    @model_validator(mode="after")
    def _strands_can_be_shared(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if not run.shares_strands:
                continue
            if run.data.alphabet != "dna":
                raise ValueError(
                    f"model.strands 'shared' needs DNA; [data] alphabet is {run.data.alphabet!r}"
                )
            if run.objective.outputs_per != "sequence":
                rule = "model.strands 'shared' needs one output per sequence"
                raise ValueError(
                    f"{rule}; remove it, as objective {run.objective.kind!r} has an output per "
                    "token or bin"
                )
            if (stride := run.tokens.stride) > 1:
                raise ValueError(f"model.strands 'shared' needs tokens.stride = 1; it is {stride}")
            if run.evaluation.strands == "given":
                raise ValueError(
                    "evaluation.strands 'given' cannot be used with model.strands 'shared'; remove "
                    "it"
                )
            if run.training.reverse_complement:
                raise ValueError(
                    "training.reverse_complement has no effect with model.strands 'shared'; remove "
                    "it"
                )
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
        return self.training.reverse_complement and self.objective.outputs_per == "sequence"

    @model_validator(mode="after")
    def _two_inputs_go_together(self) -> RunFile:
        if self.partner and not isinstance(self.model, PairedModel):
            raise ValueError(
                f"[partner] cannot be used with model kind {self.model.kind!r}, only with 'paired'"
            )
        column = isinstance(self.partner, SequencePartner) and self.partner.column
        if column and not self.data.unlabelled:
            raise ValueError("[partner] column needs [data] sequences, the tables with this column")
        for run in (self, *map(self.variant, self.variants)):
            paired, training = isinstance(run.model, PairedModel), run.training
            if paired and not self.partner:
                raise ValueError("model kind 'paired' needs [partner], its second input")
            if paired and training.reverse_complement:
                raise ValueError(
                    "training.reverse_complement cannot be used with model kind 'paired', because "
                    "the partner is not reverse-complemented; remove it"
                )
            if not paired and training.pairs != "given":
                raise ValueError(
                    f"training.pairs {training.pairs!r} cannot be used with model kind "
                    f"{run.model.kind!r}, only with 'paired'"
                )
        return self

    @property
    def parents(self) -> list[Path]:
        """Return the model folders that the run and its variants start from."""
        transfers = [run.transfer for run in (self, *map(self.variant, self.variants))]
        return list(dict.fromkeys(transfer.folder for transfer in transfers if transfer))

    @property
    def repeats(self) -> Literal["drop", "count", "keep"]:
        """Return how ingestion treats a repeated sequence, as in `data.writer.Rules`.

        Splits that name the test records keep all copies here, and drop those outside of test
        later.
        """
        if self.partner:  # records with the same sequence may have different partners
            return "keep"
        return (
            "count"
            if self.data.keep_duplicates
            or self.split.kind in ("chromosome", "region", "column", "files")
            else "drop"
        )

    @property
    def pitch(self) -> int:
        """Return the number of positions per vector of the encoder."""
        return self.tokens.stride * getattr(getattr(self.model, "stem", None), "pool", 1)

    @model_validator(mode="after")
    def _settings_fit_the_alphabet(self) -> RunFile:
        if self.data.alphabet != "protein":
            return self
        if (k := self.tokens.k) > MAX_PROTEIN_K:
            raise ValueError(
                f"tokens.k {k} is too large for protein ({20**k:,} k-mers); use at most "
                f"{MAX_PROTEIN_K}"
            )
        if self.tokens.canonical:
            raise ValueError(
                "tokens.canonical cannot be used with protein, which has no reverse complement; "
                "remove it"
            )
        if self.training.reverse_complement:
            raise ValueError("training.reverse_complement cannot be used with protein; remove it")
        return self

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
        return self._with(self.variants[name])

    def _with(self, change: VariantSection) -> RunFile:
        """Apply a variant to this run and validate the result as a run file."""
        values: dict[str, Any] = {name: getattr(self, name) for name in RunFile.model_fields} | {
            "variants": {},
            "sweep": None,
        }
        values["stack"] = StackSection()  # variants are compared as networks, without a stack
        values["training"] = self.training.model_dump() | {
            key: getattr(change.training, key) for key in change.training.model_fields_set
        }
        values |= {
            "tokens": change.tokens or self.tokens,
            "model": self._sized(change.model) if change.model else self.model,
        }
        if not isinstance(values["model"], PairedModel):
            values["partner"] = None  # a model with one input has no partner
        if change.tokens or change.model:
            values["transfer"] = (
                change.transfer
            )  # the weights of [transfer] may not fit another network
        return RunFile.model_validate(values)

    @property
    def trained(self) -> dict[str, RunFile]:
        """Return the run of the model, under "model", and of each variant under its name."""
        return {"model": self, **{name: self.variant(name) for name in self.variants}}

    def _sized(self, model: AnyModel) -> AnyModel:
        """Copy members and strands of this run to a variant's model unless the variant sets them.

        Equal sizes make the comparison fair.
        """
        names = {
            name
            for name in ("members", "strands")
            if hasattr(self.model, name) and hasattr(model, name)
        }
        return model.model_copy(
            update={name: getattr(self.model, name) for name in names - model.model_fields_set}
        )

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
            return (self.variant(variant) if variant else self).member(member)
        jobs = {each.name: each.run for each in self.jobs() if each.of == (variant or "model")}
        if job not in jobs:
            raise ValueError(f"unknown job {job!r}; known jobs: {', '.join(jobs) or 'none'}")
        return jobs[job]

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
        if self.sweep is None:
            return []
        jobs: list[Job] = []
        for of in self.sweep.of:
            values = (
                (self if of == "model" else self.variant(of))
                .member(1)
                .model_dump(exclude={"variants", "sweep", "stack"})
            )
            jobs += [
                Job(of, settings, self._job(values, settings))
                for settings in self.sweep.combinations()
            ]
        if len({job.folder for job in jobs}) < len(jobs):
            raise ValueError(
                "two jobs have the same settings; list each value, and each name in of, once"
            )
        return jobs

    def _job(self, values: dict[str, Any], settings: dict[str, Any]) -> RunFile:
        """Return the run of `values` with the settings applied."""
        values = copy.deepcopy(values)
        for key, value in settings.items():
            *tables, last = key.split(".")
            table = values
            for name in tables:
                if not isinstance(table.get(name), dict):
                    table[name] = {}
                table = table[name]
            table[last] = value
        run = RunFile.model_validate(values | {"variants": {}})
        if other := [key for key in settings if key.partition(".")[0] not in SWEPT]:
            raise ValueError(f"{other[0]!r} cannot be swept, only keys of {', '.join(SWEPT)}")
        found = _same_in_jobs(run.training)
        for name, wanted in _same_in_jobs(self.member(1).training).items():
            if found[name] != wanted:
                raise ValueError(
                    f"training.{name} is {wanted!r} in [training] but {found[name]!r} in a job; "
                    "it must be the same in all jobs"
                )
        return run

    def is_control(self) -> bool:
        """Return whether this run is a control with shuffled labels."""
        return self.training.labels == "shuffled"
