"""Measure how closely other kinds of attention approximate softmax over all keys.

Queries, keys and values are random normal numbers: 1,024 tokens, 4 heads of 32. For `performer`:
the error of the output relative to its spread, also with queries and keys half as large. For
`dynamic`: the fraction of the softmax weight on the chosen blocks, compared with the best choice of
as many blocks. For `reformer`: the fraction of the 16 keys with the highest scores that a query
meets. Means over 3 samples.

    python benchmarks/mixers.py
"""

from collections.abc import Iterator

import torch
from harness import Row, Table, run
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
        torch.stack(
            [mixer._occurs(*each, at, nearest) for each in zip(buckets, places, strict=True)]
        )
        .any(0)
        .float()
        .mean()
    )


def performer_rows() -> Iterator[Row]:
    for features in (16, 32, 64, 128, 256, 512, 1024):
        errors = {
            f"size {name}": mean_of_draws(
                lambda *x, s=size, f=features: error_of_performer(f, s, *x)
            )
            for name, size in (("1", 1.0), ("1/2", 0.5))
        }
        yield {"features": str(features), **{name: f"{of:.3f}" for name, of in errors.items()}}


def dynamic_rows() -> Iterator[Row]:
    for top in (1, 5, 13, 29):
        chosen, best = mean_of_draws(lambda *x, t=top: weight_of_dynamic(32, t, *x)).tolist()
        yield {"top of 32": str(top + NEAR), "chosen": f"{chosen:.3f}", "best": f"{best:.3f}"}


def reformer_rows() -> Iterator[Row]:
    for hashes in (1, 2, 4, 8, 16):
        recall = mean_of_draws(lambda *x, h=hashes: recall_of_reformer(16, 64, h, *x))
        yield {"hashes": str(hashes), "recall": f"{recall:.3f}"}


@torch.inference_mode()
def measure(_: object) -> list[Table]:
    near = f"reformer: fraction of the {NEAREST} nearest keys met, 16 buckets, chunks of 64"
    return [
        Table("performer: error / spread of the output", list(performer_rows())),
        Table(
            "dynamic: weight on the chosen blocks of 32 (queries twice as large)",
            list(dynamic_rows()),
        ),
        Table(near, list(reformer_rows())),
    ]


if __name__ == "__main__":
    run(__doc__, measure)
