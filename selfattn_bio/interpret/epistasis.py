"""What two sites of a record are worth together, beyond what each is worth alone: the interventions, on one pair of sites at a time.

Hides: the copies of a record in which sites are out, moved or others. `interactions` tests what comes of it.

**Epistasis** of two sites is f(x) - f(x without i) - f(x without j) + f(x without both), where "without" is with the letters that a
dinucleotide shuffle of the record has there, and f is the calibrated log-odds of a positive (`interpret.evidence` says why), of DNA the
mean over both strands. Positive: each is worth more beside the other. Negative: one will do. The sign is kept: |epistasis| tells true
pairs no better than chance.

Beside it, of the same record and distance: `matched`, each site with a random place in the other's stead, and `swapped`, each site with a
site of another motif put where the other was. A model that answers to the sum of all its motifs by a curve gives `swapped` as much as it
gives the pair, if the motifs weigh alike; less to lighter ones where the curve rises ever faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.interpret.spacing import MAX_GAP, ORIENTATIONS, gaps, orientations
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
Span = tuple[int, int]
LogOdds = Callable[[Sequence[Letters]], NDArray[np.float64]]

DRAWS = 2  # shuffles of a record, of which its sites take letters
SLACK = 5  # letters, and
SHARE = 0.25  # of the gap, by which a random place may be nearer or farther than the site it stands for
CHUNK = 256  # pairs of sites whose interventions are scored at once
NAMES = ["name_a", "name_b"]
PAIR = ["record", *NAMES]
SITES = ["start_a", "end_a", "start_b", "end_b"]
KINDS = ["epistasis", "matched", "swapped"]
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])  # of the record, without one, without the other, without both


def site_pairs(sites: pd.DataFrame) -> pd.DataFrame:
    """All pairs of sites of two different motifs that stand in one record, side by side.

    Sites of one motif are not paired with each other: which of them is the first says nothing, so nothing can be permuted.

    Parameters
    ----------
    sites
        name, record, start, end (letters, 0-based half-open), strand: as of `hits.find_hits`.

    Returns
    -------
    record, name_a, start_a, end_a, strand_a and the same of b, where name_a < name_b; gap (letters between, at most `MAX_GAP`), orientation
    (of `spacing.ORIENTATIONS`), closest: share of the record's other pairs that are farther apart, 1 for the closest pair.
    """
    table = sites[["record", "name", "start", "end", "strand"]].drop_duplicates()
    pairs = table.merge(table, on="record", suffixes=("_a", "_b"))
    pairs = pairs[pairs["name_a"] < pairs["name_b"]]
    gap = gaps(*(pairs[column].to_numpy(dtype=np.int64) for column in SITES))
    pairs = pairs.assign(gap=gap)[(gap >= 0) & (gap <= MAX_GAP)].sort_values([*PAIR, "gap"], kind="stable", ignore_index=True)
    minus_a, minus_b = ((pairs[column] == "-").to_numpy() for column in ("strand_a", "strand_b"))
    way = orientations((pairs["start_a"] < pairs["start_b"]).to_numpy(), minus_a, minus_b)
    rank = pairs.groupby("record")["gap"].rank(method="average")
    others = pairs.groupby("record")["gap"].transform("size") - 1
    closest = (1 - (rank - 1) / others.where(others > 0)).fillna(1.0)
    return pairs.assign(orientation=np.array(ORIENTATIONS, dtype=object)[way], closest=closest)


def epistasis(
    pairs: pd.DataFrame,
    sites: pd.DataFrame,
    sequences: Sequence[Letters],
    log_odds: LogOdds,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """What two sites are worth together beyond what each is worth alone.

    Parameters
    ----------
    pairs
        As of `site_pairs`; record is an index into `sequences`.
    sites
        name, record, start, end of all sites: random places overlap none of them, and other motifs' sites are put in a site's stead.
    sequences
        ASCII letters, one array a record.
    log_odds
        Sequences -> (n,) log-odds of a positive, but for a constant (`strands_log_odds`).
    rng
        Of shuffles, random places and other motifs' sites.
    draws
        Over how many shuffles the mean is taken.

    Returns
    -------
    One row a pair, in the order given, in log-odds: epistasis; matched, the mean of that of each site with random places about as far from
    it as the other, on either side; swapped, the mean of that of each site with other motifs' sites where the other was, of motifs that the
    record has no site of, if there are any. Missing where there is no room, or no other motif.
    """
    beside: Any = sites[sites["record"].isin(pairs["record"])].groupby("record")
    free = {record: _free(group, len(sequences[record])) for record, group in beside}
    names = {record: set(group["name"]) for record, group in beside}
    letters_of: dict[str, list[Letters]] = {}
    for name, record, start, end in sites[["name", "record", "start", "end"]].itertuples(index=False):
        letters_of.setdefault(name, []).append(sequences[record][start:end])
    rows = list(pairs[[*PAIR, *SITES]].itertuples(index=False, name=None))
    scored = []
    for first in range(0, len(rows), CHUNK):
        made: list[Letters] = []
        squares: list[tuple[int, ...]] = []
        for number, (record, name_a, name_b, *ends) in enumerate(rows[first : first + CHUNK], start=first):
            others = sorted(set(letters_of) - {name_a, name_b})
            absent = [name for name in others if name not in names[record]]
            site_letters = [letters_of[name] for name in absent or others]
            spans = (ends[0], ends[1]), (ends[2], ends[3])
            for _ in range(draws):
                squares += [(number, *square) for square in _squares(sequences[record], spans, free[record], site_letters, made, rng)]
        table = np.array(squares)
        scored.append(pd.DataFrame({"row": table[:, 0], "kind": table[:, 1], "value": log_odds(made)[table[:, 2:]] @ SIGNS}))
    if not scored:
        return pd.DataFrame(columns=KINDS, index=pairs.index, dtype=float)
    means = pd.concat(scored).pivot_table("value", "row", "kind")
    return means.reindex(index=range(len(rows)), columns=range(len(KINDS))).set_axis(KINDS, axis=1).set_axis(pairs.index)


def _squares(
    letters: Letters,
    spans: tuple[Span, Span],
    free: NDArray[np.int64],
    site_letters: Sequence[Sequence[Letters]],
    made: list[Letters],
    rng: np.random.Generator,
) -> Iterator[tuple[int, ...]]:
    """Of one shuffle: number in `KINDS`, and the indices in `made`, where they are added, of the sequences that `SIGNS` are of."""

    def add(sequence: Letters) -> int:
        made.append(sequence)
        return len(made) - 1

    neutral = shuffle_letters(letters, 2, rng)
    whole, alone = add(letters), [add(put(letters, neutral, span)) for span in spans]
    neither = add(put(letters, neutral, *spans))
    yield 0, whole, *alone, neither
    for own, other in ((0, 1), (1, 0)):
        fixed, gone = spans[own], spans[other]
        places = _places(fixed, gone, free)
        if len(places):
            at = int(rng.choice(places))
            place = (at, at + gone[1] - gone[0])
            yield 1, whole, alone[own], add(put(letters, neutral, place)), add(put(letters, neutral, fixed, place))
        if site_letters:
            of_name = site_letters[int(rng.integers(len(site_letters)))]
            site = of_name[int(rng.integers(len(of_name)))]
            start = gone[0] if gone[0] >= fixed[1] else gone[1] - len(site)  # the edge that faces the other stays
            if 0 <= start <= len(letters) - len(site):
                swapped = made[alone[other]].copy()
                swapped[start : start + len(site)] = site
                yield 2, add(swapped), add(put(swapped, neutral, fixed)), alone[other], neither


def put(letters: Letters, other: Letters, *spans: Span) -> Letters:
    """A copy of `letters` with the spans as `other` has them."""
    copy = letters.copy()
    for span in spans:
        copy[slice(*span)] = other[slice(*span)]
    return copy


def _free(sites: pd.DataFrame, length: int) -> NDArray[np.int64]:
    """(length + 1,): how many letters before each belong to a site."""
    covered = np.zeros(length, dtype=np.int64)
    for start, end in zip(sites["start"], sites["end"], strict=True):
        covered[start:end] = 1
    return np.concatenate(([0], np.cumsum(covered)))


def _places(fixed: tuple[int, int], other: tuple[int, int], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a site of the width of `other` may start that overlaps none and is about as far from `fixed` as `other`."""
    width = other[1] - other[0]
    start = np.arange(len(before) - width)
    gap = max(other[0] - fixed[1], fixed[0] - other[1])
    far = np.abs(np.maximum(start - fixed[1], fixed[0] - (start + width)) - gap)
    return start[(far <= SLACK + SHARE * gap) & (before[start + width] == before[start])]


def strands_log_odds(scorer: Scorer) -> LogOdds:
    """Sequences -> (n,) `Scorer.log_odds`, of DNA the mean over both strands: what one reading alone says of a pair is noise."""
    if scorer.alphabet.name != "dna":
        return scorer.log_odds

    def mean(sequences: Sequence[Letters]) -> NDArray[np.float64]:
        turned = [scorer.alphabet.reverse_complement(letters) for letters in sequences]
        return (scorer.log_odds(sequences) + scorer.log_odds(turned)) / 2

    return mean
