"""Parts of model kind "attention" after the attention itself: heads and gates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from selfattn_bio.config.section import Listed, Positive, Section


class PoolingHeadSection(Section):
    """Classify weighted means of the tokens of `parts` equal parts of the sequence.

    The weights come from learned scores.
    """

    kind: Literal["pooling"] = "pooling"
    parts: Positive = Field(6, description="1 = the complete sequence, regardless of position")


class ClsHeadSection(Section):
    """Classify a [CLS] vector placed before the tokens."""

    kind: Literal["cls"] = "cls"


AnyHead = Annotated[PoolingHeadSection | ClsHeadSection, Field(discriminator="kind")]


class NoGates(Section):
    """No gates: all heads and feed-forwards are used."""

    kind: Literal["none"] = "none"


class HardConcreteGates(Section):
    """Learned gates that open or close each head and each feed-forward (Louizos et al. 2018).

    With grouped keys and values, each group of heads has a gate. The loss contains an expected L0
    norm. `selfattn-bio prune` removes closed heads and feed-forwards.
    """

    kind: Literal["hard_concrete"] = "hard_concrete"
    penalty: float = Field(
        0.03,
        ge=0,
        description="loss difference between all gates open and all closed; each gate counts by "
        "its fraction of the weights",
    )


class KeptLayer(Section):
    """Parts of a layer that remain after pruning.

    With grouped keys and values, `heads` lists groups of heads.
    """

    heads: Listed[tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        description="numbers of the heads in the trained layer, from 0"
    )
    feedforward: bool = Field(description="whether the feed-forward branch is kept")

    @field_validator("heads")
    @classmethod
    def _each_once(cls, heads: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(heads)) != list(heads):
            raise ValueError(f"heads {list(heads)} are not sorted, or contain a head twice")
        return heads


class PrunedGates(Section):
    """Heads and layers of a pruned model, as written by `selfattn-bio prune`."""

    kind: Literal["pruned"] = "pruned"
    members: Listed[tuple[Listed[tuple[KeptLayer, ...]], ...]] = Field(
        description="for each member, all num_layers layers"
    )


AnyGates = Annotated[NoGates | HardConcreteGates | PrunedGates, Field(discriminator="kind")]
