"""Interventions: what a model says when the sites of a motif are taken away, and when they are put where there was nothing.

Hides: which sites stand for others, the shuffles, the test. `evidence` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test

from selfattn_bio.interpret.associations import best_hits
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
LogOdds = Callable[[Sequence[Letters]], NDArray[np.float64]]  # sequences -> (n,), or (n, M) of M members

MIN_EFFECT = 0.1  # calibrated log-odds
MIN_RECORDS = 10  # with a hit: fewer cannot tell an effect
MAX_RECORDS = 300  # with a hit, drawn at random: enough for an interval of +-.06 log-odds at a standard deviation of .5
MAX_INSERTED = 100  # records into whose shuffle a site is put
DRAWS = 2  # shuffles of a record
NEARBY = 50  # letters: how far from its hit a matched site may stand, where there is room
RESAMPLES = 2000
CONFIDENCE = 0.95


def effect(hits: pd.DataFrame, sequences: Sequence[Letters], log_odds: LogOdds, rng: np.random.Generator) -> dict[str, float]:
    """How much more the log-odds fall when a record's hits are shuffled than when matched sites are.

    All hits of a record are shuffled together, each within itself, so that composition and all else stays. For each hit a site of the same
    width, within `NEARBY` letters where there is room and overlapping no hit of the motif, is shuffled in a second copy. A record's effect
    is the mean difference over `DRAWS`; records without room for the sites are left out. fall is what the log-odds lose at the hits, with
    nothing taken off: where the sites fall on other motifs, an effect is theirs. stability is the share of members that have an
    effect of their own: their mean over the records at least `MIN_EFFECT`, and of the sign of the mean of all.
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
    shuffled = log_odds(at_hits)
    of_members = (log_odds(at_sites) - shuffled).reshape(len(used), -1)  # (copies, M)
    falls = (log_odds([sequences[record] for record in kept])[index] - shuffled).reshape(len(used), -1)
    found: dict[str, float] = {"effect_records": len(kept), "stability": _agreeing(of_members.mean(axis=0))}
    for name, of_copies in (("effect", of_members), ("fall", falls)):
        of_records = np.bincount(index, weights=of_copies.mean(axis=1)) / np.bincount(index)
        found |= {f"{name}{which}": value for which, value in mean_effect(of_records, rng).items()}
    return found


def sufficiency(hits: pd.DataFrame, sequences: Sequence[Letters], log_odds: LogOdds, rng: np.random.Generator) -> dict[str, float]:
    """How much the log-odds of a sequence without meaning rise when one site is put into it, beyond what the site's shuffled letters do.

    The sequence is a dinucleotide shuffle of the record that the site is from, and the site stands where it stood; its letters as they
    were in one copy, in random order in the other.
    """
    best = best_hits(hits, rng)
    with_site, without = [], []
    for number in rng.permutation(len(best))[:MAX_INSERTED]:
        record, start, end = (int(best[column].iloc[number]) for column in ("record", "start", "end"))
        background = shuffle_letters(sequences[record], 2, rng)
        background[start:end] = sequences[record][start:end]
        with_site.append(background)
        without.append(shuffled_at(background, [(start, end)], rng))
    if len(with_site) < MIN_RECORDS:
        return {}
    gains = log_odds(with_site) - log_odds(without)
    return {f"sufficiency{name}": value for name, value in mean_effect(gains.reshape(len(gains), -1).mean(axis=1), rng).items()}


def _agreeing(effects: NDArray[np.float64]) -> float:
    """Share of the members (M,) with an effect of their own and the common sign; missing for one alone."""
    if len(effects) == 1:
        return float("nan")
    return float(np.mean((np.abs(effects) >= MIN_EFFECT) & (np.sign(effects) == np.sign(effects.mean()))))


def mean_effect(effects: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float]:
    """Mean of the records' effects (n,), its bootstrap interval, and the two-sided p of a sign-flip test of mean 0."""
    means = effects[rng.integers(0, len(effects), (RESAMPLES, len(effects)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    flips = permutation_test(
        (effects,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=rng
    )
    return {
        "": float(effects.mean()),
        "_low": float(low),
        "_high": float(high),
        "_p": float(flips.pvalue),
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
