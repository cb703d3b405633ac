"""Evaluate a model on validation and test records, next to baselines and controls.

Scores all labelled validation and test records with the model and its variants. Baselines are
fitted to the same training records, and the validation records choose their settings. The test
records are read only here, once.

Writes metrics.json, model_card.md and predictions/{valid,test}.tsv. All metrics have bootstrap
intervals: before and after calibration, within slices of the records, and for the paired
difference between the model and each baseline. Clusters, groups or blocks of a chromosome are
resampled together where the split has them.

Several models of one name are members: their logits are averaged, and their spread is reported. If
a model has two inputs, its variants first_alone and partner_alone are evaluated as they were
trained, with the other input taken from another record.

example: selfattn-bio evaluate --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--model mine/model --output mine
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_model_options, add_task, task_and_corpus
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio evaluate`."""
    add_task(parser, "[evaluation]", "corpus", "split")
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        nargs="+",
        metavar="DIR",
        help="model folder, from `train`, or the folders of all members",
    )
    parser.add_argument(
        "--variant",
        action="extend",
        nargs="+",
        default=[],
        type=_named_folder,
        metavar="NAME=DIR",
        help="model folders of variants (baselines and controls); repeat NAME=DIR for each member",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for metrics.json and predictions/",
    )
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score validation and test records, fit baselines, write metrics.json and predictions/."""
    from selfattn_bio.api.evaluation import METRICS, check_evaluation_output, evaluate
    from selfattn_bio.objectives import objective_of
    from selfattn_bio.report.lines import evaluation_lines

    task, corpus = task_and_corpus(arguments)
    check_evaluation_output(arguments.output)
    variants: dict[str, list[Path]] = {}
    for name, folder in arguments.variant:
        variants.setdefault(name, []).append(folder)
    evaluation = evaluate(task, corpus, arguments.split, arguments.model, variants)
    evaluation.save(arguments.output)
    for line in evaluation_lines(objective_of(task.objective), evaluation.metrics):
        LOG.info(line)
    LOG.info(f"wrote {arguments.output / METRICS}")


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"write NAME=DIR, not {text!r}")
    return name, Path(folder)
