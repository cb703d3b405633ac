"""metrics.json of objective `bins`: the model beside simple baselines on the bins of valid and test, in the form of a binary run's.

Hides: scikit-learn, blocks of chromosome as what is drawn. `evaluate` calls `fit_bin_baselines` and `summarise_bins`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from selfattn_bio.config import Evaluation
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.calibration import choose_threshold
from selfattn_bio.evaluation.composition import KmerCounts, gc_content
from selfattn_bio.evaluation.metrics import Bootstrap, Sampled, differences, intervals
from selfattn_bio.evaluation.points import Bins
from selfattn_bio.evaluation.summary import SIDES, members_entry
from selfattn_bio.sequence.alphabet import Alphabet

Array = NDArray[np.float64]
AROUND = 200  # letters to each side of a bin's middle that the baselines see
K = 5  # of the k-mer baseline
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # scikit-learn's C; chosen on valid


def fit_bin_baselines(
    alphabet: Alphabet, letters: dict[str, list[NDArray[np.uint8]]], records: dict[str, NDArray[np.object_]], size: int
) -> dict[str, dict[str, Array]]:
    """What the letters around a bin's middle tell, on valid and test: GC content, and 5-mers of either strand.

    Logistic regressions, fitted on train; the strength of the penalty is chosen on valid. Windows at the end of a record are shorter.

    Returns
    -------
    Name -> side -> (rows of the side's `Bins.table`,) chance of a point.
    """
    bins = {side: Bins.of(of, size) for side, of in records.items()}
    around = {side: _around_bins(letters[side], bins[side], size) for side in bins}
    counts = KmerCounts(alphabet, K)
    features = {
        "gc": {side: gc_content(rows)[:, None] for side, rows in around.items()},
        f"kmer{K}_logistic": {
            side: counts(rows) + counts([alphabet.reverse_complement(row) for row in rows]) for side, rows in around.items()
        },
    }
    found = {}
    for name, x in features.items():
        models = [LogisticRegression(C=penalty, max_iter=500).fit(x["train"], bins["train"].labels) for penalty in PENALTIES]
        best = max(models, key=lambda model: average_precision_score(bins["valid"].labels, model.decision_function(x["valid"])))
        found[name] = {side: best.predict_proba(x[side])[:, 1] for side in SIDES}
    return found


def _around_bins(letters: list[NDArray[np.uint8]], bins: Bins, size: int) -> list[NDArray[np.uint8]]:
    """Of each row of the table the letters around the bin's middle, from the record in which most stand to both sides."""
    found: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)] * len(bins.table)
    middles = ((row, size * number + size // 2) for row in letters for number in range(len(row) // size))
    for at, (row, middle) in zip(bins.row_of, middles, strict=True):
        if len(window := row[max(0, middle - AROUND) : middle + AROUND]) > len(found[at]):
            found[at] = window
    return found


def summarise_bins(
    chances: dict[str, dict[str, Array]], members: dict[str, dict[str, Array]], bins: dict[str, Bins], settings: Evaluation
) -> dict[str, Any]:
    """Judge every model on the bins of valid and test; intervals over draws of whole blocks of chromosome.

    Neighbouring bins share letters and points, so that draws of single bins would tell narrower intervals than there are.

    Parameters
    ----------
    chances
        Name ("model", baselines) -> side -> chance of a point, a bin each. Thresholds are chosen on valid.
    members
        Name -> side -> (M, n) those of each of several members.

    Returns
    -------
    The content of metrics.json, in the form of a binary run's: of test also `differences`; the best baseline is that of the highest AUPRC.
    Of several members those of the first alone, too, as a mean of several does better than one for that reason alone.
    """
    summary: dict[str, Any] = {"objective": "bins", "bootstraps": settings.bootstraps, "confidence": settings.confidence}
    summary["block"] = settings.block
    thresholds = {name: choose_threshold(by_side["valid"], bins["valid"].labels) for name, by_side in chances.items()}
    for side in SIDES:
        labels, blocks = bins[side].labels, blocks_of(bins[side].table, settings.block)
        bootstrap = Bootstrap(labels, settings.bootstraps, settings.seed, settings.calibration_bins, blocks)
        sampled = {name: bootstrap.metrics(by_side[side], thresholds[name]) for name, by_side in chances.items()}
        entries = {name: {**intervals(of, settings.confidence), "threshold": thresholds[name]} for name, of in sampled.items()}
        summary[side] = {"n": len(labels), "positives": int(labels.sum()), "blocks": len(np.unique(blocks)), "model": entries.pop("model")}
        summary[side]["baselines"] = entries
        each = {name: [float(average_precision_score(labels, one)) for one in of[side]] for name, of in members.items()}
        summary[side]["members"] = {name: members_entry("auprc", values, members[name][side]) for name, values in each.items()}
    summary["differences"] = _differences(sampled, settings.confidence)  # of test, the last side
    if "model" in members:
        first = {side: of[0] for side, of in members["model"].items()}
        alone = bootstrap.metrics(first["test"], choose_threshold(first["valid"], bins["valid"].labels))
        beside = _differences(sampled | {"model": alone}, settings.confidence)
        summary["differences"]["first_member"] = beside["baselines"]
    return summary


def _differences(sampled: dict[str, dict[str, Sampled]], confidence: float) -> dict[str, Any]:
    beside = [name for name in sampled if name != "model"]
    best = max(beside, key=lambda name: sampled[name]["auprc"].value)
    return {"best_baseline": best, "baselines": {name: differences(sampled["model"], sampled[name], confidence) for name in beside}}


def check_blocks(bins: dict[str, Bins], block: int) -> None:
    """Refuse sides whose points all stand in one block: draws of blocks would then tell an interval narrower than there is, or none.

    Raises
    ------
    CorpusError
        If bins with a point stand in fewer than two blocks of `block` letters.
    """
    for side, of in bins.items():
        blocks, holding = blocks_of(of.table, block), of.labels == 1
        if (number := len(np.unique(blocks[holding]))) < 2:
            message = f"bins of {side} with a point must stand in 2 or more blocks of {block:,} letters, got {number}"
            raise CorpusError(message, cure="Lower [evaluation] block, or give the side more of the chromosomes in [split]")


def blocks_of(table: pd.DataFrame, block: int) -> NDArray[np.int64]:
    """(n,) the number of the block of `block` letters of a chromosome in which each bin begins."""
    return table.assign(block=table["start"] // block).groupby(["chrom", "block"]).ngroup().to_numpy().astype(np.int64)
