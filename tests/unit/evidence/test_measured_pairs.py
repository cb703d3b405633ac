"""Test the measured means of pairs of motifs."""

import numpy as np
import pandas as pd

from selfattn_bio.evidence import interactions

SITE = ["name", "record", "start", "end", "strand"]


def test_measured_means_show_a_pair_that_the_model_does_not_use():
    truth = np.array([0.2, 0.4, 0.5, 0.3, 1.2, 1.4])
    hits = pd.DataFrame([("a", row, 0, 6, "+") for row in (2, 4, 5)], columns=SITE)
    hits = pd.concat(
        [hits, pd.DataFrame([("b", row, 20, 26, "+") for row in (3, 4, 5)], columns=SITE)]
    )
    used = hits[hits["record"] == 4]
    pairs = pd.DataFrame({"name_a": ["a"], "name_b": ["b"], "verdict": ["redundant"]})
    found = interactions.measured_pairs(pairs, ["b", "c", "a"], used, hits, truth)
    assert list(found) == interactions.MEASURED
    assert found[["name_a", "name_b", "verdict", "used"]].to_numpy().tolist() == [
        ["a", "b", "redundant", 1],
        ["a", "c", "not tested", 0],
        ["b", "c", "not tested", 0],
    ]
    first, without_c = found[list(interactions.MATCHES)].to_numpy()[:2]
    np.testing.assert_allclose(first, [0.3, 0.5, 0.3, 1.3, np.nan])
    np.testing.assert_allclose(without_c, [0.3, 3.1 / 3, *[np.nan] * 3])
    records = found[[f"{name}_records" for name in interactions.MATCHES]].to_numpy()
    assert records[:2].tolist() == [[2, 1, 1, 2, 0], [3, 3, 0, 0, 0]]
    none = interactions.measured_pairs(pairs[:0], [], used[:0], hits[:0], truth)
    assert (len(none), list(none)) == (0, interactions.MEASURED)


def test_one_site_of_both_motifs_is_no_pair():
    """In record 0 all hits overlap, in record 1 a second hit of a does not, 2 has touching hits."""
    hits = pd.DataFrame(
        [
            *[("a", 0, 0, 6, "+"), ("a", 0, 7, 13, "+"), ("b", 0, 5, 11, "+")],
            *[("a", 1, 2, 8, "+"), ("b", 1, 2, 8, "-"), ("a", 1, 20, 26, "+")],
            *[("b", 2, 0, 6, "+"), ("a", 2, 6, 12, "+")],
        ],
        columns=SITE,
    )
    for name, other in ("ab", "ba"):
        named = hits.replace({"name": {"a": name, "b": other}})
        pairs = pd.DataFrame({"name_a": [], "name_b": [], "verdict": []})
        found = interactions.measured_pairs(pairs, ["a", "b"], hits[:0], named, np.arange(4.0))
        row = found.iloc[0]
        assert (row["both"], row["both_records"]) == (1.5, 2)
        assert (row["overlap"], row["overlap_records"]) == (0, 1)
        assert (row["neither"], row["only_first_records"], row["only_second_records"]) == (3, 0, 0)
