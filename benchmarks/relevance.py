"""What one pass of AttnLRP costs as sequences grow: processor seconds a sequence of random weights on one CPU thread, medians of rounds in
turn, over a window pattern with a vector every letter, and over one with a vector every 8. Run: `python benchmarks/relevance.py`."""

import statistics
import time

import numpy as np
import torch

from selfattn_bio import config
from selfattn_bio.interpret.methods import AttnLRP
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.classifier import build_network, tokenizer_of
from selfattn_bio.scoring.scorer import Scorer

ROUNDS = 5
LENGTHS = (1_000, 2_000, 5_000, 10_000)  # letters
STEMS = {"every letter": {"kind": "none"}, "every 8 letters": {"kind": "conv", "pool": 8}}


def scorer_of(stem):
    model = {"kind": "attention", "members": 1, "stem": stem, "pattern": {"kind": "window", "window": 64, "num_global": 1}}
    run = config.RunFile.model_validate({"data": {"positives": "a", "negatives": "b"}, "model": model})
    return Scorer(run, tokenizer_of(run), build_network(run).eval())


def seconds(scorer, letters):
    start = time.process_time()
    AttnLRP().scores(scorer, [letters], Target())
    return time.process_time() - start


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    letters = {length: rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), length) for length in LENGTHS}
    for name, stem in STEMS.items():
        scorer = scorer_of(stem)
        times = {length: [] for length in LENGTHS}
        for _ in range(ROUNDS):
            for length in LENGTHS:
                times[length].append(seconds(scorer, letters[length]))
        medians = {length: statistics.median(found) for length, found in times.items()}
        print(f"a vector {name}: " + ", ".join(f"{length:,} letters {value:.3f} s" for length, value in medians.items()))
        print(f"  {LENGTHS[-1] // LENGTHS[0]} times the letters cost {medians[LENGTHS[-1]] / medians[LENGTHS[0]]:.1f} times as much")


if __name__ == "__main__":
    main()
