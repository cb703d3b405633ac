"""Weigh the evidence for each motif on held-out records.

These records were used neither to train the model nor to find the motif.

docs/interpretation_evidence.md lists the tests and the rules of the verdict, with reasons and
figures. The tests are in `associations` and `records`.

For a class or label:

- **supported**: hits are more frequent in positives than in negatives (enrichment), also compared
  with negatives of the same GC content and length (matched), and log-odds fall more when hits are
  shuffled than when nearby control sites are (effect). `support_q`, of the largest p-value of the
  three, is below the significance. effect and necessity, the loss of log-odds at the hits alone,
  are at least `MIN_EFFECT`, with intervals above 0. And necessity exceeds that of permuted motifs
  (`null_p`, `null_hits`).
- **contradicted**: `support_q` is below the significance, but necessity and effect are at most
  -`MIN_EFFECT`, with intervals below 0: the hits are enriched, but lower the score.
- **inconclusive**: all other motifs. `lacks` says why.

For a number, records with a hit have higher or lower values than others (enrichment, also compared
with records of the same GC content and length), and the prediction falls or rises accordingly when
hits are shuffled. A motif is inconclusive if ranks and means, in all records and in those matched,
do not change in the same direction. Effects are in the unit of the number, and at least
`MIN_EFFECT` of its standard deviation. A motif is contradicted if all three tests are significant,
but the prediction changes in the other direction.

effect alone is not enough, because control sites near a meaningless motif may overlap meaningful
ones.

**The unit of an effect.** Even a model that learned nothing reacts to its input: its raw score
falls when its own motifs are shuffled, so meaningless motifs would pass a test on raw scores.
Effects are therefore logits times the slope fitted on the validation set
(`evaluation.calibration.fit_platt`), that is, log-odds confirmed by held-out labels. Other models
than binary ones have no such slope, so it is fitted on the records of the evidence
(`HeldOut.slope`), and effects in the unit of a number are treated in the same way. For a network
that predicts nothing on held-out records, slope times standard deviation of the scores is due to
chance, about 2 / sqrt(validation records): 0.03 log-odds with 5,000 records and 0.2 with 100. Its
effects are no larger, whatever the size of its raw scores. A verdict from a small validation set is
therefore unreliable. An effect must also be at least `MIN_EFFECT` (0.1: the odds of a positive fall
by a tenth), because with thousands of records even a tiny effect is significant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from selfattn_bio.arrays import Floats
from selfattn_bio.evidence.positions import MIN_SITES, THIRDS, position_profile, strand_bias, thirds
from selfattn_bio.evidence.records import (
    FEWER_RECORDS,
    HeldOut,
    Scored,
    effect,
    mean_necessity,
    sufficiency,
)
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.motifs.patterns import one_per_site
from selfattn_bio.motifs.residues import consensus_of

TESTS = ("enrichment", "matched", "effect", "sufficiency", "position", "window", "strand", "thirds")
# all have to be significant for a motif to be supported
REQUIRED = ("enrichment_p", "matched_p", "effect_p")
NULL_P = 0.05  # fraction of permuted motifs that may have a larger necessity
# loss of score at the hits: minus that at control sites, and the loss alone
USES = {"effect": "effect", "necessity": "score change from shuffling its sites"}
# values of `lacks` of a motif whose effect is shown
NOT_ENRICHED = ("enrichment not shown", "no enrichment over matched records")


def tested(name: str) -> tuple[str, str]:
    """Return the columns of a test: p and q."""
    return f"{name}_p", f"{name}_q"


def estimated(name: str) -> tuple[str, str, str]:
    """Return the columns of an estimate: value, and ends of its interval."""
    return name, f"{name}_low", f"{name}_high"


COLUMNS = [  # order in motifs.tsv
    *tested("enrichment"),
    *("odds_ratio", "positives_with_hit", "negatives_with_hit", "positives", "negatives"),
    *("difference", "records_with_hit", "records", "num_hits", "hit_p"),
    *("positives_with_consensus", "negatives_with_consensus", "records_with_consensus"),
    *estimated("effect"),
    *tested("effect"),
    "effect_records",
    "effect_units",
    *estimated("necessity"),
    "support_q",
    *("null_motifs", "null_necessity", "null_p", "null_passing"),
    *("verdict", "lacks", "unit", "min_effect"),
    *tested("matched"),
    *("matched_odds_ratio", "matched_difference"),
    *estimated("sufficiency"),
    *tested("sufficiency"),
    "stability",
    *tested("position"),
    *("window_start", "window_end", "window_hits", "window_expected"),
    *tested("window"),
    *("strand_plus", "strand_low", "strand_high"),
    *tested("strand"),
    *(*THIRDS, *tested("thirds")),
]


def weigh_evidence(
    ppms: Mapping[str, Floats],
    num_sites: Mapping[str, int],
    hits: pd.DataFrame,
    scored: Scored,
    limits: Mapping[str, float],
    *,
    window: tuple[int, int] | None = None,
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each motif and decide its verdict.

    Parameters
    ----------
    ppms, num_sites, hits
        Arguments of `matching.find_hits` for the records, and its result.
    scored
        The records, and a function from inputs of the model to calibrated scores, up to a constant,
        in `HeldOut.unit`, such as `Scorer.log_odds`.
    limits
        p-value below which a match of each motif is a hit.
    window
        Expected positions of hits, as in `position_profile`; the fullest window if not given.
    significance
        q-value threshold.
    seed
        Seed for shuffles, control sites, permuted motifs and resampling.

    Returns
    -------
    One row per motif, in the given order: name and `COLUMNS`, described in
    docs/interpretation_evidence.md; those of enrichment are missing for the other kind of records.
    q-values are Benjamini-Hochberg over the motifs. Values that
    cannot be computed are missing, for example the effect of a motif with hits in fewer than
    `MIN_RECORDS` records.
    """
    held_out = scored.held_out
    lengths = np.array([len(row) for row in held_out.sequences])
    rows = []
    for number, (name, ppm) in enumerate(ppms.items()):
        rng = np.random.default_rng((seed, number))
        mine, hit_p = hits[hits["name"] == name], limits[name]
        nulls = null_hits(ppm, num_sites[name], mine, held_out, hit_p, rng)
        described = mine[mine["record"].isin(held_out.described) & (mine["p_value"] < hit_p)]
        elsewhere = described_elsewhere(nulls, held_out, hit_p)
        if pd.concat(elsewhere)["record"].nunique() < described["record"].nunique():
            of_more = np.random.default_rng((seed, number, MANY_NULLS))
            more = null_hits(ppm, num_sites[name], mine, held_out, hit_p, of_more, MANY_NULLS)
            elsewhere = described_elsewhere(more, held_out, hit_p)
        row = {
            "name": name,
            "unit": held_out.unit,
            "min_effect": held_out.least,
            "hit_p": hit_p,
            "num_hits": len(one_per_site(mine)),
            **held_out.associations(mine),
            **_exact_matches(ppm, held_out),
            **effect(mine, scored, rng),
            **sufficiency(described, scored, rng),
            **position_profile(described, elsewhere, lengths, window, rng, held_out.units),
            **strand_bias(described, ppm, rng, held_out.alphabet, held_out.units),
        }
        if _passes(row, held_out, significance):
            row |= _against_nulls(row, nulls, scored, significance, rng)
        row |= thirds(mine, held_out.truth, lengths, rng, held_out.units)
        rows.append(row)
    table = pd.DataFrame(rows, columns=["name", *COLUMNS])
    for test in TESTS:
        table[f"{test}_q"] = q_values(table[f"{test}_p"].to_numpy(dtype=float))
    table["support_q"] = q_values(table[list(REQUIRED)].max(axis=1, skipna=False).to_numpy(float))
    table["verdict"] = [
        verdict({**found, **row}, held_out, significance)
        for found, row in zip(rows, table.to_dict("records"), strict=True)
    ]
    table["lacks"] = [shortfall(row, significance) for row in table.to_dict("records")]
    return table


def _exact_matches(ppm: Floats, held_out: HeldOut) -> dict[str, float]:
    """Count the records that the consensus of a protein motif (width, 20) matches exactly."""
    if held_out.alphabet.is_nucleic:
        return {}
    pattern = re.compile(consensus_of(ppm).encode())
    rows = [row for row, of in enumerate(held_out.sequences) if pattern.search(of.tobytes())]
    found = held_out.associations(pd.DataFrame({"record": rows}))
    return {name[:-3] + "consensus": of for name, of in found.items() if name.endswith("_hit")}


def _against_nulls(
    row_of_motif: Mapping[str, Any],
    nulls: Sequence[pd.DataFrame],
    scored: Scored,
    significance: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Compare the loss of score at the hits of a motif with those at hits of permuted motifs.

    Returns
    -------
    null_motifs: the number of permuted motifs with enough hits; null_necessity: the 95th percentile
    of their losses; null_p: the fraction of losses at least as large, the motif itself counted as
    one; null_passing: how many of them pass the tests of a supported motif, each at
    p < `significance`. If the motif lowers the score, rises take the place of losses.
    """
    held_out = scored.held_out
    apart = [each[each["apart"]] for each in nulls]
    losses = np.array([mean_necessity(each, scored, rng) for each in apart])
    passing = 0
    for hits, loss in zip(apart, losses, strict=True):
        row = held_out.associations(hits)
        # the effect takes longer than the other tests
        if (
            held_out.direction(row) * loss >= held_out.least
            and max(row["enrichment_p"], row["matched_p"]) < significance
        ):
            passing += _passes(row | effect(hits, scored, rng), held_out, significance)
    direction = held_out.direction(row_of_motif)
    losses = direction * losses[~np.isnan(losses)]
    as_large = losses >= direction * row_of_motif["necessity"]
    return {
        "null_motifs": len(losses),
        "null_necessity": direction * float(np.quantile(losses, 0.95)) if len(losses) else np.nan,
        "null_p": float((1 + as_large.sum()) / (1 + len(losses))),
        "null_passing": passing,
    }


def q_values(p: Floats) -> Floats:
    """Return Benjamini-Hochberg q-values; missing p-values stay missing and are not counted."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def verdict(row: Mapping[Any, Any], held_out: HeldOut, significance: float) -> str:
    """Return "supported", "contradicted" or "inconclusive" (rules: module docstring)."""
    if not row["support_q"] < significance:
        return "inconclusive"
    if _uses(row, held_out, against=True):
        return "contradicted"
    exceeds_nulls = row["null_p"] <= NULL_P  # false if missing
    return "supported" if _uses(row, held_out) and exceeds_nulls else "inconclusive"


def shortfall(row: Mapping[Any, Any], significance: float) -> str:
    """Return what an inconclusive motif lacks for support; empty for other verdicts."""
    if row["verdict"] != "inconclusive":
        return ""
    reasons = []
    if not row["enrichment_q"] < significance:  # also true if missing
        reasons.append(NOT_ENRICHED[0])
    elif not row["matched_q"] < significance:
        reasons.append(NOT_ENRICHED[1])
    small = [name for of, name in USES.items() if abs(row[of]) < row["min_effect"]]
    unclear = [name for of, name in USES.items() if row[f"{of}_low"] <= 0 <= row[f"{of}_high"]]
    if pd.isna(row["effect_q"]):
        reasons.append("effect not measured")
    elif not row["effect_q"] < significance:
        reasons.append("effect not shown")
    elif small:
        reasons.append(f"{small[0]} smaller than {row['min_effect']:.2g}")
    elif unclear:
        reasons.append(f"interval of the {unclear[0]} includes 0")
    elif row["effect"] * row["necessity"] < 0:
        reasons.append(f"effect and {USES['necessity']} have opposite signs")
    if not reasons:
        if not row["support_q"] < significance:
            reasons.append("not shown by all tests together")
        elif pd.isna(row["null_p"]):  # not compared, because the records have no clear direction
            reasons.append("unclear whether records with a site have higher or lower numbers")
        elif 1 / (1 + row["null_motifs"]) > NULL_P:
            reasons.append("too few sites of permuted motifs to compare with")
        else:
            reasons.append("permuted motifs have such effects")
    return "; ".join(reasons)


def is_unclear(row: Mapping[Any, Any]) -> bool:
    """Return whether 0 is in the interval of effect or necessity, or between the two."""
    ends = [row[column] for name in USES for column in estimated(name)[1:]]
    return bool(min(ends) <= 0 <= max(ends))


def acts_alone(row: Mapping[Any, Any], significance: float) -> bool:
    """Return whether only the effect is not shown, but the motif clearly changes the score alone.

    `why_alone` says why.
    """
    is_clear = _is_clear(row, "marginal", direction_of(row), row["min_effect"])
    return is_clear and shortfall(row, significance) == "effect not shown"


def why_alone(row: Mapping[Any, Any]) -> str:
    """Explain why the effect of a motif that `acts_alone` may not be shown.

    Shuffling keeps the letters of a site, so a motif of a certain composition has a small effect.
    If the intervals of effect and sufficiency, both compared with shuffled sites, show that less
    than half of the effect alone is due to the order, this is stated. If shuffling the sites does
    change the score, the control sites nearby cancel the effect.
    """
    direction, least = direction_of(row), row["min_effect"]
    of_control = direction * (row["necessity"] - row["effect"])
    if _is_clear(row, "necessity", direction, least) and of_control >= least:
        return (
            "Shuffling its sites changes the score, but so does shuffling sites nearby (the "
            "control). They may overlap other motifs, or the model may read the whole region."
        )
    tests = ("effect", "sufficiency", "marginal")
    *of_order, low, high = (abs(row[end]) for name in tests for end in estimated(name)[1:])
    if np.max(of_order) < min(low, high) / 2:  # false if one is missing
        return (
            "The model reacts mainly to the composition of the motif, not to its order: shuffled "
            "sites act almost like intact ones, so effects compared with them are small."
        )
    return "Shuffling keeps the composition of a site, so the effect may be too small to show."


def direction_of(row: Mapping[Any, Any]) -> int:
    """Return 1, or -1 if records with a site have lower numbers than matched ones."""
    return -1 if row["matched_difference"] < 0 else 1


def _is_clear(row: Mapping[Any, Any], name: str, direction: float, least: float) -> bool:
    """Return whether an estimate is at least `least` in a direction, and its interval above 0."""
    value, *ends = (direction * row.get(column, np.nan) for column in estimated(name))
    return value >= least and min(ends) > 0


def _uses(row: Mapping[Any, Any], held_out: HeldOut, *, against: bool = False) -> bool:
    """Return whether the model clearly uses the hits as the records do, or `against` them."""
    direction = held_out.direction(row) * (-1 if against else 1)
    return all(_is_clear(row, name, direction, held_out.least) for name in USES)


def _passes(row: Mapping[Any, Any], held_out: HeldOut, significance: float) -> bool:
    """Return whether the model uses the hits, and all required tests of it are significant."""
    return _uses(row, held_out) and max(row[name] for name in REQUIRED) < significance


# Permuted motifs for each motif. At least 19 need enough hits: the rank among fewer cannot be .05.
NULLS = 20
MANY_NULLS = 200  # of a motif whose positions have fewer hits of permuted motifs than of its own
# Windows that match as well as a hit, for each of these records. In small sets this needs a higher
# p-value threshold than that of the motif.
CANDIDATES = 10


def null_hits(
    ppm: Floats,
    num_sites: int,
    own: pd.DataFrame,
    held_out: HeldOut,
    hit_p: float,
    rng: np.random.Generator,
    number: int = NULLS,
) -> list[pd.DataFrame]:
    """Find the hits of a number of motifs whose columns are those of a motif in random order.

    They have its composition and information content, so their hits and effects show what the tests
    find without a motif.

    Parameters
    ----------
    ppm, num_sites
        (width, A) probabilities of the motif, and its number of sites.
    own
        Hits of the motif itself in the records.
    held_out
        The records.
    hit_p
        As for `matching.find_hits`.

    Returns
    -------
    A table of hits as from `find_hits` for each permuted motif, with a column apart: whether the
    hit overlaps none of the motif. Hits have p-values below `hit_p`. If those apart are in fewer
    than `FEWER_RECORDS` records, the next best hits are added.
    """
    orders = [rng.permutation(len(ppm)) for _ in range(number)]
    # the order of the motif itself, one of 24 for four columns, is no control
    orders = [np.roll(order, 1) if (np.diff(order) == 1).all() else order for order in orders]
    nulls = {str(index): ppm[order] for index, order in enumerate(orders)}
    alphabet = held_out.alphabet
    ends = np.cumsum([len(row) for row in held_out.sequences])
    loose_p = min(CANDIDATES * FEWER_RECORDS / (ends[-1] * (1 + alphabet.has_complement)), 1.0)
    sites = dict.fromkeys(nulls, num_sites)
    found = find_hits(nulls, sites, held_out.sequences, max(hit_p, loose_p), alphabet)
    first = np.concatenate(([0], ends[:-1]))
    # all hits have the same width, so they overlap if their starts differ by less
    own_starts = np.sort(first[own["record"]] + own["start"].to_numpy())
    start = first[found["record"]] + found["start"].to_numpy()
    before = np.searchsorted(own_starts, start - len(ppm), "right")
    found = found.assign(apart=np.searchsorted(own_starts, start + len(ppm)) == before)
    by_name = dict(iter(found.groupby("name")))
    return [_best(by_name.get(name, found[:0]), hit_p) for name in nulls]


def _best(hits: pd.DataFrame, hit_p: float) -> pd.DataFrame:
    """Keep hits below `hit_p`, or up to the best `FEWER_RECORDS` records with hits apart."""
    best = hits[hits["apart"]].groupby("record")["p_value"].min().to_numpy()
    of_records = np.sort(best)[:FEWER_RECORDS]
    limit = max(hit_p, of_records.max(initial=0.0))
    return hits[hits["p_value"] <= limit]


def described_elsewhere(
    nulls: Sequence[pd.DataFrame], held_out: HeldOut, hit_p: float
) -> list[pd.DataFrame]:
    """Return the hits of permuted motifs with which the positions of a motif are compared.

    They are in described records and overlap no hit of the motif, because others are where the
    motif is. If fewer than `MIN_SITES` records have a hit, the next best matches are added up to
    that number: permuted motifs are that rare if only the best matches of a motif are hits.
    """
    apart = [each[each["apart"] & each["record"].isin(held_out.described)] for each in nulls]
    best = pd.concat(apart).groupby("record")["p_value"].min().nsmallest(MIN_SITES)
    limit = np.fmax(np.nextafter(hit_p, 0), best.max())  # without a match, the first
    return [each[each["p_value"] <= limit] for each in apart]
