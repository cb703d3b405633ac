"""Parts of [data] for a genome: windows of intervals, negatives, labels and tracks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from selfattn_bio.config.section import Fraction, Paths, Positive, Section, Seed, left_out


def kind_of(section: Any, default: str | None = None) -> Any:
    """Return the kind of a value before it is validated; `default` if it is no table."""
    return section.get("kind") if isinstance(section, dict) else getattr(section, "kind", default)


class WindowsSection(Section):
    """Common settings for turning intervals into windows.

    Attributes
    ----------
    feature
        feature type to use from GFF or GTF files, such as gene; required if a file has several
    at_ends
        windows that exceed a chromosome: drop = remove and count, pad = fill with N and count,
        error = stop
    """

    feature: str = ""
    at_ends: Literal["drop", "pad", "error"] = "drop"


class WholeWindows(WindowsSection):
    """Use the intervals as they are."""

    kind: Literal["whole"] = "whole"


class CenteredWindows(WindowsSection):
    """Use windows of a fixed width around one position of each interval.

    Attributes
    ----------
    width
        bp
    center
        position in the interval; summit = column 10 of narrowPeak
    """

    kind: Literal["centered"] = "centered"
    width: Positive
    center: Literal["middle", "summit", "five_prime"] = "middle"


class FlankedWindows(WindowsSection):
    """Extend intervals, or their 5' ends, upstream and downstream on their strand.

    Attributes
    ----------
    upstream
        bp
    downstream
        bp; with of = five_prime, the base at the 5' end is the first of them
    of
        extend the complete interval, or only its 5' end
    """

    kind: Literal["flanked"] = "flanked"
    upstream: int = Field(0, ge=0)
    downstream: int = Field(0, ge=0)
    of: Literal["interval", "five_prime"] = "interval"

    def problems(self) -> Iterator[str]:
        if self.of == "five_prime" and self.upstream + self.downstream == 0:
            yield "windows around the 5' end are empty; set upstream or downstream above 0"

    @property
    def width(self) -> int | None:
        """Return the width of all windows; None if they differ."""
        return self.upstream + self.downstream if self.of == "five_prime" else None


class TiledWindows(WindowsSection):
    """Tile each interval with windows of a fixed width, one every `step` bp.

    Attributes
    ----------
    width
        bp
    step
        bp; windows overlap if it is smaller than width
    """

    kind: Literal["tiled"] = "tiled"
    width: Positive
    step: Positive


Windows = Annotated[
    WholeWindows | CenteredWindows | FlankedWindows | TiledWindows, Field(discriminator="kind")
]


class NegativesSection(Section):
    """Common settings for generated negatives.

    Attributes
    ----------
    per_positive
        negatives per positive
    may_lack
        largest fraction of negatives that may not be found before an error is raised
    """

    per_positive: Positive = 1
    seed: Seed = 0
    may_lack: Fraction = 0.01


class GenomeNegatives(NegativesSection):
    """Common settings for negatives from the genome.

    They never overlap a positive, another negative, N or an excluded interval.

    Attributes
    ----------
    exclude
        BED or GFF files of intervals that no negative may overlap
    """

    exclude: Paths | None = None


class MatchedNegatives(GenomeNegatives):
    """Sample windows with the length and GC content of each positive from its chromosome.

    Attributes
    ----------
    tolerance
        largest difference in GC content if no window with the same GC content is sampled
    """

    kind: Literal["matched"] = "matched"
    tolerance: Fraction = 0.02


class NeighbourNegatives(GenomeNegatives):
    """Use windows next to each positive, with its length.

    Attributes
    ----------
    distance
        bp between a positive and the nearest window
    steps
        number of windows tried on each side, from near to far
    """

    kind: Literal["neighbours"] = "neighbours"
    distance: int = Field(0, ge=0)
    steps: Positive = 10


class ShuffledNegatives(NegativesSection):
    """Shuffle the positives and keep their k-let counts.

    Attributes
    ----------
    k
        2 = dinucleotides
    """

    kind: Literal["shuffled"] = "shuffled"
    k: int = Field(2, ge=1, le=8)


AnyNegatives = Annotated[
    Annotated[Paths, Tag("files")]
    | Annotated[MatchedNegatives, Tag("matched")]
    | Annotated[NeighbourNegatives, Tag("neighbours")]
    | Annotated[ShuffledNegatives, Tag("shuffled")],
    Discriminator(lambda value: kind_of(value, "files")),
]


class ScoreLabels(Section):
    """Label intervals 1 if their score is at least `threshold`, otherwise 0.

    Attributes
    ----------
    threshold
        minimum score: column 5 of BED, column 6 of GFF
    """

    kind: Literal["score"] = "score"
    threshold: float


class OverlapLabels(Section):
    """Label windows 1 if intervals of other files cover enough of them, otherwise 0.

    Attributes
    ----------
    files
        BED or GFF
    feature
        feature type to use from GFF or GTF files
    bases
        minimum number of covered bp
    fraction
        minimum fraction of the window that is covered
    """

    kind: Literal["overlap"] = "overlap"
    files: Paths
    feature: str = ""
    bases: Positive = 1
    fraction: float = Field(0.0, ge=0, le=1)


Label = Annotated[
    Annotated[str, Tag("column")]
    | Annotated[ScoreLabels, Tag("score")]
    | Annotated[OverlapLabels, Tag("overlap")],
    Discriminator(lambda value: kind_of(value, "column")),
]


def _expand(paths: Paths) -> Paths:
    """Replace patterns by the files that match them, in alphabetical order."""
    found = [sorted(glob(path, recursive=True)) if has_magic(path) else [path] for path in paths]
    if empty := [path for path, files in zip(paths, found, strict=True) if not files]:
        raise ValueError(f"no file matches {empty[0]!r}; patterns are relative to this folder")
    return tuple(file for files in found for file in files)


class TrackSection(Section):
    """Common settings of tracks; the target column is NAME by default."""

    kind: str
    path: Any

    @property
    def files(self) -> Paths:
        """Return the files of the track."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def columns(self, name: str, width: int | None) -> list[str]:
        """Return the columns of a track, for windows of `width` bp (None if widths differ)."""
        return [name]


class NumberTrack(TrackSection):
    """Use numbers along the genome as target columns.

    The column of one file is NAME. With several files, each column has the name of its file
    without the extension. With `bin`, the columns are NAME_0, NAME_1, ... for the bins on the
    strand of the window.

    Attributes
    ----------
    path
        one or more files or patterns such as 'atac/*.bw': bigWig or bedGraph; BED and GFF count
        as 1 where covered and 0 elsewhere
    feature
        feature type to use from GFF or GTF files
    width
        bp around the centre of the window to summarise; the complete window if not given
    bin
        bp; must divide the width, or that of the windows, which must be equal
    summary
        over positions with a number; log_sum = log(1 + sum)
    missing
        number of positions without data, such as 0; they are ignored if not given
    gini_std
        keep only windows that differ between the files: those whose Gini index is more than this
        many standard deviations above the mean of all windows, after dividing each column by its
        mean
    """

    kind: Literal["number"] = "number"
    path: Annotated[Paths, AfterValidator(_expand)]
    feature: str = ""
    width: Positive | None = left_out(None)
    bin: Positive | None = None
    summary: Literal["mean", "max", "sum", "log_sum"] = "mean"
    missing: float | None = left_out(None)
    gini_std: float | None = left_out(None)

    def problems(self) -> Iterator[str]:
        if self.gini_std is not None and (len(self.path) < 2 or self.bin):
            yield "gini_std compares the files of a track; give two or more, and no bin"

    def columns(self, name: str, width: int | None) -> list[str]:
        stems = [re.sub(r"\.\w+(\.b?gz)?$", "", Path(path).name) for path in self.path]
        names, length = stems if len(stems) > 1 else [name], self.width or width
        if not self.bin or not length:
            return names
        return [f"{each}_{i}" for each in names for i in range(length // self.bin)]


class LetterTrack(TrackSection):
    """Label each position from a number, as target column NAME.

    The label is 1 from `threshold` upwards, 0 below, and - where there is no number.

    Attributes
    ----------
    path
        bigWig or bedGraph; BED and GFF count as 1 where covered and 0 elsewhere
    feature
        feature type to use from GFF or GTF files
    threshold
        lowest number with label 1
    """

    kind: Literal["letters"] = "letters"
    path: str = Field(min_length=1)
    feature: str = ""
    threshold: float = 0.5


class FeatureTrack(TrackSection):
    """Label each position by GFF type, as target column NAME.

    If several of the named types cover a position, the last one in `classes` is used.

    Attributes
    ----------
    path
        GFF or GTF
    classes
        maps types to characters, such as { gene = 'i', exon = 'e' }; if several cover a
        position, the last one is used
    other
        character of all other positions
    """

    kind: Literal["features"] = "features"
    path: str = Field(min_length=1)
    classes: dict[
        Annotated[str, Field(min_length=1)], Annotated[str, Field(pattern=r"^[!-,.-~]$")]
    ] = Field(min_length=1)
    other: str = Field("0", pattern="^[!-,.-~]$")


TrackTarget = Annotated[NumberTrack | LetterTrack | FeatureTrack, Field(discriminator="kind")]
