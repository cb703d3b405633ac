"""Measure how log-odds change when sites of a motif are shuffled or inserted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test

from selfattn_bio.interpret.associations import CONFIDENCE, best_hits
from selfattn_bio.sequence.overlaps import counts_before, merge_intervals
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
# from sequences to log-odds (n,), or to (n, M) for M members
LogOdds = Callable[[Sequence[Letters]], NDArray[np.float64]]

MIN_EFFECT = 0.1  # in calibrated log-odds; smaller effects are treated as none
MIN_RECORDS = 10  # minimum number of records with a hit to estimate an effect
# sampled at random; gives an interval of +-0.06 log-odds at a standard deviation of 0.5
MAX_RECORDS = 300
MAX_INSERTED = 100  # shuffled records into which a site is inserted
DRAWS = 2  # shuffles per record
NEARBY = 50  # preferred maximum distance in bp between a hit and its matched control site
RESAMPLES = 2000


def effect(
    hits: pd.DataFrame, sequences: Sequence[Letters], log_odds: LogOdds, rng: np.random.Generator
) -> dict[str, float]:
    """Measure how much more the log-odds fall if hits are shuffled than if control sites are.

    All hits of a record are shuffled together, each within its interval, so that composition and
    context stay the same. In a second copy, one control site per hit is shuffled instead. It has
    the same width, overlaps no hit of the motif and is within `NEARBY` positions if possible. The
    effect of a record is the mean difference over `DRAWS` shuffles. Records without space for
    control sites are left out.

    Returns
    -------
    effect and fall, each with the suffixes of `mean_effect`; effect_records, the number of records;
    stability. fall is the loss of log-odds at the hits, without subtracting that at control sites.
    Control sites that overlap other motifs change effect but not fall. stability is the fraction of
    members whose mean effect is at least `MIN_EFFECT` in size and has the sign of the overall mean.
    Only effect_records if there are fewer than `MIN_RECORDS` records.
    """
    records = rng.permutation(np.unique(hits["record"].to_numpy(dtype=int)))[:MAX_RECORDS]
    spans: dict[int, list[tuple[int, int]]] = {}
    for record in records:
        of_record = hits[hits["record"] == record]
        starts, ends = merge_intervals(of_record["start"], of_record["end"])
        spans[record] = list(zip(starts.tolist(), ends.tolist(), strict=True))
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
    falls = (log_odds([sequences[record] for record in kept])[index] - shuffled).reshape(
        len(used), -1
    )
    found: dict[str, float] = {
        "effect_records": len(kept),
        "stability": _agreeing(of_members.mean(axis=0)),
    }
    for name, of_copies in (("effect", of_members), ("fall", falls)):
        of_records = np.bincount(index, weights=of_copies.mean(axis=1)) / np.bincount(index)
        found |= {f"{name}{which}": value for which, value in mean_effect(of_records, rng).items()}
    return found


def sufficiency(
    hits: pd.DataFrame, sequences: Sequence[Letters], log_odds: LogOdds, rng: np.random.Generator
) -> dict[str, float]:
    """Measure how much the log-odds of a shuffled record rise when one site is inserted.

    The best site of a record is inserted at its original position into a dinucleotide shuffle of
    the record, which is compared with a copy whose bases at the site are shuffled. Returns
    sufficiency with the suffixes of `mean_effect`; empty with fewer than `MIN_RECORDS` records.
    """
    best = best_hits(hits, rng)
    with_site, without = [], []
    for number in rng.permutation(len(best))[:MAX_INSERTED]:
        record, start, end = (
            int(best[column].iloc[number]) for column in ("record", "start", "end")
        )
        background = shuffle_letters(sequences[record], 2, rng)
        background[start:end] = sequences[record][start:end]
        with_site.append(background)
        without.append(shuffled_at(background, [(start, end)], rng))
    if len(with_site) < MIN_RECORDS:
        return {}
    gains = log_odds(with_site) - log_odds(without)
    return {
        f"sufficiency{name}": value
        for name, value in mean_effect(gains.reshape(len(gains), -1).mean(axis=1), rng).items()
    }


def _agreeing(effects: NDArray[np.float64]) -> float:
    """Return the fraction of members (M,) with a clear effect of the common sign; nan for one."""
    if len(effects) == 1:
        return float("nan")
    return float(
        np.mean((np.abs(effects) >= MIN_EFFECT) & (np.sign(effects) == np.sign(effects.mean())))
    )


def mean_effect(effects: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float]:
    """Return the mean of effects (n,), its bootstrap interval and a two-sided sign-flip p-value.

    The keys are suffixes of column names: "" (mean), "_low", "_high" and "_p".
    """
    means = effects[rng.integers(0, len(effects), (RESAMPLES, len(effects)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    flips = permutation_test(
        (effects,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=rng,
    )
    return {
        "": float(effects.mean()),
        "_low": float(low),
        "_high": float(high),
        "_p": float(flips.pvalue),
    }


def matched_sites(
    spans: list[tuple[int, int]], length: int, rng: np.random.Generator
) -> list[tuple[int, int]] | None:
    """Choose a random site of the same width for each span.

    Sites overlap neither spans nor each other and are within `NEARBY` positions if possible.
    Returns None if there is no space.
    """
    taken = np.zeros(length, bool)
    for start, end in spans:
        taken[start:end] = True
    sites = []
    for start, end in spans:
        width = end - start
        covered = counts_before(taken)
        free = np.flatnonzero(covered[width:] == covered[: length + 1 - width])
        near = free[np.abs(free - start) <= NEARBY]
        if not len(free):
            return None
        at = int(rng.choice(near if len(near) else free))
        taken[at : at + width] = True
        sites.append((at, at + width))
    return sites


def shuffled_at(
    letters: Letters, spans: Sequence[tuple[int, int]], rng: np.random.Generator
) -> Letters:
    """Return a copy with the letters of each span in random order."""
    copy = letters.copy()
    for start, end in spans:
        copy[start:end] = rng.permutation(copy[start:end])
    return copy
