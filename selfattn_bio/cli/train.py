"""Train the model of a run file, or a variant, a member or a job of its sweep.

Variants are baselines and controls. A line of progress is printed about every ten seconds. If a
training was interrupted, the same command continues from the last checkpoint in OUTPUT.checkpoints.

example: selfattn-bio train --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--output mine/model
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selfattn_bio.config import RunFile
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.errors import TrainingError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio train`."""
    parser.add_argument(
        "--run-file", required=True, type=Path, metavar="FILE", help="run file of the task"
    )
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
    parser.add_argument(
        "--corpus", required=True, type=Path, metavar="DIR", help="corpus folder, from `ingest`"
    )
    parser.add_argument(
        "--split", required=True, type=Path, metavar="FILE", help="split table, from `split`"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=8,
        metavar="N",
        help="CPU threads; at most the number of cores is used (default: %(default)s)",
    )
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
        "--output", required=True, type=Path, metavar="DIR", help="model folder to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Read run file, corpus and split, train, and write the model folder."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.data.corpus import Corpus
    from selfattn_bio.errors import RunFileError
    from selfattn_bio.evaluation.groups import check_columns
    from selfattn_bio.training.hardware import use_matmul, use_threads
    from selfattn_bio.training.loop import train
    from selfattn_bio.training.memory import is_out_of_memory, words_of

    try:
        task = read_run_file(arguments.run_file)
        run_file = task.part(arguments.variant, arguments.member, arguments.job)
    except ValueError as error:
        raise RunFileError(str(error), place=str(arguments.run_file)) from error
    corpus = Corpus.open(arguments.corpus)
    check_columns(task.evaluation.groups, corpus)
    if arguments.parts and not run_file.stack.parts:
        raise RunFileError(
            "--parts needs [stack] parts, which this run does not have",
            place=str(arguments.run_file),
        )
    threads = use_threads(arguments.threads)
    use_matmul(run_file.training.matmul)
    part = arguments.job or (arguments.member if arguments.member > 1 else "")
    name = f"{arguments.variant or 'model'} {part}".rstrip()  # several trainings may share a log
    if task.transfer and not run_file.transfer:
        print(
            f"{name}: starts from random weights, because the [transfer] parent has another "
            "[model] or [tokens]",
            flush=True,
        )
    try:
        options = {
            "threads": threads,
            "name": name,
            "sharded": arguments.sharded,
            "parts_of": arguments.parts,
        }
        train(run_file, corpus, arguments.split, arguments.output, **options)
        return
    except (MemoryError, RuntimeError, OSError) as error:  # torch raises RuntimeError
        if not is_out_of_memory(error):
            raise
        message = words_of(error)
    # Outside `except`, the frames of the training are gone, and their memory is free for the plan.
    raise _out_of_memory(run_file, corpus, threads, message, str(arguments.output))


def _out_of_memory(
    run_file: RunFile, corpus: Corpus, threads: int, message: str, place: str
) -> TrainingError:
    """Return the error for a training that ran out of memory, with settings that fit."""
    import os

    from selfattn_bio.cli.main import keep_memory
    from selfattn_bio.errors import TrainingError
    from selfattn_bio.training.memory import give_back
    from selfattn_bio.training.plan import Lengths, make_plan, out_of_memory

    # Nothing can be measured while other processes of torchrun hold their memory, or for two
    # inputs.
    if "TORCHELASTIC_RUN_ID" in os.environ or run_file.model.kind == "paired":
        hint = (
            "Halve training.batch_size and double training.accumulate, or start fewer "
            "processes per machine"
        )
        return TrainingError(f"out of memory: {message}", place=place, hint=hint)
    give_back()
    plan = make_plan(run_file, Lengths.of(run_file, corpus), threads=threads, prepare=keep_memory)
    return out_of_memory(plan, message, place)
