"""Train: the model, its progress, torch's settings, jobs of a sweep and their ranking, errors."""

import numpy as np
import pandas as pd
import pytest
import torch
from commands import exit_code, run
from small_run import MODEL, split_study

import selfattn_bio as sb
from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import ModelFolderError, ResultsError, RunFileError, TrainingError
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.study import training

SECTIONS = f"""
[tokens]
k = 1
{MODEL}
stem.kind = "none"
[training]
max_steps = 2
batch_size = 8
evaluate_every = 2
matmul = "medium"
[variants]
shuffled.training.labels = "shuffled"
"""


@pytest.fixture
def study(two_classes):
    """Return a study with a corpus and a split."""
    return split_study(SECTIONS)


def with_section(text):
    """Add a section to the run file, and return the study."""
    with open("run.toml", "a") as file:
        file.write(text)
    return sb.Study(".")


def test_train_returns_the_saved_model(study, caplog, capsys):
    caplog.set_level("INFO", "selfattn_bio")
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    model = study.train(threads=1)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    assert isinstance(model, sb.Scorer)
    scores = {
        sb.score_sequences(each, ["ACGT" * 8])["logit"].item()
        for each in (model, study.model, "model")
    }
    assert len(scores) == 1
    assert all(line.startswith("model: ") for line in caplog.messages)
    assert caplog.messages[-1].endswith("model in model")
    assert capsys.readouterr().out == ""


def test_a_model_is_not_its_own_parent(study):
    study.train(threads=1)
    child = with_section("[transfer]\nparent = './model'\n")
    with pytest.raises(RunFileError, match=r"run\.toml: the parent in \[transfer\] is the model"):
        child.train(threads=1)


def test_train_a_variant(study, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    variant = study.variant("shuffled")
    assert variant.train(threads=1).run.is_control()
    assert variant.files.history.exists()
    assert all(line.startswith("shuffled: ") for line in caplog.messages)


def test_members_and_finished_trainings_are_reported(study, caplog):
    study = with_section("twice.training.seeds = 2\n").variant("twice")
    caplog.set_level("INFO", "selfattn_bio")
    study.train(threads=1)
    assert caplog.messages[0] == "twice: member 1 of 2; then train variants/twice/members/2"
    study.member(2).train(threads=1)
    assert "twice 2: member 2 of 2" in caplog.messages
    study.train(threads=1)
    assert "twice: the training ended at step 2; its model is written again" in caplog.messages
    assert "resuming" not in caplog.text


def test_jobs_do_not_read_test_records_and_are_ranked(study, monkeypatch):
    study = with_section('[sweep]\n"training.learning_rate" = [0.001, 0.01]\n')
    read, letters = set(), Corpus.letters
    note = lambda corpus, row: read.add(int(row)) or letters(corpus, row)  # noqa: E731
    monkeypatch.setattr(Corpus, "letters", note)
    for job in study.jobs:
        job.train(threads=1)
    table = pd.read_csv("sweep/split.tsv", sep="\t")
    hidden = table["reason"] == "test, hidden from the sweep"
    assert table["split"].value_counts().to_dict() == {"train": 20, "valid": 20, "dropped": 20}
    assert (study.splits.table["split"] == "test").tolist() == hidden.tolist()
    assert read == set(np.flatnonzero(~hidden))  # all records of training and validation
    provenance = read_provenance(study.jobs[0].files.model)
    assert provenance["split_sha256"] == sha256_of("sweep/split.tsv") != sha256_of("split.tsv")
    ranking = study.rank_jobs()
    assert set(ranking.table["job"]) == {job.files.folder.name for job in study.jobs}
    pd.testing.assert_frame_equal(study.ranking.table, ranking.table, rtol=1e-5, check_dtype=False)


def test_errors_of_training_name_the_place(study):
    study = with_section('[stack]\nparts = ["kmer6_logistic"]\n')
    members = study.task.training.model_copy(update={"seeds": 2})
    study = sb.Study(study.task.model_copy(update={"training": members}), ".")
    with pytest.raises(ResultsError, match=r"model: not found. Run `selfattn-bio train \.` first"):
        study.member(2).train(threads=1)


def test_exhausted_memory_error_has_a_hint(study, monkeypatch):
    def exhausted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(training, "Trainer", exhausted)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")  # of several processes
    message = r"out of memory at training\.batch_size = 8: MemoryError\. Try .*, or start fewer"
    with pytest.raises(TrainingError, match=message) as caught:
        study.train(threads=1)
    assert caught.value.__context__ is None  # its frames would keep the memory of the training


DATA = {"positives": "p.fa", "negatives": "n.fa"}
AUROC = {1e-3: [0.6, 0.8, 0.7], 2e-3: [0.9, 0.9, 0.5], 3e-3: [np.nan] * 3, 4e-3: [0.5, 0.6, 0.85]}


def swept(rates=AUROC, **sections):
    sweep = {"training.learning_rate": list(rates)}
    return RunFile.model_validate({"data": DATA, "sweep": sweep} | sections).jobs()


def write_history(results, job, metric, values):
    folder = results / job.folder / "model"
    folder.mkdir(parents=True)
    steps = np.arange(1, len(values) + 1) * 50
    history = pd.DataFrame({"step": steps, metric: values, "seconds": steps / 10})
    history.to_csv(folder / "history.csv", index=False)


@pytest.fixture
def results(tmp_path):
    for job in swept():
        write_history(tmp_path, job, "valid_auroc", AUROC[job.settings["training.learning_rate"]])
    return tmp_path


def test_ranking_puts_missing_values_last(results):
    table = training.rank(swept(), results)
    assert " ".join(table) == "of job training.learning_rate valid_auroc best_step steps seconds"
    assert table["training.learning_rate"].tolist() == [2e-3, 4e-3, 1e-3, 3e-3]
    assert table["valid_auroc"].tolist()[:3] == [0.9, 0.85, 0.8]
    # The earlier of equal evaluations, as in training
    assert table["best_step"].tolist() == [50, 150, 100, 50]
    assert (table["steps"] == 150).all()
    assert (table["seconds"] == 15).all()


def test_perplexity_is_better_when_lower(tmp_path):
    masked = {"data": {"sequences": "s.fa"}, "objective": {"kind": "masked"}}
    jobs = swept([1e-3, 2e-3], **masked)
    for job, values in zip(jobs, ([9.0, 7.0], [8.0, 6.0]), strict=True):
        write_history(tmp_path, job, "valid_perplexity", values)
    table = training.rank(jobs, tmp_path)
    assert table["training.learning_rate"].tolist() == [2e-3, 1e-3]
    assert table["valid_perplexity"].tolist() == [6.0, 7.0]


def test_a_missing_or_foreign_history_is_named(results):
    history = results / swept()[1].folder / "model" / "history.csv"
    history.write_text("step,seconds,valid_mcc\n1,1,1\n")
    with pytest.raises(ModelFolderError, match="the training history has no column 'valid_auroc'"):
        training.rank(swept(), results)
    history.unlink()
    with pytest.raises(ModelFolderError, match=r"history\.csv: the job has no training history"):
        training.rank(swept(), results)


def test_sweep_command_needs_only_histories(results, capsys):
    """There is no corpus, split or weights file."""
    data = 'data = { positives = "p.fa", negatives = "n.fa" }\n'
    rates = f'sweep."training.learning_rate" = {list(AUROC)}\n'
    (results / "run.toml").write_text(data + rates)
    run("sweep", results)
    table = pd.read_csv(results / "sweep.tsv", sep="\t")
    pd.testing.assert_frame_equal(table, training.rank(swept(), results), check_dtype=False)
    best = "best of 4 jobs of model: valid_auroc 0.9000 with training.learning_rate = 0.002"
    assert f"sweep: {best}" in capsys.readouterr().out
    (results / "run.toml").write_text(data)
    assert exit_code("sweep", results) == 1
    assert capsys.readouterr().err.endswith("run.toml: the run file has no [sweep]\n")
