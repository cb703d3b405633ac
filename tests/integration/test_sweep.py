"""A sweep never reads a test record, neither in training nor in ranking."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.study.ranking import rank_jobs

RUN = """
data = { positives = "p.fa", negatives = "n.fa" }
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
variants = {}

[model]
kind = "attention"
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8

[training]
max_steps = 4
evaluate_every = 2
batch_size = 8

[sweep]
"training.learning_rate" = [1e-3, 1e-2]
"""


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Write a corpus, its split, and the same split without test records."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in "pn":
        Path(f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{''.join(rng.choice(list('ACGT'), 30))}\n" for i in range(30))
        )
    Path("run.toml").write_text(RUN)
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
    split = pd.read_csv("split.tsv", sep="\t")
    split.assign(split=split["split"].replace("test", "dropped")).to_csv(
        "hidden.tsv", sep="\t", index=False
    )
    return Corpus.open("corpus")


def test_sweep_never_reads_test_records(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: set[int] = set()
    letters = Corpus.letters

    def noted(self: Corpus, row: int) -> np.ndarray:
        asked.add(int(row))
        return letters(self, row)

    monkeypatch.setattr(Corpus, "letters", noted)
    jobs = read_run_file("run.toml").jobs()
    for job in jobs:
        words = [
            "--corpus",
            "corpus",
            "--split",
            "hidden.tsv",
            "--threads",
            "1",
            "--output",
            f"{job.folder}/model",
        ]
        assert main(["train", "--run-file", "run.toml", "--job", job.name, *words]) == 0
    assert main(["sweep", "--run-file", "run.toml", "--results", ".", "--output", "sweep.tsv"]) == 0
    split = pd.read_csv("split.tsv", sep="\t")["split"]
    assert set(split[sorted(asked)]) == {"train", "valid"}
    # the records read are those of training and validation, all of them
    assert asked == set(np.flatnonzero(split.isin(["train", "valid"])))

    table = pd.read_csv("sweep.tsv", sep="\t")
    assert set(table["job"]) == {job.name for job in jobs}
    assert table["valid_auroc"].is_monotonic_decreasing
    assert {
        read_run_file(f"{job.folder}/model/run.toml").training.learning_rate for job in jobs
    } == {1e-3, 1e-2}
    ranking = rank_jobs(read_run_file("run.toml"), ".")
    assert ranking.best["job"].tolist() == [table["job"][0]]
    (line,) = ranking.lines
    assert f"best of {len(jobs)} jobs of model: valid_auroc {table['valid_auroc'][0]:.4f}" in line

    # Nor can a model of the sweep be evaluated on the test split later.
    capsys.readouterr()
    paths = [
        "--corpus",
        "corpus",
        "--split",
        "split.tsv",
        "--model",
        f"{jobs[0].folder}/model",
        "--output",
        "out",
    ]
    assert main(["evaluate", "--run-file", "run.toml", *paths]) == 1
    assert "the model was trained on another split (" in capsys.readouterr().err


def test_unknown_sweep_job_error(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--corpus", "corpus", "--split", "hidden.tsv", "--output", "model"]
    assert main(["train", "--run-file", "run.toml", "--job", "1234", *words]) == 1
    assert "run.toml: unknown job '1234'; known jobs: " in capsys.readouterr().err
    assert main(["train", "--run-file", "run.toml", "--member", "2", *words]) == 1
    assert "run.toml: no member 2; training.seeds is 1" in capsys.readouterr().err
