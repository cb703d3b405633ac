"""Test steps, validation and messages of a training with stubs."""

import signal
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.objectives.loss import Batch
from selfattn_bio.training.private import PrivateSteps
from selfattn_bio.training.resume import StopSignals
from selfattn_bio.training.steps import Steps
from selfattn_bio.training.trainer import Trainer, Validation


@pytest.mark.parametrize(
    ("kind", "rank", "rows"), [(Steps, 0, [7, 5]), (Steps, 1, [3, 1]), (PrivateSteps, 0, [0])]
)
def test_first_batch_has_the_rows_of_the_process(kind, rank, rows):
    """A private training computes records one by one."""
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([7, 3, 5, 1]))]),
        fabric=SimpleNamespace(world_size=2, global_rank=rank),
        batch=lambda epoch, rows: (rows.tolist(), 0),
    )
    assert kind.first_batch(steps) == rows


def test_loss_of_a_step_is_read_once(monkeypatch):
    """On CUDA, reading a number waits for the device."""
    parts, reads, item = [0.1, 0.2, 0.3], [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda x: reads.append(x) or item(x))
    losses = iter([torch.tensor(part) for part in parts])
    lengths = torch.tensor([4])
    fabric = SimpleNamespace(world_size=1, global_rank=0, device=torch.device("cpu"))
    fabric.no_backward_sync = lambda network, enabled: nullcontext()
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([row])) for row in range(3)]),
        fabric=fabric,
        network=None,
        batch=lambda epoch, rows: (Batch(TokenBatch(torch.ones(1, 4), lengths), None, 1), 6),
        backward=lambda batch, weight, num_targets: next(losses),
    )
    totals = Steps.add_gradients(steps, 0)
    assert len(reads) == 1
    # each float32 number is added in float64
    assert totals == (sum(float(np.float32(part)) for part in parts), 18, 12)


def test_batch_moves_all_targets():
    tokens, device = TokenBatch(torch.ones(1, 4), torch.tensor([4])), torch.device("meta")
    moved = Batch(tokens, {"a": torch.ones(1), "b": torch.ones(1, 2)}, 1).to(device)
    assert {moved.tokens.ids.device, *(x.device for x in moved.targets.values())} == {device}
    assert moved.tokens.lengths.device.type == "cpu"
    assert Batch(tokens, torch.ones(1), 1).to(device).targets.device == device


class Rows:
    """An objective that predicts the number of each record, two records per batch."""

    outputs_per = "sequence"

    def __init__(self, signals, stop_in=None):
        self.signals, self.stop_in, self.batches = signals, stop_in, 0

    def read_batches(self, scorer, inputs):
        for rows in np.arange(len(inputs))[::-1].reshape(-1, 2):
            self.batches += 1
            if self.batches == self.stop_in:
                self.signals.received = signal.SIGTERM
            yield rows, np.array([[inputs[row]] for row in rows])


def validation_of(signals, objective, **processes):
    data = SimpleNamespace(valid=SimpleNamespace(rows=np.arange(8)), objective=objective)
    fabric = SimpleNamespace(**{"world_size": 1, "global_rank": 0} | processes)
    inputs = SimpleNamespace(of=lambda row: 10.0 * row)
    return Validation(fabric, data, inputs, None, signals)


def test_outputs_are_in_the_order_of_records():
    signals = StopSignals()
    found = validation_of(signals, Rows(signals)).outputs()
    assert np.array_equal(found, 10.0 * np.arange(8)[:, None])


@pytest.mark.parametrize("rank", [0, 8])
def test_every_process_scores_few_records(rank, monkeypatch):
    """With 9 processes and 8 records, the last process had no record and failed."""
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: None)
    signals = StopSignals()
    processes = {"world_size": 9, "global_rank": rank, "device": "cpu"}
    processes["all_reduce"] = lambda mine, reduce_op: {"max": mine}[reduce_op]
    validation = validation_of(signals, Rows(signals), **processes)
    validation.scorer = SimpleNamespace(network=torch.nn.BatchNorm1d(1))
    assert np.array_equal(validation.outputs(), 10.0 * np.arange(8)[:, None])


@pytest.mark.parametrize("batch", [1, 4])
def test_stop_signal_ends_scoring_after_the_batch(batch):
    signals = StopSignals()
    objective = Rows(signals, stop_in=batch)
    assert validation_of(signals, objective).outputs() is None
    assert objective.batches == batch


def test_lines_have_the_name_and_come_from_one_process(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    for first in (True, False):
        fabric = SimpleNamespace(is_global_zero=first)
        Trainer.log(SimpleNamespace(name="cnn 2", fabric=fabric), "step 1/2")
    assert caplog.messages == ["cnn 2: step 1/2"]
