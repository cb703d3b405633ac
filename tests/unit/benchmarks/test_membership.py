"""Tests of membership attacks by the loss."""

import numpy as np
import pytest


def test_losses_follow_the_labels():
    from membership import record_losses

    found = record_losses([0.0, 3.0, -800.0], [1, 0, 0])
    assert found == pytest.approx([np.log(2), np.log1p(np.exp(3)), 0.0])
    assert record_losses([-800.0], [1]).tolist() == [800.0]


def test_small_losses_indicate_members():
    from membership import loss_attack

    assert loss_attack([0.1, 0.2], [0.3, 0.4], draws=10)["value"] == 1.0
    assert loss_attack([0.3, 0.4], [0.1, 0.2], draws=10)["value"] == 0.0
    assert loss_attack([0.5, 0.5], [0.5, 0.5], draws=10)["value"] == 0.5
    tiny = loss_attack([1e-300], [2e-300], draws=10)
    assert tiny["value"] == 1.0  # as probabilities they would be equal


def test_equal_loss_distributions_are_at_chance():
    from membership import loss_attack

    rng = np.random.default_rng(0)
    found = [
        loss_attack(rng.exponential(size=400), rng.exponential(size=400), draws=200)
        for _ in range(40)
    ]
    assert sum(each["low"] < 0.5 < each["high"] for each in found) >= 34  # 38 are expected
    assert all(0.06 < each["high"] - each["low"] < 0.1 for each in found)


def test_second_model_corrects_for_hard_records():
    from membership import loss_attack

    rng = np.random.default_rng(1)
    hard = rng.exponential(5.0, size=(2, 300))  # loss of each record under any model
    member_losses, other_losses = hard[0] - 0.5, hard[1]  # a little lower for training records
    assert loss_attack(member_losses, other_losses)["value"] < 0.65
    assert loss_attack(member_losses, other_losses, reference=(hard[0], hard[1]))["value"] == 1.0


def test_splits_must_exist_and_have_equal_length():
    from membership import loss_attack

    with pytest.raises(ValueError, match="there are 0 members and 2 others; neither may be empty"):
        loss_attack([], [1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"reference has \[1, 1\] losses, but there are 1 members and 2 others"
    ):
        loss_attack([1.0], [1.0, 2.0], reference=([1.0], [1.0]))
