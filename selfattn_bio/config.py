"""The run file: one TOML a task, read once into frozen models; the whole truth about a run.

Hides: TOML, defaults, ranges, "did you mean", how a variant overlays the run. Anyone may import it; it imports only errors.
It is long because the vocabulary of the run file stands in one place, most of it fields with their ranges, and because what a section may
hold beside another (objective and model, a variant, a job of a sweep) is checked where both are known; no part has another importer.
The defaults are the configuration of `workflows/tasks/promoter.toml`, so a user's own run file needs to name its data alone.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FieldSerializationInfo,
    Tag,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from selfattn_bio.errors import RunFileError, SelfAttnBioError
from selfattn_bio.files import INTERVAL_FILES

MAX_PROTEIN_K = 4
MOTIF_DATABASES = tuple(f"jaspar:{group}" for group in ("fungi", "insects", "nematodes", "plants", "vertebrates"))  # those that ship
BRINGS_COLUMNS = r"\.(csv|tsv|tab|txt|parquet|gb|gbk|gbff|genbank|embl)(\.(gz|bgz|zst|zstd))?$"
BAND_HEAD_DIMS, FLEX_HEAD_DIM = (16, 32, 64), 16  # what these kernels know, at least

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
T = TypeVar("T")
Listed = Annotated[T, Field(strict=False)]  # a tuple, which TOML has not: it is a list there
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1, strict=False),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
]
Paths = Names
RecordField = Literal["id", "sequence", "chrom", "start", "end", "strand", "group"]


class Section(BaseModel):
    """A table of the run file: frozen, no value read as another type than it has (but 1 as 1.0), finite numbers, and an unknown key is an
    error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(key, cls.model_fields, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(cls.model_fields))}"
                raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        return values


SectionT = TypeVar("SectionT", bound=Section)


# ------------------------------------------------------------------------------------------------ data from a genome
class WindowsSection(Section):
    """What all ways from intervals to windows share."""

    feature: str = Field(
        "", description="type of the lines of GFF or GTF files that is taken, such as gene; needed where they have several"
    )
    at_ends: Literal["drop", "pad", "error"] = Field(
        "drop", description="windows off the end of a chromosome: dropped and counted, padded with N and counted, or refused"
    )


class WholeWindows(WindowsSection):
    """The intervals as they are."""

    kind: Literal["whole"] = "whole"


class CenteredWindows(WindowsSection):
    """Windows of one width about a letter of each interval."""

    kind: Literal["centered"] = "centered"
    width: Positive = Field(description="letters")
    center: Literal["middle", "summit", "five_prime"] = Field(
        "middle", description="letter of the interval; summit = column 10 of narrowPeak"
    )


class FlankedWindows(WindowsSection):
    """Intervals, or their 5' ends, and what lies before and behind on their strand."""

    kind: Literal["flanked"] = "flanked"
    upstream: int = Field(0, ge=0, description="letters")
    downstream: int = Field(0, ge=0, description="letters; about the 5' end, its own letter is the first of them")
    of: Literal["interval", "five_prime"] = "interval"

    @model_validator(mode="after")
    def _has_letters(self) -> FlankedWindows:
        if self.of == "five_prime" and self.upstream + self.downstream == 0:
            raise ValueError("upstream or downstream must be > 0 about the 5' end, got 0 and 0")
        return self


class TiledWindows(WindowsSection):
    """Windows of one width, one every `step` letters of each interval."""

    kind: Literal["tiled"] = "tiled"
    width: Positive = Field(description="letters")
    step: Positive = Field(description="letters; smaller than the width, windows overlap")


Windows = Annotated[WholeWindows | CenteredWindows | FlankedWindows | TiledWindows, Field(discriminator="kind")]


class NegativesSection(Section):
    """What all made negatives share."""

    per_positive: Positive = Field(1, description="negatives to each positive")
    seed: Seed = 0
    may_lack: Fraction = Field(0.01, description="share of the negatives that may not be found; more is an error")


class GenomeNegatives(NegativesSection):
    """What negatives from the genome share: none overlaps a positive, another negative, N, or what is excluded."""

    exclude: Paths | None = Field(None, description="BED or GFF files of intervals that no negative may overlap")


class MatchedNegatives(GenomeNegatives):
    """Windows of the length and GC content of each positive, from its chromosome."""

    kind: Literal["matched"] = "matched"
    tolerance: Fraction = Field(0.02, description="largest difference in GC content, where no window of the very same is drawn")


class NeighbourNegatives(GenomeNegatives):
    """Windows beside each positive, of its length."""

    kind: Literal["neighbours"] = "neighbours"
    distance: int = Field(0, ge=0, description="letters between a positive and the nearest window")
    steps: Positive = Field(10, description="windows on either side that are tried, outwards")


class ShuffledNegatives(NegativesSection):
    """The positives shuffled, with the counts of k-lets as they are."""

    kind: Literal["shuffled"] = "shuffled"
    k: int = Field(2, ge=1, le=8, description="2 = dinucleotides")


Negatives = Annotated[
    Annotated[Paths, Tag("files")]
    | Annotated[MatchedNegatives, Tag("matched")]
    | Annotated[NeighbourNegatives, Tag("neighbours")]
    | Annotated[ShuffledNegatives, Tag("shuffled")],
    Discriminator(lambda value: value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "files")),
]


class ScoreLabels(Section):
    """Label 1 for intervals with a score from `threshold` up, 0 for others."""

    kind: Literal["score"] = "score"
    threshold: float = Field(description="of column 5 of BED, column 6 of GFF")


class OverlapLabels(Section):
    """Label 1 for windows that are covered enough by the intervals of other files, 0 for others."""

    kind: Literal["overlap"] = "overlap"
    files: Paths = Field(description="BED or GFF")
    feature: str = Field("", description="type of the lines of GFF or GTF files that is taken")
    bases: Positive = Field(1, description="covered letters, at least")
    fraction: float = Field(0.0, ge=0, le=1, description="covered share of the window, at least")


Label = Annotated[
    Annotated[str, Tag("column")] | Annotated[ScoreLabels, Tag("score")] | Annotated[OverlapLabels, Tag("overlap")],
    Discriminator(lambda value: value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "column")),
]


class NumberTrack(Section):
    """Numbers along the genome as columns of the targets: NAME for a whole window, or NAME_0, NAME_1 ... for its bins on its strand."""

    kind: Literal["number"] = "number"
    path: str = Field(min_length=1, description="bigWig, bedGraph, or BED and GFF as 1 where covered and 0 elsewhere")
    feature: str = Field("", description="type of the lines of GFF or GTF files that is taken")
    bin: Positive | None = Field(None, description="letters; must divide the windows, which then have one width")
    summary: Literal["mean", "max", "sum"] = Field("mean", description="over the letters that have a number")


class LetterTrack(Section):
    """One label a letter as column NAME of the targets: 1 where the number reaches `threshold`, 0 where not, - where there is none."""

    kind: Literal["letters"] = "letters"
    path: str = Field(min_length=1, description="bigWig, bedGraph, or BED and GFF as 1 where covered and 0 elsewhere")
    feature: str = Field("", description="type of the lines of GFF or GTF files that is taken")
    threshold: float = 0.5


class FeatureTrack(Section):
    """One label a letter as column NAME of the targets: the character of the last of the named GFF types that covers it."""

    kind: Literal["features"] = "features"
    path: str = Field(min_length=1, description="GFF or GTF")
    classes: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(pattern=r"^[!-,.-~]$")]] = Field(
        min_length=1,
        description="character by type, such as { gene = 'i', exon = 'e' }; of several types that cover a letter the last counts",
    )
    other: str = Field("0", pattern=r"^[!-,.-~]$", description="character of all other letters")


TrackTarget = Annotated[NumberTrack | LetterTrack | FeatureTrack, Field(discriminator="kind")]


# ---------------------------------------------------------------------------------------------------- data and split
class Data(Section):
    """[data]: which files hold what: FASTA, FASTQ, GenBank, EMBL, CSV, TSV or Parquet, plain, gz, bgzip or zstd. Paths are relative to the
    folder in which the command runs."""

    alphabet: Literal["dna", "protein"] = "dna"
    assembly: str = Field("", description="genome assembly of the coordinates in the headers, such as dm3")
    positives: Paths | None = Field(None, description="files of sequences of label 1")
    negatives: Negatives | None = Field(None, description="files of sequences of label 0, or a table of how they are made of the positives")
    sequences: Paths | None = Field(
        None, description="files of sequences in place of the two: with label, or for another [objective] than binary"
    )
    targets: str | None = Field(
        None, description="table with a column id and those that [objective] names, one row a record; none if sequences bring the columns"
    )
    label: Label = Field(
        "",
        description="of sequences: column, header attribute (label=1) or group of header with it; of windows a table, by score or overlap",
    )
    positive: Names | None = Field(None, description="the labels that are 1, all others being 0; none: labels are 1 and 0")
    header: str = Field("", description="regular expression found in each header: its group is the column label, or as named")
    columns: dict[RecordField, str] = Field(default_factory=dict, description="names of a table's columns: { sequence = 'seq' }")
    soft_mask: Literal["ignore", "keep", "hard"] = Field("ignore", description="lower case; keep: beside the letters; hard: read as N (X)")
    gaps: Literal["refuse", "remove"] = Field("refuse", description="- and . among the letters")
    min_length: Positive = Field(1, description="letters; shorter records are dropped and counted")
    max_length: Positive = Field(100_000, description="letters; longer records are dropped and counted")
    genome: str | None = Field(None, description="FASTA file (plain or bgzip) that BED, narrowPeak, GFF and GTF files name places of")
    windows: Windows | None = Field(None, description="how those become windows; kind = whole if not given")
    tracks: dict[Annotated[str, Field(pattern="^[A-Za-z0-9_]+$")], TrackTarget] = Field(
        default_factory=dict, description="columns of the targets of windows of `sequences`, each a table [data.tracks.NAME]"
    )

    @model_validator(mode="after")
    def _classes_or_sequences(self) -> Data:
        given = [name for name in ("positives", "negatives", "sequences") if getattr(self, name)]
        if given not in (["positives", "negatives"], ["sequences"]):
            raise ValueError(f"positives and negatives must be given, or sequences in their place, got {' and '.join(given) or 'none'}")
        for name in ("targets", "label"):
            if getattr(self, name) and not self.sequences:
                raise ValueError(f"{name} must go with sequences, got positives and negatives")
        if self.positive and not self.label:
            raise ValueError("positive must go with label, what holds the labels, got positive alone")
        return self

    @field_validator("header")
    @classmethod
    def _header_is_a_pattern(cls, header: str) -> str:
        try:
            pattern = re.compile(header)
        except re.error as error:
            raise ValueError(f"header must be a regular expression, got {header!r}: {error}") from None
        if header and (pattern.groups == 0 or pattern.groups > max(1, len(pattern.groupindex))):
            raise ValueError(f"header must have one group, or named groups alone, such as 'class=(\\w+)', got {header!r}")
        return header

    @property
    def files(self) -> list[tuple[str, int | None]]:
        """The files of sequences, each with the label of its records, None where the file does not say it."""
        negatives = self.negatives if isinstance(self.negatives, tuple) else None
        labelled: list[tuple[Paths | None, int | None]] = [(self.positives, 1), (negatives, 0), (self.sequences, None)]
        return [(path, label) for paths, label in labelled for path in paths or ()]

    @property
    def inputs(self) -> list[str]:
        """All files that are read."""
        others = (
            getattr(self.negatives, "exclude", None),
            getattr(self.label, "files", None),
            [track.path for track in self.tracks.values()],
        )
        return [
            *(path for path, _ in self.files),
            *(path for path in (self.targets, self.genome) if path),
            *(path for paths in others for path in paths or ()),
        ]

    @property
    def may_bring_columns(self) -> bool:
        """Whether the sequences may bring columns to be learnt, as tables do: told by their names, as the files are not opened here."""
        return bool(self.header or self.tracks) or any(re.search(BRINGS_COLUMNS, path.lower()) for path in self.sequences or ())

    @model_validator(mode="after")
    def _genome_and_intervals(self) -> Data:
        intervals = [path for path, _ in self.files if path.lower().endswith(INTERVAL_FILES)]
        if intervals and not self.genome:
            raise ValueError(f"genome must be given, the FASTA file that {intervals[0]} names places of, got none")
        if self.genome and len(intervals) < len(self.files):
            other = next(path for path, _ in self.files if path not in intervals)
            raise ValueError(f"files must be BED, narrowPeak, broadPeak, GFF or GTF beside a genome, got {other!r}")
        if self.genome and self.alphabet != "dna":
            raise ValueError(f"alphabet must be dna beside a genome, got {self.alphabet!r}")
        if self.genome and ((isinstance(self.label, str) and self.label) or self.header or self.columns):
            raise ValueError("label must be a table beside a genome, and header and columns not given: they are of files of sequences")
        needs = {"windows": self.windows, "tracks": self.tracks, "a table of labels": isinstance(self.label, Section)}
        needs["negatives made of the genome"] = isinstance(self.negatives, GenomeNegatives)
        if missing := [what for what, value in needs.items() if value and not self.genome]:
            raise ValueError(f"{missing[0]} must go with a genome, got none")
        if self.tracks and not self.sequences:
            raise ValueError("tracks must go with sequences, got positives and negatives")
        if self.tracks and self.targets:
            raise ValueError("tracks must stand in place of targets, got both")
        return self

    @model_validator(mode="after")
    def _lengths_in_order(self) -> Data:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length must be <= max_length ({self.max_length}), got {self.min_length}")
        return self


class ChromosomeSplit(Section):
    """Split by the chromosome in the FASTA header; what neither `valid` nor `test` names is train."""

    kind: Literal["chromosome"] = "chromosome"
    valid: Listed[tuple[str, ...]] = Field(min_length=1)
    test: Listed[tuple[str, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _sides_are_disjoint(self) -> ChromosomeSplit:
        if both := sorted(set(self.valid) & set(self.test)):
            raise ValueError(f"valid and test must share no chromosome, got {', '.join(both)} in both")
        return self


class FractionSplit(Section):
    """What the splits at random share."""

    valid_fraction: Fraction = Field(0.15, gt=0)
    test_fraction: Fraction = Field(0.15, gt=0)
    seed: Seed = 0

    @model_validator(mode="after")
    def _train_keeps_a_share(self) -> FractionSplit:
        if (total := self.valid_fraction + self.test_fraction) >= 1:
            raise ValueError(f"valid_fraction + test_fraction must be < 1, got {total:g}")
        return self


class GroupSplit(FractionSplit):
    """Split whole groups, at random with `seed`."""

    kind: Literal["group"] = "group"
    column: str = Field(
        "group", min_length=1, description="an attribute of the FASTA headers (group, species), or a column of [data] targets"
    )


class SpeciesSplit(FractionSplit):
    """Split whole species (`species=` in the FASTA header), at random with `seed`."""

    kind: Literal["species"] = "species"


class RandomSplit(FractionSplit):
    """Split records at random with `seed`, stratified by label; duplicates on either strand stay together."""

    kind: Literal["random"] = "random"


class ClusterSplit(FractionSplit):
    """Split whole clusters of similar sequences, at random with `seed`: no record is like one of another side."""

    kind: Literal["cluster"] = "cluster"
    method: Literal["kmers", "mmseqs2"] = Field("kmers", description="mmseqs2 = the program of that name, which must be installed")
    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="from which two records stay together: the share of k-mers, 0.15 in DNA and 0.3 in protein if not "
        "given; of mmseqs2 the identity",
    )
    k: int | None = Field(None, ge=4, le=14, description="letters, of kmers: 12 in DNA, 6 of a reduced alphabet in protein if not given")

    @model_validator(mode="after")
    def _k_is_of_kmers(self) -> ClusterSplit:
        if self.k is not None and self.method != "kmers":
            raise ValueError(f"k must go with method 'kmers', got method {self.method!r}")
        if self.similarity is None and self.method != "kmers":
            raise ValueError(f"similarity must be given with method {self.method!r}: it is the identity there, got nothing")
        return self


class RegionSplit(Section):
    """Split by regions `CHROM:START-END` (0-based half-open); what touches none is train, what is only partly in one is dropped."""

    kind: Literal["region"] = "region"
    valid: Listed[tuple[str, ...]] = Field(min_length=1)
    test: Listed[tuple[str, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _regions_are_apart(self) -> RegionSplit:
        places = sorted((*place, text) for side in (self.valid, self.test) for place, text in zip(regions(side), side, strict=True))
        for (chrom, _, end, first), (other, start, _, second) in itertools.pairwise(places):
            if chrom == other and start < end:
                raise ValueError(f"regions must not overlap, got {first} and {second}")
        return self


def regions(texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """Read "chr2R:14000000-16500000" as chromosome, start, end (0-based half-open).

    Raises
    ------
    ValueError
        If one has another form, or no letter.
    """
    found = [re.fullmatch(r"(\S+):(\d+)-(\d+)", text) for text in texts]
    for match, text in zip(found, texts, strict=True):
        if match is None or int(match[2]) >= int(match[3]):
            raise ValueError(f"regions must be CHROM:START-END with START < END, 0-based half-open, got {text!r}")
    return [(match[1], int(match[2]), int(match[3])) for match in found if match]


Split = Annotated[ChromosomeSplit | RegionSplit | GroupSplit | SpeciesSplit | RandomSplit | ClusterSplit, Field(discriminator="kind")]


class Audit(Section):
    """[audit]: what test may share with what the model learns from; `selfattn-bio audit` fails above a limit and warns below it."""

    similarity: float | None = Field(
        None, ge=0.05, le=1, description="from which a neighbour is near: share of the k-mers; 0.15 in DNA and 0.3 in protein if not given"
    )
    k: int | None = Field(None, ge=4, le=14, description="letters; 12 in DNA, 6 of a reduced alphabet in protein if not given")
    max_similarity: float = Field(1.0, gt=0, le=1, description="of a test record to its nearest neighbour in train")
    max_near: float = Field(1.0, ge=0, le=1, description="share of the test records that have a near neighbour")
    max_duplicates: int = Field(0, ge=0, description="test records with the same letters in train, on either strand")
    max_overlaps: int = Field(0, ge=0, description="test records whose place overlaps one of train, on either strand")
    max_shared: int | None = Field(None, ge=0, description="test records whose group or species is in train too; any number if not given")
    max_seen: int = Field(0, ge=0, description="test records that a parent of the model saw")


# ------------------------------------------------------------------------------------------------- the second of two inputs
class SequencePartner(Section):
    """[partner] kind = "sequence": another sequence for each record, DNA or protein, of the same id."""

    kind: Literal["sequence"] = "sequence"
    alphabet: Literal["dna", "protein"] = "dna"
    files: Paths | None = Field(None, description="files of sequences, as [data] takes; the ids are those of the records")
    column: str = Field("", description="of the tables of [data], in place of files: the column that holds the letters")
    k: int = Field(3, ge=1, le=8, description="letters to a token")
    stride: int = Field(1, ge=1, description="letters from token to token")

    @property
    def inputs(self) -> list[str]:
        """The files that are read, beside those of [data]."""
        return list(self.files or ())

    @model_validator(mode="after")
    def _is_somewhere(self) -> SequencePartner:
        if bool(self.files) == bool(self.column):
            raise ValueError(f"files or column must be given, got {'both' if self.files else 'none'}")
        if self.stride > self.k:
            raise ValueError(f"stride must be <= k ({self.k}), got {self.stride}")
        if self.alphabet == "protein" and self.k > MAX_PROTEIN_K:
            raise ValueError(f"k must be <= {MAX_PROTEIN_K} for protein, got {self.k}")
        return self


class TrackPartner(Section):
    """[partner] kind = "track": a number for each letter of a record, such as conservation or accessibility."""

    kind: Literal["track"] = "track"
    path: str = Field(
        min_length=1,
        description="bigWig or bedGraph of the records' chrom, start and end (of records without: of their id, from 0), BED and GFF as 1 "
        "where covered and 0 elsewhere, or .npz with an array of numbers for each id",
    )
    low: float = Field(description="number of the lowest level; what is lower is read as it")
    high: float = Field(description="number of the highest level; what is higher is read as it")

    @model_validator(mode="after")
    def _low_is_lower(self) -> TrackPartner:
        if self.low >= self.high:
            raise ValueError(f"low must be < high ({self.high:g}), got {self.low:g}")
        return self

    k: ClassVar[int] = 1  # tokens are levels
    stride: ClassVar[int] = 1
    alphabet: ClassVar[str] = "levels"

    @property
    def inputs(self) -> list[str]:
        """The files that are read."""
        return [self.path]


Partner = Annotated[SequencePartner | TrackPartner, Field(discriminator="kind")]


# --------------------------------------------------------------------------------------------------------- the model
class Tokens(Section):
    """[tokens]: k-mers of `k` letters, one every `stride` letters."""

    k: int = Field(3, ge=1, le=8)
    stride: int = Field(1, ge=1)
    canonical: bool = Field(False, description="a k-mer and its reverse complement have one embedding (DNA only)")

    @model_validator(mode="after")
    def _no_letter_is_skipped(self) -> Tokens:
        if self.stride > self.k:
            raise ValueError(f"stride must be <= k ({self.k}), got {self.stride}")
        return self


PRIVATE_STEM = "Take model.stem = { kind = 'none' }, or { kind = 'conv', norm = 'record' }"


class NoStem(Section):
    """Token embeddings go to the encoder as they are."""

    kind: Literal["none"] = "none"


class ConvStem(Section):
    """Convolution over the token embeddings, max-pooling, convolution: one vector every `pool` tokens."""

    kind: Literal["conv"] = "conv"
    token_dim: Positive = Field(16, description="dimension of the token embeddings; the convolution leads to embed_dim")
    kernel: int = Field(9, ge=1, description="tokens; odd")
    pool: Positive = Field(8, description="tokens")
    second_kernel: int = Field(5, ge=1, description="pooled tokens; odd")
    # Left out of what is written where it is batch, as `mixer` is where it is softmax.
    norm: Literal["batch", "record"] = Field(
        "batch",
        exclude_if=lambda norm: norm == "batch",
        description="by mean and deviation of the batch's detectors, or of each record alone",
    )

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> ConvStem:
        for name in ("kernel", "second_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        return self


class TowerStem(Section):
    """Stages of convolution and max-pooling, for long sequences: one vector every product of `pools` tokens."""

    kind: Literal["tower"] = "tower"
    token_dim: Positive = Field(8, description="dimension of the token embeddings")
    channels: Listed[tuple[Positive, ...]] = Field((64, 96), description="of each stage but the last, which leads to embed_dim")
    kernels: Listed[tuple[Positive, ...]] = Field((15, 7, 5), min_length=1, description="of each stage, in its tokens; odd")
    pools: Listed[tuple[Positive, ...]] = Field((5, 5, 2), description="of each stage, in its tokens")
    residual_kernel: Positive = Field(5, description="of the second convolution of each stage but the first; odd")

    @model_validator(mode="after")
    def _one_a_stage(self) -> TowerStem:
        stages = len(self.kernels)
        if (len(self.channels), len(self.pools)) != (stages - 1, stages):
            got = f"{len(self.channels)} and {len(self.pools)}"
            raise ValueError(f"channels and pools must be {stages - 1} and {stages}, as kernels are {stages}, got {got}")
        if even := [kernel for kernel in (*self.kernels, self.residual_kernel) if kernel % 2 == 0]:
            raise ValueError(f"kernels and residual_kernel must be odd, got {even[0]}")
        return self

    @property
    def pool(self) -> int:
        """Tokens to a vector."""
        return math.prod(self.pools)


Stem = Annotated[NoStem | ConvStem | TowerStem, Field(discriminator="kind")]


class T5Position(Section):
    """A learned bias per head and distance bucket, added to the attention scores (Raffel et al. 2020)."""

    kind: Literal["t5"] = "t5"
    num_buckets: int = Field(32, ge=4, multiple_of=2)
    max_distance: int = Field(128, ge=2, description="tokens; all beyond share a bucket")
    symmetric: bool = Field(False, description="buckets of |distance|: both directions alike")

    @model_validator(mode="after")
    def _far_is_beyond_the_single_distances(self) -> T5Position:
        single = self.num_buckets // 2 if self.symmetric else self.num_buckets // 4
        if self.max_distance <= single:
            raise ValueError(f"max_distance must be > {single}, the buckets of a single distance, got {self.max_distance}")
        return self


class AlibiPosition(Section):
    """Attention scores fall with |distance|, in each head at another rate; nothing is learned (Press et al. 2022)."""

    kind: Literal["alibi"] = "alibi"


class RotaryPosition(Section):
    """Queries and keys are rotated by their position (Su et al. 2021)."""

    kind: Literal["rotary"] = "rotary"
    base: float = Field(10_000.0, gt=1)
    interpolation: float = Field(
        1.0, ge=1, description="s: token p stands at p / s, for inputs s times as long as trained (Chen et al. 2023)"
    )


class ShawPosition(Section):
    """A learned key and value for each distance (Shaw et al. 2018)."""

    kind: Literal["shaw"] = "shaw"
    max_distance: Positive = Field(64, description="tokens; all beyond share the last")


class TransformerXLPosition(Section):
    """Scores by content and by a projected sinusoid of the distance (Dai et al. 2019)."""

    kind: Literal["transformer_xl"] = "transformer_xl"
    max_distance: Positive = Field(128, description="tokens; all beyond count as this")


class SinusoidalPosition(Section):
    """Sines and cosines of the place are added to the encoder's input (Vaswani et al. 2017)."""

    kind: Literal["sinusoidal"] = "sinusoidal"


class LearnedPosition(Section):
    """A learned vector for each place is added to the encoder's input (Devlin et al. 2019)."""

    kind: Literal["learned"] = "learned"
    max_length: Positive = Field(description="tokens that enter the encoder; a longer sequence is an error")


class NoPosition(Section):
    """The encoder sees no position but through the stem."""

    kind: Literal["none"] = "none"


Position = Annotated[
    T5Position | AlibiPosition | RotaryPosition | ShawPosition | TransformerXLPosition | SinusoidalPosition | LearnedPosition | NoPosition,
    Field(discriminator="kind"),
]


class FullPattern(Section):
    """Each token attends to all."""

    kind: Literal["full"] = "full"
    causal: bool = Field(False, description="only to itself and those before it")


class SparsePattern(Section):
    """What sparse patterns share."""

    causal: bool = Field(False, description="only to itself and those before it")
    num_global: int = Field(0, ge=0, description="first tokens that attend to and are attended by all")


class WindowPattern(SparsePattern):
    """Each token attends `window` tokens to each side, one every `dilation` (Beltagy et al. 2020, Longformer)."""

    kind: Literal["window"] = "window"
    window: int = Field(128, ge=1, description="tokens on each side")
    dilation: Positive = 1


class StridedPattern(SparsePattern):
    """A window, and every `stride`-th token to both sides (Child et al. 2019, Sparse Transformer)."""

    kind: Literal["strided"] = "strided"
    window: int = Field(128, ge=1, description="tokens on each side")
    stride: int = Field(128, ge=2)


class BlockLocalPattern(SparsePattern):
    """Each token attends to its own block."""

    kind: Literal["block_local"] = "block_local"
    block: Positive = Field(128, description="tokens")


class BigBirdPattern(SparsePattern):
    """Window, global tokens and blocks drawn at random for each block (Zaheer et al. 2020)."""

    kind: Literal["bigbird"] = "bigbird"
    window: int = Field(96, ge=1, description="tokens on each side")
    random_blocks: Positive = 3
    block: Positive = Field(64, description="tokens")
    num_global: int = Field(64, ge=0, description="first tokens that attend to and are attended by all")
    seed: Seed = 0


Pattern = Annotated[FullPattern | WindowPattern | StridedPattern | BlockLocalPattern | BigBirdPattern, Field(discriminator="kind")]


ABSOLUTE = ("none", "sinusoidal", "learned")  # positions that are no matter of the scores


class MixerSection(Section):
    """What kinds of attention share: the positions that they can take, and whether their work grows with the square of the length."""

    positions: ClassVar[tuple[str, ...]]
    grows_squared: ClassVar[bool]


class SoftmaxMixer(MixerSection):
    """Softmax over the pairs that `pattern` allows, with `position`, by `kernel`."""

    kind: Literal["softmax"] = "softmax"


class DynamicMixer(MixerSection):
    """Each query attends to its own block of tokens, to those beside it and to some that it chooses by a summary of each block."""

    positions = (*ABSOLUTE, "t5", "alibi", "rotary")
    grows_squared = True  # each query asks the summary of each block

    kind: Literal["dynamic"] = "dynamic"
    block: Positive = Field(32, description="tokens")
    top: Positive = Field(4, description="blocks that a query chooses, beside its own and the two next to it")


class LinearMixer(MixerSection):
    """Weights are products of features elu(x) + 1 of query and key, summed over keys first (Katharopoulos et al. 2020)."""

    positions = ABSOLUTE
    grows_squared = False

    kind: Literal["linear"] = "linear"


class PerformerMixer(MixerSection):
    """Softmax over all keys, estimated by random features (Choromanski et al. 2021, FAVOR+)."""

    positions = (*ABSOLUTE, "rotary")
    grows_squared = False

    kind: Literal["performer"] = "performer"
    features: Positive = Field(128, description="of each head; the more, the nearer to softmax")


class LinformerMixer(MixerSection):
    """Each query attends to `rank` learned sums of the keys (Wang et al. 2020)."""

    positions = ABSOLUTE
    grows_squared = False

    kind: Literal["linformer"] = "linformer"
    max_length: Positive = Field(description="tokens that enter the encoder; a longer sequence is an error")
    rank: Positive = Field(64, description="learned sums of keys, and of values")


class HierarchicalMixer(MixerSection):
    """A window over the tokens, and all pairs over means of `pool` of them (as Zhu and Soricut 2021, H-Transformer-1D, with two levels)."""

    positions = (*ABSOLUTE, "t5", "alibi", "rotary")
    grows_squared = True  # the coarse tokens

    kind: Literal["hierarchical"] = "hierarchical"
    window: Positive = Field(64, description="tokens on each side")
    pool: int = Field(32, ge=2, description="tokens to a coarse one")


class ReformerMixer(MixerSection):
    """Softmax over tokens that hash alike; keys are the queries at length 1 (Kitaev et al. 2020)."""

    positions = (*ABSOLUTE, "t5", "alibi", "rotary")
    grows_squared = False

    kind: Literal["reformer"] = "reformer"
    num_buckets: Positive = Field(32, description="of a round; even, or 1: then a query attends by place alone")
    chunk: Positive = Field(64, description="tokens in the order of buckets; a query attends to its own and those beside it")
    hashes: Positive = Field(4, description="rounds of hashing")

    @model_validator(mode="after")
    def _buckets_are_pairs(self) -> ReformerMixer:
        if self.num_buckets > 1 and self.num_buckets % 2:
            raise ValueError(f"num_buckets must be even or 1, got {self.num_buckets}")
        return self


Mixer = Annotated[
    SoftmaxMixer | DynamicMixer | LinearMixer | PerformerMixer | LinformerMixer | HierarchicalMixer | ReformerMixer,
    Field(discriminator="kind"),
]


class PoolingHead(Section):
    """Learned scores weigh the tokens of each of `parts` equal parts of the sequence; the weighted means are classified."""

    kind: Literal["pooling"] = "pooling"
    parts: Positive = Field(6, description="1 = the sequence as one: where a token stands is then no matter")


class ClsHead(Section):
    """A [CLS] vector in front of the tokens is classified."""

    kind: Literal["cls"] = "cls"


Head = Annotated[PoolingHead | ClsHead, Field(discriminator="kind")]


class NoGates(Section):
    """All heads and feed-forwards as they are."""

    kind: Literal["none"] = "none"


class HardConcreteGates(Section):
    """Each head (with grouped keys and values each group) and each feed-forward has a gate that is learned to be open or closed, by an
    expected L0 norm in the loss (Louizos et al. 2018); `selfattn-bio prune` cuts out what is closed."""

    kind: Literal["hard_concrete"] = "hard_concrete"
    penalty: float = Field(0.03, ge=0, description="what the loss would be less by if all gates closed; each as its share of the weights")


class KeptLayer(Section):
    """What of a layer stayed; of grouped keys and values the groups of heads."""

    heads: Listed[tuple[Annotated[int, Field(ge=0)], ...]] = Field(description="by their numbers in the layer as it was trained, from 0")
    feedforward: bool

    @field_validator("heads")
    @classmethod
    def _each_once(cls, heads: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(heads)) != list(heads):
            raise ValueError(f"heads must rise, each once, got {list(heads)}")
        return heads


class PrunedGates(Section):
    """What a model was pruned to, as `selfattn-bio prune` writes it."""

    kind: Literal["pruned"] = "pruned"
    members: Listed[tuple[Listed[tuple[KeptLayer, ...]], ...]] = Field(description="of each member all num_layers layers")


Gates = Annotated[NoGates | HardConcreteGates | PrunedGates, Field(discriminator="kind")]


class NoExits(Section):
    """Every record goes through all layers."""

    kind: Literal["none"] = "none"


class ConfidenceExits(Section):
    """The head reads the encoder after each layer, and a record that it is sure of goes no further (Teerapittayanon et al. 2016)."""

    kind: Literal["confidence"] = "confidence"
    drop: Fraction = Field(0.002, description="by which the main metric on valid may be lower than with all layers")


Exits = Annotated[NoExits | ConfidenceExits, Field(discriminator="kind")]


class AttentionModel(Section):
    """[model] kind = "attention": stem, pre-norm attention encoder, head."""

    kind: Literal["attention"] = "attention"
    members: Positive = Field(2, description="networks trained side by side whose logits are averaged")
    embed_dim: Positive = 64
    num_layers: Positive = 2
    num_heads: Positive = 4
    num_kv_heads: Positive | None = Field(None, description="heads of keys and values, shared by groups of num_heads; all if not given")
    feedforward_dim: Positive = 128
    dropout: Fraction = 0.3
    stochastic_depth: Fraction = Field(
        0.0, description="chance that a sequence skips the last block's branches; earlier blocks in proportion"
    )
    stem: Stem = ConvStem()
    position: Position = T5Position()
    pattern: Pattern = FullPattern()
    kernel: Literal["auto", "band", "sdpa", "reference", "joint", "flex", "slab"] = Field(
        "auto", description="auto = as `selfattn-bio doctor` says"
    )
    # Left out of what is written where it is softmax, as `seeds` of [training] is where it is 1.
    mixer: Mixer = Field(SoftmaxMixer(), exclude_if=lambda mixer: mixer.kind == "softmax", description="how queries meet keys")
    head: Head = PoolingHead()
    gates: Gates = Field(NoGates(), exclude_if=lambda gates: gates.kind == "none", description="which heads and layers there are, learned")
    exits: Exits = Field(NoExits(), exclude_if=lambda exits: exits.kind == "none", description="how many layers a record goes through")

    @property
    def token_dim(self) -> int:
        """Dimension of the token embeddings."""
        return self.embed_dim if isinstance(self.stem, NoStem) else self.stem.token_dim

    @model_validator(mode="after")
    def _heads_divide_the_embedding(self) -> AttentionModel:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads ({self.num_heads}), got {self.embed_dim}")
        if self.position.kind == "rotary" and (self.embed_dim // self.num_heads) % 2:
            raise ValueError(f"embed_dim / num_heads must be even for rotary, got {self.embed_dim // self.num_heads}")
        if self.num_kv_heads is not None and self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_kv_heads must divide num_heads ({self.num_heads}), got {self.num_kv_heads}")
        return self

    @model_validator(mode="after")
    def _parts_go_together(self) -> AttentionModel:
        kernel, position, pattern = self.kernel, self.position.kind, self.pattern
        head_dim = self.embed_dim // self.num_heads
        if kernel in ("sdpa", "band", "joint", "flex") and position in ("shaw", "transformer_xl"):
            raise ValueError(f"kernel {kernel!r} must go with a position without keys of its own, got position {position!r}")
        if kernel == "band" and pattern.kind not in ("full", "window"):
            raise ValueError(f"kernel 'band' must go with pattern 'full' or 'window', got pattern {pattern.kind!r}")
        if kernel == "band" and isinstance(pattern, WindowPattern) and pattern.dilation > 1:
            raise ValueError(f"kernel 'band' must go with a window of dilation 1, got dilation {pattern.dilation}")
        if kernel == "joint" and pattern.kind not in ("strided", "bigbird"):
            raise ValueError(f"kernel 'joint' must go with pattern 'strided' or 'bigbird', got pattern {pattern.kind!r}")
        if kernel in ("band", "joint") and head_dim not in BAND_HEAD_DIMS:
            raise ValueError(f"kernel {kernel!r} must go with embed_dim / num_heads of {BAND_HEAD_DIMS}, got {head_dim}")
        if kernel == "flex" and head_dim < FLEX_HEAD_DIM:
            raise ValueError(f"kernel 'flex' must go with embed_dim / num_heads >= {FLEX_HEAD_DIM}, got {head_dim}")
        if kernel == "flex" and self.dropout:
            raise ValueError(f"kernel 'flex' must go with dropout 0, got dropout {self.dropout}")
        if pattern.causal and self.head.kind == "cls":
            raise ValueError("head 'cls' must go with a pattern that is not causal: its vector comes first and would see itself alone")
        return self

    @model_validator(mode="after")
    def _pruned_fits(self) -> AttentionModel:
        if not isinstance(self.gates, PrunedGates):
            return self
        if len(self.gates.members) != self.members:
            raise ValueError(f"gates.members must be as many as members ({self.members}), got {len(self.gates.members)}")
        for layers in self.gates.members:
            if len(layers) != self.num_layers:
                raise ValueError(f"layers of gates.members must be as many as num_layers ({self.num_layers}), got {len(layers)}")
            most, number = max((head for layer in layers for head in layer.heads), default=-1), self.num_kv_heads or self.num_heads
            if most >= number:
                raise ValueError(f"heads of gates.members must be below the layer's number of heads ({number}), got {most}")
        return self

    @model_validator(mode="after")
    def _mixer_stands_alone(self) -> AttentionModel:
        if isinstance(self.mixer, SoftmaxMixer):
            return self
        for name in ("pattern", "kernel"):
            if (got := getattr(self, name)) != (default := AttentionModel.model_fields[name].default):
                words = [
                    each if isinstance(each, str) else each.model_dump(exclude_defaults=True) | {"kind": each.kind}
                    for each in (default, got)
                ]
                raise ValueError(f"mixer {self.mixer.kind!r} must go with {name} = {words[0]}, got {words[1]}")
        if isinstance(self.mixer, ReformerMixer) and self.num_kv_heads not in (None, self.num_heads):
            raise ValueError(f"mixer 'reformer' must go with num_kv_heads not given, as its queries are keys, got {self.num_kv_heads}")
        if self.position.kind not in self.mixer.positions:
            known = ", ".join(map(repr, self.mixer.positions))
            raise ValueError(f"mixer {self.mixer.kind!r} must go with a position of kind {known}, got {self.position.kind!r}")
        return self


class CnnModel(Section):
    """[model] kind = "cnn": three convolutions with batch norm and pooling, then two dense layers (as Basset, Kelley 2016)."""

    kind: Literal["cnn"] = "cnn"
    members: Positive = Field(1, description="networks trained side by side whose logits are averaged")
    embed_dim: Positive = 16
    channels: Listed[tuple[Positive, Positive, Positive]] = (128, 128, 128)
    kernels: Listed[tuple[Positive, Positive, Positive]] = (19, 11, 7)
    pools: Listed[tuple[Positive, Positive, Positive]] = (3, 4, 4)
    bins: Positive = Field(6, description="equal parts of the sequence whose means the dense layers see")
    hidden_dim: Positive = 128
    dropout: Fraction = 0.3

    @model_validator(mode="after")
    def _kernels_are_odd(self) -> CnnModel:
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, got {self.kernels}")
        return self


class DilatedModel(Section):
    """[model] kind = "dilated": stem, then convolutions with taps ever farther apart (as Basenji, Kelley 2018), an output a place."""

    kind: Literal["dilated"] = "dilated"
    members: Positive = Field(1, description="networks trained side by side whose outputs are averaged")
    embed_dim: Positive = 128
    stem: TowerStem = TowerStem()
    dilations: Listed[tuple[Positive, ...]] = Field(
        (1, 2, 4, 8, 15), description="places between the taps of each convolution; none: the stem alone"
    )
    kernel: Positive = Field(3, description="taps of each; odd")
    dropout: Fraction = 0.3

    @model_validator(mode="after")
    def _kernel_is_odd(self) -> DilatedModel:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


CROSS_POSITIONS = (
    "none",
    "t5",
    "alibi",
    "rotary",
)  # by distance alone; a distance is from a place of the first input to one of the partner


class PairedModel(Section):
    """[model] kind = "paired": an encoder for each of two inputs, then blocks by which places of the first read the partner's."""

    kind: Literal["paired"] = "paired"
    members: Positive = Field(2, description="networks trained side by side whose logits are averaged")
    encoder: AttentionModel = Field(AttentionModel(), description="stem, encoder and head of the first input; without members")
    partner_encoder: AttentionModel | None = Field(
        None, description="stem and encoder of [partner]; without members and head; as the first's if not given"
    )
    cross_layers: Positive = Field(1, description="blocks of cross-attention and feed-forward, of the sizes and the dropout of encoder")
    cross_position: Position = Field(
        NoPosition(), description="of a place of the first to one of the partner; for tracks, whose places are those of the letters"
    )

    @model_validator(mode="after")
    def _encoders_fit(self) -> PairedModel:
        for name in ("encoder", "partner_encoder"):
            if "members" in getattr(getattr(self, name), "model_fields_set", ()):
                raise ValueError(f"members must be given in [model], got one in [model.{name}]")
        if self.partner_encoder and "head" in self.partner_encoder.model_fields_set:
            raise ValueError("head must be given in [model.encoder], whose places are classified, got one in [model.partner_encoder]")
        first, partner = (each.token_dim for each in (self.encoder, self.of_partner))
        if first != partner:
            rule = "have one dimension of token embeddings (token_dim of the stem, else embed_dim)"
            raise ValueError(f"encoder and partner_encoder must {rule}, got {first} and {partner}")
        if self.cross_position.kind not in CROSS_POSITIONS:
            known = ", ".join(map(repr, CROSS_POSITIONS))
            raise ValueError(f"cross_position must be of kind {known}, got {self.cross_position.kind!r}")
        if self.cross_position.kind == "rotary" and (self.encoder.embed_dim // self.encoder.num_heads) % 2:
            raise ValueError("embed_dim / num_heads of encoder must be even for rotary")
        for name in ("gates", "exits"):
            if (kind := getattr(self.encoder, name).kind) != "none" or (kind := getattr(self.of_partner, name).kind) != "none":
                raise ValueError(f"{name} must be 'none' in the encoders of model kind 'paired', got {kind!r}")
        return self

    @field_serializer("encoder", "partner_encoder")
    def _as_it_is_given(self, section: AttentionModel | None, info: FieldSerializationInfo) -> dict[str, Any] | None:
        """Without what must not be given, so that what is written can be read again."""
        unread = {"members", "head"} if info.field_name == "partner_encoder" else {"members"}
        return None if section is None else section.model_dump(mode=info.mode, exclude=unread, exclude_none=info.exclude_none)

    @property
    def of_partner(self) -> AttentionModel:
        """Settings of the partner's encoder."""
        return self.partner_encoder or self.encoder


Model = Annotated[AttentionModel | CnnModel | DilatedModel | PairedModel, Field(discriminator="kind")]


# ---------------------------------------------------------------------------------------------------------- objective
Column = Annotated[str, Field(min_length=1)]


class ObjectiveSection(Section):
    """What the objectives share."""

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of [data] targets that it reads."""
        return ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """What its outputs stand for, in their order: columns or classes; none while classes are not known."""
        return self.target_columns


class BinaryObjective(ObjectiveSection):
    """Positives against negatives, by cross-entropy."""

    kind: Literal["binary"] = "binary"


class MulticlassObjective(ObjectiveSection):
    """One of several classes a sequence, by cross-entropy."""

    kind: Literal["multiclass"] = "multiclass"
    column: Column = Field(description="of [data] targets: the class's name")
    classes: Listed[tuple[str, ...]] = Field((), description="in the order of the outputs; those of the training records if not given")

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be two different ones or more, got {', '.join(self.classes)}")
        return self

    @property
    def target_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.classes


class MultilabelObjective(ObjectiveSection):
    """Any of several labels a sequence, each by binary cross-entropy."""

    kind: Literal["multilabel"] = "multilabel"
    columns: Names = Field(description="of [data] targets: 0, 1, or empty where it is not known")

    @property
    def target_columns(self) -> tuple[str, ...]:
        return self.columns


class RegressionObjective(ObjectiveSection):
    """One number a sequence or more."""

    kind: Literal["regression"] = "regression"
    columns: Names = Field(description="of [data] targets: numbers, or empty where one is not known")
    loss: Literal["mse", "huber", "poisson"] = Field("mse", description="poisson = the output is a rate, the targets counts")
    center: Listed[tuple[float, ...]] = Field(
        (), description="of each column, taken from the output; the training records' mean if not given"
    )
    scale: Listed[tuple[Annotated[float, Field(gt=0)], ...]] = Field(
        (), description="of each column; the training records' deviation if not given"
    )

    @model_validator(mode="after")
    def _one_a_column(self) -> Self:
        if (len(self.center), len(self.scale)) not in ((0, 0), (len(self.columns), len(self.columns))):
            rule = f"be one a column ({len(self.columns)}), or both not given"
            raise ValueError(f"center and scale must {rule}, got {len(self.center)} and {len(self.scale)}")
        return self

    @property
    def target_columns(self) -> tuple[str, ...]:
        return self.columns


Weight = Annotated[float, Field(gt=0, description="how much its mean loss counts beside the other parts'")]


class MulticlassPart(MulticlassObjective):
    """Classes as a part of objective `several`."""

    weight: Weight = 1.0


class MultilabelPart(MultilabelObjective):
    """Labels as a part of objective `several`."""

    weight: Weight = 1.0


class RegressionPart(RegressionObjective):
    """Numbers as a part of objective `several`."""

    weight: Weight = 1.0


Part = Annotated[MulticlassPart | MultilabelPart | RegressionPart, Field(discriminator="kind")]


class SeveralObjective(ObjectiveSection):
    """Several things a sequence at once, each a table [objective.parts.NAME]: one network, by the weighted mean of the parts' losses."""

    kind: Literal["several"] = "several"
    parts: dict[Annotated[str, Field(pattern="^[a-z0-9_]+$")], Part] = Field(description="two or more; their columns differ")

    @model_validator(mode="after")
    def _parts_differ(self) -> Self:
        if len(self.parts) < 2:
            raise ValueError(f"parts must be two or more, got {', '.join(self.parts) or 'none'}: a single one is an objective of its own")
        columns = self.target_columns
        if both := sorted({column for column in columns if columns.count(column) > 1}):
            raise ValueError(f"parts must share no column, got {', '.join(both)} twice")
        return self

    @property
    def target_columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts.values() for column in part.target_columns)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"{name}.{output}" for name, part in self.parts.items() for output in part.output_names)

    def places(self) -> dict[str, slice]:
        """Where the outputs of each part stand among all, part after part."""
        ends = itertools.accumulate(len(part.output_names) for part in self.parts.values())
        return {name: slice(end - len(part.output_names), end) for (name, part), end in zip(self.parts.items(), ends, strict=True)}


class LabelsObjective(ObjectiveSection):
    """One class a letter, such as secondary structure, by cross-entropy."""

    kind: Literal["labels"] = "labels"
    column: Column = Field(description="of [data] targets: text as long as the sequence, one label a letter; - where it is not known")
    classes: Annotated[str, Field(min_length=2)] = Field(description="the labels, one character each")

    @model_validator(mode="after")
    def _classes_differ(self) -> LabelsObjective:
        if len(set(self.classes)) < len(self.classes) or "-" in self.classes or not self.classes.isascii():
            raise ValueError(f"classes must be different ASCII characters other than -, got {self.classes!r}")
        return self

    @property
    def target_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.classes)


class BinsObjective(ObjectiveSection):
    """Whether each bin of a long sequence holds one of the points of a BED file, such as transcription starts.

    The network says of each of its places how likely one stands there on either strand; the places of a bin are joined as independent
    chances (noisy-or), so that it learns from bins whereabouts in them.
    """

    kind: Literal["bins"] = "bins"
    points: str = Field(
        min_length=1, description="BED file (plain or gz) of stranded points; of a longer one its first letter on its strand"
    )
    bin: Positive = Field(
        200, description="letters; counted from 0 of the chromosome in evaluation, where records begin at a multiple of it"
    )
    points_sha256: str = Field("", description="of the file, as it was when a model was trained")

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("+", "-")


class MaskedObjective(ObjectiveSection):
    """Masked-language model: hidden k-mers are told from what stands around them. Whole spans are hidden, so that no k-mer over the same
    letters tells them (BERT, Devlin et al. 2019; spans as DNABERT, Ji et al. 2021)."""

    kind: Literal["masked"] = "masked"
    fraction: float = Field(0.15, gt=0, le=0.5, description="share of the letters that is hidden")


class CausalObjective(ObjectiveSection):
    """Causal language model: each token is told from those before it."""

    kind: Literal["causal"] = "causal"


Objective = Annotated[
    BinaryObjective
    | MulticlassObjective
    | MultilabelObjective
    | RegressionObjective
    | SeveralObjective
    | LabelsObjective
    | BinsObjective
    | MaskedObjective
    | CausalObjective,
    Field(discriminator="kind"),
]
PER_TOKEN = ("labels", "masked", "causal")  # objectives with an output a token
PER_PLACE = ("bins",)  # with one a vector of the encoder


# ------------------------------------------------------------------------------------- training, evaluation, motifs
class BalanceSection(Section):
    """What the ways to balance groups share: the groups."""

    by: str = Field(min_length=1, description="gc, length, chrom, or a column that came with the records")
    bins: int = Field(4, ge=2, description="spans of GC content or length, of equal shares of train")


class ReweightBalance(BalanceSection):
    """The losses of each group's records of either label are weighed to count as much as any other's."""

    kind: Literal["reweight"] = "reweight"


class SampleBalance(BalanceSection):
    """Records of each group and label are drawn as often as those of any other."""

    kind: Literal["sample"] = "sample"


Balance = Annotated[ReweightBalance | SampleBalance, Field(discriminator="kind")]


class Training(Section):
    """[training]: one run of the loop. Steps are optimizer steps."""

    labels: Literal["given", "shuffled"] = Field("given", description="shuffled = the control")
    # Left out of what is written where it is given, as `seeds` is where it is 1.
    pairs: Literal["given", "first_alone", "partner_alone"] = Field(
        "given",
        exclude_if=lambda pairs: pairs == "given",
        description="of model kind paired: first_alone = each record with the partner of another, partner_alone = each partner with the "
        "letters of another: what one input tells without the other",
    )
    seed: Seed = 0
    # Left out of what is written where it is 1: folders and checkpoints of a single run are then those of before the key was known.
    seeds: int = Field(1, ge=1, exclude_if=lambda seeds: seeds == 1, description="members, trained with seed, seed + 1 ... and averaged")
    max_steps: Positive = 1500
    batch_size: Positive = 64
    accumulate: Positive = Field(1, description="batches to an optimizer step")
    optimizer: Literal["adamw", "adam"] = Field("adamw", description="adam = the decay is part of the gradient (L2)")
    learning_rate: float = Field(4e-3, gt=0)
    warmup_steps: int = Field(200, ge=0)
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = Field("cosine", description="of the rate after the warm-up")
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: Fraction = Field(0.998, description="what is scored is the running mean of the weights; 0 = the weights themselves")
    label_smoothing: Fraction = 0.05
    # Left out of what is written where it is not given, as `seeds` is.
    window: Positive | None = Field(
        None,
        exclude_if=lambda window: window is None,
        description="letters; of a longer record random windows are drawn, ceil(length / window) an epoch (objectives masked and causal)",
    )
    shift: int = Field(4, ge=0, description="letters; each sequence is moved by up to this many to either side, each epoch anew")
    reverse_complement: bool = Field(False, description="each sequence is turned to the other strand half of the times")
    substitution: Fraction = Field(0.0, description="share of the letters that are drawn anew, each epoch")
    class_weights: Literal["none", "balanced"] = "none"
    # Left out of what is written where it is not given, as `seeds` is.
    balance: Balance | None = Field(
        None, exclude_if=lambda balance: balance is None, description="groups of records that count alike, however many each has"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="16-mixed = float16; slow on most CPUs")
    matmul: Literal["highest", "medium"] = Field("medium", description="medium = oneDNN on the CPU, used only if a probe shows it exact")
    evaluate_every: Positive = Field(250, description="steps")
    patience: Positive = Field(4, description="evaluations on valid without a better one before the run stops")
    top: Positive = Field(1, description="best evaluations whose weights the model folder holds, in top/ beyond the first")
    checkpoint_every: Positive = Field(250, description="steps")
    tensorboard: bool = Field(False, description="the history goes to MODEL.checkpoints/tensorboard too (needs the package)")

    @model_validator(mode="after")
    def _last_seed_is_one(self) -> Training:
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"seed + seeds must be <= 2**32, got {self.seed} + {self.seeds}")
        return self


class Transfer(Section):
    """[transfer]: the run starts from the weights of a trained model; its head is new."""

    parent: str = Field(min_length=1, description="name of the task whose model it is (results/NAME/model), or the path of a model folder")
    adapt: Literal["all", "frozen", "gradual", "lora"] = Field(
        "all", description="what is trained: all; the head; the head, then one layer more every unfreeze_every steps; head and LoRA"
    )
    unfreeze_every: Positive = Field(200, description="steps, of gradual")
    layer_decay: float = Field(1.0, gt=0, le=1, description="each layer below the head learns at the rate of the one above times this")
    lora_rank: Positive = 8

    @property
    def folder(self) -> Path:
        """The parent's model folder."""
        return Path(self.parent) if "/" in self.parent else Path("results") / self.parent / "model"


class Privacy(Section):
    """[privacy]: weights that tell little of any one training record: (epsilon, delta) differential privacy, by clipping and noise."""

    epsilon: float = Field(gt=0, le=50, description="spent by max_steps; 1 is strong, 8 weak")
    delta: float = Field(gt=0, lt=1, description="chance that more than epsilon is told; below 1 / records of train")
    max_grad_norm: float = Field(1.0, gt=0, description="length to which the gradient of each record is cut")


class Evaluation(Section):
    """[evaluation]: intervals and calibration."""

    block: Positive = Field(
        100_000, exclude_if=lambda block: block == 100_000, description="letters of a chromosome that are drawn together, of objective bins"
    )

    bootstraps: Positive = 1000
    confidence: float = Field(0.95, gt=0, lt=1)
    calibration_bins: Positive = 15
    gc_slices: Positive = 4
    groups: Listed[tuple[Column, ...]] = Field(
        (),
        exclude_if=lambda groups: not groups,
        description="columns that came with the records, by whose values metrics are told too; by gc, length and chrom they are",
    )
    seed: Seed = 0


class PlainMethod(Section):
    """A method without settings: one backward pass, every substitution, or a form of attention, which is a proposal and finds no motifs."""

    kind: Literal["attnlrp", "cp_lrp", "gradient", "saturation", "received", "rollout", "value_rollout", "gradient_rollout"]


class GuidedMethod(Section):
    """AttnLRP says where to look; the best positions are measured by substitution."""

    kind: Literal["guided"] = "guided"
    fraction: float = Field(0.15, gt=0, le=1, description="share of the positions that is mutated")


class AttnLRPCopiesMethod(Section):
    """The mean of AttnLRP over copies with some letters replaced, of both strands where the model was trained with both."""

    kind: Literal["attnlrp_copies"] = "attnlrp_copies"
    copies: Positive = Field(16, description="backward passes")
    share: Fraction = Field(0.1, description="of the letters that are drawn anew in each copy")
    seed: Seed = 0


class IntegratedGradientsMethod(Section):
    """The mean gradient on the way from the mean k-mer to the sequence."""

    kind: Literal["integrated_gradients"] = "integrated_gradients"
    steps: Positive = 20


class BlocksMethod(Section):
    """Each block of letters replaced as a whole, for long sequences."""

    kind: Literal["blocks"] = "blocks"
    width: Positive = Field(10, description="letters")
    by: Literal["shuffle", "random"] = Field("shuffle", description="letters of the block in random order, or drawn evenly")
    draws: Positive = Field(4, description="replacements of each block")
    seed: Seed = 0


class DeepLiftShapMethod(Section):
    """DeepLIFT/SHAP by tangermeme, an extra; for short sequences."""

    kind: Literal["deep_lift_shap"] = "deep_lift_shap"
    shuffles: Positive = Field(20, description="references of each sequence")
    seed: Seed = 0


Method = Annotated[
    PlainMethod | GuidedMethod | AttnLRPCopiesMethod | IntegratedGradientsMethod | BlocksMethod | DeepLiftShapMethod,
    Field(discriminator="kind"),
]
OF_WEIGHTS = ("received", "rollout", "value_rollout", "gradient_rollout", "deep_lift_shap")  # they need the weights of every allowed pair


class ModiscoCaller(Section):
    """TF-MoDISco, by modisco-lite; DNA only."""

    kind: Literal["modisco"] = "modisco"


class ClustersCaller(Section):
    """Recursive seqlets grouped by Tomtom: ours, faster, and for protein too."""

    kind: Literal["clusters"] = "clusters"


Caller = Annotated[ModiscoCaller | ClustersCaller, Field(discriminator="kind")]


class Interpret(Section):
    """[interpret]: from relevance to motifs with evidence."""

    database: str = Field("jaspar:insects", description=f"{', '.join(MOTIF_DATABASES)}, or a path to MEME, JASPAR or TRANSFAC text")
    max_sequences: Positive = Field(3000, description="positives of train and valid explained, of those that the model calls")
    maps: Listed[tuple[str, ...] | None] = Field(
        None,
        min_length=1,
        max_length=20,
        description="ids of records whose attention maps the report shows, of any label and side; those explained with the highest, the "
        "middle and the lowest score if not given",
    )
    method: Method = AttnLRPCopiesMethod()
    caller: Caller | None = Field(None, description="what finds motifs in relevance; modisco for DNA and clusters for protein if not given")
    max_motifs: Positive = 25
    max_seqlets: Positive = Field(20_000, description="that are grouped, those of highest relevance")
    significance: float = Field(0.05, gt=0, lt=1, description="q below which enrichment and effect count")
    hit_p: float = Field(
        2.5e-4, gt=0, lt=1, description="p below which a match of a motif is a hit on test; 6 letters that all fit have 2.44e-4"
    )
    window: Listed[tuple[int, int] | None] = Field(
        None,
        description="[start, end) of a record where the middles of hits are expected; 0-based letters, or negative ones from the record's "
        "end, as [-31, -25]; the fullest 10 letters are tested if not given",
    )
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _fraction_is_of_a_method(cls, values: Any) -> Any:
        """Model folders written before there were several methods name the fraction of the one."""
        if not isinstance(values, dict) or "mutated_fraction" not in values or "method" in values:
            return values
        others = {key: value for key, value in values.items() if key != "mutated_fraction"}
        return others | {"method": {"kind": "guided", "fraction": values["mutated_fraction"]}}

    @field_validator("maps")
    @classmethod
    def _maps_differ(cls, maps: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if maps is not None and len(set(maps)) < len(maps):
            raise ValueError(f"must name each record once, got {list(maps)}")
        return maps

    @field_validator("window")
    @classmethod
    def _window_is_one(cls, window: tuple[int, int] | None) -> tuple[int, int] | None:
        if window is not None and not (window[0] < window[1] and (window[0] >= 0 or window[1] <= 0)):
            raise ValueError(
                f"must be [start, end) with start < end, both from the record's start or both from its end, got {list(window)}"
            )
        return window

    @field_validator("database")
    @classmethod
    def _group_ships(cls, database: str) -> str:
        """Refuse a wrong group here, not after all training; whether a path exists is told by the workflow, or by what reads it."""
        if database.startswith("jaspar:") and database not in MOTIF_DATABASES:
            raise ValueError(f"must be one of {', '.join(MOTIF_DATABASES)} or a path to MEME, JASPAR or TRANSFAC text, got {database!r}")
        return database


class Variant(Section):
    """[variants.NAME]: the same run with another model or other training, as a baseline or control beside it."""

    tokens: Tokens | None = None
    model: Model | None = None
    training: Training = Field(Training(), description="what differs from [training]; what is not given is as there")
    transfer: Transfer | None = Field(
        None, description="what another model starts from; without tokens and model it starts as the run does"
    )


def _is_a_run(variant: Variant, info: ValidationInfo) -> Variant:
    """Lay a variant over the run here, where the place of a mistake in what comes of it is one in [variants.NAME]."""
    sections = {**info.data, "variants": {}}
    if set(sections) | {"sweep"} == set(RunFile.model_fields):  # else another section is wrong, and that is said first
        try:
            run = RunFile.model_validate(sections)
        except ValidationError:  # as is the run itself, and that is said where its sections are checked together
            return variant
        run._with(variant)
    return variant


def _kind_of(section: Any) -> str:
    """Of a section that is not checked yet."""
    return section.get("kind", "") if isinstance(section, dict) else getattr(section, "kind", "")


def _variants_of_pairs() -> dict[str, Variant]:
    return {
        "first_alone": Variant(training=Training(pairs="first_alone")),
        "partner_alone": Variant(training=Training(pairs="partner_alone")),
        "shuffled": Variant(training=Training(labels="shuffled")),
    }


def _default_variants() -> dict[str, Variant]:
    return {"cnn": Variant(model=CnnModel()), "shuffled": Variant(training=Training(labels="shuffled"))}


class Sweep(Section):
    """[sweep]: lists in place of single values, each under the dotted name of its key; every combination of values is a job."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]]
    of: Names = Field(("model",), description="what is swept, each with the same values: model, names of variants")

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        """Bring [sweep.training] learning_rate to the form "training.learning_rate"; the jobs' runs tell which keys are known."""
        return dict(_dotted(values)) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _something_is_swept(self) -> Sweep:
        if not self.__pydantic_extra__:
            raise ValueError('keys must be one at least, such as "training.learning_rate", got none')
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Dotted key -> value of each job; the last key varies fastest."""
        lists = self.__pydantic_extra__
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def _dotted(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{rest}", below) for rest, below in _dotted(value))
        else:
            yield key, value


SWEPT = ("tokens", "model", "training", "transfer")  # sections that make another run of the same data and the same question


def _same_in_jobs(training: Training) -> dict[str, Any]:
    """Of [training], what no job of a sweep may change: the budget, and what is compared."""
    same = {name: getattr(training, name) for name in ("max_steps", "evaluate_every", "patience", "labels", "seeds", "window")}
    return same | {"batch_size * accumulate": training.batch_size * training.accumulate}


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes
    ----------
    of
        "model", or the name of the variant that is swept.
    settings
        Dotted key of the run file -> the job's value.
    """

    of: str
    settings: dict[str, Any]
    run: RunFile

    @property
    def name(self) -> str:
        """Told from its settings alone: a longer list of values trains the new jobs only."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def place(self) -> str:
        """The folder below results/TASK/ in which it has its model folder."""
        return f"{'' if self.of == 'model' else f'variants/{self.of}/'}sweep/{self.name}"


class RunFile(Section):
    """A task: its data, how it is split, the model, its training, evaluation and interpretation."""

    title: str = ""
    data: Data
    split: Split = RandomSplit()
    audit: Audit = Audit()
    tokens: Tokens = Tokens()
    # Left out of what is written where there is none, as `seeds` of [training] is where it is 1.
    partner: Partner | None = Field(
        None, exclude_if=lambda partner: partner is None, description="the second of two inputs; model kind paired reads both"
    )
    objective: Objective = BinaryObjective()
    model: Model = AttentionModel()
    training: Training = Training()
    transfer: Transfer | None = None
    privacy: Privacy | None = Field(None, exclude_if=lambda privacy: privacy is None)
    evaluation: Evaluation = Evaluation()
    interpret: Interpret = Interpret()
    variants: dict[Annotated[str, Field(pattern="^[a-z0-9_]+$")], Annotated[Variant, AfterValidator(_is_a_run)]] = Field(
        default_factory=_default_variants
    )
    sweep: Sweep | None = None  # the last: its check needs all others

    @field_validator("sweep")
    @classmethod
    def _jobs_are_runs(cls, sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
        """Unfold the sweep once, here, where the place of a mistake in a job's run is one in [sweep]."""
        if sweep and {*info.data, "sweep"} == set(cls.model_fields):  # else another section is wrong, and that is said first
            cls.model_construct(**info.data, sweep=sweep).jobs()
        return sweep

    @model_validator(mode="before")
    @classmethod
    def _variants_are_of_binary_runs(cls, values: Any) -> Any:
        """The default variants, a CNN and a control of shuffled labels, are those of positives against negatives, not of private runs:
        a CNN cannot be private, and each variant is one more training on the records. Of pairs either input alone stands in the CNN's
        place."""
        kind, model = (_kind_of(values.get(name)) if isinstance(values, dict) else "" for name in ("objective", "model"))
        private = isinstance(values, dict) and values.get("privacy") is not None
        if (kind or "binary") != "binary" or private:
            return {"variants": {}, **values}
        return {"variants": _variants_of_pairs(), **values} if model == "paired" else values

    @model_validator(mode="after")
    def _objective_fits_the_data(self) -> RunFile:
        kind, data = self.objective.kind, self.data
        if (kind == "binary") == bool(data.sequences and not data.label):
            rule = "positives and negatives, or sequences and label" if kind == "binary" else "sequences"
            got = (
                "sequences: say what is learnt of them in [objective] kind"
                if kind == "binary"
                else "label"
                if data.label
                else "the two classes"
            )
            raise ValueError(f"[data] of objective {kind!r} must name {rule}, got {got}")
        wanted = bool(self.objective.target_columns)
        if (wanted and not (data.targets or data.may_bring_columns)) or (data.targets and not wanted):
            raise ValueError(f"[data] of objective {kind!r} must name {'targets' if not data.targets else 'no targets'}")
        if data.tracks and not wanted:
            raise ValueError(f"[data] of objective {kind!r} must name no tracks, got {', '.join(data.tracks)}, which it would not learn")
        trainings = [run.training for run in (self, *map(self.variant, self.variants))]
        if kind != "binary" and any(training.labels == "shuffled" for training in trainings):
            raise ValueError(f"training.labels 'shuffled' must go with objective 'binary', got {kind!r}")
        kinds = {kind, *(part.kind for part in getattr(self.objective, "parts", {}).values())}
        if not kinds & {"binary", "multiclass"} and any(training.class_weights == "balanced" for training in trainings):
            raise ValueError(f"training.class_weights 'balanced' must go with objective 'binary' or 'multiclass', got {kind!r}")
        return self

    @model_validator(mode="after")
    def _groups_are_of_two_classes(self) -> RunFile:
        kind = self.objective.kind
        if kind != "binary" and self.evaluation.groups:
            raise ValueError(f"evaluation.groups must go with objective 'binary', got {kind!r}")
        for run in (self, *map(self.variant, self.variants)):
            if run.training.balance and kind != "binary":
                raise ValueError(f"training.balance must go with objective 'binary', got {kind!r}")
            if run.training.balance and run.training.class_weights == "balanced":
                raise ValueError("training.class_weights must be 'none' with balance, which weighs labels in each group, got 'balanced'")
        return self

    @model_validator(mode="after")
    def _members_have_a_score(self) -> RunFile:
        if self.objective.kind in ("masked", "causal") and self.training.seeds > 1:
            raise ValueError(f"training.seeds must be 1 with objective {self.objective.kind!r}, which gives no scores to average")
        return self

    @model_validator(mode="after")
    def _windows_need_no_labels(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if not (window := run.training.window):
                continue
            if (kind := self.objective.kind) not in ("masked", "causal"):
                raise ValueError(
                    f"training.window must go with objective 'masked' or 'causal', got {kind!r}: its labels are of whole records"
                )
            if window < (least := 2 * run.tokens.k):
                raise ValueError(f"training.window must be >= 2 tokens.k = {least} letters, got {window}")
        return self

    @model_validator(mode="after")
    def _transfer_is_of_attention(self) -> RunFile:
        if self.transfer and isinstance(self.model, CnnModel | PairedModel):
            raise ValueError(f"[transfer] must go with model kind 'attention', got {self.model.kind!r}")
        if self.transfer and isinstance(self.model, DilatedModel) and self.transfer.adapt != "all":
            raise ValueError(f"[transfer] adapt must be 'all' with model kind 'dilated', got {self.transfer.adapt!r}")
        return self

    @model_validator(mode="after")
    def _model_has_an_output_a_token(self) -> RunFile:
        kind = self.objective.kind
        if kind not in PER_TOKEN:
            return self
        for run in (self, *map(self.variant, self.variants)):
            if not isinstance(run.model, AttentionModel):
                got = f"{run.model.kind!r}, which has no output a token"
                raise ValueError(f"objective {kind!r} must go with model kind 'attention', got {got}")
            if kind == "causal" and run.model.stem.kind != "none":
                raise ValueError(f"objective 'causal' must go with stem kind 'none', got {run.model.stem.kind!r}, which sees what comes")
            if kind == "labels" and (run.tokens.k, run.training.shift, run.training.reverse_complement) != (1, 0, False):
                raise ValueError("objective 'labels' must go with tokens.k 1, training.shift 0 and no reverse_complement: a label a letter")
            if kind == "causal" and not run.model.pattern.causal:
                raise ValueError("objective 'causal' must go with a pattern with causal = true, got one that sees what comes")
            if (kind == "causal") and run.tokens.stride != run.tokens.k:
                raise ValueError(f"objective 'causal' must go with tokens.stride = tokens.k ({run.tokens.k}), got {run.tokens.stride}")
            if kind != "causal" and run.model.pattern.causal:
                raise ValueError(f"objective {kind!r} must go with a pattern that sees both sides, got a causal one")
        return self

    @model_validator(mode="after")
    def _bins_are_of_whole_places(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            stem = getattr(run.model, "stem", None)
            if not isinstance(self.objective, BinsObjective):
                if isinstance(run.model, DilatedModel):
                    raise ValueError(f"model kind 'dilated' must go with objective 'bins', got {self.objective.kind!r}")
                if isinstance(stem, TowerStem) and self.objective.kind in PER_TOKEN:
                    raise ValueError(f"stem kind 'tower' must go with an objective without an output a token, got {self.objective.kind!r}")
            elif stem is None:
                raise ValueError(
                    f"objective 'bins' must go with model kind 'attention' or 'dilated', got {run.model.kind!r}, which has one output"
                )
            elif run.data.alphabet != "dna":
                raise ValueError(f"objective 'bins' must go with [data] alphabet 'dna', got {run.data.alphabet!r}")
            elif self.objective.bin % (pitch := run.pitch):
                raise ValueError(f"bin must be a multiple of the letters to a place of the model ({pitch}), got {self.objective.bin}")
            elif isinstance(run.model, AttentionModel) and run.model.pattern.causal:
                raise ValueError("objective 'bins' must go with a pattern that sees both sides, got a causal one")
        return self

    @model_validator(mode="after")
    def _exits_can_be_sure(self) -> RunFile:
        for run in (self, *map(self.variant, self.variants)):
            if (
                isinstance(run.model, AttentionModel)
                and run.model.exits.kind != "none"
                and self.objective.kind not in ("binary", "multiclass")
            ):
                got = f"{self.objective.kind!r}, which calls no class"
                raise ValueError(f"exits {run.model.exits.kind!r} must go with objective 'binary' or 'multiclass', got {got}")
        return self

    @model_validator(mode="after")
    def _method_can_read_the_mixer(self) -> RunFile:
        kind, method = getattr(getattr(self.model, "mixer", None), "kind", "softmax"), self.interpret.method.kind
        if kind != "softmax" and method in OF_WEIGHTS:
            raise ValueError(f"[interpret] method {method!r} must go with mixer 'softmax', whose weights it reads, got {kind!r}")
        if method == "deep_lift_shap" and (exits := getattr(getattr(self.model, "exits", None), "kind", "none")) != "none":
            raise ValueError(f"[interpret] method 'deep_lift_shap' must go with exits 'none', got {exits!r}")
        return self

    @model_validator(mode="after")
    def _run_can_be_private(self) -> RunFile:
        if self.privacy is None:
            return self
        training, model, objective = self.training, self.model, self.objective
        if not isinstance(model, AttentionModel):
            raise ValueError(
                f"model.kind must be 'attention' with [privacy], got {model.kind!r}, whose batch norms mix the records of a batch"
            )
        if not isinstance(model.stem, NoStem) and getattr(model.stem, "norm", "batch") == "batch":
            raise ValueError(
                f"model.stem must have no batch norm, which mixes records, with [privacy], got kind {model.stem.kind!r}. {PRIVATE_STEM}"
            )
        ways = {
            "training.seeds": (training.seeds, 1, "each further member spends epsilon again; model.members share it"),
            "training.accumulate": (training.accumulate, 1, "records are taken one at a time; batch_size is those of a step"),
            "training.clip_norm": (training.clip_norm, Training().clip_norm, "privacy.max_grad_norm clips"),
            "training.class_weights": (training.class_weights, "none", "weights would tell the counts of labels"),
            "training.balance": (
                training.balance and training.balance.kind,
                None,
                "records must be drawn and weighed alike, whatever their group",
            ),
            "training.window": (training.window, None, "a record would be in a batch by several windows"),
        }
        for name, (got, wanted, why) in ways.items():
            if got != wanted:
                raise ValueError(f"{name} must be {'not given' if wanted is None else repr(wanted)} with [privacy], got {got!r}: {why}")
        if training.precision == "16-mixed":
            raise ValueError(
                "training.precision must be '32-true' or 'bf16-mixed' with [privacy], got '16-mixed': a step may overflow and be spent"
            )
        if self.transfer and self.transfer.adapt == "gradual":
            raise ValueError(
                "transfer.adapt must be 'all', 'frozen' or 'lora' with [privacy], got 'gradual': what is frozen would be clipped too"
            )
        if isinstance(objective, SeveralObjective | BinsObjective):
            raise ValueError(f"objective.kind must be another than 'several' and 'bins' with [privacy], got {objective.kind!r}")
        for name in ("classes", "center", "scale"):
            if getattr(objective, name, None) == ():
                raise ValueError(
                    f"objective.{name} must be given with [privacy], got nothing: taken from the training records it would tell of them"
                )
        return self

    @model_validator(mode="after")
    def _two_inputs_go_together(self) -> RunFile:
        if self.partner and not isinstance(self.model, PairedModel):
            raise ValueError(f"[partner] must go with model kind 'paired', which reads it, got {self.model.kind!r}")
        column = isinstance(self.partner, SequencePartner) and self.partner.column
        if column and not self.data.sequences:
            raise ValueError(f"[partner] column must go with [data] sequences, tables that hold it, got {column!r} and none")
        for run in (self, *map(self.variant, self.variants)):
            paired, training = isinstance(run.model, PairedModel), run.training
            if paired and not self.partner:
                raise ValueError("model kind 'paired' must go with a section [partner], its second input, got none")
            if paired and self.objective.kind in (*PER_TOKEN, *PER_PLACE):
                raise ValueError(f"model kind 'paired' must go with an objective of whole sequences, got {self.objective.kind!r}")
            if paired and training.reverse_complement:
                raise ValueError("training.reverse_complement must be false with model kind 'paired': the partner stays as it is, got true")
            if not paired and training.pairs != "given":
                raise ValueError(f"training.pairs {training.pairs!r} must go with model kind 'paired', got {run.model.kind!r}")
        if isinstance(self.model, PairedModel) and self.interpret.method.kind in OF_WEIGHTS:
            raise ValueError(f"[interpret] method must be one that can read two inputs, got {self.interpret.method.kind!r}")
        return self

    @property
    def parents(self) -> list[Path]:
        """The model folders that the run and its variants start from."""
        transfers = [run.transfer for run in (self, *map(self.variant, self.variants))]
        return list(dict.fromkeys(transfer.folder for transfer in transfers if transfer))

    @property
    def pitch(self) -> int:
        """Letters to a vector of the encoder."""
        return self.tokens.stride * getattr(getattr(self.model, "stem", None), "pool", 1)

    @model_validator(mode="after")
    def _tokens_and_strands_fit_the_alphabet(self) -> RunFile:
        if self.data.alphabet != "protein":
            return self
        if (k := self.tokens.k) > MAX_PROTEIN_K:
            raise ValueError(f"tokens.k must be <= {MAX_PROTEIN_K} for protein (20 letters: {20**MAX_PROTEIN_K:,} k-mers), got {k}")
        if self.tokens.canonical:
            raise ValueError("tokens.canonical must be false for protein, which has no reverse complement, got true")
        if self.training.reverse_complement:
            raise ValueError("training.reverse_complement must be false for protein, which has none, got true")
        return self

    def variant(self, name: str) -> RunFile:
        """The run file of variant `name`: this one with the variant's model and training laid over it.

        Raises
        ------
        ValueError
            If there is no such variant.
        """
        if name not in self.variants:
            raise ValueError(f"variant must be one of {', '.join(self.variants) or '(none)'}, got {name!r}")
        return self._with(self.variants[name])

    def _with(self, change: Variant) -> RunFile:
        """This run with a variant laid over it, checked as a run file is."""
        values: dict[str, Any] = {name: getattr(self, name) for name in RunFile.model_fields} | {"variants": {}, "sweep": None}
        values["training"] = self.training.model_dump() | {key: getattr(change.training, key) for key in change.training.model_fields_set}
        values |= {"tokens": change.tokens or self.tokens, "model": change.model or self.model}
        if not isinstance(values["model"], PairedModel):
            values["partner"] = None  # a model of one input reads none
        if change.tokens or change.model:
            values["transfer"] = change.transfer  # another network may not take the weights of [transfer]
        return RunFile.model_validate(values)

    def member(self, number: int) -> RunFile:
        """The run of one of `seeds` members, counted from 1: the same, with a seed of its own.

        Raises
        ------
        ValueError
            If there is no such member.
        """
        if not 1 <= number <= self.training.seeds:
            raise ValueError(f"member must be from 1 to training.seeds ({self.training.seeds}), got {number}")
        training = self.training.model_dump() | {"seed": self.training.seed + number - 1, "seeds": 1}
        return self.model_copy(update={"training": Training.model_validate(training)})

    def part(self, variant: str | None = None, member: int = 1, job: str | None = None) -> RunFile:
        """The run of one model folder: a member of the model or of a variant, or a job of the sweep of either.

        Raises
        ------
        ValueError
            If there is none such.
        """
        if job is None:
            return (self.variant(variant) if variant else self).member(member)
        jobs = {each.name: each.run for each in self.jobs() if each.of == (variant or "model")}
        if job not in jobs:
            raise ValueError(f"job must be one of {', '.join(jobs) or '(none)'}, got {job!r}")
        return jobs[job]

    def jobs(self) -> list[Job]:
        """All runs of [sweep], each checked as a run file of its own, of one seed; none without [sweep].

        Raises
        ------
        ValueError
            If a key or value is none of a run file (a ValidationError), not of what may differ between jobs, or there twice.
        """
        if self.sweep is None:
            return []
        jobs: list[Job] = []
        for of in self.sweep.of:
            values = (self if of == "model" else self.variant(of)).member(1).model_dump(exclude={"variants", "sweep"})
            jobs += [Job(of, settings, self._job(values, settings)) for settings in self.sweep.combinations()]
        if len({job.place for job in jobs}) < len(jobs):
            raise ValueError("of and the values of each key must differ from each other, got one twice")
        return jobs

    def _job(self, values: dict[str, Any], settings: dict[str, Any]) -> RunFile:
        """The run of `values` with the settings laid over them."""
        values = copy.deepcopy(values)
        for key, value in settings.items():
            *tables, last = key.split(".")
            table = values
            for name in tables:
                if not isinstance(table.get(name), dict):
                    table[name] = {}
                table = table[name]
            table[last] = value
        run = RunFile.model_validate(values | {"variants": {}})
        if other := [key for key in settings if key.partition(".")[0] not in SWEPT]:
            raise ValueError(f"keys must be of {', '.join(SWEPT)}, got {other[0]!r}")
        found = _same_in_jobs(run.training)
        for name, wanted in _same_in_jobs(self.member(1).training).items():
            if found[name] != wanted:
                raise ValueError(f"training.{name} must be {wanted!r}, that of [training], in every job, got {found[name]!r}")
        return run

    def is_control(self) -> bool:
        """Whether this run is a control (labels shuffled), not a model or baseline."""
        return self.training.labels == "shuffled"


@dataclass(frozen=True)
class Form(Generic[SectionT]):
    """A kind of TOML file: its section, what errors call it, the error that is raised, and the unions told apart by `kind`, by key."""

    section: type[SectionT]
    what: str
    failure: type[SelfAttnBioError]
    unions: Mapping[str, Any]

    def read(self, path: str | Path) -> SectionT:
        """Read and check a file; errors as of `read_run_file`."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")  # Windows editors put a mark in front
        except FileNotFoundError:
            raise self.failure(f"{self.what} must be an existing TOML file, got no such file", place=str(path)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self.failure(f"{self.what} must be readable UTF-8 text, got {error}", place=str(path)) from error
        return self.check(text, path)

    def check(self, text: str, path: Path) -> SectionT:
        """`read` of what stands in a file, or is to stand there: errors name its path."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line (\d+)", str(error))
            lines = text.splitlines()[int(line[1]) - 1 : int(line[1])] if line else []
            cure = "Write paths with /, or between single quotes: 'C:\\data\\a.fa'" if any("\\" in each for each in lines) else ""
            place = f"{path}:{line[1]}" if line else str(path)
            raise self.failure(f"{self.what} must be TOML, got {error}", place=place, cure=cure) from error
        try:
            return self.section.model_validate(values)
        except ValidationError as error:
            message, keys, cure = _first_mistake(error, self.unions)
            raise self.failure(message, place=f"{path}:{_line_of(keys, text)}", cure=cure) from error


def read_run_file(path: str | Path) -> RunFile:
    """Read and check a run file.

    Raises
    ------
    RunFileError
        If the file is missing, is not TOML, has an unknown key (the nearest known one is named) or a value out of range;
        the place is `path:line`.
    """
    return _RUN_FILES.read(path)


def run_file_of(text: str, path: Path) -> RunFile:
    """`read_run_file` of what is to stand in a file."""
    return _RUN_FILES.check(text, path)


def _first_mistake(error: ValidationError, unions: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """What is wrong, at which keys, and how many more mistakes there are, in words."""
    first, more = error.errors()[0], error.error_count() - 1
    context = first.get("ctx", {})
    # `kind` unions put their tag into the location ("model", "attention", "embed_dim"): the file has no such key.
    parts = [key for part in first["loc"] if part != "[key]" for key in str(part).split(".")]  # [sweep] has dotted keys
    named = (["several", "parts"], ["data", "tracks"])  # below these a key of the file's own comes before the tag
    keys = [key for i, key in enumerate(parts) if not (i > 0 and (parts[i - 1] in unions or parts[max(i - 3, 0) : i - 1] in named))]
    match first["type"]:
        case "unknown_key":
            keys = [*keys, context["key"]]
            message = f"{'.'.join(keys)} must be a known key, got {context['key']!r} ({context['hint']})"
        case "missing":
            message = f"{'.'.join(keys)} must be given, got nothing"
        case "union_tag_not_found":
            message = f"{'.'.join(keys)}.kind must be one of {_kinds(keys, unions)}, got nothing"
        case "union_tag_invalid":
            kinds, keys = _kinds(keys, unions), [*keys, "kind"]
            message = f"{'.'.join(keys)} must be one of {kinds}, got {context['tag']!r}"
        case "value_error":
            message = f"[{'.'.join(keys)}] {context['error']}" if keys else str(context["error"])
        case _:
            # "Input should be greater than 0", "Tuple should have at least 1 item"
            rule = re.sub(r"^\w+ should ", "must ", first["msg"]).replace("tuple", "list")
            rule = rule.replace("be a valid dictionary or object to extract fields from", "be a table such as { kind = ... }")
            message = f"{'.'.join(keys)} {rule}, got {first['input']!r}"
    return message, keys, f"{more} more to mend after this one" if more else ""


_UNIONS: dict[str, Any] = {
    **{"windows": Windows, "negatives": Negatives, "label": Label},
    **{"split": Split, "objective": Objective, "model": Model, "cross_position": Position},
    **{"stem": Stem, "position": Position, "pattern": Pattern, "mixer": Mixer, "head": Head, "gates": Gates, "exits": Exits},
    **{"method": Method, "caller": Caller, "balance": Balance},
}
_RUN_FILES = Form(RunFile, "run file", RunFileError, _UNIONS)


def _kinds(keys: Sequence[str], unions: Mapping[str, Any]) -> str:
    """The kinds of the union that stands at these keys."""
    of_own_name = TrackTarget if "tracks" in keys else Part  # tracks and parts of several objectives have names of their own
    members = get_args(get_args(unions.get(keys[-1], of_own_name))[0])
    sections = [get_args(member)[0] if get_origin(member) is Annotated else member for member in members]
    kinds = (get_args(section.model_fields["kind"].annotation) for section in sections if hasattr(section, "model_fields"))
    return ", ".join(map(repr, itertools.chain.from_iterable(kinds)))


def _line_of(keys: Sequence[str], text: str) -> int:
    """The 1-based line of `text` that sets `keys`, or of the nearest table or key above it."""
    table: list[str] = []
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.match(r"""\s*(?P<table>\[+)?\s*(?P<keys>[\w."'-]+)\s*[\]=]""", line)
        if not found:
            continue
        path = [key.strip("\"'") for key in found["keys"].split(".")]
        table = path if found["table"] else table
        path = path if found["table"] else table + path
        shared = min(len(path), len(keys))
        if shared > depth and path[:shared] == list(keys[:shared]):
            best, depth = number, shared
    return best
