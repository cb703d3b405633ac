"""Check what a run keeps, refuses or saves when something goes wrong."""

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import small_task as st
import torch
from small_task import fit as fit_in
from small_task import trainer_of as trainer_in

from selfattn_bio import config
from selfattn_bio.cli.main import UNWRITABLE
from selfattn_bio.errors import CorpusError, OutputError, TrainingError
from selfattn_bio.files import sha256_of
from selfattn_bio.training.hardware import open_fabric
from selfattn_bio.training.history import StepTotals
from selfattn_bio.training.resume import commit_of
from selfattn_bio.training.steps import Steps
from selfattn_bio.training.trainer import OVERFLOWS

SHORT = {"max_steps": 12, "batch_size": 16, "evaluate_every": 4, "checkpoint_every": 5}


@pytest.fixture
def task(tmp_path):
    """Create a folder with a corpus and a split."""
    st.write_task(tmp_path, "", 24, 24, lengths=(30, 31))
    return tmp_path


def run_file(**changes):
    return st.tiny_run(SHORT | changes, model=config.AttentionModel(**st.TINY))


def fit(task, output="model", **changes):
    fit_in(task, run_file(**changes), output)


def trainer_of(task, precision="32-true", **changes):
    return trainer_in(task, run_file(precision=precision, **changes), precision)


def steps_of(folder):
    return pd.read_csv(folder / "history.csv")["step"].tolist()


def test_other_output_folder_is_refused_before_training(task):
    (task / "model").mkdir()
    (task / "model" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"model: .* is not replaced: it contains 'thesis\.tex'"):
        fit(task)
    assert (task / "model" / "thesis.tex").read_text() == "years"
    assert not (task / "model.checkpoints").exists()


def test_earlier_model_is_replaced(task):
    fit(task, max_steps=1)
    (task / "model" / ".snakemake_timestamp").touch()
    fit(task, max_steps=2)
    assert steps_of(task / "model") == [2]


def test_unwritable_output_fails_before_training(task):
    # not even root can create a folder there
    with (
        st.after_step(1, lambda: pytest.fail("it trains")),
        pytest.raises(OSError, match="/sys/selfattn_bio") as error,
    ):
        fit(task, "/sys/selfattn_bio/model")
    assert error.value.errno in UNWRITABLE


def test_provenance_describes_deleted_corpus(task):
    before = sha256_of(task / "split.tsv")

    def vanish():
        shutil.rmtree(task / "corpus")
        (task / "split.tsv").write_text("id\tsplit\treason\n")

    with st.after_step(2, vanish):
        fit(task)
    provenance = st.read_json(task / "model/provenance.json")
    assert provenance["split_sha256"] == before
    assert provenance["git_commit"] == commit_of(Path(__file__).parents[2] / "selfattn_bio")
    with pytest.raises(CorpusError, match=r"corpus: no such corpus file or folder"):
        fit(task)


def test_restored_settings_resume_their_checkpoint(task, caplog):
    caplog.set_level("INFO", "selfattn_bio")
    with st.crashed(6):
        fit(task)
    with st.crashed(6):
        fit(task, seed=1)
    said = caplog.text
    assert "1 checkpoint of other data, settings or versions" in said
    assert "resuming" not in said
    fit(task)
    assert "resuming from the checkpoint of step 5" in caplog.text
    left = {path.name.split(".")[1] for path in (task / "model.checkpoints").glob("step-*")}
    assert len(left) == 1  # checkpoints of seed 1 are removed when the model is written


def test_history_is_saved_next_to_checkpoints(task):
    with st.crashed(9):
        fit(task)
    assert steps_of(task / "model.checkpoints") == [4, 8]
    assert not (task / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a GPU the peak is what torch took of it")
def test_peak_memory_is_of_this_process(task, monkeypatch, tmp_path):
    (tmp_path / "status").write_text("VmPeak:\t 250000 kB\nVmHWM:\t 125000 kB\n")
    monkeypatch.setattr("selfattn_bio.training.memory.STATUS", tmp_path / "status")
    fit(task)
    assert pd.read_csv(task / "model" / "history.csv")["peak_memory_mb"].tolist() == [128.0] * 3
    assert st.read_json(task / "model/train.json")["peak_memory_mb"] == 128.0


@pytest.mark.parametrize("batch_size", [16, 6])
def test_non_finite_loss_names_records_and_keeps_checkpoint(task, caplog, monkeypatch, batch_size):
    caplog.set_level("INFO", "selfattn_bio")
    add_gradients, seen = Steps.add_gradients, {}

    def broken(self, step):
        totals = add_gradients(self, step)
        seen["ids"] = self.stream.ids(step)
        return StepTotals(math.nan, 0, 0) if step == 7 else totals

    with monkeypatch.context() as patched:
        patched.setattr(Steps, "add_gradients", broken)
        message = r"not finite at step 8: loss nan, gradient norm \d\S+ \(records: "
        with pytest.raises(TrainingError, match=message) as error:
            fit(task, batch_size=batch_size)
    path = task / "model.checkpoints" / "not-finite-000000008.txt"
    assert len(seen["ids"]) == batch_size
    if batch_size == 6:
        assert f"(records: {', '.join(seen['ids'])})" in error.value.message
        assert not path.exists()
    else:
        assert f"(records: 16, listed in {path})" in error.value.message
        assert path.read_text().split() == seen["ids"]
    fit(task, batch_size=batch_size)
    assert "resuming from the checkpoint of step 5" in caplog.text
    assert steps_of(task / "model") == [4, 8, 12]


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA comes first")
def test_accelerators_other_than_cuda_are_ignored(monkeypatch):
    accelerator = "lightning_fabric.accelerators.mps.MPSAccelerator"
    monkeypatch.setattr(f"{accelerator}.is_available", lambda: True)
    assert open_fabric("32-true").device.type == "cpu"


def test_only_float16_gradients_may_overflow(task):
    with pytest.raises(TrainingError, match=r"step 1: loss 0\.5, gradient norm inf"):
        trainer_of(task)._check_finite(0.5, math.inf)
    trainer = trainer_of(task, precision="16-mixed")
    for norms in ([math.inf] * (OVERFLOWS - 1), [1.0], [math.nan] * (OVERFLOWS - 1)):
        for norm in norms:
            trainer._check_finite(0.5, norm)
    with pytest.raises(TrainingError, match=r"step 1: loss 0\.5, gradient norm inf"):
        trainer._check_finite(0.5, math.inf)
    trainer._check_finite(0.5, 1.0)
    with pytest.raises(TrainingError, match=r"step 1: loss nan, gradient norm 1\.0"):
        trainer._check_finite(math.nan, 1.0)


def test_float16_endless_overflow_stops_training(task):
    trainer = trainer_of(task, precision="16-mixed", max_steps=100)
    weight = next(iter(trainer.bare.parameters()))
    before = weight.detach().clone()
    weight.register_hook(lambda gradient: gradient * math.inf)
    for _ in range(OVERFLOWS - 1):
        trainer.take_step()
    message = rf"at step {OVERFLOWS}: loss 0\.\d+, gradient norm (nan|inf) \(records: "
    with pytest.raises(TrainingError, match=message):
        trainer.take_step()
    assert torch.equal(weight, before)  # none of those steps changed the weights
