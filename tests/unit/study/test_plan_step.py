"""Plan in Python, without its measurements."""

import pytest

import selfattn_bio as sb
from selfattn_bio.errors import RunFileError, TrainingError
from selfattn_bio.training import plan
from selfattn_bio.training.probe import Point, Probe

RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[training]
batch_size = 8
max_steps = 100
seeds = 2
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Return a run file; `measure` returns two sizes and 9 GB of memory."""
    points = (Point(2048, 1, 500.0, 0.1), Point(2048, 2, 700.0, 0.2))
    probe = Probe("cpu", 9000.0, kept=400.0, parameters=1234, points=points)
    monkeypatch.setattr(plan, "measure", lambda *_, **__: probe)
    (tmp_path / "run.toml").write_text(RUN_FILE)
    return sb.read_run_file(tmp_path / "run.toml")


def test_plan_returns_a_table(task, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    found = sb.plan(task, 2048)
    assert found.table["name"].tolist() == ["model", "cnn", "shuffled"]
    assert found.table["trainings"].tolist() == [2, 2, 2]
    assert found.table["seconds"].tolist() == pytest.approx([80, 80, 80])
    assert caplog.messages[0].startswith("1,234 parameters")
    assert caplog.messages[-1] in repr(found)
    assert sb.plan(task, 2048, variant="cnn").table["name"].tolist() == ["cnn"]


def test_plan_refuses_what_does_not_fit(task, monkeypatch):
    small = Probe(
        "cpu", 1500.0, kept=400.0, points=(Point(2048, 1, 500.0, 0.1), Point(2048, 2, 700.0, 0.2))
    )
    monkeypatch.setattr(plan, "measure", lambda *_, **__: small)
    with pytest.raises(TrainingError, match=r"run\.toml: the training needs"):
        sb.plan(task, 2048)


def test_plan_errors_name_the_run_file(task):
    with pytest.raises(RunFileError, match=r"run\.toml: length 2 is shorter"):
        sb.plan(task, 2)
    with pytest.raises(RunFileError, match=r"run\.toml: unknown variant 'rnn'"):
        sb.plan(task, 2048, variant="rnn")


def test_measuring_process_keeps_memory_like_this_one(task, monkeypatch):
    given, measure = [], plan.measure
    monkeypatch.setattr(
        plan, "measure", lambda *_, **named: given.append(named["keep_memory"]) or measure()
    )
    for kept in (False, True):
        monkeypatch.setattr("selfattn_bio.training.heap._kept", kept)
        sb.plan(task, 2048, variant="cnn")
    assert given == [False, True]
