"""The attention encoder: pre-norm blocks of multi-head attention and a GELU feed-forward.

Attribution methods (`interpret.attribution`) hook `QKVProjection`, `LayerNorm` and `GELU`. The
`keep` methods remove heads and feed-forwards.
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
    """Project queries, keys and values of all heads.

    It is a separate module so that attribution rules can be hooked on the inputs of attention.
    """

    def __init__(self, embed_dim: int, head_dim: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        # numbers of query, key and value heads; with two numbers the queries are also the keys
        self.heads, self.head_dim = heads, head_dim
        self.linear = nn.Linear(embed_dim, sum(self.heads) * self.head_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (B, L, D) to q (B, H, L, Dh), k and v (B, G, L, Dh)."""
        q, *keys, v = split_heads(self.linear(x), self.heads, self.head_dim)
        if keys:
            return q, keys[0], v
        # Separate views, so that attribution hooks can scale query and key gradients independently.
        return q.view_as(q), q.view_as(q), v

    def keep(self, heads: Sequence[int], groups: Sequence[int]) -> None:
        """Remove all query heads except `heads`, and all key and value heads except `groups`."""
        kept, rows, first = (heads, *[groups] * (len(self.heads) - 1)), [], 0
        for number, of in zip(self.heads, kept, strict=True):
            rows += [
                (first + head) * self.head_dim + i for head in of for i in range(self.head_dim)
            ]
            first += number
        self.linear = cut(self.linear, rows=rows)
        self.heads = tuple(map(len, kept))


class SelfAttention(nn.Module):
    """Apply multi-head self-attention of the kind that the run file names as `mixer`."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.mixer = build_mixer(section)
        of_keys = () if section.mixer.keys_are_queries else (section.num_groups,)
        self.qkv = QKVProjection(
            section.embed_dim, section.head_dim, (section.num_heads, *of_keys, section.num_groups)
        )
        # With gates, or after pruning, there is no bias: a layer whose heads are all closed must
        # add nothing.
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
        """Join the outputs of the heads, (B, H, L, Dh), to (B, L, D)."""
        return self.out(self.gates(y).transpose(1, 2).flatten(2))

    def keep(self, groups: Sequence[int]) -> None:
        """Remove all key and value heads except `groups`, and the query heads that share them.

        Gates are multiplied into the weights of `out`.
        """
        shared = self.qkv.heads[0] // self.qkv.heads[-1]
        heads = [group * shared + i for group in groups for i in range(shared)]
        if isinstance(self.gates, HardConcrete):
            gate = self.gates.values().detach().repeat_interleave(shared * self.qkv.head_dim)
            self.out.weight = nn.Parameter(self.out.weight.detach() * gate)
            self.gates = nn.Identity()
        self.qkv.keep(heads, groups)
        self.out = cut(
            self.out,
            columns=[
                head * self.qkv.head_dim + i for head in heads for i in range(self.qkv.head_dim)
            ],
        )
        self.position.keep(heads)
        self.mixer.keep(heads)


class StochasticDepth(nn.Module):
    """Drop the branch of random sequences in training, and scale up the others.

    References
    ----------
    Huang et al. 2016.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, branch: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        if not (self.training and self.chance):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.chance
        return branch * kept / (1 - self.chance)


class ZeroBranch(nn.Module):
    """Replace a branch that was removed."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return zeros like x (B, L, D)."""
        return torch.zeros_like(x)


class EncoderBlock(nn.Module):
    """Compute x + attention(norm(x)), then x + feed-forward(norm(x))."""

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

    def keep(self, layer: config.KeptLayer) -> None:
        """Remove the heads and the feed-forward that `layer` does not list.

        Gates are multiplied into the weights.
        """
        assert isinstance(self.attention, SelfAttention)  # a pruned block is never pruned again
        assert isinstance(self.feedforward, nn.Sequential)
        if layer.heads:
            self.attention.keep(layer.heads)
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
    """Build the feed-forward (B, L, D) -> (B, L, D), which reads each position separately."""
    return nn.Sequential(
        nn.Linear(section.embed_dim, section.feedforward_dim),
        nn.GELU(),
        Dropout(section.dropout),
        nn.Linear(section.feedforward_dim, section.embed_dim),
    )


class Encoder(nn.Module):
    """Add absolute positions if there are any, then apply `num_layers` blocks and a final norm."""

    def __init__(self, section: config.AttentionModel) -> None:
        super().__init__()
        self.place = build_absolute(section.position, section.embed_dim)
        self.blocks = nn.ModuleList(
            EncoderBlock(section, depth=(i + 1) / section.num_layers)
            for i in range(section.num_layers)
        )
        self.norm = nn.LayerNorm(section.embed_dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, L, D) and mask (B, L) bool, True = token, to (B, L, D)."""
        x = self.place(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)

    def each(self, x: Tensor, mask: Tensor) -> Iterator[Tensor]:
        """Yield the output of each block before the final norm, (B, L, D).

        Without blocks it yields the input of the first block.
        """
        x = self.place(x)
        if not self.blocks:
            yield x
        for block in self.blocks:
            x = block(x, mask)
            yield x

    def keep(self, layers: Sequence[config.KeptLayer]) -> None:
        """Remove what `layers` (one per block) does not list, including empty blocks."""
        for block, layer in zip(self.blocks, layers, strict=True):
            block.keep(layer)  # type: ignore[operator]
        self.blocks = nn.ModuleList(
            block
            for block, layer in zip(self.blocks, layers, strict=True)
            if layer.heads or layer.feedforward
        )


def cut(
    linear: nn.Linear, *, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None
) -> nn.Linear:
    """Return a copy of the layer that has only these outputs (rows) or inputs (columns)."""
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    if rows is not None:
        weight, bias = weight[list(rows)], None if bias is None else bias[list(rows)]
    if columns is not None:
        weight = weight[:, list(columns)]
    smaller = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None)
    smaller.weight = nn.Parameter(weight.clone())
    smaller.bias = None if bias is None else nn.Parameter(bias.clone())
    return smaller
