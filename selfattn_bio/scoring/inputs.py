"""Read sequences from strings, FASTA files, records, tables or genome intervals.

Files are read one record at a time, so memory does not grow with their length.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from selfattn_bio.errors import ArgumentError, SequenceFileError
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import Interval, bed_interval, bed_rows, read_intervals
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields, ReadSummary, Record
from selfattn_bio.sequence.windows import id_of, place

LONGEST_NAME = 255  # bytes of a file name: a longer string cannot be one
LEAST_DNA = 20  # bp; a shorter record with letters of DNA may be a peptide
# Tables and records are not mentioned: most users pass one of these two.
HINT = "pass a list of strings or the path of a FASTA file"


class Input(NamedTuple):
    """One sequence; for an interval, or a record with coordinates, `place` has the fields of PLACE.

    Coordinates are 0-based half-open. The chromosome is named as in the genome. The name is "" if
    there is none.
    """

    id: str
    letters: Ascii
    place: tuple[str, int, int, str, str] | None = None


PLACE = ("chrom", "start", "end", "strand", "name")
Inputs = Sequence[str] | Sequence[Record] | pd.DataFrame | str | Path


def read_sequences(
    policy: SequencePolicy, sequences: Inputs, k: int
) -> tuple[list[str], list[Ascii]]:
    """Read all sequences with `read_inputs` and return their ids and ASCII sequences."""
    pairs = list(read_inputs(policy, sequences, k))
    return [each.id for each in pairs], [each.letters for each in pairs]


def read_inputs(
    policy: SequencePolicy,
    sequences: Inputs,
    k: int,
    genome: str | Path | None = None,
    ids: ReadSummary | None = None,
) -> Iterator[Input]:
    """Yield the id and ASCII sequence of each input of at least `k` positions.

    The ids of a file are read as those of the training records, from headers of the same form. The
    id of an interval is that of a corpus, such as `chr1:0-30(+)`.

    Parameters
    ----------
    policy
        How sequences are read, as for the model's training records. `Record`s are used as they are.
    sequences
        One of:

        - strings, whose ids are numbers from 0, or the index of a pandas Series with names
        - the path of a FASTA file
        - `Record`s
        - a table with a column `sequence` and optionally `id`, or with the names of `columns` in
          [data] of the model's run file; the same holds for CSV, TSV and Parquet files
        - with `genome`: a BED or GFF file, or a table with `chrom, start, end` (0-based half-open)
          and optionally `strand` and `name`
    k
        Minimum length of a sequence.
    genome
        FASTA file of the intervals, plain or bgzip. A missing index is created next to it.
    ids
        Registers the ids of a file and refuses repeated ones. By default they are accepted.

    Raises
    ------
    SequenceFileError
        If a file is missing or malformed, a character is outside the alphabet, a record is shorter
        than `k`, or an interval is not on the genome.
    ArgumentError
        If a sequence of a list has such a problem, or the input has none of these forms.
    """
    if (
        isinstance(sequences, str)
        and not os.path.exists(sequences)
        and (len(sequences) > LONGEST_NAME or "." not in sequences)
    ):
        shown = sequences if len(sequences) <= 12 else f"{sequences[:12]}..."
        raise ArgumentError(
            f"no such file: {shown!r}. To score a sequence, put it in a list: "
            f"[{sequences[:8]!r}...]"
        )
    if genome is not None:
        inputs = _of_genome(policy, sequences, k, genome)
    elif isinstance(sequences, str | Path):
        inputs = _of_file(policy, Path(sequences), k, ids or _AnyIds())
    else:
        inputs = _of_list(policy, _listed(policy, sequences), k)
    is_checked = policy.alphabet.name == "protein"
    for each in inputs:
        if is_checked and _is_dna(each.letters):
            LOG.warning(f"record {each.id!r} looks like DNA, but is read as protein")
            is_checked = False
        yield each


def _is_dna(letters: Ascii) -> bool:
    """Return whether a record has at least `LEAST_DNA` letters, and only A, C, G, T, U and N."""
    return len(letters) >= LEAST_DNA and {*b"ACG"} <= {*letters.tobytes()} <= {*b"ACGTUN"}


class _AnyIds(ReadSummary):
    """Accept repeated ids.

    Scores are not joined by id, and the ids of a long file would not fit into memory.
    """

    def claim(self, record: str, name: str, line: int, hint: str = "") -> None:
        """Accept any id."""


def _of_file(policy: SequencePolicy, path: Path, k: int, ids: ReadSummary) -> Iterator[Input]:
    for record in SequenceFile(path, fields=_fields(policy)).records(policy, ids):
        if (length := len(record.letters)) < k:
            message = f"record {record.id!r} has length {length}, but the model needs at least {k}"
            raise SequenceFileError(message, place=str(path))
        yield Input(record.id, record.letters, _place(record))


def _fields(policy: SequencePolicy) -> Fields:
    names = {"id": policy.id_column, "sequence": policy.sequence_column}
    return Fields(header=policy.header, columns=names, needs_id=False)


def _place(record: Record) -> tuple[str, int, int, str, str] | None:
    if record.chrom is None or record.start is None or record.end is None:
        return None
    return record.chrom, record.start, record.end, record.strand or ".", ""


def _listed(
    policy: SequencePolicy, sequences: Sequence[str] | Sequence[Record] | pd.DataFrame
) -> list[tuple[str | None, str | Ascii]]:
    """Return the id (or None) and sequence of each input in memory."""
    if isinstance(sequences, pd.DataFrame):
        fields = _fields(policy).within(list(map(str, sequences)))
        column, name = fields.column("sequence"), fields.column("id")
        if column not in sequences:
            hint = (
                "to read its intervals, pass genome="
                if {"chrom", "start", "end"} <= set(sequences)
                else f"rename one of its columns: {', '.join(map(str, sequences)) or 'none'}"
            )
            raise ArgumentError(f"the table has no column {column!r}; {hint}")
        ids = sequences[name].astype(str) if name in sequences else _index(sequences)
        return list(zip(ids, sequences[column], strict=True))
    if isinstance(sequences, Mapping | Set) or not isinstance(sequences, Sized):
        raise ArgumentError(f"cannot read sequences from a {type(sequences).__name__}; {HINT}")
    kind = type(sequences).__name__
    if foreign := [type(each).__name__ for each in sequences if not isinstance(each, str | Record)]:
        raise ArgumentError(f"cannot read sequences from a {kind} of {foreign[0]}; {HINT}")
    if isinstance(sequences, pd.Series):
        return list(zip(_index(sequences), sequences, strict=True))
    return [
        (each.id, each.letters) if isinstance(each, Record) else (None, each) for each in sequences
    ]


def _index(sequences: pd.DataFrame | pd.Series) -> Sequence[str | None]:
    """Return the index as ids, or None for each row if it only numbers the rows."""
    is_numbered = isinstance(sequences.index, pd.RangeIndex)
    return [None if is_numbered else str(name) for name in sequences.index]


def _of_list(
    policy: SequencePolicy, sequences: list[tuple[str | None, str | Ascii]], k: int
) -> Iterator[Input]:
    for number, (name, text) in enumerate(sequences):
        where = f"sequence {number} (counted from 0)"
        if not isinstance(text, str | np.ndarray):
            raise ArgumentError(f"{where} is not a string but {type(text).__name__}")
        letters = policy.letters_of(text, where) if isinstance(text, str) else text
        if len(letters) < k:
            message = f"{where} has length {len(letters)}, but the model needs at least {k}"
            raise ArgumentError(message)
        yield Input(str(number) if name is None else name, letters)


# ------------ intervals of a genome
def _of_genome(
    policy: SequencePolicy, intervals: Inputs, k: int, path: str | Path
) -> Iterator[Input]:
    alphabet, unit = policy.alphabet, policy.alphabet.unit
    if not alphabet.is_nucleic:
        message = f"intervals of a genome need a DNA model; this one reads {alphabet.name}"
        raise ArgumentError(message)
    with Genome(path, alphabet).with_soft_mask(policy.soft_mask) as genome:
        table = place(interval_table(intervals), genome)
        columns = (table[name].tolist() for name in (*PLACE, "path", "line"))
        for chrom, start, end, strand, name, file, line in zip(*columns, strict=True):
            if end - start < k:
                message = f"the interval has {end - start} {unit}, but the model needs at least {k}"
                SequenceFileError.fail(message, f"{file}:{line}")
            yield Input(
                id_of(chrom, start, end, strand),
                genome.fetch(chrom, start, end, strand),
                (chrom, start, end, strand, name),
            )


def interval_table(intervals: Inputs) -> pd.DataFrame:
    """Return intervals in the format of `read_intervals`."""
    if isinstance(intervals, str | Path):
        return read_intervals(intervals)
    if not isinstance(intervals, pd.DataFrame):
        raise ArgumentError(
            "with a genome, pass a BED file or a table of intervals, not a "
            f"{type(intervals).__name__}"
        )
    if not (intervals.columns.is_unique and intervals.index.nlevels == 1):
        message = "the table has two columns of one name, or an index of several levels"
        raise ArgumentError(message, hint="Rename columns, or use reset_index()")
    if missing := [name for name in ("chrom", "start", "end") if name not in intervals]:
        message = f"the table has no column {missing[0]!r}; intervals need chrom, start and end"
        raise ArgumentError(message)
    place = "table of intervals, row"
    rows = [bed_interval(cells, row, f"{place} {row}") for row, cells in bed_rows(intervals)]
    return pd.DataFrame(rows, columns=list(Interval._fields)).assign(path=place)
