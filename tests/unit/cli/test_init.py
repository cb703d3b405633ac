"""Test `init`, which writes a run file, and `run` and `demo`, which start Snakemake."""

import gzip
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.api import workflow
from selfattn_bio.api.proposal import propose
from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file
from selfattn_bio.errors import SelfAttnBioError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, number=120, length=40, letters="ACGT", header=lambda i: ""):
    rng = np.random.default_rng(len(str(path)))
    text = "".join(
        f">{Path(path).stem.split()[-1]}{i} "
        f"{header(i)}\n{''.join(rng.choice(list(letters), length))}\n"
        for i in range(number)
    )
    raw = text.encode()
    Path(path).write_bytes(gzip.compress(raw) if str(path).endswith("gz") else raw)
    return str(path)


def made(*words):
    assert main(["init", "my_task", *words]) == 0
    return read_run_file("workflows/tasks/my_task.toml")


def place(i):
    return f"chrom=chr{i % 5} start={i * 50} end={i * 50 + 40}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("dna", "random", 3, "full", 64)),
        ({"letters": "ACDEFGHIKLMNPQRSTVWY"}, ("protein", "cluster", 1, "full", 64)),
        (
            {"header": place},
            ("dna", "chromosome", 1, "full", 64),
        ),  # enough records of two chromosomes for a recipe
        ({"header": lambda i: f"group=g{i % 20}"}, ("dna", "group", 3, "full", 64)),
        ({"length": 10_000, "number": 20}, ("dna", "random", 3, "window", 13)),
        (
            {"length": 2000, "number": 20, "letters": "ACDEFGHIKLMNPQRSTVWY"},
            ("protein", "cluster", 1, "window", 64),
        ),
        ({"letters": "acgun"}, ("dna", "random", 3, "full", 64)),
    ],
)
def test_run_file_fits_the_data(here, capsys, options, expected):
    run = made(
        "--positives", write("a b.fa", **options), "--negatives", write("ü.fa.gz", **options)
    )
    got = (
        run.data.alphabet,
        run.split.kind,
        run.tokens.k,
        run.model.pattern.kind,
        run.training.batch_size,
    )
    assert got == expected
    assert run.data.positives == ("a b.fa",)
    assert run.data.max_length == options.get("length", 40)
    assert run.training.batch_size * run.training.accumulate <= 64
    text = (here / "workflows/tasks/my_task.toml").read_text()
    schema = text.splitlines()[0].removeprefix("#:schema ")
    assert "training" in json.loads((here / "workflows/tasks" / schema).read_text())["properties"]
    assert f"# {options.get('number', 120)} records" in text
    assert "selfattn-bio run train_my_task" in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["x", "y", "z"], "multiclass"),
        (["0", "1", ""], "multilabel"),
        (["0.5", "2", "-1"], "regression"),
    ],
)
def test_objective_follows_the_column(here, values, kind):
    sequences = write("s.fa")
    Path("t.tsv").write_text(
        "id\tactivity\n" + "".join(f"s{i}\t{values[i % 3]}\n" for i in range(120))
    )
    pd.read_csv("t.tsv", sep="\t", dtype=str, keep_default_na=False).to_csv("t.csv.gz", index=False)
    for targets in ("t.tsv", "t.csv.gz"):  # read as ingest will read them
        run = made("--sequences", sequences, "--targets", targets)
        assert run.objective.kind == kind
        assert run.objective.target_columns == ("activity",)
        (here / "workflows/tasks/my_task.toml").unlink()


def table(path="all.csv", number=120, letters="ACGT", **columns):
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list(letters), 40)) for _ in range(number)]
    made_up = {name: [value(i, rows[i]) for i in range(number)] for name, value in columns.items()}
    pd.DataFrame({"sequence": rows, **made_up}).to_csv(
        path, index=False, sep="\t" if path.endswith("tsv") else ","
    )
    return path


def ingested():
    """The corpus of the run file, and the records of each split."""
    assert main(["ingest", "--run-file", "workflows/tasks/my_task.toml", "--output", "corpus"]) == 0
    assert (
        main(
            [
                "split",
                "--run-file",
                "workflows/tasks/my_task.toml",
                "--corpus",
                "corpus",
                "--output",
                "split.tsv",
            ]
        )
        == 0
    )
    return pd.read_parquet("corpus/records.parquet"), pd.read_csv("split.tsv", sep="\t")[
        "split"
    ].value_counts().to_dict()


def test_split_column_of_targets_is_used(here, capsys):
    sequences = write("s.fa")
    rows = (f"s{i}\t{i / 7}\t{('train', 'valid', 'test')[i % 3]}\n" for i in range(120))
    Path("t.tsv").write_text("id\tactivity\tset\n" + "".join(rows))
    run = made("--sequences", sequences, "--targets", "t.tsv")
    assert (run.objective.kind, run.split.column) == ("regression", "set")
    assert ingested()[1] == {"train": 40, "valid": 40, "test": 40}


def test_one_table_with_labels_is_enough(here, capsys):
    run = made("--sequences", table(label=lambda i, _: i % 3 // 2))
    assert (run.objective.kind, run.data.sequences, run.data.label) == (
        "binary",
        ("all.csv",),
        "label",
    )
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0]
        == "init: all.csv: 120 records of DNA, 40 bp; 1 and 0 in column 'label': 40 positives, 80 "
        "negatives"
    )
    assert (
        "init: only 40 positives and 80 negatives: metrics on held-out records will have wide "
        "intervals" in lines
    )
    assert (
        'label = "label"  # 40 positives, 80 negatives'
        in (here / "workflows/tasks/my_task.toml").read_text()
    )
    assert ingested()[0]["label"].sum() == 40


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (
            lambda i, _: ["bound", "unbound"][i % 2],
            "binary",
            "bound and unbound in column 'y': 60 positives, 60 negatives; 'bound' is the",
        ),
        (lambda i, _: ["liver", "brain", "kidney"][i % 3], "multiclass", "3 classes in column 'y'"),
        (lambda i, _: i % 4, "multiclass", "4 classes in column 'y'"),
        (lambda i, _: i / 7, "regression", "regression on column 'y'"),
        (
            lambda i, _: [0, 1, None, "NA"][i % 4],
            "multilabel",
            "0, 1 and missing values in column 'y'",
        ),
        (
            lambda _, row: row.translate(str.maketrans("ACGT", "0011")),
            "labels",
            "one label per base (01) in column 'y'",
        ),
    ],
)
def test_objective_is_recognised_from_one_table(here, capsys, value, kind, words):
    run = made("--sequences", table(y=value))
    assert run.objective.kind == kind
    assert f"all.csv: 120 records of DNA, 40 bp; {words}" in capsys.readouterr().out
    records, splits = ingested()
    assert len(records) == 120
    assert set(splits) == {"train", "valid", "test"}


def test_long_sequences_in_a_table(here):
    rows = [f"{'ACGT' * 40_000}{'ACGT'[i % 4]}{'ACGT'[i // 4]},{i % 2}\n" for i in range(12)]
    Path("long.csv").write_text("seq,label\n" + "".join(rows))
    run = made("--sequences", "long.csv")
    assert (run.data.columns, run.data.max_length) == ({"sequence": "seq"}, 160_002)


def test_labels_of_residues(here):
    run = made(
        "--sequences",
        table(
            letters="ACDEFGHIKLMNPQRSTVWY",
            ss3=lambda _, row: "".join("HEC"[ord(c) % 3] for c in row),
        ),
    )
    assert (
        run.data.alphabet,
        run.objective.classes,
        run.tokens.k,
        run.training.shift,
        run.model.stem.pool,
    ) == ("protein", "CEH", 1, 0, 1)
    assert run.split.kind == "cluster"


def test_several_columns_are_learned_together(here):
    table(number=40, a=lambda i, _: i / 7, b=lambda i, _: -i / 3, name=lambda i, _: f"gene{i}")
    assert main(["init", "my_task", "--sequences", "all.csv"]) == 1
    run = made("--sequences", "all.csv", "--column", "a", "b")
    assert run.objective.columns == ("a", "b")


def test_other_names_of_the_sequence_column(here, capsys):
    pd.read_csv(table(label=lambda i, _: i % 2)).rename(columns={"sequence": "seq"}).to_csv(
        "seq.csv", index=False
    )
    assert made("--sequences", "seq.csv").data.columns == {"sequence": "seq"}
    assert len(ingested()[0]) == 120
    (here / "workflows/tasks/my_task.toml").unlink()
    pd.read_csv("seq.csv").assign(alt=lambda frame: frame["seq"]).rename(
        columns={"seq": "ref"}
    ).to_csv("both.csv", index=False)
    assert main(["init", "my_task", "--sequences", "both.csv"]) == 1
    assert (
        "both.csv: several columns hold sequences: ref, alt. Name the column"
        in capsys.readouterr().err
    )
    assert made("--sequences", "both.csv", "--sequence-column", "ref").data.columns == {
        "sequence": "ref"
    }


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


def test_repeated_and_missing_ids_are_numbered(here, capsys):
    positives, negatives = write("a.fa"), write("other.fa")
    Path(positives).write_text(
        "".join(f">DNA\n{line}\n" for line in Path(positives).read_text().splitlines()[1::2])
    )
    Path(negatives).write_text(
        "".join(
            f"> {i}\n{line}\n"
            for i, line in enumerate(Path(negatives).read_text().splitlines()[1::2])
        )
    )
    assert made("--positives", positives, "--negatives", negatives).data.ids == "numbered"
    assert (
        'init: ids are repeated or missing, so the records are numbered: ids = "numbered"'
        in capsys.readouterr().out
    )
    assert len(ingested()[0]) == 240


@pytest.mark.parametrize(
    ("words", "kind"),
    [(["shuffled"], "shuffled"), (None, "matched"), (["neighbours"], "neighbours")],
)
def test_negatives_are_generated(here, words, kind):
    rng = np.random.default_rng(0)
    Path("genome.fa").write_text(
        "".join(f">chr{i}\n{''.join(rng.choice(list('ACGT'), 20_000))}\n" for i in range(5))
    )
    lines = (
        f"chr{i % 5}\t{(start := 200 * (i + 1))}\t{start + 80 + 10 * (i % 3)}\n" for i in range(60)
    )
    Path("peaks.bed").write_text("".join(lines))
    run = made(
        "--positives",
        "peaks.bed",
        "--genome",
        "genome.fa",
        *(["--negatives", *words] if words else []),
    )
    assert (run.data.genome, run.data.negatives.kind, run.data.windows.width) == (
        "genome.fa",
        kind,
        90,
    )
    assert run.split.kind == "chromosome"
    records, splits = ingested()
    assert (len(records), records["label"].sum()) == (120, 60)
    assert splits["valid"] == splits["test"] == 24


def test_features_of_gff_files(here):
    write("genome.fa", number=4, length=5000)
    gff = (
        f"genome{i % 4}\t.\t{kind}\t{100 * i + 1}\t{100 * i + 60}\t.\t+\t.\t.\n"
        for i in range(40)
        for kind in ("gene", "exon")
    )
    Path("a.gff3").write_text("".join(gff))
    run = made("--positives", "a.gff3", "--genome", "genome.fa", "--feature", "gene")
    assert (run.data.windows.kind, run.data.windows.feature) == ("whole", "gene")
    assert ingested()[0]["label"].sum() == 40


def test_positives_alone_are_shuffled(here, capsys):
    assert (
        made("--positives", write("a.fa"), "--negatives", "shuffled").data.negatives.kind
        == "shuffled"
    )
    assert (
        "240 records of DNA, 40 bp; 120 positives, 120 negatives (generated: shuffled)"
        in capsys.readouterr().out
    )
    assert ingested()[0]["label"].sum() == 120


def test_header_attributes_are_columns(here):
    tissues, splits = ("liver", "brain", "kidney"), ("train", "dev", "test")

    def header(i):
        return f"tissue={tissues[i % 3]} split={splits[i // 3 % 3]}"

    run = made("--sequences", write("a.fa", header=header), "--column", "tissue")
    assert (run.objective.kind, run.split.column) == ("multiclass", "split")
    assert ingested()[1] == {"train": 42, "valid": 39, "test": 39}
    (here / "workflows/tasks/my_task.toml").unlink()
    run = made(
        "--sequences",
        write("b.fa", header=lambda i: f"kind={('promoter', 'background')[i % 2]}"),
        "--column",
        "kind",
    )
    assert (run.data.label, run.data.positive) == ("kind", ("promoter",))


def test_labels_after_a_bar_are_recognised(here, capsys):
    """As in `>chr9:77703978-77704078|1`, and in the format of iLearn, `>name|1|training`."""
    for pattern in (
        lambda i: f"|{i % 2}",
        lambda i: f"|{i % 2}|{('training', 'testing')[i // 2 % 2]}",
    ):
        write("a.fa")
        lines = Path("a.fa").read_text().splitlines()
        Path("a.fa").write_text(
            "".join(f"{lines[2 * i].strip()}{pattern(i)}\n{lines[2 * i + 1]}\n" for i in range(120))
        )
        run = made("--sequences", "a.fa")
        assert (run.objective.kind, run.data.label) == ("binary", "label")
        records, splits = ingested()
        assert records["label"].sum() == 60
        (here / "workflows/tasks/my_task.toml").unlink()
    assert splits["test"] == 60
    assert "init: split: column 'split' (60 train, 60 test)" in capsys.readouterr().out
    write("b.fa", header=lambda i: f"sp|P{i}|NAME{i}")
    assert main(["init", "my_task", "--sequences", "b.fa"]) == 1
    assert "b.fa: the sequences have no labels or numbers to learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("letters", "codes"),
    [("ACGT", "IUPAC DNA codes"), ("ACDEFGHIKLMNPQRSTVWY", "one-letter amino acid codes")],
)
@pytest.mark.parametrize("record", [0, 6])
def test_invalid_character_names_the_record(here, capsys, letters, codes, record):
    write("a.fa", letters=letters)
    lines = Path("a.fa").read_text().splitlines()
    lines[2 * record + 1] += "!"
    Path("a.fa").write_text("\n".join(lines))
    assert main(["init", "my_task", "--positives", "a.fa", "--negatives", "shuffled"]) == 1
    message = (
        f"a.fa:{2 * record + 2}: invalid character '!' in record 'a{record}' (expected {codes}"
    )
    assert message in capsys.readouterr().err


def test_init_checks_that_it_can_write(here, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != ".")
    assert main(["init", "mine", "--positives", "missing.fa", "--negatives", "shuffled"]) == 1
    assert "cannot write workflows/tasks/mine.toml: permission denied" in capsys.readouterr().err


def test_organism_chooses_the_database(here, capsys):
    files = ("--positives", write("a.fa"), "--negatives", write("b.fa"))
    for organism, database in (("bacteria", "none"), ("plants", "jaspar:plants")):
        assert made(*files, "--organism", organism).interpret.database == database
        (here / "workflows/tasks/my_task.toml").unlink()
    capsys.readouterr()
    assert made(*files).interpret.database == "jaspar:vertebrates"
    assert (
        "init: motifs will be compared with those of vertebrates; choose others with --organism"
        in capsys.readouterr().out
    )


def test_steps_grow_with_root_of_records(here):
    steps = []
    for number in (30, 400):
        steps.append(
            made(
                "--positives",
                write("a.fa", number=number),
                "--negatives",
                write("b.fa", number=number),
            ).training.max_steps
        )
        (here / "workflows/tasks/my_task.toml").unlink()
    assert steps == [100, round(1500 * (800 / 16_754) ** 0.5)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["my task", "--positives", "a.fa", "--negatives", "a.fa"],
            "invalid task name 'my task': use only letters, digits, _ and -",
        ),
        (
            ["mine", "--positives", "a.fa"],
            "--positives needs --negatives. Give a file, or --negatives shuffled to generate",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "b.fa", "a.fa"],
            "a.fa: this file is given twice. Name each file once",
        ),
        (
            ["mine", "--sequences", "-"],
            "init cannot read standard input (-), because it reads each file twice. Save the data",
        ),
        (["mine", "--sequences", "latin.fa"], "latin.fa:1: invalid byte 0xE9 in the header"),
        (
            ["mine"],
            "no sequence files given. Give --positives and --negatives, or one table",
        ),
        (
            ["mine", "--train", "a.fa", "--sequences", "b.fa"],
            "--sequences and --train cannot be combined. Give --positives",
        ),
        (["mine", "--train", "a.fa"], "--train is not enough to learn from. Give --positives"),
        (
            ["mine", "--sequences", "a.fa"],
            "a.fa: the sequences have no labels or numbers to learn. Give a table, or --targets "
            "TABLE with ids, or --column NAME",
        ),
        (
            ["mine", "--positives", "p.fa", "--negatives", "a.fa"],
            "the files mix alphabets: p.fa looks like protein (MKVLAAGIVGLL...), a.fa like DNA (",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "matched"],
            "--negatives matched needs a genome to take windows from. Give it with --genome",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "b.fa", "--genome", "a.fa"],
            "a.fa: this file cannot be used with --genome, because it has no intervals. Give BED",
        ),
        (
            ["mine", "--sequences", "a.bed", "--genome", "a.fa"],
            "--genome needs --positives. For labels by score, overlap or tracks",
        ),
        (
            ["mine", "--positives", "a.bed", "--genome", "a.fa"],
            "a.fa: no chromosome 'chr1' in the genome (it has a0, a1",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "b.fa", "--organism", "yeast"],
            "unknown --organism 'yeast'. Choose from vertebrates",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "b.fa", "--column", "x"],
            "--column cannot be used with --positives",
        ),
        (
            ["mine", "--positives", "a.fa", "--negatives", "b.fa", "--targets", "t.tsv"],
            "--targets cannot be used with --positives",
        ),
        (
            ["mine", "--sequences", "no_names.csv"],
            "no_names.csv:1: the first row looks like data, not like column names: "
            "ACGTACGTACGTACG..., 1. Add a row of names",
        ),
        (
            ["mine", "--sequences", "words.txt"],
            "words.txt:1: no '>' header before 'hello'",
        ),
        (
            ["mine", "--positives", "no.fa", "--negatives", "a.fa"],
            "no.fa: no such file",
        ),
        (
            ["mine", "--sequences", "a.fa", "--targets", "no.tsv"],
            "no.tsv: no such file for the targets",
        ),
        (
            ["mine", "--sequences", "a.fa", "--targets", "t.tsv"],
            "t.tsv: several columns could be learned: x (numbers), z (numbers). Choose one with "
            "--column NAME",
        ),
        (
            ["mine", "--sequences", "a.fa", "--targets", "u.tsv"],
            "u.tsv: none of the ids in this table is the id of a sequence, such as 'a0'",
        ),
        (
            ["mine", "--sequences", "a.fa", "--targets", "v.tsv"],
            "v.tsv: a table of targets needs the column id and another one; the columns are name, "
            "x. Separate",
        ),
        (
            ["mine", "--positives", "a.bed", "--negatives", "a.fa"],
            "a.bed: intervals need their genome. Give it with --genome GENOME.fa",
        ),
        (
            ["mine", "--positives", "\x7f.fa", "--negatives", "a.fa"],
            "error: workflows/tasks/mine.toml:",
        ),  # which TOML may not hold
        (
            ["there", "--positives", "a.fa", "--negatives", "b.fa"],
            "there.toml: the run file already exists. Edit it, remove it, or",
        ),
    ],
)
def test_init_errors_are_one_line(here, capsys, words, message):
    write("a.fa")
    write("b.fa")
    Path("t.tsv").write_text(
        "id\tx\tz\n" + "".join(f"a{i}\t{i / 7}\t{i / 3}\n" for i in range(120))
    )
    Path("u.tsv").write_text("id\tx\nz\t1\n")
    Path("v.tsv").write_text("name\tx\nz\t1\n")
    Path("no_names.csv").write_text(
        "ACGTACGTACGTACGTACGT,1\nACGTACGTACGTACGTACGA,0\nACGTACGTACGTACGTACGC,0\n"
    )
    Path("words.txt").write_text("hello\n")
    Path("latin.fa").write_bytes(b">caf\xe9\nACGT\n")
    write("p.fa", letters="ACDEFGHIKLMNPQRSTVWY")
    Path("p.fa").write_text(">p\nMKVLAAGIVGLLLAQWERTY\n" + Path("p.fa").read_text())
    Path("\x7f.fa").write_bytes(Path("b.fa").read_bytes())
    Path("a.bed").write_text("chr1\t0\t30\n")
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/there.toml").write_text("mine")
    assert main(["init", *words]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in Path("workflows/tasks").iterdir()] == ["there.toml"]
    assert Path("workflows/tasks/there.toml").read_text() == "mine"


def test_propose_returns_what_init_writes(here):
    files = {"positives": [write("p.fa")], "negatives": [write("n.fa")]}
    lines = []
    proposal = propose("my_task", files, say=lines.append)
    assert not Path("workflows").exists()
    made("--positives", "p.fa", "--negatives", "n.fa")
    assert Path("workflows/tasks/my_task.toml").read_text() == repr(proposal) == proposal.text
    assert lines[0].startswith("p.fa, n.fa: 240 records of DNA")
    assert proposal.save("other.toml") == Path("other.toml")
    assert Path("other.toml").read_text() == proposal.text


# ------------ run, demo
@pytest.fixture
def started(monkeypatch):
    """Replace Snakemake with a program that prints its arguments and exits with the last one."""
    seen = []
    real = workflow.subprocess.Popen
    code = (
        "import sys; print('snakemake', *sys.argv[1:]); print('and an error', "
        "file=sys.stderr); sys.exit(int(sys.argv[1]))"
    )

    def popen(command, env, **options):
        seen.append(SimpleNamespace(words=command, env=env))
        number = next(
            (word.removeprefix("--end=") for word in command if word.startswith("--end=")), "0"
        )
        return real([sys.executable, "-c", code, number, *command[3:]], env=env, **options)

    monkeypatch.setattr(workflow.subprocess, "Popen", popen)
    return seen


def test_run_passes_arguments_to_snakemake(here, started):
    assert main(["run", "train_mine", "--cores", "3", "--config", "a=b"]) == 0
    (call,) = started
    assert call.words == [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "train_mine",
        "--cores",
        "3",
        "--config",
        "a=b",
    ]
    assert call.env["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert main(["run", "--quiet", "--profile", "gpu", "sweep_mine", "--end=1"]) == 1
    assert started[1].words[5:] == [
        "--workflow-profile",
        str(ROOT / "profiles/gpu"),
        "sweep_mine",
        "--end=1",
        "--quiet",
        "all",
    ]


def test_run_names_the_place_of_snakemake_options(here, started, capsys):
    assert main(["run", "--cores", "1", "train_big"]) == 2
    assert capsys.readouterr().err == (
        "selfattn-bio run: error: --cores is an option of Snakemake and goes after the target: "
        "selfattn-bio run train_big --cores ...\n"
    )
    assert not started


def test_run_explains_targets(here, started, capsys):
    assert main(["run", "mine"]) == 1
    assert (
        "unknown target 'mine'; a target is train_NAME, sweep_NAME or a file. Did you mean "
        "train_mine?" in capsys.readouterr().err
    )
    assert not started
    assert main(["run", "results/mine/metrics.json"]) == 0


def test_run_reports_unwritable_folder(here, started, monkeypatch, capsys):
    monkeypatch.setattr(workflow.os, "access", lambda path, mode: path != ".")
    assert main(["run", "train_mine"]) == 1
    assert (
        f"{Path.cwd()}: the folder cannot be written: Permission denied. Run the command in another"
        in capsys.readouterr().err
    )
    assert not started


@pytest.mark.parametrize("place", ["/proc/nowhere", "file/below"])
def test_run_reports_unwritable_cache(here, started, monkeypatch, capsys, place):
    Path("file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert main(["run", "train_mine"]) == 1
    error = capsys.readouterr().err
    assert f"error: {place}: the cache folder cannot be written: " in error
    assert error.endswith(". Set XDG_CACHE_HOME to another folder\n")
    assert not started


def test_ctrl_c_stops_run_with_130(here):
    begins = "import sys, time\nprint('a step begins', file=sys.stderr, flush=True)\n"
    ends = "try: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit('a traceback')\n"
    Path("snakemake.py").write_text(begins + ends)  # found before the real one
    command = [sys.executable, "-m", "selfattn_bio.cli.main", "run", "train_mine"]
    # a shell's jobs in the background ignore Ctrl-C
    interruptible = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible
    ) as process:
        assert process.stderr.readline() == "a step begins\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
        assert (
            process.stderr.read()
            == "selfattn-bio run: stopped; run the same command again to continue\n"
        )
    assert process.returncode == 130


def test_quiet_run_prints_only_failures(here, started, capfd):
    assert main(["run", "--quiet", "train_mine"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["run", "--quiet", "train_mine", "--end=1"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("and an error")


def test_run_works_without_path_variable(here, started, monkeypatch):
    monkeypatch.delenv("PATH")
    assert main(["run", "train_mine"]) == 0
    assert started[0].env["PATH"].endswith(":/usr/bin:/bin")


def test_lines_of_snakemake_become_objects(here, started, capsys):
    assert main(["run", "--json", "train_mine"]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if "an error" not in each)
    assert json.loads(line)["message"].startswith("snakemake 0 --snakefile")


def test_demo_copies_data_and_keeps_existing_files(here, started):
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/promoter.toml").write_text("mine")
    assert main(["demo", "--cores", "2", "--dry-run"]) == 0
    assert started[0].words[5:] == ["train_promoter", "--cores", "2", "--dry-run"]
    assert Path("workflows/tasks/promoter.toml").read_text() == "mine"
    for name in ("positives", "negatives"):
        file = f"data/fly_promoters/{name}.fa.gz"
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()


@pytest.mark.parametrize(
    ("target", "there"),
    [
        (
            "train_smoke",
            ["data/smoke/negatives.fa", "data/smoke/positives.fa", "workflows/tasks/smoke.toml"],
        ),
        (
            "train_tss",
            [
                "data/fly_2R/chr2R.fa.gz",
                "data/fly_2R/chr2R.fa.gz.gzi",
                "data/fly_2R/tss.bed",
                "workflows/tasks/tss_parent.toml",
            ],
        ),
        ("sweep_grid", ["data/smoke/negatives.fa", "workflows/tasks/grid.toml"]),
    ],
)
def test_run_copies_shipped_task_with_data(here, started, target, there):
    assert main(["run", target]) == 0
    for file in (*there, "data/README.md"):
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()
    assert started[0].words[5:] == [target]


def test_run_copies_no_task_for_shipped_parent(here, started, tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "workflows/tasks").mkdir(parents=True)
    (source / "data").mkdir()
    (source / "data/README.md").touch()
    for name in ("p.fa", "n.fa"):
        (source / name).touch()
    task = "[data]\npositives = 'p.fa'\nnegatives = 'n.fa'\n[transfer]\nparent = 'motifs'\n"
    (source / "workflows/tasks/mine.toml").write_text(task)
    monkeypatch.setattr(workflow, "project_folder", lambda: source)
    workflow.copy_task("mine")
    assert [path.name for path in (here / "workflows/tasks").iterdir()] == ["mine.toml"]


def test_run_keeps_existing_task(here, started):
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/amp.toml").write_text("mine")
    assert main(["run", "train_amp"]) == 0
    assert main(["run", "train_another"]) == 0
    assert [str(path) for path in here.rglob("*") if path.is_file()] == [
        str(here / "workflows/tasks/amp.toml")
    ]


def test_missing_workflow_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "__file__", str(tmp_path / "selfattn_bio/api/workflow.py"))
    with pytest.raises(SelfAttnBioError, match="the package was installed without its workflow"):
        workflow.project_folder()
    (tmp_path / "selfattn_bio/project/workflows").mkdir(parents=True)
    (tmp_path / "selfattn_bio/project/Snakefile").touch()
    (tmp_path / "selfattn_bio/project/workflows/classify.smk").touch()
    assert workflow.project_folder() == tmp_path / "selfattn_bio/project"
