"""Tests of training/steps.py and training/private.py with stubs: the first batch and its loss."""

from types import SimpleNamespace

import numpy as np
import pytest

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


def test_total_loss_includes_the_penalty_of_each_target():
    steps = SimpleNamespace(loss=SimpleNamespace(sum=lambda outputs, targets: sum(targets)))
    network = SimpleNamespace(penalty=lambda: 0.5)
    batch = SimpleNamespace(targets=[1.0, 2.0, 3.0], num_targets=3)
    assert Steps.total_loss(steps, None, network, batch) == 7.5
