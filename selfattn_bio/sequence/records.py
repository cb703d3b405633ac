"""Records of sequence files: their fields, and counts collected while reading them.

Fields other than the letters (id, coordinates, group, label, targets) come from header attributes,
a header pattern or table columns. `sequence.readers` has the readers, and `sequence.policy` the
rules for letters.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from selfattn_bio.compression import raise_sequence_error
from selfattn_bio.errors import RecordIdError
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import control_in, printable
from selfattn_bio.sequence.policy import Body, SequencePolicy, at

NUMBER_THEM = 'number the records: ids = "numbered"'
LOCATION = ("chrom", "start", "end", "strand", "group")
LABEL = "label"  # name of an unnamed group of the header pattern
SECONDS = 1  # for searching a header with a pattern
SPECIES = "species"  # an attribute that is read as a column, for training or for splits
SHUFFLED = "/shuffled"  # between the id of a positive and the number of its shuffle
_RULES = {
    **dict.fromkeys(("start", "end"), ("[0-9]{1,15}", "a whole number of at most 15 digits")),
    "strand": ("[+-]", "+, -, or . or * for none"),
}
Values = Mapping[str, str | None]


def value_pattern(name: str) -> str:
    """Return the pattern of the value of a header attribute, with its text as group `name`.

    A value is the text in quotes, or ends at the first space. The organism of UniProt, `OS=`, ends
    before the next `KEY=`. A quote that is not closed is part of the value.
    """
    return rf'(?:"(?=[^"]*"))?(?P<{name}>(?<=")[^"]*|(?<=\sOS=)\S.*?(?=\s+\w+=|$)|\S*)'


class Record(NamedTuple):
    """One sequence and its annotations.

    Attributes
    ----------
    letters
        Upper-case ASCII, shape (L,).
    start, end
        0-based half-open on the forward strand.
    label
        1, 0, or None if not given.
    targets
        Text of each target column, None where missing; None if there are no target columns.
    """

    id: str
    letters: NDArray[np.uint8]
    chrom: str | None = None
    start: int | None = None
    end: int | None = None
    strand: str | None = None
    group: str | None = None
    label: int | None = None
    targets: Mapping[str, str | None] | None = None


@dataclass
class ReadSummary:
    """Counts of unusual features of the files, and the record ids, over all files read together.

    Parameters
    ----------
    counts
        Number of records with lower case, U in DNA, IUPAC codes (including N), CRLF line ends, and
        so on (see `sequence.policy`).
    """

    counts: Counter[str] = field(default_factory=Counter)
    _files: list[str] = field(default_factory=list)
    # By id: line number, with the file number in the bits above
    _lines: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Return the number of records read so far."""
        return len(self._lines)

    def claim(self, record: str, name: str, line: int, hint: str = "") -> None:
        """Register the id of a record in line `line` of file `name` (0 if the file has no lines).

        Raises
        ------
        RecordIdError
            If another record has the same id.
        """
        if not self._files or self._files[-1] != name:
            self._files.append(name)
        number = (len(self._files) - 1) << 48 | line
        if record in self._lines:
            first = self._lines[record]
            where = at(self._files[first >> 48], first & 2**48 - 1)
            message = f"record id {record!r} is used twice (first in {where})"
            hint = hint or f"Rename or remove one, or {NUMBER_THEM} in [data]"
            raise RecordIdError(message, place=at(name, line), hint=hint)
        self._lines[record] = number


@dataclass(frozen=True)
class Fields:
    """Where the fields of a record are.

    Parameters
    ----------
    label
        Name of the label: a table column, a header attribute (`label=1`), or a group of `header`.
        If empty, labels are not read.
    positive
        Label values that become 1; all others become 0. If empty, labels must be 1 or 0.
    header
        Regular expression to search for in each header, and in the ids of tables. An unnamed group
        is the label. Named groups are `id`, `chrom`, `start`, `end`, `strand`, `group`, or target
        columns.
    columns
        Table column of each field whose column is not called id, sequence, chrom, start, end,
        strand or group. The last five are not read if it is "".
    attributes
        Further header attributes to read as columns, such as `split` in `split=train`.
    numbered
        Replace ids by the file name and the number of the record, starting at 1.
    needs_id
        Whether a table must have the columns that `columns` names, and headers must match `header`.
        Otherwise a table may lack ids, and have the columns id and sequence in any case instead,
        and `header` only gives the ids of the headers that it matches.
    """

    label: str = ""
    positive: tuple[str, ...] = ()
    header: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    numbered: bool = False
    needs_id: bool = True

    @cached_property
    def attribute_pattern(self) -> re.Pattern[str]:
        """Return the pattern of header attributes, with name and value as groups.

        The name is empty if the attribute is not read. The pattern matches these as well, so that
        their text in quotes is not searched.
        """
        names = filter(None, (*LOCATION, SPECIES, *self.attributes, self.label))
        name = rf"(?:({'|'.join(map(re.escape, names))})|[^\s=]+)"
        return re.compile(rf"(?:^|\s){name}={value_pattern('value')}")

    @cached_property
    def pattern(self) -> Any:
        """Return `header`, compiled, or None."""
        return regex.compile(self.header) if self.header else None  # stops after a time

    def column(self, name: str) -> str:
        """Return the table column of a field."""
        return self.columns.get(name, name)

    def within(self, names: Collection[str]) -> Fields:
        """Return fields that find ids and sequences by these words where a table lacks the columns.

        The case of the words does not matter, but lower case goes first.
        """
        usual = {name.lower(): name for name in sorted(names, key=str.islower)}
        missing = [own for own in ("id", "sequence") if self.column(own) not in names]
        found = {own: usual[own] for own in missing if own in usual}
        for own, name in (pair for pair in found.items() if pair[0] != pair[1]):
            LOG.info(f"column {name!r} is read as {own}")
        return replace(self, columns={**self.columns, **found})


@dataclass(frozen=True)
class ReaderState:
    """State of reading one file.

    Attributes
    ----------
    name
        Name of the file in errors.
    policy
        The alphabet and how letters are read.
    summary
        Counts of unusual features, and the ids so far.
    fields
        Where the fields of a record are.
    where
        Text after the name of a field in errors, such as " in the header".
    label
        Label of all records, or None.
    stem
        Name of numbered records.
    numbers
        Iterator over the numbers of the records.
    """

    name: str
    policy: SequencePolicy
    summary: ReadSummary
    fields: Fields
    where: str = " in the header"
    label: int | None = None
    stem: str = "record"
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def entry(self, header: bytes, line: int, mark: str) -> Entry:
        """Start a record from its header without `mark`, the character at the start of the line."""
        text = self._text(header, line)
        values = self._values(text, line, mark)
        name = values.pop("id", None) or (text.split(maxsplit=1) or [""])[0]
        if not name and not self.fields.numbered:
            message = f"record without an id: header {mark + text!r}"
            hint = self.policy.hint(f"Write an id after {mark!r}", NUMBER_THEM)
            RecordIdError.fail(message, at(self.name, line), hint)
        return self.row(name, values, line, " (an id ends at the first space)" * (" " in text))

    def row(
        self, record: str | None, values: dict[str, str | None], line: int, about: str = ""
    ) -> Entry:
        """Start a record with known `values`, or numbered without an id. Hints end in `about`."""
        number, given = next(self.numbers), record
        if record is None or self.fields.numbered:
            record = f"{self.stem}_{number}"
        # line breaks and tabs would break tables; invisible marks would hide what the id is
        if not record.isprintable():
            found = next(character for character in record if not character.isprintable())
            what = "line break" if found in "\r\n" else f"invalid {printable(ord(found))}"
            raise_sequence_error(f"{what} in the record id", at(self.name, line))
        hint = self.policy.hint(f"Rename or remove one{about}", NUMBER_THEM)
        self.summary.claim(record, self.name, line, hint)
        return Entry(self, record, values, line, given or record)

    def matched(self, text: str, line: int, shown: str) -> dict[str, str | None]:
        """Return what the groups of `header` match in a header, or in the id of a table's row."""
        if not self.fields.pattern:
            return {}
        try:
            found = self.fields.pattern.search(text, timeout=SECONDS)
        except TimeoutError:
            hint = "Avoid repeats of repeats in the pattern, such as (a+)+"
            message = f"{shown} takes longer than {SECONDS} s to search for {self.fields.header!r}"
            raise_sequence_error(message, at(self.name, line), hint)
        if not self.fields.needs_id:
            return {"id": found["id"]} if found else {}
        if not found:
            names = list(self.fields.pattern.groupindex) or [LABEL]
            absent = [name for name in names if f"{name}=" not in text]
            hint = self.policy.hint("Change the record", "the pattern header")
            message = f"{shown} lacks {' and '.join(absent or names)}"
            raise_sequence_error(message, at(self.name, line), hint)
        return found.groupdict() or {LABEL: found[1]}

    def _text(self, header: bytes, line: int) -> str:
        try:
            text = header.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            message = f"invalid {printable(header[error.start])} in the header (expected UTF-8)"
            raise_sequence_error(message, at(self.name, line))
        if "\r" in text:
            hint = "Convert it, e.g. tr '\\r' '\\n' < old.fa > new.fa"
            raise_sequence_error("lines end in CR (expected LF or CRLF)", at(self.name, line), hint)
        return text

    def _values(self, text: str, line: int, mark: str) -> dict[str, str | None]:
        fields = self.fields
        values: dict[str, str | None] = {}
        for name, value in fields.attribute_pattern.findall(text) if "=" in text else ():
            if name:
                values.setdefault(name, value)
        values |= self.matched(text, line, f"header {mark + text!r}")
        if fields.label and fields.label not in values:
            message = f"no label in the header {mark + text!r} (expected {fields.label}=...)"
            raise_sequence_error(message, at(self.name, line))
        return values


class Entry:
    """A record under construction, whose letters arrive in pieces; errors call it `shown`."""

    def __init__(
        self, state: ReaderState, name: str, values: dict[str, str | None], line: int, shown: str
    ) -> None:
        self._state, self._name, self._values, self._line = state, name, values, line
        self.body = Body(state.policy, shown, state.name)

    def record(self) -> Record:
        """Return the finished record."""
        state, values = self._state, self._values
        letters = self.body.finish(self._line)
        if self.body.found:
            state.summary.counts.update(self.body.found.keys())
        if not values:
            return Record(self._name, letters, label=state.label)
        place = at(state.name, self._line)
        label = state.label
        if state.fields.label:
            label = _label(values.pop(state.fields.label, None), state.fields, place)
        chrom, start, end, strand, group = _location(values, len(letters), state.where, place)
        targets = {name: text for name, text in values.items() if name not in LOCATION} or None
        return Record(self._name, letters, chrom, start, end, strand, group, label, targets)


def _label(text: str | None, fields: Fields, place: str) -> int:
    if text is None or text == "":
        raise_sequence_error(f"the label {fields.label!r} is empty", place)
    if fields.positive:
        return int(text in fields.positive)
    if text not in ("0", "1"):
        hint = f'Name the positive labels, e.g. positive = "{text}" in [data]'
        raise_sequence_error(f"label {text!r} in {fields.label!r} is neither 1 nor 0", place, hint)
    return int(text)


def _location(
    values: Values, length: int, where: str, place: str
) -> tuple[str | None, int | None, int | None, str | None, str | None]:
    # without a chromosome, a start is a position in something else, such as a transcript
    read = LOCATION if values.get("chrom") is not None else ("group",)
    found = {key: value for key in read if (value := values.get(key)) is not None}
    if found.get("strand") in (".", "*"):  # of BED and of R's GRanges: no strand
        del found["strand"]
    for key, value in found.items():
        pattern, expected = _RULES.get(key, (r"(?s)\S.*", "a name"))
        if not re.fullmatch(pattern, value) or control_in(value):
            message = f"invalid {key} {value[:30]!r}{where} (expected {expected})"
            raise_sequence_error(message, place)
    start, end = (int(found[key]) if key in found else None for key in ("start", "end"))
    if (start is None) != (end is None):
        message = f"{'end without start' if start is None else 'start without end'}{where}"
        raise_sequence_error(message, place, "Give both, or rename the one that is given")
    if start is not None and end is not None and end - start != length:
        message = f"end - start{where} is {end - start}, but the sequence has length {length}"
        hint = "Coordinates are 0-based half-open: subtract 1 from a 1-based start"
        raise_sequence_error(message, place, hint)
    return found.get("chrom"), start, end, found.get("strand"), found.get("group")
