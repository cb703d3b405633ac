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

from selfattn_bio.errors import OutputError, SelfAttnBioError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio embed`."""
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        help="attention model: a folder, or the name of a model that ships",
    )
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--fasta",
        type=Path,
        metavar="FILE",
        help="sequences: FASTA, or another format that `ingest` accepts",
    )
    inputs.add_argument(
        "--bed", type=Path, metavar="FILE", help="BED file of intervals in --genome"
    )
    parser.add_argument(
        "--genome",
        type=Path,
        metavar="FILE",
        help="genome of --bed, plain or bgzip; minus strands are reverse-complemented",
    )
    parser.add_argument(
        "--per-token",
        action="store_true",
        help="write one vector per position of the encoder instead of one per sequence",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="sequences per batch (default: 32,768 bases or residues in total)",
    )
    parser.add_argument("--output", required=True, type=Path, help=".parquet or .npz to write")


def run(arguments: argparse.Namespace) -> None:
    """Embed the sequences and write their vectors."""
    from selfattn_bio.files import whole_file

    if arguments.output.suffix not in (".parquet", ".npz"):
        raise OutputError(
            "the output file must end with .parquet or .npz", place=str(arguments.output)
        )
    if bool(arguments.bed) != bool(arguments.genome):
        raise SelfAttnBioError(
            "--bed needs --genome" if arguments.bed else "--genome is only used with --bed"
        )
    write = _write_parquet if arguments.output.suffix == ".parquet" else _write_npz
    with whole_file(arguments.output) as temporary:
        rows, width = write(arguments, temporary)
    print(f"embed: wrote {rows} vector{'s' * (rows != 1)} of size {width} to {arguments.output}")


def _write_parquet(arguments: argparse.Namespace, path: Path) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from selfattn_bio.scoring.embedding import embed_batches

    writer, rows, width = None, 0, 0
    try:
        for part in embed_batches(
            arguments.model, arguments.fasta or arguments.bed, **_options(arguments)
        ):
            table = pa.Table.from_pandas(part.table(), preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            rows, width = rows + len(part), part.vectors.shape[1]
    finally:
        if writer:
            writer.close()
    return rows, width


def _write_npz(arguments: argparse.Namespace, path: Path) -> tuple[int, int]:
    import numpy as np

    from selfattn_bio.scoring.embedding import embed

    found = embed(arguments.model, arguments.fasta or arguments.bed, **_options(arguments))
    columns = {
        name: found.positions[name].to_numpy()
        for name in ("start", "end")
        if name in found.positions
    }
    columns["id"] = found.positions["id"].to_numpy(dtype=str)  # arrays of objects would need pickle
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, vectors=found.vectors, **columns)
    return found.vectors.shape[0], found.vectors.shape[1]


def _options(arguments: argparse.Namespace) -> dict:
    return {
        "per_token": arguments.per_token,
        "batch_size": arguments.batch_size,
        "genome": arguments.genome,
    }
