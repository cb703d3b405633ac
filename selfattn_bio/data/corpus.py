"""The corpus folder: one byte a letter, memory-mapped, and a table of its records beside it.

Hides: the form of the folder, what is dropped and noted on the way in, and the checks on opening. `ingest` writes it, every later
command opens it. No torch; writing takes memory for the largest record and the table, not for the letters.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.sources import SequenceFile, Source
from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.files import check_replaceable, naming, sha256_of, whole_folder
from selfattn_bio.sequence.alphabet import Alphabet, get_alphabet
from selfattn_bio.sequence.records import Notes, Record, Spelling

LETTERS, RECORDS, TARGETS, SUMMARY = "letters.bin", "records.parquet", "targets.parquet", "corpus.json"
_TYPES = {
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


@dataclass(frozen=True)
class Rules:
    """What a corpus takes: its alphabet, the assembly of its coordinates, lengths in letters, both ends included, and how letters are read
    (see `Spelling`)."""

    alphabet: Alphabet
    assembly: str = ""
    min_length: int = 1
    max_length: int | None = None
    soft_mask: Literal["ignore", "keep", "hard"] = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"

    @property
    def spelling(self) -> Spelling:
        """How letters are read."""
        return Spelling(self.alphabet, self.soft_mask, self.gaps)


class Corpus:
    """An opened corpus folder.

    Attributes
    ----------
    records
        Table in input order: id, label (1, 0, missing), chrom, start, end (0-based half-open), strand, group, length and offset (letters),
        sha256 (of the letters).
    alphabet, assembly
        What the letters and the coordinates are.
    fingerprint
        SHA-256 over ids, labels, coordinates, letters and targets: equal for equal content.
    """

    def __init__(self, path: Path, records: pd.DataFrame, summary: dict[str, Any]) -> None:
        self.path, self.records, self.summary = path, records, summary
        self.alphabet = get_alphabet(summary["alphabet"])
        self.assembly: str = summary["assembly"]
        self.fingerprint: str = summary["fingerprint"]
        self._letters = np.memmap(path / LETTERS, np.uint8, mode="r")
        self._offsets, self._lengths = records["offset"].to_numpy(), records["length"].to_numpy()

    def __len__(self) -> int:
        return len(self.records)

    def letters(self, i: int) -> NDArray[np.uint8]:
        """ASCII upper-case letters of record `i` (its row in `records`), (L,): a read-only view of the file."""
        offset = self._offsets[i]
        return self._letters[offset : offset + self._lengths[i]]

    def targets(self, columns: Sequence[str]) -> pd.DataFrame:
        """These columns of the targets, one row a record, in order; missing where the table had none.

        Raises
        ------
        CorpusError
            If the corpus was read without targets, or they lack a column.
        """
        if not (self.path / TARGETS).exists():
            raise CorpusError("corpus must have targets, got none", place=str(self.path), cure="Name [data] targets, or ingest --targets")
        found = pd.read_parquet(self.path / TARGETS)
        if absent := [column for column in columns if column not in found]:
            message = f"targets must have column {absent[0]!r}, got {', '.join(map(repr, found.columns))}"
            raise CorpusError(message, place=self.summary["targets"]["path"])
        return found[list(columns)]

    @classmethod
    def open(cls, path: str | Path) -> Corpus:
        """Open a corpus folder; all of it is read once, letters too, so that no altered one is trained or judged on.

        Raises
        ------
        CorpusError
            If the folder or a part of it is missing, unreadable, altered, or does not fit the others.
        """
        path = Path(path)
        for part in (path, path / LETTERS, path / RECORDS, path / SUMMARY):
            if not part.exists():
                raise CorpusError("corpus must be whole, got no such file or folder", place=str(part), cure="Run selfattn-bio ingest")
        try:
            summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
            records = pd.read_parquet(path / RECORDS).astype(_TYPES)
            get_alphabet(summary["alphabet"])
        except (ValueError, KeyError, TypeError) as error:  # json, parquet and missing columns raise children of these
            reason = str(error).splitlines()[0]
            raise CorpusError(f"corpus must be readable, got {reason}", place=str(path), cure="Run selfattn-bio ingest again") from error
        fingerprint = _fingerprint(records, path / TARGETS)
        found = {"letters": (path / LETTERS).stat().st_size, "records": len(records), "fingerprint": fingerprint}
        for what, value in found.items():
            if value != (told := summary.get(what if what == "fingerprint" else f"num_{what}")):
                message = f"{what} of the corpus must be {told} as {SUMMARY} says, got {value}"
                raise CorpusError(message, place=str(path), cure="Run selfattn-bio ingest again")
        _check_letters(path / LETTERS, records)
        return cls(path, records, summary)


def build_corpus(
    sources: Iterable[Source | tuple[str | Path, int | None]], output: str | Path, rules: Rules, targets: str | Path | None = None
) -> Corpus:
    """Read sequences into a corpus folder, which is whole afterwards or as it was before.

    Dropped and counted: records outside the length limits, with only N (X in protein), with the letters of an earlier record of the same
    label, and with the letters of an earlier record of another label (the first stays).

    Parameters
    ----------
    sources
        In order; path and label (1, 0, or None for unlabelled) stand for a `SequenceFile`.
    output
        The folder to write.
    rules
        What is taken.
    targets
        Table (.tsv or .csv) with a column id and what is to be learnt of each record.

    Raises
    ------
    CorpusError
        If the targets cannot be read or are of other records.
    OutputError
        If `output` exists and is not a corpus folder or empty: it would be replaced.
    SequenceFileError
        If a file is malformed (see `read_fasta`), no record is left, or what is declared protein is DNA from end to end.
    """
    check_replaceable(output, "corpus", (LETTERS, RECORDS, TARGETS, SUMMARY), SUMMARY)
    wanted = None if targets is None else _read_targets(Path(targets))
    notes, dropped = Notes(), Counter[str]()
    rows: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    with whole_folder(output) as folder:
        with (folder / LETTERS).open("wb") as handle:
            intake = _Intake(rules, handle, rows, dropped)
            for given in sources:
                source = SequenceFile(Path(given[0]), given[1]) if isinstance(given, tuple) else given
                before = len(notes.places)
                for record in source.records(rules.spelling, notes):
                    intake.take(record)
                files.append(source.about() | {"records": len(notes.places) - before})
        read = len(notes.places)
        _check_any_left(rows, dropped, read, files)
        if rules.alphabet.name == "protein" and intake.looks_dna:
            raise SequenceFileError(
                "letters must be protein, got only A C G T U N in all records", cure="Declare it as DNA: --alphabet dna"
            )
        records = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
        records.to_parquet(folder / RECORDS, index=False)
        about_targets = (
            {} if targets is None or wanted is None else {"targets": _write_targets(wanted, records["id"], Path(targets), folder)}
        )
        summary = {
            "alphabet": rules.alphabet.name,
            "assembly": rules.assembly,
            "num_records": len(records),
            "num_letters": int(records["length"].sum()),
            "fingerprint": _fingerprint(records, folder / TARGETS),
            "read": read,
            "dropped": dict(dropped),
            "noted": {what: count for what, count in notes.counts.items() if count},
            "sources": files,
        } | about_targets
        (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return Corpus.open(output)


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Lines that say what was read, dropped and noted."""
    files, read, kept = len(summary["sources"]), summary["read"], summary["num_records"]
    yield f"read {read} record{'s' * (read != 1)} from {files} file{'s' * (files != 1)}"
    for reason, count in summary["dropped"].items():
        yield f"dropped {count}: {reason}"
    for what, count in summary["noted"].items():
        yield f"noted {what} in {count} record{'s' * (count != 1)}"
    if "targets" in summary:
        told = summary["targets"]
        yield f"targets {', '.join(told['columns'])}; {told['missing']} records have none"
        if told["unmatched"]:
            yield f"targets of {told['unmatched']} ids that no kept record has, such as {told['unmatched_such_as'][0]!r}, were left out"
    yield f"kept {kept} record{'s' * (kept != 1)}, {summary['num_letters']} letters of {summary['alphabet']}"


@dataclass
class _Intake:
    """Takes records one by one: letters to the file, the rest to `rows`, or a reason to `dropped`."""

    rules: Rules
    handle: BinaryIO
    rows: list[dict[str, Any]]
    dropped: Counter[str]

    def __post_init__(self) -> None:
        self._labels: dict[bytes, int | None] = {}  # by digest of the letters
        self._offset = 0
        self.looks_dna = True

    def take(self, record: Record) -> None:
        digest = hashlib.sha256(record.letters.data)
        if reason := self._reason(record, digest.digest()):
            self.dropped[reason] += 1
            return
        self._labels[digest.digest()] = record.label
        self.looks_dna = self.looks_dna and not record.letters.tobytes().translate(None, b"ACGTUN")
        self.handle.write(record.letters.data)
        place = {name: getattr(record, name) for name in ("id", "chrom", "start", "end", "strand", "group")}
        size = {"label": record.label, "length": len(record.letters), "offset": self._offset, "sha256": digest.hexdigest()}
        self.rows.append(place | size)
        self._offset += len(record.letters)

    def _reason(self, record: Record, digest: bytes) -> str:
        """Why the record is dropped; empty if it is not."""
        rules, length = self.rules, len(record.letters)
        if length < rules.min_length:
            return f"shorter than {rules.min_length} letters"
        if rules.max_length is not None and length > rules.max_length:
            return f"longer than {rules.max_length} letters"
        if (record.letters == ord(rules.alphabet.unknown)).all():
            return f"only {rules.alphabet.unknown}"
        if digest in self._labels:
            return "exact duplicate" if self._labels[digest] == record.label else "exact duplicate under another label (the first is kept)"
        return ""


def _check_any_left(rows: list[dict[str, Any]], dropped: Counter[str], read: int, files: list[dict[str, Any]]) -> None:
    if rows:
        return
    paths = ", ".join(file["path"] for file in files)
    if len(dropped) == 1 and (reason := next(iter(dropped))).startswith("only "):
        raise SequenceFileError(f"records must hold letters that are known, got {reason} in all {read}", place=paths)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    raise SequenceFileError(
        f"at least one record must be left, got none of {read}: {reasons}", place=paths, cure="Change the length limits"
    )


def _read_targets(path: Path) -> pd.DataFrame:
    """The table of targets as text, indexed by id: what its columns are is the objective's affair."""
    try:
        table = pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t", dtype=str, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise CorpusError("targets must be an existing table, got no such file", place=str(path)) from None
    except (ValueError, OSError) as error:
        raise CorpusError(f"targets must be a table of text, got {error}", place=str(path)) from error
    if "id" not in table or len(table.columns) < 2:
        message = f"targets must have a column id and one more, got {', '.join(map(repr, table.columns))}"
        raise CorpusError(message, place=str(path), cure="Tabs part the columns of a .tsv, commas those of a .csv")
    if (twice := table["id"][table["id"].duplicated()]).size:
        raise CorpusError(f"targets must have one row a record, got two of {twice.iloc[0]!r}", place=f"{path}:{twice.index[0] + 2}")
    return table.set_index("id")


def _write_targets(targets: pd.DataFrame, ids: pd.Series, path: Path, folder: Path) -> dict[str, Any]:
    """Write one row a record, in order; what the summary says of them."""
    if not ids.isin(targets.index).any():
        message = f"targets must name records of the FASTA files, got {targets.index[0]!r} and no row of {ids.iloc[0]!r}"
        raise CorpusError(message, place=str(path))
    joined = targets.reindex(ids).reset_index(drop=True)
    joined.to_parquet(folder / TARGETS, index=False)
    strangers = targets.index[~targets.index.isin(ids)].tolist()
    return {
        "path": str(path),
        "sha256": sha256_of(path),
        "columns": list(joined.columns),
        "missing": int(joined.isna().all(axis=1).sum()),
        "unmatched": len(strangers),
        "unmatched_such_as": strangers[:1],
    }


def _check_letters(path: Path, records: pd.DataFrame) -> None:
    """Compare the letters of each record with its hash, which the fingerprint is made of."""
    with naming(path), path.open("rb") as file:
        for name, offset, length, told in zip(*(records[column] for column in ("id", "offset", "length", "sha256")), strict=True):
            file.seek(offset)
            if (found := hashlib.sha256(file.read(length)).hexdigest()) != told:
                message = f"letters of record {name!r} must have the sha256 {told[:12]} as {RECORDS} says, got {found[:12]}"
                raise CorpusError(message, place=str(path), cure="They were altered: run selfattn-bio ingest again")


def _fingerprint(records: pd.DataFrame, targets: Path) -> str:
    columns = [name for name in _TYPES if name not in ("length", "offset")]
    text = records[columns].to_csv(index=False, sep="\t", lineterminator="\n")
    if targets.exists():
        text += pd.read_parquet(targets).to_csv(index=False, sep="\t", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()
