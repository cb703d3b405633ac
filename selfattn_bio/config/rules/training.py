"""Rules about [training] and [transfer]: settings that need certain objectives or models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import CnnModel, DilatedModel, ModuleModel, PairedModel
from selfattn_bio.config.objective import kinds_that

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def labels_can_be_shuffled(run: RunFile) -> None:
    """Refuse shuffled labels for objectives other than two classes."""
    if (kind := run.objective.kind) != "binary" and run.training.labels == "shuffled":
        raise ValueError(
            f"training.labels 'shuffled' cannot be used with objective {kind!r}, only with 'binary'"
        )


def classes_can_be_weighted(run: RunFile) -> None:
    """Refuse class weights for objectives without one class per record."""
    objectives = (run.objective, *getattr(run.objective, "parts", {}).values())
    if run.training.class_weights == "balanced" and not any(
        each.has_classes for each in objectives
    ):
        known = " and ".join(map(repr, kinds_that("has_classes")))
        raise ValueError(
            "training.class_weights 'balanced' cannot be used with objective "
            f"{run.objective.kind!r}, only with {known}"
        )


def groups_fit_the_objective(run: RunFile) -> None:
    """Refuse groups for objectives other than two classes, and weighting them twice."""
    kind = run.objective.kind
    if kind != "binary" and run.evaluation.groups:
        raise ValueError(
            f"evaluation.groups cannot be used with objective {kind!r}, only with 'binary'"
        )
    if run.training.balance and kind != "binary":
        raise ValueError(
            f"training.balance cannot be used with objective {kind!r}, only with 'binary'"
        )
    if run.training.balance and run.training.class_weights == "balanced":
        raise ValueError(
            "training.class_weights cannot be used with training.balance, which already "
            "balances the labels of each group; remove it"
        )


def members_have_a_score(run: RunFile) -> None:
    """Refuse several seeds for language models."""
    if not run.objective.has_scores and run.training.seeds > 1:
        raise ValueError(
            f"training.seeds cannot be used with objective {run.objective.kind!r}, which has "
            "no scores to average; remove it"
        )


def windows_need_no_labels(run: RunFile) -> None:
    """Refuse training windows for labelled records, and windows shorter than two tokens."""
    if not (window := run.training.window):
        return
    if not run.objective.is_unlabelled:
        known = " and ".join(map(repr, kinds_that("is_unlabelled")))
        raise ValueError(
            f"training.window cannot be used with objective {run.objective.kind!r}, only with "
            f"{known}, because labels belong to complete records"
        )
    if window < (least := 2 * run.tokens.k):
        raise ValueError(
            f"training.window {window} is too small; use at least {least}, twice tokens.k"
        )


def edits_keep_targets(run: RunFile) -> None:
    """Refuse random edits where targets or a partner belong to positions."""
    if run.training.edits and not run.objective.allows_edits:
        raise ValueError(
            f"training.edits cannot be used with objective {run.objective.kind!r}, only "
            f"with {', '.join(kinds_that('allows_edits'))}"
        )
    if run.training.edits and run.partner:
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
