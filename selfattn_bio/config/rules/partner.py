"""Rules about [partner]: a second input and the model that reads both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import PairedModel
from selfattn_bio.config.partner import SequencePartner

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


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
