"""Sections of a grammar.

[background] samples the bases between sites, [sites] and [pairs] are planted in positives, and
[negatives] lack a part of the signal of positives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from selfattn_bio.config import Listed, Names, Section

if TYPE_CHECKING:
    from selfattn_bio.interpret.grammar import Grammar
Generator = np.random.Generator
Ppms = Mapping[str, NDArray[np.float64]]  # motif label -> (width, 4) probabilities of ACGT
OPPOSITE = {"+": "-", "-": "+"}
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
Strand = Literal["+", "-", "either"]
Range = Annotated[  # smallest and largest value, both included; 2 means [2, 2]
    Listed[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]],
    BeforeValidator(
        lambda value: [value, value] if isinstance(value, int) else value,
        json_schema_input_type=int | list[int],
    ),
]


class IndependentLetters(Section):
    """Sample bases independently."""

    kind: Literal["independent"] = "independent"
    gc: float = Field(0.5, gt=0, lt=1, description="fraction of G and C together")


class MarkovLetters(Section):
    """Sample bases from a first-order Markov chain with a given GC content and CpG depletion.

    Both strands have the same distribution. A fraction `1 - cpg` of the CpG expected by chance is
    removed. TpG and CpA gain the same amount each and TpA loses it, so that base frequencies stay
    the same.
    """

    kind: Literal["markov"] = "markov"
    gc: float = Field(0.42, gt=0, lt=1, description="fraction of G and C together")
    cpg: float = Field(
        0.25,
        ge=0,
        le=1,
        description="observed / expected CpG; 0.2 to 0.25 in vertebrate genomes",
    )

    @model_validator(mode="after")
    def _enough_tpa(self) -> MarkovLetters:
        if (1 - self.cpg) * self.gc**2 > (1 - self.gc) ** 2:
            raise ValueError(
                f"cpg = {self.cpg} is impossible at gc = {self.gc}; choose at least "
                f"{1 - ((1 - self.gc) / self.gc) ** 2:.3g}"
            )
        return self

    @property
    def transitions(self) -> NDArray[np.float64]:
        """Return (4, 4) transition probabilities, from row to column, in the order ACGT."""
        bases = np.array([1 - self.gc, self.gc, self.gc, 1 - self.gc]) / 2
        dinucleotides = np.outer(bases, bases)
        lost = (1 - self.cpg) * dinucleotides[1, 2]
        # CpG, CpA, TpG, TpA
        for (before, after), sign in {(1, 2): -1, (1, 0): 1, (3, 2): 1, (3, 0): -1}.items():
            dinucleotides[before, after] += sign * lost
        return dinucleotides / bases[:, None]


class ShuffledLetters(Section):
    """Use windows of given sequences, shuffled so that their k-mer counts stay the same."""

    kind: Literal["shuffled"] = "shuffled"
    sequences: str = Field(
        min_length=1,
        description="file of sequences; those with at least `length` bp and only ACGT are used",
    )
    k: int = Field(2, ge=1, le=8, description="2 = dinucleotides")


BackgroundModel = Annotated[
    IndependentLetters | MarkovLetters | ShuffledLetters, Field(discriminator="kind")
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
    presence: PositiveFraction = Field(
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


class Shuffled(Section):
    """Negatives: the shuffled bases of a positive, with the same k-mer counts."""

    fraction: PositiveFraction
    k: int = Field(2, ge=1, le=8, description="2 = dinucleotides")

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Return the blocks unchanged; bases are shuffled after the sites are planted."""
        return blocks


class BackgroundOnly(Section):
    """Negatives: background without sites."""

    fraction: PositiveFraction

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Return no blocks."""
        return []


class Thinned(Section):
    """Negatives: a positive that keeps each site with probability `keep`.

    With `keep` 1, negatives have the same distribution as positives, and labels carry no
    information.
    """

    fraction: PositiveFraction
    keep: float = Field(ge=0, le=1)

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Remove random sites of each block."""
        return [
            block.without([i for i in range(len(block.sites)) if rng.random() >= self.keep])
            for block in blocks
        ]


class HalfPair(Section):
    """Negatives: a positive without one half of each pair, or only one half of one pair."""

    fraction: PositiveFraction
    others: Literal["kept", "left_out"] = Field(
        "kept",
        description="the other sites of the positive; left_out plants one half of a random pair "
        "only",
    )

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Remove a random half of each pair; with "left_out", of one pair, the only block."""
        if self.others == "left_out":
            name = list(grammar.pairs)[int(rng.integers(len(grammar.pairs)))]
            blocks = grammar.pairs[name].blocks(name, rng)
        return [
            block.without([block.halves[int(rng.integers(2))]]) if block.pair else block
            for block in blocks
        ]


class FarPair(Section):
    """Negatives: a positive whose pairs have their halves at another distance."""

    fraction: PositiveFraction
    spacing: Range = Field(
        description="bp between the halves: [min, max]; must not overlap the spacing of a pair"
    )

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Change the gap between the halves of each pair, which then no longer counts as a pair."""
        return [self._respaced(block, rng) if block.pair else block for block in blocks]

    def _respaced(self, block: SiteBlock, rng: Generator) -> SiteBlock:
        first = block.halves[0]
        return replace(
            block,
            gaps=(*block.gaps[:first], sample_integer(self.spacing, rng), *block.gaps[first + 1 :]),
            pair="",
        )


class SwappedPair(Section):
    """Negatives: a positive whose pairs have the second motif of another pair.

    Distances stay the same.
    """

    fraction: PositiveFraction

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Replace the second half of each pair, which then no longer counts as a pair."""
        return [
            self._swapped(block, grammar.pairs, rng) if block.pair else block for block in blocks
        ]

    def _swapped(
        self, block: SiteBlock, pairs: Mapping[str, MotifPair], rng: Generator
    ) -> SiteBlock:
        others = [pair for name, pair in pairs.items() if name != block.pair]
        foreign = sample_label(others[int(rng.integers(len(others)))].second, rng)
        sites = [replace(site, motif=foreign) if site.half == 2 else site for site in block.sites]
        return replace(block, sites=tuple(sites), pair="")


class Negatives(Section):
    """[negatives]: kinds of records with label 0, each with its fraction; fractions sum to 1.

    `to_negative` of a kind takes the blocks of a positive that was sampled for this purpose and is
    not in the data set. It returns the blocks of a negative.
    """

    shuffled: Shuffled | None = None
    background: BackgroundOnly | None = None
    thinned: Thinned | None = None
    half_pair: HalfPair | None = None
    far_pair: FarPair | None = None
    swapped_pair: SwappedPair | None = None

    @property
    def kinds(
        self,
    ) -> dict[str, Shuffled | BackgroundOnly | Thinned | HalfPair | FarPair | SwappedPair]:
        """Return the kinds that the grammar uses, by name."""
        return {name: kind for name in Negatives.model_fields if (kind := getattr(self, name))}

    @model_validator(mode="after")
    def _fractions_sum_to_one(self) -> Negatives:
        if abs((total := sum(kind.fraction for kind in self.kinds.values())) - 1) > 1e-6:
            raise ValueError(f"fractions of the kinds of negatives sum to {total:g} instead of 1")
        return self
