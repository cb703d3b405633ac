import pytest

from selfattn_bio.errors import ResultsError
from selfattn_bio.evaluation.verdict import ClassifierSize as Size
from selfattn_bio.evaluation.verdict import caveat, sizes_of, verdict

ABOVE, BELOW = {"low": 0.01, "high": 0.03}, {"low": -0.03, "high": -0.01}
REGRESSION = Size()


ONCE, NETWORKS = "each was trained only once", "the numbers of networks differ"
PARTS = "they are combined with different numbers of simple models (2 and 0)"


@pytest.mark.parametrize(
    ("model", "other", "reason"),
    [
        (Size(2, 1), Size(1, 1), f"{NETWORKS} (2 and 1) and {ONCE}"),
        (Size(2, 1, parts=2), Size(1, 1), f"{NETWORKS} (2 and 1), {PARTS} and {ONCE}"),
        (Size(2, 1), Size(2, 1), ONCE),
        (Size(4, 2), Size(4, 2), "each was trained only twice"),
        (Size(1, 1), REGRESSION, "the comparison is based on only one training"),
        (Size(2, 2), REGRESSION, "the comparison is based on only two trainings"),
        (Size(3, 3), Size(3, 1), "one of them was trained only once"),
        (Size(6, 3), Size(3, 3), f"{NETWORKS} (6 and 3)"),
        (Size(3, 3), Size(3, 3), ""),
        (Size(6, 3), REGRESSION, ""),
        (Size(3, 3, parts=2), REGRESSION, ""),
        (Size(3, 3, parts=2), Size(3, 3), PARTS),
    ],
)
def test_better_needs_equal_size_and_three_trainings(model, other, reason):
    assert caveat(model, other) == reason
    found = verdict(ABOVE, model, other), verdict(BELOW, model, other)
    assert found == (("higher", "lower") if reason else ("better", "worse"))
    for low, high in ((-0.01, 0.03), (0.0, 0.02)):
        assert verdict({"low": low, "high": high}, model, other) == "not distinguishable"


def test_sizes_are_read_from_metrics():
    model = {"networks": 2, "trainings": 1, "parts": 3}
    metrics = {"sizes": {"model": model, "cnn": {"networks": 2, "trainings": 1}}}
    found = sizes_of(metrics, "model", "cnn", "gc")
    assert found == [Size(2, 1, 3), Size(2, 1), REGRESSION]
    with pytest.raises(ResultsError, match="lacks the number of networks"):
        sizes_of({"test": {}}, "model")
