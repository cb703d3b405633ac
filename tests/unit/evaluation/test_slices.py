import numpy as np

from selfattn_bio.evaluation.slices import quantile_edges, slice_metrics


def test_edges_are_quantiles_of_train_and_open_at_both_ends() -> None:
    assert quantile_edges(np.arange(101) / 100, 4).tolist() == [-np.inf, 0.25, 0.5, 0.75, np.inf]


def test_equal_quantiles_are_one_edge() -> None:
    assert quantile_edges([1.0] * 9, 4).tolist() == [-np.inf, 1.0, np.inf]


def test_two_values_give_two_slices() -> None:
    assert (
        quantile_edges([0.0] * 9 + [1.0], 4).tolist()
        == quantile_edges([0.0] + [1.0] * 9, 4).tolist()
        == [-np.inf, 1.0, np.inf]
    )


def test_each_record_is_evaluated_in_one_slice() -> None:
    values = np.array([0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.7, 0.9])
    labels = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    p = np.array([0.1, 0.9, 0.2, 0.8, 0.1, 0.9, 0.8, 0.2])  # correct below .5, wrong from .5 on
    found = slice_metrics(
        values,
        np.array([-np.inf, 0.5, np.inf]),
        labels,
        {"model": (p, 0.5)},
        draws=10,
        confidence=0.9,
    )
    assert [(s["from"], s["to"], s["n"], s["positives"]) for s in found] == [
        (None, 0.5, 4, 2),
        (0.5, None, 4, 2),
    ]
    assert [s["model"]["auroc"]["value"] for s in found] == [1.0, 0.0]


def test_a_slice_of_one_class_has_counts_but_no_metrics() -> None:
    found = slice_metrics(
        [0.1, 0.9],
        np.array([-np.inf, 0.5, np.inf]),
        np.array([0, 1]),
        {"model": (np.array([0.1, 0.9]), 0.5)},
        10,
        0.9,
    )
    assert [(s["n"], s["positives"], s["model"]) for s in found] == [(1, 0, None), (1, 1, None)]
