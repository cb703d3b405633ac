"""Score the sequences of FASTA files with a trained model: a table of id and what the model says.

Of two classes that is logit, probability and predicted, the label at the threshold that was fitted on valid.
A masked or causal language model says nothing of a sequence as a whole, and is refused. Several models are averaged; the column `spread` is
then the standard deviation of what they say.

example: selfattn-bio score --model results/promoter/model --fasta new.fa --output scores.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.errors import SelfAttnBioError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio score`."""
    parser.add_argument("--model", required=True, type=Path, nargs="+", help="model folder; several are averaged")
    parser.add_argument("--fasta", required=True, type=Path, nargs="+", help="FASTA files (plain, gz, bgzip)")
    parser.add_argument("--rc", action="store_true", help="average both strands")
    parser.add_argument("--output", required=True, type=Path, help="TSV to write")


def run(arguments: argparse.Namespace) -> None:
    """Score each file; write one table, with the column `file` in front."""
    import pandas as pd

    from selfattn_bio.files import whole_file
    from selfattn_bio.scoring.scorer import load, score_sequences

    scorer = load(arguments.model)
    try:
        table = pd.concat([score_sequences(scorer, path, rc=arguments.rc).assign(file=str(path)) for path in arguments.fasta])
    except ValueError as error:  # a model that scores no sequences, or has one strand
        raise SelfAttnBioError(str(error), place=", ".join(map(str, arguments.model))) from error
    table = table[["file", *(column for column in table if column != "file")]]
    with whole_file(arguments.output) as temporary:
        table.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    print(f"score: {len(table)} sequence{'s' * (len(table) != 1)} scored: {arguments.output}")
