"""Is a motif more than a guess? What speaks for it on records that neither the model nor the motif was found on, and the verdict.

Hides: which tests are run, and how many are allowed for. The `motifs` command calls `weigh_evidence`. The rules, with their reasons and
figures, stand in docs/interpretation_evidence.md; the tests in `associations` and `interventions`.

**supported**: hits are more frequent in positives than in negatives (enrichment), also than in negatives of their GC and length (matched);
and the model uses them: its log-odds fall when they are shuffled (fall), and more than when sites nearby are (effect), both by at least
`MIN_EFFECT`, with an interval above 0. Each with q < significance. **contradicted**: both are as clear, but negative: the hits make the
model doubt. All else is a **proposal**. The effect alone would not do: sites near a motif that means nothing fall on others that do.

**The unit of an effect.** A model that learnt nothing still reacts to letters: its own raw score falls when its own motifs are shuffled, so
any motif that it made up would pass a test on raw scores. Effects are therefore measured in logits times the slope that was fitted on valid
(`evaluation.calibration.fit_slope`), that is, in log-odds which held-out labels bear out. For a network that tells nothing about held-out
records, slope x spread of its scores is what chance gives, about 2 / sqrt(records of valid): .03 log-odds with 5,000, .2 with 100, and
its effects are no larger, however large its raw scores are. So a small valid side is weak ground for a verdict. An effect must also be
worth mentioning: at least `MIN_EFFECT` (0.1: the odds of a positive fall by a tenth), for with thousands of records a test of
"different from 0" alone finds anything. So a control supports nothing because its scores are worth nothing; how many motifs it makes up
without that, its proposals show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, spearmanr

from selfattn_bio.interpret.associations import enrichment, matched_enrichment, position_profile, strand_bias, strata_of
from selfattn_bio.interpret.hits import relevance_ranks
from selfattn_bio.interpret.interventions import MIN_EFFECT, MIN_RECORDS, LogOdds, effect, sufficiency
from selfattn_bio.interpret.matching import match_motifs
from selfattn_bio.sequence.alphabet import DNA, Alphabet
from selfattn_bio.sequence.shuffle import shuffle_letters

Letters = NDArray[np.uint8]
Find = Callable[[Sequence[Letters]], pd.DataFrame]  # sequences -> hits of all motifs, as `find_hits`

TESTS = ("enrichment", "matched", "shuffled", "effect", "sufficiency", "position", "window", "strand")
USES = ("effect", "fall")  # beside other sites, and by itself
FOUND_AGAIN_Q = 0.01
COLUMNS = [
    *("enrichment_p", "enrichment_q", "odds_ratio", "positives_with_hit", "negatives_with_hit", "num_hits"),
    *("effect", "effect_low", "effect_high", "effect_p", "effect_q", "effect_records", "fall", "fall_low", "fall_high", "verdict"),
    *("matched_p", "matched_q", "matched_odds_ratio", "shuffled_p", "shuffled_q", "shuffled_odds_ratio", "shuffled_with_hit"),
    *("sufficiency", "sufficiency_low", "sufficiency_high", "sufficiency_p", "sufficiency_q", "stability"),
    *("position_p", "position_q", "window_start", "window_end", "window_hits", "window_expected", "window_p", "window_q"),
    *("strand_plus", "strand_low", "strand_high", "strand_p", "strand_q"),
]


@dataclass(frozen=True)
class HeldOut:
    """Records to weigh motifs on.

    Attributes
    ----------
    sequences
        ASCII letters, one array a record.
    labels
        (n,) 1 = positive, 0 = negative.
    alphabet
        Of the letters.
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
    """Test each motif.

    Parameters
    ----------
    ppms
        Name -> (width, A) probabilities, in order.
    find
        Sequences -> hits (name, record, start, end, strand, p_value) of the motifs, as `find_hits`.
    held_out
        The records.
    log_odds
        Sequences -> (n,) log-odds of a positive, but for a constant (`Scorer.log_odds`), or (n, M) of each member.
    window
        Where in a record hits are expected, as of `position_profile`; the fullest window if not given.
    significance
        q below which a test counts.
    seed
        Of shuffles, matched sites, resampling.

    Returns
    -------
    One row a motif, in the order given: name and `COLUMNS`, as docs/interpretation_evidence.md lists them. q is Benjamini-Hochberg over the
    motifs. What cannot be told is missing, as an effect is with fewer than `MIN_RECORDS` records with a hit.
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


def _shuffled_positives(held_out: HeldOut, rng: np.random.Generator) -> tuple[list[Letters], NDArray[np.int64]]:
    """The positives, and then each with its letters in another order: of DNA with the same dinucleotides; with their labels 1 and 0."""
    positives = [row for row, label in zip(held_out.sequences, held_out.labels, strict=True) if label == 1]
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


def found_again(ppms: Mapping[str, NDArray[np.float64]], others: Sequence[Mapping[str, NDArray[np.float64]]]) -> pd.Series:
    """Of each motif the share of other searches, as of models of other seeds, in which one like it was found: Tomtom q < `FOUND_AGAIN_Q`.

    Parameters
    ----------
    ppms
        Name -> (width, 4) probabilities.
    others
        The motifs of each other search, likewise. q is over the motifs of a search.
    """
    found = [match_motifs(ppms, other)["match_q"].lt(FOUND_AGAIN_Q) for other in others]
    return pd.Series(np.mean(found, axis=0) if found else np.nan, index=list(ppms), name="found_again", dtype=float)


def agreement(hits: pd.DataFrame, one: Mapping[int, NDArray[np.float32]], other: Mapping[int, NDArray[np.float32]]) -> dict[str, float]:
    """Do two methods look at the same hits? Spearman's rho of the ranks that they give the hits of each motif in their records.

    Parameters
    ----------
    hits
        As of `find_hits`.
    one, other
        Record -> importance per letter, (L,), by each method; hits on records that one of them lacks are left out.

    Returns
    -------
    Motif -> rho; of motifs with at least `MIN_RECORDS` hits, to which neither method gives all the same rank: that has no correlation.
    """
    both = hits[hits["record"].isin(one.keys() & other.keys())]
    first, second = relevance_ranks(both, one), relevance_ranks(both, other)
    groups = [(name, (both["name"] == name).to_numpy()) for name in both["name"].unique()]
    told = [(name, first[mine], second[mine]) for name, mine in groups if mine.sum() >= MIN_RECORDS]
    return {name: float(spearmanr(*ranks).statistic) for name, *ranks in told if min(map(np.ptp, ranks)) > 0}


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg over the p that are there; missing ones stay missing and do not count."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def verdict(row: Mapping[Any, Any], significance: float) -> str:
    """supported, contradicted or proposal, as the module says."""
    if not row["effect_q"] < significance:  # also where it is missing
        return "proposal"
    if all(row[name] <= -MIN_EFFECT and row[f"{name}_high"] < 0 for name in USES):
        return "contradicted"
    used = all(row[name] >= MIN_EFFECT and row[f"{name}_low"] > 0 for name in USES)
    return "supported" if used and max(row["enrichment_q"], row["matched_q"]) < significance else "proposal"
