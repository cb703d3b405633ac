"""Read the files of a new task once, for its alphabet, lengths, ids, coordinates and columns."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from selfattn_bio.compression import open_blocks
from selfattn_bio.errors import RecordIdError, RunFileError, SequenceFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, Alphabet
from selfattn_bio.sequence.policy import SequencePolicy, at
from selfattn_bio.sequence.readers import SequenceFile, kind_of
from selfattn_bio.sequence.readers.table import separator_of
from selfattn_bio.sequence.records import Fields, ReadSummary, Record
from selfattn_bio.sequence.split_table import strand_keys
from selfattn_bio.sequence.tables import check_names
from selfattn_bio.wizard.columns import (
    NO_SPLIT,
    REPEATED,
    SPLIT_WORDS,
    find_sequence_column,
    no_column,
)
from selfattn_bio.wizard.request import Request

DNA_SHARE = 0.9  # smallest fraction of A, C, G, T, U and N in DNA; proteins have much less
# patterns of headers with a label, and perhaps a split
HEADERS = (
    rf"\|(?P<label>[^|\s]+)\|(?P<split>(?i:{'|'.join(SPLIT_WORDS)}))$",  # headers of iLearn
    r"\|(?P<label>[^|\s]+)$",
)
HEAD = 1000  # records or rows read to recognise alphabet and columns
SHOWN = 12  # characters of a sequence in a message


@dataclass
class Contents:
    """The records of a task; each list has one item per record.

    Parameters
    ----------
    files
        Group of files of each record: positives, negatives, sequences, train, valid or test.
    columns
        Text by column of tables, or by attribute of headers; None if a record has no value.
    keys
        Hash of each sequence, the same for both strands; empty for intervals.
    sequence_column
        Column of the sequences in tables.
    is_table
        Whether the columns come from tables, not from headers.
    is_numbered
        Whether ids are repeated or missing, so that the records must be numbered.
    header
        [data] header, the pattern of headers such as `>name|label`.
    windows
        [data] windows, for intervals; empty if they have the default.
    """

    alphabet: Alphabet
    files: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    chromosomes: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    columns: dict[str, list[str | None]] = field(default_factory=dict)
    sequence_column: str = "sequence"
    is_table: bool = False
    is_numbered: bool = False
    header: str = ""
    windows: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Return the number of records in each group of files."""
        return Counter(self.files)

    def add(self, group: str, record: Record) -> None:
        """Add a record."""
        for name, text in (record.targets or {}).items():
            texts = self.columns.setdefault(name, [])
            texts.extend([None] * (len(self.files) - len(texts)))
            texts.append(text)
        self.files.append(group)
        self.ids.append(record.id)
        self.lengths.append(len(record.letters))
        self.keys += strand_keys([record.letters], self.alphabet)
        self.chromosomes.append(record.chrom)
        self.groups.append(record.group)

    def end(self) -> None:
        """Fill up columns that the last records lack with None; call this after the last record."""
        for texts in self.columns.values():
            texts.extend([None] * (len(self.files) - len(texts)))


def read_contents(request: Request) -> Contents:
    """Read all files of a request.

    Raises
    ------
    SelfAttnBioError
        If a file cannot be read, the alphabets differ, or a table has no clear column of sequences.
    """
    contents = _read_intervals(request) if request.genome else _read_sequences(request)
    if request.made:  # one per positive, with its length and chromosome
        contents.files += ["negatives"] * len(contents.files)
        for values in (contents.ids, contents.lengths, contents.chromosomes, contents.groups):
            values *= 2
    return contents


def _read_sequences(request: Request) -> Contents:
    paths = [path for files in request.files.values() for path in files]
    heads = {path: head for path in paths if (head := table_head(Path(path))) is not None}
    names = {
        path: request.sequence_column or find_sequence_column(head, path)
        for path, head in heads.items()
    }
    for path, head in heads.items():
        if names[path] not in head:
            raise RunFileError(no_column(names[path], "`sequence_column`", head), place=path)
        if names[path] != names[paths[0] if paths[0] in names else path]:
            message = (
                f"the sequences are in column {names[path]!r} here and in column "
                f"{names[paths[0]]!r} in {paths[0]}"
            )
            raise RunFileError(message, place=path, hint="Give both columns the same name")
    column = next(iter(names.values()), "sequence")
    split_column = "" if request.split_column == NO_SPLIT else request.split_column
    attributes = tuple(dict.fromkeys([*request.columns, split_column or "split"]))
    has_targets = bool(heads or request.has_classes or request.targets or request.columns)
    header = "" if has_targets else header_pattern(map(Path, paths))
    fields = Fields(
        header=header,
        columns={} if column == "sequence" else {"sequence": column},
        attributes=attributes,
    )
    contents = Contents(
        _one_alphabet(paths, fields), sequence_column=column, is_table=bool(heads), header=header
    )
    try:
        return _filled(contents, request.files, fields)
    except RecordIdError:
        if request.targets:  # `targets` needs ids
            raise
    numbered = Contents(
        contents.alphabet,
        sequence_column=column,
        is_table=bool(heads),
        is_numbered=True,
        header=header,
    )
    return _filled(numbered, request.files, replace(fields, numbered=True))


def _filled(contents: Contents, files: Mapping[str, Iterable[str]], fields: Fields) -> Contents:
    summary = ReadSummary()
    for group, paths in files.items():
        for path in paths:
            source = SequenceFile(Path(path), fields=fields)
            for record in source.records(SequencePolicy(contents.alphabet), summary):
                contents.add(group, record)
    contents.end()
    return contents


class _AnyCharacter(SequencePolicy):
    """Accept every character, to recognise the alphabet of files with invalid characters."""

    @cached_property
    def readable(self) -> bytes:
        return bytes(range(256))


def _one_alphabet(paths: Iterable[str], fields: Fields) -> Alphabet:
    """Return the alphabet of all files.

    Raises
    ------
    RunFileError
        If the files differ.
    """
    found: dict[str, tuple[str, str]] = {}  # by alphabet: its first file, and how that begins
    policy = _AnyCharacter(PROTEIN, gaps="remove")
    for path in paths:
        source = SequenceFile(
            Path(path), fields=Fields(columns=fields.columns, numbered=True), stem="record"
        )
        rows: list[bytes] = []
        with contextlib.suppress(SequenceFileError):  # raised again when all records are read
            for record in itertools.islice(source.records(policy, ReadSummary()), HEAD):
                rows.append(record.letters.tobytes())
        if not rows:
            continue
        letters = b"".join(rows)
        is_dna = len(letters.translate(None, b"ACGTUN")) <= (1 - DNA_SHARE) * len(letters)
        begins = rows[0][:SHOWN].decode("ascii", "replace") + "..."
        found.setdefault("dna" if is_dna else "protein", (path, begins))
    if len(found) > 1:
        (dna, dna_begins), (protein, protein_begins) = found["dna"], found["protein"]
        message = (
            f"the files mix alphabets: {protein} looks like protein ({protein_begins}), {dna} "
            f"like DNA ({dna_begins})"
        )
        raise RunFileError(message, hint="Give only DNA or only proteins")
    return PROTEIN if "protein" in found else DNA


def header_pattern(paths: Iterable[Path]) -> str:
    """Return the pattern of FASTA headers that end in `|label` or `|label|split`.

    It is empty if they do not, or if labels have fewer than `REPEATED` records on average.
    """
    headers: list[str] = []
    for path in paths:
        with open_blocks(path) as blocks:
            if not blocks.head.lstrip().startswith(b">"):
                return ""
            with blocks.text() as text:
                text.reconfigure(errors="replace")
                headers += [
                    line.strip()
                    for line in itertools.islice(
                        (line for line in text if line.startswith(">")), HEAD
                    )
                ]
    for pattern in HEADERS:
        found = [re.search(pattern, header) for header in headers]
        labels = {match["label"] for match in found if match}
        if all(found) and len(labels) * REPEATED <= len(headers):
            return pattern
    return ""


def table_head(path: Path) -> dict[str, list[str | None]] | None:
    """Read the first rows of a table as text by column; None for another kind of file.

    Raises
    ------
    SequenceFileError
        If the file is missing, empty, or contains no sequences, or a column name has a line break
        or control character.
    """
    csv.field_size_limit(sys.maxsize)
    with open_blocks(path) as blocks:
        kind = kind_of(blocks, Fields())
        if kind == "Parquet":
            return _parquet_head(path)
        if kind != "table" and (kind != "FASTA" or blocks.head.lstrip().startswith(b">")):
            return None
        with blocks.text() as text:
            lines = csv.reader(text, delimiter=separator_of(blocks.head, Fields()))
            try:
                names, *cells = itertools.islice(lines, HEAD + 1)
            except (csv.Error, ValueError):  # the reader raises the error with its line
                return None
    if (
        kind != "table" and len(names) < 2
    ):  # sequences without a header: the reader raises the error
        return None
    check_names(names, at(blocks.name, 1))
    return {
        name: [row[i] if i < len(row) else None for row in cells] for i, name in enumerate(names)
    }


def _parquet_head(path: Path) -> dict[str, list[str | None]] | None:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            batch = next(file.iter_batches(HEAD), None)
    except (ArrowException, OSError):  # as above
        return None
    if batch is None:
        return None
    check_names(batch.schema.names, str(path))
    return {
        name: [None if cell is None else str(cell) for cell in column]
        for name, column in batch.to_pydict().items()
    }


def _read_intervals(request: Request) -> Contents:
    """Read BED or GFF files, but not their sequences."""
    from selfattn_bio.sequence.genome import Genome
    from selfattn_bio.sequence.intervals import read_intervals

    contents, has_summits = Contents(DNA), True
    tables = {
        group: [read_intervals(path, request.feature) for path in files]
        for group, files in request.files.items()
    }
    with Genome(request.genome) as genome:
        for group, table in (
            (group, table) for group, of_group in tables.items() for table in of_group
        ):
            names = {str(chrom): genome.resolve(str(chrom)) for chrom in table["chrom"].unique()}
            has_summits = has_summits and bool((table["summit"] >= 0).all())
            contents.files += [group] * len(table)
            contents.lengths += (table["end"] - table["start"]).tolist()
            contents.chromosomes += table["chrom"].map(names).tolist()
    widths = sorted(contents.lengths)
    feature = {"feature": request.feature} if request.feature else {}
    if widths[0] != widths[-1]:
        width = max(10, round(widths[len(widths) // 2], -1))
        center = {"center": "summit"} if has_summits else {}
        contents.windows = {"kind": "centered", "width": width, **center, **feature}
        contents.lengths = [width] * len(contents.lengths)
    elif feature:
        contents.windows = {"kind": "whole", **feature}
    contents.groups = [None] * len(contents.files)
    return contents
