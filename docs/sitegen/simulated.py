"""Simulated values for the plots of objectives that the smoke task does not have."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

Example = tuple[str, str, str, str, dict[str, Any]]
CLASSES = ("enhancer", "promoter", "background")


def plots() -> Iterator[Example]:
    """Yield title, objective, caption, function and arguments of each plot."""
    rng = np.random.default_rng(0)
    observed = rng.normal(size=300)
    predicted = 0.8 * observed + rng.normal(0, 0.5, 300)
    yield (
        "Predicted and observed values",
        "regression",
        "One dot per test record. Orange: means of records with similar predictions.",
        "draw_scatter",
        {"predicted": predicted, "observed": observed, "name": "expression"},
    )
    yield (
        "Coverage of prediction intervals",
        "regression",
        "Fraction of 90 % intervals with the observed value, by predicted value.",
        "draw_coverage",
        {
            "predicted": predicted,
            "inside": abs(observed - predicted) < 1.645 * np.std(observed - predicted),
            "name": "expression",
        },
    )
    yield (
        "Confusion of classes",
        "multiclass",
        "Fraction of each true class (row) that is predicted as each class (column), and counts.",
        "draw_confusion",
        {"counts": np.array([[82, 11, 7], [9, 120, 21], [12, 30, 158]]), "names": CLASSES},
    )
    yield (
        "A metric by class",
        "multiclass, multilabel, regression",
        "Metric of the model and of the best baseline, with intervals.",
        "draw_pairs",
        {
            "rows": [
                (name, interval(0.9 - 0.05 * i), interval(0.82 - 0.06 * i))
                for i, name in enumerate(CLASSES)
            ],
            "names": ("this model", "2-mers"),
            "label": "AUROC",
        },
    )
    yield (
        "Distance of calls to points",
        "bins",
        "Fraction of called bins whose nearest bin with a point is at most this far away.",
        "draw_distances",
        {
            "fractions": {"this model": np.array([0.5, 0.7, 0.76, 0.8, 0.82, 0.83])},
            "chance": np.array([0.03, 0.09, 0.14, 0.2, 0.25, 0.3]),
            "size": 200,
        },
    )
    yield (
        "Loss of each record",
        "masked, causal",
        "Mean loss of each test record. Dotted line: mean of the best baseline.",
        "draw_losses",
        {
            "losses": rng.normal(1.9, 0.05, 400),
            "mean": 1.96,
            "name": "3-mers",
            "label": "loss (bits)",
        },
    )
    rates = 6 * np.exp(-(((np.arange(200) - 100) / 25) ** 2)) + 0.2
    counts = {"observed": rng.poisson(rates), "predicted": rates}
    yield (
        "Counts per base of a record",
        "profile",
        "Observed (grey) and predicted counts around the middle of a test record.",
        "draw_profiles",
        {"shown": [{**counts, "track": "ctcf", "id": "peak_17"}], "strands": 1},
    )
    yield (
        "Track of bins along a chromosome",
        "bins",
        "Predicted probability of each bin. Triangles: bins that contain a point.",
        "draw_track",
        {"table": track(rng)},
    )


def interval(value: float) -> dict[str, float]:
    """Return a value with an interval around it."""
    return {"value": value, "low": value - 0.03, "high": value + 0.03}


def track(rng: np.random.Generator) -> pd.DataFrame:
    """Return probabilities of the bins of a chromosome."""
    start = np.arange(0, 40_000, 200)
    label = (rng.random(len(start)) < 0.04).astype(int)
    near = np.convolve(label, [0.3, 0.8, 0.3], mode="same")
    probability = np.clip(near + rng.exponential(0.05, len(start)), 0, 1)
    bins = {"start": start, "end": start + 200, "label": label, "model": probability}
    return pd.DataFrame({"chrom": "chr2R"} | bins)
