"""Check what a run keeps, refuses or saves when something goes wrong."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from selfattn_bio import config
from selfattn_bio.cli.failures import UNWRITABLE
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import CorpusError, OutputError, TrainingError
from selfattn_bio.files import sha256_of
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.training.hardware import check_shardable, open_fabric
from selfattn_bio.training.history import StepTotals
from selfattn_bio.training.loop import train
from selfattn_bio.training.provenance import commit_of
from selfattn_bio.training.steps import Steps
from selfattn_bio.training.trainer import OVERFLOWS, Trainer

SMALL = config.AttentionModel(
    embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8, stem=config.NoStemSection()
)
SHORT = {
    "max_steps": 12,
    "batch_size": 16,
    "evaluate_every": 4,
    "checkpoint_every": 5,
    "matmul": "highest",
    "precision": "32-true",
}


class Stopped(Exception):
    """Stop the training, as a failing machine or a user would."""


@pytest.fixture
def task(tmp_path):
    """Create a folder with a corpus and a split."""
    rng = np.random.default_rng(0)
    for name in ("positives", "negatives"):
        letters = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(24)]
        (tmp_path / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{text}\n" for i, text in enumerate(letters))
        )
    corpus = build_corpus(
        [(tmp_path / "positives.fa", 1), (tmp_path / "negatives.fa", 0)],
        tmp_path / "corpus",
        RecordRules(DNA),
    )
    splits = ["valid" if i % 4 == 0 else "train" for i in range(len(corpus))]
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        tmp_path / "split.tsv", sep="\t", index=False
    )
    return tmp_path


def run_file(**changes):
    training = config.Training(**SHORT | changes)
    return config.RunFile(
        data=config.Data(positives=("a",), negatives=("b",)), model=SMALL, training=training
    )


def fit(task, **changes):
    train(
        run_file(**changes),
        Corpus.open(task / "corpus"),
        task / "split.tsv",
        task / "model",
        threads=1,
    )


@pytest.fixture
def after(monkeypatch):
    """Return a function that does something after a given step."""

    def patch(number, work):
        take_step = Trainer.take_step

        def taking(self):
            take_step(self)
            if self.history.step == number:
                work()

        monkeypatch.setattr(Trainer, "take_step", taking)

    def stop():
        raise Stopped

    patch.stop = lambda number: patch(number, stop)
    return patch


def history(folder):
    return pd.read_csv(folder / "history.csv")["step"].tolist()


def test_other_output_folder_is_refused_before_training(task, after):
    (task / "model").mkdir()
    (task / "model" / "thesis.tex").write_text("years")
    after.stop(1)
    wanted = (
        r"model: the folder is not replaced: it contains 'thesis\.tex', which is not part of the "
        r"model"
    )
    with pytest.raises(OutputError, match=wanted):
        fit(task)
    assert (task / "model" / "thesis.tex").read_text() == "years"
    assert not (task / "model.checkpoints").exists()


def test_earlier_model_is_replaced(task):
    fit(task, max_steps=1)
    (task / "model" / ".snakemake_timestamp").touch()
    fit(task, max_steps=2)
    assert history(task / "model") == [2]


def test_unwritable_output_fails_before_training(task, after):
    after.stop(1)
    corpus = Corpus.open(task / "corpus")
    # not even root can create a folder there
    with pytest.raises(OSError, match="/sys/selfattn_bio") as error:
        train(
            run_file(),
            corpus,
            task / "split.tsv",
            task.__class__("/sys/selfattn_bio/model"),
            threads=1,
        )
    assert error.value.errno in UNWRITABLE


def test_provenance_describes_deleted_corpus(task, after):
    before = sha256_of(task / "split.tsv")

    def vanish():
        shutil.rmtree(task / "corpus")
        (task / "split.tsv").write_text("id\tsplit\treason\n")

    after(2, vanish)
    fit(task)
    provenance = json.loads((task / "model" / "provenance.json").read_text())
    assert provenance["split_sha256"] == before
    assert provenance["git_commit"] == commit_of(
        task.__class__(__file__).parents[2] / "selfattn_bio"
    )
    with pytest.raises(
        CorpusError,
        match=r"corpus: no such corpus file or folder\. Run selfattn-bio ingest",
    ):
        fit(task)


def test_restored_settings_resume_their_checkpoint(task, after, caplog, monkeypatch):
    caplog.set_level("INFO", "selfattn_bio")
    with monkeypatch.context():
        after.stop(6)
        with pytest.raises(Stopped):
            fit(task)
    after.stop(6)
    with pytest.raises(Stopped):
        fit(task, seed=1)
    said = caplog.text
    assert "1 checkpoint of other data, settings or versions" in said
    assert "going on" not in said
    monkeypatch.undo()
    fit(task)
    assert "resuming from the checkpoint of step 5" in caplog.text
    left = {path.name.split(".")[1] for path in (task / "model.checkpoints").glob("step-*")}
    assert len(left) == 1  # checkpoints of seed 1 are removed when the model is written


def test_history_is_saved_next_to_checkpoints(task, after):
    after.stop(9)
    with pytest.raises(Stopped):
        fit(task)
    assert history(task / "model.checkpoints") == [4, 8]
    assert not (task / "model").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a GPU the peak is what torch took of it")
def test_peak_memory_is_of_this_process(task, monkeypatch):
    monkeypatch.setattr("selfattn_bio.training.memory.status_mb", {"VmHWM": 123.0}.__getitem__)
    fit(task)
    assert pd.read_csv(task / "model" / "history.csv")["peak_memory_mb"].tolist() == [123.0] * 3
    assert json.loads((task / "model" / "train.json").read_text())["peak_memory_mb"] == 123.0


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
        with pytest.raises(
            TrainingError,
            match=r"not finite at step 8: loss nan, gradient norm \d\S+ \(records: ",
        ) as error:
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
    assert history(task / "model") == [4, 8, 12]


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA comes first")
def test_accelerators_other_than_cuda_are_ignored(monkeypatch):
    monkeypatch.setattr(
        "lightning_fabric.accelerators.mps.MPSAccelerator.is_available", lambda: True
    )
    assert open_fabric("32-true").device.type == "cpu"


def test_float16_is_not_sharded():
    with pytest.raises(
        TrainingError,
        match="sharded training does not support precision '16-mixed'",
    ):
        check_shardable(run_file(precision="16-mixed"))


def trainer_of(task, **changes):
    run = run_file(**changes)
    fabric = open_fabric(run.training.precision)
    return Trainer(
        fabric, run, Corpus.open(task / "corpus"), task / "split.tsv", task / "model", "model"
    )


def test_float16_gradients_may_overflow(task):
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
    with pytest.raises(
        TrainingError,
        match=rf"at step {OVERFLOWS}: loss 0\.\d+, gradient norm (nan|inf) \(records: ",
    ):
        trainer.take_step()
    assert torch.equal(weight, before)  # none of those steps changed the weights


def test_float32_infinite_gradient_stops_training(task):
    with pytest.raises(TrainingError, match=r"step 1: loss 0\.5, gradient norm inf"):
        trainer_of(task)._check_finite(0.5, math.inf)
