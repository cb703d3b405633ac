"""Test what a training counts: evaluations, operations, and the peak of a matrix product."""

import math

import pytest
import torch
from torch import nn

from selfattn_bio import config
from selfattn_bio.attention.patterns import Full, Global, Window, num_pairs
from selfattn_bio.model.encoder import build_encoder
from selfattn_bio.training.history import FlopCounter, History, Meter, StepTotals, gemm_peak


def test_best_evaluations_are_kept_in_order():
    history = History()
    for value in (-0.5, 0.7, math.nan, 0.7):
        history.add_step(StepTotals(1.0, 10, 4))
        history.add_evaluation({"step": history.step}, value, 3)
    # of equal values, the earlier one wins
    assert history.best_steps == [[0.7, 2], [0.7, 4], [-0.5, 1]]
    assert history.best_step == 2
    assert [row["step"] for row in history.rows] == [1, 2, 3, 4]
    history = History(step=1)
    history.add_evaluation({"step": 1}, math.nan, 2)
    assert history.best_steps == [[-math.inf, 1]]  # an undefined value is the worst


def test_evaluation_starts_a_new_mean_loss():
    history = History()
    for loss in (1.0, 2.0):
        history.add_step(StepTotals(loss, 10, 4))
    assert (history.loss_sum, history.loss_steps) == (3.0, 2)
    assert (history.letters, history.tokens) == (20, 8)
    assert not history.is_evaluated
    history.add_evaluation({"step": 2}, 0.5, 1)
    assert (history.loss_sum, history.loss_steps) == (0.0, 0)
    assert history.is_evaluated


def test_pairs_of_a_pattern():
    assert num_pairs(Full(), 10) == 100
    assert num_pairs(Window(1), 4) == 10
    # 10 + a column of 4 + a row of 4 exceed all pairs
    assert num_pairs(Window(1) | Global(1), 4) == 16
    assert num_pairs(Window(1) | Global(1), 100) == 298 + 200


def test_flop_of_a_block():
    sizes = {"embed_dim": 8, "num_heads": 2, "num_layers": 1, "feedforward_dim": 12}
    section = config.AttentionModel(**sizes, pattern=config.WindowPattern(window=1))
    encoder = build_encoder(section)
    counter = FlopCounter(encoder)
    x, mask = torch.zeros(3, 4, 8), torch.ones(3, 4, dtype=torch.bool)
    encoder.train()(x, mask)
    # qkv, out, feed-forward: one product per weight and token
    linear = 3 * 4 * (8 * 24 + 8 * 8 + 8 * 12 + 12 * 8)
    # pairs of a window of 1 in 4 tokens; queries with keys, weights with values
    attention = 3 * 10 * 8 * 2
    assert counter.total == 2 * 3 * (linear + attention)
    encoder.eval()(x, mask)
    assert counter.total == 2 * 3 * (linear + attention)  # evaluation is not counted


@pytest.mark.parametrize("is_tower", [False, True])
def test_flop_of_a_convolution(is_tower):
    kind, kernel, padding = (nn.Conv2d, (1, 3), (0, 1)) if is_tower else (nn.Conv1d, 3, 1)
    layer = kind(4, 6, kernel, padding=padding)
    counter = FlopCounter(layer)
    layer(torch.zeros(2, 4, 1, 10) if is_tower else torch.zeros(2, 4, 10))
    assert counter.total == 2 * 3 * (2 * 10 * 6 * 4 * 3)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_peak_is_a_plausible_rate(precision):
    assert 1e8 < gemm_peak(torch.device("cpu"), precision) < 1e15


def test_meter_resumes_time_and_operations():
    layer = nn.Linear(4, 6)
    meter = Meter(layer, torch.device("cpu"), "32-true")
    meter.restore({"seconds": 100.0, "flop": 50.0})
    layer(torch.zeros(2, 4))
    assert 100 <= meter.seconds < 110
    assert meter.state()["flop"] == 50 + 2 * 3 * (2 * 4 * 6)
    speed = meter.speed(History(letters=600, tokens=200), 200.0)
    assert (speed["letters_per_second"], speed["tokens_per_second"]) == (3.0, 1.0)
    assert speed["gemm_fraction"] > 0
