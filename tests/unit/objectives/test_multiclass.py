"""Test the targets of classes."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config.objective import MulticlassObjective
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.loss import UNKNOWN


@pytest.mark.parametrize("values", [["b", None, "a"], [None] * 3, ["a", "a", "b"]])
def test_records_without_a_class_are_unknown(values):
    """Also if all records of a split lack it."""
    objective = objective_of(MulticlassObjective(column="y", classes=("a", "b")))
    table = pd.DataFrame({"y": pd.Series(values, dtype="str")})
    found = objective.targets(table, table, "t.tsv")
    assert found.dtype == np.int64
    assert found.tolist() == [{"a": 0, "b": 1}.get(value, UNKNOWN) for value in values]
