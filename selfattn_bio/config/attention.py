"""Position encodings and patterns of attention, selected by `kind`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from selfattn_bio.config.kernels import BLOCK, PatternShape
from selfattn_bio.config.section import Positive, Section, Seed

Effect = Literal["none", "absolute", "bias", "rotation", "own_keys"]


class PositionSection(Section):
    """Common property of position encodings.

    Attributes
    ----------
    effect
        "absolute" positions are added to the input of the encoder. The others change the attention
        scores by distance: with a "bias" per distance, by "rotation" of queries and keys, or with
        separate keys for distances ("own_keys"). The rules about kernels and tiles depend on this.
    """

    effect: ClassVar[Effect]
    kind: str


class T5Position(PositionSection):
    """Learned bias per head and distance bucket, added to attention scores (Raffel et al. 2020).

    Attributes
    ----------
    num_buckets
        number of learned biases per head, even
    max_distance
        tokens; longer distances share a bucket
    symmetric
        use buckets of |distance|, the same for both directions
    """

    effect = "bias"
    kind: Literal["t5"] = "t5"
    num_buckets: int = Field(32, ge=4, le=65_536, multiple_of=2)
    max_distance: int = Field(128, ge=2)
    symmetric: bool = False

    def problems(self) -> Iterator[str]:
        single = self.num_buckets // 2 if self.symmetric else self.num_buckets // 4
        if self.max_distance <= single:
            yield (
                f"max_distance {self.max_distance} is too small for {self.num_buckets} buckets; "
                f"use at least {single + 1}"
            )


class AlibiPosition(PositionSection):
    """Penalty proportional to |distance| with a fixed slope per head (Press et al. 2022)."""

    effect = "bias"
    kind: Literal["alibi"] = "alibi"


class RotaryPosition(PositionSection):
    """Rotation of queries and keys by their position (Su et al. 2021).

    Attributes
    ----------
    base
        base of the angles; larger for longer sequences
    interpolation
        factor s: positions are divided by s, for inputs s times as long as in training (Chen et
        al. 2023)
    """

    effect = "rotation"
    kind: Literal["rotary"] = "rotary"
    base: float = Field(10000.0, gt=1)
    interpolation: float = Field(1.0, ge=1)


class ShawPosition(PositionSection):
    """Learned key and value for each distance (Shaw et al. 2018).

    Attributes
    ----------
    max_distance
        tokens; longer distances share the last vector
    """

    effect = "own_keys"
    kind: Literal["shaw"] = "shaw"
    max_distance: Positive = 64


class TransformerXLPosition(PositionSection):
    """Scores from content and from a projected sinusoid of the distance (Dai et al. 2019).

    Attributes
    ----------
    max_distance
        tokens; longer distances are treated as this one
    """

    effect = "own_keys"
    kind: Literal["transformer_xl"] = "transformer_xl"
    max_distance: Positive = 128


class SinusoidalPosition(PositionSection):
    """Sines and cosines of the position, added to the encoder's input (Vaswani et al. 2017)."""

    effect = "absolute"
    kind: Literal["sinusoidal"] = "sinusoidal"


class LearnedPosition(PositionSection):
    """Learned vector for each position, added to the encoder's input (Devlin et al. 2019).

    Attributes
    ----------
    max_length
        maximum number of tokens in the encoder; a longer sequence is an error
    """

    effect = "absolute"
    kind: Literal["learned"] = "learned"
    max_length: Positive


class NoPositionSection(PositionSection):
    """No position encoding; the encoder sees positions only through the stem."""

    effect = "none"
    kind: Literal["none"] = "none"


AnyPosition = Annotated[
    T5Position
    | AlibiPosition
    | RotaryPosition
    | ShawPosition
    | TransformerXLPosition
    | SinusoidalPosition
    | LearnedPosition
    | NoPositionSection,
    Field(discriminator="kind"),
]
POSITION_SECTIONS: tuple[type[PositionSection], ...] = get_args(get_args(AnyPosition)[0])


class FullPattern(Section):
    """Each token attends to all tokens.

    Attributes
    ----------
    causal
        attend only to the token itself and earlier ones
    """

    shape: ClassVar[PatternShape] = "window"

    kind: Literal["full"] = "full"
    causal: bool = False


class SparsePattern(Section):
    """Common settings of sparse patterns.

    Attributes
    ----------
    causal
        attend only to the token itself and earlier ones
    num_global
        number of tokens at the start that attend to all tokens and are attended by all
    """

    @property
    def shape(self) -> PatternShape:
        """Return the shape of the pattern, as the capabilities of kernels describe it."""
        return "other"

    causal: bool = False
    num_global: int = Field(0, ge=0)


class WindowPattern(SparsePattern):
    """Each token attends to `window` tokens on each side, `dilation` apart.

    Beltagy et al. 2020, Longformer.

    Attributes
    ----------
    window
        tokens on each side
    dilation
        distance between attended tokens; 1 = neighbours
    """

    kind: Literal["window"] = "window"
    window: int = Field(128, ge=1)
    dilation: Positive = 1

    @property
    def shape(self) -> PatternShape:
        """Return the shape of the pattern, as the capabilities of kernels describe it."""
        return "window" if self.dilation == 1 else "other"


class StridedPattern(SparsePattern):
    """A window and every `stride`-th token on both sides.

    Child et al. 2019, Sparse Transformer.

    Attributes
    ----------
    window
        tokens on each side
    stride
        distance between the tokens beyond the window
    """

    shape: ClassVar[PatternShape] = "joined"

    kind: Literal["strided"] = "strided"
    window: int = Field(128, ge=1)
    stride: int = Field(128, ge=2)


class BlockLocalPattern(SparsePattern):
    """Each token attends to its own block.

    Attributes
    ----------
    block
        tokens
    """

    kind: Literal["block_local"] = "block_local"
    block: Positive = 128


class BigBirdPattern(SparsePattern):
    """Window, global tokens and random blocks for each block (BigBird, Zaheer et al. 2020).

    Attributes
    ----------
    window
        tokens on each side
    random_blocks
        random blocks that each block attends to
    block
        tokens
    num_global
        number of tokens at the start that attend to all tokens and are attended by all
    """

    @property
    def shape(self) -> PatternShape:
        """Return the shape of the pattern, as the capabilities of kernels describe it."""
        return "joined" if self.block % BLOCK else "sampled"

    kind: Literal["bigbird"] = "bigbird"
    window: int = Field(96, ge=1)
    random_blocks: Positive = 3
    block: Positive = 64
    num_global: int = Field(64, ge=0)
    seed: Seed = 0


AnyPattern = Annotated[
    FullPattern | WindowPattern | StridedPattern | BlockLocalPattern | BigBirdPattern,
    Field(discriminator="kind"),
]
