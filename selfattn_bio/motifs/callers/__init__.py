"""Find recurring patterns in attributions. The run file selects the caller by `kind`.

`modisco` is TF-MoDISco as implemented in modisco-lite, for DNA. `clusters` works with any
alphabet.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from selfattn_bio import config
from selfattn_bio.arrays import Scores
from selfattn_bio.motifs.callers.clusters import Clusters
from selfattn_bio.motifs.callers.modisco import Modisco
from selfattn_bio.motifs.patterns import CallerResult
from selfattn_bio.sequence.alphabet import Alphabet, Ascii, Letters


class Caller(Protocol):
    """Interface of the classes that find patterns in attributions."""

    def call(self, letters: Ascii, hypothetical: Scores, alphabet: Alphabet) -> CallerResult:
        """Find patterns.

        Parameters
        ----------
        letters
            (n, L) ASCII, padded with 0.
        hypothetical
            (n, L, A) scores.
        alphabet
            Alphabet of the sequences.

        Returns
        -------
        The patterns; `record` of their seqlets is a row of `letters`.
        """


def build_caller(
    section: config.AnyCaller | None, alphabet: Alphabet, max_seqlets: int = 20_000
) -> Caller:
    """Return the caller named in the run file, which groups at most `max_seqlets` seqlets.

    The default is modisco for DNA and clusters for RNA, single-stranded DNA and protein.
    """
    kind = section.kind if section else "modisco" if alphabet.has_complement else "clusters"
    return Modisco(max_seqlets) if kind == "modisco" else Clusters(max_seqlets)
