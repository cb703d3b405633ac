"""Attribution methods, one file per family.

To add one, add its class to `METHODS` and its kind to `config.AnyMethod`.

| family | kinds |
|---|---|
| `gradients` | attnlrp, attnlrp_copies, cp_lrp, gradient, integrated_gradients |
| `mutagenesis` | guided, saturation, blocks |
| `deepliftshap` | deep_lift_shap |
| `attention` (not attributions) | received, rollout, value_rollout, gradient_rollout |
"""

from __future__ import annotations

from selfattn_bio import config
from selfattn_bio.interpret.methods.attention import (
    GradientRollout,
    Received,
    Rollout,
    ValueRollout,
)
from selfattn_bio.interpret.methods.base import (
    AttentionMethod,
    AttributionMethod,
    Method,
    hypothetical_scores,
)
from selfattn_bio.interpret.methods.deepliftshap import DeepLiftShap
from selfattn_bio.interpret.methods.gradients import (
    CPLRP,
    AttnLRP,
    AttnLRPCopies,
    ByGradient,
    Gradient,
    IntegratedGradients,
)
from selfattn_bio.interpret.methods.mutagenesis import BlockOcclusion, Guided, Saturation

_CLASSES = (
    *(
        AttnLRP,
        AttnLRPCopies,
        CPLRP,
        Gradient,
        IntegratedGradients,
        Guided,
        Saturation,
        BlockOcclusion,
        DeepLiftShap,
    ),
    *(Received, Rollout, ValueRollout, GradientRollout),
)
METHODS: dict[str, type[Method]] = {each.name: each for each in _CLASSES}


def build_method(section: config.AnyMethod) -> Method:
    """Return the method selected in the run file."""
    return METHODS[section.kind](**section.model_dump(exclude={"kind"}))


__all__ = [
    "CPLRP",
    "METHODS",
    "AttentionMethod",
    "AttnLRP",
    "AttnLRPCopies",
    "AttributionMethod",
    "BlockOcclusion",
    "ByGradient",
    "DeepLiftShap",
    "Gradient",
    "GradientRollout",
    "Guided",
    "IntegratedGradients",
    "Method",
    "Received",
    "Rollout",
    "Saturation",
    "ValueRollout",
    "build_method",
    "hypothetical_scores",
]
