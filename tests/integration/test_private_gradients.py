"""Test gradients of private training: per record, clipped, with noise of the stated scale."""

import numpy as np
import pytest
import torch
from small_task import PRIVACY, fit, private_run, read_json, trainer_of
from torch.nn.utils.parametrize import register_parametrization

from selfattn_bio import config
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.training.transfer import LowRank

pytestmark = pytest.mark.usefixtures("fixed_secrets")


BY_RECORD = config.ConvStemSection(token_dim=4, kernel=5, pool=3, second_kernel=3, norm="record")
GLOBAL = config.WindowPattern(window=4, num_global=1)
KINDS = {
    "t5": {},
    "t5 in a window": {"pattern": GLOBAL, "position": config.T5Position(symmetric=True)},
    "t5 by slab": {"pattern": config.WindowPattern(window=4), "kernel": "slab"},
    "t5 by band": {"embed_dim": 32, "kernel": "band", "position": config.T5Position()},
    "lora": {},
    "shaw": {"position": config.ShawPosition(max_distance=5)},
    "transformer_xl": {"position": config.TransformerXLPosition(max_distance=5)},
    "learned": {"position": config.LearnedPosition(max_length=64)},
    "alibi, cls": {"position": config.AlibiPosition(), "head": config.ClsHeadSection()},
    "rotary, few keys": {"position": config.RotaryPosition(), "num_kv_heads": 1},
    "bigbird": {"pattern": config.BigBirdPattern(window=4, block=4, random_blocks=1, num_global=2)},
    "members": {"members": 2},
    "stem by the record": {"stem": BY_RECORD},
}


def steps_gradients(trainer, max_norm):
    """Return the gradients of step 0 without noise, and the rows of the batch."""
    trainer.steps.section = PRIVACY.model_copy(update={"max_grad_norm": max_norm})
    trainer.steps.noise_multiplier = 0.0
    trainer.steps.add_gradients(0)
    trainer.steps.finish_gradients(None, 0)
    found = {name: parameter.grad.clone() for name, parameter in trainer.bare.named_parameters()}
    trainer.bare.zero_grad()
    return found, trainer.steps.stream.batches(0)[0][1]


@pytest.mark.parametrize(("kind", "canonical"), [*((kind, False) for kind in KINDS), ("t5", True)])
def test_private_gradients_equal_per_record_loop(private_task, kind, canonical):
    if KINDS[kind].get("kernel") == "band" and (reason := unavailable_reason()):
        pytest.skip(f"no band kernel here: {reason}")
    run = private_run(training={"shift": 0}, **KINDS[kind])
    run = run.model_copy(update={"tokens": config.Tokens(canonical=canonical)})
    trainer = trainer_of(private_task, run)
    if kind == "lora":
        for module in [*trainer.bare.members[0].encoder.modules()]:
            if isinstance(module, torch.nn.Linear):
                register_parametrization(module, "weight", LowRank(module.weight, 2))
    with torch.no_grad():  # tables start at 0, where some gradients would be 0 too
        for parameter in trainer.bare.parameters():
            generator = torch.Generator().manual_seed(1)
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    free, rows = steps_gradients(trainer, max_norm=1e6)
    assert len(rows) > 4
    # All records in one padded batch, without privacy.
    batch, _ = trainer.steps.batch(0, rows)
    total = trainer.steps.loss.sum(trainer.bare(batch.tokens.ids), batch.targets)
    (total / run.training.batch_size).backward()
    for name, parameter in trainer.bare.named_parameters():
        assert torch.allclose(free[name], parameter.grad, rtol=1e-3, atol=2e-6), name
    # Record by record.
    max_norm, lengths = 0.5, []
    wanted = {name: torch.zeros_like(of) for name, of in trainer.bare.named_parameters()}
    for row in rows:
        batch, _ = trainer.steps.batch(0, np.array([row]))
        loss = trainer.steps.loss.sum(trainer.bare(batch.tokens.ids), batch.targets)
        each = torch.autograd.grad(loss, list(trainer.bare.parameters()), allow_unused=True)
        length = sum(float((gradient**2).sum()) for gradient in each if gradient is not None) ** 0.5
        lengths.append(length)
        for total, gradient in zip(wanted.values(), each, strict=True):
            if gradient is not None:
                total += gradient * min(1.0, max_norm / length) / run.training.batch_size
    assert max(lengths) > max_norm
    trainer.bare.zero_grad()
    clipped, again = steps_gradients(trainer, max_norm)
    assert np.array_equal(rows, again)
    for name, gradient in clipped.items():
        assert torch.allclose(gradient, wanted[name], rtol=1e-4, atol=1e-7), name


# from Opacus' hooks on the embedding, whose input is not floating point
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_private_gradients_equal_opacus(private_task):
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    run = private_run(training={"shift": 0}, position=config.NoPositionSection())
    trainer = trainer_of(private_task, run)
    ours, rows = steps_gradients(trainer, max_norm=0.3)
    batch, _ = trainer.steps.batch(0, rows)
    module = GradSampleModule(trainer.bare, loss_reduction="sum")
    options = {"noise_multiplier": 0.0, "max_grad_norm": 0.3, "loss_reduction": "mean"}
    options["expected_batch_size"] = trainer.data.run.training.batch_size
    optimizer = DPOptimizer(torch.optim.SGD(module.parameters(), lr=1.0), **options)
    trainer.steps.loss.sum(module(batch.tokens.ids), batch.targets).backward()
    assert optimizer.pre_step()
    for name, parameter in trainer.bare.named_parameters():
        assert torch.allclose(ours[name], parameter.grad, rtol=1e-4, atol=1e-7), name


def test_private_gradients_are_independent_per_record(private_task, monkeypatch):
    dropped = {"dropout": 0.3, "attention_dropout": 0.3, "stochastic_depth": 0.2}
    run = private_run(training={"shift": 3, "reverse_complement": True}, **dropped)
    trainer = trainer_of(private_task, run)
    (_, rows), *_ = trainer.steps.stream.batches(0)

    def of(some):
        monkeypatch.setattr(trainer.steps.stream, "batches", lambda step: [(0, np.array(some))])
        return steps_gradients(trainer, max_norm=0.1)[0]

    together, first, rest = of(rows), of(rows[:1]), of(rows[1:])
    for name, gradient in together.items():
        assert torch.allclose(gradient, first[name] + rest[name], rtol=1e-4, atol=1e-7), name


def test_noise_has_stated_scale_and_depends_on_secret(private_task):
    run = private_run()
    trainer = trainer_of(private_task, run)
    own = trainer.steps

    def noise(step):
        own.finish_gradients(None, step)  # a batch without records
        return torch.cat([parameter.grad.flatten() for parameter in trainer.bare.parameters()])

    first = noise(0)
    wanted = own.noise_multiplier * PRIVACY.max_grad_norm / run.training.batch_size
    assert float(first.std()) == pytest.approx(wanted, rel=0.05)
    assert float(first.mean()) == pytest.approx(0, abs=5 * wanted / len(first) ** 0.5)
    assert torch.equal(first, noise(0))
    assert abs(float(torch.corrcoef(torch.stack([first, noise(1)]))[0, 1])) < 0.1
    own.secret += 1
    assert not torch.equal(first, noise(0))


def test_noise_and_batches_use_distinct_seeds(private_task, monkeypatch):
    trainer = trainer_of(private_task, private_run())
    seen, default_rng = [], np.random.default_rng

    def recorded(seed):
        rng = default_rng(seed)
        seen.append(str(rng.bit_generator.state))
        return rng

    monkeypatch.setattr(np.random, "default_rng", recorded)
    for number in range(4):
        trainer.steps.finish_gradients(None, number)
        for epoch in range(4):
            trainer.steps.order.batch(epoch, number)
    assert len(set(seen)) == len(seen) == 20


def test_noise_scales_with_clipping_norm(private_task):
    of = []
    for length in (1.0, 0.25):
        privacy = PRIVACY.model_copy(update={"max_grad_norm": length})
        trainer = trainer_of(private_task, private_run(privacy=privacy))
        trainer.steps.secret = 42
        trainer.steps.finish_gradients(None, 0)
        of.append(torch.cat([parameter.grad.flatten() for parameter in trainer.bare.parameters()]))
    assert torch.equal(of[1], of[0] / 4)


def test_private_bfloat16_steps(private_task, tmp_path):
    run = private_run(training={"max_steps": 2, "precision": "bf16-mixed"})
    model = fit(private_task, run, tmp_path / "model")
    assert read_json(model / "provenance.json")["privacy"]["steps"] == 2
