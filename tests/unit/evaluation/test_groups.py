"""Tests of metrics by group, the worst group and the gap."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config import EvaluationSection
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError
from selfattn_bio.evaluation.groups import (
    UNNAMED,
    _spans,
    check_columns,
    group_gaps,
    group_metrics,
    groups_of,
    quantile_edges,
    worst_auroc,
)
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.evaluation.units import Units
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import SequenceFile

UNITS, SETTINGS = Units.single, EvaluationSection(bootstraps=200)
ROWS = {"train": np.array([0, 1, 2, 3]), "test": np.array([4, 5])}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    letters = ["A" * 10, "AC" * 10, "ACC" * 10, "C" * 40, "AC" * 8, "C" * 24]
    chroms = ["chr1", "chr1", "chr2", None, "chr2", None]
    table = pd.DataFrame({"sequence": letters, "id": list("abcdef"), "chrom": chroms})
    known = table["chrom"].notna()
    table["start"] = np.where(known, "0", "")
    table["end"] = table["sequence"].str.len().astype(str).where(known, "")
    tissues = ["liver", "kidney", "liver", "", "liver", "gut"]
    table["group"] = ["a", "a", "b", "b", "", "a"]  # stored with the records, not with the targets
    table.assign(tissue=tissues).to_csv(folder / "records.csv", index=False)
    return build_corpus([SequenceFile(folder / "records.csv")], folder / "corpus", RecordRules(DNA))


@pytest.mark.parametrize(
    ("column", "number", "expected"),
    [
        ("length", 2, "below 25; below 25; 25 and more; 25 and more | below 25; below 25"),
        ("gc", 2, "below .6; below .6; .6 and more; .6 and more | below .6; .6 and more"),
        ("length", 4, "below 17.5; 17.5 to 25; 25 to 32.5; 32.5 and more | below 17.5; 17.5 to 25"),
        ("tissue", 4, f"liver; kidney; liver; {UNNAMED} | liver; gut"),
        ("group", 4, f"a; a; b; b | {UNNAMED}; a"),
        ("chrom", 4, f"chr1; chr1; chr2; {UNNAMED} | chr2; {UNNAMED}"),
    ],
)
def test_groups_of_a_column(corpus, column, number, expected):
    found = groups_of(column, corpus, ROWS, number)
    names = " | ".join("; ".join(found[split]) for split in ("train", "test"))
    assert names == expected.replace(".6", "0.583")


def test_columns_that_are_no_groups(corpus, monkeypatch):
    check_columns(["gc", "length", "chrom", "group"], corpus)
    message = r"no column 'colour' in the targets .*Add it to the table, or"
    with pytest.raises(CorpusError, match=message):
        check_columns(["gc", "colour"], corpus)
    with pytest.raises(CorpusError, match="no column 'colour' in the targets"):
        groups_of("colour", corpus, ROWS, 4)
    monkeypatch.setattr("selfattn_bio.evaluation.groups.MOST", 3)
    message = "column 'tissue' has 4 different values, but there may be at most 3 groups. Choose"
    with pytest.raises(CorpusError, match=message):
        groups_of("tissue", corpus, ROWS, 4)


def in_groups(groups, labels, p):
    """Return the metrics of one model by group."""
    groups = np.array(groups, dtype=object)
    return group_metrics(groups, labels, {"model": (p, 0.5)}, UNITS(len(labels)), SETTINGS)


def test_the_worst_group_and_the_gap():
    groups = np.array(["a"] * 40 + ["b"] * 40 + ["c"] * 3, dtype=object)
    labels = np.tile([0, 1], 42)[:83]
    labels[80:] = 1
    p = np.where(labels == 1, 0.9, 0.1)
    p[40:60] = np.where(labels[40:60] == 1, 0.1, 0.9)  # half of group b is predicted wrongly
    predictions = {"model": (p, 0.5), "gc": (np.full(83, 0.5), 0.5)}
    found = group_metrics(groups, labels, predictions, UNITS(83), SETTINGS)
    a, b, c = found["groups"]
    assert (a["group"], a["n"], a["positives"], a["model"]["auroc"]["value"]) == ("a", 40, 20, 1.0)
    assert [b["model"][metric]["value"] for metric in ("auroc", "accuracy")] == [0.5, 0.5]
    assert b["gc"]["auroc"]["value"] == 0.5
    assert (c["n"], c["positives"], c["model"], c["gc"]) == (3, 3, None, None)
    assert (found["worst"], found["best"]) == ("b", "a")
    for metric in ("auroc", "accuracy"):
        gap = found["gap"][metric]
        assert gap["value"] == 0.5
        assert 0.4 < gap["shrunk"] < 0.5
        assert gap["p"] == 1 / 201
    assert worst_auroc(groups, labels, p) == 0.5
    assert np.isnan(worst_auroc(groups[80:], labels[80:], p[80:]))


def test_groups_are_in_numeric_order():
    lengths = _spans(np.array([-np.inf, 900, 1234.4, 20_000.0, np.inf])).tolist()
    assert lengths == ["below 900", "900 to 1,234", "1,234 to 20,000", "20,000 and more"]
    for names in (lengths, ["chr2", "chr10", "chrX"], ["below 0.4", "0.4 and more"]):
        size = 2 * len(names)
        found = in_groups(sorted(names) * 2, np.arange(size) % 2, np.full(size, 0.5))
        assert [entry["group"] for entry in found["groups"]] == names
    found = in_groups(["a"] * 20, np.tile([0, 1], 10), np.full(20, 0.5))
    assert (found["worst"], found["best"], found["gap"]) == (None, None, None)
    assert len(found["groups"]) == 1


@pytest.mark.parametrize(("number", "size"), [(3, 200), (20, 30)])
def test_equal_groups_rarely_have_a_gap(number, size):
    """The highest minus the lowest group is far from 0, but p < .05 in about 5 %."""
    found = [gaps_of(number, size, seed, worse=1.0) for seed in range(60)]
    for metric in ("auroc", "accuracy"):
        assert sum(of[metric]["p"] < 0.05 for of in found) <= 8  # binomial: P(> 8) = 0.3 %
        shrunk, raw = (np.median([of[metric][key] for of in found]) for key in ("shrunk", "value"))
        assert shrunk < 0.35 * raw


def test_a_worse_group_has_a_gap():
    found = [gaps_of(3, 300, seed, worse=0.3) for seed in range(20)]
    for metric in ("auroc", "accuracy"):
        assert all(of[metric]["p"] < 0.05 for of in found)
        shrunk, raw = (np.mean([of[metric][key] for of in found]) for key in ("shrunk", "value"))
        assert 0.85 * raw < shrunk < raw


def test_groups_of_unequal_positives_rarely_have_a_gap():
    """Positives are called correctly more often than negatives, in both groups."""
    p = []
    groups = np.repeat(["a", "b"], 200).astype(object)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = (rng.random(400) < np.where(groups == "a", 0.2, 0.8)).astype(int)
        logits = rng.normal(2 * labels - 1, 1.3) + 0.8
        found = group_gaps(groups, labels, 1 / (1 + np.exp(-logits)), 0.5, UNITS(400), SETTINGS)
        p.append(found["accuracy"]["p"])
    assert np.mean(np.array(p) < 0.05) <= 0.1


@pytest.mark.parametrize("copies", [1, 4])
def test_loci_of_similar_records_rarely_have_a_gap(copies):
    p = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loci = np.repeat(np.arange(300), copies)
        labels, groups = (rng.integers(2, size=300)[loci] for _ in "ab")
        logits = (rng.normal(2 * labels[::copies] - 1, 1.3))[loci] + rng.normal(0, 0.3, len(loci))
        names, units = groups.astype(str).astype(object), Units.of(loci, "loci")
        found = group_gaps(names, labels, 1 / (1 + np.exp(-logits)), 0.5, units, SETTINGS)
        p.append([found[metric]["p"] for metric in ("auroc", "accuracy")])
    assert ((np.array(p) < 0.05).mean(axis=0) <= 0.1).all()


def gaps_of(number: int, size: int, seed: int, worse: float) -> dict:
    """Simulate groups of equal size; the signal of the first is weaker by the factor `worse`."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(number), size)
    labels = rng.integers(2, size=len(groups))
    signal = np.where(groups == 0, worse, 1.0) * (2 * labels - 1)
    p = 1 / (1 + np.exp(-rng.normal(signal, 1.3)))
    return group_gaps(groups.astype(str).astype(object), labels, p, 0.5, UNITS(len(p)), SETTINGS)


def test_edges_are_distinct_and_open_at_both_ends():
    assert quantile_edges(np.arange(101) / 100, 4).tolist() == [-np.inf, 0.25, 0.5, 0.75, np.inf]
    for zeros in (0, 1, 9):
        edges = quantile_edges([0.0] * zeros + [1.0] * (10 - zeros), 4)
        assert edges.tolist() == [-np.inf, 1.0, np.inf]


def test_groups_name_their_units():
    """Records of the 15 loci of a group stay together, as those of 30 loci do."""
    loci = np.repeat(np.arange(45), 4)
    groups = np.where(loci < 15, "a", "b").astype(object)
    rng = np.random.default_rng(0)
    labels = loci % 2
    p = 1 / (1 + np.exp(-(rng.normal(size=45)[loci] + labels + 0.1 * rng.normal(size=180))))
    units, predictions = Units.of(loci, "loci"), {"model": (p, 0.5)}
    first, second = group_metrics(groups, labels, predictions, units, SETTINGS)["groups"]
    alone = Bootstrap(labels[:60], 200, units=loci[:60]).metrics(p[:60], 0.5)["auroc"].interval()
    assert first["unit"] == "loci (fewer than 20, so intervals are too narrow)"
    assert (first["units"], second["unit"], second["units"]) == (15, "loci", 30)
    assert first["model"]["auroc"] == alone
