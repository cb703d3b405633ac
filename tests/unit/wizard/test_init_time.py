"""Test the time that init predicts for the trainings of a task."""

from types import SimpleNamespace

import pytest
from init_files import both, made

from selfattn_bio import Study
from selfattn_bio.errors import TrainingError
from selfattn_bio.wizard import _training_time as training_time

AFTER = (
    "Simple models, evaluation, motifs and report come after it, and so does explaining at most "
    "3,000 records for each output ([interpret] max_sequences); together they can take longer than "
    "the training"
)


@pytest.fixture
def study(here):
    made(both())
    return Study("my_task")


@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [
        (1, 1, "4.2 min on 1 core"),  # one after the other
        (2, 1, "2.1 min on 2 cores"),
        (8, 2, "100 s on 8 cores"),  # all at once: the longest
    ],
)
def test_trainings_share_the_cores(study, monkeypatch, cores, threads, expected):
    seconds, used = {"": 100, "cnn": 50, "shuffled": 100}, []

    def dry_run(self, threads):
        used.append(threads)
        return SimpleNamespace(seconds=seconds[self.address.variant or ""])

    monkeypatch.setattr(Study, "dry_run", dry_run)
    monkeypatch.setattr("selfattn_bio.wizard.available_cores", lambda: cores)
    members = study.run.model.members
    assert training_time(study) == (
        f"training model, cnn, shuffled takes about {expected} of this machine, as busy as it is "
        f"now (networks in each: {members}, [model] members). {AFTER}"
    )
    assert used == [threads] * 3


def test_failed_first_steps_are_named(study, monkeypatch):
    def fails(self, threads):
        raise TrainingError("out of memory", hint="Try training.batch_size = 8")

    monkeypatch.setattr(Study, "dry_run", fails)
    expected = "the first steps of a training failed: out of memory. Try training.batch_size = 8"
    assert training_time(study) == expected


def test_init_times_the_training_of_the_recipe(here, capsys, monkeypatch):
    """The time covers the steps of the run file, which the recipe sets."""
    found, dry_run = [], Study.dry_run

    def recorded(self, **options):
        found.append((self.run, dry_run(self, **options)))
        return found[-1][1]

    monkeypatch.setattr(Study, "dry_run", recorded)
    monkeypatch.setattr("selfattn_bio.wizard._training_time", training_time)
    task = made(both(number=150))
    assert [run.model for run, _ in found] == [run.model for run in task.trained.values()]
    for run, timed in found:
        assert run.training.max_steps >= 600
        assert timed.seconds > run.training.max_steps * timed.seconds_per_step
    out = capsys.readouterr().out
    assert "init: training model, cnn, shuffled takes " in out
    assert "dry run" not in out  # lines of the trainings themselves


def test_long_dna_is_timed_without_a_recipe(here, capsys):
    made(both(number=20, length=2500))
    out = capsys.readouterr().out
    assert "recipe" not in out
    assert "init: training was not timed\n" in out  # text of the test
