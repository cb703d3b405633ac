"""Print how fast k-mers are encoded: overlapping 6-mers, 0.1 % N, one thread, median of rounds.

python benchmarks/kmers.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer

SHAPES = {"batch of promoters": (2048, 300), "one long sequence": (1, 1_000_000)}


def rate(tokenizer: KmerTokenizer, codes: np.ndarray, rounds: int) -> float:
    """Median Mbase/s of process CPU time."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        tokenizer.encode(codes)
        seconds.append(time.process_time() - start)
    return codes.size / statistics.median(seconds) / 1e6


def main() -> None:
    """Time each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31, help="timed calls to take the median of (default: %(default)s)")
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    for k in (1, 3, 6, 8):
        for name, shape in SHAPES.items():
            codes = rng.integers(0, 4, shape, dtype=np.uint8)
            codes[rng.random(shape) < 0.001] = 4
            print(f"k {k} stride 1, {name} {shape}: {rate(KmerTokenizer(DNA, k), codes, rounds):.0f} Mbase/s")


if __name__ == "__main__":
    main()
