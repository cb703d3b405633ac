"""Define the sources of records for a corpus.

`build_corpus` accepts any `Source`. `sources_of` converts the [data] section of a run file to
sources and is the only function that knows all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from selfattn_bio.config import AnySplit, ColumnSplit, Data, FilesSplit, NegativesSection
from selfattn_bio.data.regions import GenomeSource, MadeNegatives, sequence_files
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.records import ReadSummary, Record


class Source(Protocol):
    """A source of records."""

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield records with their labels.

        `summary` counts unusual content and keeps the ids read so far.
        """

    def about(self) -> dict[str, Any]:
        """Return the entry for corpus.json: `path`, `sha256` and other dependencies.

        It is called after all records have been read.
        """


@dataclass
class SplitSource:
    """A source whose records all belong to one split, stored in the column `column`."""

    source: Source
    column: str
    split: str

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Read the records of the source; see `Source`."""
        for record in self.source.records(policy, summary):
            yield record._replace(targets={**(record.targets or {}), self.column: self.split})

    def about(self) -> dict[str, Any]:
        """Describe the source and its split."""
        return self.source.about() | {"split": self.split}


def sources_of(data: Data, split: AnySplit | None = None) -> list[Source]:
    """Return the sources in [data]: positives, negatives, sequences, or the files of each split."""
    attributes = (split.column,) if isinstance(split, ColumnSplit) else ()
    made: list[Source] = (
        [MadeNegatives(data, attributes)] if isinstance(data.negatives, NegativesSection) else []
    )
    if isinstance(split, FilesSplit):
        return [SplitSource(source, split.column, name) for name, source in _sources_by_split(data)]
    if data.genome:
        given = {
            label: [path for path, other in data.files if other == label] for _, label in data.files
        }
        return [*(GenomeSource(data, paths, label) for label, paths in given.items()), *made]
    return [*sequence_files(data, attributes), *made]


def _sources_by_split(data: Data) -> list[tuple[str, Source]]:
    if data.genome:
        return [
            (name, GenomeSource(data, paths, None)) for name, paths in data.given_splits.items()
        ]
    names = [name for name, paths in data.given_splits.items() for _ in paths]
    return list(zip(names, sequence_files(data), strict=True))
