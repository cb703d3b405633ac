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
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from selfattn_bio.config.data import Data
from selfattn_bio.config.interpret import OF_WEIGHTS, Interpret
from selfattn_bio.config.model import (
    AttentionModel,
    CnnModel,
    DilatedModel,
    Model,
    NoStemSection,
    PairedModel,
    Tokens,
    TowerStemSection,
)
from selfattn_bio.config.objective import (
    PER_PLACE,
    PER_TOKEN,
    BinaryObjective,
    BinsObjective,
    Objective,
    SeveralObjective,
)
from selfattn_bio.config.partner import Partner, SequencePartner, TrackPartner
from selfattn_bio.config.section import MAX_PROTEIN_K, Section, left_out
from selfattn_bio.config.split import Audit, RandomSplit, Split
from selfattn_bio.config.stack import StackSection
from selfattn_bio.config.sweep import Sweep
from selfattn_bio.config.training import PRIVATE_STEM, Evaluation, Privacy, Training, Transfer


class VariantSection(Section):
    """[variants.NAME]: the same run with another model or training, as a baseline or control."""

    tokens: Tokens | None = None
    model: Model | None = Field(None, description="if members is not given, it is that of [model]")
    training: Training = Field(
        Training(),
        description="values that differ from [training]; all others are taken from there",
    )
    transfer: Transfer | None = Field(
        None,
        description="parent of a different model; without tokens and model, the variant starts "
        "like the run",
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
    def place(self) -> str:
        """Return the path of the job below results/TASK/, which holds its model folder."""
        return f"{'' if self.of == 'model' else f'variants/{self.of}/'}sweep/{self.name}"


class RunFile(Section):
    """A task: its data, split, model, training, evaluation and interpretation."""

    title: str = ""
    data: Data
    split: Split = RandomSplit()
    audit: Audit = Audit()
    tokens: Tokens = Tokens()
    partner: Partner | None = left_out(
        None, description="the second of two inputs; model kind paired reads both"
    )
    objective: Objective = BinaryObjective()
    model: Model = AttentionModel()
    training: Training = Training()
    transfer: Transfer | None = None
    privacy: Privacy | None = left_out(None)
    stack: StackSection = left_out(StackSection())
    evaluation: Evaluation = Evaluation()
    interpret: Interpret = Interpret()
    variants: dict[
        Annotated[str, Field(pattern="^[a-z0-9_]+$")],
        Annotated[VariantSection, AfterValidator(_is_a_run)],
    ] = Field(default_factory=_default_variants)
    sweep: Sweep | None = None  # last, because its validator needs all others

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
    def _variants_are_of_binary_runs(cls, values: Any) -> Any:
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
            rule = (
                "positives and negatives, or sequences and label"
                if kind == "binary"
                else "sequences"
            )
            got = (
                "sequences: say what is learnt of them in [objective] kind"
                if kind == "binary"
                else "label"
                if data.label
                else "the two classes"
            )
            raise ValueError(f"[data] of objective {kind!r} must name {rule}, got {got}")
        wanted = bool(self.objective.target_columns)
        if (wanted and not (data.targets or data.may_bring_columns)) or (
            data.targets and not wanted
        ):
            rule, got = (
                ("no targets", ", ".join(data.targets)) if data.targets else ("targets", "none")
            )
            raise ValueError(f"[data] of objective {kind!r} must name {rule}, got {got}")
        if data.tracks and not wanted:
            raise ValueError(
                f"[data] of objective {kind!r} must name no tracks, got {', '.join(data.tracks)}, "
                "which it would not learn"
            )
        trainings = [run.training for run in (self, *map(self.variant, self.variants))]
        if kind != "binary" and any(training.labels == "shuffled" for training in trainings):
            raise ValueError(
                f"training.labels 'shuffled' must go with objective 'binary', got {kind!r}"
            )
        kinds = {kind, *(part.kind for part in getattr(self.objective, "parts", {}).values())}
        if not kinds & {"binary", "multiclass"} and any(
            training.class_weights == "balanced" for training in trainings
        ):
            raise ValueError(
                "training.class_weights 'balanced' must go with objective 'binary' or "
                f"'multiclass', got {kind!r}"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_of_two_classes(self) -> RunFile:
        kind = self.objective.kind
        if kind != "binary" and self.evaluation.groups:
            raise ValueError(f"evaluation.groups must go with objective 'binary', got {kind!r}")
        for run in (self, *map(self.variant, self.variants)):
            if run.training.balance and kind != "binary":
                raise ValueError(f"training.balance must go with objective 'binary', got {kind!r}")
            if run.training.balance and run.training.class_weights == "balanced":
                raise ValueError(
                    "training.class_weights must be 'none' with balance, which weighs labels in "
                    "each group, got 'balanced'"
                )
        return self

    @model_validator(mode="after")
    def _members_have_a_score(self) -> RunFile:
        if self.objective.kind in ("masked", "causal") and self.training.seeds > 1:
            got = f"{self.training.seeds}: it gives no scores to average"
            raise ValueError(
                f"training.seeds must be 1 with objective {self.objective.kind!r}, got {got}"
            )
        return self

    @model_validator(mode="after")
    def _windows_need_no_labels(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if not (window := run.training.window):
                continue
            if (kind := self.objective.kind) not in ("masked", "causal"):
                raise ValueError(
                    f"training.window must go with objective 'masked' or 'causal', got {kind!r}: "
                    "its labels are of whole records"
                )
            if window < (least := 2 * run.tokens.k):
                raise ValueError(
                    f"training.window must be >= 2 tokens.k = {least} letters, got {window}"
                )
        return self

    @model_validator(mode="after")
    def _edits_keep_targets(self) -> RunFile:
        of_records = ("binary", "multiclass", "multilabel", "regression")
        for run in (self, *map(self.variant, self.variants)):
            if run.training.edits and self.objective.kind not in of_records:
                raise ValueError(
                    f"training.edits must go with objective {', '.join(of_records)}, got "
                    f"{self.objective.kind!r}"
                )
            if run.training.edits and self.partner:
                raise ValueError("training.edits must go with records of one input, got [partner]")
        return self

    @model_validator(mode="after")
    def _transfer_is_of_attention(self) -> RunFile:
        if self.transfer and isinstance(self.model, CnnModel | PairedModel):
            raise ValueError(
                f"[transfer] must go with model kind 'attention', got {self.model.kind!r}"
            )
        if self.transfer and isinstance(self.model, DilatedModel) and self.transfer.adapt != "all":
            raise ValueError(
                "[transfer] adapt must be 'all' with model kind 'dilated', got "
                f"{self.transfer.adapt!r}"
            )
        return self

    @model_validator(mode="after")
    def _model_has_an_output_a_token(self) -> RunFile:
        kind = self.objective.kind
        if kind not in PER_TOKEN:
            return self
        for run in (self, *map(self.variant, self.variants)):
            if not isinstance(run.model, AttentionModel):
                got = f"{run.model.kind!r}, which has no output a token"
                raise ValueError(
                    f"objective {kind!r} must go with model kind 'attention', got {got}"
                )
            if kind == "causal" and run.model.stem.kind != "none":
                raise ValueError(
                    "objective 'causal' must go with stem kind 'none', got "
                    f"{run.model.stem.kind!r}, which sees what comes"
                )
            if kind == "labels" and (
                of := (run.tokens.k, run.training.shift, run.training.reverse_complement)
            ) != (1, 0, False):
                rule = "tokens.k 1, training.shift 0 and training.reverse_complement false"
                raise ValueError(
                    f"objective 'labels' must go with {rule}, got {of[0]}, {of[1]} and "
                    f"{str(of[2]).lower()}: a label a letter"
                )
            if kind == "causal" and not run.model.pattern.causal:
                raise ValueError(
                    "objective 'causal' must go with a pattern with causal = true, got one that "
                    "sees what comes"
                )
            if (kind == "causal") and run.tokens.stride != run.tokens.k:
                raise ValueError(
                    f"objective 'causal' must go with tokens.stride = tokens.k ({run.tokens.k}), "
                    f"got {run.tokens.stride}"
                )
            if kind != "causal" and run.model.pattern.causal:
                raise ValueError(
                    f"objective {kind!r} must go with a pattern that sees both sides, got a causal "
                    "one"
                )
        return self

    @model_validator(mode="after")
    def _bins_are_of_whole_places(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            stem = getattr(run.model, "stem", None)
            if not isinstance(self.objective, BinsObjective):
                if isinstance(run.model, DilatedModel):
                    raise ValueError(
                        "model kind 'dilated' must go with objective 'bins', got "
                        f"{self.objective.kind!r}"
                    )
                if isinstance(stem, TowerStemSection) and self.objective.kind in PER_TOKEN:
                    raise ValueError(
                        "stem kind 'tower' must go with an objective without an output a token, "
                        f"got {self.objective.kind!r}"
                    )
            elif stem is None:
                raise ValueError(
                    "objective 'bins' must go with model kind 'attention' or 'dilated', got "
                    f"{run.model.kind!r}, which has one output"
                )
            elif run.data.alphabet != "dna":
                raise ValueError(
                    "objective 'bins' must go with [data] alphabet 'dna', got "
                    f"{run.data.alphabet!r}"
                )
            elif self.objective.bin % (pitch := run.pitch):
                raise ValueError(
                    f"bin must be a multiple of the letters to a place of the model ({pitch}), got "
                    f"{self.objective.bin}"
                )
            elif isinstance(run.model, AttentionModel) and run.model.pattern.causal:
                raise ValueError(
                    "objective 'bins' must go with a pattern that sees both sides, got a causal one"
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
                got = f"{self.objective.kind!r}, which calls no class"
                raise ValueError(
                    f"exits {run.model.exits.kind!r} must go with objective 'binary' or "
                    f"'multiclass', got {got}"
                )
        return self

    @model_validator(mode="after")
    def _method_can_read_the_model(self) -> RunFile:
        model, method = self.model, self.interpret.method.kind
        if isinstance(model, PairedModel) and method in OF_WEIGHTS:
            raise ValueError(
                f"[interpret] method must be one that can read two inputs, got {method!r}"
            )
        if not isinstance(model, AttentionModel):
            return self
        if model.mixer.kind != "softmax" and method in OF_WEIGHTS:
            raise ValueError(
                f"[interpret] method {method!r} must go with mixer 'softmax', whose weights it "
                f"reads, got {model.mixer.kind!r}"
            )
        if model.exits.kind != "none" and method == "deep_lift_shap":
            raise ValueError(
                "[interpret] method 'deep_lift_shap' must go with exits 'none', got "
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
                f"model.kind must be 'attention' with [privacy], got {model.kind!r}, whose batch "
                "norms mix the records of a batch"
            )
        if (
            not isinstance(model.stem, NoStemSection)
            and getattr(model.stem, "norm", "batch") == "batch"
        ):
            raise ValueError(
                "model.stem must have no batch norm, which mixes records, with [privacy], got "
                f"kind {model.stem.kind!r}. {PRIVATE_STEM}"
            )
        ways = {
            "training.seeds": (
                training.seeds,
                1,
                "each further member spends epsilon again; model.members share it",
            ),
            "training.accumulate": (
                training.accumulate,
                1,
                "records are taken one at a time; batch_size is those of a step",
            ),
            "training.clip_norm": (
                training.clip_norm,
                Training().clip_norm,
                "privacy.max_grad_norm clips",
            ),
            "training.class_weights": (
                training.class_weights,
                "none",
                "weights would tell the counts of labels",
            ),
            "training.balance": (
                training.balance and training.balance.kind,
                None,
                "records must be drawn and weighed alike, whatever their group",
            ),
            "training.window": (
                training.window,
                None,
                "a record would be in a batch by several windows",
            ),
        }
        for name, (got, wanted, why) in ways.items():
            if got != wanted:
                raise ValueError(
                    f"{name} must be {'not given' if wanted is None else repr(wanted)} with "
                    f"[privacy], got {got!r}: {why}"
                )
        if training.precision == "16-mixed":
            raise ValueError(
                "training.precision must be '32-true' or 'bf16-mixed' with [privacy], got "
                "'16-mixed': a step may overflow and be spent"
            )
        if self.transfer and self.transfer.adapt == "gradual":
            raise ValueError(
                "transfer.adapt must be 'all', 'frozen' or 'lora' with [privacy], got 'gradual': "
                "what is frozen would be clipped too"
            )
        if isinstance(objective, SeveralObjective | BinsObjective):
            raise ValueError(
                "objective.kind must be another than 'several' and 'bins' with [privacy], got "
                f"{objective.kind!r}"
            )
        for name in ("classes", "center", "scale"):
            if getattr(objective, name, None) == ():
                raise ValueError(
                    f"objective.{name} must be given with [privacy], got nothing: taken from the "
                    "training records it would tell of them"
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
    def _both_strands_can_be_read(self) -> RunFile:
        if self.evaluation.strands != "both":
            return self
        if self.data.alphabet != "dna":
            raise ValueError(
                f"evaluation.strands 'both' needs DNA; [data] alphabet is {self.data.alphabet!r}"
            )
        if self.objective.kind in (*PER_TOKEN, *PER_PLACE) or isinstance(self.model, PairedModel):
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
            if (kind := run.objective.kind) in (*PER_TOKEN, *PER_PLACE):
                rule = "model.strands 'shared' needs one output per sequence"
                raise ValueError(
                    f"{rule}; remove it, as objective {kind!r} has an output per token or bin"
                )
            if (stride := run.tokens.stride) > 1:
                raise ValueError(f"model.strands 'shared' needs tokens.stride = 1, got {stride}")
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
        return self.training.reverse_complement and self.objective.kind not in (
            *PER_TOKEN,
            *PER_PLACE,
        )

    @model_validator(mode="after")
    def _two_inputs_go_together(self) -> RunFile:
        if self.partner and not isinstance(self.model, PairedModel):
            raise ValueError(
                "[partner] must go with model kind 'paired', which reads it, got "
                f"{self.model.kind!r}"
            )
        column = isinstance(self.partner, SequencePartner) and self.partner.column
        if column and not self.data.unlabelled:
            raise ValueError(
                "[partner] column must go with [data] sequences, tables that hold it, got "
                f"{column!r} and none"
            )
        for run in (self, *map(self.variant, self.variants)):
            paired, training = isinstance(run.model, PairedModel), run.training
            if paired and not self.partner:
                raise ValueError(
                    "model kind 'paired' must go with a section [partner], its second input, got "
                    "none"
                )
            if paired and self.objective.kind in (*PER_TOKEN, *PER_PLACE):
                raise ValueError(
                    "model kind 'paired' must go with an objective of whole sequences, got "
                    f"{self.objective.kind!r}"
                )
            if paired and training.reverse_complement:
                raise ValueError(
                    "training.reverse_complement must be false with model kind 'paired': the "
                    "partner stays as it is, got true"
                )
            if not paired and training.pairs != "given":
                raise ValueError(
                    f"training.pairs {training.pairs!r} must go with model kind 'paired', got "
                    f"{run.model.kind!r}"
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
    def _tokens_and_strands_fit_the_alphabet(self) -> RunFile:
        if self.data.alphabet != "protein":
            return self
        if (k := self.tokens.k) > MAX_PROTEIN_K:
            raise ValueError(
                f"tokens.k must be <= {MAX_PROTEIN_K} for protein (20 letters: "
                f"{20**MAX_PROTEIN_K:,} k-mers), got {k}"
            )
        if self.tokens.canonical:
            raise ValueError(
                "tokens.canonical must be false for protein, which has no reverse complement, got "
                "true"
            )
        if self.training.reverse_complement:
            raise ValueError(
                "training.reverse_complement must be false for protein, which has none, got true"
            )
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
                f"variant must be one of {', '.join(self.variants) or '(none)'}, got {name!r}"
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

    def _sized(self, model: Model) -> Model:
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
            raise ValueError(
                f"member must be from 1 to training.seeds ({self.training.seeds}), got {number}"
            )
        training = self.training.model_dump() | {
            "seed": self.training.seed + number - 1,
            "seeds": 1,
        }
        return self.model_copy(update={"training": Training.model_validate(training)})

    def part(self, variant: str | None = None, member: int = 1, job: str | None = None) -> RunFile:
        """Return the run of one model folder.

        That is a member of the model or of a variant, or a job of a sweep of either.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        if job is None:
            return (self.variant(variant) if variant else self).member(member)
        jobs = {each.name: each.run for each in self.jobs() if each.of == (variant or "model")}
        if job not in jobs:
            raise ValueError(f"job must be one of {', '.join(jobs) or '(none)'}, got {job!r}")
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
        if len({job.place for job in jobs}) < len(jobs):
            raise ValueError(
                "of and the values of each key must differ from each other, got one twice"
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
            raise ValueError(f"keys must be of {', '.join(SWEPT)}, got {other[0]!r}")
        found = _same_in_jobs(run.training)
        for name, wanted in _same_in_jobs(self.member(1).training).items():
            if found[name] != wanted:
                raise ValueError(
                    f"training.{name} must be {wanted!r}, that of [training], in every job, got "
                    f"{found[name]!r}"
                )
        return run

    def is_control(self) -> bool:
        """Return whether this run is a control with shuffled labels."""
        return self.training.labels == "shuffled"
