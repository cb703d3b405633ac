"""Published encoders: as they are, and with a new head, for [model] kind = "pretrained"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from selfattn_bio import config
from selfattn_bio.arrays import Floats, Scores
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.classifier import Network
from selfattn_bio.model.convolution import EmbeddedTokens
from selfattn_bio.model.heads import Head, PoolingHead, TokenHead
from selfattn_bio.model.pretrained.backbone import Backbone
from selfattn_bio.model.pretrained.folder import DOWNLOAD, alphabet_of, read_vocabulary
from selfattn_bio.model.pretrained.own import build_backbone
from selfattn_bio.model.pretrained.vocabulary import FIRST, Pieces, Vocabulary
from selfattn_bio.sequence.alphabet import Alphabet, Ascii
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer, pad_letters

BATCH_LETTERS = 16_384  # letters of a batch, with padding


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


@dataclass(frozen=True, eq=False, repr=False)
class PublishedModel:
    """A published model in evaluation mode, without gradients of its weights.

    Attributes
    ----------
    folder
        Its folder.
    alphabet
        Alphabet of its sequences.
    vocabulary
        Its tokens: `vocabulary(tokens)` maps a token per letter, (B, N), to `Pieces`.
    module
        The network: `module(pieces)` are vectors (B, M, D).
    known
        Mean vectors (1, D) by the bytes of the record, for callers that read records repeatedly.
    """

    folder: Path
    alphabet: Alphabet
    vocabulary: Vocabulary
    module: Backbone
    known: dict[bytes, Scores] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, alphabet: Alphabet | None = None, *, head: bool = False) -> Self:
        """Read a folder; without an alphabet, it follows from the vocabulary.

        `head` keeps the head that predicts masked tokens.

        Raises
        ------
        ModelFolderError
            If a file is missing or damaged, or the model needs code of its folder.
        """
        module = build_backbone(folder, language_model=head)
        alphabet = alphabet or alphabet_of(folder)
        vocabulary = read_vocabulary(folder, alphabet)
        module.load(folder)
        return cls(folder, alphabet, vocabulary, module.eval().requires_grad_(False))

    def tokens(self, letters: Sequence[Ascii]) -> Tensor:
        """Return a token per letter of sequences of any lengths, (B, N) padded with 0."""
        codes = self.alphabet.codes(pad_letters(letters))
        ids = KmerTokenizer(self.alphabet, k=1).encode(codes).astype(np.int64)
        return torch.from_numpy(ids).to(self.module.table.weight.device)

    @torch.no_grad()
    def vectors(self, letters: Sequence[Ascii], *, per_letter: bool = False) -> list[Scores]:
        """Return the mean vector of each sequence, (1, D), or that of each letter, (L, D).

        Batches begin with the longest sequences.
        """
        found: list[Scores] = [np.empty((0, self.module.embed_dim), np.float32)] * len(letters)
        order = sorted(range(len(letters)), key=lambda row: -len(letters[row]))
        while order:
            rows = order[: max(1, BATCH_LETTERS // len(letters[order[0]]))]
            del order[: len(rows)]
            tokens = self.tokens([letters[row] for row in rows])
            pieces = self.vocabulary(tokens)
            vectors = self.finite(self.module(pieces))
            if per_letter:
                vectors = pieces.of_letters(vectors, tokens.shape[1])
            for row, own, inside in zip(rows, vectors, pieces.inside, strict=True):
                own = own[: len(letters[row])] if per_letter else own[inside].mean(0, keepdim=True)
                found[row] = own.cpu().numpy()
        return found

    def finite(self, outputs: Tensor) -> Tensor:
        """Return the outputs; refuse those that are not finite."""
        if not outputs.isfinite().all():
            message = "the network returned numbers that are not finite"
            ModelFolderError.fail(message, self.folder, DOWNLOAD)
        return outputs

    def slopes(self, record: Ascii, weights: Floats) -> Floats:
        """Return the gradient of the weighted sum of the mean vector at each letter, (L, A).

        It is that of each letter minus that of the observed letter. The tokens of the vocabulary
        must have one length (`Vocabulary.has_embeddings`).
        """
        tokens, table = self.tokens([record]), self.module.table.weight
        pieces, size = self.vocabulary(tokens), FIRST + len(self.alphabet.letters)
        letters = one_hot(tokens, size).to(table.dtype).requires_grad_()
        vectors = self.module(pieces, self.vocabulary.embeddings(letters, pieces, table))
        mean = vectors[0, pieces.inside[0]].mean(0)
        (slopes,) = torch.autograd.grad(mean @ torch.from_numpy(weights).to(mean), letters)
        effects = slopes[0, :, FIRST:] - slopes[0].gather(1, tokens[0, :, None])
        return effects.double().cpu().numpy()
