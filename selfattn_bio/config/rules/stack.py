"""Rules about [stack]: runs whose network can be combined with simple models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfattn_bio.config.model import PairedModel

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


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
