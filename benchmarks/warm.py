"""Compile the numba functions of the motif search; `make` runs this once after the installation.

Usage: `python benchmarks/warm.py`. numba compiles each function at its first call and
caches it on disk next to the package. This script searches a few random sequences, so that the
first search of a user does not wait half a minute for the compiler.
"""

import time

import numpy as np

from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.callers import Clusters, Modisco
from selfattn_bio.motifs.matching import HIT_P, find_hits, match_motifs
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.shuffle import shuffle_letters


def main() -> None:
    """Search random sequences with a planted motif.

    The search finds patterns, matches them with JASPAR insects, finds hits and shuffles a sequence.
    """
    start = time.monotonic()
    rng = np.random.default_rng(0)
    bases, motif = (np.frombuffer(text, dtype=np.uint8) for text in (b"ACGT", b"TATCGATA"))
    letters = rng.choice(bases, size=(160, 160))
    hypothetical = rng.normal(scale=0.05, size=(*letters.shape, 4)).astype(np.float32)
    for row, first in enumerate(rng.integers(40, 110, size=len(letters))):
        site = slice(first, first + len(motif))
        letters[row, site] = motif
        hypothetical[row, site] += rng.normal(3, 0.5, size=(len(motif), 1)) * (
            motif[:, None] == bases
        )
    patterns = []
    for caller in (Modisco(), Clusters()):
        found = caller.call(letters, hypothetical, DNA).patterns
        assert found, f"{caller} did not find the planted motif"
        patterns += found
    shuffle_letters(letters[0], 2, rng)
    ppms = {f"motif_{i}": pattern.ppm for i, pattern in enumerate(patterns)}
    matches = match_motifs(ppms, open_database("jaspar:insects"))
    hits = find_hits(ppms, {name: len(letters) for name in ppms}, list(letters), HIT_P, DNA)
    print(
        f"Motif search is ready: found {', '.join(matches['match'])} with {len(hits)} hits, in "
        f"{time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
