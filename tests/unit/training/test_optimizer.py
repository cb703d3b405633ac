import pytest
import torch
from torch.testing import assert_close

from selfattn_bio.config import Training
from selfattn_bio.training.objectives import Binary
from selfattn_bio.training.optimizer import (
    build_optimizer,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
)

PLAIN = Training(label_smoothing=0)
TRAINING = Training(learning_rate=0.1, warmup_steps=10, max_steps=110)


def test_learning_rate_of_worked_example():
    rates = [learning_rate(step, TRAINING) for step in (0, 4, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.05, 0.0])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.1, 0.05, 0.0]),
        ("inverse_sqrt", [0.1 * (10 / 11) ** 0.5, 0.1 * (10 / 61) ** 0.5, 0.1 * (10 / 111) ** 0.5]),
        ("constant", [0.1, 0.1, 0.1]),
    ],
)
def test_schedules_after_the_warm_up(schedule, expected):
    training = TRAINING.model_copy(update={"schedule": schedule})
    assert [learning_rate(step, training) for step in (0, 9)] == pytest.approx([0.01, 0.1])
    assert [learning_rate(step, training) for step in (10, 60, 110)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "inverse_sqrt", "constant"])
def test_schedules_need_no_warm_up(schedule):
    assert learning_rate(
        0, Training(learning_rate=0.1, warmup_steps=0, schedule=schedule)
    ) == pytest.approx(0.1)


def test_adam_decays_by_the_gradient():
    layer = torch.nn.Linear(2, 1)
    optimizer = build_optimizer(layer, Training(optimizer="adam", weight_decay=0.5))
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_only_weights_of_layers_decay():
    network = torch.nn.Sequential(
        torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)
    )
    decayed, others = build_optimizer(network, TRAINING).param_groups
    assert [id(p) for p in decayed["params"]] == [id(network[1].weight)]
    assert decayed["weight_decay"] == 0.01
    assert others["weight_decay"] == 0
    assert len(others["params"]) == 4


def test_weights_of_convolutions_decay():
    """The layers of a tower stem are 2-D convolutions."""
    network = torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3), torch.nn.Conv2d(4, 4, (1, 3)))
    decayed, _ = build_optimizer(network, TRAINING).param_groups
    assert [id(p) for p in decayed["params"]] == [id(layer.weight) for layer in network]


def test_optimizer_resumes_exactly():
    def fresh():
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)
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


def test_objective_is_cross_entropy():
    logits, labels = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    expected = -torch.log(torch.sigmoid(logits)).sum()
    assert_close(Binary(PLAIN, labels.long().numpy()).loss(logits[:, None, None], labels), expected)


def test_balanced_weights_make_classes_count_the_same():
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0])
    objective = Binary(Training(class_weights="balanced", label_smoothing=0), labels.long().numpy())
    one = objective.loss(torch.zeros(1, 1, 1), labels[:1])
    rest = objective.loss(torch.zeros(3, 1, 1), labels[1:])
    assert_close(one, rest)
    assert_close(
        one + rest, Binary(PLAIN, labels.long().numpy()).loss(torch.zeros(4, 1, 1), labels)
    )


def test_smoothing_moves_the_best_logit_from_infinity():
    objective = Binary(Training(label_smoothing=0.2), torch.tensor([0, 1]).numpy())
    at = torch.logit(torch.tensor([0.9])).requires_grad_()
    objective.loss(at[:, None, None], torch.ones(1)).backward()
    assert abs(float(at.grad)) < 1e-6


def test_members_each_have_their_own_loss():
    objective = Binary(Training(), torch.tensor([0, 1]).numpy())
    logits, labels = torch.randn(5, 3, 1), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    alone = torch.stack([objective.loss(logits[:, [i]], labels) for i in range(3)])
    assert_close(objective.loss(logits, labels), alone.mean())
