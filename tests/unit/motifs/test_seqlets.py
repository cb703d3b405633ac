"""Test recursive seqlets against explicit loops and tangermeme, and errors."""

import numpy as np
import pytest

from selfattn_bio.motifs.callers import clusters
from selfattn_bio.motifs.callers.clusters import BINS, call_seqlets


def planted(num=12, length=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.gamma(1.0, 0.3, (num, length)).astype(np.float32)
    for row in rows:
        start = rng.integers(5, length - 20)
        row[start : start + 9] += rng.gamma(6.0, 0.5, 9)
    return rows


def survival(rows, max_length):
    """Return the tail probability of a sum of random letters, binned as in the reference."""
    low, width = rows.min(), (rows.max() - rows.min()) / (BINS - 1)
    density = (
        np.bincount(((rows.astype(float) - low) / width).astype(int).ravel(), minlength=BINS)
        / rows.size
    )
    tails, of_sum = [], np.ones(1)
    for _ in range(max_length):
        of_sum = np.convolve(of_sum, density)
        tails.append(1 - np.concatenate([[0], np.cumsum(of_sum)])[:-1])
    return lambda total, length: tails[length - 1][int(np.floor((total - low * length) / width))]


def by_definition(rows, threshold, min_length, max_length):
    """Find seqlets with explicit loops.

    A seqlet is a significant span whose parts of at least `min_length` letters are significant as
    well. Longer spans are taken first, and spans that overlap them are skipped.
    """
    p_of, found = survival(rows, max_length), []
    for record, row in enumerate(rows.astype(float)):
        taken = np.zeros(len(row), dtype=bool)
        for length in range(max_length, min_length - 1, -1):
            spans = []
            for start in range(len(row) - length + 1):
                parts = [
                    (a, b)
                    for a in range(start, start + length)
                    for b in range(a + min_length, start + length + 1)
                ]
                if all(p_of(row[a:b].sum(), b - a) < threshold for a, b in parts):
                    spans.append((p_of(row[start : start + length].sum(), length), start))
            for _, start in sorted(spans):
                if not taken[start : start + length].any():
                    taken[start : start + length] = True
                    found.append((record, start, start + length))
    return sorted(found)


@pytest.mark.parametrize(
    ("threshold", "min_length", "max_length"), [(0.01, 4, 12), (0.05, 3, 8), (0.2, 5, 5)]
)
def test_seqlets_match_the_definition(monkeypatch, threshold, min_length, max_length):
    monkeypatch.setattr(clusters, "THRESHOLD", threshold)
    monkeypatch.setattr(clusters, "MIN_LENGTH", min_length)
    monkeypatch.setattr(clusters, "MAX_LENGTH", max_length)
    rows = planted()
    found = call_seqlets(list(rows))
    assert [tuple(row) for row in found[["record", "start", "end"]].to_numpy()] == by_definition(
        rows, threshold, min_length, max_length
    )
    assert len(found) >= 8
    assert (found["p_value"] < threshold).all()
    sums = [rows[row.record, row.start : row.end].sum() for row in found.itertuples()]
    np.testing.assert_allclose(found["attribution"], sums, rtol=1e-5)


def test_most_of_what_tangermeme_calls_is_called():
    reference = pytest.importorskip("tangermeme.seqlet")
    torch = pytest.importorskip("torch")
    rows = planted(40, 120)
    theirs = reference.recursive_seqlets(torch.tensor(rows)).iloc[:, :3]
    ours = call_seqlets(list(rows))[["record", "start", "end"]]
    theirs.columns = list(ours)
    assert len(ours.merge(theirs)) >= 0.9 * max(len(ours), len(theirs))


def test_records_of_any_length_and_more_than_a_chunk():
    rows = planted(600, 80)
    cut = [row[:40] if i % 2 else row for i, row in enumerate(rows)]
    found = call_seqlets(cut)
    lengths = np.array([len(row) for row in cut])
    assert (found["end"].to_numpy() <= lengths[found["record"]]).all()
    assert found["record"].nunique() > 400
    assert found["record"].is_monotonic_increasing
    assert call_seqlets([row[:3] for row in rows]).empty  # shorter than a seqlet


@pytest.mark.parametrize("rows", [[], [np.zeros(0)], [np.full(30, 2.0)]])
def test_uniform_scores_have_no_seqlets(rows):
    found = call_seqlets(rows)
    assert found.empty
    assert list(found) == ["record", "start", "end", "attribution", "p_value"]


def test_attribution_must_be_finite():
    with pytest.raises(ValueError, match="attribution contains nan"):
        call_seqlets([np.array([1.0, np.nan])])
