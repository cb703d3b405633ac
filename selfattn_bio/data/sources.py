"""Where the records of a corpus come from: sequence files, or anything else that yields records with their labels.

`build_corpus` takes any `Source`. What is read from a run file becomes sources in `sources_of`, the one place that knows all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from selfattn_bio.config import ColumnSplit, Data, FilesSplit, NegativesSection, Split
from selfattn_bio.data.regions import GenomeSource, MadeNegatives, sequence_files
from selfattn_bio.sequence.records import Notes, Record
from selfattn_bio.sequence.spelling import Spelling


class Source(Protocol):
    """Something that yields records."""

    def records(self, spelling: Spelling, notes: Notes) -> Iterator[Record]:
        """The records, one at a time, each with its label; `notes` counts what is unusual and holds the ids so far."""

    def about(self) -> dict[str, Any]:
        """What corpus.json says of it, once it is read: `path`, `sha256`, and whatever else it depends on."""


@dataclass
class SplitSource:
    """A source whose records are all of one split, which becomes their column `column`."""

    source: Source
    column: str
    split: str

    def records(self, spelling: Spelling, notes: Notes) -> Iterator[Record]:
        """Read the records of the source; see `Source`."""
        for record in self.source.records(spelling, notes):
            yield record._replace(targets={**(record.targets or {}), self.column: self.split})

    def about(self) -> dict[str, Any]:
        """Describe the source and its split."""
        return self.source.about() | {"split": self.split}


def sources_of(data: Data, split: Split | None = None) -> list[Source]:
    """List the sources that [data] names: positives, negatives, sequences, or the files of each split."""
    attributes = (split.column,) if isinstance(split, ColumnSplit) else ()
    made: list[Source] = [MadeNegatives(data, attributes)] if isinstance(data.negatives, NegativesSection) else []
    if isinstance(split, FilesSplit):
        return [SplitSource(source, split.column, name) for name, source in _sources_by_split(data)]
    if data.genome:
        given = {label: [path for path, other in data.files if other == label] for _, label in data.files}
        return [*(GenomeSource(data, paths, label) for label, paths in given.items()), *made]
    return [*sequence_files(data, attributes), *made]


def _sources_by_split(data: Data) -> list[tuple[str, Source]]:
    if data.genome:
        return [(name, GenomeSource(data, paths, None)) for name, paths in data.given_splits.items()]
    names = [name for name, paths in data.given_splits.items() for _ in paths]
    return list(zip(names, sequence_files(data), strict=True))
