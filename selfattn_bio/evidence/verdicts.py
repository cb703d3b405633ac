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
  (`null_p`, `null_hits`). If many hits overlap those of stronger motifs, the other hits must have
  an effect as well (`_test_apart`).
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
from selfattn_bio.evidence.overlaps import MANY_NULLS, described_elsewhere, null_hits, overlaps
from selfattn_bio.evidence.positions import THIRDS, position_profile, strand_bias, thirds
from selfattn_bio.evidence.records import HeldOut, Scored, effect, mean_necessity, sufficiency
from selfattn_bio.motifs.patterns import one_per_site
from selfattn_bio.motifs.residues import consensus_of

TESTS = ("enrichment", "matched", "effect", "sufficiency", "position", "window", "strand", "thirds")
# all have to be significant for a motif to be supported
REQUIRED = ("enrichment_p", "matched_p", "effect_p")
NULL_P = 0.05  # fraction of permuted motifs that may have a larger necessity
# Fraction of hits that overlap stronger motifs from which a motif is tested without these hits.
# Hits of permuted motifs, with which all motifs are compared, overlap them less often.
SHARED = 0.25
# loss of score at the hits: minus that at control sites, and the loss alone
USES = {"effect": "effect", "necessity": "score change from shuffling its sites"}
# values of `lacks` of a motif whose effect is shown
NOT_MEASURED = "effect not measured"
NOT_ENRICHED = ("enrichment not shown", "no enrichment over matched records")


def tested(name: str) -> tuple[str, str]:
    """Return the columns of a test: p and q."""
    return f"{name}_p", f"{name}_q"


def estimated(name: str) -> tuple[str, str, str]:
    """Return the columns of an estimate: value, and ends of its interval."""
    return name, f"{name}_low", f"{name}_high"


# hits of a motif that overlap stronger motifs, and the effect of the others
APART = ["overlaps", "overlapping_hits", *estimated("effect_apart"), "necessity_apart"]
COLUMNS = [  # order in motifs.tsv
    *tested("enrichment"),
    *("odds_ratio", "positives_with_hit", "negatives_with_hit", "positives", "negatives"),
    *("difference", "records_with_hit", "records", "num_hits", "hit_p"),
    *("positives_with_consensus", "negatives_with_consensus", "records_with_consensus"),
    *estimated("effect"),
    *tested("effect"),
    *("effect_records", "effect_units", *APART),
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
    table = _test_apart(table, rows, hits, scored, seed)
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
) -> dict[str, Any]:
    """Compare the loss of score at the hits of a motif with those at hits of permuted motifs.

    Returns
    -------
    null_motifs: the number of permuted motifs with enough hits; null_necessity: the 95th percentile
    of their losses; null_p: the fraction of losses at least as large, the motif itself counted as
    one; null_passing: how many of them pass the tests of a supported motif, each at
    p < `significance`. If the motif lowers the score, rises take the place of losses. null_losses
    are all losses, or rises.
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
    return {
        "null_losses": losses,
        "null_motifs": len(losses),
        "null_necessity": direction * float(np.quantile(losses, 0.95)) if len(losses) else np.nan,
        "null_p": _null_p(losses, direction * row_of_motif["necessity"]),
        "null_passing": passing,
    }


def _null_p(losses: Floats, loss: float) -> float:
    """Return the fraction of losses at least as large as `loss`, which is counted as one."""
    return float((1 + (losses >= loss).sum()) / (1 + len(losses)))


def _test_apart(
    table: pd.DataFrame, rows: list[dict[str, Any]], hits: pd.DataFrame, scored: Scored, seed: int
) -> pd.DataFrame:
    """Test supported motifs again at the hits that overlap no hit of a stronger supported motif.

    A motif that the model does not use seems to have an effect if its hits overlap those of a used
    one. Only motifs with at least `SHARED` of their hits there are tested again. `rows` has the
    results for each row of the table, with null_losses.

    Returns
    -------
    The table with overlaps: the stronger motif whose hits are overlapped most often;
    overlapping_hits: the number of hits that overlap any stronger motif; and the columns
    effect_apart and necessity_apart of the other hits. Motifs without a clear effect there, or
    without more necessity than permuted motifs, become inconclusive.
    """
    table = table.assign(**dict.fromkeys(APART, np.nan) | {"overlaps": ""})
    sizes, stronger = table.loc[table["verdict"] == "supported", "effect"].abs(), hits[:0]
    for number in sizes.sort_values(ascending=False, kind="stable").index:
        row = rows[number]
        mine = hits[hits["name"] == row["name"]]
        shared = overlaps(mine, stronger)
        if shared.mean() >= SHARED:
            rng = np.random.default_rng((seed, number, 1))
            found = effect(mine[~shared], scored, rng, avoid=mine[shared])
            values = [found.get(of, np.nan) for of in (*estimated("effect"), "necessity")]
            most = stronger["name"][overlaps(stronger, mine)].mode()[0]
            table.loc[number, APART] = [most, overlaps(one_per_site(mine), stronger).sum(), *values]
            sign = np.sign(row["effect"])
            p = _null_p(row["null_losses"], sign * values[-1])
            if p > NULL_P or not all(_is_clear(found, of, sign, row["min_effect"]) for of in USES):
                table.loc[number, "verdict"] = "inconclusive"
                continue
        stronger = pd.concat([stronger, mine])
    return table


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
        reasons.append(NOT_MEASURED)
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
        elif row["overlaps"]:
            shared = f"{row['overlapping_hits']:.0f} of {row['num_hits']:.0f} hits overlap"
            reasons.append(f"not shown apart from sites of {row['overlaps']} ({shared})")
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
    direction, least = direction_of(row), row["min_effect"]
    is_clear = _is_clear(row, "marginal", direction, least) and direction * row["effect"] > -least
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
