"""Test splits, their tables, and that records with the same sequence leave train and valid."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from letters import ascii_of

from selfattn_bio.errors import CorpusError, SequenceFileError
from selfattn_bio.sequence import split_table
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.split_table import (
    describe,
    describe_copies,
    find_copies,
    read_split,
    remove_copies,
    strand_keys,
)
from selfattn_bio.sequence.splits import (
    SplitSampler,
    split_as_given,
    split_at_random,
    split_by_chromosome,
    split_by_cluster,
    split_by_group,
    split_by_region,
)
from selfattn_bio.split_names import SPLITS


def table(labels, **columns):
    unplaced = {"id": [f"r{i}" for i in range(len(labels))], "chrom": None, "start": pd.NA}
    unplaced |= {"end": pd.NA, "label": pd.array(labels, dtype="Int8")}
    return pd.DataFrame(unplaced | columns)


def unique_keys(num_records):
    return [str(i).encode() for i in range(num_records)]


GIVEN = {"train": "train", "dev": "valid", "valid": "valid", "test": "test", "unused": "dropped"}


def given(*values: str | None) -> pd.Series:
    return pd.Series(values, name="set", dtype="str")


def test_given_split_is_used_as_it_is():
    records = table([1, 0] * 3 + [1])
    values = given("train", "Train", "dev", " VALID ", "test", "TEST", "unused")
    split = split_as_given(records, unique_keys(7), values, GIVEN, SplitSampler(0.5, 0, 0))
    assert " ".join(split["split"]) == "train train valid valid test test dropped"
    assert split["reason"].tolist()[:2] == ["set=train", "set=Train"]


def test_given_split_without_valid_samples_train():
    values = given(*["train"] * 40, *["test"] * 4)
    keys = unique_keys(44)
    keys[1] = keys[0]
    split = split_as_given(table([0, 0, 1, 1] * 11), keys, values, GIVEN, SplitSampler(0.25, 0, 3))
    assert split["split"].value_counts().to_dict() == {"train": 30, "valid": 10, "test": 4}
    assert split["split"][0] == split["split"][1]
    valid = (split["split"] == "valid").to_numpy()
    assert set(split["reason"][valid]) == {"set=train, sampled from train"}
    assert np.bincount(np.array([0, 0, 1, 1] * 11)[valid]).tolist() == [5, 5]


def test_empty_split_values_cannot_be_mapped():
    message = r"'\(empty\)' \(2 records\).*Fill the empty cells of the column"
    with pytest.raises(CorpusError, match=message) as caught:
        split_as_given(
            table([0] * 3), list("abc"), given("train", None, None), GIVEN, SplitSampler(0.25, 0, 3)
        )
    assert "Map them" not in str(caught.value)


def test_unknown_split_values_are_counted():
    values = given("train", "fold1", "fold1", None, "test")
    message = (
        "unknown values in the split column 'set': 'fold1' (2 records), '(empty)' (1 records) "
        "(known: train, dev, valid, test, unused). Map them in [split], e.g. values = {"
    )
    with pytest.raises(CorpusError, match=re.escape(message)):
        split_as_given(
            table([0, 1, 0, 1, 0]), unique_keys(5), values, GIVEN, SplitSampler(0.1, 0, 0)
        )


def test_random_split_keeps_proportions_and_duplicates():
    labels = [1] * 60 + [0] * 140
    records, keys = table(labels), unique_keys(200)
    for i in range(0, 200, 10):
        keys[i + 1] = keys[i]
    split = split_at_random(records, keys, SplitSampler(0.2, 0.1, 3))
    counts = pd.crosstab(split["split"], records["label"].to_numpy())
    expected = [[98, 42], [28, 12], [14, 6]]
    assert counts.loc[["train", "valid", "test"]].to_numpy().tolist() == expected
    assert all(split["split"][i] == split["split"][i + 1] for i in range(0, 200, 10))
    assert split.equals(split_at_random(records, keys, SplitSampler(0.2, 0.1, 3)))
    assert not split.equals(split_at_random(records, keys, SplitSampler(0.2, 0.1, 4)))


def proportions(classes, sizes):
    """Return the number of each class in each split, for bundles of these sizes in turn."""
    bundles = np.repeat(np.arange(len(classes)), np.resize(sizes, len(classes)))[: len(classes)]
    records = table([None] * len(classes), group=bundles.astype(str))
    sampler = SplitSampler(0.2, 0.2, 0, classes)
    split = split_by_group(records, unique_keys(len(classes)), sampler)
    assert split["split"].groupby(bundles).nunique().eq(1).all()
    return [pd.crosstab(split["split"], values).loc[list(SPLITS)] for _, values in classes.items()]


def test_splits_keep_the_proportions_of_classes_and_labels():
    rng = np.random.default_rng(0)
    classes = pd.DataFrame({"kind": rng.choice(list("abc"), 400, p=(0.8, 0.15, 0.05))})
    (counts,) = proportions(classes, (1, 2, 5))
    expected = np.outer((0.6, 0.2, 0.2), classes["kind"].value_counts().sort_index())
    assert np.abs(counts - expected).to_numpy().max() <= 1
    labels = {name: rng.random(400) < p for name, p in {"x": 0.5, "y": 0.1, "z": 0.04}.items()}
    labels = pd.DataFrame(labels).replace({True: "yes", False: "no"})
    labels.loc[:9, "x"] = None
    for name, counts in zip(labels, proportions(labels, (1,)), strict=True):
        expected = np.outer((0.6, 0.2, 0.2), labels[name].value_counts().sort_index())
        assert np.abs(counts - expected).to_numpy().max() <= 2


def test_group_split_joins_groups_sharing_a_sequence():
    groups = [f"g{i // 4}" for i in range(80)]
    keys = unique_keys(80)
    keys[7] = keys[8]  # g1 and g2 share a sequence
    keys[11] = keys[40]  # and g2 shares one with g10, so all three stay together
    records = table([i % 2 for i in range(80)], group=groups)
    for seed in range(10):
        split = split_by_group(records, keys, SplitSampler(0.25, 0.25, seed))
        splits_of_group = split.groupby(records["group"])["split"].agg(set)
        assert splits_of_group.map(len).eq(1).all()
        assert splits_of_group["g1"] == splits_of_group["g2"] == splits_of_group["g10"]
        assert split["split"].value_counts().to_dict() == {"train": 40, "valid": 20, "test": 20}


def test_missing_column_names_record_and_hint():
    records = table([0, 1, 0], chrom=["c1", None, None])
    with pytest.raises(CorpusError, match=r"'r1' has no chrom to split by, like 1 more of 3"):
        split_by_chromosome(records, ["c1"], ["c2"])
    message = r"record 'r0' has no group to split by\. Add group= to the FASTA headers or a column"
    with pytest.raises(CorpusError, match=message):
        split_by_group(table([1], group=[None]), unique_keys(1), SplitSampler(0.1, 0.1, 0))


def test_unknown_chromosome_is_named():
    message = r"\[split\] test: no records on 2R, 3L \(the corpus has c1, c2\)"
    with pytest.raises(CorpusError, match=message):
        split_by_chromosome(table([0, 1], chrom=["c1", "c2"]), ["c1"], ["3L", "2R"])


@pytest.mark.parametrize(
    ("labels", "keys", "fraction", "message"),
    [
        ([1] * 9, unique_keys(9), 0.2, "all 9 records have label 1. Add the other class"),
        ([1, 0, None, None], unique_keys(4), 0.2, "2 of 4 records have no label"),
        ([1, 1, 1, 0, 0], [b"same"] * 5, 0.2, "train 2 of label 0, 3 of label 1; valid 0 of"),
        ([None] * 2, unique_keys(2), 0.2, "test need records: 1 train, 1 valid, 0 test"),
    ],
)
def test_records_that_cannot_be_split(labels, keys, fraction, message):
    with pytest.raises((CorpusError, ValueError), match=re.escape(message)):
        split_at_random(table(labels), keys, SplitSampler(fraction, fraction, 0))


def test_records_without_labels_are_split_too():
    records = table([None] * 20)
    split = split_at_random(records, unique_keys(20), SplitSampler(0.2, 0.2, 0))
    assert split["split"].value_counts().to_dict() == {"train": 12, "valid": 4, "test": 4}
    assert describe(split, records["label"], records[[]])[0] == "train: 12 records"


def placed(*places: tuple[str, int, int]) -> pd.DataFrame:
    chrom, start, end = zip(*places, strict=True)
    records = table([i % 2 for i in range(len(places))], chrom=chrom, start=start, end=end)
    return records.astype({"start": "Int64", "end": "Int64"})


def test_region_split_drops_records_across_a_border():
    starts = [0, 60, 81, 100, 120, 161, 199, 200, 220, 260, 261, 300]
    records = placed(*(("c", start, start + 40) for start in starts), *[("d", 110, 150)] * 2)
    split = split_by_region(records, valid=[("c", 100, 200)], test=[("c", 200, 300)])
    assert " ".join(split["split"]) == (
        "train train dropped valid valid dropped dropped test test test dropped train train train"
    )
    assert split["reason"][[0, 3]].tolist() == ["in no region", "in c:100-200"]
    assert split["reason"][[5, 10]].str.startswith("crosses the border of c:").all()


def test_chromosome_aliases_are_equal():
    names = ("chr1", "1", "chr2", "2", "chrM", "MT")
    records = placed(*((name, start, start + 10) for start in (0, 20) for name in names))
    by_chromosome = split_by_chromosome(records, valid=["1"], test=["chrMT"])
    assert by_chromosome["reason"][[0, 1]].tolist() == ["chrom=chr1", "chrom=1"]
    by_region = split_by_region(records, valid=[("1", 0, 99)], test=[("chrMT", 0, 99)])
    expected = ["valid", "valid", "train", "train", "test", "test"] * 2
    assert by_chromosome["split"].tolist() == by_region["split"].tolist() == expected
    pairs = placed(*((name, at, at + 10) for at in range(0, 400, 10) for name in ("1", "chr1")))
    clusters = split_by_cluster(
        pairs.assign(label=None), unique_keys(80), np.arange(80), SplitSampler(0.2, 0.2, 1)
    )
    assert (clusters["split"].to_numpy()[::2] == clusters["split"].to_numpy()[1::2]).all()


def test_region_split_refuses_an_empty_region():
    records = placed(*(("c", start, start + 10) for start in (0, 20, 100, 120, 200, 220, 300)))
    with pytest.raises(CorpusError, match=r"\[split\] test: no records within e:0-9"):
        split_by_region(records, valid=[("c", 100, 200)], test=[("e", 0, 9)])


def test_cluster_split_keeps_clusters_and_proportions():
    clusters = np.repeat(np.arange(50), 4)
    keys = unique_keys(200)
    keys[7] = keys[8]  # clusters 1 and 2 share a sequence
    records = placed(*(("c", 100 * i, 100 * i + 50) for i in range(200))).assign(
        label=[i // 100 for i in range(200)]
    )
    split = split_by_cluster(records, keys, clusters, SplitSampler(0.2, 0.2, 1))
    assert split.groupby(clusters)["split"].nunique().eq(1).all()
    assert split["split"][7] == split["split"][8]
    assert pd.crosstab(split["split"], records["label"].to_numpy()).loc["test"].tolist() == [20, 20]
    reasons = ["cluster=r0 (4)", "cluster=r4 (8)", "cluster=r4 (8)"]
    assert split["reason"][[0, 6, 9]].tolist() == reasons
    assert split.equals(split_by_cluster(records, keys, clusters, SplitSampler(0.2, 0.2, 1)))
    assert not split.equals(split_by_cluster(records, keys, clusters, SplitSampler(0.2, 0.2, 2)))
    other = split_by_cluster(records, keys, clusters, SplitSampler(0.2, 0.2, 1), method="mmseqs2")
    assert other["reason"][0] == "cluster=r0 (4) by mmseqs2"


def test_cluster_split_keeps_overlapping_intervals():
    spans = [(0, 1000), (100, 200), (900, 1001), (1000, 1100), (1100, 1200), (5000, 5100)]
    places = [(chrom, start, end) for chrom in "cd" for start, end in spans]
    others = table([0, 1] * 20).assign(id=[f"n{i}" for i in range(40)])
    records = pd.concat([placed(*places), others]).sample(frac=1, random_state=1, ignore_index=True)
    split = split_by_cluster(records, unique_keys(52), np.arange(52), SplitSampler(0.2, 0.2, 1))
    reasons = split.set_index("id")["reason"].to_dict()
    sizes = [reasons[f"r{i}"].partition(" ")[2] for i in range(12)]
    assert sizes == (["(4)"] * 4 + ["(1)"] * 2) * 2
    assert len({reasons[f"r{i}"] for i in range(12)}) == 6
    assert all(reasons[f"n{i}"] == f"cluster=n{i} (1)" for i in range(40))


def test_too_large_cluster_is_named():
    records = placed(*[("c", 0, 9)] * 18, ("d", 0, 9), ("e", 0, 9))
    with pytest.raises(CorpusError, match=r"18 of 20 records are in one cluster; raise similarity"):
        split_by_cluster(records, unique_keys(20), np.arange(20), SplitSampler(0.2, 0.2, 0))


def test_few_groups_are_named_as_the_reason():
    message = (
        r"train, valid and test need records of both labels: train .*\. 'family' has 3 groups: "
        r"use a column with more"
    )
    families = [f"f{i % 3}" for i in range(60)]
    records = table([i // 3 % 2 for i in range(60)], family=families)
    with pytest.raises(CorpusError, match=message):
        split_by_group(records, unique_keys(60), SplitSampler(0.15, 0.15, 0), column="family")
    third = split_by_group(records, unique_keys(60), SplitSampler(0.34, 0.33, 0), column="family")
    assert third.groupby(families)["split"].nunique().eq(1).all()
    assert third["reason"][0] == "family=f0"
    with pytest.raises(CorpusError, match="need records: 40 train, 20 valid, 0 test"):
        split_by_group(
            records.assign(label=None),
            unique_keys(60),
            SplitSampler(0.15, 0.15, 0),
            column="family",
        )


# ------------ split tables and copies
def keys_of(*texts, alphabet=DNA):
    return strand_keys(map(ascii_of, texts), alphabet)


@pytest.mark.parametrize("piece", [1, 3, 8, 1000])
def test_keys_are_the_same_in_pieces_of_any_size(monkeypatch, piece):
    monkeypatch.setattr(split_table, "PIECE", piece)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGTN"), length)) for length in (1, 7, 8, 9, 64)]
    for text in [*texts, "ACGTACGT", "AAAAAAAAAC"]:  # ACGTACGT is its own reverse complement
        row = ascii_of(text)
        first = min(row.tobytes(), DNA.reverse_complement(row).tobytes())
        assert keys_of(text) == [hashlib.sha256(first).digest()]
        assert keys_of(text, alphabet=PROTEIN) == [hashlib.sha256(row.tobytes()).digest()]


def test_copies_leave_train_and_valid_but_never_a_given_test():
    assigned = ["train"] * 4 + ["valid"] * 3 + ["test"] * 2 + ["dropped"]
    texts = ["ACAA", "AACA", "AAAC", "AAAC", "TTGT", "AACA", "AACA", "ACAA", "ACAA", "ACAA"]
    split = pd.DataFrame({"id": [f"r{i}" for i in range(10)], "split": assigned, "reason": "set"})
    labels = pd.DataFrame({"label": [1, 1, 0, 1, 1, 1, 1, 1, 0, 1]})
    copies = find_copies(split, keys_of(*texts), texts, labels)
    assert copies.index.tolist() == [0, 1, 3, 4, 6, 8]
    removed = remove_copies(split, copies, ["train", "valid"])
    expected = "dropped dropped train dropped dropped valid dropped test test dropped"
    assert " ".join(removed["split"]) == expected
    assert removed["reason"][[0, 1, 3, 4, 6, 8]].tolist() == [
        "removed from train: same sequence as r7 in test",
        "removed from train: same sequence as r5 in valid",
        "removed from train: same sequence as r2 in train, different label",
        "removed from valid: same sequence as r7 in test",  # on the other strand
        "removed from valid: same sequence as r5 in valid",
        "set",
    ]
    assert describe_copies(copies, ["train", "valid"]) == [
        "removed from train: 3 duplicates (1 also in test, 1 also in valid, 1 repeated in train); "
        "1 has the same sequence but a different label",
        "removed from valid: 2 duplicates (1 also in test, 1 repeated in valid)",
        "kept in test: 1 duplicate (1 repeated in test); 1 has the same sequence but a different "
        "label",
    ]
    assert remove_copies(split, copies, []).equals(split)
    assert remove_copies(split, copies, SPLITS)["reason"][8].startswith("removed from test: same")


def test_reverse_complement_within_train_is_not_a_copy():
    split = pd.DataFrame({"id": ["a", "b"], "split": ["train", "train"], "reason": "set"})
    texts = ["ACAA", "TTGT"]
    assert find_copies(split, keys_of(*texts), texts, pd.DataFrame({"label": [1, 1]})).empty


def test_copies_with_other_targets_are_counted():
    split = pd.DataFrame({"id": list("abcd"), "split": ["train"] * 3 + ["test"], "reason": "set"})
    answers = pd.DataFrame({"y": ["1", None, None, "2"], "z": ["0"] * 4})
    copies = find_copies(split, [b"x", b"y", b"y", b"x"], list("xyyx"), answers)
    assert copies["different"].to_dict() == {0: True, 2: False}
    reason = remove_copies(split, copies, ["train"], "targets")["reason"][0]
    assert reason.endswith("same sequence as d in test, different targets")


TABLE = "id\tsplit\treason\nNA\ttrain\tx\nb\ttest\ty\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE, r"the split table does not match the corpus \(2 and 1 records\): record "),
        (TABLE.replace("train", "trian"), "split.tsv:2: unknown split 'trian' .expected train, va"),
        (TABLE.replace("reason", '"rea\nson"'), "tsv:1: line break in the name of column 3"),
        ("", r"not a split table \(TSV with columns id, split, reason\)"),
        ("id,split\n", "not a split table"),
        (None, "no such split table"),
    ],
)
def test_read_split_checks_the_records(tmp_path, text, message):
    path = tmp_path / "split.tsv"
    path.write_text(TABLE)
    assert read_split(path, ["NA", "b"]) == ["train", "test"]
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises((CorpusError, SequenceFileError), match=message):
        read_split(path, ["a"])


def test_describe_counts_splits_and_positives():
    split = pd.DataFrame({"split": ["train", "train", "test"]})
    labels = pd.Series(pd.array([1, 0, 1], dtype="Int8"))
    train, _, test, _ = describe(split, labels, pd.DataFrame(index=split.index))
    assert (train, test) == ("train: 2 records (1 positive)", "test: 1 record (1 positive)")
    classes = pd.DataFrame({"family": ["b", "a", None], "nuclear": ["no", "no", "yes"]})
    train, _, test, _ = describe(split, labels.mask(labels >= 0), classes)
    assert train == "train: 2 records (family: 'a' 1, 'b' 1; nuclear: 'no' 2)"
    assert test == "test: 1 record (nuclear: 'yes' 1)"
