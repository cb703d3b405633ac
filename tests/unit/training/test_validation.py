import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfattn_bio.training.resume import StopSignals
from selfattn_bio.training.trainer import Validation


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
    validation = validation_of(
        signals,
        Rows(signals),
        world_size=9,
        global_rank=rank,
        device="cpu",
        all_reduce=lambda mine, reduce_op: {"max": mine}[reduce_op],
    )
    validation.scorer = SimpleNamespace(network=torch.nn.BatchNorm1d(1))
    assert np.array_equal(validation.outputs(), 10.0 * np.arange(8)[:, None])


@pytest.mark.parametrize("batch", [1, 4])
def test_stop_signal_ends_scoring_after_the_batch(batch):
    signals = StopSignals()
    objective = Rows(signals, stop_in=batch)
    assert validation_of(signals, objective).outputs() is None
    assert objective.batches == batch
