"""Write vectors of sequences from the last layer of a model's encoder.

There is one vector per sequence, the mean over its positions, or with --per-token one vector per
position of the encoder.

Parquet output has the columns id, d0, d1 ..., and with --per-token start and end in bases or
residues. It is written in parts, so memory is needed only for a few thousand sequences. npz output
has the arrays id and vectors, and with --per-token start and end. It needs memory for all
sequences.

example: selfattn-bio embed --model results/promoter/model --fasta new.fa --output vectors.parquet
"""

from __future__ import annotations

import argparse
from pathlib import Path

from selfattn_bio.display import counted
from selfattn_bio.log import LOG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio embed`."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="attention model: a folder, or the name of a model that ships",
    )
    parser.add_argument(
        "--fasta",
        required=True,
        type=Path,
        metavar="FILE",
        help="sequences: FASTA, or another format that `ingest` accepts",
    )
    parser.add_argument(
        "--per-token",
        action="store_true",
        help="write one vector per position of the encoder instead of one per sequence",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help=".parquet or .npz to write"
    )


def run(arguments: argparse.Namespace) -> None:
    """Embed the sequences and write their vectors."""
    from selfattn_bio.scoring.embedding import embed_file

    rows, width = embed_file(
        arguments.model,
        arguments.fasta,
        arguments.output,
        per_token=arguments.per_token,
    )
    LOG.info(f"wrote {counted(rows, 'vector')} of size {width} to {arguments.output}")
