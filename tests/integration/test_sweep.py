"""A sweep never reads a test record, neither in training nor in ranking."""

from pathlib import Path

import numpy as np
import pytest
from commands import exit_code, run
from small_task import random_texts, read_tsv, run_steps, small, write_fasta

from selfattn_bio import Study
from selfattn_bio.data.corpus import Corpus

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
model = { embed_dim = 8, feedforward_dim = 8 }
training.batch_size = 8
sweep."training.learning_rate" = [1e-3, 1e-2]
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Write a corpus and its split to the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        write_fasta(f"{name}.fa", random_texts(rng, 30, 30))
    Path("run.toml").write_text(small(RUN))
    run_steps("ingest split")
    return Study(".")


def test_sweep_never_reads_test_records(study, monkeypatch, capsys):
    asked, letters = set(), Corpus.letters

    def noted(self, row):
        asked.add(int(row))
        return letters(self, row)

    monkeypatch.setattr(Corpus, "letters", noted)
    for job in study.task.jobs():
        run(f"train ./sweep/{job.name} --threads 1")
    run("sweep .")
    split = read_tsv("split.tsv")["split"]
    # the records read are those of training and validation, all of them
    assert asked == set(np.flatnonzero(split.isin(["train", "valid"])))
    hidden = read_tsv("sweep/split.tsv")["split"]
    assert hidden.equals(split.replace("test", "dropped"))

    # Nor can a model of the sweep be evaluated on the test split later.
    study.jobs[0].files.model.rename("model")
    assert exit_code("evaluate .") == 1
    assert "the model was trained on another split (" in capsys.readouterr().err
