import pytest

from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.verdict import ClassifierSize, caveat, sizes_of, verdict

ABOVE, BELOW = {"low": 0.01, "high": 0.03}, {"low": -0.03, "high": -0.01}
AROUND = {"low": -0.01, "high": 0.03}
REGRESSION = ClassifierSize()


@pytest.mark.parametrize(
    ("model", "other", "above", "below"),
    [
        (ClassifierSize(2, 1), ClassifierSize(1, 1), "higher", "lower"),  # two networks against one
        (ClassifierSize(2, 1), ClassifierSize(2, 1), "higher", "lower"),  # one training each
        (ClassifierSize(4, 2), ClassifierSize(4, 2), "higher", "lower"),
        (ClassifierSize(3, 3), ClassifierSize(6, 3), "higher", "lower"),
        (ClassifierSize(3, 3), ClassifierSize(3, 1), "higher", "lower"),
        (ClassifierSize(3, 3), ClassifierSize(3, 3), "better", "worse"),
        (ClassifierSize(1, 1), REGRESSION, "higher", "lower"),
        (ClassifierSize(6, 3), REGRESSION, "better", "worse"),
        (ClassifierSize(3, 3, parts=2), ClassifierSize(3, 3), "higher", "lower"),
        (ClassifierSize(3, 3, parts=2), REGRESSION, "better", "worse"),
    ],
)
def test_better_needs_equal_size_and_three_trainings(
    model: ClassifierSize, other: ClassifierSize, above: str, below: str
) -> None:
    assert (verdict(ABOVE, model, other), verdict(BELOW, model, other)) == (above, below)
    assert verdict(AROUND, model, other) == "not distinguishable"


def test_interval_touching_0_shows_no_difference() -> None:
    found = verdict({"low": 0.0, "high": 0.02}, ClassifierSize(3, 3), REGRESSION)
    assert found == "not distinguishable"


ONCE, NETWORKS = "each was trained only once", "the numbers of networks differ"
PARTS = "they are combined with different numbers of simple models (2 and 0)"


@pytest.mark.parametrize(
    ("model", "other", "reason"),
    [
        (ClassifierSize(2, 1), ClassifierSize(1, 1), f"{NETWORKS} (2 and 1) and {ONCE}"),
        (
            ClassifierSize(2, 1, parts=2),
            ClassifierSize(1, 1),
            f"{NETWORKS} (2 and 1), {PARTS} and {ONCE}",
        ),
        (ClassifierSize(2, 1), ClassifierSize(2, 1), ONCE),
        (ClassifierSize(4, 2), ClassifierSize(4, 2), "each was trained only twice"),
        (ClassifierSize(1, 1), REGRESSION, "the comparison is based on only one training"),
        (ClassifierSize(2, 2), REGRESSION, "the comparison is based on only two trainings"),
        (ClassifierSize(3, 3), ClassifierSize(3, 1), "one of them was trained only once"),
        (ClassifierSize(6, 3), ClassifierSize(3, 3), f"{NETWORKS} (6 and 3)"),
        (ClassifierSize(3, 3), REGRESSION, ""),
        (ClassifierSize(3, 3, parts=2), REGRESSION, ""),
        (ClassifierSize(3, 3, parts=2), ClassifierSize(3, 3), PARTS),
    ],
)
def test_caveats_name_what_is_missing(
    model: ClassifierSize, other: ClassifierSize, reason: str
) -> None:
    assert caveat(model, other) == reason


def test_sizes_are_read_from_metrics() -> None:
    model = {"networks": 2, "trainings": 1, "parts": 3}
    metrics = {"sizes": {"model": model, "cnn": {"networks": 2, "trainings": 1}}}
    found = sizes_of(metrics, "model", "cnn", "gc")
    assert found == [ClassifierSize(2, 1, 3), ClassifierSize(2, 1), REGRESSION]


def test_metrics_without_sizes_are_an_error() -> None:
    with pytest.raises(
        ResultsError, match=r"lacks the number of networks\. Run `selfattn-bio evaluate TASK` again"
    ):
        sizes_of({"test": {}}, "model")
