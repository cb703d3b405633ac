"""Measure how closely other kinds of attention approximate softmax over all keys.

Queries, keys and values are random normal numbers: 1,024 tokens, 4 heads of 32. For `performer`:
the error of the output relative to its spread, also with queries and keys half as large. For
`dynamic`: the fraction of the softmax weight on the chosen blocks, compared with the best choice of
as many blocks. For `reformer`: the fraction of the 16 keys with the highest scores that a query
meets. Means over 3 samples.

    python benchmarks/mixers.py
"""

import torch
from torch.nn.functional import normalize

from selfattn_bio.attention.mixers import Dynamic, Performer, Reformer
from selfattn_bio.attention.mixers.dynamic import NEAR
from selfattn_bio.attention.positions import NoPosition

LENGTH, HEADS, DIM, DRAWS, NEAREST = 1024, 4, 32, 3, 16


def mean_of_draws(measure):
    found = []
    for draw in range(DRAWS):
        torch.manual_seed(draw)
        found.append(measure(*(torch.randn(1, HEADS, LENGTH, DIM) for _ in range(3))))
    return sum(found) / DRAWS


def error_of_performer(features, size, q, k, v):
    q, k = q * size, k * size
    exact = (q @ k.transpose(-1, -2) / DIM**0.5).softmax(-1) @ v
    found = Performer(HEADS, DIM, features)(q, k, v, position=NoPosition())
    return float((found - exact).square().mean().sqrt() / exact.std())


def weight_of_dynamic(block, top, q, k, v):
    """Return the weight on the chosen blocks, and on the blocks with the highest weight."""
    by_block = (
        (2 * q @ k.transpose(-1, -2) / DIM**0.5).softmax(-1).unflatten(-1, (-1, block)).sum(-1)[0]
    )  # (H, L, blocks)
    real = torch.ones(HEADS * LENGTH // block, block, dtype=torch.bool)
    chosen = Dynamic(block, top).chosen(2 * q[0], k.reshape(-1, block, DIM), real)
    return torch.stack(
        (
            by_block.gather(-1, chosen).sum(-1).mean(),
            by_block.topk(chosen.shape[-1]).values.sum(-1).mean(),
        )
    )


def recall_of_reformer(num_buckets, chunk, hashes, q, k, v):
    keys = normalize(q, dim=-1)
    scores = (q @ keys.transpose(-1, -2)).masked_fill(torch.eye(LENGTH, dtype=torch.bool), -1e9)
    nearest = scores.topk(NEAREST).indices  # (1, H, L, NEAREST)
    mixer, tokens = Reformer(DIM, num_buckets, chunk, hashes), torch.arange(LENGTH)
    buckets = mixer.buckets(q, torch.ones(1, LENGTH, dtype=torch.bool)).unbind(2)
    places = [each.argsort(dim=-1, stable=True).argsort(dim=-1) for each in buckets]
    at = tokens[:, None].expand(1, HEADS, -1, -1)
    return float(
        torch.stack([mixer._meet(*each, at, nearest) for each in zip(buckets, places, strict=True)])
        .any(0)
        .float()
        .mean()
    )


def main():
    torch.set_num_threads(1)
    print("performer: error / spread of the output\n  features  size 1  size 1/2")
    for features in (16, 32, 64, 128, 256, 512, 1024):
        errors = [
            mean_of_draws(lambda *x, s=size, f=features: error_of_performer(f, s, *x))
            for size in (1.0, 0.5)
        ]
        print(f"  {features:8}  {errors[0]:6.3f}  {errors[1]:8.3f}")
    print(
        "\ndynamic: weight on the chosen blocks of 32 (queries twice as large)\n  top of 32  "
        "chosen  best"
    )
    for top in (1, 5, 13, 29):
        chosen, best = mean_of_draws(lambda *x, t=top: weight_of_dynamic(32, t, *x)).tolist()
        print(f"  {top + NEAR:9}  {chosen:6.3f}  {best:4.3f}")
    print(f"\nreformer: fraction of the {NEAREST} nearest keys met, 16 buckets, chunks of 64")
    print("  hashes  recall")
    for hashes in (1, 2, 4, 8, 16):
        print(
            f"  {hashes:6}  "
            f"{mean_of_draws(lambda *x, h=hashes: recall_of_reformer(16, 64, h, *x)):6.3f}"
        )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
