"""Which motifs does a model read together? Attention proposes pairs of sites, intervention decides.

Hides: the interventions, what they are compared with, and the tests. The `interactions` command calls `weigh_interactions`.

**Epistasis** of two sites of one record is f(x) - f(x without i) - f(x without j) + f(x without both), where "without" is with the letters
that a dinucleotide shuffle of the record has there, and f is the calibrated log-odds of a positive (`interpret.evidence` says
why), of DNA the mean over both strands. Positive: each is worth more beside the other. Negative: one will do. The sign is kept:
|epistasis| tells true pairs no better
than chance.

**What it is compared with.** A model is no sum of letters, so any two places can have some epistasis. Each site is therefore also taken
with random places at the distance of the other (the table has what is above those), and pairs of motifs are compared with pairs of other
motifs at the same distance: a model that answers to the sum of all its motifs by a curve gives epistasis to all of them.

docs/interpretation_interactions.md has the rules of the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.changes import NUM_SITES
from selfattn_bio.interpret.evidence import q_values
from selfattn_bio.interpret.formats import read_meme
from selfattn_bio.interpret.hits import find_hits, relevant_hits
from selfattn_bio.interpret.interventions import MIN_EFFECT, RESAMPLES, mean_effect
from selfattn_bio.interpret.readout import read_letters
from selfattn_bio.interpret.relevance import BATCH, attnlrp_importance
from selfattn_bio.interpret.spacing import BIN, MAX_GAP, ORIENTATIONS, gaps, orientations, spacing
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
LogOdds = Callable[[Sequence[Letters]], NDArray[np.float64]]
Attention = Callable[[pd.DataFrame], NDArray[np.float64]]

DRAWS = 2  # shuffles of a record, of which its sites take letters
SLACK = 5  # letters, and
SHARE = 0.25  # of the gap, by which a random place may be nearer or farther than the site it stands for
MIN_RECORDS = 20  # with both motifs
MAX_RECORDS = 100  # of a pair of motifs, drawn at random, in which sites are taken out
MAX_PAIRS = 30  # of motifs
CHUNK = 256  # pairs of sites whose interventions are scored at once
NAMES = ["name_a", "name_b"]
PAIR = ["record", *NAMES]
SITES = ["start_a", "end_a", "start_b", "end_b"]
COLUMNS = [
    *("name_a", "name_b", "records", "tested", "epistasis", "epistasis_low", "epistasis_high", "sites_p", "pairs_p", "p", "q"),
    *("attention", "closest", "spacings", "spacing_start", "spacing_end", "spacing_fold", "spacing_p", "spacing_q"),
    *("orientation", "orientation_fold", "orientation_p", "orientation_q", "verdict"),
]


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
        record (index into `sequences`), start_a, end_a, start_b, end_b: as of `site_pairs`.
    sites
        record, start, end of all sites: random places overlap none of them.
    sequences
        ASCII letters, one array a record.
    log_odds
        Sequences -> (n,) log-odds of a positive, but for a constant (`strands_log_odds`).
    rng
        Of shuffles and random places.
    draws
        Over how many shuffles the mean is taken.

    Returns
    -------
    One row a pair, in the order given: epistasis, in log-odds, and matched, the mean of that of each site with random places at the other's
    distance on either side; missing where there is no room for one.
    """
    beside: Any = sites[sites["record"].isin(pairs["record"])].groupby("record")
    free = {record: _free(group, len(sequences[record])) for record, group in beside}
    rows = list(pairs[["record", *SITES]].itertuples(index=False, name=None))
    found = []
    for start in range(0, len(rows), CHUNK):
        made: list[Letters] = []
        squares = [_squares(sequences[row[0]], row[1:3], row[3:], free[row[0]], made, rng, draws) for row in rows[start : start + CHUNK]]
        scores = log_odds(made)
        for square in squares:
            of_draws = scores[square] @ np.array([1.0, -1.0, -1.0, 1.0])  # (1, 2 or 3; draws)
            found.append((of_draws[0].mean(), of_draws[1:].mean() if len(of_draws) > 1 else np.nan))
    return pd.DataFrame(found, columns=["epistasis", "matched"], index=pairs.index, dtype=float)


def _squares(
    letters: Letters,
    a: tuple[int, int],
    b: tuple[int, int],
    free: NDArray[np.int64],
    made: list[Letters],
    rng: np.random.Generator,
    draws: int,
) -> NDArray[np.int64]:
    """Index in `made`, to which they are added, of the record, without one, without the other, without both.

    (1 + sides, draws, 4): of the pair, then of each site with random places, where there is room for one.
    """

    def add(sequence: Letters) -> int:
        made.append(sequence)
        return len(made) - 1

    whole = add(letters)
    matches = [(_places(span, other, free), other[1] - other[0]) for span, other in ((a, b), (b, a))]
    squares: list[list[tuple[int, ...]]] = [[] for _ in range(3)]
    for _ in range(draws):
        neutral = shuffle_letters(letters, 2, rng)
        alone = [add(_without(letters, neutral, span)) for span in (a, b)]
        squares[0].append((whole, *alone, add(_without(letters, neutral, a, b))))
        for side, (places, width) in enumerate(matches):
            if len(places):
                at = int(rng.choice(places))
                place, site = (at, at + width), (a, b)[side]
                squares[1 + side].append(
                    (whole, alone[side], add(_without(letters, neutral, place)), add(_without(letters, neutral, site, place)))
                )
    return np.array([each for each in squares if each])


def _without(letters: Letters, neutral: Letters, *spans: tuple[int, int]) -> Letters:
    """A copy of `letters` with the spans as `neutral` has them."""
    copy = letters.copy()
    for span in spans:
        copy[slice(*span)] = neutral[slice(*span)]
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


def weigh_interactions(
    sites: pd.DataFrame,
    sequences: Sequence[Letters],
    log_odds: LogOdds,
    attention: Attention,
    *,
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test pairs of motifs for epistasis, spacing and orientation.

    Parameters
    ----------
    sites, sequences, log_odds
        As of `epistasis`; sites also have name and strand.
    attention
        Pairs of sites -> (n,) what they give to each other (`attention_between`). Of more than `MAX_PAIRS` pairs of motifs, those are
        tested whose sites give each other most, compared with all pairs at their distance.
    significance
        q below which a test counts.
    seed
        Of records, shuffles, random places, permutations.

    Returns
    -------
    One row a pair of motifs with at least `MIN_RECORDS` records, highest epistasis first: `COLUMNS`. The closest pair of sites of each
    record counts.
    """
    rng = np.random.default_rng(seed)
    pairs = site_pairs(sites)
    nearest = pairs.drop_duplicates(PAIR)  # by gap within each
    nearest = nearest[nearest.groupby(NAMES)["record"].transform("size") >= MIN_RECORDS]
    nearest = _proposed(nearest, attention)
    drawn = nearest.iloc[rng.permutation(len(nearest))].groupby(NAMES).head(MAX_RECORDS).sort_index()
    drawn = drawn.join(epistasis(drawn, sites, sequences, log_odds, rng)).dropna(subset="matched")
    drawn = drawn.assign(above=drawn["epistasis"] - drawn["matched"])
    by_name: dict[Any, pd.DataFrame] = dict(list(sites.groupby("name")))
    rows: list[dict[Any, Any]] = []
    for (name_a, name_b), group in nearest.groupby(NAMES):
        mine = ((drawn["name_a"] == name_a) & (drawn["name_b"] == name_b)).to_numpy()
        about = {"name_a": name_a, "name_b": name_b, "records": len(group), "tested": mine.sum()}
        about |= {"attention": group["attention"].mean(), "closest": group["closest"].mean()}
        rows.append(about | _tests(drawn, mine, rng) | spacing(by_name[name_a], by_name[name_b], rng))
    table = pd.DataFrame(rows, columns=COLUMNS)
    for kind in ("", "spacing_", "orientation_"):
        table[f"{kind}q"] = q_values(table[f"{kind}p"].to_numpy(dtype=float))
    table["verdict"] = [verdict(row, significance) for row in table.to_dict("records")]
    return table.sort_values("epistasis", ascending=False, ignore_index=True)


def _proposed(nearest: pd.DataFrame, attention: Attention) -> pd.DataFrame:
    """The pairs of the motifs to test, with a column attention: what their sites give each other, over the mean at their distance.

    Of a network without attention, which gives nothing, those of most records.
    """
    given = pd.Series(attention(nearest), index=nearest.index)
    usual = given.groupby(nearest["gap"] // BIN).transform("mean")
    nearest = nearest.assign(attention=given / usual.where(usual > 0))
    of_names = nearest.groupby(NAMES)["attention"].agg(["mean", "size"]).sort_values(["mean", "size"], ascending=False)
    return nearest[nearest.set_index(NAMES).index.isin(of_names.index[:MAX_PAIRS])]


def _tests(drawn: pd.DataFrame, mine: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, float]:
    """The mean of the pair's epistasis above random places, its interval, and the tests against those and against other pairs."""
    above = drawn["above"].to_numpy()
    if mine.sum() < MIN_RECORDS:
        return {}
    mean = mean_effect(above[mine], rng)
    pairs_p = against_others(above, (drawn["gap"] // BIN).to_numpy(), mine, rng)
    return {
        **{f"epistasis{which}": mean[which] for which in ("", "_low", "_high")},
        **{"sites_p": mean["_p"], "pairs_p": pairs_p, "p": max(mean["_p"], pairs_p)},
    }


def against_others(values: NDArray[np.float64], bins: NDArray[np.int64], mine: NDArray[np.bool_], rng: np.random.Generator) -> float:
    """Two-sided p that `mine` differ in mean from the other values of the same bins, by permutation within bins; nan if there are none."""
    difference, total = np.zeros(RESAMPLES + 1), 0
    for number in np.unique(bins[mine]):
        there = bins == number
        own, others = values[there & mine], values[there & ~mine]
        if not len(others):
            continue
        pool = np.concatenate([own, others])
        shuffled = rng.permuted(np.tile(pool, (RESAMPLES, 1)), axis=1)
        rows = np.vstack([pool, shuffled])
        difference += len(own) * (rows[:, : len(own)].mean(1) - rows[:, len(own) :].mean(1))
        total += len(own)
    if not total:
        return np.nan
    return float(np.mean(np.abs(difference) >= abs(difference[0]) - 1e-12))


def verdict(row: Mapping[Any, Any], significance: float) -> str:
    """supported or proposal, as docs/interpretation_interactions.md says."""
    return "supported" if row["q"] < significance and abs(row["epistasis"]) >= MIN_EFFECT else "proposal"


def model_sites(motifs: str | Path, scorer: Scorer, sequences: Sequence[Letters], hit_p: float) -> pd.DataFrame:
    """Hits of the motifs of a MEME file that the model looks at: `hits.find_hits`, then `hits.relevant_hits` with AttnLRP's relevance."""
    ppms = read_meme(motifs, least=0)
    hits = find_hits(ppms, dict.fromkeys(ppms, NUM_SITES), sequences, hit_p)
    records = sorted(set(hits["record"]))
    relevance = dict(zip(records, attnlrp_importance(scorer, [sequences[record] for record in records]), strict=True))
    return relevant_hits(hits, relevance)


def strands_log_odds(scorer: Scorer) -> LogOdds:
    """Sequences -> (n,) `Scorer.log_odds`, of DNA the mean over both strands: what one reading alone says of a pair is noise."""
    if scorer.alphabet.name != "dna":
        return scorer.log_odds

    def mean(sequences: Sequence[Letters]) -> NDArray[np.float64]:
        turned = [scorer.alphabet.reverse_complement(letters) for letters in sequences]
        return (scorer.log_odds(sequences) + scorer.log_odds(turned)) / 2

    return mean


def attention_between(scorer: Scorer, sequences: Sequence[Letters]) -> Attention:
    """What proposes pairs of sites: the mean of what each site of a pair gives the other, over layers and heads; 0 without attention."""

    def given(pairs: pd.DataFrame) -> NDArray[np.float64]:
        found = np.zeros(len(pairs))
        if not isinstance(scorer.network.members[0], AttentionBody):
            return found
        where = pairs.groupby("record").indices
        records: list[Any] = sorted(where, key=lambda record: len(sequences[record]))
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            reading = read_letters(scorer, pad_letters([sequences[record] for record in batch]), [""] * len(batch))
            spans = [pairs[SITES].to_numpy(dtype=np.int64)[where[record]].reshape(-1, 2) for record in batch]  # a, b, a, b, ...
            for record, shares in zip(batch, reading.between(spans), strict=True):
                a, b = np.arange(0, len(shares), 2), np.arange(1, len(shares), 2)
                found[where[record]] = (shares[a, b] + shares[b, a]) / 2
        return found

    return given
