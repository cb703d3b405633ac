"""Read tables with one row per record: CSV (commas or semicolons), TSV and Parquet.

Columns that are not fields of a record are target columns. Text is read row by row, Parquet in
batches of rows.
"""

from __future__ import annotations

import csv
import difflib
import math
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.compression import BlockReader, open_blocks, raise_sequence_error
from selfattn_bio.errors import CorpusError, RecordIdError, SequenceFileError
from selfattn_bio.log import LOG
from selfattn_bio.sequence.policy import at
from selfattn_bio.sequence.records import LABEL, LOCATION, NUMBER_THEM, Fields, ReaderState, Record
from selfattn_bio.sequence.tables import check_names

# Cells that mean a missing number, in lower case; empty cells are always missing
MISSING = ("", "na", "n/a", "n.a.", "#n/a", "nan", "nd", "n.d.", "null", "none", ".", "-")
# Words that mean label 1 in a column of several labels, with those that mean 0
LABEL_WORDS = {
    **{"1": "0", "yes": "no", "y": "n", "true": "false", "t": "f", "active": "inactive"},
    **{"bound": "unbound", "positive": "negative", "pos": "neg"},
}
SEPARATORS = ("\t", ",", ";")
ROWS, CELLS = 1024, 2**20  # rows of Parquet per batch, and cells at most
WIDE = 1000  # columns of a table; if there are more, only the needed ones are kept
# Usual names of the columns with sequences and with labels, most likely first
SEQUENCE_NAMES = (
    *("sequence", "seq", "sequences", "seqs", "dna", "rna", "protein", "peptide", "dna_sequence"),
    *("rna_sequence", "protein_sequence", "peptide_sequence", "aa_sequence", "aa_seq"),
    *("nucleotide_sequence", "text"),
)
LABEL_NAMES = ("label", "labels", "class", "target", "targets", "y")
Row = tuple[int, list[str | None]]  # line, 0 if the file has no lines; cells, None if empty


def read_table(blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read CSV or TSV with a header row.

    The column sequence is required; id, chrom, start, end, strand and group are optional. Without a
    column id, records are named after the file and their row, starting at 1: `peaks_1`.

    Raises
    ------
    SequenceFileError
        If there is no sequence or label column, or a column name has a line break or control
        character; if a row has a different number of cells than the
        header, is not UTF-8 or has wrong quotes; if a record is invalid, as for FASTA; or if there
        is no row. The place is the line in which the row ends.
    """
    return _records(rows_of_text(blocks, state.fields), state)


def read_parquet(blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
    """Read Parquet with columns of text, numbers or booleans; rows are counted from 1.

    Raises
    ------
    SequenceFileError
        If the file is truncated, compressed again, or a pipe; if a column has another type;
        otherwise as in `read_table`.
    """
    return _records(rows_of_parquet(blocks), state)


def rows_of(blocks: BlockReader) -> Iterator[Row]:
    """Yield the rows of a table as text, the header first, by the content of the file."""
    is_parquet = blocks.head.startswith(b"PAR1")
    return rows_of_parquet(blocks) if is_parquet else rows_of_text(blocks, Fields())


def rows_of_text(blocks: BlockReader, fields: Fields) -> Iterator[Row]:
    """Yield the rows of CSV or TSV, the header first; errors are those of `read_table`."""
    # Sequences may exceed the default limit of 131,072 characters
    csv.field_size_limit(sys.maxsize)
    with blocks.text() as text:
        rows = csv.reader(text, delimiter=separator_of(blocks.head, fields), strict=True)
        try:
            names = next(rows, [])
            yield 1, list(names)
            for cells in rows:
                if not cells:  # blank line
                    continue
                if len(cells) != len(names):
                    message = f"row has {len(cells)} cells, but the table has {len(names)} columns"
                    hint = "Quote cells that contain the separator"
                    raise_sequence_error(message, at(blocks.name, rows.line_num), hint)
                yield rows.line_num, [cell or None for cell in cells]
        except csv.Error as error:
            raise_sequence_error(f"malformed table: {error}", at(blocks.name, rows.line_num or 1))
        except UnicodeDecodeError as error:
            raise_sequence_error(
                f"invalid byte 0x{error.object[error.start]:02X} in the table (expected UTF-8)",
                at(blocks.name, rows.line_num + 1),
                "Save it as CSV UTF-8",
            )


def rows_of_parquet(blocks: BlockReader, named: Collection[str] = ()) -> Iterator[Row]:
    """Yield the rows of a Parquet file, the header first; errors are those of `read_parquet`.

    Columns are as for `targets_table`.
    """
    from pyarrow import ArrowException, parquet

    if not blocks.plain:
        message = "Parquet cannot be read from a pipe or a compressed file"
        raise_sequence_error(message, blocks.name, "Unpack it, or save it as a file")
    try:
        with parquet.ParquetFile(blocks.path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if named and len(names) > WIDE:
                names = [name for name in names if name in named]
            yield 0, list(names)
            rows = max(1, min(ROWS, CELLS // max(1, len(names))))
            for batch in file.iter_batches(rows, columns=names):
                columns = [
                    [_text(cell, name, blocks.name) for cell in batch.column(i).to_pylist()]
                    for i, name in enumerate(names)
                ]
                yield from ((0, list(cells)) for cells in zip(*columns, strict=True))
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        message = f"cannot read the Parquet file: {str(error).splitlines()[0].rstrip('.')}"
        raise_sequence_error(message, blocks.name, "Download or write it again")


def _records(rows: Iterator[Row], state: ReaderState) -> Iterator[Record]:
    line, names = next(rows)
    parser, is_empty = _RowParser(list(map(str, names)), state, at(state.name, line)), True
    for line, cells in rows:
        is_empty = False
        yield parser.record(cells, line)
    if is_empty:
        raise_sequence_error("the table has no rows", state.name)


def targets_table(path: Path, fields: Fields, named: Collection[str] = ()) -> pd.DataFrame:
    """Read a table of targets as text by id, with missing values for empty cells.

    Cells are separated by commas in a .csv file and by tabs in others. The ids are in the column
    that `fields` names, otherwise in the column id. A column of sequences is left out. If a table
    has more than WIDE columns, only those of the ids, of `named` and chrom are read.

    Raises
    ------
    CorpusError
        If the file does not exist, is not a table, lacks a column of ids or another one, or repeats
        an id; or if a column name has a line break or control character.
    """
    if not path.exists():
        raise CorpusError("no such file for the targets", place=str(path))
    ids = fields.column("id")
    if named:
        named = {*named, "id", "chrom", ids}
    try:
        with open_blocks(path) as blocks:
            if blocks.head.startswith(b"PAR1"):
                (_, names), *rows = rows_of_parquet(blocks, named)
                table = pd.DataFrame([cells for _, cells in rows], columns=names, dtype="str")
            else:
                separator = "," if ".csv" in path.suffixes[-2:] else "\t"
                is_wide = named and _first_line(blocks.head).count(separator) >= WIDE
                table = pd.read_csv(
                    blocks.text(),
                    sep=separator,
                    dtype=str,
                    keep_default_na=False,
                    na_values=[""],
                    usecols=(lambda name: name in named) if is_wide else None,
                )
        check_names(table.columns, str(path))
    except (ValueError, OSError, SequenceFileError) as error:
        text = error.message if isinstance(error, SequenceFileError) else str(error)
        reason = text.strip().splitlines()[0]
        raise CorpusError(f"cannot read the table of targets: {reason}", place=str(path)) from error
    table = table.drop(columns=fields.column("sequence"), errors="ignore")
    if (by := ids if ids in table else "id") not in table or len(table.columns) < 2:
        raise CorpusError(
            f"a table of targets needs the column {ids} and another one; the columns are "
            f"{', '.join(map(str, table))}",
            place=str(path),
            hint="Separate columns by tabs in a .tsv and by commas in a .csv, and name the column "
            "of the ids with `init --id-column`, or with columns in [data] of a run file",
        )
    if (repeated := table[by][table[by].duplicated()]).size:
        message = f"duplicate id {repeated.iloc[0]!r} in the table of targets"
        hint = "Keep one row per sequence, for example the mean of its replicates"
        CorpusError.fail(message, f"{path}:{repeated.index[0] + 2}", hint)
    return table.set_index(by)


def is_missing(cell: object) -> bool:
    """Return whether a cell of a column of numbers or labels is empty or a word such as NA."""
    return str(cell).strip().lower() in MISSING  # an empty cell is None or nan


def separator_of(head: bytes, fields: Fields) -> str:
    """Return the separator of a table that starts with `head`.

    It is the separator that yields the sequence column, otherwise the most frequent one in the
    first line.
    """
    first = _first_line(head)
    return next(
        (each for each in SEPARATORS if fields.column("sequence") in _cells(first, each)),
        max(SEPARATORS, key=first.count),
    )


def is_table(head: bytes, fields: Fields) -> bool:
    """Return whether the first line looks like the header of a table of sequences.

    It contains the sequence column, or several columns including one with a similar name.
    """
    cells = _cells(_first_line(head), separator_of(head, fields))
    return fields.column("sequence") in cells or (
        len(cells) > 1 and bool(likely_columns(cells, SEQUENCE_NAMES))
    )


def likely_columns(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return columns whose name equals or resembles one of the known names, best match first.

    `likely_columns(["id", "Seq", "labels"], SEQUENCE_NAMES)` gives `["Seq"]`.
    """
    exact = [name for like in known for name in names if name.lower() == like.lower()]
    # `peak` is too short to be meant by `peak_seq`
    long = [name.lower() for name in names if 3 * len(name) >= 2 * len(known[0])]
    close = difflib.get_close_matches(known[0].lower(), long, n=1)
    return list(dict.fromkeys([*exact, *(name for name in names if name.lower() in close)]))


def _first_line(head: bytes) -> str:
    return head.decode("utf-8-sig", "replace").lstrip().partition("\n")[0].rstrip()


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip('"') for cell in line.split(separator)]


class _RowParser:
    """Make records of the rows of one table."""

    def __init__(self, names: Sequence[str], state: ReaderState, place: str) -> None:
        fields = state.fields if state.fields.needs_id else state.fields.within(names)
        self._names, self._state = names, replace(state, fields=fields)
        check_names(names, place)
        matched = (fields.pattern.groupindex or {LABEL}) if fields.pattern else ()
        label = [fields.label] if fields.label and fields.label not in matched else []
        read = [name for name in LOCATION if fields.column(name)]
        self._unread: dict[str, str | None] = dict.fromkeys({*LOCATION}.difference(read))
        for name in ["sequence", *fields.columns, *["id"] * bool(fields.header), *label]:
            if name not in self._unread and (name != "id" or fields.needs_id):
                self._check(name, place)
        theirs = {fields.column(name): name for name in ("id", "sequence", *read)}
        self._fields = [theirs.get(name, name) for name in names]
        if "id" not in self._fields and not fields.numbered:
            ids = f"{state.stem}_1, {state.stem}_2, ..."
            LOG.info(
                f"{state.name}: no column {fields.column('id')!r}, so the records are named {ids}"
            )

    def record(self, cells: Sequence[str | None], line: int) -> Record:
        """Return the record of a row; `line` is 0 if the file has no lines."""
        state, values = self._state, dict(zip(self._fields, cells, strict=True))
        letters, name = values.pop("sequence") or "", values.pop("id", None)
        if "id" in self._fields and not state.fields.numbered and not (name and name.strip()):
            hint = state.policy.hint("Fill it", NUMBER_THEM)
            RecordIdError.fail("record without an id: empty cell", at(state.name, line), hint)
        values |= self._unread | state.matched(name or "", line, f"id {name!r}")
        entry = state.row(values.pop("id", None) or name, values, line)
        entry.body.feed(letters.encode("utf-8"), line)
        return entry.record()

    def _check(self, field: str, place: str) -> None:
        """Raise if the table lacks the column of a field; the error suggests similar columns."""
        wanted = self._state.fields.column(field)
        if wanted in self._names:
            return
        known = {"sequence": SEQUENCE_NAMES, self._state.fields.label: LABEL_NAMES}.get(field, ())
        likely = likely_columns(self._names, (wanted, *known))
        key = self._state.policy.hint(
            "Rename the column", f'set columns = {{{{ {field} = "{{}}" }}}}'
        )
        if field == self._state.fields.label:
            key = 'Set label = "{}" in [data]'
        elif field == "sequence":
            key = self._state.policy.hint(key, 'set column = "{}"', "[partner]")
        found = ", ".join(map(repr, self._names[:20])) or "none"
        hint = "Did you mean {}? ".format(" or ".join(map(repr, likely))) if likely else ""
        hint += key.format(likely[0] if likely else "NAME")
        SequenceFileError.fail(f"no column {wanted!r} in the table (columns: {found})", place, hint)


def _text(cell: Any, name: str, place: str) -> str | None:
    """Convert a Parquet cell to the text of a text table."""
    match cell:
        case None | "":
            return None
        case float() if math.isnan(cell):
            return None
        case bool():
            return str(int(cell))
        case str():
            return cell
        case int() | float():
            return repr(cell)
    raise_sequence_error(
        f"column {name!r} contains a {type(cell).__name__} (expected text, numbers or booleans)",
        place,
    )
