"""Run members and sweeps through Snakemake: their jobs, their folders and the records they read."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from projects import TINY, copy_project, planned, replace, snakemake

from selfattn_bio.files import sha256_of

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("sweep")]

SEEDS = f"{TINY}seeds = 2\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """Run and sweep the tiny task; return the project and the output."""
    project = copy_project(tmp_path_factory.mktemp("sweep") / "a project with spaces")
    sweep = '[sweep]\n"training.learning_rate" = [1e-3, 1e-2]\n'
    (project / "workflows" / "tasks" / "tiny.toml").write_text(SEEDS + sweep)
    result = snakemake(project, "results/tiny/metrics.json", "sweep_tiny")
    assert result.returncode == 0, result.stdout
    return project, result.stdout


@pytest.fixture
def results(finished) -> Path:
    return finished[0] / "results" / "tiny"


def test_members_have_separate_folders_and_are_averaged(finished, results):
    files = (results / "model/run.toml", results / "members/2/model/run.toml")
    runs = [tomllib.loads(file.read_text()) for file in files]
    assert [run["training"]["seed"] for run in runs] == [0, 1]
    assert not any({"seeds", "sweep"} & {*run, *run["training"]} for run in runs)
    metrics = json.loads((results / "metrics.json").read_text())
    assert len(metrics["test"]["members"]["model"]["each"]) == 2
    assert len(metrics["costs"]["model"]["members"]) == 2
    assert "evaluate: model is the mean of 2 members: test AUROC " in finished[1]


def test_sweep_ranks_on_validation_without_test_records(finished, results):
    ranking = pd.read_csv(results / "sweep.tsv", sep="\t")
    assert sorted(ranking["training.learning_rate"]) == [1e-3, 1e-2]
    assert (ranking["steps"] == 4).all()
    histories = [
        pd.read_csv(results / "sweep" / job / "model/history.csv")["valid_auroc"].max()
        for job in ranking["job"]
    ]
    assert ranking["valid_auroc"].tolist() == pytest.approx(sorted(histories)[::-1], abs=1e-6)
    assert "Results: results/tiny/sweep.tsv" in finished[1].splitlines()

    for job in ranking["job"]:
        provenance = json.loads((results / "sweep" / job / "model" / "provenance.json").read_text())
        assert provenance["split_sha256"] == sha256_of(results / "sweep" / "split.tsv")
    assert not list((results / "sweep").rglob("predictions"))


def test_added_members_and_values_train_only_new_jobs(finished):
    project, task = finished[0], finished[0] / "workflows" / "tasks" / "tiny.toml"
    assert planned(project, "sweep_tiny") == {}
    replace(task, "[1e-3, 1e-2]", "[5e-3, 1e-3, 1e-2]")
    replace(task, "variants = {}", 'variants.cnn.model = { kind = "cnn" }')
    replace(task, "[sweep]", '[sweep]\nof = ["model", "cnn"]')
    trainings = {"train": 1, "train_variant": 3}  # one job per value for the CNN, as for the model
    assert planned(project, "sweep_tiny") == trainings | {"sweep": 1, "sweep_tiny": 1}
    replace(task, "seeds = 2", "seeds = 3")  # a third model, three CNNs
    assert planned(project, "results/tiny/metrics.json") == trainings | {"evaluate": 1}


def test_further_members_reuse_parts_of_first(finished):
    """The first member is trained before another one, if that takes its parts."""
    project = finished[0]
    for parts, trainings in (([], 1), (["kmer6_logistic"], 2)):
        text = f"{SEEDS}[stack]\nparts = {parts}\n"
        (project / "workflows" / "tasks" / "stacked.toml").write_text(text)
        jobs = planned(project, "results/stacked/members/2/model/history.csv")
        assert jobs == {"ingest": 1, "split": 1, "train": trainings}
