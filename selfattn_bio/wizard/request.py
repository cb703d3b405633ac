"""Check the options of `init` together, before any file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from selfattn_bio.errors import RunFileError
from selfattn_bio.files import BED_FILES, GFF_FILES, INTERVAL_FILES
from selfattn_bio.split_names import SPLITS
from selfattn_bio.wizard.columns import SPLIT_WORDS

# Negatives generated from the positives, with a description
MADE = {
    "shuffled": "shuffled positives with the same pairs of neighbouring bases or residues",
    "matched": "windows of the length and GC content of each positive, from its chromosome",
    "neighbours": "windows next to each positive",
}
IN_JASPAR = ("vertebrates", "insects", "plants", "fungi", "nematodes")
DATABASES = {group: f"jaspar:{group}" for group in IN_JASPAR} | {"bacteria": "none"}
SIGNAL = ("tracks", "profile")  # groups of files with signal of a genome
WAYS = (
    "Give `positives` and `negatives`, or one table with `sequences` TABLE, or `train`, `valid` "
    "and `test`, or `sequences` with `targets` TABLE, or `sequences` PEAKS, `genome` and `tracks`, "
    "or `sequences` TABLE with chrom, start and end, and `genome`"
)


@dataclass(frozen=True)
class Request:
    """The options of `init`.

    Parameters
    ----------
    files
        Files by group: positives and negatives; or sequences; or train, valid and test.
    made
        Kind of negatives to generate from the positives, instead of files.
    tracks, profile
        Files of signal along the genome: their means, or their counts per base, are learned.
    columns
        Columns to learn; empty for the obvious one.
    alphabet, sequence_column, id_column, split_column, feature, points, pretrained
        Empty if not named.
    organism
        A key of `DATABASES`; empty if not named.
    """

    name: str
    files: dict[str, list[str]]
    made: str = ""
    tracks: Sequence[str] = ()
    profile: Sequence[str] = ()
    targets: str = ""
    columns: tuple[str, ...] = field(default=())
    alphabet: str = ""
    sequence_column: str = ""
    id_column: str = ""
    split_column: str = ""
    genome: str = ""
    feature: str = ""
    organism: str = ""
    points: str = ""
    pretrained: str = ""

    @classmethod
    def of(
        cls, name: str, files: Mapping[str, str | Path | Sequence[str | Path]], **options: Any
    ) -> Request:
        """Check the options of `init` together, and group the files.

        Parameters
        ----------
        name
            Name of the task.
        files
            Files by option: positives, negatives, sequences, train, valid, test, tracks, profile.
            Negatives may be a kind of `MADE`.
        options
            The other attributes, except `made`, `tracks` and `profile`.

        Raises
        ------
        RunFileError
            If they contradict each other.
        """
        given = {
            key: [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
            for key in ("positives", "negatives", "sequences", *SPLITS, *SIGNAL)
            if (paths := files.get(key))
        }
        is_made = given.get("negatives") in [[kind] for kind in MADE]
        made = given.pop("negatives")[0] if is_made else ""
        request = cls(name, {}, **options)
        if request.genome and list(given) == ["positives"] and not made:
            made = "matched"
        if "sequences" in given:
            given = _by_split(given.pop("sequences")) | given
        _check_groups(list(given), made)
        tracks, profile = (given.pop(key, []) for key in SIGNAL)
        every = [path for of in given.values() for path in of]
        if twice := sorted({path for path in every if every.count(path) > 1}):
            RunFileError.fail("this file is given twice", twice[0], "Name each file once")
        if "-" in every:
            message = "init cannot read standard input (-), because it reads each file twice"
            raise RunFileError(message, hint="Save the data in a file")
        request = replace(request, files=given, made=made, tracks=tracks, profile=profile)
        _check_genome(request)
        if request.organism and request.organism not in DATABASES:
            message = f"unknown `organism` {request.organism!r}"
            raise RunFileError(message, hint=f"Choose from {', '.join(DATABASES)}")
        refused = ["sequence_column", "id_column"] if request.genome else []
        if request.has_classes or request.genome:
            refused += ["targets"] if request.tables else ["targets", "columns"]
        if wrong := [name for name in refused if getattr(request, name)]:
            other = "`genome`" if request.genome else "`positives` and `negatives`"
            raise RunFileError(f"`{wrong[0]}` cannot be used with {other}", hint=WAYS)
        return request

    @property
    def place(self) -> str:
        """Name the files for a message."""
        first, *others = [path for files in self.files.values() for path in files]
        return f"{first} and {len(others)} more" if len(others) > 1 else ", ".join([first, *others])

    @property
    def tables(self) -> list[str]:
        """Return the tables of intervals whose columns may be learned."""
        if not self.genome or self.has_classes or self.tracks or self.profile or self.points:
            return []
        paths = [path for files in self.files.values() for path in files]
        return [] if any(path.lower().endswith(INTERVAL_FILES) for path in paths) else paths

    @property
    def has_classes(self) -> bool:
        """Return whether the classes are separate files: positives and negatives."""
        return "positives" in self.files


def _by_split(paths: Sequence[str]) -> dict[str, list[str]]:
    """Group files by the split in their names, after listing folders.

    Without both train and test among the names, all files are sequences.
    """
    files: list[str] = []
    for path in paths:
        files += _files_of_folder(Path(path)) if Path(path).is_dir() else [path]
    found = {
        split: [path for path in files if split_of_file(Path(path).name) == split]
        for split in SPLITS
    }
    if found["train"] and found["test"] and sum(map(len, found.values())) == len(files):
        return {split: paths for split, paths in found.items() if paths}
    return {"sequences": files}


def _files_of_folder(folder: Path) -> list[str]:
    """List the files of a folder whose names contain a split."""
    within = sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )
    named = {str(path): split for path in within if (split := split_of_file(path.name))}
    if not {"train", "test"} <= set(named.values()):
        found = ", ".join(path.name for path in within[:8]) or "no files"
        hint = "Name the files: `sequences` FILE, or `train`, `valid` and `test`"
        message = f"found no file names with train and test in this folder: {found}"
        RunFileError.fail(message, folder, hint)
    return list(named)


def _check_groups(groups: list[str], made: str) -> None:
    if groups == ["positives"] and not made:
        hint = (
            "Give a file, or `negatives` shuffled to generate shuffled positives with the same "
            "pairs of neighbouring bases or residues. BED files with `genome` GENOME.fa may also "
            "have `negatives` matched (windows of the same length and GC content)"
        )
        raise RunFileError("`positives` needs `negatives`", hint=hint)
    if made and groups != ["positives"]:
        raise RunFileError(f"`negatives` {made} can be combined only with `positives`", hint=WAYS)
    if groups not in (
        ["positives"],
        ["positives", "negatives"],
        ["sequences"],
        *(["sequences", signal] for signal in SIGNAL),
        [*SPLITS],
        ["train", "test"],
    ):
        if not groups:
            raise RunFileError("no sequence files given", hint=WAYS)
        options = " and ".join(f"`{group}`" for group in groups)
        is_part = len(groups) == 1 or set(groups) <= set(SPLITS)
        message = "is not enough to learn from" if is_part else "cannot be combined"
        raise RunFileError(f"{options} {message}", hint=WAYS)


def _check_genome(request: Request) -> None:
    given, genome, made = request.files, request.genome, request.made
    has_others = bool(request.tracks or request.profile or request.points)
    if request.points and (list(given) != ["sequences"] or not genome):
        hint = "Give windows with `sequences` WINDOWS.bed and `genome` GENOME.fa"
        raise RunFileError("`points` needs windows of a genome", hint=hint)
    paths = [path for files in given.values() for path in files]
    intervals = [path for path in paths if path.lower().endswith(INTERVAL_FILES)]
    if intervals and not genome:
        hint = (
            "Give it with `genome` GENOME.fa. Negatives may be intervals too; without "
            "`negatives`, matched ones are generated"
        )
        raise RunFileError("intervals need their genome", place=intervals[0], hint=hint)
    has_others |= not any(path.lower().endswith((*BED_FILES, *GFF_FILES)) for path in paths)
    if genome and "positives" not in given and not has_others:
        hint = "Or give `tracks` or `profile`, or a table with chrom, start and end (docs/data.md)"
        raise RunFileError("`genome` needs `positives`", hint=hint)
    if made in ("matched", "neighbours") and not genome:
        message = f"`negatives` {made} needs a genome to take windows from"
        raise RunFileError(message, hint="Give it with `genome`, or choose `negatives` shuffled")


def split_of_file(name: str) -> str | None:
    """Return the split in the name of a file, or None.

    It is train for `train.csv` and valid for `my_dev.tsv.gz`.
    """
    words = {
        SPLIT_WORDS[word] for word in re.split(r"[_\-. ]+", name.lower()) if word in SPLIT_WORDS
    }
    return words.pop() if len(words) == 1 else None
