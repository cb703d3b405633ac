"""Test which columns of a table `init` recognises."""

import random

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.wizard.columns import choose_targets, find_split, target_of
from selfattn_bio.wizard.request import split_of_file
from selfattn_bio.wizard.sections import choose_chromosomes
from selfattn_bio.wizard.tables import find_sequence_column

NUMBER, LENGTH = 60, 30


def sequences(letters="ACGT", length=LENGTH, number=NUMBER):
    rng = random.Random(0)
    return ["".join(rng.choices(letters, k=length)) for _ in range(number)]


def cycle(*values):
    return [values[i % len(values)] for i in range(NUMBER)]


BASES, PROTEINS = sequences(), sequences("ACDEFGHIKLMNPQRSTVWY")
FLOATS = [f"{i / 7:.3f}" for i in range(NUMBER)]
GENES = [f"gene{i}" for i in range(NUMBER)]
BINARY = cycle("0", "1")


def recognised(texts, alphabet=DNA, length=LENGTH):
    target = target_of("x", texts, [length] * NUMBER, alphabet)
    return target and (target.kind, "".join(target.positive or target.classes))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (BINARY, ("binary", "")),
        (cycle("0", "1", None), ("multilabel", "")),
        (cycle("0.0", "1.0"), ("binary", "1.0")),
        (cycle("-1", "1"), ("binary", "1")),
        (cycle("yes", "no"), ("binary", "yes")),
        (cycle("yes", "no", None), ("multilabel", "")),
        (cycle("True", "False", "NA"), ("multilabel", "")),
        (cycle("yes", "none"), ("binary", "yes")),
        (cycle("non-promoter", "promoter"), ("binary", "promoter")),
        (cycle("background", "enhancer"), ("binary", "enhancer")),
        (cycle("apple", "pear", "apple"), ("binary", "pear")),
        (cycle("0", "1", "2"), ("multiclass", "")),
        (cycle("0", "1", "NA", "."), ("multilabel", "")),
        (cycle("nan", "1.5", "-", "2"), ("regression", "")),
        (cycle("a", "b", "-"), ("multiclass", "")),
        (cycle(*map(str, range(10))), ("multiclass", "")),
        (cycle(*map(str, range(12))), ("regression", "")),
        (cycle("0", "5", "100"), ("regression", "")),
        ([None, *FLOATS[1:]], ("regression", "")),
        ([str(3 * i) for i in range(NUMBER)], ("regression", "")),
        ([str(i) for i in range(NUMBER)], None),
        (GENES, None),
        (cycle("same"), None),
        (cycle(None), None),
        (cycle("NA", "1.5"), None),
        (sequences("01"), ("labels", "01")),
        (sequences("HEC-"), ("labels", "CEH")),
        (BASES, None),
    ],
)
def test_target_of_each_kind(texts, expected):
    assert recognised(texts) == expected


def test_values_as_long_as_the_records():
    kinds = [
        recognised(texts, length=8)
        for texts in (
            *(cycle("positive", "negative"), cycle("positive", "negative", None)),
            *(cycle("promoter", "enhancer", "silencer"), [each.ljust(8, "1") for each in FLOATS]),
            *(sequences("HEC-", length=8), sequences("01", length=8)),
        )
    ]
    assert kinds == [
        *(("binary", "positive"), ("multilabel", ""), ("multiclass", ""), ("regression", "")),
        *(("labels", "CEH"), ("labels", "01")),
    ]
    assert recognised(PROTEINS, PROTEIN) is None
    assert recognised(sequences("HEC"), PROTEIN) == ("labels", "CEH")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"Seq": BASES, "other": BASES}, "Seq"),
        ({"text": BASES, "label": BINARY}, "text"),
        ({"promoters": BASES, "kind": cycle("promoter", "enhancer")}, "promoters"),
        ({"sequence": cycle("text of no letters", "and more"), "bases": BASES}, "bases"),
        ({"seq": PROTEINS, "structure": sequences("HEC")}, "seq"),
        # names of columns that have only letters of proteins
        ({"sequence": BASES, "fluorescenceintensity": cycle("1.5", "2")}, "sequence"),
        ({"binding.affinity.score": cycle("1.5", "2"), "oligo": BASES}, "oligo"),
        # short or repeated sequences under a usual name
        ({"sequence": sequences(length=7), "activity": cycle("1.5", "2")}, "sequence"),
        ({"peptide": BASES[:20] * 3, "allele": cycle("A*02", "B*07")}, "peptide"),
        ({"barcode": sequences(length=12), "sequence": BASES[:20] * 3}, "sequence"),
        ({"protein": cycle("CTCF", "MAX", "GATA"), "oligo": BASES}, "oligo"),
        # long sequences may be repeated, but a single one is a reference
        ({"bait": sequences(length=40)[:6] * 10, "kind": cycle("promoter", "enhancer")}, "bait"),
        ({"wild_type": cycle("ACGT" * 10), "mutant": BASES}, "mutant"),
        # a wrong letter, which the reader will find
        ({"name": cycle("a1", "b2"), "Sequence": ["ACGT!", *BASES]}, "Sequence"),
    ],
)
def test_sequence_column_found(columns, expected):
    assert find_sequence_column(columns, "a.csv") == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": GENES, "b": BINARY}, ": none of the columns holds sequences: a, b. Name the column"),
        ({"name|seq": cycle("a|ACGT", "b|TTGA")}, ": .* one column; separate columns by comma, "),
        ({"ref": BASES, "alt": BASES}, ": several columns hold sequences: ref, alt. Name the "),
        (
            {"bait": sequences(length=40)[:6] * 10, "prey": sequences(length=50)[:9] * 7},
            ": several columns hold sequences: bait, prey. Name .*in pairs: the first ones",
        ),
        (
            {"ACGTACGTACGTACGTA": BASES, "1": BINARY},
            ":1: the first row looks like data, not like column names: ACGTACGTA…ACGTA",
        ),
    ],
)
def test_sequence_column_unclear(columns, message):
    with pytest.raises(RunFileError, match=f"a.csv{message}"):
        find_sequence_column(columns, "a.csv")


def test_split_column_by_its_values():
    split = find_split({"label": BINARY, "chrom": cycle("train", "valid", "test")}, "a.csv")
    assert (split.column, split.counts["valid"]) == ("chrom", 20)
    words = cycle("Training", "DEV", "holdout", "test")
    split = find_split({"other": cycle("train", "test"), "Split": words}, "a.csv")
    assert split.column == "Split"
    assert split.counts == {"train": 15, "valid": 15, "test": 30}
    assert find_split({"half": cycle("train", "valid"), "fold": cycle(None)}, "a.csv") is None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("split", "train train other", "'other' names no split; its values are train 40, other 20"),
        ("data", "train - test", "some of its cells are empty; its values are train 20, (empty) "),
        ("set", "train dev", "no record is in test; its values are train 30, dev 30. Rename the "),
        ("fold", "1 2", "'1' names no split; its values are 1 30, 2 30. "),
    ],
)
def test_unusable_split_is_refused(name, values, message):
    values = cycle(*(None if word == "-" else word for word in values.split()))
    columns = {name: values, "label": BINARY}
    with pytest.raises(RunFileError) as caught:
        find_split(columns, "a.csv")
    expected = f"a.csv: column {name!r} cannot be used as the split, because {message}"
    assert str(caught.value).startswith(expected)
    assert find_split(columns, "a.csv", "none") is None
    assert find_split(columns, "a.csv", targets=[name]) is None


@pytest.mark.parametrize(
    ("sizes", "valid", "test"),
    [
        (dict.fromkeys("abcdefghijklmnopqrs", 60), "adf", "bce"),  # 19 of 5 % each
        (dict(zip("abcdefghi", (80, 78, 64, 61, 58, 55, 51, 47, 506), strict=True)), "ade", "bcf"),
        ({"2L": 24, "2R": 23, "3L": 24, "3R": 28, "4": 1, "X": 22}, ["X"], ["2R", "4"]),
        ({"1": 90, "2": 5, "3": 5}, ["2"], ["3"]),
        ({"1": 33, "2": 33, "3": 34}, None, None),
        ({"1": 50, "2": 50}, None, None),
    ],
)
def test_chromosomes_of_valid_and_test(sizes, valid, test):
    chromosomes = [name for name, size in sizes.items() for _ in range(size)]
    expected = {"valid": list(valid), "test": list(test)} if valid else {}
    classes = pd.DataFrame({"label": "records"}, index=range(len(chromosomes)))
    assert choose_chromosomes(chromosomes, classes) == expected


@pytest.mark.parametrize(("every", "test"), [(2, "bce"), (7, "bceg"), (30, "bcegh")])
def test_test_split_grows_until_rare_labels_have_enough_records(every, test):
    """Three chromosomes have 90, 26 or 6 yes of one label; test ends at 25 % of the records."""
    chromosomes = [name for name in "abcdefghijklmnopqrst" for _ in range(60)]
    classes = [
        (("yes", "no")[i % 2], "yes" if i % every == 0 else "no") for i in range(len(chromosomes))
    ]
    chosen = choose_chromosomes(chromosomes, pd.DataFrame(classes))
    assert chosen["test"] == list(test)


def test_chosen_chromosomes_leave_training_records_of_each_class():
    """The only record of a rare class is on the chromosome that fits best."""
    chromosomes = [name for name in "abcdefghi" for _ in range(40)]
    classes = [("xyz"[i % 3],) for i in range(len(chromosomes))]
    assert choose_chromosomes(chromosomes, classes)["valid"][0] == "a"
    chosen = choose_chromosomes(chromosomes, [("rare",), *classes[1:]])
    assert "a" not in chosen["valid"] + chosen["test"]
    on_two = [("rare",) if i in (80, 120) else of for i, of in enumerate(classes)]
    chosen = choose_chromosomes(chromosomes, on_two)
    assert not {"c", "d"} <= {*chosen["valid"], *chosen["test"]}


@pytest.mark.parametrize("separator", [",", ", ", ";", "; "])
def test_lists_of_labels(separator):
    target = target_of(
        "x", cycle("T cell", separator.join(["B", "T cell"]), "B", None), [9] * 60, DNA
    )
    assert target.kind == "lists"


@pytest.mark.parametrize(
    "texts",
    [
        ("Neuron, exc.", "Neuron, inh.", "Astrocyte", "Microglia"),
        ("Mitochondrion, matrix", "Mitochondrion", "Nucleus"),
        ("0,5", "0", "5"),
    ],
)
def test_classes_with_commas_are_no_lists(texts):
    assert recognised(cycle(*texts)) == ("multiclass", "")


def test_lists_of_labels_are_candidates():
    columns = {"cells": cycle("a", "a,b", "b"), "score": FLOATS}
    message = r"cells \(lists of labels\), score \(numbers\).*`columns` score$"
    with pytest.raises(RunFileError, match=message):
        choose_targets(columns, [LENGTH] * NUMBER, DNA, (), "t.csv")


def test_split_column_by_name():
    halves = cycle("train", "test")
    columns = {"a": halves, "b": cycle("train", "test", "dev"), "c": cycle("1", "2")}
    assert find_split(columns, "a.csv", "b").column == "b"
    assert find_split({"stage": cycle("st9-10", "st13")}, "a.csv") is None  # of development
    absent = r"found no column 'd' \(`split_column`\)"
    first = r"a \(such as train\), b \(such as train\), c \(such as 1\)"
    for given, name, message in (
        (columns, "c", "column 'c' cannot be used as the split, because '1' names no split; its"),
        (columns, "d", rf"{absent}; the columns are {first}$"),
        ({}, "d", f"{absent}$"),
        ({"chrom": BASES}, "chrom", "The records can be split by chrom: leave out `split_column`$"),
    ):
        with pytest.raises(RunFileError, match=message):
            find_split(given, "a.csv", name)


def test_split_of_file():
    names = "train.csv", "my_dev.tsv.gz", "Test-set.fa", "ts115.tsv", "train_test.csv"
    assert [split_of_file(name) for name in names] == ["train", "valid", "test", None, None]


def chosen(columns, *wanted):
    found = choose_targets(columns, [LENGTH] * NUMBER, DNA, wanted, "a.csv")
    return [(target.column, target.kind) for target in found]


def test_choose_obvious_or_named_targets():
    letters, species = cycle("a", "b", "c"), cycle("fly", "mouse")
    assert chosen({"id": letters, "activity": FLOATS}) == [("activity", "regression")]
    assert chosen({"Label": BINARY, "activity": FLOATS}) == [("Label", "binary")]
    columns = {"species": species, "gene_id": letters, "score": FLOATS}
    assert chosen(columns) == [("score", "regression")]
    columns |= {"b": FLOATS, "c": BINARY, "d": cycle("1", "0", None)}
    two = {"b": FLOATS, "score": FLOATS, "id": letters}
    assert chosen(two) == [("b", "regression"), ("score", "regression")]
    labels = {"c": BINARY, "d": cycle("1", "0", None)}
    assert chosen(labels) == [("c", "multilabel"), ("d", "multilabel")]
    words = {"e": cycle("yes", "no"), "f": cycle("TRUE", "FALSE", None)}
    words["g"] = cycle("inactive", "active")
    wanted = [("c", "multilabel"), ("e", "multilabel"), ("f", "multilabel"), ("g", "multilabel")]
    assert chosen(columns | words, "c", "e", "f", "g") == wanted
    assert chosen(columns, "species") == [("species", "binary")]
    assert chosen(columns, "b", "score") == [("b", "regression"), ("score", "regression")]
    assert chosen(columns, "c", "d") == [("c", "multilabel"), ("d", "multilabel")]


@pytest.mark.parametrize("damaged", [[">24", *FLOATS[1:]], [*FLOATS[1:], "inf"]])
def test_counts_do_not_replace_a_damaged_column(damaged):
    counts = {"n_barcodes": [str(3 + 7 * i % 50) for i in range(NUMBER)], "species": cycle("human")}
    assert chosen(counts) == [("n_barcodes", "regression")]
    with pytest.raises(RunFileError, match="column 'half_life' cannot be learned"):
        chosen(counts | {"half_life": damaged})
    assert chosen(counts | {"half_life": damaged, "score": FLOATS}) == [("score", "regression")]


def test_replicates_next_to_metadata_are_learned():
    counts = {"Chr": cycle("chr1", "chr2", "chr3"), "batch": BINARY, "reads.T0": FLOATS}
    replicates = [(name, "regression") for name in REPLICATES]
    assert chosen(counts | REPLICATES) == replicates
    assert chosen(counts | REPLICATES | {"mean": FLOATS}) == [("mean", "regression")]
    assert chosen(counts, "Chr") == [("Chr", "multiclass")]


REPLICATES = {"y_rep1": FLOATS, "y_rep2": [f"{(i + i * 7 % 5) / 7:.3f}" for i in range(NUMBER)]}
SEVERAL = {"a": FLOATS, "b": FLOATS, "c": BINARY, "text": GENES}


@pytest.mark.parametrize(
    ("columns", "wanted", "message"),
    [
        (
            SEVERAL,
            "",
            r"several columns could be learned: a \(numbers\), b \(numbers\), c \(1 and 0\). "
            r"Choose one with `columns` NAME, or several of numbers or of labels \(1 and 0, yes "
            r"and no\) with `columns` A B; for example `columns` c$",
        ),
        (
            {"in b": FLOATS, "a": FLOATS, "c?": BINARY},
            "",
            r"several columns could be learned: .* for example `columns` 'c\?'$",
        ),
        (
            REPLICATES | {"tissue": cycle("liver", "brain", "heart")},
            "",
            r"several columns could be learned: tissue \(3 classes\), replicates y_rep1, y_rep2 "
            r"\(to learn side by side, or as their mean: docs/faq.md\). Choose one .* for example "
            r"`columns` y_rep1 y_rep2$",
        ),
        (
            REPLICATES | {"tissue": cycle("liver", "brain", "heart"), "dose": FLOATS},
            "",
            r".*, dose \(numbers\), replicates .*; for example `columns` dose$",
        ),
        (
            {"n_reads": FLOATS, "tissue": cycle("liver", "brain", "heart")},
            "",
            r".*: n_reads \(numbers\), tissue \(3 classes\)\. .* for example `columns` tissue$",
        ),
        (SEVERAL, "a,b", r"found no column 'a,b' \(`columns`; separate names with spaces, not"),
        (
            SEVERAL,
            "a c",
            r"several columns must all be numbers, or all labels such as 1 and 0: a \(numbers\), c",
        ),
        (
            {"a": cycle("on", "off", None), "b": cycle("on", "off", None)},
            "a b",
            r"several columns must all be numbers, or all labels such as 1 and 0: a \(2 classes",
        ),
        (
            SEVERAL,
            "e",
            r"found no column 'e' \(`columns`\); the columns are a \(such as 0.000\), b",
        ),
        (SEVERAL, "text", "column 'text' cannot be learned: its values are 'gene0'"),
        (
            {"a": cycle("1.5", None, None, "NA")},
            "a",
            r"column 'a' cannot be learned: its values are '1.5'. Choose a column with different",
        ),
        ({"name": GENES}, "", "none of the columns can be learned: name. Name it with"),
    ],
)
def test_choose_unclear_target(columns, wanted, message):
    with pytest.raises(RunFileError, match=f"a.csv: {message}"):
        chosen(columns, *wanted.split())


def test_missing_words_are_noted():
    lengths = [LENGTH] * NUMBER
    for yes, no in (("yes", "no"), ("active", "inactive")):
        target = target_of("x", cycle(yes, no, None, "NA"), lengths, DNA)
        missing = (
            "30 missing values (empty, NA, n.d., . or -; split drops records without any value)"
        )
        assert (target.kind, target.what) == ("multilabel", f"{yes} and {no}, or missing")
        assert target.counts == f"'{yes}' (15), '{no}' (15); {missing}"
    assert target_of("x", cycle("on", "off", "NA", None), lengths, DNA).counts == (
        "'on' (15), 'off' (15), 'NA' (15); 'NA' is a class; 15 missing values (empty"
        "; split drops records without any value)"
    )


def test_missing_and_whole_numbers_are_noted():
    whole = [str(i % 12) for i in range(NUMBER)]
    target = target_of("x", ["NA", None, *whole[2:]], [LENGTH] * NUMBER, DNA)
    assert (
        target.counts
        == "2 missing values (empty, NA, n.d., . or -; split drops records without any value)"
    )
    assert target.notes == (
        "column 'x' has 12 different whole numbers, which are taken as numbers to predict; for "
        "classes, write kind = 'multiclass' and column = 'x' in [objective]",
    )
    one = target_of("x", ["NA", *(f"{i / 7}" for i in range(1, NUMBER))], [LENGTH] * NUMBER, DNA)
    assert (one.counts, one.notes) == (
        "1 missing value (empty, NA, n.d., . or -; split drops records without any value)",
        (),
    )
    (note,) = target_of("x", cycle("1", "2", "3"), [LENGTH] * NUMBER, DNA).notes
    assert note.endswith("write kind = 'regression' and columns = ['x'] in [objective]")


def test_skewed_numbers_are_recognised():
    rng = np.random.default_rng(0)
    skewed = rng.lognormal(size=600)
    for numbers, expected in (
        (skewed, True),
        (skewed - skewed.min(), False),  # one is 0
        (np.log2(skewed), False),
        (rng.normal(20, 1, 600), False),
        (10 - skewed / skewed.max(), False),  # the other tail
    ):
        target = target_of("x", [f"{number:.6f}" for number in numbers], [60] * 600, DNA)
        assert target.is_skewed is expected


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ([f"{i},5" for i in range(NUMBER)], "Write numbers with a point, such as 0.5"),
        (["inf", *FLOATS[1:]], "Leave infinite values empty"),
        (["inf", *["0.5", "1.5", "2.5"] * NUMBER][:NUMBER], "Leave infinite values empty"),
        (
            ["n/d", "NA", *FLOATS[2:]],
            "Most values are numbers, but 'n/d' of record 1 is not: correct it or leave it empty",
        ),
    ],
)
def test_cause_of_a_column_that_cannot_be_learned(values, hint):
    for wanted in ([], ["y"]):
        with pytest.raises(RunFileError, match=rf"column 'y' cannot be learned: .*\. {hint}$"):
            chosen({"y": values}, *wanted)
