"""Test which pairs of motifs a model uses together.

Attention selects the pairs of motifs to test. The tests replace sites and measure how the score
changes.

The epistasis of a pair of motifs (`evidence.epistasis`) is compared with two controls in the same
records: random sites at the same distance, because any two sites can have some epistasis, and a
monotone curve over a sum of the motifs, which gives epistasis to every pair.

The rules of the verdict are in docs/interpretation_interactions.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.attribution.capture import has_attention, read_letters
from selfattn_bio.attribution.rules import BATCH
from selfattn_bio.display import counted, shortened, with_interval
from selfattn_bio.evaluation.units import Units
from selfattn_bio.evidence.epistasis import (
    BIN,
    EFFECTS,
    MAX_GAP,
    NAMES,
    PAIR,
    SITES,
    LogOdds,
    epistasis,
    site_pairs,
    spacing,
)
from selfattn_bio.evidence.records import MIN_EFFECT, mean_effect
from selfattn_bio.evidence.verdicts import estimated, q_values, tested
from selfattn_bio.files import write_text
from selfattn_bio.layout import Layout
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.kmers import pad_letters
from selfattn_bio.sequence.tables import write_table

# pairs of sites, as from `site_pairs`, to the attention between the sites (n,)
Attention = Callable[[pd.DataFrame], Floats]
Row = Mapping[Any, Any]  # of `evaluate_interactions`

CLEAR, UNCLEAR = ("supported", "redundant", "non-additive"), "inconclusive"  # verdicts
UNTESTED = "not tested"
MIN_RECORDS = 20  # a pair of motifs with fewer records is not tested
MIN_PAIRS = 6  # all pairs of four motifs; with fewer, a curve explains any interaction
MAX_RECORDS = 60  # records sampled per pair of motifs for the replacement of sites
MAX_PAIRS = 20  # pairs of motifs that are tested
MAX_MEASURED = 10_000  # pairs of an output whose measured means are written
MAX_NAMED = 10  # pairs that were not tested and are named in a message
CLEAR_Q = 0.05  # q-value below which `Interactions.lines` name a preference
NEEDS = (
    f"A pair needs two motifs of the same output, and at least {MIN_RECORDS} test records in which "
    f"the model relies on a site of each, at most {MAX_GAP} positions apart"
)
NO_PAIR = (
    f"no pair of motifs was tested. {NEEDS}. For support, {MIN_PAIRS} pairs of an output (all of "
    "four motifs) have to be tested"
)
# described in docs/interpretation_interactions.md
COLUMNS = [  # order in interactions.tsv
    *(*NAMES, "records", "tested", "units", *EFFECTS, "direction"),
    *estimated("epistasis"),
    *("specific", "sites_p", "pairs_p", "p", "q", "attention", "closest"),
    *("spacings", "spacing_start", "spacing_end", "spacing_fold", *tested("spacing")),
    *("orientation", "orientation_fold", *tested("orientation")),
    *("verdict", "lacks", "min_effect"),
]
# motifs of a pair that have a hit in a record; overlap: both, but one site may match both motifs
MATCHES = ("neither", "only_first", "only_second", "both", "overlap")
# order in interactions.measured.tsv
MEASURED = [*NAMES, "verdict", "used", *MATCHES, *(f"{name}_records" for name in MATCHES)]


@dataclass(frozen=True, repr=False)
class Interactions(TableResult):
    """Pairs of motifs that were tested for use together.

    Attributes
    ----------
    table
        One row per pair: target, the output of both motifs, and the columns `COLUMNS`
        (docs/interpretation_interactions.md).
    curves
        Epistasis of the pairs by distance in neutral backgrounds, with the columns
        `marginals.PAIR_CURVES`.
    measured
        One row per pair, tested or not: target and the columns `MEASURED` of `measured_pairs`.
    source
        Key to value of `explanation.SOURCE` in the provenance of the model; empty if unknown.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    measured: pd.DataFrame
    source: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = self.supported["name_a"] + " and " + self.supported["name_b"]
        return (
            f"Interactions of {counted(len(self), 'pair')} of motifs, "
            f"{len(names)} supported{': ' * bool(len(names))}{', '.join(names)}"
        )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def supported(self) -> pd.DataFrame:
        """Return the rows of `table` with verdict "supported"."""
        return self.table[self.table["verdict"] == "supported"]

    @property
    def lines(self) -> list[str]:
        """Return one line of text per pair, and the number of supported pairs."""
        if not len(self):
            return [NO_PAIR]
        pairs = [
            f"{row['name_a']} and {row['name_b']} of {row['target']}: "
            f"effects {row['effect_a']:+.2f} and {row['effect_b']:+.2f}, epistasis "
            + with_interval(*(row[name] for name in estimated("epistasis")))
            + f", q {row['q']:.1g}" * (not np.isnan(row["q"]))
            + f", {counted(row['records'], 'record')}, {_preference(row)}: {row['verdict']}"
            + f" ({row['lacks']})" * bool(row["lacks"])
            for row in self.table.to_dict("records")
        ]
        return [*pairs, f"supported: {len(self.supported)} of {counted(len(self), 'pair')}"]

    def save(self, folder: str | Path) -> None:
        """Write the tables, the curves and the source, as the files of the command."""
        layout = Layout(Path(folder))
        write_text(layout.interactions_source, json.dumps(dict(self.source)) + "\n")
        write_table(layout.interactions, self.table)
        write_table(layout.distances, self.curves)
        write_table(layout.measured, self.measured)


def untested_pairs(measured: pd.DataFrame) -> str:
    """Name the pairs of `Interactions.measured` that were not tested; empty if all were."""
    rest = measured[measured["verdict"] == UNTESTED].sort_values("used", ascending=False)
    each = [
        f"{row['name_a']} and {row['name_b']} of {row['target']} (both used in "
        f"{counted(row['used'], 'record')}, both match in {row['both_records']:,})"
        for row in rest.to_dict("records")
    ]
    rule = f"{NEEDS}, and at most {MAX_PAIRS} pairs of an output are tested"
    return f"not tested: {shortened(each, MAX_NAMED)}. {rule}" if each else ""


def measured_pairs(
    pairs: pd.DataFrame, names: list[str], sites: pd.DataFrame, hits: pd.DataFrame, truth: Floats
) -> pd.DataFrame:
    """Average the measured values of records with hits of neither, one or both motifs of a pair.

    The means use no model, and are no test. `pairs` are as from `evaluate_interactions`, and
    `sites` are the hits that the model uses. `hits` are in all records, and `truth` (n,) has the
    labels or numbers. A record is in "both" if a hit of one motif does not overlap a hit of the
    other. If all of them overlap, it is in "overlap".

    Returns
    -------
    One row per pair of the motifs `names`, most used first, at most `MAX_MEASURED`: `MEASURED`.
    used counts the records that a test needs, and each of `MATCHES` is the mean of its records.
    """
    every = pd.MultiIndex.from_tuples(combinations(sorted(names), 2), names=NAMES)
    used = site_pairs(sites).drop_duplicates(PAIR).value_counts(NAMES).reindex(every, fill_value=0)
    grouped, shape = hits.groupby(["name", "record"]), (len(names), len(truth))
    records = pd.MultiIndex.from_product([names, range(len(truth))])
    first_end, last_start = (  # of each motif in each record, missing without a hit
        dict(zip(names, found.reindex(records).to_numpy(float).reshape(shape), strict=True))
        for found in (grouped["end"].min(), grouped["start"].max())
    )
    verdicts, rows = pairs.set_index(NAMES)["verdict"], []
    for a, b in used.nlargest(MAX_MEASURED).index.tolist():
        match = ~np.isnan(first_end[a]) + 2 * ~np.isnan(first_end[b])
        apart = (first_end[a] <= last_start[b]) | (first_end[b] <= last_start[a])
        match += (match == MATCHES.index("both")) & ~apart
        groups = [truth[match == number] for number in range(len(MATCHES))]
        means = [group.mean() if len(group) else np.nan for group in groups]
        rows.append([a, b, verdicts.get((a, b), UNTESTED), used[a, b], *means, *map(len, groups)])
    return pd.DataFrame(rows, columns=MEASURED)


def _preference(row: Row) -> str:
    """State whether a pair has a preferred distance and orientation, with q-values."""
    if np.isnan(row["spacing_q"]):
        return "distance and orientation not tested, because the sampled records have no such pair"
    start, last = row["spacing_start"], row["spacing_end"] - 1
    distance = f"{start:.0f} to {last:.0f} positions" if row["spacing_q"] < CLEAR_Q else "none"
    preferred = f"preferred distance: {distance} (q {row['spacing_q']:.1g})"
    if not row["orientation"]:
        return preferred
    orientation = row["orientation"] if row["orientation_q"] < CLEAR_Q else "none"
    return f"{preferred}, orientation: {orientation} (q {row['orientation_q']:.1g})"


def evaluate_interactions(
    sites: pd.DataFrame,
    sequences: Letters,
    log_odds: LogOdds,
    attention: Attention,
    *,
    units: Units | None = None,
    least: float = MIN_EFFECT,
    palindromes: Collection[str] = (),
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test pairs of motifs for epistasis, spacing and orientation.

    Parameters
    ----------
    sites
        name, record, start, end (0-based half-open) and strand of all sites.
    sequences, log_odds
        As for `epistasis`.
    attention
        Function from pairs of sites to the attention between them, (n,), such as that of
        `attention_between`. It ranks the pairs of motifs if there are more than `MAX_PAIRS`.
    units
        Units of the records; single records by default.
    least
        Smallest epistasis that counts.
    palindromes
        Names of the motifs whose sites have no strand. Their pairs have no orientation.
    significance
        q-value threshold.
    seed
        Seed for sampled records, shuffles, random sites and permutations.

    Returns
    -------
    One row per tested pair of motifs, highest epistasis first, with the columns `COLUMNS`. A pair
    is tested in records with both motifs, at the two sites that are closest to each other. At most
    `MAX_PAIRS` pairs with at least `MIN_RECORDS` such records are tested: those with the highest
    attention relative to the mean at their distance.
    """
    rng = np.random.default_rng(seed)
    pairs, units = site_pairs(sites), units or Units.single(len(sequences))
    # the closest sites of each record and pair of motifs, because `pairs` is sorted by gap
    nearest = pairs.drop_duplicates(PAIR)
    nearest = nearest[nearest.groupby(NAMES)["record"].transform("size") >= MIN_RECORDS]
    nearest = _selected(nearest, attention)
    shuffled = nearest.iloc[rng.permutation(len(nearest))]
    sampled = shuffled.groupby(NAMES).head(MAX_RECORDS).sort_index()
    sampled = sampled.join(epistasis(sampled, sites, sequences, log_odds, rng))
    lengths = np.array([len(row) for row in sequences])
    rows: list[dict[Any, Any]] = []
    for (name_a, name_b), group in nearest.groupby(NAMES):
        tested = sampled[(sampled["name_a"] == name_a) & (sampled["name_b"] == name_b)]
        row = {"name_a": name_a, "name_b": name_b, "records": len(group), "tested": len(tested)}
        row |= {"attention": group["attention"].mean(), "closest": group["closest"].mean()}
        a, b = (sites[sites["name"] == name] for name in (name_a, name_b))
        row |= epistasis_tests(tested, rng, units.numbers[tested["record"]])
        preferred = spacing(a, b, lengths, rng, units)
        if preferred and (name_a in palindromes or name_b in palindromes):
            preferred |= {"orientation": "", "orientation_fold": np.nan, "orientation_p": np.nan}
        rows.append(row | preferred)
    table = pd.DataFrame(rows, columns=[*COLUMNS, "specific_se"]).astype({"specific_se": float})
    table["pairs_p"] = specific_p(table["specific"], table["specific_se"])
    table["p"] = table[["sites_p", "pairs_p"]].max(axis=1, skipna=False)
    for kind in ("", "spacing_", "orientation_"):
        table[f"{kind}q"] = q_values(table[f"{kind}p"].to_numpy(dtype=float))
    table["min_effect"] = least
    number = int(table["specific"].notna().sum())
    table["verdict"] = [verdict(row, least, significance) for row in table.to_dict("records")]
    table["lacks"] = [
        shortfall(row, least, significance, (number, len(table)), units.name)
        for row in table.to_dict("records")
    ]
    return table[COLUMNS].sort_values("epistasis", ascending=False, ignore_index=True)


def _selected(nearest: pd.DataFrame, attention: Attention) -> pd.DataFrame:
    """Select the pairs of motifs to test and add the column attention.

    The column is the attention between the two sites divided by the mean at their distance. The
    pairs of motifs with the highest mean are selected. For a network without attention the column
    is missing everywhere, and the pairs with most records are selected.
    """
    given = pd.Series(attention(nearest), index=nearest.index)
    expected = given.groupby(nearest["gap"] // BIN).transform("mean")
    nearest = nearest.assign(attention=given / expected.where(expected > 0))
    ranked = nearest.groupby(NAMES)["attention"].agg(["mean", "size"])
    ranked = ranked.sort_values(["mean", "size"], ascending=False)
    return nearest[nearest.set_index(NAMES).index.isin(ranked.index[:MAX_PAIRS])]


def epistasis_tests(
    pairs: pd.DataFrame, rng: np.random.Generator, units: Integers
) -> dict[str, float]:
    """Compare the mean epistasis of a pair of motifs with both controls.

    Returns sites_p and the columns of epistasis (compared with random sites), and specific, with
    its standard error (compared with the curve). A comparison with fewer than `MIN_RECORDS` units
    is missing. Also returns units, the number of units with random sites; the mean single effects;
    and their direction, 1 or -1 if the intervals of both are above or below 0, otherwise 0.
    """
    found: dict[str, float] = {"units": len(np.unique(units[pairs["matched"].notna()]))}
    for name in EFFECTS:
        found |= mean_effect(pairs[name].to_numpy(), rng.spawn(1)[0], name, units)
    ends = [found[f"{name}{end}"] for name in EFFECTS for end in ("_low", "_high")]
    found["direction"] = int(np.min(ends) > 0) - int(np.max(ends) < 0)
    for control, name in (("matched", "epistasis"), ("expected", "specific")):
        above = (pairs["epistasis"] - pairs[control]).to_numpy()
        known = ~np.isnan(above)
        if len(np.unique(units[known])) >= MIN_RECORDS:
            found |= mean_effect(above[known], rng, name, units[known])
            centred = above[known] - found[name]
            sums = np.bincount(np.unique(units[known], return_inverse=True)[1], centred)
            found[f"{name}_se"] = np.sqrt((sums**2).sum()) / known.sum()
    found["sites_p"] = found.pop("epistasis_p", np.nan)
    return found


def specific_p(specific: pd.Series, errors: pd.Series) -> Floats:
    """Return the p-value of the epistasis of each pair beyond that of the curve.

    No curve fits exactly. The misfit is estimated from all pairs of the model: the median size of
    their differences, which a few interactions change little, minus that due to their standard
    errors. With fewer than `MIN_PAIRS` pairs the p-values are missing.

    References
    ----------
    Efron 2004 (empirical null distribution).
    """
    number = int(specific.notna().sum())
    if number < MIN_PAIRS:
        return np.full(len(specific), np.nan)
    spread = (specific.abs().median() / norm.ppf(0.75)) ** 2
    misfit = max(0.0, spread - (errors**2).median())
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * t.sf(specific.abs() / np.sqrt(errors**2 + misfit), number)


def verdict(row: Row, least: float, significance: float) -> str:
    """Return one of `CLEAR`, or "inconclusive", for a row of `evaluate_interactions`.

    A clear epistasis with the sign of both single effects is "supported": the effect of both sites
    is larger than the sum. With the opposite sign it is "redundant". It is "non-additive" if the
    single effects have different signs, or one is unclear, because then neither word fits. The
    rules are in docs/interpretation_interactions.md.
    """
    smaller, larger = sorted((row["epistasis"], row["specific"]))
    if not (row["q"] < significance and (smaller >= least or larger <= -least)):
        return UNCLEAR
    return {1: CLEAR[0], -1: CLEAR[1], 0: CLEAR[2]}[np.sign(smaller) * row["direction"]]


def shortfall(
    row: Row, least: float, significance: float, pairs: tuple[int, int], unit: str
) -> str:
    """Return what an inconclusive pair lacks for another verdict; empty for other verdicts.

    `pairs` are the numbers of pairs that were compared with a curve, and of all. `unit` is the name
    of the units, whose note on few units is left out.
    """
    if row["verdict"] in CLEAR:
        return ""
    block = "choose a smaller [evaluation] block or " * unit.startswith("blocks")
    few_units = (
        f"no q value, because only {row['units']} of the {MIN_RECORDS} needed "
        f"{unit.split(' (')[0]} have both motifs and random positions: {block}add records"
    )
    few_pairs = (
        f"no q value, because only {pairs[0]} of the {MIN_PAIRS} needed pairs could be compared"
    )
    if np.isnan(row["sites_p"]) and pairs[1] < MIN_PAIRS:  # more units would not help
        return few_pairs
    if np.isnan(row["specific"]):  # too few units for either comparison
        return few_units
    reasons = [
        few if np.isnan(row[p]) else f"no difference from {others} shown"
        for p, few, others in (
            ("sites_p", few_units, "random positions"),
            ("pairs_p", few_pairs, "a curve over all motifs"),
        )
        if not row[p] < significance
    ]
    smaller, larger = sorted((row["epistasis"], row["specific"]))
    others = {
        "not significant over all pairs": not row["q"] < significance,
        "the two comparisons have opposite signs": smaller < 0 < larger,
        f"epistasis, or that beyond the curve, smaller than {least:.2g}": True,
    }
    return "; ".join(reasons) or next(reason for reason, holds in others.items() if holds)


def attention_between(scorer: Scorer, sequences: Letters) -> Attention:
    """Return a function from pairs of sites to the attention between the two sites, (n,).

    The attention is the mean over both directions and over members, layers and heads; 0 for a model
    without attention.

    Parameters
    ----------
    scorer
        The model.
    sequences
        ASCII letters, one array per record. `record` of a pair is an index into them.
    """

    def attention(pairs: pd.DataFrame) -> Floats:
        found = np.zeros(len(pairs))
        if not has_attention(scorer):
            return found
        rows_of = pairs.groupby("record").indices
        sites = pairs[SITES].to_numpy(dtype=np.int64)
        # by length, so that a batch needs little padding
        records: list[Any] = sorted(rows_of, key=lambda record: len(sequences[record]))
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            letters = pad_letters([sequences[record] for record in batch])
            reading = read_letters(scorer, letters, [""] * len(batch))
            # both sites of the first pair, then both of the second, and so on
            spans = [sites[rows_of[record]].reshape(-1, 2) for record in batch]
            for record, fractions in zip(batch, reading.between(spans), strict=True):
                both_ways = fractions[::2, 1::2] + fractions[1::2, ::2]
                found[rows_of[record]] = both_ways.diagonal() / 2
        return found

    return attention
