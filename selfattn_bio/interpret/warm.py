"""Compile the motif search once: `python -m selfattn_bio.interpret.warm`, run by `make` at setup.

numba compiles each function when it is first called and caches it on disk next to the package. This
script runs the search on a few random sequences, so that the first run of a user does not have to
wait a minute or two.
"""

import time

import numpy as np

from selfattn_bio.interpret.callers import Clusters, Modisco
from selfattn_bio.interpret.hits import HIT_P, find_hits
from selfattn_bio.interpret.matching import match_motifs
from selfattn_bio.motifs import open_database
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.shuffle import shuffle_letters


def main() -> None:
    """Run the motif search on random sequences with a planted word.

    This finds patterns, matches them with JASPAR insects, scans for hits and shuffles a sequence.
    """
    began = time.monotonic()
    rng = np.random.default_rng(0)
    bases, word = np.frombuffer(b"ACGT", dtype=np.uint8), np.frombuffer(b"TATCGATA", dtype=np.uint8)
    letters = rng.choice(bases, size=(160, 160))
    hypothetical = rng.normal(scale=0.05, size=(*letters.shape, 4)).astype(np.float32)
    for row, start in enumerate(rng.integers(40, 110, size=len(letters))):
        letters[row, start : start + len(word)] = word
        hypothetical[row, start : start + len(word)] += rng.normal(3, 0.5, size=(len(word), 1)) * (
            word[:, None] == bases
        )
    patterns = []
    for caller in (Modisco(), Clusters()):
        found = caller.call(letters, hypothetical, DNA).patterns
        assert found, f"the planted word must be found by {caller}"
        patterns += found
    shuffle_letters(letters[0], 2, rng)
    ppms = {f"motif_{i}": pattern.ppm for i, pattern in enumerate(patterns)}
    matches = match_motifs(ppms, open_database("jaspar:insects"))
    hits = find_hits(ppms, {name: len(letters) for name in ppms}, list(letters), HIT_P)
    print(
        f"Motif search is ready: found {', '.join(matches['match'])} with {len(hits)} hits, in "
        f"{time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
