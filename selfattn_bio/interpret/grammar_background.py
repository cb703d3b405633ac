"""[background] of a grammar: how bases between the sites are sampled."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from selfattn_bio.config import Section


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
