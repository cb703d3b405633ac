"""[data] and [partner]: files of sequences, labels and targets, and the second of two inputs.

`genome` has the tables for intervals. The second input is another sequence of each record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator

from selfattn_bio.config.genome import AnyNegatives, GenomeNegatives, Label, TrackTarget, Windows
from selfattn_bio.config.section import (
    MAX_PROTEIN_K,
    AlphabetName,
    Names,
    Paths,
    Positive,
    Section,
    left_out,
    stride_problems,
)
from selfattn_bio.files import BED_FILES, GFF_FILES, INTERVAL_FILES
from selfattn_bio.split_names import SPLITS

RecordField = Literal["id", "sequence", "chrom", "start", "end", "strand", "group"]


class Data(Section):
    """[data]: input files.

    Formats are FASTA, FASTQ, GenBank, EMBL, CSV, TSV and Parquet, plain or compressed with gz,
    bgzip or zstd. Paths are relative to the working directory of the command.

    Attributes
    ----------
    alphabet
        alphabet of the sequences; rna has U and one strand, ssdna is DNA that is read on the
        given strand only
    assembly
        genome assembly of the coordinates in the headers, such as dm3
    positives
        sequence files with label 1
    negatives
        sequence files with label 0, or a table that describes how to generate them from the
        positives
    sequences
        sequence files instead of positives and negatives: with label, or for another
        [objective] than binary
    train
        training sequences, if train, valid and test are separate files
    valid
        validation sequences; without them [split] valid_fraction of train is used
    test
        test sequences, in the same formats as `sequences`
    targets
        table with one row per record: a column id, or the one that columns names, and those
        named by [objective]; not needed if the sequence files have these columns
    label
        source of the label: for sequences a column, header attribute (label=1) or group of
        header; for windows a table of kind score or overlap
    positive
        labels that count as 1, all others count as 0; not needed if labels are 1 and 0
    header
        regular expression to search in each header, and in the ids of tables; its group is the
        column label, or columns named by its named groups
    columns
        column names of a table, such as { sequence = 'seq' }; chrom, start, end, strand and group
        with an empty name are not read
    ids
        numbered: name the records FILE_1, FILE_2 ... by their order, for files with repeated or
        missing ids
    keep_duplicates
        keep records whose sequence occurred earlier; they are counted in any case
    soft_mask
        lower case; hard = read as N (X for protein)
    gaps
        - and . in sequences
    min_length
        shorter records are dropped and counted
    max_length
        longer records are dropped and counted
    genome
        FASTA file (plain or bgzip) of the BED, narrowPeak, GFF and GTF files, and of tables with
        columns chrom, start and end
    windows
        how intervals become windows; kind = whole if not given
    tracks
        target columns for windows of `sequences`, each a table [data.tracks.NAME]
    """

    alphabet: AlphabetName = "dna"
    assembly: str = ""
    positives: Paths | None = None
    negatives: AnyNegatives | None = None
    sequences: Paths | None = None
    train: Paths | None = left_out(None)
    valid: Paths | None = left_out(None)
    test: Paths | None = left_out(None)
    targets: str | None = None
    label: Label = ""
    positive: Names | None = None
    header: str = ""
    columns: dict[RecordField, str] = Field(default_factory=dict)
    ids: Literal["given", "numbered"] = left_out("given")
    keep_duplicates: bool = left_out(False)
    soft_mask: Literal["ignore", "hard"] = "ignore"
    gaps: Literal["refuse", "remove"] = "refuse"
    min_length: Positive = 1
    max_length: Positive = 100000
    genome: str | None = None
    windows: Windows | None = None
    tracks: dict[Annotated[str, Field(pattern="^[A-Za-z0-9_]+$")], TrackTarget] = Field(
        default_factory=dict
    )

    def problems(self) -> Iterator[str]:
        given = [
            name for name in ("positives", "negatives", "sequences", *SPLITS) if getattr(self, name)
        ]
        if given not in (["positives", "negatives"], ["sequences"], [*SPLITS], ["train", "test"]):
            found = ", ".join(given) or "none of them"
            yield (
                "needs positives and negatives, or sequences, or train and test (and valid); found "
                f"{found}"
            )
        for name in ("targets", "label", "tracks"):
            if getattr(self, name) and not self.unlabelled:
                yield f"{name} can only be used with sequences, not with positives and negatives"
        if self.ids == "numbered" and self.targets:
            yield (
                "targets are joined by id, so ids = 'numbered' cannot be used with them; put the "
                "columns in the sequence tables"
            )
        if self.positive and not self.label:
            yield "positive needs label, the column or attribute with the labels"
        groups = {"positives": self.positives, "negatives": self.negatives, **self.given_splits}
        seen: dict[str, str] = {}
        for name, paths in groups.items():
            for path in paths if isinstance(paths, tuple) else ():
                other = seen.setdefault(os.path.normpath(path), name)
                if other != name:
                    yield f"{other} and {name} are the same file, {path}"
        intervals = [path for path, _ in self.files if path.lower().endswith(INTERVAL_FILES)]
        if intervals and not self.genome:
            yield (
                f"{intervals[0]} contains intervals; set genome to the FASTA file of their genome"
            )
        if self.genome and self.alphabet == "protein":
            yield f"genome cannot be used with alphabet {self.alphabet!r}"
        if self.genome and (
            (isinstance(self.label, str) and self.label) or self.header or self.columns
        ):
            yield (
                "a label column, header and columns cannot be used with genome; use label kind "
                "'score' or 'overlap'"
            )
        needs = {
            "windows": self.windows,
            "tracks": self.tracks,
            "label kinds 'score' and 'overlap'": isinstance(self.label, Section),
            "negatives from the genome": isinstance(self.negatives, GenomeNegatives),
        }
        if missing := [what for what, value in needs.items() if value and not self.genome]:
            yield f"genome is not set; {missing[0]} cannot be used without it"
        if self.tracks and self.targets:
            yield "targets and tracks cannot be used together; remove one"
        if self.min_length > self.max_length:
            yield f"min_length {self.min_length} is greater than max_length {self.max_length}"
        yield from self._repeated_columns()

    def _repeated_columns(self) -> Iterator[str]:
        # a track's name stands for all its columns in [objective]
        tracks = self.track_columns.items()
        columns = [each for name, of in tracks for each in of + [name] * (len(of) > 1)]
        if repeated := sorted({column for column in columns if columns.count(column) > 1}):
            yield f"two tracks have the name {repeated[0]!r}; rename a file, or [data.tracks.NAME]"

    @field_validator("header")
    @classmethod
    def _header_is_a_pattern(cls, header: str) -> str:
        try:
            pattern = re.compile(header)
        except re.error as error:
            raise ValueError(f"header {header!r} is not a regular expression: {error}") from None
        if header and (pattern.groups == 0 or pattern.groups > max(1, len(pattern.groupindex))):
            raise ValueError(
                f"header {header!r} needs one group, such as 'class=(\\w+)', or only named groups"
            )
        return header

    @property
    def unlabelled(self) -> Paths:
        """Return the files whose records carry their own labels or targets.

        These are `sequences`, or `train`, `valid` and `test`.
        """
        return self.sequences or tuple(
            path for files in self.given_splits.values() for path in files
        )

    @property
    def given_splits(self) -> dict[str, Paths]:
        """Return the files of each split, if the splits are separate files."""
        return {name: files for name in SPLITS if (files := getattr(self, name))}

    @property
    def files(self) -> list[tuple[str, int | None]]:
        """Return each sequence file with the label of its records.

        The label is None if the file does not determine it.
        """
        negatives = self.negatives if isinstance(self.negatives, tuple) else None
        labelled: list[tuple[Paths | None, int | None]] = [
            (self.positives, 1),
            (negatives, 0),
            (self.unlabelled, None),
        ]
        return [(path, label) for paths, label in labelled for path in paths or ()]

    @property
    def inputs(self) -> list[str]:
        """Return all input files."""
        others = (
            getattr(self.negatives, "exclude", None),
            getattr(self.label, "files", None),
            self.track_files,
        )
        return [
            *(path for path, _ in self.files),
            *(path for path in (self.targets, self.genome) if path),
            *(path for paths in others for path in paths or ()),
        ]

    @property
    def track_files(self) -> Paths:
        """Return the files of all tracks."""
        return tuple(file for track in self.tracks.values() for file in track.files)

    @property
    def track_columns(self) -> dict[str, list[str]]:
        """Return the target columns of each track, in order."""
        width = getattr(self.windows, "width", None)
        return {name: track.columns(name, width) for name, track in self.tracks.items()}

    @property
    def may_bring_columns(self) -> bool:
        """Return whether the files may contain target columns, as all but BED and GFF files do.

        This is decided by file names, because the files are not opened here.
        """
        without = (*BED_FILES, *GFF_FILES)
        has_others = any(not path.lower().endswith(without) for path in self.unlabelled)
        return bool(self.tracks) or not self.genome or has_others


class Partner(Section):
    """[partner]: a second sequence for each record.

    Attributes
    ----------
    alphabet
        alphabet of the partners
    files
        files in any format of [data]; the ids are those of the records
    column
        instead of files: column with this sequence in the tables of [data]
    k
        positions per token
    stride
        positions between the starts of tokens
    """

    kind: Literal["sequence"] = "sequence"
    alphabet: AlphabetName = "dna"
    files: Paths | None = None
    column: str = ""
    k: int = Field(3, ge=1, le=8)
    stride: int = Field(1, ge=1)

    def problems(self) -> Iterator[str]:
        if bool(self.files) == bool(self.column):
            yield f"needs files or column{', not both' if self.files else ''}"
        yield from stride_problems(self.k, self.stride)
        if self.alphabet == "protein" and self.k > MAX_PROTEIN_K:
            yield f"k {self.k} is too large for protein; use at most {MAX_PROTEIN_K}"
