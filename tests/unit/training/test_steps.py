"""Tests of training/steps.py and training/private.py with stubs: batches and their losses."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfattn_bio.data.collation import Tokens
from selfattn_bio.objectives.loss import Batch
from selfattn_bio.training.private import PrivateSteps
from selfattn_bio.training.steps import Steps


def first_batch(kind, rank: int) -> list[int]:
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([7, 3, 5, 1]))]),
        fabric=SimpleNamespace(world_size=2, global_rank=rank),
        batch=lambda epoch, rows: (rows.tolist(), 0),
    )
    return kind.first_batch(steps)


@pytest.mark.parametrize(("rank", "rows"), [(0, [7, 5]), (1, [3, 1])])
def test_first_batch_has_the_rows_of_the_process(rank, rows):
    assert first_batch(Steps, rank) == rows


def test_first_batch_of_private_training_has_one_record():
    assert first_batch(PrivateSteps, 0) == [0]


def test_loss_of_a_step_is_read_once(monkeypatch):
    """On CUDA, reading a number waits for the device."""
    parts, reads, item = [0.1, 0.2, 0.3], [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda x: reads.append(x) or item(x))
    losses = iter([torch.tensor(part) for part in parts])
    lengths = torch.tensor([4])
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([row])) for row in range(3)]),
        fabric=SimpleNamespace(
            world_size=1,
            global_rank=0,
            device=torch.device("cpu"),
            no_backward_sync=lambda network, enabled: nullcontext(),
        ),
        network=None,
        batch=lambda epoch, rows: (Batch(Tokens(torch.ones(1, 4), lengths), None, 1), 6),
        backward=lambda batch, weight, num_targets: next(losses),
    )
    totals = Steps.add_gradients(steps, 0)
    assert len(reads) == 1
    # each float32 number is added in float64
    assert totals == (
        float(np.float32(0.1)) + float(np.float32(0.2)) + float(np.float32(0.3)),
        18,
        12,
    )


def test_batch_moves_all_targets():
    tokens, device = Tokens(torch.ones(1, 4), torch.tensor([4])), torch.device("meta")
    moved = Batch(tokens, {"a": torch.ones(1), "b": torch.ones(1, 2)}, 1).to(device)
    assert {moved.tokens.ids.device, *(x.device for x in moved.targets.values())} == {device}
    assert moved.tokens.lengths.device.type == "cpu"
    assert Batch(tokens, torch.ones(1), 1).to(device).targets.device == device
