"""Rules about [privacy]: no step may depend on a record other than through its clipped gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import AttentionModel
from selfattn_bio.config.stem import NoStemSection
from selfattn_bio.config.training import PRIVATE_STEM, Training

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile

# keys of [training] that must have their default value
DEFAULTS_ONLY = {
    "seeds": "each member would spend epsilon again; use model.members instead",
    "accumulate": "records are processed one at a time; set batch_size instead",
    "clip_norm": "gradients are clipped to privacy.max_grad_norm; remove it",
    "class_weights": "the weights would reveal the label counts; remove it",
    "balance": "records must be sampled and weighted equally; remove it",
    "window": "a batch could contain several windows of a record; remove it",
}


def run_can_be_private(run: RunFile) -> None:
    """Refuse settings that mix records of a batch, reveal records, or spend more budget."""
    model = run.model
    if run.privacy is None:
        return
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
    for name, reason in DEFAULTS_ONLY.items():
        if getattr(run.training, name) != getattr(Training(), name):
            raise ValueError(f"training.{name} cannot be used with [privacy], because {reason}")
    if run.training.precision == "16-mixed":
        raise ValueError(
            "training.precision '16-mixed' cannot be used with [privacy], because steps that "
            "overflow would spend epsilon; use 'bf16-mixed'"
        )
    if run.transfer and run.transfer.adapt == "gradual":
        raise ValueError(
            "transfer.adapt 'gradual' cannot be used with [privacy], because gradients of "
            "frozen layers would be clipped too; use 'all', 'frozen' or 'lora'"
        )
    if not run.objective.allows_privacy:
        raise ValueError(f"objective.kind {run.objective.kind!r} cannot be used with [privacy]")
    for name in ("classes", "center", "scale"):
        if getattr(run.objective, name, None) == ():
            raise ValueError(
                f"objective.{name} is required with [privacy]: values computed from the "
                "training records would reveal information about them"
            )
