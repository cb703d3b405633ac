"""The network of a run: token embeddings, a body (attention or convolution) and its outputs.

Outputs belong to a sequence, a token or a bin, depending on the objective. Training, scoring and
interpretation use `embed`, `classify` and `forward`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from selfattn_bio import config
from selfattn_bio.attention.inputs import is_complete
from selfattn_bio.model.cnn import Cnn, Dilated
from selfattn_bio.model.convolution import LARGEST, EmbeddedTokens
from selfattn_bio.model.encoder import build_encoder
from selfattn_bio.model.heads import BinHead, ProfileHead, TokenHead, build_head
from selfattn_bio.model.paired import FIRST, PARTNER, PairedBody
from selfattn_bio.model.stem import ConvStem, NoStem, build_stem
from selfattn_bio.sequence.kmers import PAD


class AttentionBody(nn.Module):
    """Apply stem, encoder and head."""

    def __init__(self, section: config.AttentionModel, num_outputs: int, objective: Any) -> None:
        super().__init__()
        self.stem = build_stem(section.stem, section.embed_dim, section.dropout)
        self.encoder = build_encoder(section)
        self.head = build_head(section, num_outputs, objective)
        self.token_dim, self.vector_size = self.stem.token_dim, section.embed_dim
        # whether `forward` takes embedded tokens in place of embeddings
        self.reads_tokens = isinstance(self.stem, ConvStem)

    def forward(self, x: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        """Map x (B, N, token_dim) and mask (B, N) to outputs.

        The shape is (B, C) per sequence, (B, N, C) per token, (B, M, C) per bin, and that of
        `ProfileHead` for profiles.
        """
        if isinstance(self.head, ProfileHead):
            assert isinstance(self.stem, ConvStem | NoStem)  # the run file is validated before
            fine, before, pooled = self.stem.with_responses(x, mask)
            return self.head(*self._encoded(before, pooled), before, fine, mask)
        num_tokens = mask.shape[1]
        before, mask = self.stem(x, mask)  # (B, M, D)
        if isinstance(self.head, BinHead):
            return self.head(*self._encoded(before, mask), before)
        if isinstance(self.head, TokenHead):
            return self.head(*self._encoded(before, mask))[:, :num_tokens]
        return self.after_stem(before, mask)

    def after_stem(self, x: Tensor, mask: Tensor) -> Tensor:
        """Continue `forward` after the stem, from (B, M, D) and (B, M); per sequence only."""
        return self.head(*self._encoded(x, mask))

    def encode(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of the head, (B, P + M, D) and (B, P + M).

        P is the number of prefix vectors of the head.
        """
        return self._encoded(*self.stem(x, mask))

    def _encoded(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, mask = self.head.add_prefix(x, mask)
        return self.encoder(x, mask), mask


Body = AttentionBody | Cnn | Dilated | PairedBody


NO_EMBEDDINGS = (
    "the model is a user's module without the methods embed and classify, or its tokens vary in "
    "length"
)


class Network(nn.Module):
    """Map token ids to C outputs per sequence, token or bin.

    It works in two steps, `embed` and `classify`, so that gradients can be taken at the embeddings.
    Several members form an ensemble in one network. They share token embeddings and batches; each
    has its own initial weights and its own loss. The score is their mean.

    Parameters
    ----------
    members
        Networks from embeddings (B, N, token_dim) and a mask (B, N) to outputs.
    vocabulary_size
        Number V of tokens.
    """

    has_embeddings = True  # whether gradients can be taken at the embeddings
    has_rules = True  # whether its layers have rules of attribution
    name = ""  # for messages, without rules

    def __init__(self, members: Sequence[Body], vocabulary_size: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.embedding = nn.Embedding(vocabulary_size, members[0].token_dim, padding_idx=PAD)

    def alone(self, number: int) -> Self:
        """Return a network that has only one of the members and shares its weights."""
        network = copy.copy(self)
        network._modules = dict(self._modules)
        network.members = nn.ModuleList([self.members[number]])
        return network

    @property
    def vector_size(self) -> int:
        """Return the number of values of the vectors of `encode`; 0 without an encoder."""
        return sum(getattr(member, "vector_size", 0) for member in self.members)

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to embeddings (B, N, token_dim)."""
        return self.embedding(tokens)

    def classify(self, embeddings: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        """Return the mean output of the members, (B, C) or (B, N, C).

        `embeddings` is (B, N, token_dim) or the result of `inputs`, and `mask` (B, N) bool, True =
        token.
        """
        return self._of_members(embeddings, mask).mean(1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs of each member, (B, M, C) or (B, M, N, C), for the loss.

        `tokens` is (B, N) int, padded with 0.
        """
        return self._of_members(self.inputs(tokens), self.mask_of(tokens))

    def inputs(self, tokens: Tensor) -> Tensor | EmbeddedTokens:
        """Return the input of the members: on the CPU embedded tokens, if all can read them."""
        reads_tokens = all(getattr(member, "reads_tokens", False) for member in self.members)
        on_cpu = tokens.device.type == "cpu"
        reads_tokens &= not torch.compiler.is_exporting()
        if not (reads_tokens and on_cpu) or (size := self.embedding.num_embeddings) > LARGEST:
            return self.embed(tokens)
        ids = torch.arange(size)
        return EmbeddedTokens(tokens, self.embed(ids) * (ids != PAD)[:, None])

    def mask_of(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to a mask (B, N) bool, True = token."""
        return tokens != PAD

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the encoder, without prefixes, and their mask.

        Maps tokens (B, N) to (B, L, M x D), with the members concatenated, and (B, L).
        """
        return self._encoded(self.embed(tokens), self.mask_of(tokens))

    def _encoded(self, embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        parts = []
        for body in self.members:
            vectors, inside = body.encode(embeddings, mask)  # type: ignore[operator]
            parts.append(vectors[:, body.head.num_prefix :])  # type: ignore[union-attr]
        return torch.cat(parts, dim=-1), inside[:, -parts[0].shape[1] :]

    def _of_members(self, embeddings: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        return torch.stack([member(embeddings, mask) for member in self.members], dim=1)


class PairedNetwork(Network):
    """Map the tokens of two inputs, joined as `model.paired` describes, to outputs.

    `classify` takes a mask (B, N) int8 that is FIRST, PARTNER or 0 (padding).
    """

    def __init__(self, members: Sequence[Body], first_size: int, partner_size: int) -> None:
        super().__init__(members, first_size + partner_size)
        self.first_size = first_size  # size of the first input's vocabulary

    def mask_of(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to a mask (B, N) int8."""
        return torch.where(
            tokens >= self.first_size, PARTNER, torch.where(tokens != PAD, FIRST, 0)
        ).to(torch.int8)

    def of_partner(self, tokens: Tensor) -> Tensor:
        """Convert the partner tokenizer's ids to the ids of the network."""
        return torch.where(tokens == PAD, PAD, tokens + self.first_size)

    def joined(self, first: Tensor, partner: Tensor) -> Tensor:
        """Join the tokenizers' ids (B, N1) and (B, N2) of both inputs to (B, N1 + N2)."""
        return torch.cat((first, self.of_partner(partner)), 1)


class OneInput(Network):
    """Hold one input of a paired network fixed, so that the other can be explained alone.

    Parameters
    ----------
    network
        The paired network.
    held
        Tokens of the fixed input with the ids of the network, (S, N'). Row i belongs to the rows
        i, i + S, i + 2 S, ... of the other input.
    partner
        Whether the free input is the partner.
    """

    network: Any

    def __init__(self, network: Network, held: Tensor, *, partner: bool) -> None:
        nn.Module.__init__(self)
        self.network, self.members, self.embedding = network, network.members, network.embedding
        self.held, self.partner = held, partner

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens (B, N) int, as this input's tokenizer numbers them, as (B, N, token_dim)."""
        return self.network.embed(self.network.of_partner(tokens) if self.partner else tokens)

    inputs = embed  # the members get the embeddings

    def _of_members(self, embeddings: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        assert isinstance(embeddings, Tensor)  # `inputs` returns nothing else
        if len(embeddings) % len(self.held):
            raise ValueError(
                f"the fixed input has {len(self.held)} rows; expected 1, or one for each of the "
                f"{len(embeddings)} rows of the other input"
            )
        held = self.held.repeat(len(embeddings) // len(self.held), 1)
        parts = [
            (embeddings, mask * (PARTNER if self.partner else FIRST)),
            (self.network.embed(held), self.network.mask_of(held)),
        ]
        x, masks = zip(*(parts[::-1] if self.partner else parts), strict=True)
        return self.network._of_members(
            torch.cat(x, 1), torch.cat([each.to(torch.int8) for each in masks], 1)
        )


class BothStrandsNetwork(Network):
    """Pass each sequence and its reverse complement through the same weights.

    Every output is the mean over both, so it is the same for either strand, independent of
    positions and pooling. Embeddings are (B, N, 2 token_dim): those of each token, then
    those of its reverse complement, in the order of the given strand. A gradient at the embeddings
    therefore covers both strands.

    References
    ----------
    Zhou et al. 2022, the conjoined form of reverse-complement parameter sharing.
    """

    complement: Tensor

    def __init__(self, members: Sequence[Body], complement: Tensor) -> None:
        super().__init__(members, len(complement))
        self.register_buffer("complement", complement, persistent=False)

    @property
    def vector_size(self) -> int:
        """Return the number of values of the vectors of both strands."""
        return 2 * super().vector_size

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to embeddings (B, N, 2 token_dim)."""
        return torch.cat((self.embedding(tokens), self.embedding(self.complement[tokens])), -1)

    inputs = embed  # the members get the embeddings

    def _of_members(self, embeddings: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        assert isinstance(embeddings, Tensor)  # `inputs` returns nothing else
        return super()._of_members(*both_strands(embeddings, mask)).unflatten(0, (-1, 2)).mean(1)

    def _encoded(self, embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of the given strand, then those of the other, mirrored.

        Shapes are (B, L, 2 M x D) and (B, L).
        """
        vectors, inside = super()._encoded(*both_strands(embeddings, mask))
        inside = inside[::2]
        return torch.cat((vectors[::2], mirrored(vectors[1::2], inside)), -1), inside


class SharedByStrands(nn.Module):
    """Give a k-mer and its reverse complement one embedding, that of the canonical token."""

    canonical: Tensor

    def __init__(self, canonical: Tensor) -> None:
        super().__init__()
        self.register_buffer("canonical", canonical, persistent=False)

    def forward(self, table: Tensor) -> Tensor:
        """Map the embedding table (V, D) to (V, D)."""
        return table[self.canonical]


def mirrored(x: Tensor, mask: Tensor) -> Tensor:
    """Reverse the order of the tokens in each row; padding stays at the end.

    Maps x (B, N, D) and mask (B, N) bool, True = token, to (B, N, D). Tokens 1 2 3 with two
    positions of padding become 3 2 1, followed by the padding.
    """
    if is_complete(mask):
        return x.flip(1)
    positions = torch.arange(mask.shape[1], device=mask.device)
    source = torch.where(mask, mask.sum(1, keepdim=True) - 1 - positions, positions)  # (B, N)
    return x.gather(1, source[..., None].expand_as(x))


def both_strands(embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Replace each row by two rows, one per strand, each in its own reading direction.

    Maps embeddings (B, N, 2 D) of each token and its reverse complement, and mask (B, N), to (2 B,
    N, D) and (2 B, N). Rows 2 i and 2 i + 1 are the given and the other strand of row i. The first
    half of a batch thus stays in the first half, as DeepLIFT requires for sequences and references.
    """
    given, other = embeddings.chunk(2, -1)
    return torch.stack((given, mirrored(other, mask)), 1).flatten(0, 1), mask.repeat_interleave(
        2, 0
    )
