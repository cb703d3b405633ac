"""Compare motifs and attributions of models that differ only in their seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats, Scores
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.errors import ArgumentError
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.matching import SIMILAR, alignment
from selfattn_bio.motifs.motif_set import Motif, MotifSet

COLUMNS = ["run", "name", "consensus", "match", "runs", "found_in", "tested", "supported_in"]


def motif_stability(runs: Sequence[MotifSet | str | Path]) -> pd.DataFrame:
    """Count in how many trainings each motif is found, and in how many it is supported.

    Two motifs are the same if the cosine similarity of their probabilities, minus those of a
    uniform background, is at least `matching.SIMILAR` at the best alignment on either strand.
    Columns outside the alignment count as uniform.

    Parameters
    ----------
    runs
        Two or more sets of motifs, or folders of `MotifSet.save`, such as `results/promoter`.

    Returns
    -------
    One row per distinct motif, those of the first run first: run (from 1) and name of the first
    motif, its consensus and `match_label`, runs (their number), found_in, tested (number of runs
    whose motifs have verdicts) and supported_in, which is at most `tested`.

    Raises
    ------
    ArgumentError
        If there are fewer than two runs, or their alphabets differ.
    ResultsError
        If a file is missing.
    """
    sets = [each if isinstance(each, MotifSet) else MotifSet.load(each) for each in runs]
    if len(sets) < 2:
        raise ArgumentError("pass the motifs of at least two runs")
    if len({motif.alphabet.name for motifs in sets for motif in motifs}) > 1:
        raise ArgumentError("the runs have motifs of different alphabets")
    firsts: list[tuple[int, Motif]] = []  # the first motif of each kind, and its run
    found: list[tuple[set[int], set[int]]] = []  # runs where it is found, and is supported
    for number, motifs in enumerate(sets, start=1):
        verdicts: Any = motifs.table.set_index("name").get("verdict", {})
        for motif in motifs:
            similar = [
                alignment(motif.ppm, other.ppm, motif.alphabet.has_complement).similarity
                for _, other in firsts
            ]
            if max(similar, default=0.0) < SIMILAR:
                similar.append(1.0)
                firsts.append((number, motif))
                found.append((set(), set()))
            of_kind, supported = found[int(np.argmax(similar))]
            of_kind.add(number)
            if verdicts.get(motif.name) == "supported":
                supported.add(number)
    tested, rows = sum("verdict" in motifs.table for motifs in sets), []
    for (number, motif), (of_kind, supported) in zip(firsts, found, strict=True):
        match, counts = match_label(sets[number - 1].row(motif.name)), (len(sets), len(of_kind))
        rows.append((number, motif.name, motif.consensus, match, *counts, tested, len(supported)))
    return pd.DataFrame(rows, columns=COLUMNS)


def attribution_correlations(explanations: Sequence[Explanation]) -> Floats:
    """Correlate the attributions of the same records by several models.

    Parameters
    ----------
    explanations
        Explanations by two or more models. Records are matched by target and id; those that
        are not in all of them are left out.

    Returns
    -------
    (n,) Spearman's correlation over the positions of each of n common records, averaged over pairs
    of models. It is missing if the attributions of a record are constant.

    Raises
    ------
    ArgumentError
        If there are fewer than two explanations.
    """
    if len(explanations) < 2:
        raise ArgumentError("pass the explanations of at least two models")
    by_id = [
        dict(zip(zip(each.records["target"], each.ids, strict=True), each.attribution, strict=True))
        for each in explanations
    ]
    common = [name for name in by_id[0] if all(name in each for each in by_id[1:])]
    pairs = list(combinations(by_id, 2))
    rho = [[_rho(one[name], other[name]) for one, other in pairs] for name in common]
    return np.array([np.mean(of_pairs) for of_pairs in rho], dtype=np.float64)


def _rho(one: Scores, other: Scores) -> float:
    """Return Spearman's correlation, NaN if one of both is constant."""
    return float(pd.DataFrame({0: one, 1: other}).corr("spearman").to_numpy()[0, 1])
