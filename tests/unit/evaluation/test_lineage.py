"""Check that a model is not evaluated on records that its parents saw."""

import json

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.lineage import check_unseen, read_lineage, seen_table
from selfattn_bio.model.checkpoint import PROVENANCE, TRAINING_RECORDS
from selfattn_bio.sequence.alphabet import DNA

CALIBRATION = {"slope": 1.0, "threshold": 0.5}
HASHES = {"vocabulary_sha256": "0" * 64, "weights_sha256": "0" * 64}


def sequences(*texts):
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def records(*places):
    table = pd.DataFrame(places, columns=["id", "chrom", "start", "end"])
    return table.astype({"chrom": "str", "start": "Int64", "end": "Int64"})


def folder_of(path, table, parents=()):
    path.mkdir()
    table.to_parquet(path / TRAINING_RECORDS)
    provenance = HASHES | {"calibration": CALIBRATION, "parents": list(parents)}
    (path / PROVENANCE).write_text(json.dumps(provenance))
    return path


@pytest.fixture
def child(tmp_path):
    """Write a model that saw GGGGA; its parent saw AACCG, and CCCCC at chr2:100-105."""
    seen = records(("p1", None, None, None), ("p2", "chr2", 100, 105))
    table = seen_table(seen, sequences("AACCG", "CCCCC"), DNA, "dm3", None)
    of_parent = read_lineage(folder_of(tmp_path / "parent", table)).seen
    own = seen_table(records(("c1", "chr9", 5, 10)), sequences("GGGGA"), DNA, "dm3", of_parent)
    assert own["by_parent"].tolist() == [False, True, True]
    return folder_of(tmp_path / "child", own, [{"folder": "parent"}])


def test_records_without_coordinates_are_reported(child):
    assert read_lineage(child.parent / "parent").coordinate_warning.startswith(
        "1 of 2 training records of the parent have no coordinates; test records that"
    )
    placed = seen_table(records(("p2", "chr2", 100, 105)), sequences("CCCCC"), DNA, "dm3", None)
    assert read_lineage(folder_of(child.parent / "placed", placed)).coordinate_warning == ""


def refused(folder, letters, *places, assembly="dm3"):
    """Return whether a record with these letters and interval is refused."""
    try:
        check_unseen(folder, records(("t1", *places)), sequences(letters), DNA, assembly)
    except ModelFolderError:
        return True
    return False


@pytest.mark.parametrize("letters", ["AACCG", "CGGTT"])  # the same letters, the other strand
def test_sequences_seen_by_parent_are_refused(child, letters):
    table = records(("t1", "chr7", 0, 5), ("t2", "chr8", 0, 5))
    message = "1 of 2 test records were seen by a parent of the model, such as 't2'"
    with pytest.raises(ModelFolderError, match=message):
        check_unseen(child, table, sequences("TTTTT", letters), DNA, "dm3")


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [(95, 100, False), (96, 101, True), (102, 103, True), (104, 200, True), (105, 110, False)],
)
def test_intervals_seen_by_parent_are_refused(child, start, end, overlaps):
    for chrom in ("chr2", "2"):  # names of one chromosome
        assert refused(child, "TTTTT", chrom, start, end) == overlaps
        assert refused(child, "TTTTT", chrom, start, end, assembly="") == overlaps
        assert not refused(child, "TTTTT", chrom, start, end, assembly="dm6")
    table = seen_table(records(("p2", "chr2", 100, 105)), sequences("CCCCC"), DNA, "", None)
    parents = [{"folder": "parent"}]
    unnamed = folder_of(child.parent / "unnamed", table.assign(by_parent=True), parents)
    assert refused(unnamed, "TTTTT", "chr2", start, end) == overlaps


def test_own_training_records_are_not_checked(child, tmp_path):
    assert not refused(child, "GGGGA", "chr9", 5, 10)
    # no parents, so nothing to check
    assert not refused(tmp_path / "parent", "AACCG", "chr2", 100, 105)
    # for the child, this is a record of its parent
    assert refused(child, "AACCG", "chr2", 100, 105)


def test_child_without_seen_table_is_refused(child):
    (child / TRAINING_RECORDS).unlink()
    message = r"seen.parquet: cannot read the list .* \(FileNotFoundError\)"
    with pytest.raises(ModelFolderError, match=message):
        check_unseen(child, records(), [], DNA, "dm3")


def test_key_of_a_pair_contains_the_second_input():
    table = records(("r1", "chr1", 100, 105), ("r2", "chr1", 200, 205))
    given = table, sequences("AACCG", "CCCCC"), DNA, "dm3", None
    alone, pairs = seen_table(*given), seen_table(*given, ["ab", "cd"])
    assert pairs["key"].tolist() == [alone["key"][0] + "ab", alone["key"][1] + "cd"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("key", None, "column 'key' is missing, not str"),
        ("start", "a", "column 'start' is str, not Int64"),
        ("by_parent", 0.5, "column 'by_parent' is float64, not bool"),
    ],
)
def test_damaged_list_of_records_is_refused(child, name, values, message):
    path = child / TRAINING_RECORDS
    table = pd.read_parquet(path).drop(columns=name)
    (table if values is None else table.assign(**{name: values})).to_parquet(path)
    with pytest.raises(ModelFolderError, match=f"{TRAINING_RECORDS}: {message}"):
        read_lineage(child)
