"""Test which motifs of its two inputs a model uses together.

Epistasis and both controls are those of `interpret.epistasis`, with one site in each input.
Positions of different inputs have no distance, so random sites are anywhere in their input, and
there is no preferred spacing or orientation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.interpret.epistasis import (
    COLUMNS as CONTROLS,
)
from selfattn_bio.interpret.epistasis import (
    NAMES,
    SIGNS,
    SITES,
    SQUARE,
    Letters,
    Span,
    covered_before,
    expected_epistasis,
    put,
)
from selfattn_bio.interpret.evidence import q_values
from selfattn_bio.interpret.interactions import (
    COLUMNS,
    MAX_PAIRS,
    MAX_RECORDS,
    MIN_RECORDS,
    epistasis_tests,
    verdict,
)
from selfattn_bio.interpret.interventions import Scores
from selfattn_bio.interpret.records import MIN_EFFECT
from selfattn_bio.sequence.shuffle import shuffle_letters


class Versions(NamedTuple):
    """Copies of one input of a record: intact, and with the bases of one site replaced.

    The site of a motif, a random site of its width, or both by another motif at the site. A copy is
    None if there is no space, or no other motif.
    """

    intact: Letters
    without: Letters
    without_random: Letters | None
    with_third: Letters | None
    third: str


def evaluate_across(
    sites: Sequence[pd.DataFrame],
    pairs: Sequence[RecordPair],
    scores: Scores,
    *,
    least: float = MIN_EFFECT,
    significance: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Test pairs of motifs, one in each input, for epistasis.

    Parameters
    ----------
    sites
        Sites in the first inputs, and in their partners: name, record (index into `pairs`), start,
        end (0-based half-open), strand and rank, as from `hits.relevant_hits`. Names of motifs of
        the two inputs differ.
    pairs
        Both inputs of each record.
    scores
        Function from pairs to (n,) calibrated scores, or to (n, M) for M members.
    least, significance, seed
        As for `interactions.evaluate_interactions`.

    Returns
    -------
    One row per pair of motifs, highest epistasis first, with the columns `interactions.COLUMNS`;
    name_a is in the first input. Columns about attention, distance and strands are missing. A pair
    is tested in records with both motifs, at the site of each with the highest attribution. At most
    `MAX_PAIRS` pairs with at least `MIN_RECORDS` such records are tested: those with most records.
    """
    rng = np.random.default_rng(seed)
    best = [
        each.sort_values("rank", ascending=False, kind="stable").drop_duplicates(["record", "name"])
        for each in sites
    ]
    found = best[0].merge(best[1], on="record", suffixes=("_a", "_b"))
    counts = found.groupby(NAMES).size()
    counts = counts[counts >= MIN_RECORDS].sort_values(ascending=False, kind="stable")[:MAX_PAIRS]
    found = found[found.set_index(NAMES).index.isin(counts.index)]
    sampled = found.iloc[rng.permutation(len(found))].groupby(NAMES).head(MAX_RECORDS)
    sampled = sampled.reset_index(drop=True)
    sampled = sampled.join(_epistasis(sampled, sites, pairs, scores, rng))
    len_of: dict[Any, int] = counts.to_dict()
    rows: list[dict[str, Any]] = [
        {"name_a": name_a, "name_b": name_b, "records": len_of[name_a, name_b]}
        | {"tested": len(group)}
        | epistasis_tests(group, rng)
        for (name_a, name_b), group in sampled.groupby(NAMES)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["q"] = q_values(table["p"].to_numpy(dtype=float))
    table["verdict"] = [verdict(row, least, significance) for row in table.to_dict("records")]
    return table.sort_values("epistasis", ascending=False, ignore_index=True)


def _epistasis(
    found: pd.DataFrame,
    sites: Sequence[pd.DataFrame],
    pairs: Sequence[RecordPair],
    scores: Scores,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compute the epistasis of pairs of sites and its controls, as `epistasis.epistasis` does."""
    covered: list[dict[int, NDArray[np.int32]]] = []
    for number, each in enumerate(sites):
        by_record: Any = each.groupby("record")
        covered.append(
            {
                record: covered_before(group, len(pairs[record][number]))
                for record, group in by_record
            }
        )
    letters_of: list[dict[str, list[Letters]]] = [{}, {}]
    for number, each in enumerate(sites):
        for name, record, start, end in each[["name", "record", "start", "end"]].itertuples(
            index=False
        ):
            letters_of[number].setdefault(name, []).append(pairs[record][number][start:end])
    present = [each.groupby("record")["name"].agg(set) for each in sites]
    made: list[RecordPair] = []
    rows = []
    for row, (record, *names, start_a, end_a, start_b, end_b) in enumerate(
        found[["record", *NAMES, *SITES]].itertuples(index=False, name=None)
    ):
        versions = []
        for number, span in enumerate(((start_a, end_a), (start_b, end_b))):
            known, letters = letters_of[number], pairs[record][number]
            others = {name: of for name, of in known.items() if name != names[number]}
            here = present[number][record]
            absent = {name: of for name, of in others.items() if name not in here}
            others = absent or others
            versions.append(_versions(letters, span, covered[number][record], others, rng))
        for kind, name_a, name_b, (with_a, no_a), (with_b, no_b) in _squares(names, *versions):
            rows.append((row, kind, name_a, name_b, *range(len(made), len(made) + 4)))
            made += [
                RecordPair(a, b)
                for a, b in ((with_a, with_b), (no_a, with_b), (with_a, no_b), (no_a, no_b))
            ]
    table = pd.DataFrame(rows, columns=["row", "kind", *NAMES, *SQUARE])
    if table.empty:
        return pd.DataFrame(columns=CONTROLS, index=found.index, dtype=float)
    of_made = scores(made).reshape(len(made), -1).mean(axis=1)
    table[SQUARE] = of_made[table[SQUARE].to_numpy()]
    table["epistasis"] = table[SQUARE].to_numpy() @ SIGNS
    means = table.pivot_table("epistasis", "row", "kind").reindex(
        index=range(len(found)), columns=CONTROLS[:2]
    )
    return means.assign(expected=expected_epistasis(found, table))


def _versions(
    letters: Letters,
    span: Span,
    covered: NDArray[np.int32],
    others: Mapping[str, Sequence[Letters]],
    rng: np.random.Generator,
) -> Versions:
    """Replace the site, or a random site that overlaps none, by letters of a shuffle."""
    neutral = shuffle_letters(letters, 2, rng)
    width = span[1] - span[0]
    free = np.flatnonzero(covered[width:] == covered[: len(covered) - width])
    random = None
    if len(free):
        at = int(rng.choice(free))
        random = put(letters, neutral, (at, at + width))
    third, with_third = "", None
    if others:
        third = list(others)[int(rng.integers(len(others)))]
        site = others[third][int(rng.integers(len(others[third])))]
        start = min(span[0], len(letters) - len(site))
        if start >= 0:
            with_third = put(letters, neutral, span)
            with_third[start : start + len(site)] = site
    return Versions(letters, put(letters, neutral, span), random, with_third, third)


def _squares(
    names: Sequence[str], a: Versions, b: Versions
) -> Iterator[tuple[str, str, str, tuple[Letters, Letters], tuple[Letters, Letters]]]:
    """Yield kind, names, and the copies of each input with and without a site, for each square."""
    both = (a.intact, a.without), (b.intact, b.without)
    yield "epistasis", names[0], names[1], *both
    if b.without_random is not None:
        yield "matched", names[0], "", both[0], (b.intact, b.without_random)
    if a.without_random is not None:
        yield "matched", "", names[1], (a.intact, a.without_random), both[1]
    if b.with_third is not None:
        yield "third", names[0], b.third, both[0], (b.with_third, b.without)
    if a.with_third is not None:
        yield "third", a.third, names[1], (a.with_third, a.without), both[1]
