"""Compare seqlets, motifs and pairs of sites with the planted sites of a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from simulation import DATABASE, Grammar

from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.tomtom import compare

COVERED = 0.5  # fraction of a planted site
MATCH_Q = 0.01
Result = dict[str, Any]


def planted(truth: pd.DataFrame, ids: Sequence[str], length: int) -> NDArray[np.bool_]:
    """Return which positions belong to a planted site, (n, L)."""
    row_of = {name: row for row, name in enumerate(ids)}
    mask = np.zeros((len(ids), length), dtype=bool)
    for site in truth[truth["id"].isin(row_of)].itertuples():
        mask[row_of[site.id], site.start : site.end] = True
    return mask


def covering(spans: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of a span and a site in one record if the span covers enough of the site.

    Enough is the fraction COVERED. The columns `span` and `site` are row numbers.
    """
    both = spans.assign(span=np.arange(len(spans))).merge(
        sites.assign(site=np.arange(len(sites))), on="id", suffixes=("", "_of_site")
    )
    shared = np.minimum(both["end"], both["end_of_site"]) - np.maximum(
        both["start"], both["start_of_site"]
    )
    return both.loc[
        shared >= COVERED * (both["end_of_site"] - both["start_of_site"]), ["span", "site"]
    ]


def called_sites(seqlets: pd.DataFrame, sites: pd.DataFrame) -> Result:
    """Return precision of seqlets (each interval once), recall of planted sites, and F1."""
    seqlets = seqlets[["id", "start", "end"]].drop_duplicates()
    hits = covering(seqlets, sites[["id", "start", "end"]])
    precision = hits["span"].nunique() / len(seqlets) if len(seqlets) else 0.0
    recall = hits["site"].nunique() / len(sites)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def matrices(ppms: dict[str, NDArray[np.float64]], grammar: Grammar) -> Result:
    """Count planted matrices found, motifs that match one, and motifs per match."""
    wanted = grammar.motifs
    result: Result = {
        "wanted": len(wanted),
        "found": 0,
        "matrix_precision": 0.0,
        "motifs_each": 0.0,
    }
    if not ppms:
        return result
    database = open_database(DATABASE)
    columns = [list(database).index(label) for label in wanted]
    known = [ppm.T for ppm in database.values()]
    p = compare([ppm.T for ppm in ppms.values()], known)[0]
    match = false_discovery_control(p, axis=1)[:, columns] < MATCH_Q  # (motifs, wanted)
    found = int(match.any(axis=0).sum())
    matching = int(match.any(axis=1).sum())
    return result | {
        "found": found,
        "matrix_precision": matching / len(ppms),
        "motifs_each": matching / found if found else 0.0,
    }


def residue_patterns(found: Sequence[str], grammar: Grammar) -> Result:
    """Count planted patterns that are the consensus of a motif, and motifs that are planted."""
    wanted = set(grammar.motifs)
    return {
        "wanted": len(wanted),
        "found": len(wanted & set(found)),
        "matrix_precision": float(np.mean([each in wanted for each in found])) if len(found) else 0,
        "consensus": sorted(found),
    }


def true_pairs(pairs: pd.DataFrame, ids: Sequence[str], truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which pairs of sites cover the two halves of one planted pair."""
    halves = truth[truth["pair"] != ""].reset_index(drop=True)
    names = np.array(ids, dtype=object)[pairs["record"].to_numpy(dtype=int)]
    of_half = []  # the halves that each of the two sites covers
    for which in ("a", "b"):
        spans = pd.DataFrame(
            {"id": names, "start": pairs[f"start_{which}"], "end": pairs[f"end_{which}"]}
        )
        hits = covering(spans, halves[["id", "start", "end"]])
        half = halves.loc[hits["site"], ["id", "pair", "start"]].reset_index(drop=True)
        of_half.append(half.assign(span=hits["span"].to_numpy()))
    both = of_half[0].merge(of_half[1], on=["span", "id", "pair"])
    return np.isin(np.arange(len(pairs)), both.loc[both["start_x"] != both["start_y"], "span"])
