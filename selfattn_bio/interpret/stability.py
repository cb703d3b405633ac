"""Compare motifs and attributions of models that differ only in their seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from selfattn_bio.errors import ArgumentError
from selfattn_bio.interpret.explanation import Explanation
from selfattn_bio.interpret.matching import alignment, match_label
from selfattn_bio.interpret.motifs import Motif, MotifSet

# Cosine similarity from which two motifs are the same. 5 % of the motifs of JASPAR (insects) are as
# similar to one of 25 others with columns in random order, and 95 % are to a copy of themselves
# from 100 sampled sites that lacks up to two columns at each end.
SIMILAR = 0.8
COLUMNS = ["run", "name", "consensus", "match", "runs", "found_in", "supported_in"]


@dataclass
class _Group:
    """Similar motifs: the first one found, and the runs that found or support one."""

    run: int
    motif: Motif
    found: set[int] = field(default_factory=set)
    supported: set[int] = field(default_factory=set)


def motif_stability(runs: Sequence[MotifSet | str | Path]) -> pd.DataFrame:
    """Count in how many trainings each motif is found, and in how many it is supported.

    Two motifs are the same if the cosine similarity of their probabilities, minus those of a
    uniform background, is at least `SIMILAR` at the best alignment on either strand. Columns
    outside the alignment count as uniform.

    Parameters
    ----------
    runs
        Two or more sets of motifs, or folders of `MotifSet.save`, such as `results/promoter`.

    Returns
    -------
    One row per distinct motif, those of the first run first: run (from 1) and name of the first
    motif, its consensus and `match_label`, runs (their number), found_in, and supported_in, which
    is missing if no run has verdicts.

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
    groups: list[_Group] = []
    for number, motifs in enumerate(sets, start=1):
        supported = _supported(motifs)
        for motif in motifs:
            group = _most_similar(motif, groups)
            if group is None:
                groups.append(group := _Group(number, motif))
            group.found.add(number)
            if motif.name in supported:
                group.supported.add(number)
    has_verdicts = any("verdict" in motifs.table for motifs in sets)
    rows = [
        {
            "run": group.run,
            "name": group.motif.name,
            "consensus": group.motif.consensus,
            "match": _match(sets[group.run - 1], group.motif.name),
            "runs": len(sets),
            "found_in": len(group.found),
            "supported_in": len(group.supported) if has_verdicts else np.nan,
        }
        for group in groups
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _match(motifs: MotifSet, name: str) -> str:
    """Return the significant match of a motif, or ""."""
    (row,) = motifs.table[motifs.table["name"] == name].to_dict("records")
    return match_label(row)


def _supported(motifs: MotifSet) -> set[str]:
    """Return the names of the supported motifs."""
    if "verdict" not in motifs.table:
        return set()
    return set(motifs.table.loc[motifs.table["verdict"] == "supported", "name"])


def _most_similar(motif: Motif, groups: Sequence[_Group]) -> _Group | None:
    """Return the group whose motif is most similar, or None if none is similar enough."""
    similar = [
        alignment(motif.ppm, group.motif.ppm, motif.alphabet.has_complement).similarity
        for group in groups
    ]
    if not similar or max(similar) < SIMILAR:
        return None
    return groups[int(np.argmax(similar))]


def attribution_correlations(explanations: Sequence[Explanation]) -> NDArray[np.float64]:
    """Correlate the attributions of the same records by several models.

    Parameters
    ----------
    explanations
        Explanations by two or more models. Records are matched by id; those that are not in all of
        them are left out.

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
    by_id = [dict(zip(each.ids, each.attribution, strict=True)) for each in explanations]
    common = [name for name in by_id[0] if all(name in each for each in by_id[1:])]
    return np.array(
        [
            np.mean([_rho(one[name], other[name]) for one, other in combinations(by_id, 2)])
            for name in common
        ],
        dtype=np.float64,
    )


def _rho(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)
