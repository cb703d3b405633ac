"""Run a task with each kind of input through Snakemake to its corpus."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from projects import copy_project, planned, replace, snakemake

GENBANK = """LOCUS       X{0}                        20 bp    DNA     linear   INV 01-JAN-2000
VERSION     X{0}.1
SOURCE      fly
  ORGANISM  fly{0}
FEATURES             Location/Qualifiers
ORIGIN
        1 {1}
//
"""
LABEL = 'label = "kind", positive = "tss", columns = { sequence = "Seq" }'
TASKS = {  # contents of data
    "files": f'train = ["a.csv"], valid = "v.csv", test = "t.tsv", {LABEL}',
    "fastq": 'positives = "p.fq", negatives = "n.fq.gz"',
    "flat": 'sequences = ["a.gb", "b.gb"]',
    "csv": f'sequences = "a.csv", {LABEL}',
    "zstd": 'sequences = "a b é.tsv.zst"',
    "parquet": 'sequences = "a.parquet", targets = "a.parquet"',
    "numbers": 'sequences = "numbers.csv"',
    "header": """sequences = "a.fa", header = 'class:(\\w+)', label = "label", positive = ["x"], \
soft_mask = "hard" """,
    "protein": 'alphabet = "protein", sequences = "p.fa", gaps = "remove"',
    "genome": """genome = "g.fa", positives = "peaks.bed", windows.kind = "centered", \
windows.width = 60, negatives = { kind = "matched", exclude = "gaps.bed", tolerance = 0.1 }""",
}
OBJECTIVES = {
    "flat": 'kind = "multiclass", column = "organism"',
    "zstd": 'kind = "regression", columns = ["x"]',
    "parquet": 'kind = "multiclass", column = "kind"',
    "numbers": 'kind = "multiclass", column = "y"',
    "protein": 'kind = "masked"',
}


def write_files(project: Path) -> None:
    (project / "p.fq").write_text("@a\nACGT\n+\nIIII\n")
    (project / "n.fq.gz").write_bytes(gzip.compress(b"@b\nACGG\n+\nIIII\n"))
    for number, letters in ((1, "acgtacgtac"), (2, "ttgtacgtac")):
        (project / f"{'ab'[number - 1]}.gb").write_text(GENBANK.format(number, letters))
    (project / "a.csv").write_text("Seq,kind\nACGT,tss\nACGG,exon\n")
    (project / "v.csv").write_text("Seq,kind\nACTT,tss\n")
    (project / "t.tsv").write_text("Seq\tkind\nACGT\texon\n")
    table = "id\tsequence\tx\na\tACGT\t1.5\nb\tACGG\t\n"
    packed = pyarrow.compress(table.encode(), codec="zstd", asbytes=True)
    (project / "a b é.tsv.zst").write_bytes(packed)
    columns = {"id": ["a", "b"], "sequence": ["ACGT", "ACGG"], "kind": ["u", "v"]}
    pd.DataFrame(columns).to_parquet(project / "a.parquet")
    rows = (
        f"AC{a}{b}{c},{(a + b + c).count('A') % 2}\n" for a in "ACGT" for b in "AC" for c in "CG"
    )
    (project / "numbers.csv").write_text("sequence,y\n" + "".join(rows))
    (project / "a.fa").write_text(">a class:x\nacGT\n>b class:y\nACGG\n")
    (project / "p.fa").write_text(">a\nMK-VL*\n")
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 20_000))
    (project / "g.fa").write_text(f">chr1\n{letters}\n")
    peaks = (f"chr1\t{at}\t{at + 20}\n" for at in range(100, 10_000, 500))
    (project / "peaks.bed").write_text("".join(peaks))
    (project / "gaps.bed").write_text("chr1\t15000\t20000\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("own") / "own data")
    write_files(project)
    for name, data in TASKS.items():
        objective = OBJECTIVES.get(name, 'kind = "binary"')
        text = f"data = {{ {data} }}\nobjective = {{ {objective} }}\n"
        (project / f"workflows/tasks/{name}.toml").write_text(text)
    return project


@pytest.mark.slow
def test_every_input_kind_becomes_a_corpus(project):
    corpora = (f"results/{name}/corpus" for name in TASKS)
    result = snakemake(project, *corpora, "results/numbers/split.tsv")
    assert result.returncode == 0, result.stdout
    corpora = {name: project / f"results/{name}/corpus" for name in TASKS}
    records = {name: pd.read_parquet(path / "records.parquet") for name, path in corpora.items()}
    files = {name: path / "targets.parquet" for name, path in corpora.items()}
    targets = {name: pd.read_parquet(file) for name, file in files.items() if file.exists()}
    columns = {name: table["label"] for name, table in records.items()}
    labels = {name: label.tolist() for name, label in columns.items() if label.notna().all()}
    two = {name: [1, 0] for name in ("fastq", "csv", "header")}
    assert labels == two | {"files": [1, 0, 1, 0], "genome": [1] * 20 + [0] * 20}
    assert records["csv"]["id"].tolist() == ["a_1", "a_2"]
    assert (records["genome"]["end"][20:] <= 15_000).all()
    columns = {name: list(table.columns) for name, table in targets.items()}
    of_tables = {"flat": ["organism"], "zstd": ["x"], "parquet": ["kind"], "numbers": ["y"]}
    assert columns == {"files": ["file_split"]} | of_tables
    assert targets["files"]["file_split"].tolist() == ["train", "train", "valid", "test"]
    assert targets["zstd"]["x"].isna().tolist() == [False, True]
    summary = json.loads((corpora["protein"] / "corpus.json").read_text())
    assert summary["num_letters"] == 4
    assert set(summary["noted"]) == {"gaps (removed)", "a stop sign at the end (removed)"}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "file"), [("fastq", "n.fq.gz"), ("genome", "g.fa")])
def test_missing_data_file_error(project, task, file):
    (project / file).rename(project / "away")
    result = snakemake(project, f"results/{task}/corpus")
    (project / "away").rename(project / file)
    assert result.returncode == 1
    last = result.stdout.splitlines()[-1]
    assert re.match(rf"error: workflows/tasks/{task}.toml:\d+: no such file: '{file}'", last)


@pytest.mark.slow
def test_changed_objective_repeats_the_split(project):
    assert planned(project, "results/numbers/split.tsv") == {}
    run_file = project / "workflows/tasks/numbers.toml"
    replace(run_file, OBJECTIVES["numbers"], 'kind = "regression", columns = ["y"]')
    assert planned(project, "results/numbers/split.tsv") == {"split": 1}


@pytest.mark.slow
def test_changed_files_are_read_again(project):
    assert planned(project, "results/genome/corpus") == {}
    (project / "gaps.bed").write_text("chr1\t0\t9\n")
    assert planned(project, "results/genome/corpus") == {"ingest": 1}
