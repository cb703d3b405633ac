"""A sweep is ranked by the validation split, best first, from history.csv only."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run

from selfattn_bio.config import Job, RunFile
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.study.training import rank

DATA = {"positives": "p.fa", "negatives": "n.fa"}
AUROC = {1e-3: [0.6, 0.8, 0.7], 2e-3: [0.9, 0.9, 0.5], 3e-3: [np.nan] * 3, 4e-3: [0.5, 0.6, 0.85]}


def swept(rates: Iterable[float] = AUROC, **sections: object) -> list[Job]:
    sweep = {"training.learning_rate": list(rates)}
    return RunFile.model_validate({"data": DATA, "sweep": sweep} | sections).jobs()


def write_history(results, job: Job, metric: str, values: list[float]):
    folder = results / job.folder / "model"
    folder.mkdir(parents=True)
    steps = np.arange(1, len(values) + 1) * 50
    history = pd.DataFrame({"step": steps, metric: values, "seconds": steps / 10})
    history.to_csv(folder / "history.csv", index=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for job in swept():
        write_history(tmp_path, job, "valid_auroc", AUROC[job.settings["training.learning_rate"]])
    return tmp_path


def test_ranking_puts_missing_values_last(results):
    table = rank(swept(), results)
    assert " ".join(table) == "of job training.learning_rate valid_auroc best_step steps seconds"
    assert table["training.learning_rate"].tolist() == [2e-3, 4e-3, 1e-3, 3e-3]
    assert table["valid_auroc"].tolist()[:3] == [0.9, 0.85, 0.8]
    # The earlier of equal evaluations, as in training
    assert table["best_step"].tolist() == [50, 150, 100, 50]
    assert (table["steps"] == 150).all()
    assert (table["seconds"] == 15).all()


def test_perplexity_is_better_when_lower(tmp_path: Path):
    masked = {"data": {"sequences": "s.fa"}, "objective": {"kind": "masked"}}
    jobs = swept([1e-3, 2e-3], **masked)
    for job, values in zip(jobs, ([9.0, 7.0], [8.0, 6.0]), strict=True):
        write_history(tmp_path, job, "valid_perplexity", values)
    table = rank(jobs, tmp_path)
    assert table["training.learning_rate"].tolist() == [2e-3, 1e-3]
    assert table["valid_perplexity"].tolist() == [6.0, 7.0]


def test_a_missing_or_foreign_history_is_named(results):
    history = results / swept()[1].folder / "model" / "history.csv"
    history.write_text("step,seconds,valid_mcc\n1,1,1\n")
    with pytest.raises(ModelFolderError, match="the training history has no column 'valid_auroc'"):
        rank(swept(), results)
    history.unlink()
    with pytest.raises(ModelFolderError, match=r"history\.csv: the job has no training history"):
        rank(swept(), results)


def test_sweep_command_needs_only_histories(results, capsys):
    """There is no corpus, split or weights file."""
    data = 'data = { positives = "p.fa", negatives = "n.fa" }\n'
    rates = f'sweep."training.learning_rate" = {list(AUROC)}\n'
    (results / "run.toml").write_text(data + rates)
    run("sweep", results)
    table = pd.read_csv(results / "sweep.tsv", sep="\t")
    pd.testing.assert_frame_equal(table, rank(swept(), results), check_dtype=False)
    best = "best of 4 jobs of model: valid_auroc 0.9000 with training.learning_rate = 0.002"
    assert f"sweep: {best}" in capsys.readouterr().out
    (results / "run.toml").write_text(data)
    assert exit_code("sweep", results) == 1
    assert capsys.readouterr().err.endswith("run.toml: the run file has no [sweep]\n")
