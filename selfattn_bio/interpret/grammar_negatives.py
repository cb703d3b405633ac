"""[negatives] of a grammar: records without the complete signal of positives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from selfattn_bio.config import Section
from selfattn_bio.interpret.grammar_sites import (
    Blocks,
    Fraction,
    Generator,
    MotifPair,
    Range,
    SiteBlock,
    sample_integer,
    sample_label,
)

if TYPE_CHECKING:
    from selfattn_bio.interpret.grammar import Grammar


class Shuffled(Section):
    """Negatives: the shuffled bases of a positive, with the same k-mer counts."""

    fraction: Fraction
    k: int = Field(2, ge=1, le=8, description="2 = dinucleotides")

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Return the blocks unchanged; bases are shuffled after the sites are planted."""
        return blocks


class BackgroundOnly(Section):
    """Negatives: background without sites."""

    fraction: Fraction

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Return no blocks."""
        return []


class Thinned(Section):
    """Negatives: a positive that keeps each site with probability `keep`.

    With `keep` 1, negatives have the same distribution as positives, and labels carry no
    information.
    """

    fraction: Fraction
    keep: float = Field(ge=0, le=1)

    def to_negative(self, blocks: Blocks, grammar: Grammar, rng: Generator) -> Blocks:
        """Remove random sites of each block."""
        return [
            block.without([i for i in range(len(block.sites)) if rng.random() >= self.keep])
            for block in blocks
        ]


class HalfPair(Section):
    """Negatives: a positive without one half of each pair, or only one half of one pair."""

    fraction: Fraction
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

    fraction: Fraction
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

    fraction: Fraction

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
