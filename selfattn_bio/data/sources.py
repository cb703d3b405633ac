"""Where the records of a corpus come from: sequence files, or anything else that yields records with their labels.

`build_corpus` takes any `Source`. What is read from a run file becomes sources in `sources_of`, the one place that knows all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from selfattn_bio.config import Data
from selfattn_bio.files import sha256_of
from selfattn_bio.sequence.records import Notes, Record, Spelling, read_fasta


class Source(Protocol):
    """Something that yields records."""

    def records(self, spelling: Spelling, notes: Notes) -> Iterator[Record]:
        """The records, one at a time, each with its label; `notes` counts what is unusual and holds the ids so far."""

    def about(self) -> dict[str, Any]:
        """What corpus.json says of it, once it is read: `path`, `sha256`, and whatever else it depends on."""


@dataclass(frozen=True)
class SequenceFile:
    """A file of sequences, whose records have one label."""

    path: Path
    label: int | None = None

    def records(self, spelling: Spelling, notes: Notes) -> Iterator[Record]:
        """Read the file."""
        for record in read_fasta(self.path, spelling.alphabet, notes):
            yield record._replace(label=self.label)

    def about(self) -> dict[str, Any]:
        """Its path and hash."""
        return {"path": str(self.path), "sha256": sha256_of(self.path)}


def sources_of(data: Data) -> list[Source]:
    """What [data] of a run file names, in its order: positives, negatives, sequences."""
    return [SequenceFile(Path(path), label) for path, label in data.files]
