import pytest

from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.verdict import Size, caveat, sizes_of, verdict

ABOVE, BELOW, AROUND = (
    {"low": 0.01, "high": 0.03},
    {"low": -0.03, "high": -0.01},
    {"low": -0.01, "high": 0.03},
)
REGRESSION = Size()


@pytest.mark.parametrize(
    ("model", "other", "above", "below"),
    [
        (Size(2, 1), Size(1, 1), "higher", "lower"),  # two networks against one
        (Size(2, 1), Size(2, 1), "higher", "lower"),  # one training each
        (Size(4, 2), Size(4, 2), "higher", "lower"),
        (Size(3, 3), Size(6, 3), "higher", "lower"),
        (Size(3, 3), Size(3, 1), "higher", "lower"),
        (Size(3, 3), Size(3, 3), "better", "worse"),
        (Size(1, 1), REGRESSION, "higher", "lower"),
        (Size(6, 3), REGRESSION, "better", "worse"),
        (Size(3, 3, parts=2), Size(3, 3), "higher", "lower"),
        (Size(3, 3, parts=2), REGRESSION, "better", "worse"),
    ],
)
def test_better_needs_equal_size_and_three_trainings(
    model: Size, other: Size, above: str, below: str
) -> None:
    assert (verdict(ABOVE, model, other), verdict(BELOW, model, other)) == (above, below)
    assert verdict(AROUND, model, other) == "not distinguishable"


def test_interval_touching_0_shows_no_difference() -> None:
    assert verdict({"low": 0.0, "high": 0.02}, Size(3, 3), REGRESSION) == "not distinguishable"


@pytest.mark.parametrize(
    ("model", "other", "reason"),
    [
        (Size(2, 1), Size(1, 1), "2 networks against 1, one training each"),
        (Size(2, 1), Size(2, 1), "one training each"),
        (Size(4, 2), Size(4, 2), "two trainings each"),
        (Size(1, 1), REGRESSION, "one training"),
        (Size(3, 3), Size(3, 1), "one training"),
        (Size(6, 3), Size(3, 3), "6 networks against 3"),
        (Size(3, 3), REGRESSION, ""),
        (Size(3, 3, parts=2), REGRESSION, ""),
        (Size(3, 3, parts=2), Size(3, 3), "2 stacked simple models against 0"),
    ],
)
def test_caveats_name_what_is_missing(model: Size, other: Size, reason: str) -> None:
    assert caveat(model, other) == reason


def test_sizes_are_read_from_metrics() -> None:
    metrics = {
        "sizes": {
            "model": {"networks": 2, "trainings": 1, "parts": 3},
            "cnn": {"networks": 2, "trainings": 1},
        }
    }
    assert sizes_of(metrics, "model", "cnn", "gc") == [Size(2, 1, 3), Size(2, 1), REGRESSION]


def test_metrics_without_sizes_are_an_error() -> None:
    with pytest.raises(
        ResultsError, match=r"of an earlier version. Run `selfattn-bio evaluate` again"
    ):
        sizes_of({"test": {}}, "model")
