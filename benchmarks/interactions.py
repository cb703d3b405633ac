"""Does epistasis tell a planted pair from pairs of other sites as far apart? What `benchmarks/motifs.py` asks, as functions.

Sites are those that were called, not those that were planted: a site that the model or the caller misses is a pair that is not found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from selfattn_bio.interpret.epistasis import SITES, Letters, LogOdds, epistasis, site_pairs
from selfattn_bio.interpret.interactions import Attention
from selfattn_bio.interpret.spacing import BIN

SCORES = ("epistasis", "above", "specific", "attention", "closest")  # less that of random places, of other motifs' sites


def scored_pairs(
    sites: pd.DataFrame,
    sequences: Sequence[Letters],
    truth: pd.DataFrame,
    log_odds: LogOdds,
    attention: Attention,
    rng: np.random.Generator,
    *,
    max_records: int = 300,
) -> pd.DataFrame:
    """Each pair of called sites, at gaps at which the planted pair was called, with its scores and whether it is the planted pair.

    Parameters
    ----------
    sites
        name, record, start, end, strand: as called, record an index into `sequences`.
    sequences
        ASCII letters, one array a record.
    truth
        record, start, end, pair: planted sites; of those of a pair both halves are there.
    log_odds, attention
        As of `weigh_interactions`.
    rng
        Of records and interventions.
    max_records
        Drawn at random of those with two sites or more.

    Returns
    -------
    As of `site_pairs`, with planted (bool), epistasis, matched, swapped, above, specific, attention.
    """
    pairs = site_pairs(sites)
    drawn = rng.permutation(pairs["record"].unique())[:max_records]
    pairs = pairs[pairs["record"].isin(drawn)]
    pairs = pairs.assign(planted=planted(pairs, truth))
    bins = pairs["gap"] // BIN
    pairs = pairs[bins.isin(bins[pairs["planted"]].unique())].reset_index(drop=True)
    pairs = pairs.join(epistasis(pairs, sites, sequences, log_odds, rng))
    less = {name: pairs["epistasis"] - pairs[kind].fillna(0.0) for name, kind in (("above", "matched"), ("specific", "swapped"))}
    return pairs.assign(**less, attention=attention(pairs))


def planted(pairs: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Which pairs of called sites lie on both halves of a planted pair, each called site with its middle within its half."""
    halves = {key: group[["start", "end"]].to_numpy() for key, group in truth[truth["pair"] != ""].groupby(["record", "pair"])}
    by_record: dict[int, list[np.ndarray]] = {}
    for (record, _), spans in halves.items():
        by_record.setdefault(record, []).append(spans)
    found = np.zeros(len(pairs), dtype=bool)
    for row, (record, *ends) in enumerate(pairs[["record", *SITES]].itertuples(index=False, name=None)):
        middles = (ends[0] + ends[1]) / 2, (ends[2] + ends[3]) / 2
        for spans in by_record.get(record, ()):
            inside = [[start <= middle < end for start, end in spans] for middle in middles]
            found[row] |= len(spans) == 2 and ((inside[0][0] and inside[1][1]) or (inside[0][1] and inside[1][0]))
    return found


def average_precisions(pairs: pd.DataFrame) -> dict[str, float]:
    """AP of each of `SCORES` for planted pairs against the others of the same gap, which weigh as much as the planted ones in each bin.

    So chance has .5, and no score gains by the gap alone. A bin without another pair is left out.

    Returns
    -------
    Score -> AP, nan if nothing was found; and planted, others: how many of each were compared.
    """
    bins = pairs["gap"] // BIN
    num, known = pairs.groupby(bins)["planted"].transform("size"), pairs.groupby(bins)["planted"].transform("sum")
    there = (known > 0) & (known < num)
    pairs, weight = pairs[there], np.where(pairs["planted"], 1.0, known / (num - known).where(num > known))[there]
    found: dict[str, float] = {"planted": int(pairs["planted"].sum()), "others": int((~pairs["planted"]).sum())}
    for score in SCORES:
        found[score] = float(average_precision_score(pairs["planted"], pairs[score], sample_weight=weight)) if len(pairs) else np.nan
    return found


def called(table: pd.DataFrame, true: Sequence[frozenset[str]] = ()) -> dict[str, float]:
    """Of interactions.tsv: which of the true pairs of names are supported, and what share of the others."""
    names = [frozenset(pair) for pair in zip(table["name_a"], table["name_b"], strict=True)]
    is_true = np.array([pair in true for pair in names], dtype=bool)
    supported = (table["verdict"] == "supported").to_numpy(dtype=bool)
    others = int((~is_true).sum())
    return {
        "true_called": int((supported & is_true).sum()),
        "others_called": int((supported & ~is_true).sum()),
        "others": others,
        "share": float((supported & ~is_true).sum() / others) if others else 0.0,
    }
