"""Encoder of DNABERT-2, Nucleotide Transformer v2 and ESM-2, with layers of this package.

The folders of the first two need code that they contain, which is not run. ESM-2 is here because it
is faster than in `transformers`, as linear layers skip padding. Weights are read by their published
names.

| | DNABERT-2 (Zhou et al. 2024) | Nucleotide Transformer v2 (Dalla-Torre et al. 2025), ESM-2 |
|---|---|---|
| norms | after each sum | before each part, and after the last layer |
| positions | symmetric ALiBi | rotary |
| gate (Shazeer 2020) | GELU | SiLU; ESM-2 has none |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, silu

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.inputs import AttentionMask
from selfattn_bio.attention.positions import Alibi, Rotary
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.pretrained.backbone import Backbone, LibraryBackbone, check_weights
from selfattn_bio.model.pretrained.folder import OWN, one_line, read_config, weight_files

# published names of the weights, without "bert." or "esm."; {} is the number of the layer
LAYER = "encoder.layer.{}."
NAMES = {
    "bert": {
        "tokens": ["embeddings.word_embeddings"],
        "kinds": ["embeddings.token_type_embeddings"],
        "first_norm": ["embeddings.LayerNorm"],
        "qkv": [f"{LAYER}attention.self.Wqkv"],
        "out": [f"{LAYER}attention.output.dense"],
        "norm": [f"{LAYER}attention.output.LayerNorm"],
        "wide": [f"{LAYER}mlp.gated_layers"],
        "narrow": [f"{LAYER}mlp.wo"],
        "second_norm": [f"{LAYER}mlp.layernorm"],
    },
    "esm": {
        "tokens": ["embeddings.word_embeddings"],
        "qkv": [f"{LAYER}attention.self.{name}" for name in ("query", "key", "value")],
        "out": [f"{LAYER}attention.output.dense"],
        "norm": [f"{LAYER}attention.LayerNorm"],
        "wide": [f"{LAYER}intermediate.dense"],
        "narrow": [f"{LAYER}output.dense"],
        "second_norm": [f"{LAYER}LayerNorm"],
        "final_norm": ["encoder.emb_layer_norm_after"],
        "head": ["lm_head.dense"],
        "head_norm": ["lm_head.layer_norm"],
        "decoder": ["lm_head.decoder"],
        "bias": ["lm_head"],
    },
}
# not weights, or not used with rotary positions
IGNORED = ("inv_freq", "position_ids", "position_embeddings.weight")


class OwnLayer(nn.Module):
    """Attention and a feed-forward network, of the form that `settings` describes.

    Linear layers run on the tokens of all sequences together, (T, D), without padding.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__()
        dim, inner = settings.hidden_size, settings.intermediate_size
        self.heads, self.p = settings.num_attention_heads, settings.hidden_dropout_prob
        self.attention_p = settings.attention_probs_dropout_prob
        self.norm_first = settings.model_type == "esm"
        self.is_gated = not self.norm_first or hasattr(settings, "add_bias_fnn")
        biases = getattr(settings, "add_bias_fnn", not self.is_gated)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide = nn.Linear(dim, inner * (1 + self.is_gated), bias=biases)
        self.narrow = nn.Linear(inner, dim, bias=biases or not self.norm_first)
        self.norm, self.second_norm = (
            nn.LayerNorm(dim, eps=settings.layer_norm_eps) for _ in range(2)
        )
        self.gate = silu if self.norm_first and self.is_gated else gelu
        self.position = Rotary(dim // self.heads) if self.norm_first else Alibi(self.heads)

    def forward(self, x: Tensor, mask: AttentionMask) -> Tensor:
        """Map the tokens x (T, D) to (T, D); mask (B, M) is where they are."""
        for part, norm in ((self._attend, self.norm), (self._feed, self.second_norm)):
            own = part(norm(x) if self.norm_first else x, mask)
            x = x + dropout(own, self.p, self.training)
            x = x if self.norm_first else norm(x)
        return x

    def _attend(self, x: Tensor, mask: AttentionMask) -> Tensor:
        padded = _padded(self.qkv(x), mask)
        q, k, v = padded.unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        p = self.attention_p if self.training else 0.0
        found = attend(q, k, v, position=self.position, mask=mask, dropout=p)
        return self.out(_packed(found.transpose(1, 2), mask).flatten(1))

    def _feed(self, x: Tensor, mask: AttentionMask) -> Tensor:
        x = self.wide(x)
        if not self.is_gated:
            return self.narrow(self.gate(x))
        gate, values = x.chunk(2, -1)
        return self.narrow(self.gate(gate) * values)


def _current(name: str, kind: str) -> str:
    """Return a published name without "bert." or "esm."; norms have old names in some files."""
    name = name.removeprefix(f"{kind}.")
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def _packed(x: Tensor, mask: AttentionMask) -> Tensor:
    """Return the tokens (T, D) of x (B, M, D); in an exported graph padding, too."""
    return x.flatten(0, 1) if torch.compiler.is_exporting() else x[mask.tokens]


def _padded(x: Tensor, mask: AttentionMask) -> Tensor:
    """Return tokens (T, D) at their places in (B, M, D), with zeros between them."""
    if mask.padded is None or torch.compiler.is_exporting():
        return x.view(*mask.tokens.shape, -1)
    return x.new_zeros(*mask.tokens.shape, x.shape[-1]).masked_scatter(mask.tokens[..., None], x)


class OwnBackbone(Backbone):
    """An encoder with layers of this package.

    Parameters
    ----------
    settings
        Its configuration, from `read_config`.
    language_model
        Whether to keep the head that predicts masked tokens, for `log_p`. DNABERT-2 has none here,
        because its tokens vary in length.
    """

    longest = None  # positions have no table

    def __init__(self, settings: Any, *, language_model: bool = False) -> None:
        super().__init__()
        self.settings, self.kind = settings, settings.model_type
        self.embed_dim, self.num_heads = settings.hidden_size, settings.num_attention_heads
        self.num_layers = settings.num_hidden_layers
        if self.embed_dim % self.num_heads:
            raise ValueError(f"hidden_size {self.embed_dim} is not divisible by {self.num_heads}")
        if self.kind == "esm" and settings.position_embedding_type != "rotary":
            raise ValueError(f"position_embedding_type is {settings.position_embedding_type!r}")
        if self.kind == "esm" and settings.token_dropout and settings.mask_token_id is None:
            raise ValueError("token_dropout needs mask_token_id")
        dim, eps = self.embed_dim, settings.layer_norm_eps
        self.tokens = nn.Embedding(settings.vocab_size, dim)
        if self.kind == "bert":
            self.kinds = nn.Embedding(settings.type_vocab_size, dim)
            self.first_norm = nn.LayerNorm(dim, eps=eps)
        self.layers = nn.ModuleList(OwnLayer(settings) for _ in range(self.num_layers))
        self.final_norm = nn.LayerNorm(dim, eps=eps) if self.kind == "esm" else nn.Identity()
        self.has_head = language_model and self.kind == "esm"
        if self.has_head:
            self.head, self.head_norm = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=eps)
            self.decoder = nn.Linear(dim, settings.vocab_size, bias=False)
            self.bias = nn.Parameter(torch.zeros(settings.vocab_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=settings.initializer_range)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @property
    def table(self) -> nn.Embedding:
        return self.tokens

    def encode(self, ids: Tensor, mask: Tensor, vectors: Tensor | None) -> Tensor:
        x = self.tokens(ids) if vectors is None else vectors
        if self.kind == "bert":
            x = self.first_norm(x + self.kinds.weight[0])
            x = dropout(x, self.settings.hidden_dropout_prob, self.training)
        elif self.settings.token_dropout:  # as in ESM-2: 12 % of the tokens were masked in training
            masked = ids == self.settings.mask_token_id
            number, of_mask = mask.sum(1).to(x.dtype), masked.sum(1)
            scale = 0.88 * number / (number - of_mask)
            x = x.masked_fill(masked[..., None], 0) * scale[:, None, None]
        shared = AttentionMask(mask)
        x = _packed(x, shared)
        for layer in self.layers:
            x = layer(x, shared)
        return _padded(self.final_norm(x), shared)

    def load(self, folder: Path) -> None:
        found: dict[str, Tensor] = {}
        for path in weight_files(folder):
            found |= load_file(path)
        found = {_current(name, self.kind): each for name, each in found.items()}
        if self.settings.tie_word_embeddings and "embeddings.word_embeddings.weight" in found:
            found.setdefault("lm_head.decoder.weight", found["embeddings.word_embeddings.weight"])
        lacking, misshaped, own = [], [], {}
        for name, weight in self.state_dict().items():
            names = self._published(name)
            lacking += [each for each in names if each not in found]
            parts = [found.pop(each) for each in names if each in found]
            rows = len(weight) // len(names)
            misshaped += [
                each
                for each, part in zip(names, parts, strict=False)
                if part.shape != (rows, *weight.shape[1:])
            ]
            own[name] = parts
        unknown = [name for name in found if not name.endswith(IGNORED)]
        check_weights(folder, lacking, misshaped, unknown, language_model=self.has_head)
        self.load_state_dict({name: torch.cat(parts) for name, parts in own.items()})

    def _published(self, name: str) -> list[str]:
        """Return the published names of a weight, whose tensors are joined."""
        place, _, last = name.rpartition(".")
        number = place.split(".")[1] if place.startswith("layers.") else ""
        key = place.rpartition(".")[2] or last
        return [f"{each}.{last}".format(number) for each in NAMES[self.kind][key]]

    def published(self) -> dict[str, Tensor]:
        if self.kind != "esm" or hasattr(self.settings, "add_bias_fnn"):
            return super().published()
        found: dict[str, Tensor] = {}
        for name, weight in self.state_dict().items():
            names = self._published(name)
            found |= zip(names, weight.chunk(len(names)), strict=True)
        return found

    def log_p(self, ids: Tensor, mask: Tensor) -> Tensor:
        if not self.has_head:
            raise ArgumentError("this model does not predict masked letters")
        x = self.head_norm(gelu(self.head(self.encode(ids, mask, None))))
        return (self.decoder(x) + self.bias).log_softmax(-1)


def build_backbone(folder: Path, *, language_model: bool = False) -> Backbone:
    """Build the network that a folder describes, with random weights.

    `language_model` keeps the head for `log_p`. Errors are those of `read_config`.
    """
    settings = read_config(folder)
    own = any(settings.model_type == kind and hasattr(settings, key) for key, kind in OWN.items())
    own |= settings.model_type == "esm" and (
        settings.position_embedding_type == "rotary" and not settings.emb_layer_norm_before
    )
    with one_line(folder, "the network cannot be built"):
        kind = OwnBackbone if own else LibraryBackbone
        return kind(settings, language_model=language_model)
