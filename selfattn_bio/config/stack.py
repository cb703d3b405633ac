"""[stack]: simple models that are combined with the network into one score."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from selfattn_bio.config.section import Listed, Section, first_repeated

# Baselines of `baselines.BASELINES` that may be parts of a stack. Left out are gkm_svm, which is
# slow, gc, which k-mers contain, and length and first_letter, which are no biological signal.
StackPart = Literal[
    "kmer6_logistic",
    "kmer6_positional_logistic",
    "exact_positions",
    "motif_scores",
    "composition",
    "kmer2_logistic",
]


class StackSection(Section):
    """[stack]: models that are fitted to the training records and combined with the network."""

    parts: Listed[tuple[StackPart, ...]] = Field(
        (),
        description="names of baselines; the weights of their logits and the network's are fitted "
        "on valid",
    )

    @field_validator("parts")
    @classmethod
    def _each_once(cls, parts: tuple[StackPart, ...]) -> tuple[StackPart, ...]:
        if part := first_repeated(parts):
            raise ValueError(f"parts names {part!r} more than once")
        return parts
