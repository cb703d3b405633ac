"""Planted leaks of each kind are found with their source, and records that parents saw refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from listed_records import corpus_of, seen

from selfattn_bio.errors import ModelFolderError
from selfattn_bio.evaluation.leakage import Part, counts_of, find_leaks, shifts_of, tells_label
from selfattn_bio.evaluation.lineage import check_unseen, read_lineage
from selfattn_bio.model.checkpoint import PROVENANCE, TRAINING_RECORDS
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy

letters_of = SequencePolicy(DNA).letters_of

NUM = 40


def random(rng, alphabet=DNA, length=300):
    letters = np.frombuffer(alphabet.letters.encode(), np.uint8)
    return letters[rng.integers(0, len(letters), length)]


def mutated(rng, letters, fraction, alphabet=DNA):
    changed = letters.copy()
    for at in rng.choice(len(letters), round(fraction * len(letters)), replace=False):
        others = [letter for letter in alphabet.letters.encode() if letter != letters[at]]
        changed[at] = rng.choice(others)
    return changed


def part(name, letters, **columns):
    ids = [f"{name}{i}" for i in range(len(letters))]
    table = pd.DataFrame({"id": ids, "label": np.arange(len(ids)) % 2})
    places = {"chrom": None, "start": None, "end": None, "group": None} | columns
    types = {"label": "Int8", "start": "Int64", "end": "Int64", "chrom": "str", "group": "str"}
    return Part(name, table.assign(**places).astype(types), letters, "dm3")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def placed(rng, name, chrom, group):
    """Return random records of 300 bp, 1,000 bp apart, each in a group."""
    letters, starts = [random(rng) for _ in range(NUM)], 1000 * np.arange(NUM)
    groups = [f"{group}{i}" for i in range(NUM)]
    return part(name, letters, chrom=chrom, start=starts, end=starts + 300, group=groups)


@pytest.fixture
def train(rng):
    return placed(rng, "train", "c1", "g")


@pytest.fixture
def test(rng):
    return placed(rng, "test", "c2", "h")


def leaks_of(test, *sources, seen=None, alphabet=DNA):
    return find_leaks(test, sources, seen or {}, alphabet)


def only(rows):
    """Return text per test record: that of these rows, empty for the others."""
    return [rows.get(row, "") for row in range(NUM)]


LEAKING = ["similarity", "duplicate", "overlap", "shared", "seen_by"]
LETTERS = {
    "exact duplicate": (lambda rng, row: row.copy(), "+", 1.0),
    "on the other strand": (lambda rng, row: DNA.reverse_complement(row), "-", 1.0),
    "a twentieth mutated": (lambda rng, row: mutated(rng, row, 0.05), "+", 0.35),
    "a tenth": (lambda rng, row: DNA.reverse_complement(mutated(rng, row, 0.1)), "-", 0.15),
    "contained": (lambda rng, row: row[80:200].copy(), "+", 1.0),
    "shifted": (lambda rng, row: np.concatenate([row[150:], random(rng)[:150]]), "+", 0.4),
}


def test_independent_records_have_no_leak(test, train):
    leaks = leaks_of(test, train)
    assert leaks[LEAKING].drop_duplicates().values.tolist() == [[0.0, "", "", "", ""]]


@pytest.mark.parametrize(("plant", "strand", "least"), LETTERS.values(), ids=LETTERS)
def test_leaks_of_sequences(rng, test, train, plant, strand, least):
    test.letters[7] = plant(rng, train.letters[4])
    leaks = leaks_of(test, train)
    found = leaks.iloc[7]
    assert (found["neighbour"], found["of"], found["strand"]) == ("train4", "train", strand)
    assert least <= found["similarity"] <= 1
    assert (found["duplicate"] == "train4") == (len(test.letters[7]) == 300 and least == 1)
    assert (leaks["similarity"] > 0).sum() == 1


@pytest.mark.parametrize(
    ("start", "strand", "letters"),
    [(4299, "+", 1), (4299, "-", 1), (4100, "+", 200), (3701, "-", 1), (4300, "+", 0)],
)
def test_leak_of_intervals(test, train, start, strand, letters):
    test.records.loc[7, ["chrom", "start", "end"]] = ["c1", start, start + 300]
    leaks = leaks_of(Part("test", test.records.assign(strand=strand), test.letters, "dm3"), train)
    expected = ("train4", letters) if letters else ("", 0)
    assert (leaks["overlap"][7], leaks["overlap_letters"][7]) == expected
    assert (leaks["overlap"] != "").sum() == (letters > 0)
    other = leaks_of(Part("test", test.records, test.letters, "dm6"), train)
    assert (other["overlap"] == "").all()
    assert other["overlap_letters"].isna().all()
    test.records.loc[7, "chrom"] = "chrc1"  # another name of c1
    assert leaks_of(test, train)["overlap_letters"][7] == letters


def test_the_largest_overlap_is_named(test, train):
    """The record that began long before has the longest overlap."""
    train.records.loc[0, ["start", "end"]] = [0, 40_000]
    test.records.loc[7, ["chrom", "start", "end"]] = ["c1", 20_250, 20_550]
    leaks = leaks_of(test, train)
    assert leaks["overlap"][7] == "train0"
    assert leaks["overlap_letters"][7] == 300


def test_leak_of_groups(test, train):
    test.records.loc[7, "group"] = "g4"
    species = Part("test", test.records.assign(species="fly"), test.letters)
    assert leaks_of(species, train)["shared"].tolist() == only({7: "group=g4"})
    both = leaks_of(species, Part("train", train.records.assign(species="fly"), train.letters))
    expected = dict.fromkeys(range(NUM), "species=fly") | {7: "group=g4;species=fly"}
    assert both["shared"].tolist() == only(expected)
    assert counts_of(both, 0.15)["shared"] == {"species": NUM, "group": 1}


def test_leak_through_a_parent(rng, test, train):
    """The parent saw one test record on the other strand, and a window that overlaps another."""
    records = test.records.iloc[[3, 9]].reset_index(drop=True)
    records.loc[0, ["chrom", "start", "end"]] = [None, None, None]
    records.loc[1, ["start", "end"]] = [9250, 9550]
    letters = [DNA.reverse_complement(test.letters[3]), random(rng)]
    by_parent = {"parent": seen(records, letters, "dm3")}
    # Coordinates of another assembly do not match, equal sequences do
    for assembly, rows in (("dm3", [3, 9]), ("dm6", [3])):
        leaks = leaks_of(Part("test", test.records, test.letters, assembly), train, seen=by_parent)
        assert leaks.index[leaks["seen_by"] == "parent"].tolist() == rows
        assert counts_of(leaks, 0.15)["seen"] == len(rows)


def test_leak_through_a_corpus_of_pretraining(rng, test, train):
    pretraining = part("pretraining", [random(rng), mutated(rng, test.letters[7], 0.07)])
    leaks = leaks_of(test, train, pretraining)
    assert leaks["neighbour"].tolist() == only({7: "pretraining1"})
    assert leaks["of"][7] == "pretraining"


def test_leak_of_the_label_through_length_or_gc(rng, test):
    assert tells_label(test, DNA)["length"] == 0.5
    assert tells_label(test, DNA)["GC content"] < 0.75
    pairs = list(zip(test.letters, test.records["label"], strict=True))
    short = [row[: 300 - 20 * int(label)] for row, label in pairs]
    assert tells_label(Part("test", test.records, short), DNA)["length"] == 1.0
    at = [row if label else letters_of("AATTC" * 60) for row, label in pairs]
    assert tells_label(Part("test", test.records, at), DNA)["GC content"] > 0.95
    assert tells_label(Part("test", test.records.assign(label=pd.NA), short), DNA) == {}
    assert tells_label(Part("test", test.records[:9], short[:9]), DNA) == {}  # 5 and 4 by chance
    assert tells_label(Part("test", test.records[:10], short[:10]), DNA)["length"] == 1.0


def test_leaks_of_peptides(rng):
    train = part("train", [random(rng, PROTEIN, 30) for _ in range(NUM)])
    twins = [
        train.letters[4].copy(),
        mutated(rng, train.letters[5], 0.1, PROTEIN),
        train.letters[6][5:12],
        np.concatenate([random(rng, PROTEIN, 70), train.letters[8]]),
    ]
    test = part("test", [*twins, *(random(rng, PROTEIN, 30) for _ in range(NUM))])
    leaks = leaks_of(test, train, alphabet=PROTEIN)
    assert leaks["neighbour"].tolist() == ["train4", "train5", "train6", "train8"] + [""] * NUM
    assert set(leaks["strand"]) == {".", ""}
    assert leaks["duplicate"].tolist() == ["train4"] + [""] * (NUM + 3)


def test_duplicates_too_short_for_a_k_mer():
    test = part("test", [letters_of(text) for text in ("ACG", "CGT", "AAA")])
    leaks = leaks_of(test, part("train", [letters_of("ACG")]))
    assert leaks["duplicate"].tolist() == ["train0", "train0", ""]
    assert leaks["similarity"].tolist() == [1, 1, 0]


def test_counts():
    labels = {"label": [1, 0, 1, None, 1], "neighbour_label": [1, 1, None, 1, 0]}
    leaks = pd.DataFrame(labels).astype("Int8").assign(similarity=[1.0, 0.99, 0.3, 0.29, 0.0])
    sources = {"duplicate": ["a", *[""] * 4], "overlap": ["b", "b", *[""] * 3]}
    leaks["overlap_letters"] = [9, 9, 0, 0, 0]
    leaks = leaks.assign(**sources, shared="", seen_by="", partner_shared=None)
    counts = counts_of(leaks, 0.3)
    names = ("near", "near_other_label", "partners", "duplicates", "overlaps", "seen")
    assert [counts[name] for name in names] == [3, 1, None, 1, 2, 0]
    pairs = counts_of(leaks.assign(partner_shared=[True, False, True, False, False]), 0.3)
    assert [pairs[name] for name in names] == [3, None, 2, 1, 2, 0]
    unplaced = leaks.assign(overlap="", overlap_letters=None)
    assert counts_of(unplaced, 0.3)["overlaps"] is None
    nearest = {row["from"]: row["count"] for row in counts["nearest"]}
    assert nearest == {0.05: 0, 0.1: 0, 0.15: 1, 0.3: 1, 0.5: 0, 0.8: 1, 1.0: 1}


def test_shifts_have_an_effect_and_a_test(rng, train, test):
    same = {row["what"]: row for row in shifts_of(train, test, DNA)}
    assert set(same) == {"positives", "GC content"}  # all records have the same length
    assert all(row["p"] > 1e-3 for row in same.values())
    letters = [np.concatenate([row, letters_of("GC" * 30)]) for row in test.letters]
    richer = Part("test", test.records.assign(label=1), letters)
    moved = {row["what"]: row for row in shifts_of(train, richer, DNA)}
    assert moved["positives"]["effect"] == 0.5
    assert moved["GC content"]["effect"] > 1
    assert all(row["p"] < 1e-6 for row in moved.values())
    long, short = part("train", [random(rng, PROTEIN)]), part("test", [random(rng, PROTEIN)[:-1]])
    assert [row["what"] for row in shifts_of(long, short, PROTEIN)] == ["positives", "length"]


def test_second_inputs_that_are_also_in_train(test, train):
    assert leaks_of(test, train)["partner_shared"].isna().all()
    of_train = replace(train, partners=["a", "b"] * (len(train.letters) // 2))
    pairs = replace(test, partners=["b", *["c"] * (NUM - 1)])
    found = leaks_of(pairs, of_train)["partner_shared"]
    assert found.tolist() == [True, *[False] * (NUM - 1)]


def test_pair_that_a_model_has_seen(rng, test, train):
    """A model with two inputs saw one pair, and one with one input the same first input."""
    partners = [f"{row:064x}" for row in range(NUM)]
    pairs = Part("test", test.records, test.letters, "dm3", partners)
    unplaced = test.records.iloc[[3, 9]].assign(chrom=None, start=None, end=None)
    letters = [test.letters[3], test.letters[9]]
    by_model = {
        "both": seen(unplaced, letters, "dm3", partners=[partners[3], "other"]),
        "first": seen(unplaced, letters, "dm3"),
    }
    found = leaks_of(pairs, train, seen=by_model)["seen_by"]
    assert found.tolist() == only({3: "both;first", 9: "first"})


# ------------ records that parents saw
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
    of_parent = records(("p1", None, None, None), ("p2", "chr2", 100, 105))
    table = seen(of_parent, sequences("AACCG", "CCCCC"), "dm3")
    parent = read_lineage(folder_of(tmp_path / "parent", table))
    own = seen(records(("c1", "chr9", 5, 10)), sequences("GGGGA"), "dm3", parent)
    assert own["by_parent"].tolist() == [False, True, True]
    return folder_of(tmp_path / "child", own, [{"folder": "parent"}])


def test_records_without_coordinates_are_reported(child):
    assert read_lineage(child.parent / "parent").coordinate_warning.startswith(
        "1 of 2 training records of the parent have no coordinates; test records that"
    )
    placed = seen(records(("p2", "chr2", 100, 105)), sequences("CCCCC"), "dm3")
    assert read_lineage(folder_of(child.parent / "placed", placed)).coordinate_warning == ""


def check(folder, table, letters, assembly="dm3"):
    """Check all records of a corpus with this table and these letters."""
    check_unseen(folder, corpus_of(table, letters, assembly), np.arange(len(table)))


def refused(folder, letters, *places, assembly="dm3"):
    """Return whether a record with these letters and interval is refused."""
    try:
        check(folder, records(("t1", *places)), sequences(letters), assembly)
    except ModelFolderError:
        return True
    return False


@pytest.mark.parametrize("letters", ["AACCG", "CGGTT"])  # the same letters, the other strand
def test_sequences_seen_by_parent_are_refused(child, letters):
    table = records(("t1", "chr7", 0, 5), ("t2", "chr8", 0, 5))
    message = "1 of 2 test records were seen by a parent of the model, such as 't2'"
    with pytest.raises(ModelFolderError, match=message):
        check(child, table, sequences("TTTTT", letters))


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [(95, 100, False), (96, 101, True), (102, 103, True), (104, 200, True), (105, 110, False)],
)
def test_intervals_seen_by_parent_are_refused(child, start, end, overlaps):
    for chrom in ("chr2", "2"):  # names of one chromosome
        assert refused(child, "TTTTT", chrom, start, end) == overlaps
        assert refused(child, "TTTTT", chrom, start, end, assembly="") == overlaps
        assert not refused(child, "TTTTT", chrom, start, end, assembly="dm6")
    table = seen(records(("p2", "chr2", 100, 105)), sequences("CCCCC"))
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
        check(child, records(), [])


def test_key_of_a_pair_contains_the_second_input():
    table = records(("r1", "chr1", 100, 105), ("r2", "chr1", 200, 205))
    letters = sequences("AACCG", "CCCCC")
    alone, pairs = seen(table, letters), seen(table, letters, partners=["ab", "cd"])
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


def test_parent_that_is_no_model_is_refused(tmp_path):
    message = "model: the parent is no trained model: .* correct parent in"
    with pytest.raises(ModelFolderError, match=message):
        read_lineage(tmp_path / "model")
