"""[sites] and [pairs] of a grammar: motifs that are planted in a record, and their arrangement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from selfattn_bio.config import Listed, Names, Section

Generator = np.random.Generator
Ppms = Mapping[str, NDArray[np.float64]]  # motif label -> (width, 4) probabilities of ACGT
OPPOSITE = {"+": "-", "-": "+"}

Fraction = Annotated[float, Field(gt=0, le=1)]
Strand = Literal["+", "-", "either"]
Range = Annotated[  # smallest and largest value, both included; 2 means [2, 2]
    Listed[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]],
    BeforeValidator(
        lambda value: [value, value] if isinstance(value, int) else value,
        json_schema_input_type=int | list[int],
    ),
]


# ------------ what a grammar generates
@dataclass(frozen=True)
class Site:
    """One motif instance in a record.

    Attributes
    ----------
    motif
        Label of the motif in the database.
    strand
        "+" or "-".
    half
        1 for the first motif of a pair, 2 for the second, 0 for other sites.
    planted
        False if the background is left in place of the motif.
    """

    motif: str
    strand: str
    half: int = 0
    planted: bool = True


@dataclass(frozen=True)
class SiteBlock:
    """Sites in record order with fixed distances between them.

    Attributes
    ----------
    sites
        The n sites, from left to right on the forward strand.
    gaps
        Number of bases between each site and the next, n - 1 values.
    pair
        Name of the pair whose halves are in the block, arranged as the grammar requires; empty for
        other blocks.
    """

    sites: tuple[Site, ...]
    gaps: tuple[int, ...] = ()
    pair: str = ""

    def width(self, ppms: Ppms) -> int:
        """Return the number of bases from the start of the first site to the end of the last."""
        return sum(len(ppms[site.motif]) for site in self.sites) + sum(self.gaps)

    @property
    def halves(self) -> list[int]:
        """Return the indices of the sites that are halves of a pair."""
        return [i for i, site in enumerate(self.sites) if site.half]

    def without(self, removed: Sequence[int]) -> SiteBlock:
        """Return the block with the background in place of the sites with these indices."""
        return replace(
            self,
            sites=tuple(
                replace(site, planted=site.planted and i not in removed)
                for i, site in enumerate(self.sites)
            ),
        )


Blocks = list[SiteBlock]


def sample_integer(limits: tuple[int, int], rng: Generator) -> int:
    """Sample an integer uniformly from the first to the second limit, both included."""
    return int(rng.integers(limits[0], limits[1] + 1))


def sample_strand(rule: Strand, rng: Generator) -> str:
    """Return "+" or "-" as given, or a random one for "either"."""
    return "+-"[int(rng.integers(2))] if rule == "either" else rule


# ------------ the sections
class Sites(Section):
    """[sites.NAME]: single sites of a motif, or of one of several interchangeable motifs."""

    motifs: Names = Field(
        description="motif labels in the database; with several, each site has a random one"
    )
    number: Range = Field((1, 1), description="sites per record: [min, max], sampled uniformly")
    strand: Strand = "either"

    @model_validator(mode="after")
    def _range_is_in_order(self) -> Sites:
        check_range("number", self.number)
        return self

    def blocks(self, name: str, rng: Generator) -> Blocks:
        """Sample the sites of a record, each as a separate block; `name` is not needed."""
        number = sample_integer(self.number, rng)
        return [
            SiteBlock((Site(sample_label(self.motifs, rng), sample_strand(self.strand, rng)),))
            for _ in range(number)
        ]

    def motif_choices(self) -> list[Names]:
        """Return, for each site that a record may have, the labels it may have."""
        return [self.motifs] * self.number[1]


class MotifPair(Section):
    """[pairs.NAME]: two motifs at a distance, at most once per record."""

    first: Names = Field(
        description="motif labels in the database; with several, a random one is used"
    )
    second: Names
    spacing: Range = Field(description="bp between the two: [min, max], sampled uniformly")
    order: Literal["given", "either"] = Field(
        "given", description="given: first, then second, on the strand of the pair"
    )
    strand: Strand = Field("either", description="strand of the complete pair")
    orientation: Literal["same", "opposite", "either"] = Field(
        "same", description="strand of the second motif relative to the first"
    )
    presence: Fraction = Field(
        1.0, description="probability that each motif is present, independently of the other"
    )
    bystanders: Names | None = Field(
        None,
        description="one of these motifs is placed before or after the pair, at a distance "
        "sampled from the same `spacing`",
    )

    @model_validator(mode="after")
    def _range_is_in_order(self) -> MotifPair:
        check_range("spacing", self.spacing)
        return self

    def blocks(self, name: str, rng: Generator) -> Blocks:
        """Sample the pair `name`, with one bystander if the grammar has any, as one block."""
        is_opposite = self.orientation == "opposite" or (
            self.orientation == "either" and bool(rng.integers(2))
        )
        sites = [
            Site(sample_label(self.first, rng), "+", half=1),
            Site(sample_label(self.second, rng), "-" if is_opposite else "+", half=2),
        ]
        if self.order == "either" and rng.integers(2):
            sites.reverse()
        sites = [replace(site, planted=bool(rng.random() < self.presence)) for site in sites]
        if sample_strand(self.strand, rng) == "-":
            sites = [replace(site, strand=OPPOSITE[site.strand]) for site in reversed(sites)]
        if self.bystanders:
            sites.insert(
                2 * int(rng.integers(2)),
                Site(sample_label(self.bystanders, rng), sample_strand("either", rng)),
            )
        gaps = tuple(sample_integer(self.spacing, rng) for _ in sites[1:])
        return [SiteBlock(tuple(sites), gaps, name)]

    def motif_choices(self) -> list[Names]:
        """Return, for each site of the pair, the labels it may have."""
        return [self.first, self.second, *([self.bystanders] if self.bystanders else [])]


def sample_label(labels: Names, rng: Generator) -> str:
    """Return a random motif label; all are equally likely."""
    return labels[int(rng.integers(len(labels)))]


def check_range(name: str, limits: tuple[int, int]) -> None:
    """Raise ValueError if the lower limit is above the upper one."""
    if limits[0] > limits[1]:
        raise ValueError(f"{name} = {list(limits)} is not in increasing order")
