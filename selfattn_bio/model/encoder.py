"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward network.

Shapes: B sequences, L tokens, D = embed_dim, H query heads, G key and value heads, Dh = head_dim.
A mask (B, L) bool is True at tokens and False at padding. `Encoder` makes it an `AttentionMask`,
which all layers share together with the tables of their positions. With grouped-query attention,
G < H and H / G query heads share a key and value head; they are called a group.

Attribution rules (`attribution.rules`) hook `QKVProjection`, `LayerNorm` and `GELU`. The
`prune_to` methods remove pruned heads and feed-forward networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.mask import AttentionMask, as_mask
from selfattn_bio.attention.mixers import Mixer, Softmax, build_mixer
from selfattn_bio.attention.patterns import AttentionPattern, Full
from selfattn_bio.attention.positions import NoPosition, RelativePosition, build_position
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.gates import HardConcrete

Pattern = AttentionPattern | Callable[[], Mixer]
Position = RelativePosition | Callable[[], RelativePosition]


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
        Number of query, key and value heads, (H, G, G). With two numbers (H, G), the queries are
        also the keys.
    """

    def __init__(self, embed_dim: int, head_dim: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.linear = nn.Linear(embed_dim, sum(heads) * head_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (B, L, D) to q (B, H, L, Dh), k and v (B, G, L, Dh)."""
        q, *keys, v = split_heads(self.linear(x), self.heads, self.head_dim)
        if keys:
            return q, keys[0], v
        # Separate views, so that attribution hooks can scale query and key gradients independently.
        return q.view_as(q), q.view_as(q), v

    def prune_to(self, heads: Sequence[int], groups: Sequence[int]) -> None:
        """Remove all query heads except `heads`, and all key and value heads except `groups`."""
        kept, rows, first = (heads, *[groups] * (len(self.heads) - 1)), [], 0
        for num_heads, kept_heads in zip(self.heads, kept, strict=True):
            rows += [
                (first + head) * self.head_dim + i
                for head in kept_heads
                for i in range(self.head_dim)
            ]
            first += num_heads
        self.linear = select_features(self.linear, rows=rows)
        self.heads = tuple(map(len, kept))


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Parameters
    ----------
    embed_dim, num_heads
        Sizes D and H.
    pattern
        Which pairs of tokens attend, such as `Window(128) | Global(1)`; or a function that builds
        a `Mixer`, for other kinds of attention.
    position
        A relative position, such as `Rotary(16)`, which is copied; or a function that builds one.
        None: no positions.
    num_kv_heads
        Number G of key and value heads; by default H.
    dropout
        Fraction of the attention weights set to 0 in training.
    bias
        Whether the output projection has a bias. Without it, a layer whose heads are all closed
        by gates adds 0.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        pattern: Pattern = Full(),  # noqa: B008, immutable
        position: Position | None = None,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        num_groups = num_heads if num_kv_heads is None else num_kv_heads
        if embed_dim % num_heads:
            raise ArgumentError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if num_heads % num_groups:
            raise ArgumentError(
                f"num_heads {num_heads} is not a multiple of num_kv_heads {num_groups}"
            )
        if not isinstance(pattern, AttentionPattern) and not callable(pattern):
            raise ArgumentError(
                f"pattern is {pattern!r}; expected a pattern such as Window(128), or a function "
                "that builds a mixer"
            )
        self.mixer = Softmax(pattern) if isinstance(pattern, AttentionPattern) else pattern()
        key_heads = () if self.mixer.keys_are_queries else (num_groups,)
        heads = (num_heads, *key_heads, num_groups)
        self.qkv = QKVProjection(embed_dim, embed_dim // num_heads, heads)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.gates: nn.Module = nn.Identity()
        self.position = new_position(position)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: AttentionMask | Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        q, k, v = self.qkv(x)
        dropout = self.dropout if self.training else 0.0
        y = self.mixer(q, k, v, position=self.position, mask=mask, dropout=dropout)  # (B, H, L, Dh)
        return self.joined(y)

    def joined(self, y: Tensor) -> Tensor:
        """Apply gates to the outputs of the heads, (B, H, L, Dh), and project them to (B, L, D)."""
        return self.out(self.gates(y).transpose(1, 2).flatten(2))

    def add_gates(self) -> None:
        """Add a gate to each group of heads, open at first."""
        weights = self.qkv.linear.weight.numel() + self.out.weight.numel()
        self.gates = HardConcrete(self.qkv.heads[-1], weights / self.qkv.heads[-1])

    def prune_to(self, groups: Sequence[int]) -> None:
        """Remove all groups of heads except `groups`.

        A group is a key and value head and the query heads that share it. Gates are multiplied into
        the weights of `out`.
        """
        shared = self.qkv.heads[0] // self.qkv.heads[-1]
        heads = [group * shared + i for group in groups for i in range(shared)]
        if isinstance(self.gates, HardConcrete):
            gate = self.gates.values().detach().repeat_interleave(shared * self.qkv.head_dim)
            self.out.weight = nn.Parameter(self.out.weight.detach() * gate)
            self.gates = nn.Identity()
        self.qkv.prune_to(heads, groups)
        dim = self.qkv.head_dim
        columns = [head * dim + i for head in heads for i in range(dim)]
        self.out = select_features(self.out, columns=columns)
        self.position.keep_heads(heads)
        self.mixer.keep_heads(heads)


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


class ZeroBranch(nn.Module):
    """Return zeros in place of a pruned attention or feed-forward branch."""

    def forward(self, x: Tensor, mask: AttentionMask | Tensor | None = None) -> Tensor:
        """Return zeros like x (B, L, D)."""
        return torch.zeros_like(x)


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

    attention_norm: nn.LayerNorm | nn.Identity
    attention: SelfAttention | ZeroBranch
    feedforward_norm: nn.LayerNorm | nn.Identity
    feedforward: nn.Sequential | ZeroBranch

    def __init__(
        self,
        attention: SelfAttention,
        feedforward_dim: int,
        *,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        embed_dim = attention.out.out_features
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = attention
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        self.feedforward = feed_forward(embed_dim, feedforward_dim, dropout)
        self.feedforward_gate: nn.Module = nn.Identity()
        self.dropout = nn.Sequential(Dropout(dropout), StochasticDepth(stochastic_depth))

    def forward(self, x: Tensor, mask: AttentionMask | Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward_gate(self.feedforward(self.feedforward_norm(x))))

    def add_gates(self) -> None:
        """Add gates to the heads and to the feed-forward network, open at first."""
        assert isinstance(self.attention, SelfAttention)
        assert isinstance(self.feedforward, nn.Sequential)
        self.attention.add_gates()
        weights = 2 * self.feedforward[0].weight.numel()  # type: ignore[operator]
        self.feedforward_gate = HardConcrete(1, weights)

    def prune_to(self, groups: Sequence[int], *, keep_feedforward: bool) -> None:
        """Keep only the given groups of heads, and the feed-forward network if requested.

        Gates are multiplied into the weights.
        """
        assert isinstance(self.attention, SelfAttention)  # a block is pruned only once
        assert isinstance(self.feedforward, nn.Sequential)
        if groups:
            self.attention.prune_to(groups)
        else:
            self.attention_norm, self.attention = nn.Identity(), ZeroBranch()
        if not keep_feedforward:
            self.feedforward_norm, self.feedforward = nn.Identity(), ZeroBranch()
        elif isinstance(self.feedforward_gate, HardConcrete):
            last: nn.Linear = self.feedforward[-1]  # type: ignore[assignment]
            gate = self.feedforward_gate.values().detach()
            last.weight = nn.Parameter(last.weight.detach() * gate)
            last.bias = nn.Parameter(last.bias.detach() * gate)
        self.feedforward_gate = nn.Identity()


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
        Which pairs of tokens attend, such as `Window(128) | Global(1)`; or a function that builds
        the `Mixer` of one layer, for other kinds of attention.
    position
        A relative position, such as `Rotary(16)`, which is copied for each layer; or a function
        that builds the position of one layer. Any other module is an absolute position, such as
        `Sinusoidal()`, and is applied once to the input. None: no positions.
    num_kv_heads
        Number of key and value heads, which divides `num_heads`; by default `num_heads`.
    feedforward_dim
        Size of the hidden layer of the feed-forward networks; by default 4 embed_dim.
    dropout
        Probability of dropout in the feed-forward networks and the branches. That of attention
        weights is 0; see `set_attention_dropout`.
    stochastic_depth
        Probability that a sequence loses a branch of the last block in training; proportionally
        less in earlier blocks.
    bias
        Whether the output projection of attention has a bias. Set it to False if gates are added.

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
        pattern: Pattern = Full(),  # noqa: B008, immutable
        position: Position | nn.Module | None = None,
        num_kv_heads: int | None = None,
        feedforward_dim: int | None = None,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        bias: bool = True,
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
                    bias=bias,
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

    def set_attention_dropout(self, p: float) -> None:
        """Set a fraction `p` of the attention weights of all blocks to 0 in training."""
        for block in self.blocks:
            block.attention.dropout = p  # type: ignore[union-attr]

    def add_gates(self) -> None:
        """Add gates to the heads and feed-forward networks of all blocks."""
        for block in self.blocks:
            block.add_gates()  # type: ignore[operator]

    def prune_to(self, layers: Sequence[tuple[Sequence[int], bool]]) -> None:
        """Prune each block to its groups of heads and its feed-forward network.

        `layers` has the groups that a block keeps, and whether it keeps the feed-forward network.
        Blocks that become empty are removed.
        """
        kept = []
        for block, (groups, keep_feedforward) in zip(self.blocks, layers, strict=True):
            block.prune_to(groups, keep_feedforward=keep_feedforward)  # type: ignore[operator]
            if groups or keep_feedforward:
                kept.append(block)
        self.blocks = nn.ModuleList(kept)


def build_encoder(section: config.AttentionModel) -> Encoder:
    """Build the encoder of a section [model], with gates if it has some."""
    position = partial(build_position, section.position, section.num_heads, section.head_dim)
    encoder = Encoder(
        section.embed_dim,
        section.num_layers,
        section.num_heads,
        pattern=partial(build_mixer, section),
        position=position() if section.position.effect == "absolute" else position,
        num_kv_heads=section.num_kv_heads,
        feedforward_dim=section.feedforward_dim,
        dropout=section.dropout,
        stochastic_depth=section.stochastic_depth,
        bias=section.gates.kind == "none",
    )
    encoder.set_attention_dropout(section.attention_dropout)
    if section.gates.kind == "hard_concrete":
        encoder.add_gates()
    return encoder


def new_position(position: Position | None) -> RelativePosition:
    """Build the position of one layer; a module is copied."""
    if isinstance(position, RelativePosition):
        return copy.deepcopy(position)
    if position is None:
        return NoPosition()
    if not callable(position):
        raise ArgumentError(f"position is {position!r}; expected one such as Rotary(16)")
    return position()


def select_features(
    linear: nn.Linear, *, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None
) -> nn.Linear:
    """Copy a linear layer with only the given outputs (rows) and inputs (columns); None = all."""
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        weight, bias = weight[list(rows)], None if bias is None else bias[list(rows)]
    if columns is not None:
        weight = weight[:, list(columns)]
    smaller = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    smaller.weight = nn.Parameter(weight.clone())
    smaller.bias = None if bias is None else nn.Parameter(bias.clone())
    return smaller
