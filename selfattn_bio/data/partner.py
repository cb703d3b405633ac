"""Read the second of two inputs: another sequence for each record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from selfattn_bio.config import Data, Partner
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile, sequence_files
from selfattn_bio.sequence.records import Fields, ReadSummary, Record


@dataclass(frozen=True)
class Partners:
    """The [partner] section of a run file with its [data] section."""

    section: Partner
    data: Data

    @property
    def rules(self) -> RecordRules:
        """Return the rules for the corpus of partners; several records may have equal partners."""
        return RecordRules(
            get_alphabet(self.section.alphabet),
            self.data.assembly,
            min_length=self.section.k,
            repeats="keep",
            place="[partner]",
        )

    def sources(self, records: pd.DataFrame) -> list[SequencesOf]:
        """Return the sources of partners for these records."""
        if self.section.files:
            files = sequence_files(self.section.files, Fields())
        else:
            columns = {str(name): column for name, column in self.data.columns.items()}
            columns["sequence"] = self.section.column
            fields = Fields(columns=columns, numbered=self.data.ids == "numbered")
            files = sequence_files([path for path, _ in self.data.files], fields)
        wanted = set(records["id"])
        return [SequencesOf(file, wanted) for file in files]


@dataclass
class SequencesOf:
    """The records of a file whose ids are wanted; other records are counted."""

    file: SequenceFile
    wanted: set[str]
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield ids and letters; see `data.sources.Source`."""
        self.counts.clear()
        for record in self.file.records(policy, summary):
            if record.id in self.wanted:
                yield Record(record.id, record.letters)
            else:
                self.counts["partners with other ids than the kept records, left out"] += 1

    def about(self) -> dict[str, Any]:
        """Return the path, hash and number of unused records."""
        return self.file.about() | {"counts": dict(self.counts)}
