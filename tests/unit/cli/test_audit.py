"""Run `selfattn-bio audit`: its table, counts, limits from the run file, and light imports."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.cli.main import main
from selfattn_bio.evaluation.lineage import seen_table
from selfattn_bio.model.checkpoint import PROVENANCE, TRAINING_RECORDS
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.records import letters_of

RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[split]
kind = "chromosome"
valid = ["c2"]
test = ["c3"]
"""


@pytest.fixture
def texts():
    rng = np.random.default_rng(0)
    return {
        f"{name}{i}": "".join(rng.choice(list("ACGT"), 120)) for name in "pn" for i in range(30)
    }


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys, texts):
    """Return a function that writes records, runs three commands and returns the output."""
    monkeypatch.chdir(tmp_path)

    def audit(*arguments, limits="", **changed):
        for name in "pn":
            rows = [(key, {**texts, **changed}[key]) for key in texts if key[0] == name]
            (tmp_path / f"{name}.fa").write_text(
                "".join(
                    f">{key} chrom=c{i % 3 + 1} group=G{i}\n{row}\n"
                    for i, (key, row) in enumerate(rows)
                )
            )
        (tmp_path / "run.toml").write_text(RUN_FILE + limits)
        assert (
            main(
                [
                    "ingest",
                    "--fasta",
                    "p.fa",
                    "n.fa",
                    "--label",
                    "1",
                    "0",
                    "--alphabet",
                    "dna",
                    "--output",
                    "corpus",
                ]
            )
            == 0
        )
        assert (
            main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
            == 0
        )
        capsys.readouterr()
        code = main(
            [
                "audit",
                *[
                    "--run-file",
                    "run.toml",
                    "--corpus",
                    "corpus",
                    "--split",
                    "split.tsv",
                    "--output",
                    "out/audit.tsv",
                ],
                *arguments,
            ]
        )
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return audit


def near(row):
    """Change every fifteenth base."""
    return "".join(
        {"A": "C", "C": "G", "G": "T", "T": "A"}[c] if i % 15 == 7 else c for i, c in enumerate(row)
    )


def test_audit_writes_one_line_per_test_record(audit, tmp_path, texts):
    code, out, err = audit(p2=near(texts["n0"]))
    assert code == 0
    assert out[:2] == [
        "audit: compared 20 test records with 20 of train",
        "audit: test records with a near neighbour (at least 0.15 of the k-mers shared): 1 "
        "(5.00%), 1 of them with another label",
    ]
    assert out[2] == (
        "audit: test records with the same sequence on either strand: 0, with an overlapping "
        "interval: 0, seen by a parent model: 0, with a group that is also in train: 0"
    )
    assert out[3] == "audit: most similar: p2 shares 0.19 of its k-mers with n0 of train (strand +)"
    assert any(
        line.startswith("audit: mean GC content: 0.") and "Cohen's d" in line for line in out
    )
    assert out[-1] == "audit: wrote out/audit.tsv"
    assert err == (
        "selfattn-bio audit: warning: test records with a near neighbour of another label: 1; they "
        "lower the test metrics, so check their labels\n"
    )
    table = pd.read_csv(tmp_path / "out/audit.tsv", sep="\t", keep_default_na=False)
    assert len(table) == 20
    assert table.loc[
        table["neighbour"] != "", ["id", "neighbour", "of", "strand"]
    ].values.tolist() == [["p2", "n0", "train", "+"]]
    counts = json.loads((tmp_path / "out/audit.json").read_text())
    assert (counts["near"], counts["failed"], counts["records"]) == (
        1,
        [],
        {"test": 20, "train": 20},
    )
    assert counts["worst"][0]["id"] == "p2"


def test_neighbours_are_counted_by_label(audit, texts):
    _, out, err = audit(p2=near(texts["n0"]), n5=near(texts["n3"]))
    assert out[1].endswith("2 (10.00%), 1 of them with another label")
    assert err.splitlines() == [
        "selfattn-bio audit: warning: test records with a near neighbour of the same label: 1; "
        "test metrics may be too optimistic",
        "selfattn-bio audit: warning: test records with a near neighbour of another label: 1; they "
        "lower the test metrics, so check their labels",
    ]


def test_unknown_labels_are_not_counted(tmp_path, monkeypatch, capsys, texts):
    """Labels of a regression are not a column of the corpus and are not reported."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{name},{near(texts['p0']) if name == 'p2' else row},{i / 7}\n"
        for i, (name, row) in enumerate(texts.items())
    ]
    (tmp_path / "t.csv").write_text("id,sequence,activity\n" + "".join(rows))
    (tmp_path / "split.tsv").write_text(
        "id\tsplit\treason\n"
        + "".join(
            f"{name}\t{('train', 'valid', 'test')[i % 3]}\t\n" for i, name in enumerate(texts)
        )
    )
    (tmp_path / "run.toml").write_text(
        '[data]\nsequences = "t.csv"\n[objective]\nkind = "regression"\ncolumns = ["activity"]\n'
    )
    assert main(["ingest", "--run-file", "run.toml", "--output", "corpus"]) == 0
    capsys.readouterr()
    assert (
        main(
            [
                "audit",
                "--run-file",
                "run.toml",
                "--corpus",
                "corpus",
                "--split",
                "split.tsv",
                "--output",
                "audit.tsv",
            ]
        )
        == 0
    )
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1] == (
        "audit: test records with a near neighbour (at least 0.15 of the k-mers shared): 1 (5.00%)"
    )
    assert printed.err == (
        "selfattn-bio audit: warning: test records with a near neighbour: 1; test metrics may be "
        "too optimistic\n"
    )
    assert json.loads((tmp_path / "audit.json").read_text())["near_other_label"] is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            "max_near = 0.04",
            "fraction of test records with a neighbour of similarity 0.15 or more: 0.05, such as "
            "'p2' (n0); [audit] max_near allows 0.04",
        ),
        (
            "max_similarity = 0.18",
            "highest similarity of a test record to its nearest neighbour: 0.19",
        ),
    ],
)
def test_exceeded_limit_fails_and_writes_table(audit, tmp_path, texts, limits, message):
    code, _, err = audit(limits=f"[audit]\n{limits}\n", p2=near(texts["n0"]))
    assert code == 3
    warning, error = err.splitlines()
    assert "warning: test records with a near neighbour of another label: 1" in warning
    assert error.startswith(f"selfattn-bio audit: error: split.tsv: {message}")
    assert "such as 'p2' (n0); [audit] " in error
    assert error.endswith(
        f" allows {limits.split()[-1]}. Choose a [split] that keeps them together "
        "(docs/leakage.md), or raise the limit"
    )
    assert (tmp_path / "out/audit.tsv").exists()
    assert json.loads((tmp_path / "out/audit.json").read_text())["failed"]


def test_overlaps_and_shared_groups(audit, tmp_path, texts):
    audit()
    for name in "pn":
        path = tmp_path / f"{name}.fa"
        path.write_text(
            path.read_text().replace(
                f"chrom=c1 group=G0\n{texts[name + '0']}",
                f"chrom=c1 start=0 end=120 group=G2\n{texts[name + '0']}",
            )
        )
    assert (
        main(
            [
                "ingest",
                "--fasta",
                "p.fa",
                "n.fa",
                "--label",
                "1",
                "0",
                "--alphabet",
                "dna",
                "--output",
                "corpus",
            ]
        )
        == 0
    )
    split = pd.read_csv(tmp_path / "split.tsv", sep="\t")
    split.loc[split["id"] == "n0", "split"] = "test"
    split.to_csv(tmp_path / "split.tsv", sep="\t", index=False)
    command = [
        "audit",
        "--run-file",
        "run.toml",
        "--corpus",
        "corpus",
        "--split",
        "split.tsv",
        "--output",
        "out/audit.tsv",
    ]
    assert main(command) == 3
    counts = json.loads((tmp_path / "out/audit.json").read_text())
    # n0; p2 and n2 share G2 with p0
    assert (counts["overlaps"], counts["shared"]) == (1, {"group": 3})
    assert counts["failed"] == [
        "test records that overlap a record of train or pretraining: 1, such as 'n0' (p0); [audit] "
        "max_overlaps allows 0"
    ]
    (tmp_path / "run.toml").write_text(RUN_FILE + "[audit]\nmax_overlaps = 1\nmax_shared = 2\n")
    assert main(command) == 3
    counts = json.loads((tmp_path / "out/audit.json").read_text())
    assert counts["failed"][0].startswith(
        "test records of a group that is also in train: 3, such as "
    )


def test_records_seen_by_grandparent_are_found(audit, tmp_path, texts):
    """A variant starts from a parent whose own parent saw p2."""
    first, second = (
        {"id": [name], "chrom": [None], "start": [None], "end": [None]} for name in "xy"
    )
    seen = seen_table(pd.DataFrame(first), [letters_of(texts["p2"], DNA)], DNA, "", None)
    provenance = {
        "vocabulary_sha256": "0" * 64,
        "weights_sha256": "0" * 64,
        "calibration": {"slope": 1.0, "threshold": 0.5},
    }
    for name, table in {
        "first": seen,
        "second": seen_table(pd.DataFrame(second), [letters_of("ACGT" * 30, DNA)], DNA, "", seen),
    }.items():
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / TRAINING_RECORDS)
        (tmp_path / name / PROVENANCE).write_text(json.dumps(provenance))
    variant = (
        '[variants.other.model]\nkind = "attention"\nembed_dim = '
        '32\n[variants.other.transfer]\nparent = "./second"\n'
    )
    code, _, err = audit(limits=variant)
    assert code == 3
    assert (
        "test records that a parent of the model saw: 1, such as 'p2' (second); [audit] max_seen "
        "allows 0" in err
    )


def test_parent_in_run_file_is_checked(audit, tmp_path, texts):
    record = pd.DataFrame({"id": ["x"], "chrom": [None], "start": [None], "end": [None]})
    letters = [DNA.reverse_complement(letters_of(texts["p2"], DNA))]
    (tmp_path / "parent").mkdir()
    seen_table(record, letters, DNA, "", None).to_parquet(tmp_path / "parent" / TRAINING_RECORDS)
    provenance = {
        "vocabulary_sha256": "0" * 64,
        "weights_sha256": "0" * 64,
        "calibration": {"slope": 1.0, "threshold": 0.5},
    }
    (tmp_path / "parent" / PROVENANCE).write_text(json.dumps(provenance))
    message = (
        "test records that a parent of the model saw: 1, such as 'p2' (./parent); [audit] max_seen "
        "allows 0"
    )
    for arguments, limits in (
        (["--model", "./parent"], ""),
        ([], '[transfer]\nparent = "./parent"\n'),
    ):
        code, _, err = audit(*arguments, limits=limits)
        assert code == 3
        assert message.replace("./parent", "parent") in err


def test_pretraining_corpus_is_searched(audit, tmp_path, texts):
    (tmp_path / "pre.fa").write_text(f">x\n{texts['p2']}\n>y\n{near(texts['p5'])}\n")
    assert (
        main(
            [
                "ingest",
                "--fasta",
                str(tmp_path / "pre.fa"),
                "--alphabet",
                "dna",
                "--output",
                str(tmp_path / "pre"),
            ]
        )
        == 0
    )
    code, out, err = audit("--pretraining", "pre")
    assert out[0] == "audit: compared 20 test records with 20 of train, 2 of pre"
    assert code == 3
    assert (
        "test records with the same sequence in train or pretraining: 1, such as 'p2' (x); [audit] "
        "max_duplicates allows 0" in err
    )


def test_cluster_split_passes_where_random_split_fails(audit, tmp_path, texts):
    twins = {f"n{i}": near(texts[f"p{i}"]) for i in range(30)}
    command = [
        "audit",
        "--run-file",
        "run.toml",
        "--corpus",
        "corpus",
        "--split",
        "split.tsv",
        "--output",
        "out/audit.tsv",
    ]
    audit(**twins)
    found = {}
    for kind in ("random", "cluster"):
        (tmp_path / "run.toml").write_text(
            RUN_FILE.split("[split]")[0] + f'[split]\nkind = "{kind}"\n'
        )
        assert (
            main(["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"])
            == 0
        )
        assert main(command) == 0
        found[kind] = json.loads((tmp_path / "out/audit.json").read_text())["near"]
    assert found["cluster"] == 0 < found["random"]


def test_audit_without_model_imports_no_torch(audit):
    audit()
    code = (
        "import sys; from selfattn_bio.cli.main import main\n"
        "assert main('audit --run-file run.toml --corpus corpus --split split.tsv --output "
        "a.tsv'.split()) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
