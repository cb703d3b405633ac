"""Score each position of the positives that a model recognises.

From the training and validation positives that the model calls positive, [interpret] max_sequences
are explained. They are chosen evenly from the most to the least confident, because the most
confident ones are similar and show one motif. If the model calls fewer, the positives with the next
highest scores are added, and their number is printed. Test records are reserved for the evidence.

Writes the attribution folder with the attribution of every base or residue at every position, by
[interpret] method. The default is the mean of AttnLRP over copies with some bases replaced at
random. For comparison it also holds the attention that each position receives, and the attention
map of each layer for the records in [interpret] maps. By default these are the explained records
with the highest, middle and lowest score. If the model has two inputs, the folder `partner` inside
holds the same for the second input, and there is no attention.

example: selfattn-bio explain --run-file mine.toml --corpus mine/corpus --split mine/split.tsv \
--model mine/model --output mine/attribution
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selfattn_bio.cli.common import add_task, task_and_corpus
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio explain`."""
    add_task(parser, "[interpret]", "model", "corpus", "split")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="attribution folder to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Explain recognised training and validation positives, and write the attribution folder."""
    from selfattn_bio.api.explain import explain_positives
    from selfattn_bio.interpret.explanation import check_output

    start = time.monotonic()
    check_output(arguments.output)
    task, corpus = task_and_corpus(arguments)
    explanation = explain_positives(task, corpus, arguments.split, arguments.model)
    explanation.save(arguments.output)
    LOG.info(f"wrote {arguments.output} in {time.monotonic() - start:.0f} s")
