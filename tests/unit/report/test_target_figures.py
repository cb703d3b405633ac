"""Test the parts of the figures of classes and labels, and their findings."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from selfattn_bio.report import target_plots
from selfattn_bio.report.target_figures import _accuracy_along, _ends, _most_frequent, _spread


def test_unknown_chance_is_not_counted():
    model = {name: {"auprc": {"value": 0.5, "low": 0.4, "high": 0.6}} for name in "abc"}
    found = _spread(model, list("abc"), "auprc", {"a": 0.1, "b": 0.45, "c": None})
    assert found.endswith(" 1 of 2 intervals are above chance.")
    assert "chance" not in _spread(model, ["c"], "auprc", {"c": None})


@pytest.mark.parametrize(
    ("ends", "start"),
    [
        (0.5, "Accuracy is lower at the ends of the record than in the middle: 0.5"),
        (0.95, "Accuracy is higher at the ends of the record than in the middle: 0.9"),
        (0.8, "Accuracy at the ends of the record cannot be distinguished from the middle: 0."),
    ],
)
def test_ends_are_compared_with_an_interval(ends, start):
    accuracies = np.random.default_rng(0).normal(0.8, 0.05, (30, 10))
    accuracies[:, [0, -1]] += ends - 0.8
    finding = _ends(accuracies)
    assert finding.startswith(start)
    differences = accuracies[:, [0, -1]].mean(axis=1) - accuracies[:, 2:-2].mean(axis=1)
    half = 1.96 * differences.std(ddof=1) / np.sqrt(30)
    bounds = [
        f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")
        for value in (differences.mean(), differences.mean() - half, differences.mean() + half)
    ]
    assert finding.endswith(f"difference {bounds[0]} ({bounds[1]} to {bounds[2]}).")


def test_accuracy_of_short_records_is_missing():
    truth = pd.Series(["H" * 10, "-" + "H" * 9, "H" * 9, ""])
    calls = pd.Series(["H" * 9 + "E", "H" * 10, "H" * 9, ""])
    found = _accuracy_along(truth, calls)
    np.testing.assert_array_equal(found[0], [1] * 9 + [0])
    np.testing.assert_array_equal(found[1], [np.nan] + [1] * 9)
    assert np.isnan(found[2:]).all()
    with pytest.raises(ValueError, match="shorter"):
        _accuracy_along(truth[:1], pd.Series(["H" * 9]))


def test_normal_intervals_have_means_and_halves():
    means, halves = target_plots.normal_intervals([np.array([1.0, 3.0]), np.array([2.0, 2.0])])
    assert means == [2, 2]
    np.testing.assert_allclose(halves, [1.96, 0])


def test_pairs_without_chance_levels_have_no_ticks():
    ax = Figure().subplots()
    entry = {"value": 0.8, "low": 0.7, "high": 0.85}
    target_plots.draw_pairs([("a", entry, None)], ("model", ""), ax, "AUPRC", [None])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model"]


def test_distances_are_in_kb():
    ax = Figure().subplots()
    target_plots.draw_distances({"model": np.array([0.5, 1])}, np.array([0.1, 0.2]), 200, ax)
    assert ax.get_xlabel() == "maximum distance to a point (kb)"
    assert ax.get_lines()[0].get_xdata().tolist() == [0, 0.2]


def test_rare_classes_are_merged():
    counts = np.diag(np.arange(25, 0, -1))
    counts[24, 0] = 2
    merged, names = _most_frequent(counts, [f"c{i}" for i in range(25)])
    assert names == [*(f"c{i}" for i in range(19)), "other classes"]
    assert merged.sum() == counts.sum()
    assert merged[19].tolist() == [2, *[0] * 18, 21]
