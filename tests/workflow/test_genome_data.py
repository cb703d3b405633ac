"""Run a task with a genome through Snakemake: every file it names is an input."""

import re

import numpy as np
import pandas as pd
import pytest
from projects import copy_project, snakemake

RUN_FILE = """[data]
genome = "g.fa"
positives = "peaks.bed"
windows = { kind = "centered", width = 60 }
negatives = { kind = "matched", exclude = "gaps.bed", tolerance = 0.1 }
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("genome") / "a genome")
    letters = (
        np.random.default_rng(0).choice(list(b"ACGT"), 20_000).astype(np.uint8).tobytes().decode()
    )
    (project / "g.fa").write_text(f">chr1\n{letters}\n")
    (project / "peaks.bed").write_text(
        "".join(f"chr1\t{at}\t{at + 20}\n" for at in range(100, 10_000, 500))
    )
    (project / "gaps.bed").write_text("chr1\t15000\t20000\n")
    (project / "workflows/tasks/peaks.toml").write_text(RUN_FILE)
    return project


@pytest.mark.slow
def test_genome_windows_are_rebuilt_when_files_change(project):
    result = snakemake(project, "results/peaks/corpus")
    assert result.returncode == 0, result.stdout
    records = pd.read_parquet(project / "results/peaks/corpus/records.parquet")
    assert records["label"].tolist() == [1] * 20 + [0] * 20
    assert (records["end"][records["label"] == 0] <= 15_000).all()
    (project / "g.fa").rename(project / "away")
    result = snakemake(project, "results/peaks/corpus")
    assert result.returncode == 1
    assert re.search(r"error: workflows/tasks/peaks.toml:\d+: no such file: 'g.fa'", result.stdout)
    (project / "away").rename(project / "g.fa")
    (project / "gaps.bed").write_text("chr1\t0\t9\n")
    assert "Reading the sequences of peaks" in snakemake(project, "results/peaks/corpus").stdout
