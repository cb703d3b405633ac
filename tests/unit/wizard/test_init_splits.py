"""Test init: splits from columns, groups, chromosomes and separate files."""

from pathlib import Path

import pandas as pd
import pytest
from commands import exit_code
from init_files import TASK, both, ingested, made, place, table, write


def label(i, _):
    return i % 2


def test_chromosome_split_has_both_labels_in_each_split(here):
    """chr0 has a fitting number of records, but no negative: ingest would refuse the split."""
    positives = write("a.fa", header=place)
    negatives = write("b.fa", header=lambda i: place(i + (i % 5 == 0)))
    split = made(f"--positives {positives} --negatives {negatives}").split
    assert split.kind == "chromosome"
    assert "chr0" not in split.valid + split.test
    assert made(both(header=lambda i: place(i % 2))).split.kind == "random"


def test_split_column_of_targets_is_used(here):
    rows = (f"s{i}\t{i / 7}\t{('train', 'valid', 'test')[i % 3]}\n" for i in range(120))
    Path("t.tsv").write_text("id\tactivity\tset\n" + "".join(rows))
    run = made(f"--sequences {write('s.fa')} --targets t.tsv")
    assert (run.objective.kind, run.split.column) == ("regression", "set")
    assert ingested()[1] == {"train": 40, "valid": 40, "test": 40}


@pytest.mark.parametrize("column", ["split", "chrom"])
def test_split_column_is_used(here, capsys, column):
    """Also where it is called chrom: a chromosome named test would otherwise become valid."""
    splits = {column: lambda i, _: ("train", "train", "dev", "test")[i // 2 % 4]}
    run = made(table(label=label, **splits))
    assert (run.split.kind, run.split.column) == ("column", column)
    line = f"init: split: column {column!r} (60 train, 30 valid, 30 test)"
    assert line in capsys.readouterr().out
    assert ingested()[1] == {"train": 60, "valid": 30, "test": 30}
    assert "ingest: targets" not in capsys.readouterr().out


def test_split_without_validation_and_other_values(here):
    words = ("Training", "Training", "holdout")
    run = made(table(label=label, part=lambda i, _: words[i // 2 % 3]))
    assert (run.split.column, run.split.valid_fraction) == ("part", 0.15)
    splits = ingested()[1]
    assert (splits["test"], splits["valid"]) == (40, 12)


def test_split_column_that_is_not_used(here, capsys):
    words = ("train", "train", "holdback", "valid")
    files = table(label=label, split=lambda i, _: words[i // 2 % 4])
    assert exit_code(f"init my_task {files}") == 1
    assert "all.csv: column 'split' cannot be used as the split, because" in capsys.readouterr().err
    run = made(f"{files} --split-column none")
    assert (run.split.kind, run.data.label) == ("random", "label")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (lambda i: f"group=g{i % 3}", "'group' has only 3 groups (10 are needed)"),
        (lambda i: f"group=g{i % 20}" * (i > 0), "'group' is missing for 2 records"),
        (lambda i: f"chrom=chr{i % 2}", "'chrom' has only 2 chromosomes (3 are needed)"),
        (lambda i: f"chrom=chr{i % 3}", "no two chromosomes have records of every class and "),
    ],
)
def test_unused_groups_and_chromosomes_are_named(here, capsys, header, reason):
    made(both(header=header))
    assert f"init: split: at random, because {reason}" in capsys.readouterr().out
    assert f"[split]\n# {reason}" in TASK.read_text()


def test_copies_are_counted(here, capsys):
    files = table(label=label, split=lambda i, _: ("train", "test")[i // 60])
    frame = pd.read_csv("all.csv")
    frame.loc[0, "sequence"] = frame.loc[119, "sequence"]
    opposite = frame.loc[118, "sequence"][::-1].translate(str.maketrans("ACGT", "TGCA"))
    frame.loc[2, "sequence"] = opposite
    frame.to_csv("all.csv", index=False)
    made(files)
    out = capsys.readouterr().out
    assert "that occur with different labels or targets (on either strand): 1\n" in out
    message = "2; their copies are removed from train and valid, never from test\n"
    assert f"init: sequences that occur in several splits (on either strand): {message}" in out


def test_separate_files_define_the_split(here, capsys):
    Path("a set").mkdir()
    for name, number, end in (("train", 100, "A"), ("dev", 30, "C"), ("test", 30, "G")):
        table(path := f"a set/{name}.tsv", number=number, label=label)
        frame = pd.read_csv(path, sep="\t")
        # the same seed, so without copies between the files
        frame["sequence"] = frame["sequence"].str[::-1] + end
        frame.to_csv(path, sep="\t", index=False)
    named = made("--train 'a set/train.tsv' --valid 'a set/dev.tsv' --test 'a set/test.tsv'")
    run = made("--sequences 'a set'")
    assert run == named
    assert run.split.kind == "files"
    assert "init: split: the files (100 train, 30 valid, 30 test)" in capsys.readouterr().out
    assert ingested()[1] == {"train": 100, "valid": 30, "test": 30}
    Path("a set/test.tsv").unlink()
    assert exit_code("init other --sequences 'a set'") == 1
    message = "a set: found no file names with train and test in this folder: dev.tsv, train.tsv"
    assert message in capsys.readouterr().err
