"""Test the findings of the figures on motifs, attribution and subsets of records."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.report.class_figures import _read_slices
from selfattn_bio.report.figures import _effects, _peak, interpretation


def test_peak_has_positions_from_1():
    attribution = np.ones((2, 300))
    attribution[:, :30] = 3
    assert _peak(attribution) == (
        "Attribution is highest at positions 1 to 30: 25 % of the total (10 % if it were even)."
    )
    assert _peak(np.array([[1, 1, 5, 1]])) == (
        "Attribution is highest at position 3: 62 % of the total (25 % if it were even)."
    )
    assert _peak(np.zeros((2, 30))) == _peak(np.zeros((2, 0))) == ""


@pytest.mark.parametrize(("low", "count"), [(0.55, 2), (0.45, 1)])
def test_slices_above_chance_are_counted(low, count):
    aurocs = [{"value": 0.6, "low": low, "high": 0.7}, {"value": 0.8, "low": 0.7, "high": 0.9}]
    entries = [{"model": {"auroc": auroc}} for auroc in aurocs] + [{"model": None}]
    assert _read_slices(entries) == (
        f"AUROC is above chance in {count} of 2 subsets; the lowest is 0.600 ({low:.3f} to 0.700)."
    )
    assert _read_slices([{"model": None}]) == "No subset has records of both classes."


def test_findings_are_on_what_was_measured(tmp_path, results):
    def findings(of):
        drawings = interpretation(of, tmp_path / "plots")
        return {drawing.name: drawing.finding for drawing in drawings}

    found = findings(results)
    assert found["evidence"] == (
        "Of 2 motifs, 1 changes the prediction (interval without 0): 1 raises it."
    )
    assert found["attention"].startswith("Attribution is highest at positions ")
    unknown = replace(results.explained, hypothetical=results.explained.hypothetical[:, :, :0])
    assert findings(replace(results, explained=unknown))["attention"] == ""


def test_effects_of_numbers_have_a_figure_per_unit(tmp_path):
    table = pd.DataFrame(
        {
            "name": [f"motif_0{number}" for number in range(1, 6)],
            "unit": ["liver", "liver", "liver", "liver", "heart"],
            "effect": [-0.9, 1.0, 0.8, 0.0, 0.5],
            "effect_low": [-1.0, 0.8, 0.6, -0.1, -0.1],
            "effect_high": [-0.8, 1.2, 0.9, 0.1, 1.1],
            "verdict": "supported",
            "match": "",
            "match_q": np.nan,
        }
    )
    liver, heart = _effects(table, "bases", tmp_path)
    assert (liver.name, heart.name) == ("evidence", "evidence_1")
    assert (liver.title, heart.title) == tuple(
        f"Effect of each motif on {unit}" for unit in ("liver", "heart")
    )
    assert "effect on liver" in liver.svg
    assert "motif_05" not in liver.svg
    assert liver.finding == (
        "Of 4 motifs, 3 change the prediction (interval without 0): 2 raise it, 1 lowers it."
    )
    assert heart.finding == "Of 1 motif, 0 change the prediction (interval without 0)."
