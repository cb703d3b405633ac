"""Compare the inference speed on sequences of 100 to 140 residues with Hugging Face's ESM.

The encoder has the shape of ESM-2 8M with random weights: 6 layers, 320 wide, 20 heads, rotary
positions. Ours reads batches of similar length, as `score` does. "linear layers" are ours without
attention, a bound for any implementation. float32, one CPU thread, medians of interleaved rounds.
Needs the bench extra.

    python benchmarks/inference.py
"""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Row, Table, median_seconds, run
from numpy.typing import NDArray
from torch import Tensor
from transformers import EsmConfig, EsmModel

from selfattn_bio.attention.positions import Rotary
from selfattn_bio.model.encoder import Encoder
from selfattn_bio.training.heap import keep_memory

NUMBER, BATCH, ROUNDS, PAD = 256, 32, 5, 1
DIM, LAYERS, HEADS, HIDDEN = 320, 6, 20, 1280


def batches(lengths: NDArray[np.int64]) -> list[tuple[Tensor, Tensor]]:
    """Return token ids (B, L) and masks of consecutive sequences."""
    found = []
    for start in range(0, len(lengths), BATCH):
        some = torch.from_numpy(lengths[start : start + BATCH])
        mask = torch.arange(int(some.max())) < some[:, None]
        found.append((torch.where(mask, torch.randint(4, 24, mask.shape), PAD), mask))
    return found


@torch.inference_mode()
def rows() -> Iterator[Row]:
    """Time each encoder on all sequences."""
    keep_memory()
    lengths = np.random.default_rng(0).integers(100, 141, NUMBER)
    given, sorted_ = batches(lengths), batches(np.sort(lengths))
    config = EsmConfig(
        vocab_size=33,
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        position_embedding_type="rotary",
        attn_implementation="eager",
        pad_token_id=PAD,
        token_dropout=False,
    )
    esm = EsmModel(config, add_pooling_layer=False).eval()
    embedding, ours = torch.nn.Embedding(33, DIM), Encoder(DIM, LAYERS, HEADS, position=Rotary(16))
    ours.eval()

    def linear_layers(ids: Tensor) -> None:
        x = embedding(ids)
        for block in ours.blocks:
            x = x + block.attention.out(block.attention.qkv.linear(x)[..., :DIM])
            x = x + block.feedforward(x)

    found = median_seconds(
        {
            "HF ESM, eager": lambda: [
                esm(input_ids=ids, attention_mask=mask.long()) for ids, mask in given
            ],
            "ours": lambda: [ours(embedding(ids), mask) for ids, mask in sorted_],
            "linear layers": lambda: [linear_layers(ids) for ids, _ in sorted_],
        },
        ROUNDS,
    )
    for name, seconds in found.items():
        yield {
            "encoder": name,
            "tokens/s": f"{lengths.sum() / seconds:,.0f}",
            "HF / this": f"{found['HF ESM, eager'] / seconds:.2f}",
        }


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])
