"""Match motifs with a database by Tomtom, and align two motifs."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import correlate2d
from scipy.stats import false_discovery_control

MAX_OTHERS = 5
MATCH_Q = 0.05  # a best match with a larger q is not reported: it would be misleading
TIE = 10  # matches with a p-value up to this factor above the smallest are named like the best


def match_label(row: Mapping[Hashable, Any]) -> str:
    """Return the match of a row of motifs.tsv without its database id, such as `Dref`.

    Matches that are nearly as good are named too: `BEAF-32 or Dref`. Empty if the q-value of the
    best is MATCH_Q or more.
    """
    if not row["match_q"] < MATCH_Q:
        return ""
    labels = [row["match"], *str(row["other_matches"]).split("; ")[: int(row["near_ties"])]]
    return " or ".join(dict.fromkeys(label.partition(" (")[0] for label in labels))


def match_motifs(
    ppms: Mapping[str, NDArray[np.float64]],
    database: Mapping[str, NDArray[np.float64]],
) -> pd.DataFrame:
    """Find the database motifs similar to each motif, on either strand.

    Parameters
    ----------
    ppms
        Motif name to (width, 4) probabilities.
    database
        Label to (width, 4) probabilities; empty for no matches. With fewer than 25 entries the
        p-value of Tomtom strongly depends on the entries.

    Returns
    -------
    One row per motif, in the order of `ppms`: name, match (label of the best), match_p, match_q
    (Benjamini-Hochberg over all pairs of a motif and a database entry), other_matches (up to
    MAX_OTHERS more labels with q < MATCH_Q, best first, joined by "; ") and near_ties, how many of
    these have p-values at most TIE times the smallest. Factors of a family and factors that bind
    the same bases have similar matches (Trl and Clamp both bind GAGA); the best match need not be
    the factor that binds.

    References
    ----------
    Gupta et al. 2007 (Tomtom); Schreiber 2025 (memelite, which computes the p-values).
    """
    if not ppms or not database:
        unknown = dict.fromkeys(("match_p", "match_q"), np.nan)
        return pd.DataFrame(
            {"name": list(ppms), "match": "", **unknown, "other_matches": "", "near_ties": 0}
        )
    labels = list(database)
    p = compare([ppm.T for ppm in ppms.values()], [ppm.T for ppm in database.values()])[0]
    p = np.clip(p, 0, 1)
    q = false_discovery_control(p, axis=None).reshape(p.shape)
    order = p.argsort(axis=1, kind="stable")
    rows, best = np.arange(len(p)), order[:, 0]
    others = [
        [i for i in more[1 : 1 + MAX_OTHERS] if q[row, i] < MATCH_Q]
        for row, more in enumerate(order)
    ]
    return pd.DataFrame(
        {
            "name": list(ppms),
            "match": [labels[i] for i in best],
            "match_p": p[rows, best],
            "match_q": q[rows, best],
            "other_matches": ["; ".join(labels[i] for i in found) for found in others],
            "near_ties": [
                int((p[row, found] <= TIE * p[row, best[row]]).sum())
                for row, found in enumerate(others)
            ],
        }
    )


def compare(queries: Sequence[NDArray], targets: Sequence[NDArray], **options: Any) -> Any:
    """Compare all queries (A, width) with all targets by `memelite.tomtom`."""
    from memelite import tomtom  # imported here because it compiles when first used

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tomtom was given")
        return tomtom(queries, targets, **options)


class Alignment(NamedTuple):
    """The most similar position of a second motif relative to a first one.

    Attributes
    ----------
    similarity
        Cosine of the angle between both matrices after the uniform background is subtracted. Rows
        without a partner count as uniform. 1 for equal motifs; 0.2 to 0.5 for random motifs of ten
        bases, because the best of all offsets is chosen.
    offset
        Row of the first motif that is aligned with the first row of the second one.
    is_reversed
        Whether the second motif is reverse-complemented.
    """

    similarity: float
    offset: int
    is_reversed: bool


def alignment(
    ppm: NDArray[np.float64], other: NDArray[np.float64], has_complement: bool = True
) -> Alignment:
    """Align a motif (w, A) with another one (v, A) where they are most similar.

    Parameters
    ----------
    ppm, other
        Probabilities.
    has_complement
        Whether both strands of the second motif are compared; the alphabet reversed is its
        complement.
    """
    size = ppm.shape[1]
    centred = ppm - 1 / size
    strands = [other - 1 / size]
    if has_complement:
        strands.append(strands[0][::-1, ::-1])
    # Row i: the first row of the strand is at row i - (len(strand) - 1) of `ppm`
    products = np.stack(
        [correlate2d(centred, strand, mode="full")[:, size - 1] for strand in strands]
    )
    best, row = np.unravel_index(products.argmax(), products.shape)
    norm = np.linalg.norm(centred) * np.linalg.norm(strands[0])
    similarity = float(products[best, row] / norm) if norm else 0.0
    return Alignment(similarity, int(row) - (len(other) - 1), bool(best))
