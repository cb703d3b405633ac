"""Use a split that came with the data: a column, a header attribute or separate files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from small_task import random_texts, read_json, read_tsv, reverse_complement

from selfattn_bio import ingest_files
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA

COUNTS = {"train": 20, "valid": 10, "test": 12, "dropped": 5}
TABLE = '[data]\nsequences = "all.csv"\nlabel = "label"\n'
COLUMN = '[split]\nkind = "column"\n'


@pytest.fixture
def table():
    """Return 20 + 10 + 10 distinct records and copies of some of them."""
    texts = random_texts(np.random.default_rng(0), 40, 60)
    rows = [
        (text, i % 2, "train" if i < 20 else "dev" if i < 30 else "test")
        for i, text in enumerate(texts)
    ]
    copies = [
        (texts[30], 0, "train"),  # of a test record
        (reverse_complement(texts[31]), 1, "dev"),  # of a test record, on the other strand
        (texts[20], 0, "train"),  # of a validation record
        (texts[0], 0, "train"),  # repeated in train
        (texts[1], 0, "train"),  # repeated in train with another label
        (texts[32], 0, "test"),  # repeated in test
        (texts[33], 0, "test"),  # repeated in test with another label
    ]
    copies_first = [*copies[:2], *rows, *copies[2:]]  # ingest must not prefer the first copy
    return pd.DataFrame(copies_first, columns=["sequence", "label", "split"])


@pytest.fixture
def steps(here, capsys):
    """Return a function that runs ingest, split and audit.

    It returns the output of split and audit, and the split table with the ids of the corpus.
    """

    def steps(run_file):
        Path("run.toml").write_text(run_file)
        run("ingest .")
        capsys.readouterr()
        run("split .")
        run("audit .")
        out, err = capsys.readouterr()
        return [*out.splitlines(), *err.splitlines()], read_tsv("split.tsv")

    return steps


REMOVED = [
    "split: removed from train: 4 duplicates (1 also in test, 1 also in valid, 2 repeated in "
    "train); 1 has the same sequence but a different label",
    "split: removed from valid: 1 duplicate (1 also in test)",
    "split: kept in test: 2 duplicates (2 repeated in test); 1 has the same sequence but a "
    "different label",
]


def check(lines, split):
    assert split["split"].value_counts().to_dict() == COUNTS
    assert lines[:3] == REMOVED
    assert "split: train: 20 records (10 positive)" in lines
    assert "split: test: 12 records (5 positive)" in lines
    compared = "audit: compared 12 test records with 20 of train, by shared k-mers; "
    assert any(line.startswith(compared) for line in lines)
    reasons = split[split["split"] == "dropped"]["reason"]
    assert reasons.str.match("removed from (train|valid): same sequence as ").all()
    assert reasons.str.endswith(", different label").sum() == 1
    audit, numbers = read_json("audit.json"), {"test": 12, "train": 20}
    assert (audit["duplicates"], audit["records"], audit["failed"]) == (0, numbers, [])


def test_split_column_with_other_values(table, steps):
    folds = table["split"].map({"train": "A", "dev": "B", "test": "C"})
    table.assign(fold=folds).drop(columns="split").to_csv("all.csv", index=False)
    values = '{ train = "a", valid = ["b"], test = ["c"] }'
    check(*steps(f'{TABLE}{COLUMN}column = "fold"\nvalues = {values}\n'))


def test_split_attribute_in_headers(table, steps):
    for label, name in enumerate(("n.fa", "p.fa")):
        rows = table[table["label"] == label].reset_index().itertuples()
        lines = (f">{name[0]}{row.Index} split={row.split}\n{row.sequence}\n" for row in rows)
        Path(name).write_text("".join(lines))
    check(*steps('[data]\npositives = "p.fa"\nnegatives = "n.fa"\n' + COLUMN))


def test_split_column_of_targets(table, steps):
    lines = (f">r{row.Index} label={row.label}\n{row.sequence}\n" for row in table.itertuples())
    Path("s.fa").write_text("".join(lines))
    targets = table.assign(id=[f"r{i}" for i in table.index], y=table["label"] + 0.5)
    targets[["id", "split", "y"]].to_csv("t.tsv", sep="\t", index=False)
    objective = '[objective]\nkind = "regression"\ncolumns = ["y"]\n'
    lines, split = steps(f'[data]\nsequences = "s.fa"\ntargets = "t.tsv"\n{COLUMN}{objective}')
    assert split["split"].value_counts().to_dict() == COUNTS
    assert lines[:3] == [line.replace("a different label", "different targets") for line in REMOVED]


def test_split_in_three_files(table, steps):
    for name, rows in table.groupby("split"):
        rows.drop(columns="split").to_csv(f"{name}.csv", index=False)
    files = 'train = "train.csv"\nvalid = "dev.csv"\ntest = "test.csv"\n'
    check(*steps(f'[data]\n{files}label = "label"\n'))


def test_split_without_validation(table, steps):
    table[table["split"] == "train"].to_csv("train.csv", index=False)
    table[table["split"] == "test"].to_csv("test.csv", index=False)
    files = '[data]\ntrain = "train.csv"\ntest = "test.csv"\nlabel = "label"\n'
    lines, split = steps(f"{files}[split]\nvalid_fraction = 0.25\n")
    assert lines[0].startswith("split: the data have no validation records; 6 are sampled from")
    assert split["split"].value_counts()["test"] == 12
    assert set(split["split"]) == {"train", "valid", "test", "dropped"}


def test_split_can_keep_duplicates(table, steps):
    table.to_csv("all.csv", index=False)
    lines, split = steps(f"{TABLE}keep_duplicates = true\n{COLUMN}")
    assert split["split"].value_counts().to_dict() == {"train": 24, "valid": 11, "test": 12}
    assert lines[:2] == [line.replace("removed from", "kept in") for line in REMOVED[:2]]
    warning = "warning: test records whose sequence is also in train or pretraining: 1; "
    assert any(warning in line for line in lines)


def test_duplicate_pairs_match_in_both_inputs(table, steps):
    four = ["ACGT"[i] * 8 for i in range(4)]
    table["other"] = [four[i % 4] + four[i // 4 % 4] + four[i // 16] for i in table.index]
    # only the first copy has the partner of its original
    table.loc[0, "other"] = table.loc[32, "other"]
    table.to_csv("all.csv", index=False)
    partner = '[partner]\nkind = "sequence"\ncolumn = "other"\n[model]\nkind = "paired"\n'
    lines, split = steps(TABLE + COLUMN + partner)
    counts = {"train": 23, "valid": 11, "test": 12, "dropped": 1}
    assert split["split"].value_counts().to_dict() == counts
    assert lines[0] == "split: removed from train: 1 duplicate (1 also in test)"
    assert read_json("audit.json")["duplicates"] == 0


def test_chromosome_split_keeps_test_copy(table, steps):
    chrom = table["split"].map({"train": "c1", "dev": "c2", "test": "c3"})
    table.assign(chrom=chrom).drop(columns="split").to_csv("all.csv", index=False)
    lines, split = steps(f'{TABLE}[split]\nkind = "chromosome"\nvalid = ["c2"]\ntest = ["c3"]\n')
    assert split["split"].value_counts().to_dict() == {**COUNTS, "test": 10, "dropped": 7}
    assert lines[2] == REMOVED[2].replace("kept in", "removed from")


def test_corpus_deduplicated_before_split_error(table, here, capsys):
    table.to_csv("all.csv", index=False)
    Path("run.toml").write_text(TABLE + COLUMN)
    ingest_files("all.csv", "corpus", "dna", labels="label")
    assert exit_code("split .") == 1
    message = "corpus: 6 records with a repeated sequence were dropped by ingest, before the split"
    assert message in capsys.readouterr().err
    ingest_files("all.csv", "corpus", RecordRules(DNA, repeats="keep"), labels="label")
    run("split .")
