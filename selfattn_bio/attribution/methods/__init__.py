"""Attribution methods, one file per family.

To add one, write its class in a new file of this folder, and register it and its need with one
line of `PLAIN_METHODS` in config/interpret.py. If it has settings, write the line in
`KNOWN_METHODS`, and a section there, from which its class inherits them.

| family | kinds |
|---|---|
| `gradients` | attnlrp, attnlrp_copies, cp_lrp, gradient, integrated_gradients |
| `mutagenesis` | guided, saturation |
| `base` (attention, not attributions) | received, rollout |
"""

from __future__ import annotations

from pkgutil import resolve_name

from selfattn_bio import config
from selfattn_bio.attribution.methods.base import (
    AttentionMethod,
    AttributionMethod,
    Method,
    Received,
    Rollout,
    hypothetical_scores,
)
from selfattn_bio.attribution.methods.gradients import (
    CPLRP,
    AttnLRP,
    AttnLRPCopies,
    ByGradient,
    Gradient,
    IntegratedGradients,
)
from selfattn_bio.attribution.methods.mutagenesis import Guided, Saturation
from selfattn_bio.config.interpret import KNOWN_METHODS

METHODS: dict[str, type[Method]] = {
    kind: resolve_name(f"{__name__}.{path}") for kind, (path, _) in KNOWN_METHODS.items()
}


def build_method(section: config.AnyMethod) -> Method:
    """Return the method selected in the run file."""
    return METHODS[section.kind](**section.model_dump(exclude={"kind"}, exclude_unset=True))
