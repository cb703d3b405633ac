"""Held-out records, and how their scores change when sites of a motif are shuffled or inserted.

Records have labels or numbers. With labels, enrichment compares the number of positives and
negatives that have a hit. With numbers, it compares the numbers of records that have a hit with
those of the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test
from scipy.stats import t as student

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evaluation.calibration import platt_line
from selfattn_bio.evaluation.units import FEW_UNITS, MIN_UNITS, Units
from selfattn_bio.evidence.associations import (
    CONFIDENCE,
    enrichment,
    matched_enrichment,
    matched_rank_shift,
    rank_shift,
    strata_of,
)
from selfattn_bio.evidence.positions import best_hits
from selfattn_bio.objectives.outputs import LOG_ODDS, NumberOutput, Output
from selfattn_bio.sequence.alphabet import DNA, Alphabet, Ascii, Letters
from selfattn_bio.sequence.intervals import counts_before, merge_intervals
from selfattn_bio.sequence.shuffle import shuffle_letters

# Smallest effect that counts, in calibrated log-odds, or as a fraction of `Output.scale`
MIN_EFFECT = 0.1
# Results of `rank_shift` and `matched_rank_shift` that are above 0 for higher numbers
SHIFTS = ("rank_shift", "difference", "matched_rank_shift", "matched_difference")


@dataclass(frozen=True)
class HeldOut(ABC):
    """Records for testing motifs.

    Attributes
    ----------
    sequences
        ASCII letters, one array per record.
    truth
        (n,) label or number of each record.
    alphabet
        Alphabet of the sequences.
    unit
        Unit of effects.
    scale
        Effects below `MIN_EFFECT` times this are treated as none.
    pairs
        Both inputs of each record, for a model with two inputs.
    input
        Which of them the sequences are, "first" or "partner". The tests change only this input.
    groups
        Records that are not independent; single records by default.
    """

    sequences: Letters
    truth: NDArray[Any]
    alphabet: Alphabet = DNA
    unit: str = LOG_ODDS
    scale: float = 1.0
    pairs: Sequence[RecordPair] = ()
    input: str = "first"
    groups: Units | None = None

    @property
    def least(self) -> float:
        """Return the smallest effect that counts, in `unit`."""
        return MIN_EFFECT * self.scale

    def inputs(
        self, sequences: Letters, records: Sequence[int] | Integers
    ) -> Letters | list[RecordPair]:
        """Return the inputs of the model for sequences that were made from these records.

        For a model with two inputs, the other input is the one of the record.
        """
        if not self.pairs:
            return sequences
        return [
            self.pairs[record]._replace(**{self.input: letters})
            for letters, record in zip(sequences, records, strict=True)
        ]

    @cached_property
    def units(self) -> Units:
        """Return the units of the records."""
        return self.groups or Units.single(len(self.sequences))

    @cached_property
    def strata(self) -> Integers:
        """Return the group of each record among records of similar composition and length."""
        return strata_of(self.sequences, self.alphabet)

    @property
    def described(self) -> Integers:
        """Return the records whose motifs are described."""
        return np.arange(len(self.sequences))

    @property
    def neutral(self) -> Integers:
        """Return the records whose shuffles have the composition of records without signal."""
        return np.arange(len(self.sequences))

    @abstractmethod
    def associations(self, hits: pd.DataFrame) -> dict[str, float]:
        """Test whether records with a hit differ from all others, and from those of their stratum.

        Returns the columns of the tests enrichment and matched.
        """

    @abstractmethod
    def direction(self, row: Mapping[str, Any]) -> float:
        """Return 1 if records with a hit should score higher, -1 if lower, 0 if that is unclear.

        `row` has the results of `associations`.
        """

    @abstractmethod
    def slope(self, scores: Floats) -> float:
        """Return how much the truth changes with the scores (n,); at least 0.

        Scores times the slope are scores as far as these records confirm them.
        """


class LabelledRecords(HeldOut):
    """Positives (1), whose motifs are described, and negatives (0)."""

    @property
    def described(self) -> Integers:
        return np.flatnonzero(self.truth == 1)

    @property
    def neutral(self) -> Integers:
        """Return the negatives; all records if there are none."""
        negatives = np.flatnonzero(self.truth == 0)
        return negatives if len(negatives) else super().neutral

    def associations(self, hits: pd.DataFrame) -> dict[str, float]:
        return enrichment(hits, self.truth, self.units) | matched_enrichment(
            hits, self.truth, self.strata, self.units
        )

    def direction(self, row: Mapping[str, Any]) -> float:
        return 1.0

    def slope(self, scores: Floats) -> float:
        return platt_line(scores, self.truth)[0]


class MeasuredRecords(HeldOut):
    """Records with a number."""

    def associations(self, hits: pd.DataFrame) -> dict[str, float]:
        return rank_shift(hits, self.truth, self.units) | matched_rank_shift(
            hits, self.truth, self.strata, self.units
        )

    def direction(self, row: Mapping[str, Any]) -> float:
        """Return the common sign of ranks and means, in all records and in those matched."""
        signs = {np.sign(row[name]) for name in SHIFTS}
        return float(signs.pop()) if len(signs) == 1 else 0.0

    def slope(self, scores: Floats) -> float:
        """Return the slope of a linear regression of the numbers on the scores."""
        centred = scores - scores.mean()
        spread = float(centred @ centred)
        return max(0.0, float(centred @ self.truth) / spread) if spread else 0.0


def held_out_records(
    output: Output,
    sequences: Letters,
    truth: Floats,
    alphabet: Alphabet,
    pairs: Sequence[RecordPair] = (),
    input: str = "first",
    groups: Units | None = None,
) -> HeldOut:
    """Return held-out records of an output, with their known targets (n,).

    Raises
    ------
    ArgumentError
        If there are none.
    """
    if not len(truth):
        message = f"no held-out record has a known target of output {output.name!r}"
        hint = "Add targets, or leave the output out of [interpret] targets"
        raise ArgumentError(message, hint=hint)
    kind = MeasuredRecords if isinstance(output, NumberOutput) else LabelledRecords
    return kind(sequences, truth, alphabet, output.unit, output.scale, pairs, input, groups)


Spans = Sequence[Sequence[int]]  # start and end each
# from inputs of the model to scores (n,), or to (n, M) for M members
ScoreMembers = Callable[[Sequence[Any]], Floats]

# Minimum number of records with a hit to estimate an effect. With 10, the 95 % interval of a skewed
# effect holds its mean in 58 to 87 of 100 samples.
MIN_RECORDS = 30
# sampled at random; gives an interval of +-0.06 log-odds at a standard deviation of 0.5
MAX_RECORDS = 300
FEWER_RECORDS = 100  # for `mean_necessity`
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
    scores: ScoreMembers
    _intact: dict[int, Floats] = field(default_factory=dict)

    def of(self, sequences: Letters, records: Sequence[int]) -> Floats:
        """Return the scores of sequences made from these records, (n, M)."""
        return self.scores(self.held_out.inputs(sequences, records)).reshape(len(sequences), -1)

    def intact(self, records: Sequence[int]) -> Floats:
        """Return the scores of records, (n, M); each record is scored only once."""
        new = [record for record in records if record not in self._intact]
        if new:
            found = self.of([self.held_out.sequences[record] for record in new], new)
            self._intact.update(zip(new, found, strict=True))
        return np.stack([self._intact[record] for record in records])


def mean_necessity(hits: pd.DataFrame, scored: Scored, rng: np.random.Generator) -> float:
    """Return the mean loss of score if all hits of a record are shuffled.

    At most `FEWER_RECORDS` records are used; nan with fewer than `MIN_RECORDS`.
    """
    spans = _sampled_spans(hits, rng, FEWER_RECORDS)
    if len(spans) < MIN_RECORDS:
        return float("nan")
    records, sequences = list(spans), scored.held_out.sequences
    shuffled = [shuffled_at(sequences[record], some, rng) for record, some in spans.items()]
    return float((scored.intact(records) - scored.of(shuffled, records)).mean())


def effect(
    hits: pd.DataFrame, scored: Scored, rng: np.random.Generator, avoid: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Measure how much more the score falls if hits are shuffled than if control sites are.

    All hits of a record are shuffled together, each within its interval, so that composition and
    context stay the same. In a second copy, one control site per hit is shuffled instead. It has
    the same width, overlaps none of the hits and of those to `avoid`, and is within `NEARBY`
    positions if possible. Records without space for control sites are left out, and at most
    `MAX_RECORDS` are used.

    Returns
    -------
    effect and necessity, each with the columns of `mean_effect`; effect_records, the number of
    records; effect_units, how many units have such a record, as "7 of 12 clusters"; stability.
    necessity is the loss of score at the hits, without subtracting that at control sites. Control
    sites that overlap other motifs change effect but not necessity.
    stability is the fraction of members whose mean effect is at least `HeldOut.least` in size and
    has the sign of the overall mean. Only effect_records and effect_units if there are fewer than
    `MIN_RECORDS` records or `MIN_UNITS` units.
    """
    at_hits, at_sites, used = [], [], []
    others = hits[:0] if avoid is None else avoid
    for record, spans in _sampled_spans(hits, rng, MAX_RECORDS).items():
        letters = scored.held_out.sequences[record]
        taken = others.loc[others["record"] == record, ["start", "end"]].to_numpy(int)
        sites = matched_sites(spans, len(letters), rng, taken.tolist())
        if sites is not None:
            at_hits.append(shuffled_at(letters, spans, rng))
            at_sites.append(shuffled_at(letters, sites, rng))
            used.append(record)
    known = scored.held_out.units
    units = known.numbers[used]
    found: dict[str, Any] = {"effect_records": len(used)}
    name = known.name.split(" (")[0]  # without the note on few units
    found["effect_units"] = f"{len(np.unique(units))} of {known.numbers.max() + 1} {name}"
    if are_too_few(units):
        return found
    shuffled = scored.of(at_hits, used)  # (n, M)
    effects, losses = scored.of(at_sites, used) - shuffled, scored.intact(used) - shuffled
    found["stability"] = _agreeing(effects.mean(axis=0), scored.held_out.least)
    found |= mean_effect(effects.mean(axis=1), rng, "effect", units)
    return found | mean_effect(losses.mean(axis=1), rng, "necessity", units)


def sufficiency(hits: pd.DataFrame, scored: Scored, rng: np.random.Generator) -> dict[str, float]:
    """Measure how much the score of a shuffled record rises when one site is inserted.

    The best site of a record is inserted at its original position into a dinucleotide shuffle of
    the record, which is compared with a copy whose bases at the site are shuffled. Returns
    sufficiency with the columns of `mean_effect`; empty if records or units are too few.
    """
    best = best_hits(hits, rng)
    with_site, without, used = [], [], []
    chosen = best.iloc[rng.permutation(len(best))[:MAX_INSERTED]]
    for record, start, end in chosen[["record", "start", "end"]].to_numpy(dtype=int).tolist():
        letters = scored.held_out.sequences[record]
        background = shuffle_letters(letters, 2, rng)
        background[start:end] = letters[start:end]
        with_site.append(background)
        without.append(shuffled_at(background, [(start, end)], rng))
        used.append(record)
    units = scored.held_out.units.numbers[used]
    if are_too_few(units):
        return {}
    gains = scored.of(with_site, used) - scored.of(without, used)
    return mean_effect(gains.mean(axis=1), rng, "sufficiency", units)


def are_too_few(units: Integers) -> bool:
    """Return whether there are too few records, or units of them (n,), to estimate an effect."""
    return len(units) < MIN_RECORDS or len(np.unique(units)) < MIN_UNITS


def _sampled_spans(
    hits: pd.DataFrame, rng: np.random.Generator, most: int
) -> dict[int, list[tuple[int, int]]]:
    """Sample at most `most` records; return record -> its hits as merged intervals."""
    records = rng.permutation(hits["record"].unique())[:most]
    found: dict[int, list[tuple[int, int]]] = {record: [] for record in records.tolist()}
    some = hits[hits["record"].isin(records)]
    record, start, end = some[["record", "start", "end"]].to_numpy(np.int64).T
    size = end.max(initial=0) + 1  # so that intervals of two records do not touch
    merged = np.stack(merge_intervals(record * size + start, record * size + end), axis=1)
    for first, last in merged.tolist():
        found[first // size].append((first % size, last % size))
    return found


def _agreeing(effects: Floats, least: float) -> float:
    """Return the fraction of members (M,) with a clear effect of the common sign; nan for one."""
    if len(effects) == 1:
        return float("nan")
    return float(np.mean(np.sign(effects.mean()) * effects >= least))


def mean_effect(
    effects: Floats, rng: np.random.Generator, name: str = "", units: Integers | None = None
) -> dict[str, float]:
    """Return the mean of effects (n,), its interval and a two-sided sign-flip p-value.

    The effects of a unit are resampled and flipped together; `units` are their numbers (n,). The
    interval is from a bootstrap, or from `t_interval` with fewer than `FEW_UNITS` units. The keys
    are the columns NAME (mean), NAME_low, NAME_high and NAME_p; of one unit, only the mean is
    known.
    """
    code = np.arange(len(effects)) if units is None else pd.factorize(units)[0]
    number, effects = np.bincount(code), np.bincount(code, effects).astype(np.float64)
    mean = float(effects.sum() / number.sum())
    if len(effects) == 1:
        return {name: mean, **dict.fromkeys((f"{name}_low", f"{name}_high", f"{name}_p"), np.nan)}
    if len(effects) < FEW_UNITS:
        low, high = t_interval(effects, number)
    else:
        sampled = rng.integers(0, len(effects), (RESAMPLES, len(effects)))
        means = effects[sampled].sum(axis=1) / number[sampled].sum(axis=1)
        low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    flips = permutation_test(
        (effects,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=rng
    )
    return {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_p": flips.pvalue}


def t_interval(sums: Floats, sizes: Integers) -> tuple[float, float]:
    """Return the ends of the t interval of the mean over records, from the sums of units (n,).

    Its standard error and degrees of freedom account for units of unequal size. With equal sizes it
    is the usual t interval of the means of the units.

    References
    ----------
    Bell and McCaffrey 2002, Bias reduction in standard errors for linear regression with
    multi-stage samples.
    """
    weight, means = sizes / sizes.sum(), sums / sizes
    mean, share = weight @ means, weight**2 / (1 - weight)
    degrees = 1 / ((weight**2).sum() + share.sum() ** 2 - (share**2).sum())
    width = student.ppf((1 + CONFIDENCE) / 2, degrees) * np.sqrt(share @ (means - mean) ** 2)
    return mean - width, mean + width


def matched_sites(
    spans: Spans, length: int, rng: np.random.Generator, avoid: Spans = ()
) -> list[tuple[int, int]] | None:
    """Choose a random site of the same width for each span.

    Sites overlap neither spans, those to `avoid` nor each other, and are within `NEARBY` positions
    if possible. Returns None if there is no space.
    """
    taken = np.zeros(length, bool)
    for start, end in (*spans, *avoid):
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


def shuffled_at(letters: Ascii, spans: Spans, rng: np.random.Generator) -> Ascii:
    """Return a copy with the letters of each span in random order."""
    copy = letters.copy()
    for start, end in spans:
        copy[start:end] = rng.permutation(copy[start:end])
    return copy
