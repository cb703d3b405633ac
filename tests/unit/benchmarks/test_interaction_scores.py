"""Average precision of planted pairs against others as far apart: by hand."""

import numpy as np
import pandas as pd
import pytest


def test_a_called_pair_is_planted_if_it_lies_on_both_halves():
    import interactions as bench

    truth = pd.DataFrame(
        [(0, 10, 20, "p"), (0, 30, 40, "p"), (0, 60, 70, ""), (1, 10, 20, "p"), (1, 30, 40, "p")],
        columns=["record", "start", "end", "pair"],
    )
    rows = [(0, 9, 17, 31, 41), (0, 31, 41, 9, 17), (0, 9, 17, 61, 70), (0, 9, 17, 12, 18), (2, 9, 17, 31, 41), (1, 4, 14, 30, 40)]
    pairs = pd.DataFrame(rows, columns=["record", "start_a", "end_a", "start_b", "end_b"])
    assert bench.planted(pairs, truth).tolist() == [True, True, False, False, False, False]


def test_others_of_a_gap_weigh_as_much_as_the_planted_pairs():
    import interactions as bench

    pairs = pd.DataFrame({"gap": [6, 7, 8, 9, 31, 32, 90], "planted": [True, False, False, False, True, False, False]})
    by_gap = -pairs["gap"].astype(float)
    best = pairs["planted"].astype(float)
    found = bench.average_precisions(pairs.assign(epistasis=best, above=by_gap // 5, specific=best, attention=1.0, closest=0.0))
    assert (found["planted"], found["others"]) == (2, 4)  # at 90 none was planted
    assert found["epistasis"] == 1
    assert found["above"] == found["attention"] == found["closest"] == pytest.approx(0.5)


def test_what_is_called_beside_the_true_pair_is_counted():
    import interactions as bench

    table = pd.DataFrame({"name_a": list("aab"), "name_b": list("bcc"), "verdict": ["supported", "proposal", "supported"]})
    assert bench.called(table, [frozenset("ba")]) == {"true_called": 1, "others_called": 1, "others": 2, "share": 0.5}
    assert bench.called(table)["share"] == pytest.approx(2 / 3)
    assert bench.called(table[:0])["share"] == 0


def test_scores_are_those_of_the_called_sites():
    import interactions as bench

    letters = np.frombuffer(b"AAAAATTTTTAAAAAGGGGGAAAAACCCCCAAAAAAAAAA", dtype=np.uint8)
    sites = pd.DataFrame(
        [("t", 0, 5, 10, "+"), ("g", 0, 15, 20, "+"), ("c", 0, 25, 30, "+")], columns=["name", "record", "start", "end", "strand"]
    )
    truth = pd.DataFrame([(0, 5, 10, "p"), (0, 15, 20, "p")], columns=["record", "start", "end", "pair"])
    found = bench.scored_pairs(
        sites, [letters], truth, lambda rows: np.zeros(len(rows)), lambda pairs: np.ones(len(pairs)), np.random.default_rng(0)
    )
    assert found[["name_a", "name_b", "planted"]].values.tolist() == [["c", "g", False], ["g", "t", True]]  # c and t are farther apart
    assert set(bench.SCORES) <= set(found)
