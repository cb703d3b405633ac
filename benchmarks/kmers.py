"""Measure how fast k-mers are encoded: overlapping k-mers, 0.1 % N, one thread, median of rounds.

python benchmarks/kmers.py
"""

from collections.abc import Iterator

import numpy as np
from harness import Row, Table, median_seconds, option, run

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer

SHAPES = {"batch of promoters": (2048, 300), "one long sequence": (1, 1_000_000)}


def rows(rounds: int) -> Iterator[Row]:
    """Time each k for all shapes."""
    rng = np.random.default_rng(0)
    for k in (1, 3, 6, 8):
        rates = {}
        for name, shape in SHAPES.items():
            codes = rng.integers(0, 4, shape, dtype=np.uint8)
            codes[rng.random(shape) < 0.001] = 4
            tokenizer = KmerTokenizer(DNA, k)
            case = {name: lambda codes=codes, of=tokenizer: of.encode(codes)}
            rates[f"{name} {shape}"] = (
                f"{codes.size / median_seconds(case, rounds)[name] / 1e6:.0f}"
            )
        yield {"k": str(k), **rates}


if __name__ == "__main__":
    rounds = option("--rounds", type=int, default=31, help="timed calls (default: %(default)s)")
    run(__doc__, lambda chosen: [Table("Mbp per CPU second", rows(chosen.rounds))], rounds)
