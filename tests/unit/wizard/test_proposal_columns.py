"""Test which columns of a table `init` recognises."""

import random

import pytest

from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.wizard.columns import (
    choose_targets,
    find_sequence_column,
    find_split,
    split_of_file,
    target_of,
)

NUMBER, LENGTH = 60, 30


def sequences(letters="ACGT", length=LENGTH, number=NUMBER):
    rng = random.Random(0)
    return ["".join(rng.choices(letters, k=length)) for _ in range(number)]


def cycle(*values):
    return [values[i % len(values)] for i in range(NUMBER)]


def recognised(texts, alphabet=DNA):
    target = target_of("x", texts, [LENGTH] * NUMBER, alphabet)
    return target and (target.kind, target.positive or target.classes)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (cycle("0", "1"), ("binary", "")),
        (cycle("0", "1", None), ("multilabel", "")),
        (cycle("0.0", "1.0"), ("binary", ("1.0",))),
        (cycle("-1", "1"), ("binary", ("1",))),
        (cycle("yes", "no"), ("binary", ("yes",))),
        (cycle("non-promoter", "promoter"), ("binary", ("promoter",))),
        (cycle("background", "enhancer"), ("binary", ("enhancer",))),
        (cycle("apple", "pear", "apple"), ("binary", ("pear",))),
        (cycle("liver", "brain", "kidney"), ("multiclass", "")),
        (cycle("0", "1", "2"), ("multiclass", "")),
        (cycle("0", "1", "NA", "."), ("multilabel", "")),
        (cycle("nan", "1.5", "-", "2"), ("regression", "")),
        (cycle("a", "b", "-"), ("multiclass", "")),
        (cycle(*map(str, range(10))), ("multiclass", "")),
        (cycle(*map(str, range(12))), ("regression", "")),
        (cycle("0", "5", "100"), ("regression", "")),
        ([f"{i / 7:.3f}" for i in range(NUMBER)], ("regression", "")),
        ([None, *(f"{i / 7:.3f}" for i in range(NUMBER - 1))], ("regression", "")),
        ([str(3 * i) for i in range(NUMBER)], ("regression", "")),
        ([str(i) for i in range(NUMBER)], None),
        ([f"gene{i}" for i in range(NUMBER)], None),
        (cycle("same"), None),
        (cycle(None), None),
        (cycle("NA", "1.5"), None),
        (sequences("01"), ("labels", "01")),
        (sequences("HEC-"), ("labels", "CEH")),
        (sequences("ACGT"), None),
    ],
)
def test_target_of_each_kind(texts, expected):
    assert recognised(texts) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (cycle("positive", "negative"), ("binary", ("positive",))),
        (cycle("positive", "negative", None), ("multiclass", "")),
        (cycle("promoter", "enhancer", "silencer"), ("multiclass", "")),
        ([f"{i / 7:.6f}" for i in range(NUMBER)], ("regression", "")),
        (sequences("HEC-", length=8), ("labels", "CEH")),
        (sequences("01", length=8), ("labels", "01")),
    ],
)
def test_values_as_long_as_the_records(texts, expected):
    target = target_of("x", texts, [8] * NUMBER, DNA)
    assert (target.kind, target.positive or target.classes) == expected


def test_target_of_second_protein():
    assert recognised(sequences("ACDEFGHIKLMNPQRSTVWY"), PROTEIN) is None
    assert recognised(sequences("HEC"), PROTEIN) == ("labels", "CEH")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"sequence": sequences()}, "sequence"),
        ({"Seq": sequences(), "other": sequences()}, "Seq"),
        ({"text": sequences(), "label": cycle("0", "1")}, "text"),
        (
            {"promoter_region": sequences(), "kind": cycle("promoter", "enhancer")},
            "promoter_region",
        ),
        ({"sequence": cycle("text of no letters", "and more"), "bases": sequences()}, "bases"),
        ({"seq": sequences("ACDEFGHIKLMNPQRSTVWY"), "structure": sequences("HEC")}, "seq"),
        # names of columns that have only letters of proteins
        ({"sequence": sequences(), "fluorescenceintensity": cycle("1.5", "2")}, "sequence"),
        ({"binding.affinity.score": cycle("1.5", "2"), "oligo": sequences()}, "oligo"),
        # short or repeated sequences under a usual name
        ({"sequence": sequences(length=7), "activity": cycle("1.5", "2")}, "sequence"),
        ({"peptide": sequences(number=20) * 3, "allele": cycle("A*02", "B*07")}, "peptide"),
        ({"barcode": sequences(length=12), "sequence": sequences(number=20) * 3}, "sequence"),
        ({"protein": cycle("CTCF", "MAX", "GATA"), "oligo": sequences()}, "oligo"),
        # a wrong letter, which the reader will find
        ({"name": cycle("a1", "b2"), "Sequence": ["ACGT!", *sequences()]}, "Sequence"),
    ],
)
def test_sequence_column_found(columns, expected):
    assert find_sequence_column(columns, "a.csv") == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"a": cycle("x", "y"), "b": cycle("1", "2")},
            "a.csv: none of the columns holds sequences: a, b. Name the column",
        ),
        (
            {"ref": sequences(), "alt": sequences()},
            "a.csv: several columns hold sequences: ref, alt. Name the column",
        ),
        (
            {"ACGTACGTACGTACGTA": sequences(), "1": cycle("0", "1")},
            "a.csv:1: the first row looks like data, not like column names: ACGTACGTACGTACG",
        ),
    ],
)
def test_sequence_column_unclear(columns, message):
    with pytest.raises(RunFileError, match=message):
        find_sequence_column(columns, "a.csv")


def test_split_column_by_its_values():
    split = find_split(
        {"label": cycle("0", "1"), "chrom": cycle("train", "valid", "test")}, "a.csv"
    )
    assert (split.column, split.counts["valid"]) == ("chrom", 20)
    split = find_split(
        {"other": cycle("train", "test"), "Split": cycle("Training", "DEV", "holdout", "test")},
        "a.csv",
    )
    assert split.column == "Split"
    assert split.counts == {"train": 15, "valid": 15, "test": 30}
    assert find_split({"half": cycle("train", "valid"), "fold": cycle(None)}, "a.csv") is None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "split",
            ("train", "train", "holdback"),
            "'holdback' names no split; its values are train 40, holdback 20. Rename the values",
        ),
        (
            "data",
            ("train", None, "test"),
            "some of its cells are empty; its values are train 20, (empty) 20, test 20. ",
        ),
        ("set", ("train", "dev"), "no record is in test; its values are train 30, dev 30. "),
        ("fold", ("1", "2"), "'1' names no split; its values are 1 30, 2 30. "),
    ],
)
def test_unusable_split_is_refused(name, values, message):
    columns = {name: cycle(*values), "label": cycle("0", "1")}
    with pytest.raises(RunFileError) as caught:
        find_split(columns, "a.csv")
    expected = f"a.csv: column {name!r} cannot be used as the split, because {message}"
    assert str(caught.value).startswith(expected)
    assert find_split(columns, "a.csv", "none") is None
    assert find_split(columns, "a.csv", targets=[name]) is None


def test_split_column_by_name():
    columns = {
        "a": cycle("train", "test"),
        "b": cycle("train", "test", "dev"),
        "c": cycle("1", "2"),
    }
    assert find_split(columns, "a.csv", "b").column == "b"
    with pytest.raises(
        RunFileError,
        match=r"column 'c' cannot be used as the split, because '1' names no split; its",
    ):
        find_split(columns, "a.csv", "c")
    with pytest.raises(
        RunFileError, match=r"found no column 'd' \(`split_column`\); the columns are a, b, c$"
    ):
        find_split(columns, "a.csv", "d")
    with pytest.raises(RunFileError, match=r"found no column 'd' \(`split_column`\)$"):
        find_split({}, "a.csv", "d")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("my_dev.tsv.gz", "valid"),
        ("Test-set.fa", "test"),
        ("ts115.tsv", None),
        ("train_test.csv", None),
    ],
)
def test_split_of_file(name, split):
    assert split_of_file(name) == split


def chosen(columns, *wanted):
    return [
        (target.column, target.kind)
        for target in choose_targets(columns, [LENGTH] * NUMBER, DNA, wanted, "a.csv")
    ]


def test_choose_the_obvious_target():
    floats = [f"{i / 7:.3f}" for i in range(NUMBER)]
    assert chosen({"id": cycle("a", "b", "c"), "activity": floats}) == [("activity", "regression")]
    assert chosen({"Label": cycle("0", "1"), "activity": floats}) == [("Label", "binary")]
    assert chosen(
        {"species": cycle("fly", "mouse"), "gene_id": cycle("a", "b"), "score": floats}
    ) == [("score", "regression")]


def test_choose_named_targets():
    floats = [f"{i / 7:.3f}" for i in range(NUMBER)]
    columns = {
        "a": floats,
        "b": floats,
        "c": cycle("0", "1"),
        "d": cycle("1", "0", None),
        "species": cycle("fly", "mouse"),
    }
    assert chosen(columns, "species") == [("species", "binary")]
    assert chosen(columns, "b", "a") == [("b", "regression"), ("a", "regression")]
    assert chosen(columns, "c", "d") == [("c", "multilabel"), ("d", "multilabel")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            (),
            r"several columns could be learned: a \(numbers\), b \(numbers\), c \(1 and 0\). "
            r"Choose one with `columns` NAME, or several",
        ),
        (
            ("a", "c"),
            r"columns of different kinds cannot be learned together: a \(numbers\), c \(1 and 0\)",
        ),
        (("e",), r"a.csv: found no column 'e' \(`columns`\); the columns are a, b, c, text"),
        (("text",), "a.csv: column 'text' cannot be learned: its values are 'gene0'"),
    ],
)
def test_choose_unclear_target(wanted, message):
    floats = [f"{i / 7:.3f}" for i in range(NUMBER)]
    columns = {
        "a": floats,
        "b": floats,
        "c": cycle("0", "1"),
        "text": [f"gene{i}" for i in range(NUMBER)],
    }
    with pytest.raises(RunFileError, match=message):
        chosen(columns, *wanted)


def test_choose_from_no_target():
    with pytest.raises(
        RunFileError, match=r"a.csv: none of the columns can be learned: name. Name it with"
    ):
        chosen({"name": [f"gene{i}" for i in range(NUMBER)]})


def test_missing_and_whole_numbers_are_noted():
    whole = [str(i % 12) for i in range(NUMBER)]
    target = target_of("x", ["NA", None, *whole[2:]], [LENGTH] * NUMBER, DNA)
    assert target.notes == (
        "column 'x' has 2 missing values (empty, NA, nan, . or -)",
        "column 'x' has 12 different whole numbers, which are taken as numbers to predict; for "
        "classes, write kind = 'multiclass' and column = 'x' in [objective]",
    )
    (note,) = target_of("x", cycle("1", "2", "3"), [LENGTH] * NUMBER, DNA).notes
    assert note.endswith("write kind = 'regression' and columns = ['x'] in [objective]")


@pytest.mark.parametrize("scale", ["{:.1f}", "{:.0f}"])
def test_heavy_tails_are_counted(scale):
    numbers = [scale.format(10 * i) for i in range(NUMBER - 2)]
    far = [scale.format(value) for value in (-9_000, 9_000)]
    notes = target_of("x", [*numbers, *far], [LENGTH] * NUMBER, DNA).notes
    start = "column 'x' has heavy tails: 2 of 60 values are more than 5 robust standard deviations"
    assert notes[-1].startswith(start)
    assert "heavy" not in str(target_of("x", [*numbers, *numbers[:2]], [LENGTH] * NUMBER, DNA))
    equal = [scale.format(7)] * (NUMBER - 20) + numbers[:20]  # the robust deviation is 0
    assert "heavy" not in str(target_of("x", equal, [LENGTH] * NUMBER, DNA))


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (["2.5"], "All values are the same"),
        ([f"{i},5" for i in range(NUMBER)], "Write numbers with a point, such as 0.5"),
        (["inf", *(f"{i}.5" for i in range(NUMBER - 1))], "Leave infinite values empty"),
        (
            ["n/d", "NA", *(f"{i}.5" for i in range(NUMBER - 2))],
            "Most values are numbers, but 'n/d' is not: correct it or leave it empty",
        ),
    ],
)
@pytest.mark.parametrize("wanted", [("y",), ()])
def test_cause_of_a_column_that_cannot_be_learned(values, hint, wanted):
    with pytest.raises(RunFileError, match=rf"column 'y' cannot be learned: .*\. {hint}$"):
        chosen({"y": (values * NUMBER)[:NUMBER]}, *wanted)
