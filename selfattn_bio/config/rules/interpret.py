"""Rules about [interpret]: methods that cannot explain every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.interpret import KNOWN_METHODS
from selfattn_bio.config.model import AttentionModel, ModuleModel, PairedModel

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


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
    if not isinstance(model, AttentionModel):
        return
    if model.mixer.kind != "softmax" and needs == "weights":
        raise ValueError(
            f"[interpret] method {method!r} needs the attention weights of mixer 'softmax'; "
            f"mixer {model.mixer.kind!r} has none"
        )
    if model.exits.kind != "none" and method == "deep_lift_shap":
        raise ValueError(
            "[interpret] method 'deep_lift_shap' cannot be used with model.exits "
            f"{model.exits.kind!r}"
        )
