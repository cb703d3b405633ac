"""Test the difference of mean AUROC over three seeds."""

import numpy as np
import pandas as pd
import pytest

LABELS = pd.Series([1, 1, 0, 0])
RIGHT, HALF, WRONG = (
    pd.Series(scores)
    for scores in ([0.9, 0.8, 0.2, 0.1], [0.9, 0.1, 0.8, 0.0], [0.1, 0.2, 0.8, 0.9])
)


def test_lead_of_means():
    from promoter import lead_of_means

    # AUROC 1, 0.75 and 0.
    assert lead_of_means([RIGHT, HALF], [WRONG, HALF], LABELS, np.arange(4))[
        "value"
    ] == pytest.approx((1 + 0.75) / 2 - (0 + 0.75) / 2)
    same = lead_of_means([RIGHT, HALF], [HALF, RIGHT], LABELS, np.arange(4))
    # the same bootstrap samples for all
    assert (same["low"], same["value"], same["high"]) == (0, 0, 0)
