"""Train the model of a task, or a variant, a member or a job of its sweep.

Variants are baselines and controls. On a terminal a bar shows the progress, otherwise a line about
every ten seconds. If a training was interrupted, the same command continues from the last
checkpoint in model.checkpoints.

With --dry-run, three steps with the longest records, an evaluation and a checkpoint are measured.
Printed are the number of parameters, the peak memory, the time per step, the steps per epoch, and
the time at most of all [training] seeds.

example: selfattn-bio train mine/variants/cnn
"""

from __future__ import annotations

import argparse

from selfattn_bio.cli.common import add_allow_module, add_study, add_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio train`."""
    add_study(parser, parts="/variants/NAME, /members/N or /sweep/JOB")
    add_threads(parser)
    add_allow_module(parser)
    parser.add_argument(
        "--sharded",
        action="store_true",
        help="divide the weights among the processes of torchrun (FSDP2)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="take three steps with the longest records, print memory and time, and write nothing",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, and write the model folder."""
    from selfattn_bio.study import Study

    study = Study(arguments.study)
    step = study.dry_run if arguments.dry_run else study.train
    step(threads=arguments.threads, sharded=arguments.sharded)
