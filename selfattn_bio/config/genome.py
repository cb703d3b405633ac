"""Parts of [data] for a genome: windows of intervals, negatives, labels and tracks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from selfattn_bio.config.section import Fraction, Paths, Positive, Section, Seed


class WindowsSection(Section):
    """Common settings for turning intervals into windows."""

    feature: str = Field(
        "",
        description="feature type to use from GFF or GTF files, such as gene; required if a file "
        "has several",
    )
    at_ends: Literal["drop", "pad", "error"] = Field(
        "drop",
        description="windows that exceed a chromosome: drop = remove and count, pad = fill with N "
        "and count, error = stop",
    )


class WholeWindows(WindowsSection):
    """Use the intervals as they are."""

    kind: Literal["whole"] = "whole"


class CenteredWindows(WindowsSection):
    """Use windows of a fixed width around one position of each interval."""

    kind: Literal["centered"] = "centered"
    width: Positive = Field(description="bp")
    center: Literal["middle", "summit", "five_prime"] = Field(
        "middle", description="position in the interval; summit = column 10 of narrowPeak"
    )


class FlankedWindows(WindowsSection):
    """Extend intervals, or their 5' ends, upstream and downstream on their strand."""

    kind: Literal["flanked"] = "flanked"
    upstream: int = Field(0, ge=0, description="bp")
    downstream: int = Field(
        0, ge=0, description="bp; with of = five_prime, the base at the 5' end is the first of them"
    )
    of: Literal["interval", "five_prime"] = Field(
        "interval", description="extend the complete interval, or only its 5' end"
    )

    def problems(self) -> Iterator[str]:
        if self.of == "five_prime" and self.upstream + self.downstream == 0:
            yield "windows around the 5' end are empty; set upstream or downstream above 0"


class TiledWindows(WindowsSection):
    """Tile each interval with windows of a fixed width, one every `step` bp."""

    kind: Literal["tiled"] = "tiled"
    width: Positive = Field(description="bp")
    step: Positive = Field(description="bp; windows overlap if it is smaller than width")


Windows = Annotated[
    WholeWindows | CenteredWindows | FlankedWindows | TiledWindows, Field(discriminator="kind")
]


class NegativesSection(Section):
    """Common settings for generated negatives."""

    per_positive: Positive = Field(1, description="negatives per positive")
    seed: Seed = 0
    may_lack: Fraction = Field(
        0.01,
        description="largest fraction of negatives that may not be found before an error is raised",
    )


class GenomeNegatives(NegativesSection):
    """Common settings for negatives from the genome.

    They never overlap a positive, another negative, N or an excluded interval.
    """

    exclude: Paths | None = Field(
        None, description="BED or GFF files of intervals that no negative may overlap"
    )


class MatchedNegatives(GenomeNegatives):
    """Sample windows with the length and GC content of each positive from its chromosome."""

    kind: Literal["matched"] = "matched"
    tolerance: Fraction = Field(
        0.02,
        description="largest difference in GC content if no window with the same GC content is "
        "sampled",
    )


class NeighbourNegatives(GenomeNegatives):
    """Use windows next to each positive, with its length."""

    kind: Literal["neighbours"] = "neighbours"
    distance: int = Field(0, ge=0, description="bp between a positive and the nearest window")
    steps: Positive = Field(
        10, description="number of windows tried on each side, from near to far"
    )


class ShuffledNegatives(NegativesSection):
    """Shuffle the positives and keep their k-let counts."""

    kind: Literal["shuffled"] = "shuffled"
    k: int = Field(2, ge=1, le=8, description="2 = dinucleotides")


AnyNegatives = Annotated[
    Annotated[Paths, Tag("files")]
    | Annotated[MatchedNegatives, Tag("matched")]
    | Annotated[NeighbourNegatives, Tag("neighbours")]
    | Annotated[ShuffledNegatives, Tag("shuffled")],
    Discriminator(
        lambda value: (
            value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "files")
        )
    ),
]


class ScoreLabels(Section):
    """Label intervals 1 if their score is at least `threshold`, otherwise 0."""

    kind: Literal["score"] = "score"
    threshold: float = Field(description="minimum score: column 5 of BED, column 6 of GFF")


class OverlapLabels(Section):
    """Label windows 1 if intervals of other files cover enough of them, otherwise 0."""

    kind: Literal["overlap"] = "overlap"
    files: Paths = Field(description="BED or GFF")
    feature: str = Field("", description="feature type to use from GFF or GTF files")
    bases: Positive = Field(1, description="minimum number of covered bp")
    fraction: float = Field(
        0.0, ge=0, le=1, description="minimum fraction of the window that is covered"
    )


Label = Annotated[
    Annotated[str, Tag("column")]
    | Annotated[ScoreLabels, Tag("score")]
    | Annotated[OverlapLabels, Tag("overlap")],
    Discriminator(
        lambda value: (
            value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "column")
        )
    ),
]


class NumberTrack(Section):
    """Use numbers along the genome as target columns.

    The column is NAME for a complete window, or NAME_0, NAME_1, ... for its bins on its strand.
    """

    kind: Literal["number"] = "number"
    path: str = Field(
        min_length=1,
        description="bigWig or bedGraph; BED and GFF count as 1 where covered and 0 elsewhere",
    )
    feature: str = Field("", description="feature type to use from GFF or GTF files")
    bin: Positive | None = Field(
        None, description="bp; must divide the width of the windows, which must be equal"
    )
    summary: Literal["mean", "max", "sum"] = Field(
        "mean", description="over positions with a number"
    )


class LetterTrack(Section):
    """Label each position from a number, as target column NAME.

    The label is 1 from `threshold` upwards, 0 below, and - where there is no number.
    """

    kind: Literal["letters"] = "letters"
    path: str = Field(
        min_length=1,
        description="bigWig or bedGraph; BED and GFF count as 1 where covered and 0 elsewhere",
    )
    feature: str = Field("", description="feature type to use from GFF or GTF files")
    threshold: float = Field(0.5, description="lowest number with label 1")


class FeatureTrack(Section):
    """Label each position by GFF type, as target column NAME.

    If several of the named types cover a position, the last one in `classes` is used.
    """

    kind: Literal["features"] = "features"
    path: str = Field(min_length=1, description="GFF or GTF")
    classes: dict[
        Annotated[str, Field(min_length=1)], Annotated[str, Field(pattern=r"^[!-,.-~]$")]
    ] = Field(
        min_length=1,
        description="maps types to characters, such as { gene = 'i', exon = 'e' }; if several "
        "cover a position, the last one is used",
    )
    other: str = Field("0", pattern=r"^[!-,.-~]$", description="character of all other positions")


TrackTarget = Annotated[NumberTrack | LetterTrack | FeatureTrack, Field(discriminator="kind")]
