"""Score sequences or genomic intervals with a trained model.

Writes a table with one row per sequence. For two classes the columns are logit, probability and
predicted, the label at the threshold fitted on the validation records. Several models are averaged,
and the column `spread` is their standard deviation. Intervals (--bed) have the same ids as in a
corpus, and their chrom, start, end, strand and name. `unlike` marks sequences that differ from the
training data. With --coverage 0.9 the column `set` contains the true label for nine of ten records,
provided that they are like the validation records.

Files of any size are scored in parts, so memory is needed only for a few thousand sequences. The
output file appears when it is complete. Models with one label per position, or with bins, score
sequences of any length in overlapping tiles; a message reports if this differs from a single pass.
Masked and causal language models are refused, because they do not score a sequence.

example: selfattn-bio score --model results/promoter/model --fasta new.fa --output scores.tsv
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from selfattn_bio.errors import OutputError, SelfAttnBioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from selfattn_bio.scoring.scorer import Ensemble, Scorer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio score`."""
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        nargs="+",
        help="model folder, or the name of a model that ships; several are averaged",
    )
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--fasta",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="sequences: FASTA, or another format that `ingest` accepts",
    )
    inputs.add_argument(
        "--bed", type=Path, nargs="+", metavar="FILE", help="BED files of intervals in --genome"
    )
    parser.add_argument(
        "--genome",
        type=Path,
        metavar="FILE",
        help="genome of --bed, plain or bgzip; minus strands are reverse-complemented",
    )
    parser.add_argument(
        "--partner",
        type=Path,
        metavar="FILE",
        help="second input of the model: sequences with the same ids, or the values of a track",
    )
    parser.add_argument("--rc", action="store_true", help="average both strands")
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="C",
        help="add prediction sets with this coverage, such as 0.9",
    )
    parser.add_argument(
        "--uncalibrated",
        action="store_true",
        help="do not calibrate the probabilities by the temperature",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="sequences per batch (default: 32,768 bases or residues in total)",
    )
    parser.add_argument("--output", required=True, type=Path, help=".tsv to write")


def run(arguments: argparse.Namespace) -> None:
    """Score each file, and write one table with the column `file` in front."""
    from selfattn_bio.files import whole_file
    from selfattn_bio.scoring.scorer import load

    if arguments.output.suffix != ".tsv":
        raise OutputError("the output file must end with .tsv", place=str(arguments.output))
    if bool(arguments.bed) != bool(arguments.genome):
        raise SelfAttnBioError(
            "--bed needs --genome" if arguments.bed else "--genome is only used with --bed"
        )
    scorer, total, reasons = load(arguments.model), 0, Counter[str]()
    with whole_file(arguments.output) as temporary:
        for table in _tables(arguments, scorer):
            table.to_csv(
                temporary,
                sep="\t",
                index=False,
                float_format="%.6g",
                mode="a",
                header=not total and not temporary.exists(),
            )
            total += len(table)
            if "unlike" in table:
                reasons.update(table["unlike"])
    if reasons:
        print(f"score: {_unlike(reasons)}")
    print(f"score: wrote {total} row{'s' * (total != 1)} to {arguments.output}")


def _unlike(reasons: Counter[str]) -> str:
    """Describe how many sequences differ from the training data, and why."""
    from selfattn_bio.scoring.reference import AMBIGUOUS, COMPOSITION, LENGTH, LIKE, UNLIKE

    counts = [(count, reason) for reason, count in reasons.most_common() if reason != LIKE]
    if not counts:
        return "no row differs from the training data"
    what = {LENGTH: "length", AMBIGUOUS: "ambiguous positions", COMPOSITION: "composition"}
    each = ", ".join(f"{count} in {what[reason]}" for count, reason in counts)
    limit = (
        f". The limits of composition are set so that about {UNLIKE:.0%} of validation records "
        "exceed them"
    )
    return (
        f"{sum(count for count, _ in counts)} of {reasons.total()} rows differ from the training "
        f"data: {each}{limit if reasons[COMPOSITION] else ''}"
    )


def _tables(arguments: argparse.Namespace, scorer: Scorer | Ensemble) -> Iterator[pd.DataFrame]:
    from selfattn_bio.scoring.table import score_batches

    for path in arguments.fasta or arguments.bed:
        for table in score_batches(
            scorer,
            path,
            rc=arguments.rc,
            calibrated=not arguments.uncalibrated,
            coverage=arguments.coverage,
            batch_size=arguments.batch_size,
            genome=arguments.genome,
            partner=arguments.partner,
        ):
            table.insert(0, "file", str(path))
            yield table
