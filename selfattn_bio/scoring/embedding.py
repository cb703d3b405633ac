"""Embed sequences, or their positions, with a trained encoder.

Use the vectors for nearest neighbours, clustering, plots or as features of other models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.files import check_ending, check_output_file, whole_file
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.inputs import Inputs, read_inputs
from selfattn_bio.scoring.loading import Models, load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.table import TableScorer, chunks
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.tables import write_table

ENDINGS = (".parquet", ".npz")


@dataclass(frozen=True, repr=False)
class Embeddings(TableResult):
    """Vectors of sequences or positions.

    Attributes
    ----------
    positions
        One row per vector: id and, with `per_token`, start and end (0-based half-open, within the
        sequence).
    vectors
        (n, members x embed_dim) float32, with the members of the network side by side. With
        `model.strands = "shared"` there are twice as many columns: first the given strand, then the
        reverse strand in the order of the given strand. A reverse complement swaps the halves and
        mirrors the positions.
    """

    positions: pd.DataFrame
    vectors: Scores

    def __repr__(self) -> str:
        number, width = self.vectors.shape
        return f"Embeddings: {counted(number, 'vector')} of size {width}"

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def table(self) -> pd.DataFrame:
        """Return `positions` together with the vectors as columns d0, d1, ..."""
        values = pd.DataFrame(self.vectors, index=self.positions.index).add_prefix("d")
        return pd.concat([self.positions, values], axis=1)

    def save(self, path: str | Path) -> None:
        """Write the table as .parquet, or the arrays id, vectors, start and end as .npz.

        Raises
        ------
        OutputError
            If the path has another ending.
        """
        path = check_ending(path, *ENDINGS)
        if path.suffix == ".parquet":
            write_table(path, self.table)
            return
        columns = {name: values.to_numpy() for name, values in self.positions.items()}
        columns["id"] = columns["id"].astype(str)  # arrays of objects would need pickle
        with whole_file(path) as temporary, temporary.open("wb") as file:
            columns["vectors"] = self.vectors
            np.savez(file, allow_pickle=False, **columns)  # type: ignore[arg-type]


def embed(
    model: Models, sequences: Inputs, *, per_token: bool = False, genome: str | Path | None = None
) -> Embeddings:
    """Embed sequences with the last layer of the encoder.

    `embed("promoter", ["ACGT" * 75]).vectors` has the shape (1, 128): two networks with 64
    dimensions.

    Parameters
    ----------
    model
        One model folder of kind "attention", the name of one that ships, or the result of `load`.
    sequences, genome
        As for `score_sequences`.
    per_token
        Return one vector per encoder position instead of their mean. A position is a token, or as
        many tokens as the stem pools.

    Raises
    ------
    SequenceFileError
        As for `score_sequences`.
    ArgumentError
        As for `score_sequences`, or if the model is an ensemble or has no encoder.
    """
    return _joined(embed_batches(model, sequences, per_token, genome))


def embed_batches(
    model: Models, sequences: Inputs, per_token: bool = False, genome: str | Path | None = None
) -> Iterator[Embeddings]:
    """Yield the result of `embed` in parts of a few thousand sequences.

    Memory does not grow with the size of a file. At least one part is returned.
    """
    scorer = load_single(model)
    check_one_input(scorer, "embed")
    if not (width := scorer.network.vector_size):
        raise ArgumentError(
            f"a model of kind {scorer.run.model.kind!r} has no encoder and cannot embed sequences"
        )
    inputs = read_inputs(scorer.policy, sequences, scorer.tokenizer.k, genome)
    for part in chunks(inputs, TableScorer(scorer, rc=False, coverage=None)):
        ids, letters = [each.id for each in part], [each.letters for each in part]
        found = scorer.in_batches(letters, partial(_encoded, scorer, per_token))
        counts = [len(each) for each in found]
        positions = pd.DataFrame({"id": np.repeat(np.array(ids, dtype=object), counts)})
        if per_token:
            spans = [_spans(scorer, *each) for each in zip(map(len, letters), counts, strict=True)]
            positions[["start", "end"]] = np.concatenate([np.empty((0, 2), np.int64), *spans])
        yield Embeddings(positions, np.concatenate([np.empty((0, width), np.float32), *found]))


def embed_file(
    model: Models, sequences: Inputs, output: str | Path, *, per_token: bool = False
) -> tuple[int, int]:
    """Embed sequences and write their vectors.

    Parquet is written in parts, so memory is needed only for a few thousand sequences. An .npz file
    needs memory for all vectors.

    Parameters
    ----------
    model, sequences, per_token
        As for `embed`.
    output
        .parquet or .npz to write, in the form of `Embeddings.save`.

    Returns
    -------
    The number of vectors and their size.

    Raises
    ------
    OutputError
        If the output has another ending, or is also the input.
    SequenceFileError, ArgumentError
        As for `embed`.
    """
    output = check_ending(output, *ENDINGS)
    check_output_file(output, sequences)
    parts = embed_batches(model, sequences, per_token)
    if output.suffix == ".npz":
        found = _joined(parts)
        found.save(output)
        return found.vectors.shape
    first = next(parts)
    rows, schema = 0, pa.Table.from_pandas(first.table, preserve_index=False).schema
    with whole_file(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in chain([first], parts):
            writer.write_table(pa.Table.from_pandas(part.table, preserve_index=False))
            rows += len(part)
    return rows, first.vectors.shape[1]


def _joined(parts: Iterable[Embeddings]) -> Embeddings:
    found = list(parts)
    return Embeddings(
        pd.concat([part.positions for part in found], ignore_index=True),
        np.concatenate([part.vectors for part in found]),
    )


def _encoded(scorer: Scorer, per_token: bool, letters: list[Ascii]) -> list[Scores]:
    """Return `Network.encode` of each sequence, (M, D), or the mean of its positions, (1, D).

    Padding and head vectors are left out.
    """
    with torch.inference_mode():
        vectors, inside = scorer.network.encode(scorer.tokens_of(letters))
        counts = inside.sum(1).tolist()
    pairs = zip(vectors.float().cpu().numpy(), counts, strict=True)
    found = [row[:count] for row, count in pairs]
    return found if per_token else [row.mean(axis=0, keepdims=True) for row in found]


def _spans(scorer: Scorer, num_letters: int, num_positions: int) -> Integers:
    """Return the interval [start, end) of the sequence for each position, (num_positions, 2)."""
    tokenizer, num_tokens = scorer.tokenizer, scorer.tokenizer.num_tokens(num_letters)
    pool = scorer.run.output_stride // tokenizer.stride
    first = np.arange(num_positions) * pool
    last = np.minimum(first + pool, num_tokens) - 1
    return np.stack([first * tokenizer.stride, last * tokenizer.stride + tokenizer.k], axis=1)
