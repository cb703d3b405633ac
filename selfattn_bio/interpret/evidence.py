"""Is a motif more than a guess? Two tests on records that neither the model nor the motif was found on.

Hides: the tests. The `motifs` command calls `weigh_evidence`.

1. Enrichment: do more positives than negatives hold a hit? (Fisher, one-sided.) It knows nothing of the model.
2. Effect: does the model use the hits? Each hit's letters are shuffled, and the calibrated log-odds of a positive fall by so much
   more than when sites of the same widths nearby, in the same record, are shuffled. It knows nothing of the labels but for its unit.

**The unit.** A model that learnt nothing still reacts to letters: its own raw score falls when its own motifs are shuffled, so any
motif that it made up would pass a test on raw scores. Effects are therefore measured in logits times the slope that was fitted on valid
(`evaluation.calibration.fit_slope`), that is, in log-odds which held-out labels bear out. For a network that tells nothing about held-out
records, slope x spread of its scores is what chance gives, about 2 / sqrt(records of valid): .03 log-odds with 5,000, .2 with 100, and
its effects are no larger, however large its raw scores are. So a small valid side is weak ground for a verdict. An effect must also be
worth mentioning: at least `MIN_EFFECT` (0.1: the odds of a positive fall by a tenth), for with thousands of records a test of
"different from 0" alone finds anything. So a control supports nothing because its scores are worth nothing; how many motifs it makes up
without that, its proposals show.

**The verdict.** "supported": enriched (q < significance) and with an effect (q < significance, interval above 0, >= MIN_EFFECT).
"contradicted": the effect is as clear, but negative: the hits make the model doubt. All else is a "proposal".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact, permutation_test

Letters = NDArray[np.uint8]

MIN_EFFECT = 0.1  # calibrated log-odds
MIN_RECORDS = 10  # with a hit: fewer cannot tell an effect
MAX_RECORDS = 300  # with a hit, drawn at random: enough for an interval of +-.06 log-odds at a standard deviation of .5
DRAWS = 2  # shuffles of a record
NEARBY = 50  # letters: how far from its hit a matched site may stand, where there is room
RESAMPLES = 2000
CONFIDENCE = 0.95
COLUMNS = [
    *("enrichment_p", "enrichment_q", "odds_ratio", "positives_with_hit", "negatives_with_hit", "num_hits"),
    *("effect", "effect_low", "effect_high", "effect_p", "effect_q", "effect_records", "verdict"),
]


@dataclass(frozen=True)
class HeldOut:
    """Records to weigh motifs on.

    Attributes
    ----------
    sequences
        ASCII letters, one array a record.
    labels
        (n,) 1 = positive, 0 = negative.
    """

    sequences: Sequence[Letters]
    labels: NDArray[np.int64]


def weigh_evidence(
    names: Sequence[str],
    hits: pd.DataFrame,
    held_out: HeldOut,
    log_odds: Callable[[Sequence[Letters]], NDArray[np.float64]],
    *,
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each motif for enrichment and effect.

    Parameters
    ----------
    names
        The motifs, in order.
    hits
        name, record, start, end: as `find_hits` on the held-out sequences.
    held_out
        The records that `hits` counts in.
    log_odds
        Sequences -> (n,) log-odds of a positive, but for a constant (`Scorer.log_odds`).
    significance
        q below which a test counts.
    seed
        Of shuffles, matched sites, resampling.

    Returns
    -------
    One row a motif, in the order given: name and `COLUMNS`. q is Benjamini-Hochberg over the motifs. effect, with its interval of 95 %
    over records, is in log-odds; it is missing for a motif with fewer than `MIN_RECORDS` records with a hit.
    """
    rows = []
    for number, name in enumerate(names):
        mine = hits[hits["name"] == name]
        rng = np.random.default_rng((seed, number))
        rows.append({"name": name, **enrichment(mine, held_out.labels), **effect(mine, held_out.sequences, log_odds, rng)})
    table = pd.DataFrame(rows, columns=["name", *COLUMNS])
    table["enrichment_q"] = q_values(table["enrichment_p"].to_numpy(dtype=float))
    table["effect_q"] = q_values(table["effect_p"].to_numpy(dtype=float))
    table["verdict"] = [verdict(row, significance) for row in table.to_dict("records")]
    return table


def enrichment(hits: pd.DataFrame, labels: NDArray[np.int64]) -> dict[str, float]:
    """Fisher's one-sided test that more positives than negatives hold a hit; the odds ratio has 1/2 added to each cell."""
    has = np.zeros(len(labels), dtype=bool)
    has[hits["record"].to_numpy(dtype=int)] = True
    table = np.array([[np.sum((labels == label) & (has == held)) for held in (True, False)] for label in (1, 0)])
    odds = table + 0.5
    return {
        "enrichment_p": float(fisher_exact(table, alternative="greater").pvalue),
        "odds_ratio": float(odds[0, 0] * odds[1, 1] / (odds[0, 1] * odds[1, 0])),
        "positives_with_hit": int(table[0, 0]),
        "negatives_with_hit": int(table[1, 0]),
        "num_hits": len(hits),
    }


def effect(
    hits: pd.DataFrame,
    sequences: Sequence[Letters],
    log_odds: Callable[[Sequence[Letters]], NDArray[np.float64]],
    rng: np.random.Generator,
) -> dict[str, float]:
    """How much more the log-odds fall when a record's hits are shuffled than when matched sites are.

    All hits of a record are shuffled together, each within itself, so that composition and all else stays. For each hit a site of the same
    width, within `NEARBY` letters where there is room and overlapping no hit of the motif, is shuffled in a second copy. A record's effect
    is the mean difference over `DRAWS`; records without room for the sites are left out.
    """
    records = rng.permutation(np.unique(hits["record"].to_numpy(dtype=int)))[:MAX_RECORDS]
    spans = {record: merged_spans(hits[hits["record"] == record]) for record in records}
    at_hits, at_sites, used = [], [], []
    for record in records:
        for _ in range(DRAWS):
            sites = matched_sites(spans[record], len(sequences[record]), rng)
            if sites is None:
                break
            at_hits.append(shuffled_at(sequences[record], spans[record], rng))
            at_sites.append(shuffled_at(sequences[record], sites, rng))
            used.append(record)
    kept, index = np.unique(np.array(used, dtype=int), return_inverse=True)
    if len(kept) < MIN_RECORDS:
        return {"effect_records": len(kept)}
    falls = log_odds(at_sites) - log_odds(at_hits)
    return mean_effect(np.bincount(index, weights=falls) / np.bincount(index), rng)


def mean_effect(effects: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float]:
    """Mean of the records' effects (n,), its bootstrap interval, and the two-sided p of a sign-flip test of mean 0."""
    means = effects[rng.integers(0, len(effects), (RESAMPLES, len(effects)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    flips = permutation_test(
        (effects,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=rng
    )
    return {
        "effect": float(effects.mean()),
        "effect_low": float(low),
        "effect_high": float(high),
        "effect_p": float(flips.pvalue),
        "effect_records": len(effects),
    }


def merged_spans(hits: pd.DataFrame) -> list[tuple[int, int]]:
    """Overlapping or touching hits of one record as one span each, by start: [2, 5) and [4, 9) become [2, 9)."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(zip(hits["start"].tolist(), hits["end"].tolist(), strict=True)):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def matched_sites(spans: list[tuple[int, int]], length: int, rng: np.random.Generator) -> list[tuple[int, int]] | None:
    """For each span a random one of its width that overlaps no span and no other site, nearby if it can; None if there is no room."""
    taken = np.zeros(length + 1, dtype=np.int64)
    for start, end in spans:
        taken[start:end] = 1
    sites = []
    for start, end in spans:
        width = end - start
        covered = np.concatenate(([0], np.cumsum(taken[:length])))
        free = np.flatnonzero(covered[width:] == covered[: length + 1 - width])
        near = free[np.abs(free - start) <= NEARBY]
        if not len(free):
            return None
        at = int(rng.choice(near if len(near) else free))
        taken[at : at + width] = 1
        sites.append((at, at + width))
    return sites


def shuffled_at(letters: Letters, spans: Sequence[tuple[int, int]], rng: np.random.Generator) -> Letters:
    """A copy of `letters` with the letters of each span in random order."""
    copy = letters.copy()
    for start, end in spans:
        copy[start:end] = rng.permutation(copy[start:end])
    return copy


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg over the p that are there; missing ones stay missing and do not count."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def verdict(row: Mapping[Any, Any], significance: float) -> str:
    """supported, contradicted or proposal, as the module says."""
    clear = not math.isnan(row["effect"]) and row["effect_q"] < significance and abs(row["effect"]) >= MIN_EFFECT
    if clear and row["effect_high"] < 0:
        return "contradicted"
    return "supported" if clear and row["effect_low"] > 0 and row["enrichment_q"] < significance else "proposal"
