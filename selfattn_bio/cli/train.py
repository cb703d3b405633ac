"""Train the model of a run file, or a variant, a member or a job of its sweep.

Variants are baselines and controls. On a terminal a bar shows the progress,
otherwise a line about every ten seconds. If a training was interrupted, the same command continues
from the last checkpoint in OUTPUT.checkpoints.

With --dry-run, three steps with the longest records, an evaluation and a checkpoint are measured.
Printed are the number of parameters, the peak memory, the time per step, the steps per epoch, and
the time at most of all [training] seeds.

example: selfattn-bio train --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--output mine/model
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.cli.common import add_model_options, add_task, add_threads, task_and_corpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio train`."""
    add_task(parser, "", "corpus", "split")
    parser.add_argument(
        "--variant",
        metavar="NAME",
        help="train this variant of the run file (a baseline or control) instead of the model",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--member",
        type=int,
        default=1,
        metavar="N",
        help="train the Nth of [training] seeds members (default: the first)",
    )
    which.add_argument(
        "--job", metavar="NAME", help="train this job of [sweep], named by its folder"
    )
    add_threads(parser)
    add_model_options(parser)
    parser.add_argument(
        "--sharded",
        action="store_true",
        help="divide the weights among the processes of torchrun (FSDP2)",
    )
    parser.add_argument(
        "--parts",
        type=Path,
        metavar="DIR",
        help="model folder of another member, whose fitted [stack] parts are reused",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only measure memory and time; --output and --parts are not used",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="model folder to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Read run file, corpus and split, and train or measure."""
    from selfattn_bio.api.training import dry_run, train

    task, corpus = task_and_corpus(arguments)
    options = {
        "variant": arguments.variant,
        "member": arguments.job or arguments.member,
        "threads": arguments.threads,
        "sharded": arguments.sharded,
    }
    if arguments.dry_run:
        dry_run(task, corpus, arguments.split, **options)
    else:
        train(task, corpus, arguments.split, arguments.output, stack_of=arguments.parts, **options)
