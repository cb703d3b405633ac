"""Measure the cost of one pass of AttnLRP by sequence length: CPU seconds per sequence.

Random weights, window attention, one CPU thread, medians of interleaved rounds; with one token per
position, and with one every 8. The last column is the ratio of the longest to the shortest.

    python benchmarks/attribution.py
"""

from collections.abc import Iterator

import numpy as np
from harness import Row, Table, median_seconds, run

from selfattn_bio import config
from selfattn_bio.interpret.methods import AttnLRP
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.build import build_network, tokenizer_of
from selfattn_bio.scoring.scorer import Scorer

ROUNDS = 5
LENGTHS = (1_000, 2_000, 5_000, 10_000)  # bp
STEMS = {"every base": {"kind": "none"}, "every 8 bp": {"kind": "conv", "pool": 8}}


def scorer_of(stem: dict[str, object]) -> Scorer:
    """Return an untrained model with this stem."""
    model = {
        "kind": "attention",
        "members": 1,
        "stem": stem,
        "pattern": {"kind": "window", "window": 64, "num_global": 1},
    }
    run_file = config.RunFile.model_validate(
        {"data": {"positives": "a", "negatives": "b"}, "model": model}
    )
    return Scorer(run_file, tokenizer_of(run_file), build_network(run_file).eval())


def rows() -> Iterator[Row]:
    """Time each stem at all lengths."""
    rng = np.random.default_rng(0)
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)
    letters = {length: rng.choice(bases, length) for length in LENGTHS}
    for name, stem in STEMS.items():
        scorer = scorer_of(stem)
        cases = {
            length: lambda row=row, scorer=scorer: AttnLRP().scores(scorer, [row], Target())
            for length, row in letters.items()
        }
        found = median_seconds(cases, ROUNDS)
        ratio = found[LENGTHS[-1]] / found[LENGTHS[0]]
        figures = {f"{length:,} bp": f"{value:.3f}" for length, value in found.items()}
        yield {"a token": name, **figures, "ratio": f"{ratio:.1f}"}


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("CPU seconds per sequence", rows())])
