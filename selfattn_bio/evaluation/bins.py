"""Evaluate the objective `bins`: fit simple baselines and summarise metrics per bin.

The summary has the same form as that of a binary run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from selfattn_bio.config import EvaluationSection
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.calibration import choose_threshold
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric, Units, intervals
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, compared, members_entry
from selfattn_bio.objectives.points import Bins
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.kmers import KmerCounts, gc_content
from selfattn_bio.split_names import SPLIT_NAMES

Array = NDArray[np.float64]
BLOCK = 100_000  # bp; default of [evaluation] block
AROUND = 200  # bp on each side of the middle of a bin that the baselines read
K = 5  # k of the k-mer baseline
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # scikit-learn's C; chosen on valid


def fit_bin_baselines(
    alphabet: Alphabet,
    letters: dict[str, list[NDArray[np.uint8]]],
    records: dict[str, NDArray[np.object_]],
    size: int,
) -> dict[str, dict[str, Array]]:
    """Fit GC-content and 5-mer baselines to the sequence around each bin.

    They are logistic regressions fitted to the training split. The 5-mers of both strands are
    counted. The penalty is chosen on the validation split. Windows at the ends of records are
    shorter.

    Parameters
    ----------
    alphabet
        DNA.
    letters
        Split (train, valid, test) -> ASCII, one array per record.
    records
        Split -> `Points` of each record, (n,), from `points_of`.
    size
        bp per bin.

    Returns
    -------
    Baseline name -> split (valid, test) -> probability of a point for each row of `Bins.table`.
    """
    bins = {split: Bins.of(of, size) for split, of in records.items()}
    around = {split: _around_bins(letters[split], bins[split], size) for split in bins}
    counts = KmerCounts(alphabet, K)
    features = {
        "gc": {split: gc_content(rows)[:, None] for split, rows in around.items()},
        f"kmer{K}_logistic": {
            split: counts(rows) + counts([alphabet.reverse_complement(row) for row in rows])
            for split, rows in around.items()
        },
    }
    found = {}
    for name, x in features.items():
        models = [
            LogisticRegression(C=penalty, max_iter=500).fit(x["train"], bins["train"].labels)
            for penalty in PENALTIES
        ]
        best = max(
            models,
            key=lambda model: average_precision_score(
                bins["valid"].labels, model.decision_function(x["valid"])
            ),
        )
        found[name] = {split: best.predict_proba(x[split])[:, 1] for split in EVALUATED_SPLITS}
    return found


def _around_bins(
    letters: list[NDArray[np.uint8]], bins: Bins, size: int
) -> list[NDArray[np.uint8]]:
    """Return the sequence around the middle of each bin, one per row of `Bins.table`.

    Several records may cover a bin; the one with the longest sequence around it is used.
    """
    found: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)] * len(bins.table)
    middles = (
        (row, size * number + size // 2) for row in letters for number in range(len(row) // size)
    )
    for at, (row, middle) in zip(bins.row_of, middles, strict=True):
        if len(window := row[max(0, middle - AROUND) : middle + AROUND]) > len(found[at]):
            found[at] = window
    return found


def summarise_bins(
    chances: dict[str, dict[str, Array]],
    members: dict[str, dict[str, Array]],
    bins: dict[str, Bins],
    settings: EvaluationSection,
) -> dict[str, Any]:
    """Evaluate every model on the bins of the validation and test splits.

    Confidence intervals come from resampling blocks of chromosomes. Neighbouring bins share
    sequence and points, so resampling single bins would give intervals that are too narrow.

    Parameters
    ----------
    chances
        Name ("model", baselines) -> split -> probability of a point in each bin. Thresholds are
        chosen on the validation split.
    members
        Name -> split -> probabilities (M, n) of the members, for ensembles.
    bins
        Split -> its bins; "valid" and "test".
    settings
        Section [evaluation] of the run file.

    Returns
    -------
    The content of metrics.json, in the same form as for a binary run. `differences` compares models
    on the test split; the best baseline is the one with the highest AUPRC. The first member of an
    ensemble is also compared, because averaging members improves the result of any network.
    """
    summary: dict[str, Any] = {
        "objective": "bins",
        "bootstraps": settings.bootstraps,
        "confidence": settings.confidence,
        "block": (block := settings.block or BLOCK),
    }
    thresholds = {
        name: choose_threshold(by_split["valid"], bins["valid"].labels)
        for name, by_split in chances.items()
    }
    bootstraps: dict[str, Bootstrap] = {}
    sampled: dict[str, dict[str, dict[str, ResampledMetric]]] = {}  # by split and name
    for split in EVALUATED_SPLITS:
        labels, blocks = bins[split].labels, blocks_of(bins[split].table, block)
        bootstraps[split] = Bootstrap(
            labels, settings.bootstraps, settings.seed, settings.calibration_bins, blocks
        )
        sampled[split] = {
            name: bootstraps[split].metrics(by_split[split], thresholds[name])
            for name, by_split in chances.items()
        }
        entries = {
            name: {**intervals(of, settings.confidence), "threshold": thresholds[name]}
            for name, of in sampled[split].items()
        }
        summary[split] = {
            "n": len(labels),
            "positives": int(labels.sum()),
            "blocks": len(np.unique(blocks)),
            **Units(f"blocks of {block:,} bp", blocks).entry(),
            "model": entries.pop("model"),
            "baselines": entries,
        }
        each = {
            name: [float(average_precision_score(labels, one)) for one in of[split]]
            for name, of in members.items()
        }
        summary[split]["members"] = {
            name: members_entry("auprc", values, members[name][split])
            for name, values in each.items()
        }
    names = [name for name in chances if name != "model"]
    summary["differences"] = compared(sampled["test"], names, "auprc", settings.confidence)
    if "model" in members:
        first = {split: of[0] for split, of in members["model"].items()}
        alone = bootstraps["test"].metrics(
            first["test"], choose_threshold(first["valid"], bins["valid"].labels)
        )
        of_first = compared(sampled["test"] | {"model": alone}, names, "auprc", settings.confidence)
        summary["differences"]["first_member"] = of_first["baselines"]
    return summary


def check_blocks(bins: dict[str, Bins], block: int) -> None:
    """Refuse splits whose points are all in one block.

    Resampling blocks would give an interval that is too narrow, or none.

    Raises
    ------
    CorpusError
        If bins with a point are in fewer than two blocks of `block` bp.
    """
    for split, of_split in bins.items():
        blocks, has_point = blocks_of(of_split.table, block), of_split.labels == 1
        if (number := len(np.unique(blocks[has_point]))) < 2:
            message = (
                f"the points of the {SPLIT_NAMES[split]} split are in {number} block of "
                f"{block:,} bp, and a confidence interval needs at least 2"
            )
            raise CorpusError(
                message,
                hint=f"Lower [evaluation] block, or give {split} more chromosomes in [split]",
            )


def blocks_of(table: pd.DataFrame, block: int) -> NDArray[np.int64]:
    """Number the blocks of chromosomes and return that of each bin, (n,).

    Blocks are `block` bp long. A bin belongs to the block in which it begins.
    """
    return (
        table.assign(block=table["start"] // block)
        .groupby(["chrom", "block"])
        .ngroup()
        .to_numpy()
        .astype(np.int64)
    )
