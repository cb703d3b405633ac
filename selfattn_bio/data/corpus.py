"""Open corpus folders.

A corpus stores one byte per letter in a memory-mapped file, next to a table of records.
`data.ingest` writes it and every later command opens it. Memory use depends on the longest record
and the table, not on the total number of letters.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from selfattn_bio.config import RunFile
from selfattn_bio.data.writer import LETTERS, RECORDS, ROWS, TARGETS, TYPES
from selfattn_bio.display import counted, did_you_mean
from selfattn_bio.errors import CorpusError
from selfattn_bio.files import naming, read_json
from selfattn_bio.sequence.alphabet import PIECE, get_alphabet
from selfattn_bio.sequence.tables import read_parquet
from selfattn_bio.stored import Stored, StoredSource, checked

SUMMARY, PARTNER = "corpus.json", "partner"
AGAIN = "Run selfattn-bio ingest again"
# Maximum number of letters that `each` holds, unless a single record is longer
PASSED = 1 << 26


class Corpus:
    """An opened corpus folder.

    Attributes
    ----------
    records
        Table in input order: id, label (1, 0, missing), chrom, start, end (0-based half-open),
        strand, group, length and offset (in letters), sha256 (of the letters).
    alphabet, assembly
        Alphabet of the sequences and assembly of the coordinates.
    fingerprint
        SHA-256 of ids, labels, coordinates, letters, targets, masks and partners; equal for equal
        content.
    targets_place
        File of the targets for messages; the corpus if its summary names none.
    partner
        For records with two inputs, the corpus of the second inputs. It has the same ids, possibly
        in another order. Otherwise None.
    """

    def __init__(self, path: Path, records: pd.DataFrame, summary: dict[str, Any]) -> None:
        self.path, self.records, self.summary = path, records, summary
        self.partner = Corpus.open(path / PARTNER) if (path / PARTNER).is_dir() else None
        if self.partner:
            self._partners = pd.Index(self.partner.records["id"]).get_indexer(records["id"])
            if (self._partners < 0).any():
                _fail("a record has no partner", path)
        self.alphabet = get_alphabet(summary["alphabet"])
        self.assembly: str = summary["assembly"]
        self.fingerprint: str = summary["fingerprint"]
        self.targets_place = str((summary.get("targets") or {}).get("path", path))
        self._file = os.open(path / LETTERS, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        self._letters = np.frombuffer(self._map, np.uint8)
        self._offsets, self._lengths = records["offset"].to_numpy(), records["length"].to_numpy()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        letters = f"{self.summary['num_letters']:,} {self.alphabet.unit}"
        return f"Corpus of {counted(len(self), 'record')}, {letters}, in {self.path}"

    def _repr_html_(self) -> str:
        return f"<div>{escape(repr(self))}</div>{self.records.head().to_html()}"

    def check_task(self, task: RunFile) -> None:
        """Check that the records can be those of a task.

        Raises
        ------
        CorpusError
            If the run file has another alphabet.
        """
        if self.alphabet.name != task.data.alphabet:
            raise CorpusError(
                f"the corpus has alphabet {self.alphabet.name!r}, but [data] alphabet of "
                f"{task.path or 'the run file'} is {task.data.alphabet!r}",
                place=str(self.path),
                hint="Use the run file, corpus, split and model of one task, or ingest again",
            )

    def letters(self, i: int) -> NDArray[np.uint8]:
        """Return record `i` (a row of `records`) as upper-case ASCII, (L,).

        The array is a read-only view of the file.
        """
        offset = self._offsets[i]
        return self._letters[offset : offset + self._lengths[i]]

    @property
    def partner_hashes(self) -> list[str]:
        """Return the hash of each record's partner; empty strings without partners."""
        if self.partner is None:
            return [""] * len(self)
        return self.partner.records["sha256"].iloc[self._partners].tolist()

    def partner_letters(self, i: int) -> NDArray[np.uint8]:
        """Return the letters of the partner of record `i`, as in `letters`.

        Raises
        ------
        CorpusError
            If the records have no partners.
        """
        if self.partner is None:
            hint = "Ingest with [partner] in the run file"
            CorpusError.fail("the corpus has no partners", self.path, hint)
        return self.partner.letters(int(self._partners[i]))

    def window(self, i: int, start: int, end: int) -> NDArray[np.uint8]:
        """Return letters [start, end) of record `i`, 0-based.

        The result equals `letters(i)[start:end]`, but is read and not memory-mapped. Mapping a
        letter loads up to megabytes around it, which count as memory of this process: 6 GB for
        4,096 windows over 10 GB.
        """
        return np.frombuffer(
            os.pread(self._file, end - start, int(self._offsets[i]) + start), np.uint8
        )

    def each(self, rows: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
        """Yield the letters of these records one after the other.

        Memory of earlier records is released, so that at most PASSED letters, or the longest
        record, are held.
        """
        held = 0
        for i in rows:
            if held and held + self._lengths[i] > PASSED:
                self._let_go()
                held = 0
            yield self.letters(i)
            held += self._lengths[i]
        self._let_go()

    def _let_go(self) -> None:
        """Release the memory of mapped letters; the system maps them again on access."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def targets(self, columns: Sequence[str], place: str = "") -> pd.DataFrame:
        """Return columns of the targets, one row per record in order.

        Values that the table lacks are missing.

        Parameters
        ----------
        place
            Where the columns are requested, for the error; by default the corpus.

        Raises
        ------
        CorpusError
            If a column is missing, or the table has another number of rows than records.
        """
        path = self.path / TARGETS
        found = _read_table(path) if path.exists() else pd.DataFrame(index=self.records.index)
        if len(found) != len(self.records):
            _fail(f"{len(found)} rows of targets, but {len(self.records)} records", path)
        check_columns(columns, found.columns.tolist(), place or str(self.path))
        return found[list(columns)]

    def column(self, name: str, place: str = "") -> pd.Series:
        """Return a column of the records, or of their targets if it is missing or empty there.

        `place` and errors are those of `targets`.
        """
        if name in self.records and self.records[name].notna().any():
            return self.records[name]
        return self.targets([name], place)[name]

    @classmethod
    def open(cls, path: str | Path) -> Corpus:
        """Open a corpus folder and check it against its hashes.

        All letters are read once, so that altered data cannot be used for training or evaluation.

        Raises
        ------
        CorpusError
            If the folder or a file in it is missing, unreadable, altered, or inconsistent.
        """
        path = Path(path)
        for part in (path, path / LETTERS, path / RECORDS, path / SUMMARY):
            if not (part.is_dir() if part == path else part.is_file()):
                CorpusError.fail("no such corpus file or folder", part, "Run selfattn-bio ingest")
        summary, records = _summary_of(path), _read_table(path / RECORDS, TYPES)
        found = {
            "num_letters": (path / LETTERS).stat().st_size,
            "num_records": len(records),
            "fingerprint": fingerprint_of(records, path),
        }
        for key, value in found.items():
            if value != (expected := summary.get(key)):
                message = f"the corpus was altered: {key} is {value}, but {expected} in {SUMMARY}"
                _fail(message, path)
        if not records["id"].is_unique:
            _fail("two records have the same id", path)
        _check_intervals(path / RECORDS, records, (path / LETTERS).stat().st_size)
        _check_letters(path / LETTERS, records)
        return cls(path, records, summary)


def _fail(message: str, path: Path) -> NoReturn:
    """Raise the error of a damaged corpus."""
    CorpusError.fail(message, path, AGAIN)


def check_columns(columns: Sequence[str], found: Sequence[str], place: str) -> None:
    """Raise if the targets lack one of these columns."""
    if absent := [column for column in columns if column not in found]:
        held = ", ".join(map(repr, found[:20])) or "none"
        hint = did_you_mean(absent[0], found).replace("did", "Did", 1) or (
            f"Add it to the table, or {absent[0]}=... to the FASTA headers, and ingest again"
        )
        CorpusError.fail(f"no column {absent[0]!r} in the targets (columns: {held})", place, hint)


class CorpusSource(StoredSource):
    """A source of records, with the number of those that were kept."""

    kept: int
    counts: dict[str, int] = Field(default_factory=dict)


class CorpusTargets(Stored):
    """The table of targets."""

    path: str
    columns: list[str]


class CorpusSummary(Stored):
    """The types of corpus.json."""

    alphabet: Annotated[str, AfterValidator(lambda name: get_alphabet(name).name)]
    assembly: str
    fingerprint: str
    num_records: int
    num_letters: int
    read: int
    dropped: dict[str, int]
    repeated: dict[str, int] = Field(default_factory=dict)
    noted: dict[str, int]
    sources: Annotated[list[CorpusSource], Field(min_length=1)]
    targets: CorpusTargets | None = None


def _summary_of(path: Path) -> dict[str, Any]:
    summary = read_json(path / SUMMARY, CorpusError, AGAIN)
    checked(CorpusSummary, summary, path / SUMMARY, AGAIN, error=CorpusError)
    return summary


def _read_table(path: Path, types: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a Parquet file with columns of these types; by default, all columns are text."""
    try:
        return read_parquet(path).astype(types or "str")
    except (OSError, ValueError, KeyError, TypeError) as error:
        _fail(f"cannot read the table: {str(error).splitlines()[0]}", path)


def _check_intervals(path: Path, records: pd.DataFrame, num_letters: int) -> None:
    """Check that each record lies within the file of letters."""
    offset, length = records["offset"], records["length"]
    # without overflow: the difference of two numbers in [0, num_letters]
    inside = offset.between(0, num_letters) & length.between(0, num_letters)
    inside &= length <= num_letters - offset.where(inside, 0)
    if not inside.all():
        row = records[~inside].iloc[0]
        _fail(
            f"the table of records was altered: record {row['id']!r} has offset {row['offset']} "
            f"and length {row['length']}, but there are {num_letters:,} letters",
            path,
        )


def _check_letters(path: Path, records: pd.DataFrame) -> None:
    """Compare the letters of each record with their hash, which the fingerprint includes."""
    with naming(path), path.open("rb") as file:
        for first in range(0, len(records), ROWS):
            rows = records.iloc[first : first + ROWS][["id", "offset", "length", "sha256"]]
            for name, offset, length, expected in rows.itertuples(index=False, name=None):
                file.seek(offset)
                digest = hashlib.sha256(file.read(min(length, PIECE)))
                for at in range(PIECE, length, PIECE):
                    digest.update(file.read(min(length - at, PIECE)))
                if (found := digest.hexdigest()) != expected:
                    _fail(
                        f"the sequence of record {name!r} was altered: its SHA-256 is "
                        f"{found[:12]}, but {str(expected)[:12]} in {RECORDS}",
                        path,
                    )


def fingerprint_of(records: pd.DataFrame, folder: Path) -> str:
    """Return the SHA-256 of a corpus: its records, targets and second input."""
    digest = hashlib.sha256()
    tables = [records[[name for name in TYPES if name not in ("length", "offset")]]]
    if (folder / TARGETS).exists():
        tables.append(_read_table(folder / TARGETS))
    for table in tables:
        for first in range(0, max(len(table), 1), ROWS):
            rows = table.iloc[first : first + ROWS]
            text = rows.to_csv(index=False, sep="\t", lineterminator="\n", header=first == 0)
            digest.update(text.encode())
    if (folder / PARTNER).is_dir():
        digest.update(_summary_of(folder / PARTNER)["fingerprint"].encode())
    return digest.hexdigest()
