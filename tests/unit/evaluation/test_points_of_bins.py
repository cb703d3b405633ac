"""Worked examples of points in records, bins and their means over overlapping records."""

import re

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.errors import CorpusError
from selfattn_bio.objectives.base import Examples
from selfattn_bio.objectives.points import Bins, chance, check_judged, measure_bins, points_of
from selfattn_bio.study.evaluated import EvaluationRecords, blocks_of

BED = "c1\t5\t6\ta\t0\t+\nc1\t18\t30\tb\t0\t-\nc1\t41\t44\tc\t0\t+\nc2\t0\t1\td\t0\t+\n"


def records(**changes):
    table = {"id": ["r0", "r1"], "chrom": "c1", "start": [0, 20], "length": [40, 35]}
    return pd.DataFrame(table | {"strand": ["+", "."]} | changes)


@pytest.fixture
def bed(tmp_path):
    path = tmp_path / "points.bed"
    path.write_text(BED)
    return path


def test_point_is_the_first_base_on_its_strand(bed):
    first, second = points_of(bed, records())
    assert (first.at.tolist(), first.strand.tolist()) == ([5, 29], [0, 1])
    assert (second.at.tolist(), second.strand.tolist()) == ([9, 21], [1, 0])
    assert first.labels(10).tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]
    # The last 5 bp are not a complete bin
    assert second.labels(10).tolist() == [[0, 1], [0, 0], [1, 0]]


def test_points_follow_shift_and_reverse_complement(bed):
    first = points_of(bed, records())[0].seen(4, 34, reverse=True)
    assert (first.at.tolist(), first.strand.tolist(), first.length) == ([28, 4], [1, 0], 30)
    cut = points_of(bed, records())[0].seen(6, 29, reverse=False)
    assert cut.at.tolist() == []


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"strand": ["+", "-"]}, "", "record 'r1' is on the reverse strand; objective 'bins'"),
        ({"start": [0, np.nan]}, "", "record 'r1' has no coordinates; objective 'bins' needs"),
        ({}, "c1\t70\t71\te\t0\t.\n", "points.bed:5: the point has no strand"),
    ],
)
def test_records_and_points_must_have_strands(bed, changes, line, message):
    bed.write_text(BED + line)
    with pytest.raises(CorpusError, match=message):
        points_of(bed, records(**changes))


def test_chromosome_names_match_the_records(tmp_path, caplog):
    """One file has "chr" in its names, the other has not; no record is on c2."""
    path = tmp_path / "named.bed"
    path.write_text(BED.replace("c1", "chr1"))
    for _ in ("train", "valid"):
        first, second = points_of(path, records(chrom=["1", "1"]))
        assert (first.at.tolist(), second.at.tolist()) == ([5, 29], [9, 21])
    (message,) = caplog.messages
    assert message.startswith(f"{path}: chromosome names differ from those of the records")
    caplog.clear()
    path.write_text(BED)
    points_of(path, records())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": [0, 25]}, "multiples of the bin size (10 bp, counted from 0): 1, such as c1:25"),
        ({"chrom": "c3"}, "0 of 7 complete bins of the test split contain a point; metrics need"),
        ({"length": [8, 15]}, "1 of 1 complete bins of the test split contain a point; metrics"),
    ],
)
def test_records_without_possible_metrics(bed, changes, message):
    points = points_of(bed, records(**changes))
    with pytest.raises(CorpusError, match=f"^corpus: .*{re.escape(message)}"):
        check_judged(points, 10, "test", "corpus")
    check_judged(points_of(bed, records()), 10, "test", "corpus")


def test_a_bin_of_two_records_is_one_and_their_mean(bed):
    bins = Bins.of(points_of(bed, records()), 10)
    assert bins.table["start"].tolist() == [0, 10, 20, 30, 40]
    assert bins.labels.tolist() == [1, 0, 1, 0, 1]
    said = bins.joined([np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 6.0, 7.0])])
    assert said.tolist() == [1, 2, 4, 5, 7]


def test_chances_of_both_strands_are_independent():
    by_strand = np.array([[0.1, 0.3], [0.5, 0.0001]])
    joint = 1 - (1 - by_strand).prod(axis=1)
    log_rates = np.log(-np.log1p(-by_strand))
    assert chance(log_rates) == pytest.approx(joint)
    measured = measure_bins(log_rates, np.array([0, 1]))
    assert measured["loss"] == pytest.approx(-(np.log(1 - joint[0]) + np.log(joint[1])) / 2)
    assert measured["auprc"] == 1.0
    assert np.isnan(measure_bins(log_rates, np.array([0, 0]))["auprc"])


def test_points_of_one_block_have_no_interval():
    chromosomes = pd.DataFrame({"chrom": ["c", "c", "d"], "start": [0, 90, 0]})
    assert blocks_of(chromosomes, 100).tolist() == [0, 0, 1]
    table = pd.DataFrame({"chrom": "c", "start": np.arange(60) * 10})
    records = EvaluationRecords(None, {}, {}, np.zeros(0), "records", 100)

    def units_of(*starts):
        examples = Examples(table, table["start"].isin(starts).to_numpy(np.int64))
        return records.units_of(examples, "test")

    assert units_of(0, 100).numbers.tolist() == [*np.arange(60) // 10]
    message = "the points of the test split are in 1 block of 100 bp, and a confidence interval"
    for starts in ([0], [0, 90]):
        with pytest.raises(CorpusError, match=message):
            units_of(*starts)
