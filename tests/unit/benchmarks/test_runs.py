"""Test when a benchmark trains again."""

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Record commands instead of running them; a training writes its model folder."""
    import runs

    called: list[tuple[object, ...]] = []

    def record(name: str, *arguments: object) -> None:
        called.append((name, *arguments))
        if name == "train":
            Path(str(arguments[-1])).mkdir(exist_ok=True)

    monkeypatch.setattr(runs, "command", record)
    monkeypatch.setattr(
        runs.Study, "has_trained", lambda self, run_file, output, _: output.exists()
    )
    return called


def test_training_is_repeated_for_other_code(tmp_path: Path, calls: list[tuple[object]]) -> None:
    from runs import Study

    study, run_file, model = Study(tmp_path), tmp_path / "run.toml", tmp_path / "model"
    for code in ("a", "a", "b"):
        assert study.train(run_file, model, code=code) == model
    assert len(calls) == 2
    name, *words = calls[0]
    shared = ["--run-file", run_file, "--corpus", study.corpus, "--split", study.split]
    assert (name, words) == ("train", [*shared, "--threads", 1, "--output", model])
    study.train_all([(run_file, model, ""), (run_file, tmp_path / "cnn", "cnn")])
    assert len(calls) == 3
    assert "--variant" in calls[2]


def test_metrics_are_written_again_for_new_weights(
    tmp_path: Path, calls: list[tuple[object]]
) -> None:
    import os

    from runs import Study

    (tmp_path / "model").mkdir()
    for name in ("model/provenance.json", "metrics.json"):
        (tmp_path / name).write_text("{}")
    os.utime(tmp_path / "model/provenance.json", (1, 1))
    assert Study(tmp_path).evaluate(tmp_path / "run.toml", tmp_path / "model") == {}
    assert not calls
    os.utime(tmp_path / "metrics.json", (0, 0))
    Study(tmp_path).evaluate(tmp_path / "run.toml", tmp_path / "model")
    assert [call[0] for call in calls] == ["evaluate"]


def test_settings_or_data_of_another_training(tmp_path: Path, monkeypatch) -> None:
    import runs

    data = 'data = { positives = "a.fa", negatives = "b.fa" }\n'
    model = tmp_path / "model"
    model.mkdir()
    (model / "run.toml").write_text(f"variants = {{}}\n{data}")
    run_file = tmp_path / "run.toml"
    run_file.write_text(f"{data}[variants.one.training]\nmax_steps = 7\n")
    refused = []

    def check(folder: Path, fingerprint: str, split: str) -> None:
        if refused:
            raise runs.ModelFolderError("other data")

    opened = SimpleNamespace(open=lambda path: SimpleNamespace(fingerprint=""))
    monkeypatch.setattr(runs, "Corpus", opened)
    monkeypatch.setattr(runs, "sha256_of", lambda path: "")
    monkeypatch.setattr(runs, "check_trained_on", check)
    study = runs.Study(tmp_path)
    assert study.has_trained(run_file, model)
    assert not study.has_trained(run_file, model, "one")
    assert not study.has_trained(run_file, tmp_path / "missing")
    refused.append(True)
    assert not study.has_trained(run_file, model)
