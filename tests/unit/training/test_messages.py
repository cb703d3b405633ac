from types import SimpleNamespace

import pytest

from selfattn_bio.training.messages import named_metric
from selfattn_bio.training.trainer import MAX_NAMED, Trainer


def test_lines_have_the_name_and_come_from_one_process(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    for first in (True, False):
        fabric = SimpleNamespace(is_global_zero=first)
        Trainer.log(SimpleNamespace(name="cnn 2", fabric=fabric), "step 1/2")
    assert caplog.messages == ["cnn 2: step 1/2"]


def test_metrics_are_named_by_their_titles():
    assert named_metric("auroc", 0.87123) == "AUROC 0.8712"
    assert named_metric("worst_auroc", 0.5) == "AUROC of the worst group 0.5000"


@pytest.mark.parametrize("number", [MAX_NAMED, MAX_NAMED + 1])
def test_ids_of_many_records_are_written_to_a_file(tmp_path, number):
    (tmp_path / "model.checkpoints").mkdir()
    ids = [f"r{i}" for i in range(number)]
    trainer = SimpleNamespace(
        output=tmp_path / "model",
        history=SimpleNamespace(step=6),
        steps=SimpleNamespace(stream=SimpleNamespace(ids=lambda step: ids if step == 6 else [])),
        fabric=SimpleNamespace(is_global_zero=True),
    )
    message = str(Trainer._not_finite(trainer, float("nan"), 1.5))
    assert "not finite at step 7: loss nan, gradient norm 1.5 (records: " in message
    path = tmp_path / "model.checkpoints" / "not-finite-000000007.txt"
    if number > MAX_NAMED:
        assert f"{number}, listed in {path}" in message
        assert path.read_text().split() == ids
    else:
        assert "r0, r1" in message
        assert not path.exists()
