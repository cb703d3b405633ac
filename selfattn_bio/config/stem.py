"""[tokens] and model.stem: how letters become the vectors that enter the encoder."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfattn_bio.config.section import Listed, Odd, Positive, Section, check_stride, left_out


class Tokens(Section):
    """[tokens]: k-mers of length `k`, one every `stride` positions."""

    k: int = Field(3, ge=1, le=8, description="length of the k-mers that are tokens")
    stride: int = Field(1, ge=1, description="distance between tokens in positions, at most k")
    canonical: bool = Field(
        False, description="a k-mer and its reverse complement have one embedding (DNA only)"
    )

    @model_validator(mode="after")
    def _no_letter_is_skipped(self) -> Tokens:
        check_stride(self.k, self.stride)
        return self


class NoStemSection(Section):
    """Token embeddings enter the encoder unchanged."""

    kind: Literal["none"] = "none"


class ConvStemSection(Section):
    """Convolution over token embeddings, max-pooling, convolution: one vector per `pool` tokens."""

    kind: Literal["conv"] = "conv"
    token_dim: Positive = Field(
        16, description="dimension of the token embeddings; the convolution outputs embed_dim"
    )
    kernel: Odd[Positive] = Field(9, description="tokens; odd")
    pool: Positive = Field(8, description="tokens")
    second_kernel: Odd[Positive] = Field(5, description="pooled tokens; odd")
    norm: Literal["batch", "record"] = left_out(
        "batch",
        description="batch = mean and standard deviation of detectors over the batch; record = "
        "over each record",
    )


class TowerStemSection(Section):
    """Stages of convolution and max-pooling for long sequences.

    The stem gives one vector per product of `pools` tokens.
    """

    kind: Literal["tower"] = "tower"
    token_dim: Positive = Field(8, description="dimension of the token embeddings")
    channels: Listed[tuple[Positive, ...]] = Field(
        (64, 96), description="channels of each stage except the last, which has embed_dim"
    )
    kernels: Odd[Listed[tuple[Positive, ...]]] = Field(
        (15, 7, 5), min_length=1, description="kernel of each stage in its tokens; odd"
    )
    pools: Listed[tuple[Positive, ...]] = Field(
        (5, 5, 2), description="pooling of each stage in its tokens"
    )
    residual_kernel: Odd[Positive] = Field(
        5, description="kernel of the second convolution of each stage except the first; odd"
    )

    @model_validator(mode="after")
    def _stages_are_complete(self) -> TowerStemSection:
        stages = len(self.kernels)
        if (len(self.channels), len(self.pools)) != (stages - 1, stages):
            raise ValueError(
                f"channels has {len(self.channels)} values and pools has {len(self.pools)}; with "
                f"{stages} kernels, use {stages - 1} channels and {stages} pools"
            )
        return self

    @property
    def pool(self) -> int:
        """Return the number of tokens per vector."""
        return math.prod(self.pools)


AnyStem = Annotated[NoStemSection | ConvStemSection | TowerStemSection, Field(discriminator="kind")]
