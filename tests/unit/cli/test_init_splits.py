"""Test init: splits from columns, groups, chromosomes and separate files."""

from pathlib import Path

import pandas as pd
import pytest
from init_files import ingested, made, place, table, write

from selfattn_bio.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_chromosome_split_has_both_labels_in_each_split(here):
    """chr0 has a fitting number of records, but no negative: ingest would refuse the split."""
    run = made(
        "--positives",
        write("a.fa", header=place),
        "--negatives",
        write("b.fa", header=lambda i: place(i + (i % 5 == 0))),
    )
    assert run.split.kind == "chromosome"
    assert "chr0" not in run.split.valid + run.split.test
    (here / "workflows/tasks/my_task.toml").unlink()
    two = lambda i: place(i % 2)  # noqa: E731
    assert (
        made(
            "--positives", write("a.fa", header=two), "--negatives", write("b.fa", header=two)
        ).split.kind
        == "random"
    )


def test_split_column_of_targets_is_used(here, capsys):
    sequences = write("s.fa")
    rows = (f"s{i}\t{i / 7}\t{('train', 'valid', 'test')[i % 3]}\n" for i in range(120))
    Path("t.tsv").write_text("id\tactivity\tset\n" + "".join(rows))
    run = made("--sequences", sequences, "--targets", "t.tsv")
    assert (run.objective.kind, run.split.column) == ("regression", "set")
    assert ingested()[1] == {"train": 40, "valid": 40, "test": 40}


@pytest.mark.parametrize("column", ["split", "chrom", "part"])
def test_split_column_is_used(here, capsys, column):
    """Also where it is called chrom: a chromosome named test would otherwise become valid."""
    run = made(
        "--sequences",
        table(
            label=lambda i, _: i % 2,
            **{column: lambda i, _: ("train", "train", "dev", "test")[i // 2 % 4]},
        ),
    )
    assert (run.split.kind, run.split.column) == ("column", column)
    assert (
        f"init: split: column {column!r} (60 train, 30 valid, 30 test)" in capsys.readouterr().out
    )
    assert ingested()[1] == {"train": 60, "valid": 30, "test": 30}
    assert "ingest: targets" not in capsys.readouterr().out


def test_split_without_validation_and_other_values(here, capsys):
    run = made(
        "--sequences",
        table(
            label=lambda i, _: i % 2,
            set=lambda i, _: ("Training", "Training", "holdout")[i // 2 % 3],
        ),
    )
    assert (run.split.column, run.split.valid_fraction) == ("set", 0.15)
    splits = ingested()[1]
    assert splits["test"] == 40
    assert splits["valid"] == 12


def test_split_column_that_is_not_used(here, capsys):
    words = ("train", "train", "holdback", "valid")
    files = table(label=lambda i, _: i % 2, split=lambda i, _: words[i // 2 % 4])
    assert main(["init", "my_task", "--sequences", files]) == 1
    assert "all.csv: column 'split' cannot be used as the split, because" in capsys.readouterr().err
    run = made("--sequences", files, "--split-column", "none")
    assert (run.split.kind, run.data.label) == ("random", "label")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"header": lambda i: f"group=g{i % 3}"},
            "'group' has only 3 groups (10 are needed)",
        ),
        (
            {"header": lambda i: f"group=g{i % 20}" * (i > 0)},
            "'group' is missing for 2 records",
        ),
        (
            {"header": lambda i: f"chrom=chr{i % 2}"},
            "'chrom' has only 2 chromosomes (3 are needed)",
        ),
        (
            {"header": lambda i: f"chrom=chr{i % 3}"},
            "no two chromosomes have records of every class and together at most half of all "
            "records",
        ),
    ],
)
def test_unused_groups_and_chromosomes_are_named(here, capsys, options, reason):
    files = ("--positives", write("a.fa", **options), "--negatives", write("b.fa", **options))
    made(*files)
    assert f"init: split: at random, because {reason}" in capsys.readouterr().out
    assert f"[split]\n# {reason}\n" in Path("workflows/tasks/my_task.toml").read_text()


def test_copies_are_counted(here, capsys):
    files = table(label=lambda i, _: i % 2, split=lambda i, _: ("train", "test")[i // 60])
    frame = pd.read_csv(files)
    frame.loc[0, "sequence"] = frame.loc[119, "sequence"]
    opposite = frame.loc[118, "sequence"][::-1].translate(str.maketrans("ACGT", "TGCA"))
    frame.loc[2, "sequence"] = opposite
    frame.to_csv(files, index=False)
    made("--sequences", files)
    lines = capsys.readouterr().out.splitlines()
    assert (
        "init: sequences that occur with different labels or targets (on either strand): 1" in lines
    )
    assert (
        "init: sequences that occur in several splits (on either strand): 2; their copies are "
        "removed from train and valid, never from test" in lines
    )


def test_separate_files_define_the_split(here, capsys):
    for name, number in (("train", 100), ("dev", 40), ("test", 40)):
        Path("a set").mkdir(exist_ok=True)
        table(f"a set/{name}.tsv", number=number, label=lambda i, _: i % 2)
        frame = pd.read_csv(
            f"a set/{name}.tsv", sep="\t"
        )  # the same seed, so without copies between the files
        frame.assign(
            sequence=frame["sequence"].str[::-1] + {"train": "A", "dev": "C", "test": "G"}[name]
        ).to_csv(f"a set/{name}.tsv", sep="\t", index=False)
    named = made(
        "--train", "a set/train.tsv", "--valid", "a set/dev.tsv", "--test", "a set/test.tsv"
    )
    (here / "workflows/tasks/my_task.toml").unlink()
    run = made("--sequences", "a set")
    assert run == named
    assert run.split.kind == "files"
    assert run.data.given_splits == {
        "train": ("a set/train.tsv",),
        "valid": ("a set/dev.tsv",),
        "test": ("a set/test.tsv",),
    }
    assert "init: split: the files (100 train, 40 valid, 40 test)" in capsys.readouterr().out
    assert ingested()[1] == {"train": 100, "valid": 40, "test": 40}
    (here / "workflows/tasks/my_task.toml").unlink()
    Path("a set/test.tsv").unlink()
    assert main(["init", "my_task", "--sequences", "a set"]) == 1
    assert (
        "a set: found no file names with train and test in this folder: dev.tsv, train.tsv"
        in capsys.readouterr().err
    )
