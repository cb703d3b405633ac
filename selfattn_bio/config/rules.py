"""Rules about combinations of sections.

A rule is a function that takes a run and yields a sentence for each two settings that cannot be
used together. The first sentence becomes the error, so the order of `RULES` matters. Rules about a
single section are its method `problems`. The run file of a variant or a sweep job is checked with
the same rules, so a rule only looks at the run that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, get_args

from selfattn_bio.config.genome import NumberTrack
from selfattn_bio.config.interpret import KNOWN_METHODS, ModiscoCaller
from selfattn_bio.config.model import (
    AttentionModel,
    CnnModel,
    DilatedModel,
    ModuleModel,
    PairedModel,
    TowerStemSection,
)
from selfattn_bio.config.objective import AnyObjective, BinsObjective, RegressionObjective
from selfattn_bio.config.pretrained import PretrainedModel
from selfattn_bio.config.section import MAX_PROTEIN_K
from selfattn_bio.config.training import PRIVATE_STEM, Training

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def split_fits_the_data(run: RunFile) -> Iterator[str]:
    """Refuse a split that contradicts separate files of train and test."""
    kind = run.split.kind
    if kind == "files" and not run.data.train:
        yield "[split] kind 'files' needs [data] train and test, the files of each split"
    if kind != "files" and run.data.train:
        yield (
            f"[data] train, valid and test are the split, so [split] kind {kind!r} cannot be "
            "used; remove [split]"
        )


def numbered_ids_join_nothing(run: RunFile) -> Iterator[str]:
    """Refuse numbered ids if a partner is joined by id."""
    if run.data.ids == "numbered" and run.partner and run.partner.files:
        yield (
            "[partner] files are joined by id, so [data] ids = 'numbered' cannot be used with them"
        )


def labels_fit_the_objective(run: RunFile) -> Iterator[str]:
    """Require labels for two classes, and refuse them for other objectives."""
    kind, data = run.objective.kind, run.data
    if kind == "binary" and data.unlabelled and not data.label:
        yield (
            "[data] sequences have no labels for objective 'binary'; add label, or choose "
            "another [objective] kind"
        )
    if kind != "binary" and data.label:
        yield f"[data] label cannot be used with objective {kind!r}; remove it"
    elif kind != "binary" and not data.unlabelled:
        yield (
            f"[data] positives and negatives cannot be used with objective {kind!r}; use sequences "
            "instead"
        )


def targets_fit_the_objective(run: RunFile) -> Iterator[str]:
    """Require target columns if the objective reads them, and refuse them otherwise."""
    kind, data = run.objective.kind, run.data
    wanted = bool(run.objective.target_columns)
    if isinstance(run.objective, RegressionObjective) and not wanted:
        yield "missing key 'columns' in [objective]; name columns of [data] targets or tracks"
    if wanted and not (data.targets or data.may_bring_columns):
        yield f"[data] needs targets, a table with the columns of objective {kind!r}"
    for name in ("targets", "tracks"):
        if getattr(data, name) and not wanted:
            yield f"[data] {name} cannot be used with objective {kind!r}; remove {name}"


def columns_can_be_compared(run: RunFile) -> Iterator[str]:
    """Refuse a loss or normalisation over columns that does not fit the columns."""
    objective = run.objective
    if not isinstance(objective, RegressionObjective):
        return
    across = objective.loss == "cosine_mse" or objective.compares_columns
    if across and len(objective.columns) < 2:
        yield "[objective] this normalisation and loss 'cosine_mse' need two or more columns"
    tracks = [track for track in run.data.tracks.values() if isinstance(track, NumberTrack)]
    if objective.normalisation == "size_factor" and any(t.summary == "log_sum" for t in tracks):
        yield "normalisation 'size_factor' cannot divide logarithms; use 'quantile', or summary sum"


def require_dna(run: RunFile, setting: str) -> Iterator[str]:
    """Refuse a setting that needs DNA for other alphabets."""
    if run.data.alphabet != "dna":
        yield f"{setting} needs DNA; [data] alphabet is {run.data.alphabet!r}"


def settings_fit_the_alphabet(run: RunFile) -> Iterator[str]:
    """Refuse settings that proteins, RNA or single-stranded DNA cannot have."""
    for alphabet, inputs in (
        (run.data.alphabet, "the records"),
        (getattr(run.partner, "alphabet", ""), "the partners"),
    ):
        if alphabet not in ("", "dna") and isinstance(run.interpret.caller, ModiscoCaller):
            yield (
                "interpret.caller 'modisco' finds motifs in DNA of two strands, but "
                f"{inputs} are {alphabet}; use 'clusters'"
            )
    alphabet, k = run.data.alphabet, run.tokens.k
    if alphabet == "protein" and k > MAX_PROTEIN_K:
        yield (
            f"tokens.k {k} is too large for protein ({20**k:,} k-mers); use at most {MAX_PROTEIN_K}"
        )
    for name in ("tokens.canonical", "training.reverse_complement") * (alphabet != "dna"):
        if attrgetter(name)(run):
            yield f"{name} cannot be used with {alphabet}, which has one strand; remove it"


def pretrained_fits_the_run(run: RunFile) -> Iterator[str]:
    """Require single letters for a pretrained model, and refuse what it cannot train."""
    if not isinstance(run.model, PretrainedModel):
        return
    if (run.tokens.k, run.tokens.stride) != (1, 1):
        yield "model kind 'pretrained' has its own tokens; remove [tokens], or set tokens.k = 1"
    if run.objective.kind != "labels" and not run.objective.is_per_sequence:
        yield (
            f"objective {run.objective.kind!r} cannot be used with model kind 'pretrained', which "
            "has outputs per record or letter"
        )
    if run.privacy:
        yield "[privacy] cannot be used with model kind 'pretrained'; remove it"


def tokens_have_outputs(run: RunFile) -> Iterator[str]:
    """Require a model and tokens that fit an objective with one output per token."""
    kind = run.objective.kind
    if not run.objective.is_per_token or isinstance(run.model, PretrainedModel):
        return
    if not isinstance(run.model, AttentionModel):
        yield (
            f"objective {kind!r} needs model kind 'attention'; kind {run.model.kind!r} has "
            "no output per token"
        )
        return
    if kind == "causal" and run.model.stem.kind != "none":
        yield (
            f"objective 'causal' needs stem kind 'none'; kind {run.model.stem.kind!r} sees later "
            "tokens"
        )
    if kind == "labels" and (
        run.tokens.k > 1 or run.training.shift or run.training.reverse_complement
    ):
        yield (
            "objective 'labels' needs tokens.k = 1, training.shift = 0 and "
            "training.reverse_complement = false, because it has one label per position"
        )
    if kind == "causal" and not run.model.pattern.causal:
        yield "objective 'causal' needs a causal pattern; set causal = true in model.pattern"
    if kind == "causal" and run.tokens.stride != run.tokens.k:
        yield (
            "objective 'causal' needs tokens that do not overlap; set tokens.stride = "
            f"{run.tokens.k}, the value of tokens.k"
        )


def positions_have_outputs(run: RunFile) -> Iterator[str]:
    """Bins and profiles need DNA, and a model with an output per position."""
    objective, stem = run.objective, getattr(run.model, "stem", None)
    is_tower = isinstance(stem, TowerStemSection)
    if not (objective.is_per_bin or objective.is_per_base):
        if isinstance(run.model, DilatedModel):
            yield (
                f"model kind 'dilated' cannot be used with objective {objective.kind!r}, only with "
                "'bins' and 'profile'"
            )
        if is_tower and objective.is_per_token:
            yield (
                f"model.stem kind 'tower' cannot be used with objective {objective.kind!r}, which "
                "has one output per token"
            )
        return
    if stem is None:
        yield (
            f"objective {objective.kind!r} cannot be used with model kind {run.model.kind!r}, only "
            "with 'attention' and 'dilated'"
        )
    if is_tower and objective.is_per_base:
        yield (
            "objective 'profile' needs the detectors of each base; set model.stem to kind 'conv' "
            "(with pool = 1 as in BPNet), or 'none'"
        )
    yield from require_dna(run, f"objective {objective.kind!r}")
    if isinstance(objective, BinsObjective) and objective.bin % (stride := run.output_stride):
        yield (
            f"objective.bin {objective.bin} is not a multiple of {stride}, the bases per position "
            "of the encoder"
        )
    if objective.is_per_base and (run.tokens.stride > 1 or run.tokens.k % 2 == 0):
        yield "objective 'profile' needs tokens.stride = 1 and an odd tokens.k, centred on a base"


def outputs_see_both_sides(run: RunFile) -> Iterator[str]:
    """Refuse a causal pattern for outputs that depend on what follows a position."""
    kind, model = run.objective.kind, run.model
    if run.objective.is_per_sequence or kind == "causal":
        return
    if isinstance(model, AttentionModel) and model.pattern.causal:
        yield (
            f"objective {kind!r} cannot be used with a causal pattern; remove causal from "
            "model.pattern"
        )


def method_fits_the_model(run: RunFile) -> Iterator[str]:
    """Refuse attribution methods that need weights the model does not compute."""
    model, method = run.model, run.interpret.method.kind
    needs = KNOWN_METHODS[method][1]
    if isinstance(model, PairedModel) and needs == "weights":
        yield f"[interpret] method {method!r} cannot explain model kind 'paired'; choose another"
    of_any = [
        kind for kind, (_, need) in KNOWN_METHODS.items() if need in ("outputs", "embeddings")
    ]
    if isinstance(model, ModuleModel | PretrainedModel) and method not in of_any:
        known = ", ".join(map(repr, of_any))
        yield (
            f"[interpret] method {method!r} cannot explain model kind {model.kind!r}, whose layers "
            f"have no rules; choose one of {known}"
        )


def strands_can_be_shared(run: RunFile) -> Iterator[str]:
    """Refuse shared strands with settings that treat the two strands differently."""
    if not run.shares_strands:
        return
    yield from require_dna(run, "model.strands 'shared'")
    if not run.objective.is_per_sequence:
        yield (
            "model.strands 'shared' needs one output per sequence; remove it, as objective "
            f"{run.objective.kind!r} has an output per token or bin"
        )
    if (stride := run.tokens.stride) > 1:
        yield f"model.strands 'shared' needs tokens.stride = 1; it is {stride}"
    if run.evaluation.strands == "given":
        yield "evaluation.strands 'given' cannot be used with model.strands 'shared'; remove it"
    if run.training.reverse_complement:
        yield "training.reverse_complement has no effect with model.strands 'shared'; remove it"


def both_strands_are_available(run: RunFile) -> Iterator[str]:
    """Refuse scores of both strands if there is only one."""
    if run.evaluation.strands != "both":
        return
    yield from require_dna(run, "evaluation.strands 'both'")
    if not run.objective.is_per_record or isinstance(run.model, PairedModel):
        yield "evaluation.strands 'both' needs one score per sequence and one input"


def two_inputs_go_together(run: RunFile) -> Iterator[str]:
    """Require a partner for the paired model, and refuse it for others."""
    paired = isinstance(run.model, PairedModel)
    if run.partner and not paired:
        yield f"[partner] cannot be used with model kind {run.model.kind!r}, only with 'paired'"
    if run.partner and run.partner.column and not run.data.unlabelled:
        yield "[partner] column needs [data] sequences, the tables with this column"
    if paired and not run.partner:
        yield "model kind 'paired' needs [partner], its second input"
    if paired and run.training.reverse_complement:
        yield (
            "training.reverse_complement cannot be used with model kind 'paired', because "
            "the partner is not reverse-complemented; remove it"
        )
    if not paired and run.training.pairs != "given":
        yield (
            f"training.pairs {run.training.pairs!r} cannot be used with model kind "
            f"{run.model.kind!r}, only with 'paired'"
        )


# keys of [training] that must have their default value
DEFAULTS_ONLY = {
    "seeds": "each member would spend epsilon again; use model.members instead",
    "accumulate": "records are processed one at a time; set batch_size instead",
    "clip_norm": "gradients are clipped to privacy.max_grad_norm; remove it",
    "class_weights": "the weights would reveal the label counts; remove it",
    "balance": "records must be sampled and weighted equally; remove it",
    "window": "a batch could contain several windows of a record; remove it",
}


def run_can_be_private(run: RunFile) -> Iterator[str]:
    """Refuse settings that mix records of a batch, reveal records, or spend more budget."""
    model = run.model
    if run.privacy is None:
        return
    if not isinstance(model, AttentionModel):
        yield (
            f"model.kind {model.kind!r} cannot be used with [privacy], because its batch norms "
            "mix the records of a batch; use 'attention'"
        )
    elif isinstance(model.stem, TowerStemSection) or getattr(model.stem, "norm", "") == "batch":
        yield (
            f"model.stem kind {model.stem.kind!r} cannot be used with [privacy], because its "
            f"batch norm mixes the records of a batch. {PRIVATE_STEM}"
        )
    for name, reason in DEFAULTS_ONLY.items():
        if getattr(run.training, name) != getattr(Training(), name):
            yield f"training.{name} cannot be used with [privacy], because {reason}"
    if run.training.precision == "16-mixed":
        yield (
            "training.precision '16-mixed' cannot be used with [privacy], because steps that "
            "overflow would spend epsilon; use 'bf16-mixed'"
        )
    if run.adaptation and run.adaptation.adapt == "gradual":
        yield (
            "transfer.adapt 'gradual' cannot be used with [privacy], because gradients of "
            "frozen layers would be clipped too; use 'all', 'frozen' or 'lora'"
        )
    if not run.objective.allows_privacy:
        yield f"objective.kind {run.objective.kind!r} cannot be used with [privacy]"
    normaliser = ["normaliser"] * getattr(run.objective, "compares_columns", False)
    for name in ("classes", "center", "scale", *normaliser):
        if getattr(run.objective, name, None) == ():
            yield (
                f"objective.{name} is required with [privacy]: values computed from the "
                "training records would reveal information about them"
            )


def kinds_that(trait: str) -> list[str]:
    """Return the kinds of objectives with a property of `ObjectiveSection`, such as has_classes."""
    return [
        section.model_fields["kind"].default
        for section in get_args(get_args(AnyObjective)[0])
        if getattr(section, trait)
    ]


def settings_fit_the_objective(run: RunFile) -> Iterator[str]:
    """Refuse settings that only other kinds of objectives can have."""
    training, objective = run.training, run.objective
    parts = (objective, *getattr(objective, "parts", {}).values())
    uses_classes = training.class_weights == "balanced" and not any(p.has_classes for p in parts)
    for used, setting, kinds in (
        (training.labels == "shuffled", "training.labels 'shuffled'", ["binary"]),
        (uses_classes, "training.class_weights 'balanced'", kinds_that("has_classes")),
        (run.evaluation.groups, "evaluation.groups", ["binary"]),
        (training.balance, "training.balance", ["binary"]),
        (training.seeds > 1, "training.seeds", kinds_that("has_scores")),
        (training.window, "training.window", kinds_that("is_unlabelled")),
        (training.edits, "training.edits", kinds_that("allows_edits")),
    ):
        if used and objective.kind not in kinds:
            *others, last = map(repr, kinds)
            known = f"{', '.join(others)} and {last}" if others else last
            yield f"{setting} cannot be used with objective {objective.kind!r}, only with {known}"


def training_settings_fit(run: RunFile) -> Iterator[str]:
    """Refuse settings that exclude each other, and windows shorter than two tokens."""
    training, least = run.training, 2 * run.tokens.k
    if training.balance and training.class_weights == "balanced":
        yield (
            "training.class_weights cannot be used with training.balance, which already "
            "balances the labels of each group; remove it"
        )
    if training.window and training.window < least:
        yield (
            f"training.window {training.window} is too small; use at least {least}, twice tokens.k"
        )
    if training.edits and run.partner:
        yield "training.edits cannot be used with [partner]; remove one of them"


def parent_fits_the_model(run: RunFile) -> Iterator[str]:
    """Refuse a parent for models that cannot take its weights."""
    other = CnnModel | PairedModel | ModuleModel | PretrainedModel
    if run.transfer and isinstance(run.model, other):
        yield f"[transfer] cannot be used with model kind {run.model.kind!r}; remove it"
    if run.transfer and isinstance(run.model, DilatedModel) and run.transfer.adapt != "all":
        yield (
            f"[transfer] adapt {run.transfer.adapt!r} cannot be used with model kind "
            "'dilated'; use 'all'"
        )


def stack_fits_the_run(run: RunFile) -> Iterator[str]:
    """Refuse a stack for runs that its simple models cannot fit."""
    if not run.stack.parts:
        return
    if not run.objective.has_scores:
        yield f"[stack] cannot be used with objective {run.objective.kind!r}, which has no parts"
    if isinstance(run.model, PairedModel):
        yield "[stack] cannot be used with model kind 'paired': its parts read one input"
    if run.privacy:
        yield (
            "[stack] cannot be used with [privacy]: its parts are fitted without clipping and noise"
        )
    if "pretrained_linear" in run.stack.parts and not isinstance(run.model, PretrainedModel):
        yield "[stack] part 'pretrained_linear' needs [model] kind = 'pretrained'"
    for name in run.stack.parts if run.both_strands else ():
        if name.startswith(("exact_positions", "substitutions")):
            yield f"[stack] part {name!r} reads the given strand alone; the run reads both strands"
    if run.training.balance:
        yield "[stack] cannot be used with training.balance: its parts are fitted without it"


RULES: tuple[Callable[[RunFile], Iterator[str]], ...] = (
    split_fits_the_data,
    numbered_ids_join_nothing,
    labels_fit_the_objective,
    targets_fit_the_objective,
    columns_can_be_compared,
    settings_fit_the_objective,
    training_settings_fit,
    parent_fits_the_model,
    pretrained_fits_the_run,
    tokens_have_outputs,
    positions_have_outputs,
    outputs_see_both_sides,
    method_fits_the_model,
    run_can_be_private,
    stack_fits_the_run,
    both_strands_are_available,
    strands_can_be_shared,
    two_inputs_go_together,
    settings_fit_the_alphabet,
)
