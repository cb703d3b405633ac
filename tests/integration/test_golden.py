"""Pin twenty training steps, so that refactoring of attention, model, optimizer or loop shows."""

import tomllib

import pytest
import torch
from small_task import trainer_of, write_task
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio import config
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.model.build import build_network
from selfattn_bio.training.optimizer import RunningMean, build_optimizer, learning_rate

# Losses of steps 0, 4, 8, 12, 16 and 19. The first weights are random float32 numbers whose last
# bit may differ between CPUs.
LOSSES = """
0.690496530775 0.73397020397 0.670297148698 0.803707619674 0.665383772151 0.654551948495
0.692176700008 1.0517768833 0.571249704876 0.916992080875 0.66607532973 0.672331062289
0.70281267537 0.748286335215 0.65780752144 0.84401069016 0.656721766964 0.657467116542
0.69907579472 0.746431586772 0.681028107131 0.765040795455 0.667809741556 0.676235454514
"""


def losses(kernel, name, dtype):
    """Return the losses of the steps in `GOLDEN`."""
    pattern, position, head = CASES[name]
    torch.manual_seed(0)
    model = {"kind": "attention", "members": 1, "embed_dim": 32, "num_heads": 2, "dropout": 0.0}
    model |= {"pattern": pattern, "kernel": kernel}
    model |= {"position": {"kind": position}, "head": {"kind": head}}
    sections = {
        "data": {"positives": "a", "negatives": "b"},
        "tokens": {"k": 2},
        "model": model | {"stem": {"kind": "none"}},
        "training": {"max_steps": 20, "warmup_steps": 5, "learning_rate": 2e-3},
    }
    run = config.RunFile.model_validate(sections)
    network = build_network(run).to(dtype)
    optimizer = build_optimizer(network, run.training)
    generator = torch.Generator().manual_seed(1)
    found = []
    for step in range(20):
        tokens = torch.randint(4, 20, (8, 150), generator=generator)
        tokens[0, 100:] = 0
        labels = (tokens[:, 3] % 2).to(dtype)
        loss = binary_cross_entropy_with_logits(network(tokens)[:, 0, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, run.training)
        optimizer.step()
        found.append(float(loss.detach()))
    return found[::4] + found[-1:]


BAND = {"kind": "window", "window": 20}
BIGBIRD = {"kind": "bigbird", "window": 20, "block": 16, "num_global": 1}
CASES = {  # pattern, position and head
    "window, t5": (BAND, "t5", "pooling"),
    "window and global, rotary, cls": (BAND | {"num_global": 2}, "rotary", "cls"),
    "bigbird, shaw": (BIGBIRD, "shaw", "pooling"),
    "causal, alibi": (BAND | {"causal": True}, "alibi", "pooling"),
}
ROWS = [list(map(float, row.split())) for row in LOSSES.strip().splitlines()]
GOLDEN = dict(zip(CASES, ROWS, strict=True))


@pytest.mark.parametrize("kernel", ["reference", "slab"])
@pytest.mark.parametrize("name", CASES)
def test_golden_losses_of_twenty_steps(name, kernel):
    assert losses(kernel, name, torch.float64) == pytest.approx(GOLDEN[name], rel=1e-6)


@pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no band kernel here: {unavailable_reason()}"
)
@pytest.mark.parametrize("name", ["window, t5", "window and global, rotary, cls", "causal, alibi"])
def test_golden_losses_of_band_kernel(name):
    assert losses("band", name, torch.float32) == pytest.approx(GOLDEN[name], rel=1e-5)


# For the training loop: losses of the same steps, the validation loss, the sum of the absolute
# weights, and that of their running mean.
GOLDEN_LOOP = (
    *(0.680444091558, 0.652286723256, 0.576997578144, 0.570850193501, 0.512016937137),
    *(0.478843800724, 0.710425467332, 1963.93528397, 1963.77870603),
)
LOOP = """
data = { positives = "a", negatives = "b" }
evaluation.strands = "given"
[model]
kind = "attention"
embed_dim = 16
num_heads = 2
num_layers = 1
feedforward_dim = 16
dropout = 0.1
attention_dropout = 0.1
[training]
max_steps = 20
batch_size = 8
accumulate = 2
warmup_steps = 5
learning_rate = 5e-3
clip_norm = 0.1
ema_decay = 0.5
shift = 2
reverse_complement = true
"""


def test_golden_losses_of_training_loop(tmp_path):
    """Pin a loop with accumulation, augmentation, dropout, clipping and averaged weights."""
    write_task(tmp_path, "", 24, 24, lengths=(20, 40))
    run = config.RunFile.model_validate(tomllib.loads(LOOP))
    trainer = trainer_of(tmp_path, run)
    found, norms = [], []
    clip = trainer.fabric.clip_gradients
    trainer.fabric.clip_gradients = lambda *arguments, **named: (
        norms.append(clip(*arguments, **named)) or norms[-1]
    )
    for _ in range(20):
        before = trainer.history.loss_sum
        trainer.take_step()
        found.append(trainer.history.loss_sum - before)
    assert min(norms) > run.training.clip_norm
    sizes = [
        float(sum(weight.detach().double().abs().sum() for weight in of.parameters()))
        for of in (trainer.bare, trainer.average)
    ]
    assert [*found[::4], found[-1], trainer.measure_valid()["loss"], *sizes] == pytest.approx(
        list(GOLDEN_LOOP), rel=3e-5
    )


def test_running_mean_of_weights():
    """The mean starts as the first weights, forgets faster early on, and copies buffers."""
    network, average = (torch.nn.BatchNorm1d(1) for _ in range(2))
    mean, wanted = RunningMean(network, average), []
    for step, value in enumerate([1.0, 2.0, 3.0, 4.0], start=1):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value)
        mean.move(step, decay=0.2)
        wanted.append(average.weight.item())
        assert average.running_mean.item() == value
    # Decays: 0, 1/10, 2/11 and 0.2, because 3/12 is larger.
    second = 0.1 * 1 + 0.9 * 2
    third = 2 / 11 * second + 9 / 11 * 3
    assert wanted == pytest.approx([1.0, second, third, 0.2 * third + 0.8 * 4], rel=1e-6)
