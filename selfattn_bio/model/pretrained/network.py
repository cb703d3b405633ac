"""The network of a run with [model] kind = "pretrained": a published encoder and a new head."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio import config
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.convolution import EmbeddedTokens
from selfattn_bio.model.heads import Head, PoolingHead, TokenHead
from selfattn_bio.model.pretrained.backbone import Backbone
from selfattn_bio.model.pretrained.folder import read_vocabulary
from selfattn_bio.model.pretrained.own import build_backbone
from selfattn_bio.model.pretrained.vocabulary import FIRST, Pieces
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import PAD


class PretrainedBody(nn.Module):
    """Encoder and head, the only member of the network."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.vector_size = backbone.embed_dim
        self.head_norm = nn.LayerNorm(backbone.embed_dim)


class PretrainedNetwork(Network):
    """Map a token per letter to outputs, through the tokens of a pretrained model.

    Embeddings are one-hot letters, (B, N, V). Gradients at them are therefore those of letters, for
    every vocabulary whose tokens keep their places when a letter changes.

    Parameters
    ----------
    section
        Section [model].
    alphabet
        Alphabet of the sequences.
    num_outputs
        Number C of outputs per sequence, or per letter.
    per_letter
        Whether there are outputs for each letter.

    Raises
    ------
    ModelFolderError
        If the folder has no configuration or vocabulary that can be used.
    """

    has_rules = False

    def __init__(
        self,
        section: config.PretrainedModel,
        alphabet: Alphabet,
        num_outputs: int,
        *,
        per_letter: bool,
    ) -> None:
        nn.Module.__init__(self)
        self.section, self.name, folder = section, section.folder, Path(section.folder)
        backbone = build_backbone(folder)
        dim = backbone.embed_dim
        head: Head = (
            TokenHead(dim, num_outputs, pool=1)
            if per_letter
            else PoolingHead(dim, backbone.num_heads, 1, num_outputs, section.dropout)
        )
        self.members = nn.ModuleList([PretrainedBody(backbone, head)])
        self.vocabulary = read_vocabulary(folder, alphabet)
        self.has_embeddings = self.vocabulary.has_embeddings
        self.size, self.per_letter = FIRST + len(alphabet.letters), per_letter

    @property
    def body(self) -> PretrainedBody:
        """Return encoder and head."""
        return self.members[0]  # type: ignore[return-value]

    def read_weights(self) -> None:
        """Replace the random weights of the encoder by those of the folder, unless it is a control.

        Errors are those of `Backbone.load`.
        """
        if self.section.weights == "folder":
            self.body.backbone.load(Path(self.section.folder))

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int to one-hot letters (B, N, V)."""
        return one_hot(tokens.long(), self.size).to(self.body.head_norm.weight.dtype)

    inputs = embed  # the members get the one-hot letters

    def classify(self, embeddings: Tensor | EmbeddedTokens, mask: Tensor) -> Tensor:
        """Map weights of letters (B, N, V) and mask (B, N) bool to outputs (B, C) or (B, N, C)."""
        assert isinstance(embeddings, Tensor)  # `inputs` returns nothing else
        tokens = torch.where(mask, embeddings.detach().argmax(-1), PAD)
        pieces = self.vocabulary(tokens)
        table = self.body.backbone.table.weight
        vectors = self.vocabulary.embeddings(embeddings, pieces, table)
        return self._outputs(pieces, self.body.backbone(pieces, vectors), tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, N) int, padded with 0, to outputs (B, 1, C) or (B, 1, N, C)."""
        pieces = self.vocabulary(tokens)
        return self._outputs(pieces, self.body.backbone(pieces), tokens)[:, None]

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vector of the token of each letter, (B, N, D), and the mask (B, N)."""
        pieces = self.vocabulary(tokens)
        vectors = self.body.backbone(pieces)
        return pieces.of_letters(vectors, tokens.shape[1]), self.mask_of(tokens)

    def _outputs(self, pieces: Pieces, vectors: Tensor, tokens: Tensor) -> Tensor:
        x, inside = self.body.head_norm(vectors), pieces.inside
        if self.per_letter:
            x, inside = pieces.of_letters(x, tokens.shape[1]), self.mask_of(tokens)
        return self.body.head(x, inside)
