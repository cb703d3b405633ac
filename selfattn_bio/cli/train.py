"""Train the model of a task, or a variant, a member or a job of its sweep.

Variants are baselines and controls. On a terminal a bar shows the progress, otherwise a line about
every ten seconds. If a training was interrupted, the same command continues from the last
checkpoint in model.checkpoints.

example: selfattn-bio train mine/variants/cnn
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_model_options, add_study, add_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio train`."""
    add_study(parser, part=True)
    add_threads(parser)
    add_model_options(parser)
    parser.add_argument(
        "--sharded",
        action="store_true",
        help="divide the weights among the processes of torchrun (FSDP2)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, and write the model folder."""
    from selfattn_bio.study import Study

    Study(arguments.study).train(threads=arguments.threads, sharded=arguments.sharded)
