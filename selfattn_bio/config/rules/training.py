"""Rules about [training], [transfer] and [stack]: settings that need some objective or model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import CnnModel, DilatedModel, ModuleModel, PairedModel
from selfattn_bio.config.objective import kinds_that

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def settings_fit_the_objective(run: RunFile) -> None:
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
            raise ValueError(
                f"{setting} cannot be used with objective {objective.kind!r}, only with {known}"
            )


def training_settings_fit(run: RunFile) -> None:
    """Refuse settings that exclude each other, and windows shorter than two tokens."""
    training, least = run.training, 2 * run.tokens.k
    if training.balance and training.class_weights == "balanced":
        raise ValueError(
            "training.class_weights cannot be used with training.balance, which already "
            "balances the labels of each group; remove it"
        )
    if training.window and training.window < least:
        raise ValueError(
            f"training.window {training.window} is too small; use at least {least}, twice tokens.k"
        )
    if training.edits and run.partner:
        raise ValueError("training.edits cannot be used with [partner]; remove one of them")


def parent_fits_the_model(run: RunFile) -> None:
    """Refuse a parent for models that cannot take its weights."""
    if run.transfer and isinstance(run.model, CnnModel | PairedModel | ModuleModel):
        raise ValueError(f"[transfer] cannot be used with model kind {run.model.kind!r}; remove it")
    if run.transfer and isinstance(run.model, DilatedModel) and run.transfer.adapt != "all":
        raise ValueError(
            f"[transfer] adapt {run.transfer.adapt!r} cannot be used with model kind "
            "'dilated'; use 'all'"
        )


def stack_fits_the_run(run: RunFile) -> None:
    """Refuse a stack for runs that its simple models cannot fit."""
    if not run.stack.parts:
        return
    if run.objective.kind != "binary":
        raise ValueError(
            f"[stack] parts are models of two classes; the objective is {run.objective.kind!r}"
        )
    if isinstance(run.model, PairedModel):
        raise ValueError(
            "[stack] cannot be used with model kind 'paired': its parts read one input"
        )
    if run.privacy:
        raise ValueError(
            "[stack] cannot be used with [privacy]: its parts are fitted without clipping and noise"
        )
    if run.both_strands and "exact_positions" in run.stack.parts:
        raise ValueError(
            "[stack] part 'exact_positions' reads the given strand alone; the run reads both "
            "strands"
        )
    if run.training.balance:
        raise ValueError(
            "[stack] cannot be used with training.balance: its parts are fitted without it"
        )
