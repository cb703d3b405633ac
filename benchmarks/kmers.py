"""Measure how fast k-mers are encoded: overlapping k-mers, 0.1 % N, one thread, median of rounds.

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
    """Return the median Mbp per second of process CPU time."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        tokenizer.encode(codes)
        seconds.append(time.process_time() - start)
    return codes.size / statistics.median(seconds) / 1e6


def main() -> None:
    """Time each shape and k."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=31, help="number of timed calls (default: %(default)s)"
    )
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    for k in (1, 3, 6, 8):
        for name, shape in SHAPES.items():
            codes = rng.integers(0, 4, shape, dtype=np.uint8)
            codes[rng.random(shape) < 0.001] = 4
            speed = rate(KmerTokenizer(DNA, k), codes, rounds)
            print(f"k {k} stride 1, {name} {shape}: {speed:.0f} Mbp/s")


if __name__ == "__main__":
    main()
