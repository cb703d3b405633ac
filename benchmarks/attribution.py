"""Measure the cost of one pass of AttnLRP by sequence length: CPU seconds per sequence.

Random weights, window attention, one CPU thread, medians of interleaved rounds; with one token per
position, and with one every 8.

    python benchmarks/attribution.py
"""

import statistics
import time

import numpy as np
import torch

from selfattn_bio import config
from selfattn_bio.interpret.methods import AttnLRP
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.build import build_network, tokenizer_of
from selfattn_bio.scoring.scorer import Scorer

ROUNDS = 5
LENGTHS = (1_000, 2_000, 5_000, 10_000)  # bp
STEMS = {"every base": {"kind": "none"}, "every 8 bp": {"kind": "conv", "pool": 8}}


def scorer_of(stem):
    model = {
        "kind": "attention",
        "members": 1,
        "stem": stem,
        "pattern": {"kind": "window", "window": 64, "num_global": 1},
    }
    run = config.RunFile.model_validate(
        {"data": {"positives": "a", "negatives": "b"}, "model": model}
    )
    return Scorer(run, tokenizer_of(run), build_network(run).eval())


def seconds(scorer, letters):
    start = time.process_time()
    AttnLRP().scores(scorer, [letters], Target())
    return time.process_time() - start


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    letters = {
        length: rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), length) for length in LENGTHS
    }
    for name, stem in STEMS.items():
        scorer = scorer_of(stem)
        times = {length: [] for length in LENGTHS}
        for _ in range(ROUNDS):
            for length in LENGTHS:
                times[length].append(seconds(scorer, letters[length]))
        medians = {length: statistics.median(found) for length, found in times.items()}
        figures = ", ".join(f"{length:,} bp {value:.3f} s" for length, value in medians.items())
        print(f"a token {name}: {figures}")
        ratio = medians[LENGTHS[-1]] / medians[LENGTHS[0]]
        print(f"  {LENGTHS[-1] // LENGTHS[0]} times the length costs {ratio:.1f} times as much")


if __name__ == "__main__":
    main()
