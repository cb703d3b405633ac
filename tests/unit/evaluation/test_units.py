"""Test how independent units are counted."""

import pandas as pd
import pytest

from selfattn_bio.evaluation.units import count_units, growth


def test_units_of_a_class_have_many_of_its_records():
    """Stray records of a class do not count; missing values and columns of numbers may be there."""
    keys = ["a"] * 10 + ["b"] * 10 + ["c"] * 4
    kinds = ["x"] * 9 + ["y"] + ["y"] * 10 + ["x", "x", "y", "y"]
    classes = pd.DataFrame({"kind": kinds, "label": [1.0] * 20 + [None] * 4, "all": "records"})
    counts = count_units(keys, classes)
    assert counts.to_dict() == {
        ("kind", "x"): 2,
        ("kind", "y"): 2,
        ("label", 1.0): 2,
        ("all", "records"): 3,
    }


@pytest.mark.parametrize(("found", "factor"), [(10, 1), (5, 4), (0, 100)])
def test_growth_is_that_of_records(found, factor):
    assert growth(found, 10) == factor
