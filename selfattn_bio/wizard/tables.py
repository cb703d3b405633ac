"""Read the first rows of a table, and find its columns of sequences and ids."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.compression import open_blocks
from selfattn_bio.display import short_name
from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence.alphabet import PROTEIN
from selfattn_bio.sequence.intervals import LOCUS, coordinates_in
from selfattn_bio.sequence.policy import at
from selfattn_bio.sequence.readers import kind_of
from selfattn_bio.sequence.readers.table import SEQUENCE_NAMES, rows_of
from selfattn_bio.sequence.records import Fields
from selfattn_bio.sequence.tables import check_names
from selfattn_bio.wizard.columns import Texts, no_column
from selfattn_bio.wizard.request import Request

SHORT = 8  # characters; a column whose median is shorter has no sequences
WORD = 30  # characters; repeated texts whose median is shorter may be words
LONG = 15  # characters; a longer column name may be a sequence of a table without column names
HEAD = 1000  # records or rows read to recognise alphabet and columns
# parts of the ids of UniProt, such as sp|P12345|NAME_HUMAN, and of bedtools, NAME::chr1:139-339
ACCESSION, NAME = r"^\w+\|(?P<id>[^|\s]+)\|", r"^\w+\|[^|\s]+\|(?P<id>[^|\s]+)"
ENTRY = r"^(?:(?:sp|tr)\|)?(?P<id>\w+)(?:\|\w+_\w+)?(?:\s|$)"  # P12345 or sp|P12345|NAME_HUMAN
PEAK = r"^(?P<id>\S+?)::"
# names of columns of groups, such as gene, Parent_ID or ensembl gene names, and in UniProt GN,
# Protein families, Gene Names (primary) and Pfam
GROUP_NAME = re.compile(
    r"(?i)(?:^|[\W_])(?:gn|gene|transcript|family|families|interpro|pfam|parent|patient|donor"
    r"|subject|cluster|locus|group)s?"
    r"(?:[\W_]*(?:stable|id|name|symbol|accession|version|primary)s?)*\W*$"
)


def table_head(path: Path) -> dict[str, list[str | None]] | None:
    """Read the first rows of a table as text by column; None for another kind of file.

    Raises
    ------
    SequenceFileError
        If the file is missing, empty, or contains no sequences, a row is malformed, or a column
        name has a line break or control character.
    """
    with open_blocks(path) as blocks:
        kind = kind_of(blocks, Fields())
        is_fasta = kind == "FASTA" and blocks.head.lstrip().startswith(b">")
        if kind not in ("Parquet", "table", "FASTA") or is_fasta:
            return None
        (line, header), *cells = itertools.islice(rows_of(blocks), HEAD + 1)
    if kind == "FASTA" and len(header) < 2:  # sequences without a header: the reader's error
        return None
    names = list(map(str, header))
    check_names(names, at(blocks.name, line))
    return {name: [row[i] for _, row in cells] for i, name in enumerate(names)}


def find_sequence_column(columns: Mapping[str, Texts], place: str) -> str:
    """Return the column with the sequences, recognised by its name or else by its content.

    Raises
    ------
    RunFileError
        If there is none, or if several fit.
    """
    fit = [name for name, texts in columns.items() if are_sequences(texts)]
    named = [
        name
        for known in SEQUENCE_NAMES
        for name, texts in columns.items()
        if name.strip().lower() == known and _are_letters(texts)
    ]
    data = [name for name in columns if len(name) > LONG and are_sequences([name])]
    if data and not named and set(fit) <= set(data):
        shown = ", ".join(short_name(name, LONG) for name in list(columns)[:4])
        raise RunFileError(
            f"the first row looks like data, not like column names: {shown}",
            place=f"{place}:1",
            hint="Add a row of names above it, such as sequence,label. If it has names, choose "
            "the sequences with `sequence_column`",
        )
    # A column `protein` may hold names of proteins; a column `sequence` holds sequences, also
    # short or repeated ones.
    certain = [name for name in named if name in fit or "seq" in name.lower()]
    if certain or len(fit) == 1:
        return (certain or fit)[0]
    hint = "Name the column of the sequences (in pairs: the first ones) with `sequence_column`"
    if fit:
        RunFileError.fail(f"several columns hold sequences: {', '.join(fit)}", place, hint)
    # the reader names the line of a wrong letter
    usual = [name for name in columns if name.strip().lower() in SEQUENCE_NAMES]
    if named or len(usual) == 1:
        return (named or usual)[0]
    if len(columns) == 1:
        hint = "The header has one column; separate columns by comma, semicolon or tab"
    RunFileError.fail(f"none of the columns holds sequences: {', '.join(columns)}", place, hint)


def sequence_column_of(
    request: Request, paths: Sequence[str], heads: Mapping[str, Mapping[str, Texts]]
) -> str:
    """Return the column of the sequences in all tables, "sequence" without a table.

    Raises
    ------
    RunFileError
        If a table has no such column, another one than the first file, or lacks a requested one.
    """
    names = {
        path: request.sequence_column or find_sequence_column(head, path)
        for path, head in heads.items()
    }
    wanted = {"`sequence_column`": request.sequence_column, "`id_column`": request.id_column}
    for path in heads or ([] if request.targets else paths):
        for option, name in wanted.items():
            if name and name not in (head := heads.get(path, {})):
                raise RunFileError(no_column(name, option, head), place=path)
        if name := request.sequence_column:
            chosen = heads[path][name]
            fit = [other for other, texts in heads[path].items() if are_sequences(texts)]
            # if some are sequences, the reader names the line of a wrong letter
            if fit and not (_are_letters(chosen) or any(are_sequences([text]) for text in chosen)):
                message = f"column {name!r} (`sequence_column`) does not hold sequences"
                RunFileError.fail(message, path, f"These columns do: {', '.join(fit)}")
        if names.get(path) != names.get(paths[0] if paths[0] in names else path):
            message = (
                f"the sequences are in column {names[path]!r} here and in column "
                f"{names[paths[0]]!r} in {paths[0]}"
            )
            raise RunFileError(message, place=path, hint="Give both columns the same name")
    return next(iter(names.values()), "sequence")


def coordinate_columns(
    tables: Sequence[Mapping[str, Texts]], sequence: str, targets: Collection[str]
) -> tuple[dict[str, str], str]:
    """Return the columns of coordinates whose names are not those of fields, and a message.

    They are in all tables, and not among the targets. For `Chr`, `Start` and `End` these are
    `{"chrom": "Chr", "start": "Start", "end": "End"}`. Start and end are "", which is not read, if
    they are not the interval of the column `sequence`, 0-based half-open, which the message says.
    The reader checks `start` and `end` if they are not 1-based either. It does not read them
    without chromosomes, which the message says as well.
    """
    columns = {
        name: texts
        for name, texts in (tables[0] if tables else {}).items()
        if name not in targets and all(name in table for table in tables)
    }
    found = {field: field for field in (*LOCUS, "strand")} | coordinates_in(columns)
    if found["chrom"] not in columns:
        unread = [name for name in ("start", "end", "strand") if name in columns]
        message = f"not read without a column of chromosomes: {', '.join(unread)}"
        return {}, message if unread else ""
    if not {found["start"], found["end"]} <= columns.keys():
        return {}, ""
    rows = zip(columns[found["start"]], columns[found["end"]], columns[sequence], strict=True)
    try:
        excess = {int(end or "") - int(start or "") - len(text or "") for start, end, text in rows}
    except ValueError:
        excess = set()
    message = ""
    if excess == {-1} or (excess != {0} and found["start"] != "start"):
        why = "is 1-based" if excess == {-1} else "to the end is not as long as each sequence"
        message = f"column {found['start']!r} {why}, so only {found['chrom']!r} is read"
        found["start"] = found["end"] = ""
    return {field: name for field, name in found.items() if name != field}, message


def find_id_column(path: Path, ids: Sequence[str]) -> str:
    """Return the column `id` of a table, else the first one that has such ids or parts of them.

    Its values are different. The parts of an id are separated by `|` or `::`. Without such a
    column, the result is the first one with different values, or "id".
    """
    known = {part for name in ids for part in (name, *re.split(r"\||::", name))}
    columns = table_head(path) or {}
    different = [name for name, texts in columns.items() if len(set(texts)) == len(texts)]
    fit = [name for name in different if not known.isdisjoint(columns[name])]
    return "id" if "id" in columns else next(iter(fit or different), "id")


def match_ids(wanted: pd.Index, ids: Sequence[str], place: str) -> tuple[str, list[str]]:
    """Return a pattern of headers that reads parts of ids, such as accessions, and these parts.

    Some of them are `wanted`.

    Raises
    ------
    RunFileError
        If none is.
    """
    for pattern in (ACCESSION, NAME, PEAK):
        found = [match["id"] for name in ids if (match := re.match(pattern, name))]
        if len(set(found)) == len(ids) and wanted.isin(found).any():
            return pattern, found
    message = (
        f"none of the ids in this table, such as {wanted[0]!r}, is the id of a sequence, such as "
        f"{ids[0]!r}"
    )
    hint = "Write the ids of the sequences. In FASTA, an id is the first word of the header"
    raise RunFileError(message, place=place, hint=hint)


def texts_of(column: pd.Series) -> list[Any]:
    """Return the values of a column, None where missing."""
    return column.astype(object).where(column.notna(), None).tolist()


def are_sequences(texts: Texts) -> bool:
    """Return whether the texts have sequence letters only, are long enough, and differ.

    Texts that are mostly repeated must be longer, because words such as `promoter` are repeated,
    too. The sequences of baits in pairs are, for example.
    """
    known = [text.strip() for text in texts if text and text.strip()]
    number = len(set(known))
    if not _are_letters(known) or number == 1 < len(known):
        return False
    shortest = SHORT if 2 * number > len(known) else WORD
    return sorted(map(len, known))[len(known) // 2] >= shortest


def _are_letters(texts: Texts) -> bool:
    """Return whether all texts have only the letters of sequences, whatever their length."""
    letters = set("".join(text.strip().upper() for text in texts if text))
    return bool(letters) and letters <= set(PROTEIN.letters + PROTEIN.ambiguous + "*-.")
