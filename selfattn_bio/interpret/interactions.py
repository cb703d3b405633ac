"""Find pairs of motifs that a model reads together.

Attention selects pairs of sites and interventions test them.

A pair of motifs is compared with random sites and with other motifs at the same distance in the
same records (`interpret.epistasis`). Two arbitrary sites can have some epistasis, and a non-linear
function of the summed motif effects gives epistasis to all pairs.

The rules of the verdict are in docs/interpretation_interactions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.batches import pad_letters
from selfattn_bio.interpret.attribution import BATCH, attnlrp_importance
from selfattn_bio.interpret.epistasis import (
    NAMES,
    PAIR,
    SITES,
    Letters,
    LogOdds,
    epistasis,
    site_pairs,
)
from selfattn_bio.interpret.evidence import q_values
from selfattn_bio.interpret.hits import NUM_SITES, find_hits, relevant_hits
from selfattn_bio.interpret.interventions import MIN_EFFECT, mean_effect
from selfattn_bio.interpret.readout import has_attention, read_letters
from selfattn_bio.interpret.spacing import BIN, spacing
from selfattn_bio.motifs import read_meme
from selfattn_bio.scoring.scorer import Scorer

Attention = Callable[[pd.DataFrame], NDArray[np.float64]]

MIN_RECORDS = 20  # with both motifs
MAX_RECORDS = 60  # per pair of motifs, sampled at random, for the interventions
MAX_PAIRS = 20  # pairs of motifs tested
# records with hits of two motifs for which attributions are computed, sampled at random
MAX_SEARCHED = 1000
COLUMNS = [
    *(
        "name_a",
        "name_b",
        "records",
        "tested",
        "epistasis",
        "epistasis_low",
        "epistasis_high",
        "specific",
        "sites_p",
        "pairs_p",
        "p",
        "q",
    ),
    *(
        "attention",
        "closest",
        "spacings",
        "spacing_start",
        "spacing_end",
        "spacing_fold",
        "spacing_p",
        "spacing_q",
    ),
    *("orientation", "orientation_fold", "orientation_p", "orientation_q", "verdict"),
]


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
        As for `epistasis`; `sites` also needs the columns name and strand.
    attention
        Function from pairs of sites to (n,) attention between them (`attention_between`). If there
        are more than `MAX_PAIRS` pairs of motifs, those with the highest attention are tested,
        relative to all pairs at their distance.
    significance
        q-value threshold.
    seed
        Seed for sampled records, shuffles, random sites and permutations.

    Returns
    -------
    One row per pair of motifs with at least `MIN_RECORDS` records, highest epistasis first, with
    the columns `COLUMNS`. The closest pair of sites of each record is used.
    """
    rng = np.random.default_rng(seed)
    pairs = site_pairs(sites)
    nearest = pairs.drop_duplicates(PAIR)  # sorted by gap within each
    nearest = nearest[nearest.groupby(NAMES)["record"].transform("size") >= MIN_RECORDS]
    nearest = _proposed(nearest, attention)
    drawn = (
        nearest.iloc[rng.permutation(len(nearest))].groupby(NAMES).head(MAX_RECORDS).sort_index()
    )
    drawn = drawn.join(epistasis(drawn, sites, sequences, log_odds, rng, draws=1))
    by_name: dict[Any, pd.DataFrame] = dict(list(sites.groupby("name")))
    lengths = np.array([len(row) for row in sequences])
    rows: list[dict[Any, Any]] = []
    for (name_a, name_b), group in nearest.groupby(NAMES):
        mine = drawn[(drawn["name_a"] == name_a) & (drawn["name_b"] == name_b)]
        about = {"name_a": name_a, "name_b": name_b, "records": len(group), "tested": len(mine)}
        about |= {"attention": group["attention"].mean(), "closest": group["closest"].mean()}
        rows.append(
            about | _tests(mine, rng) | spacing(by_name[name_a], by_name[name_b], lengths, rng)
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    for kind in ("", "spacing_", "orientation_"):
        table[f"{kind}q"] = q_values(table[f"{kind}p"].to_numpy(dtype=float))
    table["verdict"] = [verdict(row, significance) for row in table.to_dict("records")]
    return table.sort_values("epistasis", ascending=False, ignore_index=True)


def _proposed(nearest: pd.DataFrame, attention: Attention) -> pd.DataFrame:
    """Select the pairs of motifs to test and add the column attention.

    The column is the attention between the two sites, divided by the mean at their distance. For a
    network without attention the pairs with most records are selected.
    """
    given = pd.Series(attention(nearest), index=nearest.index)
    usual = given.groupby(nearest["gap"] // BIN).transform("mean")
    nearest = nearest.assign(attention=given / usual.where(usual > 0))
    of_names = (
        nearest.groupby(NAMES)["attention"]
        .agg(["mean", "size"])
        .sort_values(["mean", "size"], ascending=False)
    )
    return nearest[nearest.set_index(NAMES).index.isin(of_names.index[:MAX_PAIRS])]


def _tests(pairs: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Test whether mean epistasis exceeds that of random sites and that of other motifs' sites."""
    above, specific = (
        (pairs["epistasis"] - pairs[kind]).dropna().to_numpy() for kind in ("matched", "swapped")
    )
    found: dict[str, float] = {}
    if len(above) >= MIN_RECORDS:
        mean = mean_effect(above, rng)
        found |= {
            "sites_p": mean["_p"],
            **{f"epistasis{which}": mean[which] for which in ("", "_low", "_high")},
        }
    if len(specific) >= MIN_RECORDS:
        mean = mean_effect(specific, rng)
        found |= {"pairs_p": mean["_p"], "specific": mean[""]}
    return found | ({"p": max(found["sites_p"], found["pairs_p"])} if len(found) == 6 else {})


def verdict(row: Mapping[Any, Any], significance: float) -> str:
    """Return "supported", "redundant" or "inconclusive".

    The rules are in docs/interpretation_interactions.md.
    """
    effects = row["epistasis"], row["specific"]
    if row["q"] < significance and min(effects) >= MIN_EFFECT:
        return "supported"
    return (
        "redundant" if row["q"] < significance and max(effects) <= -MIN_EFFECT else "inconclusive"
    )


def model_sites(
    motifs: str | Path, scorer: Scorer, sequences: Sequence[Letters], hit_p: float, seed: int = 0
) -> pd.DataFrame:
    """Find hits that the model uses, in records with hits of at least two motifs.

    Parameters
    ----------
    motifs
        MEME text file; it may contain no motifs.
    scorer
        Model for the AttnLRP attributions that select hits.
    sequences
        ASCII letters, one array per record. Attributions are computed for at most `MAX_SEARCHED` of
        the records with hits of two motifs.
    hit_p
        p-value threshold, as in `hits.find_hits`.
    seed
        Seed for sampling records.

    Returns
    -------
    Table of `hits.relevant_hits`.

    Raises
    ------
    DatabaseError
        If the file is not MEME text.
    """
    ppms = read_meme(motifs, least=0)
    hits = find_hits(ppms, dict.fromkeys(ppms, NUM_SITES), sequences, hit_p)
    several = np.flatnonzero(
        np.bincount(hits.drop_duplicates(["record", "name"])["record"], minlength=len(sequences))
        > 1
    )
    drawn = np.sort(np.random.default_rng(seed).permutation(several)[:MAX_SEARCHED])
    attribution = dict(
        zip(
            drawn.tolist(),
            attnlrp_importance(scorer, [sequences[record] for record in drawn]),
            strict=True,
        )
    )
    return relevant_hits(hits[hits["record"].isin(drawn)].reset_index(drop=True), attribution)


def attention_between(scorer: Scorer, sequences: Sequence[Letters]) -> Attention:
    """Return a function that computes the attention between the sites of each pair.

    It averages both directions over layers and heads, and returns 0 for models without attention.
    """

    def given(pairs: pd.DataFrame) -> NDArray[np.float64]:
        found = np.zeros(len(pairs))
        if not has_attention(scorer):
            return found
        where = pairs.groupby("record").indices
        records: list[Any] = sorted(where, key=lambda record: len(sequences[record]))
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            reading = read_letters(
                scorer, pad_letters([sequences[record] for record in batch]), [""] * len(batch)
            )
            # alternating: first site, second site, ...
            spans = [
                pairs[SITES].to_numpy(dtype=np.int64)[where[record]].reshape(-1, 2)
                for record in batch
            ]
            for record, shares in zip(batch, reading.between(spans), strict=True):
                a, b = np.arange(0, len(shares), 2), np.arange(1, len(shares), 2)
                found[where[record]] = (shares[a, b] + shares[b, a]) / 2
        return found

    return given
