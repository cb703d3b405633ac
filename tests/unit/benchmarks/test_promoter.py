"""Test the difference of mean AUROC over three seeds."""

import numpy as np
import pytest

from selfattn_bio.evaluation.metrics import Bootstrap

LABELS = np.array([1, 1, 0, 0])
RIGHT, HALF, WRONG = np.array([[0.9, 0.8, 0.2, 0.1], [0.9, 0.1, 0.8, 0.0], [0.1, 0.2, 0.8, 0.9]])


def test_lead_of_means():
    from promoter import lead_of_means

    bootstrap = Bootstrap(LABELS, units=np.arange(4))
    # AUROC 1, 0.75 and 0.
    lead = lead_of_means([RIGHT, HALF], [WRONG, HALF], bootstrap)
    assert lead["value"] == pytest.approx((1 + 0.75) / 2 - (0 + 0.75) / 2)
    same = lead_of_means([RIGHT, HALF], [HALF, RIGHT], bootstrap)
    # the same bootstrap samples for all
    assert (same["low"], same["value"], same["high"]) == (0, 0, 0)
