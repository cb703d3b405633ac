"""Which known motif does a found one look like? Tomtom against a database, with q-values.

Hides: memelite's Tomtom, and the correction for looking at many. `motifs` calls it.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

MAX_OTHERS = 5
MATCH_Q = 0.05  # a best match of more is only the least unlike: to call a TATA box by it would mislead


def match_label(row: Mapping[Hashable, Any]) -> str:
    """The match of a row of motifs.tsv without its database id; empty where q is MATCH_Q or more, and the match none."""
    return str(row["match"]).partition(" (")[0] if row["match_q"] < MATCH_Q else ""


def match_motifs(
    ppms: Mapping[str, NDArray[np.float64]], database: Mapping[str, NDArray[np.float64]], max_q: float = MATCH_Q
) -> pd.DataFrame:
    """Find the database motifs that each motif looks like, on either strand.

    Parameters
    ----------
    ppms
        Name -> (width, 4) probabilities.
    database
        Label -> (width, 4) probabilities; empty for no match. With fewer than 25 entries Tomtom's p depends strongly on which they are.
    max_q
        q below which another motif is named.

    Returns
    -------
    One row a motif, in the order of `ppms`: name, match (label of the best), match_p, match_q (Benjamini-Hochberg over the database),
    other_matches: up to MAX_OTHERS more labels with q < `max_q`, best first, joined by "; ". Families and factors that bind the same
    letters match alike (Trl and Clamp both bind GAGA): the best of them need not be the one at work.

    References
    ----------
    Gupta et al. 2007 (Tomtom); Schreiber 2025 (memelite), which computes the p.
    """
    if not ppms or not database:
        unknown = dict.fromkeys(("match_p", "match_q"), np.nan)
        columns = ["name", "match", "match_p", "match_q", "other_matches"]
        return pd.DataFrame({"name": list(ppms), "match": "", **unknown, "other_matches": ""}, columns=columns)
    from memelite import tomtom  # compiles at its first use

    labels = list(database)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tomtom was given")  # the docstring says what it would
        p = tomtom([ppm.T for ppm in ppms.values()], [ppm.T for ppm in database.values()])[0]
    p = np.clip(p, 0, 1)
    q = false_discovery_control(p, axis=1)
    order = p.argsort(axis=1, kind="stable")
    rows, best = np.arange(len(p)), order[:, 0]
    others = [[labels[i] for i in more[1 : 1 + MAX_OTHERS] if q[row, i] < max_q] for row, more in enumerate(order)]
    return pd.DataFrame(
        {
            "name": list(ppms),
            "match": [labels[i] for i in best],
            "match_p": p[rows, best],
            "match_q": q[rows, best],
            "other_matches": ["; ".join(found) for found in others],
        }
    )
