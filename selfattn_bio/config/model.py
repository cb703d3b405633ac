"""[tokens] and [model]: the kinds of models, with their stems and heads.

`attention` has position encodings and patterns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, FieldSerializationInfo, field_serializer

from selfattn_bio.config.attention import (
    POSITION_SECTIONS,
    AnyPattern,
    AnyPosition,
    FullPattern,
    NoPositionSection,
    T5Position,
)
from selfattn_bio.config.kernels import KERNELS
from selfattn_bio.config.pretrained import PretrainedModel
from selfattn_bio.config.section import (
    Fraction,
    Listed,
    Odd,
    Repeats,
    Section,
    Size,
    left_out,
    stride_problems,
)


class Tokens(Section):
    """[tokens]: k-mers of length `k`, one every `stride` positions.

    Attributes
    ----------
    k
        length of the k-mers that are tokens
    stride
        distance between tokens in positions, at most k
    canonical
        a k-mer and its reverse complement have one embedding (DNA only)
    """

    k: int = Field(3, ge=1, le=8)
    stride: int = Field(1, ge=1)
    canonical: bool = False

    def problems(self) -> Iterator[str]:
        yield from stride_problems(self.k, self.stride)


class NoStemSection(Section):
    """Token embeddings enter the encoder unchanged."""

    kind: Literal["none"] = "none"


class ConvStemSection(Section):
    """Convolution over token embeddings, max-pooling, convolution: one vector per `pool` tokens.

    Attributes
    ----------
    token_dim
        dimension of the token embeddings; the convolution outputs embed_dim
    kernel
        tokens; odd
    pool
        tokens
    second_kernel
        pooled tokens; odd
    norm
        batch = mean and standard deviation of detectors over the batch; record = over each
        record
    """

    kind: Literal["conv"] = "conv"
    token_dim: Size = 16
    kernel: Odd[Size] = 9
    pool: Size = 8
    second_kernel: Odd[Size] = 5
    norm: Literal["batch", "record"] = left_out("batch")


class TowerStemSection(Section):
    """Stages of convolution and max-pooling for long sequences.

    The stem gives one vector per product of `pools` tokens.

    Attributes
    ----------
    token_dim
        dimension of the token embeddings
    channels
        channels of each stage except the last, which has embed_dim
    kernels
        kernel of each stage in its tokens; odd
    pools
        pooling of each stage in its tokens
    residual_kernel
        kernel of the second convolution of each stage except the first; odd
    """

    kind: Literal["tower"] = "tower"
    token_dim: Size = 8
    channels: Listed[tuple[Size, ...]] = (64, 96)
    kernels: Odd[Listed[tuple[Size, ...]]] = Field((15, 7, 5), min_length=1)
    pools: Listed[tuple[Size, ...]] = (5, 5, 2)
    residual_kernel: Odd[Size] = 5

    def problems(self) -> Iterator[str]:
        stages = len(self.kernels)
        if (len(self.channels), len(self.pools)) != (stages - 1, stages):
            yield (
                f"channels has {len(self.channels)} values and pools has {len(self.pools)}; with "
                f"{stages} kernels, use {stages - 1} channels and {stages} pools"
            )

    @property
    def pool(self) -> int:
        """Return the number of tokens per vector."""
        return math.prod(self.pools)


AnyStem = Annotated[NoStemSection | ConvStemSection | TowerStemSection, Field(discriminator="kind")]


Strands = Literal["given", "shared"]
STRANDS = (
    "shared = both strands of DNA pass through the same weights, and the output is their "
    "mean, so that a sequence and its reverse complement have exactly the same output"
)


class PoolingHeadSection(Section):
    """Classify weighted means of the tokens of `parts` equal parts of the sequence.

    The weights come from learned scores.

    Attributes
    ----------
    parts
        1 = the complete sequence, regardless of position
    """

    kind: Literal["pooling"] = "pooling"
    parts: Size = 6


class ClsHeadSection(Section):
    """Classify a [CLS] vector placed before the tokens."""

    kind: Literal["cls"] = "cls"


AnyHead = Annotated[PoolingHeadSection | ClsHeadSection, Field(discriminator="kind")]


class AttentionModel(Section):
    """[model] kind = "attention": stem, pre-norm attention encoder, head.

    Attributes
    ----------
    members
        number of networks trained together whose logits are averaged
    embed_dim
        width D of the encoder, a multiple of num_heads
    num_layers
        number of encoder layers
    num_heads
        attention heads per layer
    num_kv_heads
        heads of keys and values, shared by groups of heads; num_heads if not given
    feedforward_dim
        width of the feed-forward branch
    dropout
        dropout of stem, branches and head
    attention_dropout
        of attention weights; flex needs 0
    stochastic_depth
        probability that a sequence skips the last block's branches; proportionally less for
        earlier blocks
    stem
        layers before the encoder
    position
        position encoding
    pattern
        pairs of tokens that may attend
    kernel
        auto = the first suitable one, see attention.md
    head
        layers after the encoder
    """

    kind: Literal["attention"] = "attention"
    members: Repeats = 2
    embed_dim: Size = 64
    num_layers: Repeats = 2
    num_heads: Size = 4
    num_kv_heads: Size | None = None
    feedforward_dim: Size = 128
    dropout: Fraction = 0.3
    attention_dropout: Fraction = 0.0
    stochastic_depth: Fraction = 0.0
    stem: AnyStem = ConvStemSection()
    position: AnyPosition = T5Position()
    pattern: AnyPattern = FullPattern()
    kernel: Literal["auto", *KERNELS] = "auto"  # type: ignore[valid-type]
    head: AnyHead = PoolingHeadSection()
    strands: Strands = left_out("given", description=STRANDS)

    @property
    def head_dim(self) -> int:
        """Return Dh, the dimension of the queries, keys and values of a head."""
        return self.embed_dim // self.num_heads

    @property
    def num_groups(self) -> int:
        """Return G, the number of heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    @property
    def token_dim(self) -> int:
        """Return the dimension of the token embeddings."""
        return self.embed_dim if isinstance(self.stem, NoStemSection) else self.stem.token_dim

    def problems(self) -> Iterator[str]:
        if self.embed_dim % self.num_heads:
            yield f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
        if self.position.kind == "rotary" and self.head_dim % 2:
            yield (
                "position 'rotary' needs an even head dimension; embed_dim / num_heads is "
                f"{self.head_dim}"
            )
        if self.num_heads % self.num_groups:
            yield f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_groups}"
        if self.kernel != "auto" and (
            lacking := KERNELS[self.kernel].unsupported(
                pattern=self.pattern.shape,
                own_keys=self.position.effect == "own_keys",
                head_dim=self.head_dim,
                dropout=self.attention_dropout,
            )
        ):
            yield f"kernel {self.kernel!r} does not fit: {'; '.join(lacking)}; use kernel 'auto'"
        if self.pattern.causal and self.head.kind == "cls":
            yield (
                "head 'cls' cannot be used with a causal pattern, because its vector comes first; "
                "use head 'pooling'"
            )


class CnnModel(Section):
    """[model] kind = "cnn": three convolutions with batch norm and pooling, then two dense layers.

    Similar to Basset (Kelley 2016).

    Attributes
    ----------
    members
        number of networks trained together whose logits are averaged
    embed_dim
        dimension of the token embeddings
    channels
        channels of the three convolutions
    kernels
        kernel sizes; odd
    pools
        size of the maximum after each convolution
    bins
        number of equal parts of the sequence whose means enter the dense layers
    hidden_dim
        width of the layer before the output
    dropout
        dropout after convolutions and in dense layers
    """

    kind: Literal["cnn"] = "cnn"
    members: Repeats = 1
    embed_dim: Size = 16
    channels: Listed[tuple[Size, Size, Size]] = (128, 128, 128)
    kernels: Odd[Listed[tuple[Size, Size, Size]]] = (19, 11, 7)
    pools: Listed[tuple[Size, Size, Size]] = (3, 4, 4)
    bins: Size = 6
    hidden_dim: Size = 128
    dropout: Fraction = 0.3
    strands: Strands = left_out("given", description=STRANDS)


class DilatedModel(Section):
    """[model] kind = "dilated": stem, then dilated convolutions, with one output per position.

    Similar to Basenji (Kelley 2018), and to BPNet (Avsec 2021) with a stem that does not pool.

    Attributes
    ----------
    members
        number of networks trained together whose outputs are averaged
    embed_dim
        channels of the dilated convolutions
    stem
        layers before the convolutions
    dilations
        dilation of each convolution; an empty list uses the stem alone
    kernel
        kernel size; odd
    dropout
        dropout after each convolution
    """

    kind: Literal["dilated"] = "dilated"
    members: Repeats = 1
    embed_dim: Size = 128
    stem: AnyStem = TowerStemSection()
    dilations: Listed[tuple[Size, ...]] = (1, 2, 4, 8, 15)
    kernel: Odd[Size] = 3
    dropout: Fraction = 0.3


# The distance is between a position of the first input and one of the partner.
CROSS_POSITIONS = tuple(
    section.model_fields["kind"].default
    for section in POSITION_SECTIONS
    if section.effect in ("none", "bias", "rotation")
)


class PairedModel(Section):
    """[model] kind = "paired": an encoder for each of two inputs, joined by cross-attention blocks.

    Positions of the first input attend to those of the partner.

    Attributes
    ----------
    members
        number of networks trained together whose logits are averaged
    encoder
        stem, encoder and head of the first input; without members
    partner_encoder
        stem and encoder of [partner], without members and head; those of the first input if not
        given
    cross_layers
        number of blocks of cross-attention and feed-forward, with the sizes and dropouts of
        encoder
    cross_position
        encoding of the distance between a position of the first input and one of the partner;
        for tracks, which have the positions of the sequence
    """

    kind: Literal["paired"] = "paired"
    members: Repeats = 2
    encoder: AttentionModel = AttentionModel()
    partner_encoder: AttentionModel | None = None
    cross_layers: Repeats = 1
    cross_position: AnyPosition = NoPositionSection()

    def problems(self) -> Iterator[str]:
        for name in ("encoder", "partner_encoder"):
            if "members" in getattr(getattr(self, name), "model_fields_set", ()):
                yield f"set members in [model] instead of [model.{name}]"
        if self.partner_encoder and "head" in self.partner_encoder.model_fields_set:
            yield "set head in [model.encoder] instead of [model.partner_encoder]"
        first, partner = (each.token_dim for each in (self.encoder, self.of_partner))
        if first != partner:
            yield (
                f"token embeddings have {first} dimensions in encoder and {partner} in "
                "partner_encoder; set the same token_dim in both stems (embed_dim without a stem)"
            )
        if self.cross_position.kind not in CROSS_POSITIONS:
            known = ", ".join(map(repr, CROSS_POSITIONS))
            yield (
                f"cross_position {self.cross_position.kind!r} is not supported; choose one of "
                f"{known}"
            )
        if self.cross_position.kind == "rotary" and self.encoder.head_dim % 2:
            yield (
                "cross_position 'rotary' needs an even head dimension; embed_dim / num_heads of "
                f"encoder is {self.encoder.head_dim}"
            )
        if "shared" in (self.encoder.strands, self.of_partner.strands):
            yield (
                "strands 'shared' cannot be used in the encoders of model kind 'paired': the "
                "partner has one strand"
            )

    @field_serializer("encoder", "partner_encoder")
    def _as_it_is_given(
        self, section: AttentionModel | None, info: FieldSerializationInfo
    ) -> dict[str, Any] | None:
        """Leave out keys that are invalid in this section, so that the output can be read again."""
        unread = {"members", "head"} if info.field_name == "partner_encoder" else {"members"}
        if section is None:
            return None
        return section.model_dump(mode=info.mode, exclude=unread, exclude_none=info.exclude_none)

    @property
    def of_partner(self) -> AttentionModel:
        """Return the settings of the partner's encoder."""
        return self.partner_encoder or self.encoder


class ModuleModel(Section):
    """[model] kind = "module": a network that a function of yours builds (docs/extending.md).

    Attributes
    ----------
    module
        the function, such as "my_model:build" for `build` in my_model.py, which is next to the
        run file or can be imported; it runs only with --allow-module
    settings
        keyword arguments of the function, in addition to vocabulary_size and num_outputs
    """

    members: ClassVar[int] = 1
    kind: Literal["module"] = "module"
    module: str = Field(pattern="^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$")
    settings: dict[str, Any] = Field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        try:
            json.dumps(self.settings, allow_nan=False, default=str)
        except ValueError:
            yield "settings have a number that is not finite"


AnyModel = Annotated[
    AttentionModel | CnnModel | DilatedModel | PairedModel | ModuleModel | PretrainedModel,
    Field(discriminator="kind"),
]
