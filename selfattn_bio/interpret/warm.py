"""Compile the numba functions of the motif search; `make` runs this once after the installation.

Usage: `python -m selfattn_bio.interpret.warm`. numba compiles each function at its first call and
caches it on disk next to the package. This script searches a few random sequences, so that the
first search of a user does not wait a minute or two for the compiler. Its steps run in processes
side by side: matching alone is more than half of the time.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from selfattn_bio.interpret.callers import Clusters, Modisco
from selfattn_bio.interpret.hits import HIT_P, find_hits
from selfattn_bio.interpret.matching import match_motifs
from selfattn_bio.motifs import open_database
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.shuffle import shuffle_letters

MOTIF = np.frombuffer(b"TATCGATA", dtype=np.uint8)
BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
PPMS = {"motif": (MOTIF[:, None] == BASES) * 0.88 + 0.03}


def find_patterns() -> str:
    """Find the patterns of random sequences with a planted motif, and shuffle a sequence."""
    rng = np.random.default_rng(0)
    letters = rng.choice(BASES, size=(160, 160))
    hypothetical = rng.normal(scale=0.05, size=(*letters.shape, 4)).astype(np.float32)
    for row, first in enumerate(rng.integers(40, 110, size=len(letters))):
        site = slice(first, first + len(MOTIF))
        letters[row, site] = MOTIF
        hypothetical[row, site] += rng.normal(3, 0.5, size=(len(MOTIF), 1)) * (
            MOTIF[:, None] == BASES
        )
    shuffle_letters(letters[0], 2, rng)
    found = [caller.call(letters, hypothetical, DNA).patterns for caller in (Modisco(), Clusters())]
    assert all(found), "a caller did not find the planted motif"
    return f"{sum(map(len, found))} patterns"


def match() -> str:
    """Match the motif with JASPAR insects."""
    return ", ".join(match_motifs(PPMS, open_database("jaspar:insects"))["match"])


def find_sites() -> str:
    """Find hits of the motif in random sequences."""
    letters = np.random.default_rng(0).choice(BASES, size=(160, 160))
    return f"{len(find_hits(PPMS, {'motif': len(letters)}, list(letters), HIT_P))} hits"


def main() -> None:
    """Run all steps, and print what they found."""
    start = time.monotonic()
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        found = ", ".join(
            step.result() for step in [pool.submit(f) for f in (match, find_patterns, find_sites)]
        )
    print(f"Motif search is ready: found {found}, in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
