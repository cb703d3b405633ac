"""Rules about [evaluation]: scores of both strands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import PairedModel
from selfattn_bio.config.rules.data import require_dna

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


def both_strands_are_available(run: RunFile) -> None:
    """Refuse scores of both strands if there is only one."""
    if run.evaluation.strands != "both":
        return
    require_dna(run, "evaluation.strands 'both'")
    if run.objective.outputs_per != "sequence" or isinstance(run.model, PairedModel):
        raise ValueError("evaluation.strands 'both' needs one score per sequence and one input")
