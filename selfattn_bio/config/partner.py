"""[partner]: the second input of a model with two inputs.

It is a sequence per record, or a track of numbers. Tracks are quantised to levels
(`sequence.alphabet`), which are read like the bases of a sequence.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from selfattn_bio.config.section import MAX_PROTEIN_K, Paths, Section, check_stride


class SequencePartner(Section):
    """[partner] kind = "sequence": a second DNA or protein sequence for each record."""

    kind: Literal["sequence"] = "sequence"
    alphabet: Literal["dna", "protein"] = Field("dna", description="alphabet of the partners")
    files: Paths | None = Field(
        None, description="files in any format of [data]; the ids are those of the records"
    )
    column: str = Field(
        "", description="instead of files: column with this sequence in the tables of [data]"
    )
    k: int = Field(3, ge=1, le=8, description="positions per token")
    stride: int = Field(1, ge=1, description="positions between the starts of tokens")

    @property
    def inputs(self) -> list[str]:
        """Return the files that are read in addition to those of [data]."""
        return list(self.files or ())

    @model_validator(mode="after")
    def _has_one_source(self) -> SequencePartner:
        if bool(self.files) == bool(self.column):
            raise ValueError(f"needs files or column{', not both' if self.files else ''}")
        check_stride(self.k, self.stride)
        if self.alphabet == "protein" and self.k > MAX_PROTEIN_K:
            raise ValueError(f"k {self.k} is too large for protein; use at most {MAX_PROTEIN_K}")
        return self


class TrackPartner(Section):
    """[partner] kind = "track": one number per position of each record, such as conservation."""

    kind: Literal["track"] = "track"
    path: str = Field(
        min_length=1,
        description="bigWig or bedGraph, read at chrom, start and end of each record (a record "
        "without them is read at the chromosome named as its id, from 0); BED or GFF, read as 1 "
        "where covered and 0 elsewhere; or .npz with one array of numbers per record id",
    )
    low: float = Field(description="value of the lowest level; lower values are clipped")
    high: float = Field(description="value of the highest level; higher values are clipped")

    @model_validator(mode="after")
    def _low_is_lower(self) -> TrackPartner:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) is not less than high ({self.high:g})")
        return self

    # tokens of a track: one level per position
    k: ClassVar[int] = 1
    stride: ClassVar[int] = 1
    alphabet: ClassVar[str] = "levels"

    @property
    def inputs(self) -> list[str]:
        """Return the files that are read in addition to those of [data]."""
        return [self.path]


Partner = Annotated[SequencePartner | TrackPartner, Field(discriminator="kind")]
