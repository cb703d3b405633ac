"""Encoders of published models, from the tokens of their vocabulary to vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.errors import ArgumentError, ModelFolderError
from selfattn_bio.model.pretrained.folder import DOWNLOAD, one_line, transformers, weight_files
from selfattn_bio.model.pretrained.vocabulary import Pieces

# parts of published weights that an encoder does not have: those of language models, and others
UNUSED = {
    *("lm_head", "cls", "decoder", "pooler", "contact_head", "classifier", "head"),
    *("predictions", "seq_relationship", "generator_predictions", "discriminator_predictions"),
    *("species", "chain", "graft"),  # heads of AntiBERTy
}
OPTIONAL = {"pooler", "contact_head"}  # weights that published files may lack


class Backbone(nn.Module, ABC):
    """Map tokens to vectors.

    A sequence that is longer than the model allows is divided into tiles that overlap by half; each
    token gets the vector of the tile in whose middle it is.

    Attributes
    ----------
    embed_dim, num_heads, num_layers
        Sizes.
    longest
        Maximum number of tokens, with special ones, or None.
    """

    embed_dim: int
    num_heads: int
    num_layers: int
    longest: int | None

    @property
    @abstractmethod
    def table(self) -> nn.Embedding:
        """Return the embeddings of the tokens."""

    @abstractmethod
    def encode(self, ids: Tensor, mask: Tensor, vectors: Tensor | None) -> Tensor:
        """Map ids and mask (B, M) to (B, M, D); `vectors` (B, M, E) replace the embeddings."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read the weights of a folder.

        Raises
        ------
        ModelFolderError
            If weights are missing or damaged, or do not fit config.json.
        """

    @abstractmethod
    def log_p(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the log probability of each token of the vocabulary, (B, M, tokens).

        Raises
        ------
        ArgumentError
            If the model predicts no masked tokens.
        """

    def published(self) -> dict[str, Tensor]:
        """Return the weights by the names that `transformers.AutoModel` reads.

        Raises
        ------
        ArgumentError
            If it has no such network without code of a folder, or only one with a decoder.
        """
        message = "`transformers.AutoModel` has no network of these weights alone"
        raise ArgumentError(message, hint="Use --to onnx")

    def forward(self, pieces: Pieces, vectors: Tensor | None = None) -> Tensor:
        """Map tokens to vectors (B, M, D), in tiles if there are too many.

        `vectors` (B, M, E) replace the embeddings of the tokens.
        """
        ids, mask, number = pieces.ids, pieces.mask, pieces.ids.shape[1]
        if self.longest is None or number <= self.longest:
            return self.encode(ids, mask, vectors)
        longest, step = self.longest, self.longest // 2

        def tile(start: int) -> Tensor:
            part = slice(start, start + longest)
            own = None if vectors is None else vectors[:, part]
            return self.encode(ids[:, part], mask[:, part], own)

        found = tile(0)
        for start in range(step, number - step, step):
            # the second half of the overlap replaces that of the tile before
            found = torch.cat((found[:, : start + step // 2], tile(start)[:, step // 2 :]), 1)
        return found


class LibraryBackbone(Backbone):
    """A network of the library `transformers`.

    Parameters
    ----------
    settings
        Its configuration, from `read_config`.
    language_model
        Whether to keep the head that predicts masked tokens, for `log_p`.
    """

    def __init__(self, settings: Any, *, language_model: bool = False) -> None:
        super().__init__()
        self.kind, self.has_decoder = _class_of(settings), settings.is_encoder_decoder
        self.whole: Any = None
        if language_model and type(settings) in transformers().MODEL_FOR_MASKED_LM_MAPPING:
            self.kind = transformers().MODEL_FOR_MASKED_LM_MAPPING[type(settings)]
            self.whole = self.kind(settings)
            self.model = self.whole.base_model
        else:
            self.model = self._encoder(self.kind(settings))
        self.embed_dim, self.num_heads = settings.hidden_size, settings.num_attention_heads
        self.num_layers = settings.num_hidden_layers
        self.longest = _longest(settings)

    @property
    def table(self) -> nn.Embedding:
        return self.model.get_input_embeddings()

    def encode(self, ids: Tensor, mask: Tensor, vectors: Tensor | None) -> Tensor:
        if vectors is None:
            return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        # The ids are passed too: some networks derive positions and scales from them.
        with self.table.register_forward_hook(lambda module, inputs, output: vectors):
            return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def load(self, folder: Path) -> None:
        weight_files(folder)
        with one_line(folder, "the weights do not fit config.json"):
            model, found = self.kind.from_pretrained(
                folder,
                config=self.model.config,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # named below
                output_loading_info=True,
                dtype=torch.float32,
            )
        check_weights(
            folder,
            found["missing_keys"],
            [name for name, *_ in found["mismatched_keys"]],
            found["unexpected_keys"],
            language_model=self.whole is not None,
        )
        if self.whole is not None:
            self.whole.load_state_dict(model.state_dict())
        else:
            self.model.load_state_dict(self._encoder(model).state_dict())

    def log_p(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.whole is None:
            raise ArgumentError(
                f"a model of type {self.model.config.model_type!r} does not predict masked letters"
            )
        outputs = self.whole(input_ids=ids, attention_mask=mask.long())
        return outputs.logits.log_softmax(-1)

    def published(self) -> dict[str, Tensor]:
        return super().published() if self.has_decoder else self.model.state_dict()

    @staticmethod
    def _encoder(model: Any) -> Any:
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # an untrained layer behind the first token
        return model.encoder if model.config.is_encoder_decoder else model


def check_weights(
    folder: Path,
    lacking: Iterable[str],
    misshaped: Iterable[str],
    unknown: Iterable[str],
    *,
    language_model: bool,
) -> None:
    """Check that the weights of a folder are those of its config.json, by their names.

    Raises
    ------
    ModelFolderError
        If a weight of the encoder, or of the head of a language model, does not fit.
    """
    unused = UNUSED - {"lm_head", "cls", "predictions"} if language_model else UNUSED
    wrong = {"lack": lacking, "have another shape for": misshaped, "have the unknown": unknown}
    for message, names in wrong.items():
        ignored = unused if names is unknown else OPTIONAL
        for name in sorted(names):
            if not ignored & set(name.split(".")) and not name.endswith("position_ids"):
                ModelFolderError.fail(f"the weights {message} {name!r}", folder, DOWNLOAD)


def _class_of(settings: Any) -> Any:
    library = transformers()
    kind = library.MODEL_MAPPING[type(settings)]
    if settings.is_encoder_decoder:  # T5 and similar: the encoder alone
        return getattr(library, kind.__name__.replace("Model", "EncoderModel"))
    return kind


def _longest(settings: Any) -> int | None:
    """Return the maximum number of tokens of a network with a table of positions."""
    number = getattr(settings, "max_position_embeddings", None)
    if number is None or getattr(settings, "position_embedding_type", None) == "rotary":
        return None
    # RoBERTa and ESM number positions from behind the one of padding
    from_padding = ("roberta", "xlm-roberta", "camembert", "esm", "longformer")
    number -= settings.pad_token_id + 1 if settings.model_type in from_padding else 0
    if number < 2:
        raise ValueError(f"max_position_embeddings leaves {number} positions")
    return number
