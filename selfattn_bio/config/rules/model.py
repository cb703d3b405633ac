"""Rules about [model] and the sections that need a kind of model: [interpret] and [partner]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.interpret import KNOWN_METHODS
from selfattn_bio.config.model import AttentionModel, DilatedModel, ModuleModel, PairedModel
from selfattn_bio.config.objective import BinsObjective
from selfattn_bio.config.partner import SequencePartner
from selfattn_bio.config.rules.data import require_dna
from selfattn_bio.config.stem import TowerStemSection

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def tokens_have_outputs(run: RunFile) -> None:
    """Require a model and tokens that fit an objective with one output per token."""
    kind = run.objective.kind
    if run.objective.outputs_per != "token":
        return
    if not isinstance(run.model, AttentionModel):
        raise ValueError(
            f"objective {kind!r} needs model kind 'attention'; kind {run.model.kind!r} has "
            "no output per token"
        )
    if kind == "causal" and run.model.stem.kind != "none":
        raise ValueError(
            f"objective 'causal' needs stem kind 'none'; kind {run.model.stem.kind!r} sees later "
            "tokens"
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
    if kind == "causal" and run.tokens.stride != run.tokens.k:
        raise ValueError(
            "objective 'causal' needs tokens that do not overlap; set tokens.stride = "
            f"{run.tokens.k}, the value of tokens.k"
        )


def bins_fit_the_model(run: RunFile) -> None:
    """Require a model with outputs per position for `bins`, and refuse it elsewhere."""
    stem = getattr(run.model, "stem", None)
    if not isinstance(run.objective, BinsObjective):
        if isinstance(run.model, DilatedModel):
            raise ValueError(
                "model kind 'dilated' cannot be used with objective "
                f"{run.objective.kind!r}, only with 'bins'"
            )
        if isinstance(stem, TowerStemSection) and run.objective.outputs_per == "token":
            raise ValueError(
                "model.stem kind 'tower' cannot be used with objective "
                f"{run.objective.kind!r}, which has one output per token"
            )
        return
    if stem is None:
        raise ValueError(
            f"objective 'bins' cannot be used with model kind {run.model.kind!r}, only "
            "with 'attention' and 'dilated'"
        )
    require_dna(run, "objective 'bins'")
    if run.objective.bin % (pitch := run.pitch):
        raise ValueError(
            f"objective.bin {run.objective.bin} is not a multiple of {pitch}, the bases "
            "per position of the encoder"
        )


def outputs_see_both_sides(run: RunFile) -> None:
    """Refuse a causal pattern for outputs that depend on what follows a position."""
    kind, model = run.objective.kind, run.model
    if run.objective.outputs_per == "sequence" or kind == "causal":
        return
    if isinstance(model, AttentionModel) and model.pattern.causal:
        raise ValueError(
            f"objective {kind!r} cannot be used with a causal pattern; remove causal from "
            "model.pattern"
        )


def method_fits_the_model(run: RunFile) -> None:
    """Refuse attribution methods that need weights the model does not compute."""
    model, method = run.model, run.interpret.method.kind
    needs = KNOWN_METHODS[method][1]
    if isinstance(model, PairedModel) and needs == "weights":
        raise ValueError(
            f"[interpret] method {method!r} cannot explain model kind 'paired'; choose another"
        )
    of_any = [
        kind for kind, (_, need) in KNOWN_METHODS.items() if need in ("outputs", "embeddings")
    ]
    if isinstance(model, ModuleModel) and method not in of_any:
        known = ", ".join(map(repr, of_any))
        raise ValueError(
            f"[interpret] method {method!r} cannot explain model kind 'module', whose layers are "
            f"unknown; choose one of {known}"
        )
    if isinstance(model, AttentionModel) and model.mixer.kind != "softmax" and needs == "weights":
        raise ValueError(
            f"[interpret] method {method!r} needs the attention weights of mixer 'softmax'; "
            f"mixer {model.mixer.kind!r} has none"
        )


def strands_can_be_shared(run: RunFile) -> None:
    """Refuse shared strands with settings that treat the two strands differently."""
    if not run.shares_strands:
        return
    require_dna(run, "model.strands 'shared'")
    if run.objective.outputs_per != "sequence":
        raise ValueError(
            "model.strands 'shared' needs one output per sequence; remove it, as objective "
            f"{run.objective.kind!r} has an output per token or bin"
        )
    if (stride := run.tokens.stride) > 1:
        raise ValueError(f"model.strands 'shared' needs tokens.stride = 1; it is {stride}")
    if run.evaluation.strands == "given":
        raise ValueError(
            "evaluation.strands 'given' cannot be used with model.strands 'shared'; remove it"
        )
    if run.training.reverse_complement:
        raise ValueError(
            "training.reverse_complement has no effect with model.strands 'shared'; remove it"
        )


def both_strands_are_available(run: RunFile) -> None:
    """Refuse scores of both strands if there is only one."""
    if run.evaluation.strands != "both":
        return
    require_dna(run, "evaluation.strands 'both'")
    if run.objective.outputs_per != "sequence" or isinstance(run.model, PairedModel):
        raise ValueError("evaluation.strands 'both' needs one score per sequence and one input")


def two_inputs_go_together(run: RunFile) -> None:
    """Require a partner for the paired model, and refuse it for others."""
    paired = isinstance(run.model, PairedModel)
    if run.partner and not paired:
        raise ValueError(
            f"[partner] cannot be used with model kind {run.model.kind!r}, only with 'paired'"
        )
    column = isinstance(run.partner, SequencePartner) and run.partner.column
    if column and not run.data.unlabelled:
        raise ValueError("[partner] column needs [data] sequences, the tables with this column")
    if paired and not run.partner:
        raise ValueError("model kind 'paired' needs [partner], its second input")
    if paired and run.training.reverse_complement:
        raise ValueError(
            "training.reverse_complement cannot be used with model kind 'paired', because "
            "the partner is not reverse-complemented; remove it"
        )
    if not paired and run.training.pairs != "given":
        raise ValueError(
            f"training.pairs {run.training.pairs!r} cannot be used with model kind "
            f"{run.model.kind!r}, only with 'paired'"
        )
