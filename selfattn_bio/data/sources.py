"""Where the records of a corpus come from: sequence files, or anything else that yields records with their labels.

`build_corpus` takes any `Source`. What is read from a run file becomes sources in `sources_of`, the one place that knows all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from selfattn_bio.config import Data, NegativesSection
from selfattn_bio.data.regions import GenomeSource, MadeNegatives, sequence_files
from selfattn_bio.sequence.records import Notes, Record
from selfattn_bio.sequence.spelling import Spelling


class Source(Protocol):
    """Something that yields records."""

    def records(self, spelling: Spelling, notes: Notes) -> Iterator[Record]:
        """The records, one at a time, each with its label; `notes` counts what is unusual and holds the ids so far."""

    def about(self) -> dict[str, Any]:
        """What corpus.json says of it, once it is read: `path`, `sha256`, and whatever else it depends on."""


def sources_of(data: Data) -> list[Source]:
    """What [data] of a run file names, in its order: positives, negatives, sequences."""
    made: list[Source] = [MadeNegatives(data)] if isinstance(data.negatives, NegativesSection) else []
    if data.genome:
        given = {label: [path for path, other in data.files if other == label] for _, label in data.files}
        return [*(GenomeSource(data, paths, label) for label, paths in given.items()), *made]
    return [*sequence_files(data), *made]
