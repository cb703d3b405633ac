"""Test intervals of metrics of classes, labels and numbers."""

import numpy as np
import pytest

from selfattn_bio.config import EvaluationSection
from selfattn_bio.evaluation.metrics import Units
from selfattn_bio.evaluation.targets import resampled_metrics


@pytest.mark.parametrize("name", ["mcc", "activity.macro_f1", ("heart", "f1")])
def test_intervals_stay_in_the_range_of_the_metric(name):
    right = np.arange(40) > 0  # one record is wrong, so that resamples reach 1

    def measured(rows):
        return {name: float(right[rows].mean())}

    found = resampled_metrics(measured, Units.single(40), EvaluationSection(bootstraps=200))
    interval = found[name].interval()
    assert interval["low"] < interval["value"] < interval["high"] == 1
