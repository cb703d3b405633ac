"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward, read top to bottom.

Hides: how heads are split and joined, and how they are cut out (`keep`). The network builds one; `interpret.relevance` hooks
`QKVProjection`, `LayerNorm` and `GELU`.
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
    """Queries, keys and values of all heads; a module of its own, so that a relevance rule can be hooked on what enters `attend`."""

    def __init__(self, embed_dim: int, head_dim: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim  # of queries, keys and values; without the second, queries are keys
        self.linear = nn.Linear(embed_dim, sum(self.heads) * self.head_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, L, D) -> q (B, H, L, Dh), k and v (B, G, L, Dh)."""
        q, *keys, v = split_heads(self.linear(x), self.heads, self.head_dim)
        if keys:
            return q, keys[0], v
        return q.view_as(q), q.view_as(q), v  # two tensors, of whose gradients a rule takes its share of each

    def keep(self, heads: Sequence[int], groups: Sequence[int]) -> None:
        """Cut out all heads of queries but `heads`, and of keys and values but `groups`."""
        kept, rows, first = (heads, *[groups] * (len(self.heads) - 1)), [], 0
        for number, of in zip(self.heads, kept, strict=True):
            rows += [(first + head) * self.head_dim + i for head in of for i in range(self.head_dim)]
            first += number
        self.linear = cut(self.linear, rows=rows)
        self.heads = tuple(map(len, kept))


class SelfAttention(nn.Module):
    """Multi-head self-attention of the kind that the run file names as `mixer`."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.mixer = build_mixer(section)
        of_keys = () if section.mixer.keys_are_queries else (section.num_groups,)
        self.qkv = QKVProjection(section.embed_dim, section.head_dim, (section.num_heads, *of_keys, section.num_groups))
        # Of heads that are gated or pruned without a bias: a layer whose heads are all closed is to add nothing.
        self.out = nn.Linear(section.embed_dim, section.embed_dim, bias=isinstance(section.gates, config.NoGates))
        weights = self.qkv.linear.weight.numel() + self.out.weight.numel()
        self.gates = build_gates(section.gates, section.num_groups, weights / section.num_groups)
        self.position = build_position(section.position, section.num_heads, section.head_dim)
        self.dropout = section.dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, L, D)."""
        q, k, v = self.qkv(x)
        dropout = self.dropout if self.training else 0.0
        y = self.mixer(q, k, v, position=self.position, mask=mask, dropout=dropout)  # (B, H, L, Dh)
        return self.joined(y)

    def joined(self, y: Tensor) -> Tensor:
        """What the heads took, (B, H, L, Dh) -> (B, L, D)."""
        return self.out(self.gates(y).transpose(1, 2).flatten(2))

    def keep(self, groups: Sequence[int]) -> None:
        """Cut out all heads of keys and values but `groups`, with the heads of queries that share them; a gate becomes part of `out`."""
        shared = self.qkv.heads[0] // self.qkv.heads[-1]
        heads = [group * shared + i for group in groups for i in range(shared)]
        if isinstance(self.gates, HardConcrete):
            gate = self.gates.values().detach().repeat_interleave(shared * self.qkv.head_dim)
            self.out.weight = nn.Parameter(self.out.weight.detach() * gate)
            self.gates = nn.Identity()
        self.qkv.keep(heads, groups)
        self.out = cut(self.out, columns=[head * self.qkv.head_dim + i for head in heads for i in range(self.qkv.head_dim)])
        self.position.keep(heads)
        self.mixer.keep(heads)


class StochasticDepth(nn.Module):
    """In training a sequence's branch is left out with a chance, and weighs more where it is not (Huang et al. 2016)."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, branch: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        if not (self.training and self.chance):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.chance
        return branch * kept / (1 - self.chance)


class Nothing(nn.Module):
    """Stands where a branch was cut out."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) -> zeros."""
        return torch.zeros_like(x)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    attention_norm: nn.LayerNorm | nn.Identity
    attention: SelfAttention | Nothing
    feedforward_norm: nn.LayerNorm | nn.Identity
    feedforward: nn.Sequential | Nothing

    def __init__(self, section: config.AttentionModel, depth: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(section.embed_dim)
        self.attention = SelfAttention(section)
        self.feedforward_norm = nn.LayerNorm(section.embed_dim)
        self.feedforward = build_feedforward(section)
        self.feedforward_gate = build_gates(section.gates, 1, 2 * section.embed_dim * section.feedforward_dim)
        self.dropout = nn.Sequential(Dropout(section.dropout), StochasticDepth(section.stochastic_depth * depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) -> (B, L, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward_gate(self.feedforward(self.feedforward_norm(x))))

    def keep(self, layer: config.KeptLayer) -> None:
        """Cut out all heads, and the feed-forward, but those of `layer`; gates become part of the weights."""
        assert isinstance(self.attention, SelfAttention)  # what was cut is not cut again
        assert isinstance(self.feedforward, nn.Sequential)
        if layer.heads:
            self.attention.keep(layer.heads)
        else:
            self.attention_norm, self.attention = nn.Identity(), Nothing()
        if not layer.feedforward:
            self.feedforward_norm, self.feedforward = nn.Identity(), Nothing()
        elif isinstance(self.feedforward_gate, HardConcrete):
            last: nn.Linear = self.feedforward[-1]  # type: ignore[assignment]
            gate = self.feedforward_gate.values().detach()
            last.weight, last.bias = nn.Parameter(last.weight.detach() * gate), nn.Parameter(last.bias.detach() * gate)
        self.feedforward_gate = nn.Identity()


def build_feedforward(section: config.AttentionModel) -> nn.Sequential:
    """(B, L, D) -> (B, L, D), each place by itself."""
    return nn.Sequential(
        nn.Linear(section.embed_dim, section.feedforward_dim),
        nn.GELU(),
        Dropout(section.dropout),
        nn.Linear(section.feedforward_dim, section.embed_dim),
    )


class Encoder(nn.Module):
    """Places where they are absolute, `num_layers` blocks and a last norm."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.place = build_absolute(section.position, section.embed_dim)
        self.blocks = nn.ModuleList(Block(section, depth=(i + 1) / section.num_layers) for i in range(section.num_layers))
        self.norm = nn.LayerNorm(section.embed_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, L) bool True = token -> (B, L, D)."""
        x = self.place(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def each(self, x: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """x (B, L, D) -> what each block hands on, not yet normed, (B, L, D); without blocks what they would be given."""
        x = self.place(x)
        if not self.blocks:
            yield x
        for block in self.blocks:
            x = block(x, mask)
            yield x

    def keep(self, layers: Sequence[config.KeptLayer]) -> None:
        """Cut out all but `layers`, one a block; blocks of which nothing stays go as a whole."""
        for block, layer in zip(self.blocks, layers, strict=True):
            block.keep(layer)  # type: ignore[operator]
        self.blocks = nn.ModuleList(block for block, layer in zip(self.blocks, layers, strict=True) if layer.heads or layer.feedforward)


def cut(linear: nn.Linear, *, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> nn.Linear:
    """The same layer with these outputs, or these inputs, alone."""
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        weight, bias = weight[list(rows)], None if bias is None else bias[list(rows)]
    if columns is not None:
        weight = weight[:, list(columns)]
    smaller = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    smaller.weight = nn.Parameter(weight.clone())
    smaller.bias = None if bias is None else nn.Parameter(bias.clone())
    return smaller
