"""From relevance to the patterns it repeats: callers, told apart by `kind` in the run file.

`modisco` is TF-MoDISco by modisco-lite, for DNA; `clusters` is our own, for any alphabet. A caller has one method, `call`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.interpret.callers.clusters import Clusters
from selfattn_bio.interpret.callers.modisco import Modisco
from selfattn_bio.interpret.patterns import Discovery
from selfattn_bio.sequence.alphabet import Alphabet

__all__ = ["Caller", "Clusters", "Modisco", "build_caller"]


class Caller(Protocol):
    """What finds patterns in relevance."""

    def call(self, letters: NDArray[np.uint8], hypothetical: NDArray[np.float32], alphabet: Alphabet) -> Discovery:
        """(n, L) ASCII padded with 0 and (n, L, A) scores -> patterns, whose seqlets' `record` is a row of these."""


def build_caller(section: config.Caller | None, alphabet: Alphabet, max_seqlets: int = 20_000) -> Caller:
    """The caller that the run file names, grouping `max_seqlets` at most; without one modisco for DNA and clusters for protein."""
    kind = section.kind if section else "modisco" if alphabet.has_complement else "clusters"
    return Modisco(max_seqlets) if kind == "modisco" else Clusters(max_seqlets)
