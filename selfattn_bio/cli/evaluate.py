"""Evaluate a model on validation and test records, next to baselines and controls.

Scores all labelled validation and test records with the model and its variants. Baselines are
fitted to the same training records, and the validation records choose their settings. The test
records are read only here, once.

Writes metrics.json, model_card.md and predictions/{valid,test}.tsv. All metrics have bootstrap
intervals: before and after calibration, within slices of the records, and for the paired
difference between the model and each baseline. Clusters, groups or blocks of a chromosome are
resampled together where the split has them.

Logits of members are averaged, and their spread is reported. A variant that was not trained is
left out. If a model has two inputs, its variants first_alone and partner_alone are evaluated as
they were trained, with the other input taken from another record.

example: selfattn-bio evaluate mine
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module, add_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio evaluate`."""
    add_study(parser, "[evaluation]")
    add_allow_module(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score validation and test records, fit baselines, write metrics.json and predictions/."""
    from selfattn_bio.study import Study

    Study(arguments.study).evaluate()
