"""Find recurring patterns in attributions. The run file selects the caller by `kind`.

`modisco` is TF-MoDISco as implemented in modisco-lite, for DNA. `clusters` works with any
alphabet.
"""

from __future__ import annotations

from selfattn_bio import config
from selfattn_bio.motifs.callers.clusters import Clusters
from selfattn_bio.motifs.callers.modisco import Modisco
from selfattn_bio.sequence.alphabet import Alphabet

Caller = Modisco | Clusters


def build_caller(
    section: config.AnyCaller | None, alphabet: Alphabet, max_seqlets: int = 20_000
) -> Caller:
    """Return the caller named in the run file, which groups at most `max_seqlets` seqlets.

    The default is modisco for DNA and clusters for RNA, single-stranded DNA and protein.
    """
    kind = section.kind if section else "modisco" if alphabet.has_complement else "clusters"
    return Modisco(max_seqlets) if kind == "modisco" else Clusters(max_seqlets)
