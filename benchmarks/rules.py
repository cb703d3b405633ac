"""Compare rules of evidence and evaluation with those that they replaced.

Each figure is the fraction of p < .05 in simulations without a signal, so .05 is wanted. "Before",
the tests treated the records of a locus as independent. `false_positives.py` has the other tests.

    python benchmarks/rules.py                 # two minutes
    python benchmarks/rules.py --trials 50     # faster and less precise
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from false_positives import LIMIT, locus_tests
from harness import Row, Table, option, run


def rows(trials: int) -> Iterator[Row]:
    """Run each test on four similar records per locus, with and without the loci."""
    found = [
        (test, known, p < LIMIT)
        for trial in range(trials)
        for known in (False, True)
        for test, p in locus_tests("", np.random.default_rng(trial), 4, 1.0, known=known)
    ]
    table = pd.DataFrame(found, columns=["test", "known", "called"])
    for test, group in table.groupby("test", sort=False):
        before, now = group.groupby("known")["called"].mean()
        yield {"rule": str(test), "wanted": "0.05", "before": f"{before:.3f}", "now": f"{now:.3f}"}


if __name__ == "__main__":
    run(
        __doc__,
        lambda chosen: [Table("Four records per locus", rows(chosen.trials))],
        option("--trials", type=int, default=200, help="simulations per test (%(default)s)"),
    )
