"""Read grammars of synthetic data sets from TOML.

A grammar lists the motifs of positives, their arrangement, the kinds of negatives and the
background (docs/motifs.md has an example). `Grammar.positive` samples the blocks of sites of a
positive, and `to_negative` of a kind of negatives changes them into those of a negative.
`simulation` then samples the positions and bases. All sections are in one module because their
settings depend on each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from selfattn_bio.config import Form, Listed, Names, Positive, Section
from selfattn_bio.errors import GrammarError
from selfattn_bio.motifs import open_database

Generator = np.random.Generator
Ppms = Mapping[str, NDArray[np.float64]]  # motif label -> (width, 4) probabilities of ACGT
OPPOSITE = {"+": "-", "-": "+"}

Fraction = Annotated[float, Field(gt=0, le=1)]
Strand = Literal["+", "-", "either"]
Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
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
        _check_range("number", self.number)
        return self

    def blocks(self, name: str, rng: Generator) -> Blocks:
        """Sample the sites of a record, each as a separate block; `name` is not needed."""
        number = sample_integer(self.number, rng)
        return [
            SiteBlock((Site(_sample_label(self.motifs, rng), sample_strand(self.strand, rng)),))
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
        _check_range("spacing", self.spacing)
        return self

    def blocks(self, name: str, rng: Generator) -> Blocks:
        """Sample the pair `name`, with one bystander if the grammar has any, as one block."""
        is_opposite = self.orientation == "opposite" or (
            self.orientation == "either" and bool(rng.integers(2))
        )
        sites = [
            Site(_sample_label(self.first, rng), "+", half=1),
            Site(_sample_label(self.second, rng), "-" if is_opposite else "+", half=2),
        ]
        if self.order == "either" and rng.integers(2):
            sites.reverse()
        sites = [replace(site, planted=bool(rng.random() < self.presence)) for site in sites]
        if sample_strand(self.strand, rng) == "-":
            sites = [replace(site, strand=OPPOSITE[site.strand]) for site in reversed(sites)]
        if self.bystanders:
            sites.insert(
                2 * int(rng.integers(2)),
                Site(_sample_label(self.bystanders, rng), sample_strand("either", rng)),
            )
        gaps = tuple(sample_integer(self.spacing, rng) for _ in sites[1:])
        return [SiteBlock(tuple(sites), gaps, name)]

    def motif_choices(self) -> list[Names]:
        """Return, for each site of the pair, the labels it may have."""
        return [self.first, self.second, *([self.bystanders] if self.bystanders else [])]


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
        foreign = _sample_label(others[int(rng.integers(len(others)))].second, rng)
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


class Grammar(Section):
    """A complete grammar: the sites of positives, the kinds of negatives and the background."""

    title: str = ""
    database: str = Field(
        "jaspar:vertebrates",
        description="motif database: jaspar:GROUP, or the path of a MEME, JASPAR or TRANSFAC file",
    )
    records: int = Field(24_000, ge=2, description="number of records; half are positives")
    length: Positive = Field(200, description="bp per record")
    elements: Range | None = Field(
        None,
        description="number of [sites] and [pairs] in a positive: [min, max]; all by default",
    )
    background: BackgroundModel = IndependentLetters()
    sites: dict[Name, Sites] = Field(default_factory=dict)
    pairs: dict[Name, MotifPair] = Field(default_factory=dict)
    negatives: Negatives

    @model_validator(mode="after")
    def _parts_go_together(self) -> Grammar:
        parts = {**self.sites, **self.pairs}
        if not parts:
            raise ValueError("positives have no motif; add [sites.NAME] or [pairs.NAME]")
        if twice := sorted(self.sites.keys() & self.pairs.keys()):
            raise ValueError(f"the name {twice[0]!r} is used in both [sites] and [pairs]")
        if self.elements:
            _check_range("elements", self.elements)
            if self.elements[1] > len(parts):
                raise ValueError(
                    f"elements allows up to {self.elements[1]}, but [sites] and [pairs] have "
                    f"only {len(parts)}"
                )
        for name, least in {"half_pair": 1, "far_pair": 1, "swapped_pair": 2}.items():
            if name in self.negatives.kinds and len(self.pairs) < least:
                raise ValueError(
                    f"negatives of kind {name} need at least {least} of [pairs], but there "
                    f"{'is' if len(self.pairs) == 1 else 'are'} {len(self.pairs)}"
                )
        of_pairs: list[str] = [
            name for name in ("far_pair", "swapped_pair") if name in self.negatives.kinds
        ]
        of_pairs += (
            ["half_pair"]
            if self.negatives.half_pair and self.negatives.half_pair.others == "kept"
            else []
        )
        if of_pairs and self.elements and self.elements[0] <= len(self.sites):
            raise ValueError(
                f"with elements = {list(self.elements)} a positive may have no pair, which "
                f"negatives of kind {of_pairs[0]} need; start at {len(self.sites) + 1}"
            )
        seconds = [label for pair in self.pairs.values() for label in pair.second]
        if self.negatives.swapped_pair and len(set(seconds)) < len(seconds):
            raise ValueError(
                "two of [pairs] have the same second motif, so negatives of kind swapped_pair "
                "would contain a true pair"
            )
        if self.negatives.far_pair:
            self._check_far(self.negatives.far_pair.spacing)
        return self

    def _check_far(self, far: tuple[int, int]) -> None:
        _check_range("negatives.far_pair.spacing", far)
        for name, pair in self.pairs.items():
            if far[0] <= pair.spacing[1] and pair.spacing[0] <= far[1]:
                raise ValueError(
                    f"negatives.far_pair.spacing {list(far)} overlaps the spacing of {name}, "
                    f"{list(pair.spacing)}"
                )

    @property
    def motifs(self) -> list[str]:
        """Return the labels of all motifs in order, without duplicates."""
        return list(
            dict.fromkeys(
                label
                for part in self._parts.values()
                for labels in part.motif_choices()
                for label in labels
            )
        )

    @property
    def _parts(self) -> dict[str, Sites | MotifPair]:
        return {**self.sites, **self.pairs}

    def positive(self, rng: Generator) -> Blocks:
        """Sample the blocks of a positive, by section; their order in a record is sampled later."""
        names = list(self._parts)
        if self.elements:
            names = [
                names[i]
                for i in sorted(
                    rng.choice(len(names), sample_integer(self.elements, rng), replace=False)
                )
            ]
        return [block for name in names for block in self._parts[name].blocks(name, rng)]

    def ppms(self) -> dict[str, NDArray[np.float64]]:
        """Read the motifs of the grammar from the database.

        Returns
        -------
        Label to probabilities of ACGT, (width, 4).

        Raises
        ------
        DatabaseError
            If the database cannot be read.
        ValueError
            If a motif is not in the database, or a record may be too short for its sites.
        """
        database = open_database(self.database)
        for label in self.motifs:
            if label not in database:
                near = difflib.get_close_matches(label, database, n=1, cutoff=0)[0]
                raise ValueError(
                    f"motif {label!r} is not in {self.database}; did you mean {near!r}?"
                )
        ppms = {label: database[label] for label in self.motifs}
        far = self.negatives.far_pair
        foreign = [
            len(ppms[label])
            for pair in self.pairs.values()
            for label in pair.second
            if self.negatives.swapped_pair
        ]
        needs = sorted(
            _most_letters(part, ppms, far, max(foreign, default=0)) for part in self._parts.values()
        )
        most = sum(needs[-self.elements[1] :] if self.elements else needs)
        if most > self.length:
            raise ValueError(
                f"length {self.length} is too short for the sites of a record, which take up to "
                f"{most} bp"
            )
        return ppms


def read_grammar(path: str | Path) -> Grammar:
    """Read and check a grammar.

    Parameters
    ----------
    path
        TOML file.

    Raises
    ------
    GrammarError
        If the file is missing or not TOML, has an unknown key or a value out of range, names a
        motif that is not in its database, or has records too short for the sites.
    DatabaseError
        If the database cannot be read.
    """
    grammar = Form(Grammar, "grammar", GrammarError, UNIONS).read(path)
    try:
        grammar.ppms()
    except ValueError as error:
        raise GrammarError(str(error), place=str(path)) from error
    return grammar


UNIONS: dict[str, Any] = {"background": BackgroundModel}  # keys whose `kind` selects a class


def _sample_label(labels: Names, rng: Generator) -> str:
    return labels[int(rng.integers(len(labels)))]


def _check_range(name: str, limits: tuple[int, int]) -> None:
    if limits[0] > limits[1]:
        raise ValueError(f"{name} = {list(limits)} is not in increasing order")


def _most_letters(part: Sites | MotifPair, ppms: Ppms, far: FarPair | None, foreign: int) -> int:
    """Return the largest number of bases that a section may take in a record.

    Parameters
    ----------
    part
        One of [sites] or [pairs].
    far
        The kind of negatives that changes distances, if the grammar has it.
    foreign
        Largest width of a motif that may replace the second motif of a pair; 0 if none may.
    """
    widths = [max(len(ppms[label]) for label in labels) for labels in part.motif_choices()]
    if isinstance(part, Sites):
        return sum(widths)
    widths[1] = max(widths[1], foreign)
    return (
        sum(widths)
        + max(part.spacing[1], far.spacing[1] if far else 0)
        + (part.spacing[1] if part.bystanders else 0)
    )
