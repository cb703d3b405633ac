"""Compare positions and patterns with other implementations: largest difference in float64.

The exit code is 1 if a difference exceeds `TOLERANCE`, which allows for implementations that keep a
table or compute their softmax in float32. Needs the bench extra.

    python benchmarks/agreement.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from harness import Row, Table, run
from local_attention import LocalAttention
from torch import Tensor
from transformers import LongformerConfig, Wav2Vec2BertConfig, Wav2Vec2ConformerConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerRelPositionalEmbedding,
    Wav2Vec2ConformerSelfAttention,
)

from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.patterns import AttentionPattern, CausalPattern, Full, Global, Window
from selfattn_bio.attention.positions import (
    Alibi,
    NoPosition,
    RelativePosition,
    Rotary,
    Shaw,
    T5Bias,
    TransformerXL,
)

B, H, L, DH = 2, 4, 192, 8
D = H * DH
TOLERANCE = 1e-6
SIZE = {"hidden_size": D, "num_attention_heads": H}  # of the layers of transformers


def largest(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference."""
    return float((ours - theirs).abs().max())


def t5_buckets() -> float:
    """Compare all distances up to 1,000 in both directions."""
    theirs = T5Attention._relative_position_bucket(
        torch.arange(-1000, 1001), bidirectional=True, num_buckets=32, max_distance=128
    )
    return largest(T5Bias(H).buckets(1000), theirs)


def alibi_slopes() -> float:
    """Compare 8 and 12 heads; BLOOM's tensor is slope times position of the key."""
    return max(
        largest(
            torch.tensor(Alibi(heads).slopes, dtype=torch.float64),
            build_alibi_tensor(torch.ones(1, 2), heads, torch.float64)[:, 0, 1],
        )
        for heads in (8, 12)
    )


def rotary() -> float:
    """Compare the rotated queries and keys of LLaMA."""
    q, k = torch.randn(2, B, H, L, DH, dtype=torch.float64)
    angles = torch.outer(
        torch.arange(L, dtype=torch.float64),
        10_000.0 ** (-torch.arange(0, DH, 2, dtype=torch.float64) / DH),
    ).repeat(1, 2)
    theirs = apply_rotary_pos_emb(q, k, angles.cos()[None], angles.sin()[None])
    return max(map(largest, Rotary(DH).rotate(q, k), theirs))


def _attended(
    layer: torch.nn.Module,
    names: str,
    x: Tensor,
    pattern: AttentionPattern,
    position: RelativePosition,
) -> Tensor:
    """Call `attend` with another library's input projections; return (B, L, D)."""
    q, k, v = (
        getattr(layer, name)(x).unflatten(-1, (H, DH)).transpose(1, 2) for name in names.split()
    )
    return attend(q, k, v, pattern=pattern, position=position).transpose(1, 2).flatten(2)


def shaw_keys() -> float:
    """Compare the relative keys of wav2vec2-BERT, which has no relative values."""
    config = Wav2Vec2BertConfig(
        **SIZE,
        attention_dropout=0.0,
        position_embeddings_type="relative_key",
        left_max_position_embeddings=9,
        right_max_position_embeddings=9,
        attn_implementation="eager",
    )
    layer = Wav2Vec2BertSelfAttention(config).double()
    position = Shaw(DH, 9).double()
    position.keys.data = layer.distance_embedding.weight.data
    position.values.data = torch.zeros_like(position.values)
    x = torch.randn(B, L, D, dtype=torch.float64)
    ours = layer.linear_out(_attended(layer, "linear_q linear_k linear_v", x, Full(), position))
    return largest(ours, layer(x)[0])


def transformer_xl() -> float:
    """Compare the relative positions of the Conformer.

    Its distances are query - key, and its sines and cosines alternate.
    """
    config = Wav2Vec2ConformerConfig(
        **SIZE,
        attention_dropout=0.0,
        position_embeddings_type="relative",
        attn_implementation="eager",
    )
    layer = Wav2Vec2ConformerSelfAttention(config).double()
    embedding = Wav2Vec2ConformerRelPositionalEmbedding(config)
    position = TransformerXL(H, DH, L).double()
    torch.nn.init.normal_(layer.pos_bias_u), torch.nn.init.normal_(layer.pos_bias_v)
    position.content.data = layer.pos_bias_u.data[:, None]
    position.place.data = layer.pos_bias_v.data[:, None]
    weight = layer.linear_pos.weight.data
    position.project.weight.data = torch.cat(
        (-weight[:, ::2], weight[:, 1::2]), dim=1
    )  # sin(-x) = -sin(x)
    x = torch.randn(B, L, D, dtype=torch.float64)
    ours = layer.linear_out(_attended(layer, "linear_q linear_k linear_v", x, Full(), position))
    return largest(ours, layer(x, relative_position_embeddings=embedding(x))[0])


def longformer(num_global: int) -> float:
    """Compare windows of 16 tokens to each side.

    Global tokens have separate projections in Longformer; here they are set to the same weights.
    """
    config = LongformerConfig(**SIZE, attention_window=[32], attention_probs_dropout_prob=0.0)
    layer = LongformerSelfAttention(config, layer_id=0).double().eval()
    for name in ("query", "key", "value"):
        getattr(layer, f"{name}_global").load_state_dict(getattr(layer, name).state_dict())
    x = torch.randn(B, L, D, dtype=torch.float64)
    mask = torch.zeros(B, L, dtype=torch.float64)
    mask[:, :num_global] = 1
    theirs = layer(
        x,
        attention_mask=mask,
        is_index_masked=mask < 0,
        is_index_global_attn=mask > 0,
        is_global_attn=num_global > 0,
    )[0]
    pattern = Window(16) | Global(num_global) if num_global else Window(16)
    return largest(_attended(layer, "query key value", x, pattern, NoPosition()), theirs)


def local_attention(causal: bool) -> float:
    """Compare exact windows of 32 tokens to each side, or before the query."""
    layer = LocalAttention(
        dim=DH,
        window_size=32,
        causal=causal,
        look_backward=1,
        look_forward=0 if causal else 1,
        exact_windowsize=True,
        use_rotary_pos_emb=False,
    ).double()
    q, k, v = torch.randn(3, B, H, L, DH, dtype=torch.float64)
    pattern = CausalPattern(Window(32)) if causal else Window(32)
    return largest(attend(q, k, v, pattern=pattern, position=NoPosition()), layer(q, k, v))


WAYS: dict[str, Callable[[], float]] = {
    "T5 buckets: Hugging Face T5": t5_buckets,
    "ALiBi slopes: Hugging Face BLOOM": alibi_slopes,
    "rotary: Hugging Face LLaMA": rotary,
    "Shaw, keys: Hugging Face wav2vec2-BERT": shaw_keys,
    "Transformer-XL: Hugging Face wav2vec2-Conformer": transformer_xl,
    "window: Hugging Face Longformer": lambda: longformer(0),
    "window, 3 global: Hugging Face Longformer": lambda: longformer(3),
    "window: local-attention": lambda: local_attention(causal=False),
    "causal window: local-attention": lambda: local_attention(causal=True),
}


def measure(_: object) -> Iterator[Table]:
    """Compare each; the process ends with an error if one is too far."""
    far = []

    def rows() -> Iterator[Row]:
        torch.manual_seed(0)
        for name, difference_of in WAYS.items():
            with torch.no_grad():
                difference = difference_of()
            far.extend([] if difference <= TOLERANCE else [name])
            yield {"compared with": name, "largest difference": f"{difference:.1e}"}

    yield Table("", rows())
    if far:
        raise SystemExit(f"error: difference above {TOLERANCE:.0e}: {', '.join(far)}")


if __name__ == "__main__":
    run(__doc__, measure, packages=("torch", "transformers", "local-attention"))
