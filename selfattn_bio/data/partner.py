"""Read the second of two inputs: a sequence or a numeric track for each record.

Numeric tracks are quantised to levels and stored like sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from selfattn_bio.arrays import Floats
from selfattn_bio.config import Data, Partner, SequencePartner, TrackPartner
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import IntervalError
from selfattn_bio.files import regular, sha256_of
from selfattn_bio.sequence.alphabet import NUM_LEVELS, Scale, get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, sequence_files
from selfattn_bio.sequence.records import Fields, ReadSummary, Record
from selfattn_bio.sequence.tracks import read_track


@dataclass(frozen=True)
class Partners:
    """The [partner] section of a run file with its [data] section."""

    section: Partner
    data: Data

    @property
    def rules(self) -> RecordRules:
        """Return the rules for the corpus of partners; several records may have equal partners."""
        return RecordRules(
            get_alphabet(self.section.alphabet),
            self.data.assembly,
            min_length=self.section.k,
            repeats="keep",
            place="[partner]",
        )

    def sources(self, records: pd.DataFrame) -> list[SequencesOf | TrackOf]:
        """Return the sources of partners for these records."""
        match self.section:
            case TrackPartner() as section:
                return [TrackOf(section, records)]
            case SequencePartner(files=None) as section:
                columns = {str(name): column for name, column in self.data.columns.items()} | {
                    "sequence": section.column
                }
                fields = Fields(columns=columns, numbered=self.data.ids == "numbered")
                files = sequence_files([path for path, _ in self.data.files], fields)
            case SequencePartner(files=others):
                files = sequence_files(others or (), Fields())
        wanted = set(records["id"])
        return [SequencesOf(file, wanted) for file in files]


@dataclass
class SequencesOf:
    """The records of a file whose ids are wanted; other records are counted."""

    file: SequenceFile
    wanted: set[str]
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield ids and letters; see `data.sources.Source`."""
        self.counts.clear()
        for record in self.file.records(policy, summary):
            if record.id in self.wanted:
                yield Record(record.id, record.letters)
            else:
                self.counts["partners without a kept record, left out"] += 1

    def about(self) -> dict[str, Any]:
        """Return the path, hash and number of unused records."""
        return self.file.about() | {"counts": dict(self.counts)}


@dataclass
class TrackOf:
    """The values of a numeric track along records, quantised to levels."""

    section: TrackPartner
    of: pd.DataFrame
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield a record with one level per letter for each record that the track covers.

        See `data.sources.Source`.

        Raises
        ------
        IntervalError
            If the file is missing or malformed, or an array does not have the length of its record.
        """
        self.counts.clear()
        scale = Scale(self.section.low, self.section.high)
        numbers_of = open_numbers(self.section.path)
        for row in self.of.itertuples():
            numbers = numbers_of(row)
            if numbers is None:
                continue
            if numbers.shape != (row.length,):
                message = f"{len(numbers)} values for record {row.id!r} of length {row.length}"
                raise IntervalError(message, place=self.section.path)
            known = numbers[~np.isnan(numbers)]
            self.counts["positions without a value"] += len(numbers) - len(known)
            self.counts[f"values outside {scale.low:g} to {scale.high:g}, clipped"] += int(
                ((known < scale.low) | (known > scale.high)).sum()
            )
            summary.claim(str(row.id), self.section.path, 0)
            yield Record(str(row.id), scale.letters(numbers))

    def about(self) -> dict[str, Any]:
        """Return the path, hash, scale and counts of unusual values."""
        of_scale = {"low": self.section.low, "high": self.section.high, "levels": NUM_LEVELS}
        counts = {what: count for what, count in self.counts.items() if count}
        return (
            {"path": self.section.path, "sha256": sha256_of(self.section.path)}
            | of_scale
            | {"counts": counts}
        )


def open_numbers(path: str) -> Callable[[Any], Floats | None]:
    """Open a track and return a function from a record to its numbers.

    The function takes a row with id, chrom, start, strand and length. It returns one number per
    letter on the strand of the record, NaN if unknown, or None if the file does not have the
    record.

    Raises
    ------
    IntervalError
        If the file is missing or malformed.
    """
    if path.lower().endswith(".npz"):
        arrays = read_numbers(path)
        return lambda row: arrays.get(row.id)
    track = read_track(path)

    def along(row: Any) -> Floats | None:
        located = not pd.isna(row.start)
        chrom, start = (row.chrom, int(row.start)) if located else (row.id, 0)
        if chrom not in track.names:
            return None
        found = track.values(chrom, start, start + row.length).astype(np.float64)
        return found[::-1] if located and row.strand == "-" else found

    return along


def read_numbers(path: str | Path) -> dict[str, Floats]:
    """Read the numeric arrays of an .npz file, by id.

    Raises
    ------
    IntervalError
        If the file is missing or damaged, or an array is not one-dimensional and numeric.
    """
    try:
        with regular(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if repeated := [name for name, count in Counter(arrays.files).items() if count > 1]:
                raise ValueError(f"two arrays have the id {repeated[0]!r}")
            size = sum(each.file_size for each in arrays.zip.infolist())
            if 2 * size > psutil.virtual_memory().available:
                raise ValueError(f"its arrays have {size:,} bytes, and do not fit into memory")
            found = {name: arrays[name] for name in arrays}
    except Exception as error:  # numpy and zipfile raise various exceptions
        raise IntervalError(f"cannot read the .npz file: {error}", place=str(path)) from error
    for name, array in found.items():
        if array.ndim != 1 or array.dtype.kind not in "fiub":
            raise IntervalError(
                f"array {name!r} is not a one-dimensional array of numbers ({array.dtype}, shape "
                f"{array.shape})",
                place=str(path),
            )
    return {name: array.astype(np.float64) for name, array in found.items()}
