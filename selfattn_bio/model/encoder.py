"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward network.

Shapes: B sequences, L tokens, D = embed_dim, H query heads, G key and value heads, Dh = head_dim.
A mask (B, L) bool is True at tokens and False at padding. With grouped-query attention, G < H and
H / G query heads share a key and value head; they are called a group.

Attribution methods (`interpret.attribution`) hook `QKVProjection`, `LayerNorm` and `GELU`. The
`prune_to` methods remove pruned heads and feed-forward networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.dropout import Dropout
from selfattn_bio.attention.mixers import build_mixer
from selfattn_bio.attention.packing import split_heads
from selfattn_bio.attention.positions import build_absolute, build_position
from selfattn_bio.model.gates import HardConcrete, build_gates


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
        self.linear = nn.Linear(embed_dim, sum(self.heads) * self.head_dim)

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
    """Multi-head self-attention; `mixer` in the run file selects its kind."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.mixer = build_mixer(section)
        key_heads = () if section.mixer.keys_are_queries else (section.num_groups,)
        self.qkv = QKVProjection(
            section.embed_dim, section.head_dim, (section.num_heads, *key_heads, section.num_groups)
        )
        # A layer whose gates are all closed must add 0, so there is no bias with gates or after
        # pruning.
        self.out = nn.Linear(
            section.embed_dim, section.embed_dim, bias=isinstance(section.gates, config.NoGates)
        )
        weights = self.qkv.linear.weight.numel() + self.out.weight.numel()
        self.gates = build_gates(section.gates, section.num_groups, weights / section.num_groups)
        self.position = build_position(section.position, section.num_heads, section.head_dim)
        self.dropout = section.dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        q, k, v = self.qkv(x)
        dropout = self.dropout if self.training else 0.0
        y = self.mixer(q, k, v, position=self.position, mask=mask, dropout=dropout)  # (B, H, L, Dh)
        return self.joined(y)

    def joined(self, y: Tensor) -> Tensor:
        """Apply gates to the outputs of the heads, (B, H, L, Dh), and project them to (B, L, D)."""
        return self.out(self.gates(y).transpose(1, 2).flatten(2))

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
        self.out = select_features(
            self.out,
            columns=[
                head * self.qkv.head_dim + i for head in heads for i in range(self.qkv.head_dim)
            ],
        )
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

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return zeros like x (B, L, D)."""
        return torch.zeros_like(x)


class EncoderBlock(nn.Module):
    """Compute x + attention(norm(x)), then x + feedforward(norm(x)).

    Parameters
    ----------
    section
        [model] of the run file.
    depth
        Position in the encoder, from 1 / num_layers to 1 for the last block. Stochastic depth is
        proportional to it.
    """

    attention_norm: nn.LayerNorm | nn.Identity
    attention: SelfAttention | ZeroBranch
    feedforward_norm: nn.LayerNorm | nn.Identity
    feedforward: nn.Sequential | ZeroBranch

    def __init__(self, section: config.AttentionModel, depth: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(section.embed_dim)
        self.attention = SelfAttention(section)
        self.feedforward_norm = nn.LayerNorm(section.embed_dim)
        self.feedforward = build_feedforward(section)
        self.feedforward_gate = build_gates(
            section.gates, 1, 2 * section.embed_dim * section.feedforward_dim
        )
        self.dropout = nn.Sequential(
            Dropout(section.dropout), StochasticDepth(section.stochastic_depth * depth)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward_gate(self.feedforward(self.feedforward_norm(x))))

    def prune_to(self, layer: config.KeptLayer) -> None:
        """Keep the heads that `layer` lists, and the feed-forward network if it is kept there.

        Gates are multiplied into the weights.
        """
        assert isinstance(self.attention, SelfAttention)  # a block is pruned only once
        assert isinstance(self.feedforward, nn.Sequential)
        if layer.heads:
            self.attention.prune_to(layer.heads)
        else:
            self.attention_norm, self.attention = nn.Identity(), ZeroBranch()
        if not layer.feedforward:
            self.feedforward_norm, self.feedforward = nn.Identity(), ZeroBranch()
        elif isinstance(self.feedforward_gate, HardConcrete):
            last: nn.Linear = self.feedforward[-1]  # type: ignore[assignment]
            gate = self.feedforward_gate.values().detach()
            last.weight, last.bias = (
                nn.Parameter(last.weight.detach() * gate),
                nn.Parameter(last.bias.detach() * gate),
            )
        self.feedforward_gate = nn.Identity()


def build_feedforward(section: config.AttentionModel) -> nn.Sequential:
    """Build the feed-forward network (B, L, D) -> (B, L, D), applied to each token separately."""
    return nn.Sequential(
        nn.Linear(section.embed_dim, section.feedforward_dim),
        nn.GELU(),
        Dropout(section.dropout),
        nn.Linear(section.feedforward_dim, section.embed_dim),
    )


class Encoder(nn.Module):
    """Add absolute positions if the model uses them, then apply the blocks and a final norm."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.place = build_absolute(section.position, section.embed_dim)
        self.blocks = nn.ModuleList(
            EncoderBlock(section, depth=(i + 1) / section.num_layers)
            for i in range(section.num_layers)
        )
        self.norm = nn.LayerNorm(section.embed_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) to (B, L, D)."""
        x = self.place(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def block_outputs(self, x: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """Yield the output of each block, (B, L, D), without the final norm.

        An encoder without blocks, which pruning can leave, yields x with absolute positions.
        """
        x = self.place(x)
        if not self.blocks:
            yield x
        for block in self.blocks:
            x = block(x, mask)
            yield x

    def prune_to(self, layers: Sequence[config.KeptLayer]) -> None:
        """Prune each block to its entry of `layers`, and remove blocks that become empty."""
        for block, layer in zip(self.blocks, layers, strict=True):
            block.prune_to(layer)  # type: ignore[operator]
        self.blocks = nn.ModuleList(
            block
            for block, layer in zip(self.blocks, layers, strict=True)
            if layer.heads or layer.feedforward
        )


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
