"""Measure how many planted records the audit finds, its false alarms, and the cost of clustering.

python benchmarks/leakage.py              # a few minutes
python benchmarks/leakage.py --large      # adds a million peptides
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from harness import Row, Table, option, run
from numpy.typing import NDArray

from selfattn_bio.evaluation.leakage import FLOOR
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, Alphabet
from selfattn_bio.sequence.clusters import SIMILARITY, cluster_records, similar_pairs

Letters = NDArray[np.uint8]
TRAIN, TEST, PLANTED = 16_000, 4_000, 500
# Residues of UniProtKB/Swiss-Prot in % (release 2024, statistics page), ordered as PROTEIN.letters.
# fmt: off
SWISS_PROT = [
    8.25, 1.38, 5.46, 6.71, 3.86, 7.07, 2.27, 5.91, 5.80, 9.64,
    2.41, 4.06, 4.74, 3.93, 5.52, 6.65, 5.36, 6.85, 1.10, 2.92,
]
# fmt: on
SOURCES: dict[str, tuple[Alphabet, int, list[float]]] = {
    "DNA of 300 bp, uniform": (DNA, 300, [25, 25, 25, 25]),
    "DNA of 300 bp, GC 35 %": (DNA, 300, [32.5, 17.5, 17.5, 32.5]),
    "peptides of 30, uniform residues": (PROTEIN, 30, [5] * 20),
    "peptides of 30, residues as in Swiss-Prot": (PROTEIN, 30, SWISS_PROT),
    "peptides of 7, residues as in Swiss-Prot": (PROTEIN, 7, SWISS_PROT),
}


def draw(
    rng: np.random.Generator, alphabet: Alphabet, num: int, length: int, weights: list[float]
) -> list[Letters]:
    """Sample independent records with these residue weights."""
    letters = np.frombuffer(alphabet.letters.encode(), np.uint8)
    return list(rng.choice(letters, (num, length), p=np.array(weights) / sum(weights)))


def mutated(rng: np.random.Generator, row: Letters, alphabet: Alphabet, fraction: float) -> Letters:
    """Substitute a fraction of the positions.

    DNA is then reverse-complemented.
    """
    letters, changed = alphabet.letters.encode(), row.copy()
    for at in rng.choice(len(row), round(fraction * len(row)), replace=False):
        changed[at] = rng.choice([letter for letter in letters if letter != row[at]])
    return alphabet.reverse_complement(changed) if alphabet.has_complement else changed


def pairs_of(
    test: list[Letters], train: list[Letters], alphabet: Alphabet, similarity: float | None = None
) -> pd.DataFrame:
    """Return similar pairs of records: row of test, row of train, similarity."""
    pairs = similar_pairs(
        [*test, *train],
        alphabet,
        similarity,
        in_second=np.repeat([False, True], [len(test), len(train)]),
    )
    return pairs.assign(second=pairs["second"] - len(test))


def false_alarms() -> Iterator[Row]:
    """Return the fraction of independent records with a near neighbour, by similarity."""
    for name, (alphabet, length, weights) in SOURCES.items():
        limits = (SIMILARITY[alphabet.name], FLOOR)
        alarms = dict.fromkeys(limits, 0)
        for seed in range(3):
            rng = np.random.default_rng(seed)
            test, train = (draw(rng, alphabet, num, length, weights) for num in (TEST, TRAIN))
            known = {row.tobytes() for row in train}  # identical peptides of 7 are no false alarm
            others = np.array([row.tobytes() not in known for row in test])
            pairs = pairs_of(test, train, alphabet, FLOOR)
            for limit in limits:
                near = pairs.loc[pairs["similarity"] >= limit, "first"].unique()
                alarms[limit] += int(others[near].sum())
        found = [f"{count / (3 * TEST):.3%} at {limit:g}" for limit, count in alarms.items()]
        yield {"records": name, "default similarity": found[0], "lowest similarity": found[-1]}


def changes(
    rng: np.random.Generator, alphabet: Alphabet, length: int, weights: list[float]
) -> dict[str, Callable[[Letters], Letters]]:
    """Return the changes made to training records before they are planted in test."""
    half, quarter = length // 2, length // 4
    replaced = {
        f"{fraction:.0%} of the positions substituted": partial(
            mutated, rng, alphabet=alphabet, fraction=fraction
        )
        for fraction in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
    }
    return replaced | {
        "a window of half the length": lambda row: row[quarter : length - quarter],
        "shifted by half the length": lambda row: np.concatenate(
            [row[half:], draw(rng, alphabet, 1, half, weights)[0]]
        ),
    }


def planted() -> Iterator[Row]:
    """Return the fraction of planted records whose origin the audit names, by change."""
    for name in ("DNA of 300 bp, GC 35 %", "peptides of 30, residues as in Swiss-Prot"):
        alphabet, length, weights = SOURCES[name]
        rng = np.random.default_rng(0)
        train = draw(rng, alphabet, TRAIN, length, weights)
        for what, change in changes(rng, alphabet, length, weights).items():
            pairs = pairs_of([change(row) for row in train[:PLANTED]], train, alphabet)
            found = (pairs["first"] == pairs["second"]).sum() / PLANTED
            yield {"records": name, "change": what, "found": f"{found:.1%}"}


def costs(large: bool) -> Iterator[Row]:
    """Return the time of clustering and the peak memory of the process so far."""
    shapes = [
        ("27,000 records of 300 bp", DNA, 27_000, 300),
        ("100,000 peptides of 30", PROTEIN, 100_000, 30),
    ]
    shapes += [("1,000,000 peptides of 30", PROTEIN, 1_000_000, 30)] if large else []
    for name, alphabet, num, length in shapes:
        letters = draw(np.random.default_rng(0), alphabet, num, length, [1] * len(alphabet.letters))
        wall, cpu = time.perf_counter(), time.process_time()
        clusters = cluster_records(letters, alphabet)
        yield {
            "records": name,
            "clusters": f"{clusters.max() + 1:,}",
            "s": f"{time.perf_counter() - wall:.1f}",
            "CPU s": f"{time.process_time() - cpu:.1f}",
            "peak so far, GB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}",
        }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Yield the three tables."""
    yield Table("Clusters, one thread", costs(chosen.large))
    yield Table(
        f"False alarms: {TEST:,} test and {TRAIN:,} training records, independent, three samples",
        false_alarms(),
    )
    yield Table(f"Found, of {PLANTED} planted records among {TRAIN:,} training records", planted())


if __name__ == "__main__":
    large = option("--large", action="store_true", help="also cluster a million peptides")
    run(__doc__, measure, large)
