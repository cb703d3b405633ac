"""[partner]: the second of two inputs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from selfattn_bio.config.section import MAX_PROTEIN_K, Paths, Section


class SequencePartner(Section):
    """[partner] kind = "sequence": a DNA or protein sequence with the id of each record."""

    kind: Literal["sequence"] = "sequence"
    alphabet: Literal["dna", "protein"] = "dna"
    files: Paths | None = Field(
        None, description="sequence files as in [data], with the ids of the records"
    )
    column: str = Field(
        "", description="column of the tables of [data] with the sequence, instead of files"
    )
    k: int = Field(3, ge=1, le=8, description="positions per token")
    stride: int = Field(1, ge=1, description="positions between the starts of tokens")

    @property
    def inputs(self) -> list[str]:
        """Return the files that are read in addition to those of [data]."""
        return list(self.files or ())

    @model_validator(mode="after")
    def _is_somewhere(self) -> SequencePartner:
        if bool(self.files) == bool(self.column):
            raise ValueError(f"needs files or column{', not both' if self.files else ''}")
        if self.stride > self.k:
            raise ValueError(f"stride {self.stride} skips positions; use at most k ({self.k})")
        if self.alphabet == "protein" and self.k > MAX_PROTEIN_K:
            raise ValueError(f"k {self.k} is too large for protein; use at most {MAX_PROTEIN_K}")
        return self


class TrackPartner(Section):
    """[partner] kind = "track": a number per position of a record, such as conservation."""

    kind: Literal["track"] = "track"
    path: str = Field(
        min_length=1,
        description="bigWig or bedGraph, read at chrom, start and end of the records (without "
        "coordinates, the id is the chromosome and the start is 0); BED and GFF, which count as 1 "
        "where covered and 0 elsewhere; or .npz with one array of numbers per id",
    )
    low: float = Field(description="value of the lowest level; lower values are clipped")
    high: float = Field(description="value of the highest level; higher values are clipped")

    @model_validator(mode="after")
    def _low_is_lower(self) -> TrackPartner:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) is not less than high ({self.high:g})")
        return self

    k: ClassVar[int] = 1  # tokens are levels
    stride: ClassVar[int] = 1
    alphabet: ClassVar[str] = "levels"

    @property
    def inputs(self) -> list[str]:
        """Return the files that are read in addition to those of [data]."""
        return [self.path]


Partner = Annotated[SequencePartner | TrackPartner, Field(discriminator="kind")]
