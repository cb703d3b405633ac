"""Accept records into a corpus one by one, or drop them for a reason, with their target columns.

Letters, table and masks are written as records arrive. Memory use is that of the largest record
plus a few bytes per record.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from selfattn_bio.config import Data
from selfattn_bio.errors import ArgumentError, CorpusError
from selfattn_bio.files import sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import PIECE, Alphabet, get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy, SoftMask
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.readers.table import WIDE, is_missing, targets_table
from selfattn_bio.sequence.records import Fields, Record

LETTERS = "letters.bin"
RECORDS, TARGETS = "records.parquet", "targets.parquet"
TYPES = {
    "id": "str",
    "label": "Int8",
    "chrom": "str",
    "start": "Int64",
    "end": "Int64",
    "strand": "str",
    "group": "str",
    "length": "int64",
    "offset": "int64",
    "sha256": "str",
}
DUPLICATE = "exact duplicate"
COUNTED = 40  # characters of all values of a target column at most, whose records are counted
ROWS = 50_000  # rows of the table in memory


@dataclass(frozen=True)
class RecordRules:
    """Rules for the records of a corpus.

    They cover its alphabet, the assembly of its coordinates, length limits (inclusive), and how
    letters are read (see `SequencePolicy`).

    Parameters
    ----------
    repeats
        Records with the sequence of an earlier record are dropped ("drop"), kept and counted
        ("count"), or kept ("keep"), for example because one of two inputs may repeat.
    learnt
        The target columns that are learnt. Repeated sequences are counted separately if these or
        the labels differ. A record without a value in them does not replace its copies. None means
        all columns.
    numbers
        The columns in which words such as NA are counted as missing values.
    split_column
        The column with the split, which is stored with the targets but is none of them.
    place
        Where the run file sets `learnt`, for errors, or "[partner]" for second inputs; empty
        without a run file. With one, hints name keys of [data] or [partner].
    named
        All texts of the run file. Only these columns are kept of a table with more than WIDE.

    Raises
    ------
    ArgumentError
        If `min_length` is larger than `max_length`.
    """

    alphabet: Alphabet
    assembly: str = ""
    min_length: int = 1
    max_length: int | None = None
    soft_mask: SoftMask = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"
    repeats: Literal["drop", "count", "keep"] = "drop"
    learnt: tuple[str, ...] | None = ()
    numbers: tuple[str, ...] = ()
    split_column: str = ""
    place: str = ""
    named: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < self.min_length:
            message = f"min_length {self.min_length} is larger than max_length {self.max_length}"
            raise ArgumentError(message)

    @classmethod
    def of(cls, data: Data) -> RecordRules:
        """Return the rules of the [data] section of a run file."""
        return cls(
            get_alphabet(data.alphabet),
            data.assembly,
            data.min_length,
            data.max_length,
            data.soft_mask,
            data.gaps,
        )

    @property
    def policy(self) -> SequencePolicy:
        """Return how letters are read."""
        section = self.place if self.place in ("", "[partner]") else "[data]"
        return SequencePolicy(self.alphabet, self.soft_mask, self.gaps, section=section)


class CorpusWriter(AbstractContextManager["CorpusWriter"]):
    """Write records to a folder one by one, or count why they are dropped in `dropped`.

    Use it as a context manager.
    """

    def __init__(
        self, folder: Path, rules: RecordRules, digests: Mapping[str, int] | None = None
    ) -> None:
        self.rules, self.dropped, self.repeated = rules, Counter[str](), Counter[str]()
        self._digests = digests or {}  # id -> digest of the row in the table of targets
        self.looks_dna, self.num_records, self.num_letters = True, 0, 0
        self.targets: dict[int, Mapping[str, str | None]] = {}  # row -> targets
        # Label, or hash of label and targets, by the first half of the digest of the letters; 16
        # bytes are enough to exclude collisions by chance
        self._answers: dict[bytes, int | None] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._files = ExitStack()
        self._letters = self._files.enter_context((folder / LETTERS).open("wb"))
        self._table = self._files.enter_context(
            parquet.ParquetWriter(folder / RECORDS, _table([]).schema)
        )

    def __exit__(self, *error: object) -> None:
        with self._files:
            if error[0] is None:
                self._flush()

    def take(self, record: Record) -> None:
        """Write a record, or count the reason for dropping it."""
        letters = record.letters.data
        digest = hashlib.sha256(letters).digest()
        key = digest[:16]
        if reason := self._reason(record, key):
            self.dropped[reason] += 1
            return
        answer = self._answer(record)
        if answer is not None or not self.rules.learnt:
            self._answers.setdefault(key, answer)
        if self.looks_dna and self.rules.alphabet.name == "protein":
            self.looks_dna = not record.letters.tobytes().translate(None, b"ACGTUN")
        self._letters.write(letters)
        if record.targets:
            self.targets[self.num_records] = self._kept(record.targets)
        self._rows.append(
            (record.id, record.label, *record[2:7], len(letters), self.num_letters, digest.hex())
        )
        self.num_records, self.num_letters = self.num_records + 1, self.num_letters + len(letters)
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        self._table.write_table(_table(self._rows))
        self._rows = []

    def _kept(self, targets: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """Return the targets to store: of very many only those that the run file names."""
        if len(targets) <= WIDE or not (named := self.rules.named):
            return targets
        if not self.targets:
            LOG.info(f"of {len(targets):,} columns, only those that the run file names are kept")
        return {name: text for name, text in targets.items() if name in named}

    def _reason(self, record: Record, key: bytes) -> str:
        """Return why the record is dropped; empty if it is kept."""
        rules, length = self.rules, len(record.letters)
        if length < rules.min_length:
            return f"shorter than {rules.min_length} {rules.alphabet.unit}"
        if rules.max_length is not None and length > rules.max_length:
            return f"longer than {rules.max_length} {rules.alphabet.unit}"
        unknown = ord(rules.alphabet.unknown)
        if record.letters[0] == unknown and all(
            (record.letters[at : at + PIECE] == unknown).all() for at in range(0, length, PIECE)
        ):
            return f"with only {rules.alphabet.unknown}"
        if key in self._answers and rules.repeats != "keep":
            differs = (
                ""
                if self._answer(record) in (None, self._answers[key])
                else f"same sequence, different {self._learnt(record)}"
            )
            if rules.repeats == "drop":
                return f"{differs} (the first is kept)" if differs else DUPLICATE
            self.repeated[differs or DUPLICATE] += 1
        return ""

    def _answer(self, record: Record) -> int | None:
        """Return the label, or a hash of label and targets; None if the record has no value."""
        if self.rules.learnt == ():
            return record.label
        targets = record.targets or {}
        columns = sorted(targets) if self.rules.learnt is None else self.rules.learnt
        values = record.label, self._digests.get(record.id), *map(targets.get, columns)
        return None if all(map(is_missing, values)) else hash(values)

    def _learnt(self, record: Record) -> str:
        if self.rules.learnt == ():
            return "label"
        return "targets" if record.label is None else "label or targets"


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(TYPES)
    kinds = {"str": pa.large_string(), "Int8": pa.int8(), "Int64": pa.int64(), "int64": pa.int64()}
    schema = pa.schema({name: kinds[kind] for name, kind in TYPES.items()})
    return pa.table(dict(zip(TYPES, columns, strict=True)), schema=schema)


class Targets:
    """The targets of records: a table by id, and columns that come with the records."""

    def __init__(
        self, path: Path | None, sources: Sequence[SequenceFile], rules: RecordRules
    ) -> None:
        self._path, self._rules = path, rules
        fields = next((source.fields for source in sources), Fields())
        self._table = None if path is None else targets_table(path, fields, rules.named)

    def digests(self, columns: Sequence[str] | None) -> dict[str, int]:
        """Return a digest of the columns (None: all) of each row with a value, by id.

        It is empty without a table.
        """
        if self._table is None:
            return {}
        table = self._table
        if columns is not None:
            table = table[table.columns.intersection(list(columns))]
        table = table[~table.map(is_missing).all(axis=1)]
        return dict(
            zip(table.index, map(hash, table.fillna("").itertuples(index=False)), strict=True)
        )

    def write(
        self, folder: Path, ids: pd.Series, own: Mapping[int, Mapping[str, str | None]], paths: str
    ) -> dict[str, Any]:
        """Write one row per record, in order, and return the entry for the summary."""
        if self._table is None:
            if not own:
                return {}
            return {"path": paths} | self._write(folder, _own(ids, own)) | {"unmatched": 0}
        table = self._table
        if not ids.isin(table.index).any():
            message = (
                "no id in the table of targets is that of a record (ids such as "
                f"{table.index[0]!r}, records such as {ids.iloc[0]!r})"
            )
            hint = "Write the ids of the records in it, or read other ids with [data] header"
            CorpusError.fail(message, str(self._path), hint)
        joined = table.reindex(ids).reset_index(drop=True)
        if own:
            others = _own(ids, own)
            joined = joined.join(others[others.columns.difference(joined.columns, sort=False)])
        unmatched = table.index[~table.index.isin(ids)].tolist()
        about = {"path": str(self._path), "sha256": sha256_of(str(self._path))}
        counted = {"unmatched": len(unmatched), "unmatched_such_as": unmatched[:1]}
        return about | self._write(folder, joined) | counted

    def _write(self, folder: Path, table: pd.DataFrame) -> dict[str, Any]:
        table.to_parquet(folder / TARGETS, index=False)
        columns = table.columns.drop(self._rules.split_column, errors="ignore")
        learnt = self._rules.learnt
        targets = table[columns if learnt is None else columns.intersection(list(learnt))].copy()
        for name in targets.columns.intersection(list(self._rules.numbers)):
            targets[name] = targets[name].mask(targets[name].map(is_missing))
        counts = {name: targets[name].value_counts().to_dict() for name in targets}
        few = {name: of for name, of in counts.items() if len("".join(map(str, of))) <= COUNTED}
        empty = targets.isna().sum().to_dict()
        return {"columns": list(columns), "empty": empty, "counts": few}


def _own(ids: pd.Series, own: Mapping[int, Mapping[str, str | None]]) -> pd.DataFrame:
    return pd.DataFrame([own.get(row, {}) for row in range(len(ids))], dtype="str")
