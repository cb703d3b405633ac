"""All that can be scored, as ids and letters one after another: strings, a FASTA file, records, a table, intervals of a genome.

Hides: what was passed, and the wording of what is wrong with it. Memory is that of one record, whatever the length of a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set, Sized
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import SequenceFileError
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Notes, Record, letters_of

LONGEST_NAME = 255  # bytes of a file's name: a longer string is none
RULE = "sequences must be a list of strings or the path of a FASTA file"  # what most pass; a table or records tell by their own type
BED = (".bed", ".bed.gz")
PLACE = ("chrom", "start", "end", "strand", "name")

Input = tuple[str, NDArray[np.uint8]]
Inputs = Sequence[str] | Sequence[Record] | pd.DataFrame | str | Path


def read_sequences(alphabet: Alphabet, sequences: Inputs, k: int) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Ids and ASCII letters of all of `read_inputs` at once."""
    pairs = list(read_inputs(alphabet, sequences, k))
    return [name for name, _ in pairs], [letters for _, letters in pairs]


def read_inputs(alphabet: Alphabet, sequences: Inputs, k: int, genome: str | Path | None = None) -> Iterator[Input]:
    """Id and ASCII letters of each sequence, none of fewer than `k` letters.

    Parameters
    ----------
    sequences
        Strings (their ids are numbers from 0); the path of a FASTA file; `Record`s; a table with a column `sequence` and perhaps `id`; or,
        with `genome`, a BED file or a table with `chrom, start, end` (0-based half-open) and perhaps `strand` and `name`.
    genome
        FASTA that the intervals are of, plain or bgzip; its index is made beside it if it has none.

    Raises
    ------
    SequenceFileError
        If a file is missing or malformed, a letter is outside the alphabet, a record shorter than `k`, or an interval not on the genome.
    ValueError
        If one of a list is so, or what is passed is none of these.
    """
    if isinstance(sequences, str) and not os.path.exists(sequences) and (len(sequences) > LONGEST_NAME or "." not in sequences):
        shown = sequences if len(sequences) <= 12 else f"{sequences[:12]}..."
        raise ValueError(f"{RULE}, got {shown!r}, which is no file: write letters as a list, [{sequences[:8]!r}...]")
    if genome is not None:
        yield from _of_genome(alphabet, sequences, k, Path(genome))
    elif isinstance(sequences, str | Path):
        yield from _of_file(alphabet, Path(sequences), k)
    else:
        yield from _of_list(alphabet, _listed(sequences), k)


def _of_file(alphabet: Alphabet, path: Path, k: int) -> Iterator[Input]:
    if path.name.lower().endswith(BED):
        raise ValueError(f"a BED file must come with the genome that it is of, got {path.name} alone: pass genome=")
    notes = Notes()
    for record in read_records(path, alphabet, notes):
        notes.places.clear()  # scores are joined with nothing by their ids, and all ids of a long file would not fit the memory
        if len(record.letters) < k:
            message = f"sequences must be at least k = {k} letters long, got {len(record.letters)} in record {record.id!r}"
            raise SequenceFileError(message, place=str(path))
        yield record.id, record.letters


def _listed(sequences: Sequence[str] | Sequence[Record] | pd.DataFrame) -> list[tuple[str | None, str | NDArray[np.uint8]]]:
    """Id, if there is one, and letters of what stands in memory."""
    if isinstance(sequences, pd.DataFrame):
        if "sequence" not in sequences:
            told = "chrom, start, end: pass genome=" if {"chrom", "start", "end"} <= set(sequences) else ", ".join(map(str, sequences))
            raise ValueError(f"a table of sequences must have a column 'sequence', got {told or 'none'}")
        ids = sequences["id"].astype(str) if "id" in sequences else [None] * len(sequences)
        return list(zip(ids, sequences["sequence"], strict=True))
    if isinstance(sequences, Mapping | Set) or not isinstance(sequences, Sized):
        raise ValueError(f"{RULE}, got {type(sequences).__name__}")
    if foreign := [type(each).__name__ for each in sequences if not isinstance(each, str | Record)]:
        raise ValueError(f"{RULE}, got {type(sequences).__name__} of {foreign[0]}")
    return [(each.id, each.letters) if isinstance(each, Record) else (None, each) for each in sequences]


def _of_list(alphabet: Alphabet, sequences: list[tuple[str | None, str | NDArray[np.uint8]]], k: int) -> Iterator[Input]:
    for number, (name, text) in enumerate(sequences):
        place = f"sequence {number} (counted from 0)"
        if not isinstance(text, str | np.ndarray):
            raise ValueError(f"{place} must be a string, got {type(text).__name__}")
        letters = letters_of(text, alphabet, place) if isinstance(text, str) else text
        if len(letters) < k:
            raise ValueError(f"sequences must be at least k = {k} letters long, got {len(letters)} in {place}")
        yield str(number) if name is None else name, letters


# ------------------------------------------------------------------------------------------------------- intervals of a genome
def _of_genome(alphabet: Alphabet, intervals: Inputs, k: int, genome: Path) -> Iterator[Input]:
    import pysam  # where a genome is named alone

    if not genome.is_file():
        raise SequenceFileError("genome must be an existing FASTA file, got no such file", place=str(genome))
    try:
        fasta = pysam.FastaFile(str(genome))
    except (OSError, ValueError) as error:
        message = f"genome must be FASTA, plain or bgzip, beside which its index can stand, got {error}"
        raise SequenceFileError(message, place=str(genome), cure="samtools faidx makes the index; gz must be bgzip") from error
    with fasta:
        sizes = dict(zip(fasta.references, fasta.lengths, strict=True))
        for place, chrom, start, end, strand, name in _intervals(intervals):
            rule = f"interval must lie on {genome.name}"
            if chrom not in sizes:
                near = f" (it has {', '.join(list(sizes)[:3])} ...)"
                raise SequenceFileError(f"{rule}, got chromosome {chrom!r}{near}", place=place)
            if not 0 <= start < end <= sizes[chrom]:
                raise SequenceFileError(f"{rule}, {chrom} of {sizes[chrom]} letters, got {start} to {end}", place=place)
            if end - start < k:
                raise SequenceFileError(f"sequences must be at least k = {k} letters long, got {end - start}", place=place)
            try:
                letters = letters_of(fasta.fetch(chrom, start, end), alphabet, f"{chrom}:{start}-{end}")
            except ValueError as error:
                raise SequenceFileError(str(error), place=str(genome)) from error
            yield name or f"{chrom}:{start}-{end}", alphabet.reverse_complement(letters) if strand == "-" else letters


def _intervals(intervals: Inputs) -> Iterator[tuple[str, str, int, int, str, str]]:
    """Place for messages, chrom, start, end (0-based half-open), strand and name ("" if not given)."""
    if isinstance(intervals, pd.DataFrame):
        if missing := [name for name in PLACE[:3] if name not in intervals]:
            raise ValueError(f"a table of intervals must have the columns chrom, start, end, got no {missing[0]}")
        table = intervals.reindex(columns=list(PLACE))
        texts = table[["chrom", "strand", "name"]].astype(object).fillna("").astype(str)
        starts, ends = (table[column].astype(int) for column in ("start", "end"))
        for row, (chrom, strand, name), start, end in zip(table.index, texts.to_numpy(), starts, ends, strict=True):
            yield f"row {row}", chrom, start, end, strand, name
    elif isinstance(intervals, str | Path):
        yield from _bed(Path(intervals))
    else:
        raise ValueError(f"with a genome, sequences must be a BED file or a table of intervals, got {type(intervals).__name__}")


def _bed(path: Path) -> Iterator[tuple[str, str, int, int, str, str]]:
    import gzip

    if not path.is_file():
        raise SequenceFileError("BED file must be an existing file, got no such file", place=str(path))
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields or fields[0] in ("track", "browser") or line.startswith("#"):
                continue
            if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()):
                shown = line.strip()[:40]
                raise SequenceFileError(f"a line of BED must be chrom, start, end, got {shown!r}", place=f"{path}:{number}")
            strand = fields[5] if len(fields) > 5 and fields[5] in "+-" else ""
            name = fields[3] if len(fields) > 3 and fields[3] != "." else ""
            yield f"{path}:{number}", fields[0], int(fields[1]), int(fields[2]), strand, name
