"""Weigh the evidence for each motif on held-out records.

These records were used neither to train the model nor to find the motif.

docs/interpretation_evidence.md lists the tests and the rules of the verdict, with reasons and
figures. The tests are in `associations` and `interventions`.

- **supported**: hits are more frequent in positives than in negatives (enrichment), also compared
  with negatives of the same GC content and length (matched), and the model uses the hits: log-odds
  fall when they are shuffled (fall), and fall more than when nearby control sites are shuffled
  (effect). `enrichment_q`, `matched_q` and `effect_q` are below the significance. fall and effect
  are at least `MIN_EFFECT`, with intervals above 0.
- **contradicted**: `effect_q` is below the significance, but fall and effect are at most
  -`MIN_EFFECT`, with intervals below 0: the hits lower the score.
- **inconclusive**: all other motifs.

effect alone is not enough, because control sites near a meaningless motif may overlap meaningful
ones.

**The unit of an effect.** Even a model that learned nothing reacts to its input: its raw score
falls when its own motifs are shuffled, so meaningless motifs would pass a test on raw scores.
Effects are therefore logits times the slope fitted on the validation set
(`evaluation.calibration.fit_platt`), that is, log-odds confirmed by held-out labels. For a network
that predicts nothing on held-out records, slope times standard deviation of the scores is due to
chance, about 2 / sqrt(validation records): 0.03 log-odds with 5,000 records and 0.2 with 100. Its
effects are no larger, whatever the size of its raw scores. A verdict from a small validation set is
therefore unreliable. An effect must also be at least `MIN_EFFECT` (0.1: the odds of a positive fall
by a tenth), because with thousands of records even a tiny effect is significant. A control with
shuffled labels may have motifs, but none of them is supported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, spearmanr

from selfattn_bio.interpret.associations import (
    enrichment,
    matched_enrichment,
    position_profile,
    strand_bias,
    strata_of,
)
from selfattn_bio.interpret.hits import attribution_ranks
from selfattn_bio.interpret.interventions import (
    MIN_EFFECT,
    MIN_RECORDS,
    LogOdds,
    effect,
    sufficiency,
)
from selfattn_bio.sequence.alphabet import DNA, Alphabet
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
# sequences to hits of all motifs, as `find_hits`
Find = Callable[[Sequence[Letters]], pd.DataFrame]

TESTS = (
    "enrichment",
    "matched",
    "shuffled",
    "effect",
    "sufficiency",
    "position",
    "window",
    "strand",
)
# loss of log-odds at the hits: minus that at control sites, and the loss alone
USES = ("effect", "fall")


def tested(name: str) -> tuple[str, str]:
    """Return the columns of a test: p and q."""
    return f"{name}_p", f"{name}_q"


def estimated(name: str) -> tuple[str, str, str]:
    """Return the columns of an estimate: value, and ends of its interval."""
    return name, f"{name}_low", f"{name}_high"


COLUMNS = [  # order in motifs.tsv
    *tested("enrichment"),
    "odds_ratio",
    "positives_with_hit",
    "negatives_with_hit",
    "num_hits",
    *estimated("effect"),
    *tested("effect"),
    "effect_records",
    *estimated("fall"),
    "verdict",
    *tested("matched"),
    "matched_odds_ratio",
    *tested("shuffled"),
    "shuffled_odds_ratio",
    "shuffled_with_hit",
    *estimated("sufficiency"),
    *tested("sufficiency"),
    "stability",
    *tested("position"),
    "window_start",
    "window_end",
    "window_hits",
    "window_expected",
    *tested("window"),
    *("strand_plus", "strand_low", "strand_high"),
    *tested("strand"),
]


@dataclass(frozen=True)
class HeldOut:
    """Records for testing motifs.

    Attributes
    ----------
    sequences
        ASCII letters, one array per record.
    labels
        (n,) 1 = positive, 0 = negative.
    alphabet
        Alphabet of the sequences.
    """

    sequences: Sequence[Letters]
    labels: NDArray[np.int64]
    alphabet: Alphabet = DNA


def weigh_evidence(
    ppms: Mapping[str, NDArray[np.float64]],
    find: Find,
    held_out: HeldOut,
    log_odds: LogOdds,
    *,
    window: tuple[int, int] | None = None,
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test each motif and decide its verdict.

    Parameters
    ----------
    ppms
        Motif name to (width, A) probabilities, in order.
    find
        Function from sequences to hits of the motifs (name, record, start, end, strand, p_value),
        as `find_hits`.
    held_out
        The records.
    log_odds
        Function from sequences to (n,) log-odds of a positive, up to a constant
        (`Scorer.log_odds`), or to (n, M) for M members.
    window
        Expected positions of hits, as in `position_profile`; the fullest window if not given.
    significance
        q-value threshold.
    seed
        Seed for shuffles, control sites and resampling.

    Returns
    -------
    One row per motif, in the given order: name and `COLUMNS`, described in
    docs/interpretation_evidence.md. q-values are Benjamini-Hochberg over the motifs. Values that
    cannot be computed are missing, for example the effect of a motif with hits in fewer than
    `MIN_RECORDS` records.
    """
    hits = find(held_out.sequences)
    strata = strata_of(held_out.sequences, held_out.alphabet)
    shuffled, labels = _shuffled_positives(held_out, np.random.default_rng((seed, len(ppms))))
    shuffled_hits = find(shuffled)
    lengths = np.array([len(row) for row in held_out.sequences])
    positive = held_out.labels == 1
    rows = []
    for number, (name, ppm) in enumerate(ppms.items()):
        rng = np.random.default_rng((seed, number))
        mine, in_shuffled = hits[hits["name"] == name], shuffled_hits[shuffled_hits["name"] == name]
        of_positives = mine[positive[mine["record"].to_numpy(dtype=int)]]
        rows.append(
            {
                "name": name,
                **enrichment(mine, held_out.labels),
                **effect(mine, held_out.sequences, log_odds, rng),
                **matched_enrichment(mine, held_out.labels, strata),
                **_against_shuffled(in_shuffled, labels),
                **sufficiency(of_positives, held_out.sequences, log_odds, rng),
                **position_profile(of_positives, lengths, window, rng),
                **strand_bias(of_positives, ppm, rng),
            }
        )
    table = pd.DataFrame(rows, columns=["name", *COLUMNS])
    for test in TESTS:
        table[f"{test}_q"] = q_values(table[f"{test}_p"].to_numpy(dtype=float))
    table["verdict"] = [verdict(row, significance) for row in table.to_dict("records")]
    return table


def _shuffled_positives(
    held_out: HeldOut, rng: np.random.Generator
) -> tuple[list[Letters], NDArray[np.int64]]:
    """Return the positives followed by a shuffle of each, with labels 1 and 0.

    DNA is shuffled with the same dinucleotide counts.
    """
    positives = [
        row for row, label in zip(held_out.sequences, held_out.labels, strict=True) if label == 1
    ]
    k = 2 if held_out.alphabet.has_complement else 1
    shuffled = [shuffle_letters(row, k, rng) for row in positives]
    return positives + shuffled, np.repeat([1, 0], len(positives))


def _against_shuffled(hits: pd.DataFrame, labels: NDArray[np.int64]) -> dict[str, float]:
    found = enrichment(hits, labels)
    return {
        "shuffled_p": found["enrichment_p"],
        "shuffled_odds_ratio": found["odds_ratio"],
        "shuffled_with_hit": found["negatives_with_hit"],
    }


def agreement(
    hits: pd.DataFrame,
    one: Mapping[int, NDArray[np.float32]],
    other: Mapping[int, NDArray[np.float32]],
) -> dict[str, float]:
    """Compare how two attribution methods rank the hits of each motif, by Spearman's rho.

    Parameters
    ----------
    hits
        Table of `find_hits`.
    one, other
        Record to attribution per letter, (L,), by each method. Hits on records missing from either
        are left out.

    Returns
    -------
    Motif name to rho, for motifs with at least `MIN_RECORDS` hits. Motifs whose hits all have the
    same rank by either method are left out, because the correlation is undefined.
    """
    both = hits[hits["record"].isin(one.keys() & other.keys())]
    first, second = attribution_ranks(both, one), attribution_ranks(both, other)
    groups = [(name, (both["name"] == name).to_numpy()) for name in both["name"].unique()]
    tested = [
        (name, first[mine], second[mine]) for name, mine in groups if mine.sum() >= MIN_RECORDS
    ]
    return {
        name: float(spearmanr(*ranks).statistic)
        for name, *ranks in tested
        if min(map(np.ptp, ranks)) > 0
    }


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Benjamini-Hochberg q-values; missing p-values stay missing and are not counted."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def num_supported(motifs: pd.DataFrame) -> int:
    """Count the rows with the verdict "supported"."""
    return int((motifs["verdict"] == "supported").sum())


def verdict(row: Mapping[Any, Any], significance: float) -> str:
    """Return "supported", "contradicted" or "inconclusive" (rules: module docstring)."""
    if not row["effect_q"] < significance:  # also true if missing
        return "inconclusive"
    if all(row[name] <= -MIN_EFFECT and row[f"{name}_high"] < 0 for name in USES):
        return "contradicted"
    used = all(row[name] >= MIN_EFFECT and row[f"{name}_low"] > 0 for name in USES)
    return (
        "supported"
        if used and max(row["enrichment_q"], row["matched_q"]) < significance
        else "inconclusive"
    )
