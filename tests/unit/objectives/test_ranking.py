import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from selfattn_bio.objectives.ranking import label_metrics, number_metrics

LABELS = {"auroc": sk.roc_auc_score, "auprc": sk.average_precision_score}
NUMBERS = {
    "pearson": lambda truth, of: pearsonr(truth, of).statistic,
    "spearman": lambda truth, of: spearmanr(truth, of).statistic,
    "r2": sk.r2_score,
    "mse": sk.mean_squared_error,
}


@pytest.mark.parametrize("decimals", [0, 1, 12])  # many ties, some, none
@pytest.mark.parametrize(
    ("compute", "metrics"), [(label_metrics, LABELS), (number_metrics, NUMBERS)]
)
def test_metrics_of_resamples_equal_those_of_repeated_records(compute, metrics, decimals):
    rng = np.random.default_rng(decimals)
    truth = rng.integers(2 if compute is label_metrics else 5, size=200).astype(float)
    predicted = np.round(truth + rng.normal(size=200), decimals)
    measured = compute(predicted, truth)
    for counts in (np.ones(200), *rng.multinomial(200, np.full(200, 1 / 200), size=20)):
        rows = np.repeat(np.arange(200), counts.astype(int))
        expected = {name: metric(truth[rows], predicted[rows]) for name, metric in metrics.items()}
        assert measured(counts.astype(np.float32)) == pytest.approx(expected, rel=1e-12)


def test_undefined_metrics_are_nan():
    two = np.array([1.0, 0.0]), np.array([0.5, 0.6])
    for compute, counts, known in (
        (label_metrics, [0, 2], set()),
        (number_metrics, [0, 2], {"mse"}),
        (number_metrics, [0, 0], set()),
    ):
        found = compute(*two)(np.array(counts, dtype=np.float32))
        assert {name for name, value in found.items() if np.isfinite(value)} == known
    tiny = number_metrics(two[1], two[0] * 1e-300)(np.ones(2, np.float32))  # without a warning
    assert [name for name, value in tiny.items() if np.isfinite(value)] == ["mse"]
    constant = number_metrics(np.full(3, 0.1), np.array([0.1, 0.2, 0.3]))(np.ones(3, np.float32))
    assert np.isnan([constant["pearson"], constant["spearman"]]).all()
    assert constant["r2"] < 0
