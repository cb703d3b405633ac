"""Test overlaps, runs and counts of intervals against masks of positions and pairs of intervals."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from selfattn_bio.sequence.intervals import (
    Cover,
    counts_before,
    merge_intervals,
    overlapping,
    run_numbers,
)

INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=8)
repeated = settings(deadline=None, max_examples=100, derandomize=True)


def arrays(intervals):
    starts, lengths = np.array(intervals, np.int64).reshape(-1, 2).T
    return starts, starts + lengths


def mask_of(intervals, size):
    mask = np.zeros(size, bool)
    for start, length in intervals:
        mask[start : start + length] = True
    return mask


@repeated
@given(INTERVALS, st.integers(-1, 4))
def test_run_numbers(intervals, gap):
    starts, ends = arrays(intervals)
    numbers = run_numbers(starts, ends, gap)
    near = (starts[:, None] <= ends + gap) & (starts <= ends[:, None] + gap)
    if not len(starts):
        assert numbers.tolist() == []
        return
    expected = connected_components(near, directed=False)[1]
    assert len(set(zip(numbers.tolist(), expected.tolist(), strict=True))) == len(set(expected))
    assert sorted(set(numbers.tolist())) == list(range(len(set(expected))))
    firsts = [starts[numbers == number].min() for number in range(numbers.max() + 1)]
    assert firsts == sorted(firsts)


@repeated
@given(INTERVALS)
def test_merged_runs_have_the_same_positions(intervals):
    starts, ends = merge_intervals(*arrays(intervals))
    edges = np.flatnonzero(np.diff(mask_of(intervals, 42), prepend=False))
    assert np.column_stack([starts, ends]).ravel().tolist() == edges.tolist()


@repeated
@given(INTERVALS, st.integers(0, 40), st.integers(1, 20))
def test_overlapping_range(intervals, start, length):
    end = start + length
    starts, ends = arrays(sorted(intervals))
    rows = overlapping(starts, np.maximum.accumulate(ends), start, end)
    found = np.arange(len(starts))[rows]
    overlaps = np.flatnonzero((starts < end) & (ends > start))
    assert set(overlaps) <= set(found)
    if len(found):
        assert found[0] == overlaps[0] or not len(overlaps)
    # of disjoint intervals, exactly those that overlap
    starts, ends = merge_intervals(starts, ends)
    rows = overlapping(starts, ends, start, end)
    expected = np.flatnonzero((starts < end) & (ends > start))
    assert np.arange(len(starts))[rows].tolist() == expected.tolist()


def test_counts_before():
    mask = np.array([True, False, True, True])
    assert counts_before(mask).tolist() == [0, 1, 1, 2, 3]
    assert counts_before(mask[:0]).tolist() == [0]


@repeated
@given(INTERVALS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)), max_size=5))
def test_covered_bases_are_counted(intervals, windows):
    mask = mask_of(intervals, 80)
    starts, ends = arrays(intervals)
    cover = Cover(pd.DataFrame({"chrom": "chr1", "start": starts, "end": ends}))
    rows = [("chr1", start, start + length) for start, length in windows]
    asked = pd.DataFrame([*rows, ("chr2", 0, 9)], columns=["chrom", "start", "end"])
    assert cover.bases_of(asked).tolist() == [*(mask[a:b].sum() for _, a, b in rows), 0]
