import pytest
import torch
from torch import nn

from selfattn_bio.config import Training
from selfattn_bio.training.optimizer import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
)

TRAINING = Training(learning_rate=0.1, warmup_steps=10, max_steps=110)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.1, 0.05, 0.0]),
        ("linear", [0.1, 0.05, 0.0]),
        ("inverse_sqrt", [0.1 * (10 / step) ** 0.5 for step in (11, 61, 111)]),
        ("constant", [0.1, 0.1, 0.1]),
    ],
)
def test_schedules_after_the_warm_up(schedule, expected):
    training = TRAINING.model_copy(update={"schedule": schedule})
    rates = [learning_rate(step, training) for step in (0, 4, 9)]
    assert rates == pytest.approx([0.01, 0.05, 0.1])
    assert [learning_rate(step, training) for step in (10, 60, 110)] == pytest.approx(expected)
    no_warmup = training.model_copy(update={"warmup_steps": 0})
    assert learning_rate(0, no_warmup) == pytest.approx(0.1)


def test_adam_decays_by_the_gradient():
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, Training(optimizer="adam", weight_decay=0.5))
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_only_weights_of_layers_decay():
    layers = (nn.Linear(4, 4), nn.Conv1d(4, 4, 3), nn.Conv2d(4, 4, (1, 3)))
    network = nn.Sequential(*layers, nn.Embedding(5, 4), nn.LayerNorm(4))
    decayed, others = build_optimizer(network, TRAINING).param_groups
    assert [id(p) for p in decayed["params"]] == [id(layer.weight) for layer in layers]
    assert decayed["weight_decay"] == 0.01
    assert others["weight_decay"] == 0
    assert len(others["params"]) == 6


def test_optimizer_resumes_exactly():
    def fresh():
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        return network, build_optimizer(network, TRAINING)

    def step(network, optimizer, seed):
        torch.manual_seed(seed)
        network(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    network, optimizer = fresh()
    step(network, optimizer, 1)
    kept = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    step(network, optimizer, 2)

    other, other_optimizer = fresh()
    other.load_state_dict(weights)
    restore_optimizer(other_optimizer, kept)
    step(other, other_optimizer, 2)
    assert torch.equal(other.weight, network.weight)
