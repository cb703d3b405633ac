"""Read and write corpus folders.

A corpus stores one byte per letter in a memory-mapped file, next to a table of records. `ingest`
writes it and every later command opens it. Memory use depends on the longest record and the table,
not on the total number of letters.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import parquet

from selfattn_bio.config import did_you_mean
from selfattn_bio.data.writer import (
    BLOCK,
    LETTERS,
    MASKED,
    RECORDS,
    ROWS,
    TARGETS,
    TYPES,
    CorpusWriter,
    Rules,
    Targets,
)
from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.files import check_replaceable, naming, whole_folder
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import ReadSummary

if TYPE_CHECKING:  # avoids importing genomes and numba to open a corpus
    from selfattn_bio.data.partner import Partners
    from selfattn_bio.data.sources import Source

SUMMARY, PARTNER = "corpus.json", "partner"
NAMED = 8  # maximum number of ids in a message
ENOUGH = 20  # minimum number of letters to recognise DNA
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
    partner
        For records with two inputs, the corpus of the second inputs. It has the same ids, possibly
        in another order. Otherwise None.
    """

    def __init__(self, path: Path, records: pd.DataFrame, summary: dict[str, Any]) -> None:
        self.path, self.records, self.summary = path, records, summary
        self.partner = Corpus.open(path / PARTNER) if (path / PARTNER).is_dir() else None
        if self.partner:
            self._partners = pd.Index(self.partner.records["id"]).get_indexer(records["id"])
        self.alphabet = get_alphabet(summary["alphabet"])
        self.assembly: str = summary["assembly"]
        self.fingerprint: str = summary["fingerprint"]
        self._file = os.open(path / LETTERS, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        self._letters = np.frombuffer(self._map, np.uint8)
        self._offsets, self._lengths = records["offset"].to_numpy(), records["length"].to_numpy()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        letters = f"{self.summary['num_letters']:,} {self.alphabet.unit}"
        return f"Corpus of {len(self):,} records, {letters}, in {self.path}"

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
            raise CorpusError(
                "the corpus has no partners",
                place=str(self.path),
                hint="Ingest with [partner] in the run file",
            )
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

    def masked(self, i: int) -> NDArray[np.bool_]:
        """Return which letters of record `i` were lower case, (L,).

        Raises
        ------
        CorpusError
            If the corpus was built without storing the soft mask.
        """
        if not (self.path / MASKED).exists():
            hint = 'Ingest with soft_mask = "keep" in [data] (--soft-mask keep)'
            raise CorpusError("the corpus has no soft mask", place=str(self.path), hint=hint)
        runs = _runs_of(self.path)
        start, length = int(self._offsets[i]), int(self._lengths[i])
        first, last = (
            np.searchsorted(runs[:, 1], start, "right"),
            np.searchsorted(runs[:, 0], start + length),
        )
        masked = np.zeros(length, np.bool_)
        for run_start, run_end in runs[first:last] - start:
            masked[run_start:run_end] = True
        return masked

    def targets(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns of the targets, one row per record in order.

        Values that the table lacks are missing.

        Raises
        ------
        CorpusError
            If the corpus was built without targets, or a column is missing.
        """
        if not (self.path / TARGETS).exists():
            raise CorpusError(
                "the corpus has no targets",
                place=str(self.path),
                hint="Ingest with targets in [data] (--targets)",
            )
        found = pd.read_parquet(self.path / TARGETS)
        if absent := [column for column in columns if column not in found]:
            message = (
                f"no column {absent[0]!r} in the targets (columns: "
                f"{', '.join(map(repr, found.columns))})"
            )
            hint = "Name one of them in the run file, or add the column to the table"
            raise CorpusError(message, place=self.summary["targets"]["path"], hint=hint)
        return found[list(columns)]

    def column(self, name: str, place: str = "") -> pd.Series:
        """Return a column of the records, or of their targets if the records lack it.

        Parameters
        ----------
        place
            Where the column is requested, for the error; by default the corpus.

        Raises
        ------
        CorpusError
            If neither has the column.
        """
        if name in self.records:
            return self.records[name]
        path = self.path / TARGETS
        if not path.exists() or name not in parquet.read_schema(path).names:
            held = self.summary.get("targets", {}).get("columns", ())
            found = ", ".join(map(repr, held)) or "none"
            hint = did_you_mean(name, held).replace("did", "Did", 1) or (
                f"Add it to the table, or {name}=... to the FASTA headers, and run ingest with "
                "--run-file again"
            )
            raise CorpusError(
                f"no column {name!r} in the corpus (further columns: {found})",
                place=place or str(self.path),
                hint=hint,
            )
        return self.targets([name])[name]

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
            if not part.exists():
                raise CorpusError(
                    "no such corpus file or folder",
                    place=str(part),
                    hint="Run selfattn-bio ingest",
                )
        try:
            summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
            records = pd.read_parquet(path / RECORDS).astype(TYPES)
            get_alphabet(summary["alphabet"])
        # Broken JSON, broken Parquet files and missing columns raise subclasses of these
        except (ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise CorpusError(
                f"cannot read the corpus: {reason}",
                place=str(path),
                hint="Run selfattn-bio ingest again",
            ) from error
        fingerprint = _fingerprint(records, path)
        found = {
            "num_letters": (path / LETTERS).stat().st_size,
            "num_records": len(records),
            "fingerprint": fingerprint,
        }
        for key, value in found.items():
            if value != (expected := summary.get(key)):
                raise CorpusError(
                    f"the corpus was altered: {key} is {value}, but {expected} in {SUMMARY}",
                    place=str(path),
                    hint="Run selfattn-bio ingest again",
                )
        _check_letters(path / LETTERS, records)
        return cls(path, records, summary)


def build_corpus(
    sources: Iterable[Source | tuple[str | Path, int | None]],
    output: str | Path,
    rules: Rules,
    targets: str | Path | None = None,
    partners: Partners | None = None,
) -> Corpus:
    """Read sequences into a corpus folder.

    The folder is complete afterwards, or unchanged if there is an error. Records outside the length
    limits, with only N (X in protein), or with the sequence of an earlier record are dropped and
    counted. `rules.repeats` can keep repeated sequences. Repeats with another label or other
    targets than the earlier record are counted separately.

    Parameters
    ----------
    sources
        Sources in order. A pair of path and label (1, 0, or None for unlabelled) stands for a
        `SequenceFile`.
    output
        The folder to write.
    rules
        Rules for accepting records.
    targets
        Table (TSV, CSV or Parquet) with a column id and the targets of each record. Without it,
        target columns of the records themselves are stored.
    partners
        Source of the second input of each record. Its corpus is written to the subfolder `partner`.

    Raises
    ------
    CorpusError
        If the targets cannot be read or belong to other records, or records have no partner.
    OutputError
        If `output` exists and is neither a corpus folder nor empty.
    SequenceFileError
        If a file is malformed (see `sequence.readers`), no record is left, or a source declared as
        protein contains only DNA.
    """
    check_replaceable(
        output, "corpus", (LETTERS, RECORDS, TARGETS, MASKED, PARTNER, SUMMARY), SUMMARY
    )
    given = [
        SequenceFile(Path(source[0]), source[1]) if isinstance(source, tuple) else source
        for source in sources
    ]
    wanted = Targets(
        None if targets is None else Path(targets),
        [source for source in given if isinstance(source, SequenceFile)],
        rules.split_column,
    )
    counted, files = ReadSummary(), []
    with whole_folder(output) as folder:
        with CorpusWriter(folder, rules, wanted.digests(rules.learnt)) as writer:
            of_dna: dict[bool, str] = {}  # is a source only DNA? -> first such source
            for source in given:
                before, kept, letters = counted.read, writer.num_records, writer.num_letters
                writer.looks_dna = True
                for record in source.records(rules.policy, counted):
                    writer.take(record)
                    # Release it before the next is read, so that only one chromosome is in memory
                    del record
                files.append(
                    source.about()
                    | {"records": counted.read - before, "kept": writer.num_records - kept}
                )
                if rules.alphabet.name == "protein" and (
                    not writer.looks_dna or writer.num_letters - letters >= ENOUGH
                ):
                    of_dna.setdefault(writer.looks_dna, files[-1]["path"])
        paths = ", ".join(file["path"] for file in files)
        _check_any_left(writer, counted.read, paths)
        _check_protein(of_dna)
        records = pd.read_parquet(folder / RECORDS).astype(TYPES)
        about_targets = wanted.write(folder, records["id"], writer.targets, paths)
        if partners:
            partner = build_corpus(partners.sources(records), folder / PARTNER, partners.rules)
            _check_partners(records["id"], partner)
        summary = {
            "alphabet": rules.alphabet.name,
            "assembly": rules.assembly,
            "num_records": len(records),
            "num_letters": writer.num_letters,
            "fingerprint": _fingerprint(records, folder),
            "read": counted.read,
            "dropped": dict(writer.dropped),
            "repeated": dict(writer.repeated),
            "noted": {what: count for what, count in counted.counts.items() if count},
            "sources": files,
        } | ({"targets": about_targets} if about_targets else {})
        (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return Corpus(Path(output), records, summary)


def _check_partners(ids: pd.Series, partner: Corpus) -> None:
    """Check that each record has a partner with its id."""
    alone = ids[~ids.isin(partner.records["id"])]
    if len(alone):
        dropped = "".join(
            f"; dropped {count}: {reason}" for reason, count in partner.summary["dropped"].items()
        )
        shown = ", ".join(map(repr, alone.iloc[:NAMED])) + f" and {len(alone) - NAMED} more" * (
            len(alone) > NAMED
        )
        place = ", ".join(source["path"] for source in partner.summary["sources"])
        hint = "Give each record a partner with the same id, or remove the record"
        raise CorpusError(
            f"no partner for {shown}{dropped}",
            place=place,
            hint=hint,
        )


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Yield one log line per count of records read, dropped or unusual, and of the targets."""
    files, read, kept = len(summary["sources"]), summary["read"], summary["num_records"]
    yield f"read {read} record{'s' * (read != 1)} from {files} file{'s' * (files != 1)}"
    for source in summary["sources"]:
        for what, count in source.get("counts", {}).items():
            yield f"{count} {what} ({source['path']})"
    for reason, count in summary["dropped"].items():
        yield f"dropped {count}: {reason}"
    for reason, count in summary.get("repeated", {}).items():
        yield f"repeated {count}: {reason} (kept)"
    for what, count in summary["noted"].items():
        yield f"{count} record{'s' * (count != 1)} with {what}"
    yield from _uneven(summary)
    if "targets" in summary:
        targets = summary["targets"]
        if targets["columns"]:
            names = ", ".join(targets["columns"])
            yield f"targets: {names}; {targets['missing']} records have none"
        if targets["unmatched"]:
            yield (
                f"left out the targets of {targets['unmatched']} ids without a kept record, such "
                f"as {targets['unmatched_such_as'][0]!r}"
            )
    unit = get_alphabet(summary["alphabet"]).unit
    yield f"kept {kept} record{'s' * (kept != 1)} with {summary['num_letters']} {unit}"


def _uneven(summary: dict[str, Any]) -> Iterator[str]:
    """Yield a warning if the number of generated negatives differs from the requested ratio."""
    made = [source for source in summary["sources"] if "made" in source]
    positives = summary["num_records"] - sum(source["kept"] for source in made)
    for source in made:
        if source["kept"] != (requested := source["made"]["per_positive"] * positives):
            yield (
                f"kept {source['kept']} {source['made']['kind']} negatives instead of {requested} "
                f"for {positives} kept positives, because negatives are generated before "
                "duplicates and records of other lengths are dropped"
            )


def _check_protein(of_dna: Mapping[bool, str]) -> None:
    """Refuse DNA declared as protein in all sources or in one of them.

    Every letter of DNA is also a valid residue, so the alphabet alone does not detect this.
    """
    if set(of_dna) == {True}:
        raise SequenceFileError(
            "all records contain only A, C, G, T, U and N, so they are DNA, not protein",
            hint="Use --alphabet dna",
        )
    if True in of_dna:
        raise SequenceFileError(
            f"this file is DNA (only A, C, G, T, U and N), but {of_dna[False]} is protein",
            place=of_dna[True],
            hint="Use one alphabet for all files",
        )


def _check_any_left(writer: CorpusWriter, read: int, paths: str) -> None:
    if writer.num_records:
        return
    if len(writer.dropped) == 1 and (reason := next(iter(writer.dropped))).startswith("only "):
        raise SequenceFileError(f"all {read} records contain {reason}", place=paths)
    reasons = ", ".join(f"{count} {reason}" for reason, count in writer.dropped.items())
    raise SequenceFileError(
        f"none of the {read} records is left: {reasons}",
        place=paths,
        hint="Change the length limits",
    )


def _check_letters(path: Path, records: pd.DataFrame) -> None:
    """Compare the letters of each record with their hash, which the fingerprint includes."""
    with naming(path), path.open("rb") as file:
        for first in range(0, len(records), ROWS):
            rows = records.iloc[first : first + ROWS]
            for name, offset, length, expected in zip(
                *(rows[column].tolist() for column in ("id", "offset", "length", "sha256")),
                strict=True,
            ):
                file.seek(offset)
                digest = hashlib.sha256(file.read(min(length, BLOCK)))
                for at in range(BLOCK, length, BLOCK):
                    digest.update(file.read(min(length - at, BLOCK)))
                if (found := digest.hexdigest()) != expected:
                    raise CorpusError(
                        f"the sequence of record {name!r} was altered: its SHA-256 is "
                        f"{found[:12]}, but {expected[:12]} in {RECORDS}",
                        place=str(path),
                        hint="Run selfattn-bio ingest again",
                    )


def _runs_of(path: Path) -> NDArray[np.int64]:
    """Return the soft-masked runs [start, end) in the letters of the corpus, (n, 2)."""
    size = (path / MASKED).stat().st_size
    return (
        np.memmap(path / MASKED, "<i8", mode="r").reshape(-1, 2)
        if size
        else np.zeros((0, 2), np.int64)
    )


def _fingerprint(records: pd.DataFrame, folder: Path) -> str:
    digest = hashlib.sha256()
    columns = [name for name in TYPES if name not in ("length", "offset")]
    for table in (
        records[columns],
        *([pd.read_parquet(folder / TARGETS)] if (folder / TARGETS).exists() else []),
    ):
        for first in range(0, max(len(table), 1), ROWS):
            rows = table.iloc[first : first + ROWS]
            digest.update(
                rows.to_csv(index=False, sep="\t", lineterminator="\n", header=first == 0).encode()
            )
    if (folder / MASKED).exists():
        with (folder / MASKED).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    if (folder / PARTNER).is_dir():
        digest.update(
            json.loads((folder / PARTNER / SUMMARY).read_text(encoding="utf-8"))[
                "fingerprint"
            ].encode()
        )
    return digest.hexdigest()
