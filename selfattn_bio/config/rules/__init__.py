"""Rules about combinations of sections. Each module contains the rules about some sections.

A rule is a function that takes a run and raises `ValueError` if two settings cannot be used
together. Rules about a single section are validators of that section. The run file of a variant or
a sweep job is checked with the same rules, so a rule only looks at the run that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from selfattn_bio.config.rules import data, model, privacy, training

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile

# in the order in which they are checked: the first error is reported
RULES: tuple[Callable[[RunFile], None], ...] = (
    data.split_fits_the_data,
    data.numbered_ids_join_nothing,
    data.labels_fit_the_objective,
    data.targets_fit_the_objective,
    training.settings_fit_the_objective,
    training.training_settings_fit,
    training.parent_fits_the_model,
    model.tokens_have_outputs,
    model.bins_fit_the_model,
    model.outputs_see_both_sides,
    model.method_fits_the_model,
    privacy.run_can_be_private,
    training.stack_fits_the_run,
    model.both_strands_are_available,
    model.strands_can_be_shared,
    model.two_inputs_go_together,
    data.settings_fit_the_alphabet,
)
