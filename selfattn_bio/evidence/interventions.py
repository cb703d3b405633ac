"""Measure how the score changes when sites of a motif are shuffled or inserted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test

from selfattn_bio.evidence.associations import CONFIDENCE, Letters, best_hits
from selfattn_bio.evidence.held_out_records import HeldOut
from selfattn_bio.sequence.intervals import counts_before, merge_intervals
from selfattn_bio.sequence.shuffle import shuffle_letters

# from inputs of the model to scores (n,), or to (n, M) for M members
Scores = Callable[[Sequence[Any]], NDArray[np.float64]]

# Minimum number of records with a hit to estimate an effect. With 10, the 95 % interval of a skewed
# effect holds its mean in 58 to 87 of 100 samples.
MIN_RECORDS = 30
# sampled at random; gives an interval of +-0.06 log-odds at a standard deviation of 0.5
MAX_RECORDS = 300
FEWER_RECORDS = 100  # for `mean_fall`
MAX_INSERTED = 100  # shuffled records into which a site is inserted
NEARBY = 50  # preferred maximum distance in bp between a hit and its matched control site
RESAMPLES = 2000


@dataclass(frozen=True)
class Scored:
    """Held-out records and their scores by a model.

    Attributes
    ----------
    held_out
        The records.
    scores
        Function from inputs of the model to (n,) scores, or to (n, M) for M members.
    """

    held_out: HeldOut
    scores: Scores
    _intact: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def of(self, sequences: Sequence[Letters], records: Sequence[int]) -> NDArray[np.float64]:
        """Return the scores of sequences made from these records, (n, M)."""
        return self.scores(self.held_out.inputs(sequences, records)).reshape(len(sequences), -1)

    def intact(self, records: Sequence[int]) -> NDArray[np.float64]:
        """Return the scores of records, (n, M); each record is scored only once."""
        new = [record for record in records if record not in self._intact]
        if new:
            found = self.of([self.held_out.sequences[record] for record in new], new)
            self._intact.update(zip(new, found, strict=True))
        return np.stack([self._intact[record] for record in records])


def mean_fall(hits: pd.DataFrame, scored: Scored, rng: np.random.Generator) -> float:
    """Return the mean loss of score if all hits of a record are shuffled.

    At most `FEWER_RECORDS` records are used; nan with fewer than `MIN_RECORDS`.
    """
    spans = _sampled_spans(hits, rng, FEWER_RECORDS)
    if len(spans) < MIN_RECORDS:
        return float("nan")
    records, sequences = list(spans), scored.held_out.sequences
    shuffled = [shuffled_at(sequences[record], some, rng) for record, some in spans.items()]
    return float((scored.intact(records) - scored.of(shuffled, records)).mean())


def effect(hits: pd.DataFrame, scored: Scored, rng: np.random.Generator) -> dict[str, float]:
    """Measure how much more the score falls if hits are shuffled than if control sites are.

    All hits of a record are shuffled together, each within its interval, so that composition and
    context stay the same. In a second copy, one control site per hit is shuffled instead. It has
    the same width, overlaps no hit of the motif and is within `NEARBY` positions if possible.
    Records without space for control sites are left out, and at most `MAX_RECORDS` are used.

    Returns
    -------
    effect and fall, each with the columns of `mean_effect`; effect_records, the number of records;
    stability. fall is the loss of score at the hits, without subtracting that at control sites.
    Control sites that overlap other motifs change effect but not fall. stability is the fraction of
    members whose mean effect is at least `HeldOut.least` in size and has the sign of the overall
    mean.
    Only effect_records if there are fewer than `MIN_RECORDS` records.
    """
    at_hits, at_sites, used = [], [], []
    for record, spans in _sampled_spans(hits, rng, MAX_RECORDS).items():
        letters = scored.held_out.sequences[record]
        sites = matched_sites(spans, len(letters), rng)
        if sites is not None:
            at_hits.append(shuffled_at(letters, spans, rng))
            at_sites.append(shuffled_at(letters, sites, rng))
            used.append(record)
    if len(used) < MIN_RECORDS:
        return {"effect_records": len(used)}
    shuffled = scored.of(at_hits, used)  # (n, M)
    effects, falls = scored.of(at_sites, used) - shuffled, scored.intact(used) - shuffled
    found: dict[str, float] = {
        "effect_records": len(used),
        "stability": _agreeing(effects.mean(axis=0), scored.held_out.least),
    }
    found |= mean_effect(effects.mean(axis=1), rng, "effect")
    return found | mean_effect(falls.mean(axis=1), rng, "fall")


def sufficiency(hits: pd.DataFrame, scored: Scored, rng: np.random.Generator) -> dict[str, float]:
    """Measure how much the score of a shuffled record rises when one site is inserted.

    The best site of a record is inserted at its original position into a dinucleotide shuffle of
    the record, which is compared with a copy whose bases at the site are shuffled. Returns
    sufficiency with the columns of `mean_effect`; empty with fewer than `MIN_RECORDS` records.
    """
    best = best_hits(hits, rng)
    with_site, without, used = [], [], []
    for number in rng.permutation(len(best))[:MAX_INSERTED]:
        record, start, end = (
            int(best[column].iloc[number]) for column in ("record", "start", "end")
        )
        letters = scored.held_out.sequences[record]
        background = shuffle_letters(letters, 2, rng)
        background[start:end] = letters[start:end]
        with_site.append(background)
        without.append(shuffled_at(background, [(start, end)], rng))
        used.append(record)
    if len(with_site) < MIN_RECORDS:
        return {}
    gains = scored.of(with_site, used) - scored.of(without, used)
    return mean_effect(gains.mean(axis=1), rng, "sufficiency")


def _sampled_spans(
    hits: pd.DataFrame, rng: np.random.Generator, most: int
) -> dict[int, list[tuple[int, int]]]:
    """Sample at most `most` records; return record -> its hits as merged intervals."""
    by_record = hits.groupby("record")[["start", "end"]]
    found = {}
    for record in rng.permutation(hits["record"].unique()).tolist()[:most]:
        starts, ends = merge_intervals(*by_record.get_group(record).to_numpy(dtype=int).T)
        found[record] = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return found


def _agreeing(effects: NDArray[np.float64], least: float) -> float:
    """Return the fraction of members (M,) with a clear effect of the common sign; nan for one."""
    if len(effects) == 1:
        return float("nan")
    return float(
        np.mean((np.abs(effects) >= least) & (np.sign(effects) == np.sign(effects.mean())))
    )


def mean_effect(
    effects: NDArray[np.float64], rng: np.random.Generator, name: str = ""
) -> dict[str, float]:
    """Return the mean of effects (n,), its bootstrap interval and a two-sided sign-flip p-value.

    The keys are the columns NAME (mean), NAME_low, NAME_high and NAME_p.
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
    found = effects.mean(), low, high, flips.pvalue
    ends = "", "_low", "_high", "_p"
    return {f"{name}{end}": float(value) for end, value in zip(ends, found, strict=True)}


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
