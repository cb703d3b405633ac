"""Find motifs that a variant creates or destroys, by comparing FIMO hits near both alleles.

DNA only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.hits import HIT_P, NUM_SITES, find_hits

Window = tuple[NDArray[np.uint8], int, int]  # letters (L,), start and end of the allele in them


def changed_motifs(
    ppms: Mapping[str, NDArray[np.float64]],
    refs: Sequence[Window],
    alts: Sequence[Window],
    hit_p: float = HIT_P,
) -> pd.DataFrame:
    """List motifs with a hit over the reference allele only, or over the alternative allele only.

    Parameters
    ----------
    ppms
        Motif name to (width, 4) probabilities.
    refs, alts
        One window per variant, with the reference and with the alternative allele.
    hit_p
        p-value threshold, as in `find_hits`.

    Returns
    -------
    One row per variant: motifs_lost and motifs_gained. Names are in the order of `ppms`, joined by
    ";", and empty if there are none.
    """
    touched = [_touched(ppms, windows, hit_p) for windows in (refs, alts)]
    changes = [(lost - gained, gained - lost) for lost, gained in zip(*touched, strict=True)]
    told = [
        [";".join(name for name in ppms if name in names) for names in of_pair]
        for of_pair in changes
    ]
    return pd.DataFrame(told, columns=["motifs_lost", "motifs_gained"])


def _touched(
    ppms: Mapping[str, NDArray[np.float64]], windows: Sequence[Window], hit_p: float
) -> list[set[str]]:
    """Return, for each window, the motifs with a hit that overlaps the allele."""
    if not windows:
        return []
    width = max((len(ppm) for ppm in ppms.values()), default=0)
    cut = [letters[max(0, start - width + 1) : end + width - 1] for letters, start, end in windows]
    hits = find_hits(ppms, dict.fromkeys(ppms, NUM_SITES), cut, hit_p)
    first = np.array([min(start, width - 1) for _, start, _ in windows])
    last = first + np.array([end - start for _, start, end in windows])
    record = hits["record"].to_numpy(dtype=int)
    over = hits[
        (hits["start"].to_numpy() < last[record]) & (hits["end"].to_numpy() > first[record])
    ]
    of_records = over.groupby("record")["name"].agg(set)
    return [of_records.get(i, set()) for i in range(len(windows))]
