"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward network.

Shapes: B sequences, L tokens, D = embed_dim, H query heads, G key and value heads, Dh = head_dim.
A mask (B, L) bool is True at tokens and False at padding. `Encoder` makes it an `AttentionMask`,
which all layers share. With grouped-query attention,
G < H and H / G query heads share a key and value head; they are called a group.

Attribution rules (`attribution.rules`) hook `QKVProjection`, `LayerNorm` and `GELU`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.inputs import AttentionMask, as_mask, prepare
from selfattn_bio.attention.kernels import band, why_unsupported
from selfattn_bio.attention.patterns import AttentionPattern, Full, build_pattern
from selfattn_bio.attention.positions import NoPosition, RelativePosition, build_position
from selfattn_bio.errors import ArgumentError

Position = RelativePosition | Callable[[], RelativePosition]
FUSED_TOKENS = 256  # longest sequence for which a block is one kernel; longer ones are not faster


def split_heads(packed: Tensor, heads: Sequence[int], head_dim: int) -> list[Tensor]:
    """Split a projection (B, L, sum(heads) * Dh) into views (B, H, L, Dh), one for each H."""
    # First split, then transpose: kernels return gradients in this memory layout, so that torch
    # joins them with a single copy.
    parts = packed.split([num * head_dim for num in heads], dim=-1)
    return [part.unflatten(-1, (-1, head_dim)).transpose(1, 2) for part in parts]


class QKVProjection(nn.Module):
    """Project tokens to the queries, keys and values of all heads.

    It is a separate module so that attribution rules can be hooked on the inputs of attention.

    Parameters
    ----------
    embed_dim, head_dim
        Sizes D and Dh.
    heads
        Number of query, key and value heads, (H, G, G).
    """

    def __init__(self, embed_dim: int, head_dim: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.linear = nn.Linear(embed_dim, sum(heads) * head_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (B, L, D) to q (B, H, L, Dh), k and v (B, G, L, Dh)."""
        q, k, v = split_heads(self.linear(x), self.heads, self.head_dim)
        return q, k, v


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Parameters
    ----------
    embed_dim, num_heads
        Sizes D and H.
    pattern
        Which pairs of tokens attend, such as `Window(128) | Global(1)`.
    position
        A relative position, such as `Rotary(16)`, which is copied; or a function that builds one.
        None: no positions.
    num_kv_heads
        Number G of key and value heads; by default H.
    dropout
        Fraction of the attention weights set to 0 in training.
    kernel
        A name from `config.KERNELS`, or "auto"; see `attend`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        pattern: AttentionPattern = Full(),  # noqa: B008, immutable
        position: Position | None = None,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        num_groups = num_heads if num_kv_heads is None else num_kv_heads
        if embed_dim % num_heads:
            raise ArgumentError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if num_heads % num_groups:
            message = f"num_heads {num_heads} is not a multiple of num_kv_heads {num_groups}"
            raise ArgumentError(message)
        if not isinstance(pattern, AttentionPattern):
            raise ArgumentError(f"pattern is {pattern!r}; expected a pattern such as Window(128)")
        self.pattern, self.kernel = pattern, kernel
        heads = (num_heads, num_groups, num_groups)
        self.qkv = QKVProjection(embed_dim, embed_dim // num_heads, heads)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.position = new_position(position)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: AttentionMask | Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        q, k, v = self.qkv(x)
        dropout = self.dropout if self.training else 0.0
        y = attend(
            q,
            k,
            v,
            pattern=self.pattern,
            position=self.position,
            mask=mask,
            dropout=dropout,
            kernel=self.kernel,
        )  # (B, H, L, Dh)
        return self.out(y.transpose(1, 2).flatten(2))


class StochasticDepth(nn.Module):
    """In training, set the branch of random sequences to 0, and scale up that of the others.

    Parameters
    ----------
    p
        Probability that a sequence loses the branch.

    References
    ----------
    Huang et al. 2016.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        if not (self.training and self.p):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.p
        return branch * kept / (1 - self.p)


class EncoderBlock(nn.Module):
    """Compute x + attention(norm(x)), then x + feedforward(norm(x)).

    Parameters
    ----------
    attention
        Self-attention of size D.
    feedforward_dim
        Size of the hidden layer of the feed-forward network.
    dropout
        Probability that an element of a branch is set to 0 in training.
    stochastic_depth
        Probability that a sequence loses a branch in training.
    """

    def __init__(
        self,
        attention: SelfAttention,
        feedforward_dim: int,
        *,
        dropout: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        embed_dim = attention.out.out_features
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = attention
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        self.feedforward = feed_forward(embed_dim, feedforward_dim, dropout)
        self.dropout = nn.Sequential(Dropout(dropout), StochasticDepth(stochastic_depth))

    def forward(self, x: Tensor, mask: AttentionMask | Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        if torch.is_inference_mode_enabled() and self._can_fuse(x):
            attention, norms = self.attention, (self.attention_norm, self.feedforward_norm)
            first, _, _, last = self.feedforward
            q = x.unflatten(-1, (attention.qkv.heads[0], -1)).transpose(1, 2)
            inputs = prepare(q, q, q, pattern=Full(), position=attention.position, mask=mask)
            if why_unsupported("band", inputs) is None:
                layers = (norms[0], attention.qkv.linear, attention.out, norms[1], first, last)
                return band.encode(inputs, layers, x.contiguous())
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))

    def _can_fuse(self, x: Tensor) -> bool:
        """Return whether one kernel may compute `forward` of x, if it supports the attention."""
        attention = self.attention
        return not (
            self.training
            or attention.pattern != Full()
            or attention.kernel not in ("auto", "band")
            or type(attention.position).rotate is not RelativePosition.rotate
            or len(set(attention.qkv.heads)) > 1
            or not 0 < x.shape[1] <= FUSED_TOKENS
            or x.shape[-1] % 32 > 0
            or self.feedforward[0].out_features % 32 > 0  # type: ignore[operator]
            or {x.dtype, attention.out.weight.dtype} != {torch.float32}
            or torch.is_autocast_enabled(x.device.type)
            # hooks read or change what a module of the block computes
            or any(each._forward_hooks or each._forward_pre_hooks for each in self.modules())
        )


def feed_forward(embed_dim: int, hidden_dim: int, dropout: float) -> nn.Sequential:
    """Build a feed-forward network (B, L, D) -> (B, L, D), applied to each token separately."""
    return nn.Sequential(
        nn.Linear(embed_dim, hidden_dim),
        nn.GELU(),
        Dropout(dropout),
        nn.Linear(hidden_dim, embed_dim),
    )


class Encoder(nn.Module):
    """Stack pre-norm blocks of self-attention and feed-forward networks.

    >>> encoder = Encoder(64, 2, 4, pattern=Window(128), position=Rotary(16))  # doctest: +SKIP
    >>> encoder(x, mask)  # (B, L, D) and (B, L) bool -> (B, L, D)  # doctest: +SKIP

    Parameters
    ----------
    embed_dim, num_layers, num_heads
        Sizes; the dimension of a head is embed_dim / num_heads.
    pattern
        Which pairs of tokens attend, such as `Window(128) | Global(1)`.
    position
        A relative position, such as `Rotary(16)`, which is copied for each layer; or a function
        that builds the position of one layer. Any other module is an absolute position, such as
        `Sinusoidal()`, and is applied once to the input. None: no positions.
    num_kv_heads
        Number of key and value heads, which divides `num_heads`; by default `num_heads`.
    feedforward_dim
        Size of the hidden layer of the feed-forward networks; by default 4 embed_dim.
    dropout
        Probability of dropout in the feed-forward networks and the branches.
    stochastic_depth
        Probability that a sequence loses a branch of the last block in training; proportionally
        less in earlier blocks.
    attention_dropout
        Fraction of the attention weights that are set to 0 in training.
    kernel
        A name from `config.KERNELS`, or "auto"; see `attend`.

    Raises
    ------
    ArgumentError
        If the numbers of heads do not divide the sizes, or `pattern` or `position` cannot be used.
    """

    def __init__(
        self,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        *,
        pattern: AttentionPattern = Full(),  # noqa: B008, immutable
        position: Position | nn.Module | None = None,
        num_kv_heads: int | None = None,
        feedforward_dim: int | None = None,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        attention_dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        self.place: nn.Module = nn.Identity()
        if isinstance(position, nn.Module) and not isinstance(position, RelativePosition):
            self.place, position = position, None
        self.blocks = nn.ModuleList(
            EncoderBlock(
                SelfAttention(
                    embed_dim,
                    num_heads,
                    pattern=pattern,
                    position=position,
                    num_kv_heads=num_kv_heads,
                    dropout=attention_dropout,
                    kernel=kernel,
                ),
                feedforward_dim or 4 * embed_dim,
                dropout=dropout,
                stochastic_depth=stochastic_depth * ((i + 1) / num_layers),
            )
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor, mask: AttentionMask | Tensor | None = None) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D); without a mask, there is no padding."""
        x, mask = self.place(x), as_mask(mask, x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def build_encoder(section: config.AttentionModel) -> Encoder:
    """Build the encoder of a section [model]."""
    position = partial(build_position, section.position, section.num_heads, section.head_dim)
    return Encoder(
        section.embed_dim,
        section.num_layers,
        section.num_heads,
        pattern=build_pattern(section.pattern),
        position=position() if section.position.effect == "absolute" else position,
        num_kv_heads=section.num_kv_heads,
        feedforward_dim=section.feedforward_dim,
        dropout=section.dropout,
        stochastic_depth=section.stochastic_depth,
        attention_dropout=section.attention_dropout,
        kernel=section.kernel,
    )


def new_position(position: Position | None) -> RelativePosition:
    """Build the position of one layer; a module is copied."""
    if isinstance(position, RelativePosition):
        return copy.deepcopy(position)
    if position is None:
        return NoPosition()
    if not callable(position):
        raise ArgumentError(f"position is {position!r}; expected one such as Rotary(16)")
    return position()
