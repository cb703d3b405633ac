"""Attention layers and encoders of `attention_speed`: ours, and other libraries at the same size.

Each is used as a user of the library would get it: the attention module that the configuration of a
model builds by default, with its own projections, in training mode, dropout 0. Masks and rotary
angles, which those models compute once for all layers, are computed once before the clock starts.
Layers and encoders map (B, L, D) to the same shape. If a library has no encoder of the required
shape (local-attention, plain SDPA), its layer is used in pre-norm blocks like ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from local_attention.transformer import LocalMHA
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from x_transformers.x_transformers import Attention as XAttention

from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.patterns import build_pattern
from selfattn_bio.config import (
    AnyPattern,
    AnyPosition,
    AttentionModel,
    BigBirdPattern,
    FullPattern,
    NoPositionSection,
    T5Position,
    WindowPattern,
)
from selfattn_bio.model.encoder import SelfAttention, build_encoder

DIM, HEADS, WINDOW, FEEDFORWARD, LAYERS = 128, 4, 128, 512, 4
WINDOWED = WindowPattern(window=WINDOW)
# Hugging Face's BigBird with blocks of 64: first and last block global, the block of the query,
# both neighbours and 3 random blocks, 512 keys per row.
BIGBIRD = BigBirdPattern(window=96, random_blocks=3, block=64, num_global=128)
KERNELS_OF_WINDOWS = ["band", "slab"] if unavailable_reason() is None else ["slab"]


def section(
    kernel: str, pattern: AnyPattern, position: AnyPosition | None = None
) -> AttentionModel:
    """Return the [model] table of our layers, by default with a T5 bias and its gradient."""
    return AttentionModel(
        embed_dim=DIM,
        num_heads=HEADS,
        num_layers=LAYERS,
        feedforward_dim=FEEDFORWARD,
        dropout=0.0,
        kernel=kernel,
        pattern=pattern,
        position=position or T5Position(),
    )


def attention_layer(table: AttentionModel) -> SelfAttention:
    """Build our self-attention as [model] describes it."""
    return build_encoder(table.model_copy(update={"num_layers": 1})).blocks[0].attention


# ------------ one layer
class Ours(nn.Module):
    """Our layer, or our encoder, on sequences without padding."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class DenseSdpa(nn.Module):
    """The fused attention of torch over all pairs, between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        )  # each (B, H, L, Dh)
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class HuggingFaceLayer(nn.Module):
    """The self-attention of a model's first block and the linear layer after it.

    Residual, norm and dropout are left out.
    """

    def __init__(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        super().__init__()
        attention = model.encoder.layer[0].attention
        self.attention, self.out, self.inputs = attention.self, attention.output.dense, inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attention(x, **self.inputs)[0])


class HuggingFaceEncoder(nn.Module):
    """All blocks of a model, without its embeddings."""

    def __init__(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        super().__init__()
        self.encoder, self.inputs = model.encoder, inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x, **self.inputs)[0]


def local_attention(rotary: bool = False, window: int = WINDOW) -> LocalMHA:
    """Return the layer of local-attention with exactly `window` tokens to both sides.

    `exact_windowsize` is its default. Rotary embedding is its default too, and slower.
    """
    return LocalMHA(
        dim=DIM,
        dim_head=DIM // HEADS,
        heads=HEADS,
        window_size=window,
        causal=False,
        use_rotary_pos_emb=rotary,
    )


def hugging_face(
    kind: str, length: int, batch: int = 1, num_global: int = 0, window: int = WINDOW
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a model of transformers at our size, and the masks and angles of its blocks."""
    size = {
        "hidden_size": DIM,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "intermediate_size": FEEDFORWARD,
        "vocab_size": 8,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": length + 2,
    }
    if kind == "Esm":
        size["position_embedding_type"] = "rotary"
    if kind == "Longformer":
        size["attention_window"] = 2 * window
    config = getattr(transformers, f"{kind}Config")(**size, pad_token_id=0)
    model = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False).train()
    inputs: dict[str, Any] = {}
    if kind == "Esm":
        inputs["position_embeddings"] = model.rotary_embeddings(
            torch.zeros(1), torch.arange(length)[None]
        )
    if kind == "Longformer":
        inputs["attention_mask"] = torch.zeros(batch, length)
        inputs["attention_mask"][:, :num_global] = torch.finfo(torch.float32).max
    if kind == "BigBird":
        made = model.create_masks_for_block_sparse_attn(
            torch.ones(batch, length), config.block_size
        )
        inputs = dict(
            zip(("blocked_encoder_mask", "band_mask", "from_mask", "to_mask"), made, strict=True)
        )
    return model, inputs


def hugging_face_layer(
    kind: str, length: int, num_global: int = 0, window: int = WINDOW
) -> HuggingFaceLayer:
    """Build one layer, with the arguments of the encoder converted to those of its attention."""
    model, inputs = hugging_face(kind, length, num_global=num_global, window=window)
    if kind == "Longformer":
        is_global = inputs["attention_mask"] > 0
        inputs |= {
            "is_index_masked": inputs["attention_mask"] < 0,
            "is_index_global_attn": is_global,
            "is_global_attn": bool(is_global.any()),
        }
    if kind == "BigBird":
        blocked = inputs.pop("blocked_encoder_mask")
        inputs |= {"from_blocked_mask": blocked, "to_blocked_mask": blocked}
    return HuggingFaceLayer(model, inputs)


def layers(
    length: int, dense: bool, kernels: Sequence[str] = KERNELS_OF_WINDOWS
) -> dict[str, nn.Module]:
    """Return the layers of table 1 for one length.

    With `dense` also those over all pairs and Hugging Face's BigBird.
    """
    found: dict[str, nn.Module] = {
        f"ours, {kernel}, T5": Ours(attention_layer(section(kernel, WINDOWED)))
        for kernel in kernels
    }
    found["ours, BigBird pattern"] = Ours(
        attention_layer(section("auto", BIGBIRD, NoPositionSection()))
    )
    found["local-attention"] = local_attention()
    found["local-attention, rotary"] = local_attention(rotary=True)
    found["HF Longformer"] = hugging_face_layer("Longformer", length)
    found["HF Longformer, 1 global"] = hugging_face_layer("Longformer", length, num_global=1)
    if dense:  # Hugging Face's BigBird is linear too, but takes seconds and gigabytes
        found["HF BigBird"] = hugging_face_layer("BigBird", length)
        found["dense SDPA"] = DenseSdpa()
        found["x-transformers, flash"] = XAttention(
            DIM, dim_head=DIM // HEADS, heads=HEADS, flash=True
        )
        found["HF BERT"] = hugging_face_layer("Bert", length)
        found["HF ESM"] = hugging_face_layer("Esm", length)
    return found


# ------------ complete encoders
class Blocks(nn.Module):
    """Pre-norm blocks like ours around any attention layer."""

    def __init__(self, attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.attention = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(DIM), attention()) for _ in range(LAYERS)
        )
        self.feedforward = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(DIM),
                nn.Linear(DIM, FEEDFORWARD),
                nn.GELU(),
                nn.Linear(FEEDFORWARD, DIM),
            )
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> Tensor:
        for attention, feedforward in zip(self.attention, self.feedforward, strict=True):
            x = x + attention(x)
            x = x + feedforward(x)
        return self.norm(x)


class ValuesOnly(nn.Module):
    """The lower limit: the projections of our layer, with the values of each token as output."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.qkv, self.out = attention.qkv, attention.out

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        _, _, v = self.qkv(x)
        return self.out(v.transpose(1, 2).flatten(2))


def floor() -> Ours:
    """Return our encoder without attention."""
    encoder = build_encoder(section("auto", WINDOWED, NoPositionSection()))
    for block in encoder.blocks:
        block.attention = ValuesOnly(block.attention)
    return Ours(encoder)


class Lstm(nn.Module):
    """A bidirectional LSTM of two layers with about as many parameters as `like`."""

    def __init__(self, like: nn.Module) -> None:
        super().__init__()
        wanted = num_parameters(like)
        hidden = min(
            range(8, 512),
            key=lambda h: abs(num_parameters(self._made(h, "meta")) + (2 * h + 1) * DIM - wanted),
        )
        self.lstm, self.out = self._made(hidden), nn.Linear(2 * hidden, DIM)

    @staticmethod
    def _made(hidden: int, device: str = "cpu") -> nn.LSTM:
        return nn.LSTM(
            DIM, hidden, num_layers=2, batch_first=True, bidirectional=True, device=device
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0])


def num_parameters(module: nn.Module) -> int:
    """Count the parameters."""
    return sum(x.numel() for x in module.parameters())


class Model(nn.Module):
    """The model of table 2: token embedding, an encoder, and the logits of each token."""

    def __init__(self, encoder: nn.Module, vocabulary: int = 8) -> None:
        super().__init__()
        self.embedding, self.encoder = nn.Embedding(vocabulary, DIM), encoder
        self.head = nn.Linear(DIM, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, L) int64 to logits (B, L, V)."""
        return self.head(self.encoder(self.embedding(tokens)))


def our_encoder(
    kernel: str, pattern: AnyPattern = WINDOWED, position: AnyPosition | None = None
) -> Ours:
    """Return our encoder of four blocks."""
    return Ours(build_encoder(section(kernel, pattern, position)))


def long_encoders(length: int) -> dict[str, nn.Module]:
    """Return the encoders of table 2 for one long sequence."""
    found: dict[str, nn.Module] = {
        f"ours, {kernel}, T5": our_encoder(kernel) for kernel in KERNELS_OF_WINDOWS
    }
    found["ours, BigBird pattern"] = our_encoder("auto", BIGBIRD, NoPositionSection())
    found["floor: no attention"] = floor()
    found["local-attention"] = Blocks(local_attention)
    found["HF Longformer"] = HuggingFaceEncoder(*hugging_face("Longformer", length))
    found["HF BigBird"] = HuggingFaceEncoder(*hugging_face("BigBird", length))
    found["LSTM"] = Lstm(our_encoder("auto"))
    return found


def short_encoders(length: int, batch: int) -> dict[str, nn.Module]:
    """Return the encoders of table 2 for a batch of short sequences.

    "all pairs" attends to the same keys as BERT and ESM.
    """
    found: dict[str, nn.Module] = {
        f"ours, {kernel}, T5, {name}": our_encoder(kernel, pattern)
        for name, pattern in (("all pairs", FullPattern()), (f"window {WINDOW}", WINDOWED))
        for kernel in KERNELS_OF_WINDOWS
    }
    found["floor: no attention"] = floor()
    found["dense SDPA"] = Blocks(DenseSdpa)
    found["HF BERT"] = HuggingFaceEncoder(*hugging_face("Bert", length, batch))
    found["HF ESM"] = HuggingFaceEncoder(*hugging_face("Esm", length, batch))
    found["LSTM"] = Lstm(our_encoder("auto"))
    return found


# ------------ same work
def dense_oracle(
    x: Tensor, qkv: nn.Linear, out: nn.Linear, allowed: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Compute a layer directly from all L^2 scores.

    Scores outside `allowed` (L, L) are -inf; `bias` is (H, L, L).
    """
    q, k, v = qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + (0 if bias is None else bias)
    scores = scores.masked_fill(~allowed, float("-inf"))
    return out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def differences(length: int = 640, window: int = 32) -> dict[str, float]:
    """Compare each sparse layer with `dense_oracle` with the same weights.

    Returns the largest error of output and input gradient, relative to the largest entry.
    """
    torch.manual_seed(0)
    x, grad = torch.randn(1, length, DIM), torch.randn(1, length, DIM)
    at = torch.arange(length)
    near = (at[None] - at[:, None]).abs() <= window
    found = {}

    def compare(
        name: str,
        layer: nn.Module,
        qkv: nn.Linear,
        out: nn.Linear,
        allowed: Tensor = near,
        bias: Tensor | None = None,
    ) -> None:
        sides = []
        for function in (layer, lambda x: dense_oracle(x, qkv, out, allowed, bias)):
            leaf = x.clone().requires_grad_()
            y = function(leaf)
            sides.append((y.detach(), torch.autograd.grad(y, leaf, grad)[0]))
        found[name] = max(
            float((one - other).abs().max() / other.abs().max())
            for one, other in zip(*sides, strict=True)
        )

    for kernel in KERNELS_OF_WINDOWS:
        ours = attention_layer(section(kernel, WindowPattern(window=window)))
        bias = ours.position.table(ours.position.buckets(length - 1)).T[
            :, at[None] - at[:, None] + length - 1
        ]  # (H, L, L)
        compare(f"ours, {kernel}, T5", Ours(ours), ours.qkv.linear, ours.out, bias=bias)
    ours = attention_layer(section("auto", BIGBIRD, NoPositionSection()))
    compare(
        "ours, BigBird pattern",
        Ours(ours),
        ours.qkv.linear,
        ours.out,
        build_pattern(BIGBIRD).dense_mask(length),
    )
    local = local_attention(window=window)
    compare("local-attention", local, local.to_qkv, local.to_out)
    longformer = hugging_face_layer("Longformer", length, window=window)
    compare(
        "HF Longformer",
        longformer,
        _joined([getattr(longformer.attention, name) for name in ("query", "key", "value")]),
        longformer.out,
    )
    return found


def keys_of_bigbird(length: int) -> float:
    """Return the mean number of keys per query of our BigBird pattern; Hugging Face's has 512.

    Global queries are left out.
    """
    rows = torch.arange(BIGBIRD.num_global, length, 61)
    return float(
        build_pattern(BIGBIRD)
        .allows(rows[:, None], torch.arange(length)[None], length)
        .sum(1)
        .double()
        .mean()
    )


def _joined(linears: Sequence[nn.Linear]) -> nn.Linear:
    joined = nn.Linear(DIM, len(linears) * DIM)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([x.weight for x in linears]))
        joined.bias.copy_(torch.cat([x.bias for x in linears]))
    return joined
