"""Test intervals against masks of positions and pairs of intervals, and tables of results."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from letters import BASES
from scipy.sparse.csgraph import connected_components

from selfattn_bio.errors import OutputError
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.intervals import (
    Cover,
    counts_before,
    merge_intervals,
    overlapping,
    run_numbers,
)
from selfattn_bio.sequence.tables import on_chromosome, read_bed, write_bed, write_table

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


# ------------ tables of results: BED, TSV, Parquet
def test_bed_has_more_columns_and_comes_back(tmp_path):
    records = pd.DataFrame({"id": ["a", "1"]} | dict.fromkeys(["chrom", "start", "end", "strand"]))
    places = {"record": [0, 1], "start": [3, 0], "end": [9, 6], "strand": ["+", "-"], "name": "m"}
    places |= {"score": [5, 1000], "p_value": [1e-5, 2e-4]}
    rows = on_chromosome(pd.DataFrame(places), records)
    write_bed(tmp_path / "a.bed", rows, ["p_value"])
    text = (tmp_path / "a.bed").read_text()
    assert text == "1\t0\t6\tm\t1000\t-\t0.0002\na\t3\t9\tm\t5\t+\t1e-05\n"
    found = read_bed(tmp_path / "a.bed").rename(columns={6: "p_value"})
    pd.testing.assert_frame_equal(found, rows, check_dtype=False)
    (tmp_path / "short.bed").write_text("a\t3\t9\n")
    with pytest.raises(ValueError, match=r"BED file has 3 columns instead of chrom, start"):
        read_bed(tmp_path / "short.bed")
    write_bed(tmp_path / "none.bed", rows[:0])
    assert read_bed(tmp_path / "none.bed").empty


def test_bed_names_stay_text(tmp_path):
    names = ["one#1#chr1", "007", "1e5", "NA", 'a"b', '"c"']
    rows = pd.DataFrame(
        {"chrom": names, "start": 3, "end": 9, "name": names[::-1], "score": 5, "strand": "+"}
    )
    write_bed(tmp_path / "a.bed", rows)
    assert (tmp_path / "a.bed").read_text().splitlines()[4] == 'a"b\t3\t9\t007\t5\t+'
    pd.testing.assert_frame_equal(read_bed(tmp_path / "a.bed"), rows, check_dtype=False)


def test_tables_as_tsv_and_parquet(tmp_path):
    table = pd.DataFrame({"name": ["m", "n"], "p_value": [0.25, 1e-9]})
    for name, read in (("t.tsv", partial(pd.read_csv, sep="\t")), ("t.parquet", pd.read_parquet)):
        write_table(tmp_path / name, table)
        pd.testing.assert_frame_equal(read(tmp_path / name), table, check_dtype=False)
    message = r"the output file must end with .tsv or .parquet"
    with pytest.raises(OutputError, match=message):
        write_table(tmp_path / "t.csv", table)


def test_bed_intervals_match_their_sequences():
    chromosome = np.random.default_rng(0).choice(BASES, 120)
    letters = [chromosome[20:60], DNA.reverse_complement(chromosome[50:100]), chromosome[:30]]
    # one record of each strand, and one without coordinates
    rows = [("a", "chr1", 20, 60, "+"), ("b", "chr1", 50, 100, "-"), ("c", None, None, None, None)]
    records = pd.DataFrame(rows, columns=["id", "chrom", "start", "end", "strand"])
    records = records.astype({"start": "Int64", "end": "Int64"})
    columns = {"record": [0, 0, 1, 1, 2], "start": [3, 10, 0, 41, 5], "end": [11, 18, 8, 50, 12]}
    columns |= {"strand": list("+-+-+"), "name": ["p0", "p1", "p2", "p3", "p4"], "score": 1}
    places = pd.DataFrame(columns)
    rows = on_chromosome(places, records).set_index("name")
    for place in places.itertuples():
        read = letters[place.record][place.start : place.end]
        read = read if place.strand == "+" else DNA.reverse_complement(read)
        row = rows.loc[place.name]
        source = letters[2] if row["chrom"] == "c" else chromosome
        fetched = source[row["start"] : row["end"]]
        fetched = fetched if row["strand"] == "+" else DNA.reverse_complement(fetched)
        assert bytes(fetched) == bytes(read), place.name
    assert rows.loc["p2", ["chrom", "start", "end", "strand"]].tolist() == ["chr1", 92, 100, "-"]
    assert rows.loc["p4", "chrom"] == "c"
