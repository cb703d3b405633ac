"""Read grammars of synthetic data sets from TOML.

A grammar lists the motifs of positives, their arrangement, the kinds of negatives and the
background (docs/motifs.md has an example). `Grammar.positive` samples the blocks of sites of a
positive, and `to_negative` of a kind of negatives changes them into those of a negative.
`simulation` then samples the positions and bases.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from selfattn_bio.config import Form, Positive, Section
from selfattn_bio.errors import GrammarError
from selfattn_bio.interpret.grammar_parts import (
    BackgroundModel,
    Blocks,
    FarPair,
    Generator,
    IndependentLetters,
    MotifPair,
    Negatives,
    Ppms,
    Range,
    Sites,
    check_range,
    sample_integer,
)
from selfattn_bio.motifs import open_database

Name = Annotated[str, Field(pattern="^[a-z0-9_]+$")]


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
            check_range("elements", self.elements)
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
        check_range("negatives.far_pair.spacing", far)
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
    grammar = Form(Grammar, "grammar", GrammarError).read(path)
    try:
        grammar.ppms()
    except ValueError as error:
        raise GrammarError(str(error), place=str(path)) from error
    return grammar


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
