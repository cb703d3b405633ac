"""[model]: the kinds of models. Other parts are in `stem` and `attention`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FieldSerializationInfo, field_serializer, model_validator

from selfattn_bio.config.attention import (
    MIXER_POSITIONS,
    AnyMixer,
    AnyPattern,
    AnyPosition,
    FullPattern,
    NoPositionSection,
    SoftmaxMixer,
    T5Position,
    positions_with,
)
from selfattn_bio.config.kernels import KERNELS
from selfattn_bio.config.section import Fraction, Listed, Odd, Positive, Repeats, Section, left_out
from selfattn_bio.config.stem import AnyStem, ConvStemSection, NoStemSection, TowerStemSection

Strands = Literal["given", "shared"]
STRANDS = (
    "shared = both strands of DNA pass through the same weights, and the output is their "
    "mean, so that a sequence and its reverse complement have exactly the same output"
)


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


class AttentionModel(Section):
    """[model] kind = "attention": stem, pre-norm attention encoder, head."""

    kind: Literal["attention"] = "attention"
    members: Repeats = Field(
        2, description="number of networks trained together whose logits are averaged"
    )
    embed_dim: Positive = Field(64, description="width D of the encoder, a multiple of num_heads")
    num_layers: Repeats = Field(2, description="number of encoder layers")
    num_heads: Positive = Field(4, description="attention heads per layer")
    num_kv_heads: Positive | None = Field(
        None,
        description="heads of keys and values, shared by groups of heads; num_heads if not given",
    )
    feedforward_dim: Positive = Field(128, description="width of the feed-forward branch")
    dropout: Fraction = Field(0.3, description="dropout of stem, branches and head")
    attention_dropout: Fraction = Field(0.0, description="of attention weights; flex needs 0")
    stochastic_depth: Fraction = Field(
        0.0,
        description="probability that a sequence skips the last block's branches; proportionally "
        "less for earlier blocks",
    )
    stem: AnyStem = Field(ConvStemSection(), description="layers before the encoder")
    position: AnyPosition = Field(T5Position(), description="position encoding")
    pattern: AnyPattern = Field(FullPattern(), description="pairs of tokens that may attend")
    kernel: Literal["auto", *KERNELS] = Field(  # type: ignore[valid-type]
        "auto", description="auto = the kernel that `selfattn-bio doctor` reports"
    )
    mixer: AnyMixer = left_out(SoftmaxMixer(), description="kind of attention")
    head: AnyHead = Field(PoolingHeadSection(), description="layers after the encoder")
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

    @model_validator(mode="after")
    def _heads_divide_the_embedding(self) -> AttentionModel:
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )
        if self.position.kind == "rotary" and self.head_dim % 2:
            raise ValueError(
                "position 'rotary' needs an even head dimension; embed_dim / num_heads is "
                f"{self.head_dim}"
            )
        if self.num_kv_heads is not None and self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )
        return self

    @model_validator(mode="after")
    def _kernel_fits(self) -> AttentionModel:
        if self.kernel == "auto":
            return self
        lacking = KERNELS[self.kernel].unsupported(
            pattern=self.pattern.shape,
            own_keys=self.position.effect == "own_keys",
            head_dim=self.head_dim,
            dropout=self.attention_dropout,
        )
        if lacking:
            raise ValueError(
                f"kernel {self.kernel!r} does not fit: {'; '.join(lacking)}; use kernel 'auto'"
            )
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> AttentionModel:
        if self.pattern.causal and self.head.kind == "cls":
            raise ValueError(
                "head 'cls' cannot be used with a causal pattern, because its vector comes first; "
                "use head 'pooling'"
            )
        return self

    @model_validator(mode="after")
    def _mixer_fits(self) -> AttentionModel:
        if isinstance(self.mixer, SoftmaxMixer):
            return self
        for name in ("pattern", "kernel"):
            if getattr(self, name) != AttentionModel.model_fields[name].default:
                raise ValueError(f"mixer {self.mixer.kind!r} has no {name}; remove model.{name}")
        if self.position.kind not in MIXER_POSITIONS:
            known = ", ".join(map(repr, MIXER_POSITIONS))
            raise ValueError(
                f"mixer {self.mixer.kind!r} does not support position {self.position.kind!r}; "
                f"choose one of {known}"
            )
        return self


class CnnModel(Section):
    """[model] kind = "cnn": three convolutions with batch norm and pooling, then two dense layers.

    Similar to Basset (Kelley 2016).
    """

    kind: Literal["cnn"] = "cnn"
    members: Repeats = Field(
        1, description="number of networks trained together whose logits are averaged"
    )
    embed_dim: Positive = Field(16, description="dimension of the token embeddings")
    channels: Listed[tuple[Positive, Positive, Positive]] = Field(
        (128, 128, 128), description="channels of the three convolutions"
    )
    kernels: Odd[Listed[tuple[Positive, Positive, Positive]]] = Field(
        (19, 11, 7), description="kernel sizes; odd"
    )
    pools: Listed[tuple[Positive, Positive, Positive]] = Field(
        (3, 4, 4), description="size of the maximum after each convolution"
    )
    bins: Positive = Field(
        6, description="number of equal parts of the sequence whose means enter the dense layers"
    )
    hidden_dim: Positive = Field(128, description="width of the layer before the output")
    dropout: Fraction = Field(0.3, description="dropout after convolutions and in dense layers")
    strands: Strands = left_out("given", description=STRANDS)


class DilatedModel(Section):
    """[model] kind = "dilated": stem, then dilated convolutions, with one output per position.

    Similar to Basenji (Kelley 2018).
    """

    kind: Literal["dilated"] = "dilated"
    members: Repeats = Field(
        1, description="number of networks trained together whose outputs are averaged"
    )
    embed_dim: Positive = Field(128, description="channels of the dilated convolutions")
    stem: TowerStemSection = Field(TowerStemSection(), description="layers before the convolutions")
    dilations: Listed[tuple[Positive, ...]] = Field(
        (1, 2, 4, 8, 15),
        description="dilation of each convolution; an empty list uses the stem alone",
    )
    kernel: Odd[Positive] = Field(3, description="kernel size; odd")
    dropout: Fraction = Field(0.3, description="dropout after each convolution")


# The distance is between a position of the first input and one of the partner.
CROSS_POSITIONS = positions_with("none", "bias", "rotation")


class PairedModel(Section):
    """[model] kind = "paired": an encoder for each of two inputs, joined by cross-attention blocks.

    Positions of the first input attend to those of the partner.
    """

    kind: Literal["paired"] = "paired"
    members: Repeats = Field(
        2, description="number of networks trained together whose logits are averaged"
    )
    encoder: AttentionModel = Field(
        AttentionModel(), description="stem, encoder and head of the first input; without members"
    )
    partner_encoder: AttentionModel | None = Field(
        None,
        description="stem and encoder of [partner], without members and head; those of the first "
        "input if not given",
    )
    cross_layers: Repeats = Field(
        1,
        description="number of blocks of cross-attention and feed-forward, with the sizes and "
        "dropouts of encoder",
    )
    cross_position: AnyPosition = Field(
        NoPositionSection(),
        description="encoding of the distance between a position of the first input and one of "
        "the partner; for tracks, which have the positions of the sequence",
    )

    @model_validator(mode="after")
    def _encoders_fit(self) -> PairedModel:
        for name in ("encoder", "partner_encoder"):
            if "members" in getattr(getattr(self, name), "model_fields_set", ()):
                raise ValueError(f"set members in [model] instead of [model.{name}]")
        if self.partner_encoder and "head" in self.partner_encoder.model_fields_set:
            raise ValueError("set head in [model.encoder] instead of [model.partner_encoder]")
        first, partner = (each.token_dim for each in (self.encoder, self.of_partner))
        if first != partner:
            raise ValueError(
                f"token embeddings have {first} dimensions in encoder and {partner} in "
                "partner_encoder; set the same token_dim in both stems (embed_dim without a stem)"
            )
        if self.cross_position.kind not in CROSS_POSITIONS:
            known = ", ".join(map(repr, CROSS_POSITIONS))
            raise ValueError(
                f"cross_position {self.cross_position.kind!r} is not supported; choose one of "
                f"{known}"
            )
        if self.cross_position.kind == "rotary" and self.encoder.head_dim % 2:
            raise ValueError(
                "cross_position 'rotary' needs an even head dimension; embed_dim / num_heads of "
                f"encoder is {self.encoder.head_dim}"
            )
        if "shared" in (self.encoder.strands, self.of_partner.strands):
            raise ValueError(
                "strands 'shared' cannot be used in the encoders of model kind 'paired': the "
                "partner has one strand"
            )
        return self

    @field_serializer("encoder", "partner_encoder")
    def _as_it_is_given(
        self, section: AttentionModel | None, info: FieldSerializationInfo
    ) -> dict[str, Any] | None:
        """Leave out keys that are invalid in this section, so that the output can be read again."""
        unread = {"members", "head"} if info.field_name == "partner_encoder" else {"members"}
        return (
            None
            if section is None
            else section.model_dump(mode=info.mode, exclude=unread, exclude_none=info.exclude_none)
        )

    @property
    def of_partner(self) -> AttentionModel:
        """Return the settings of the partner's encoder."""
        return self.partner_encoder or self.encoder


class ModuleModel(Section):
    """[model] kind = "module": a network that a function of yours builds (docs/extending.md)."""

    kind: Literal["module"] = "module"
    module: str = Field(
        pattern="^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$",
        description='the function, such as "my_model:build" for `build` in my_model.py, which is '
        "next to the run file or can be imported; it runs only with --allow-module",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="keyword arguments of the function, in addition to vocabulary_size and "
        "num_outputs",
    )

    @property
    def members(self) -> int:
        """Return 1: the network is one member."""
        return 1


AnyModel = Annotated[
    AttentionModel | CnnModel | DilatedModel | PairedModel | ModuleModel,
    Field(discriminator="kind"),
]
