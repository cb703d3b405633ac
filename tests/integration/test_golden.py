"""Twenty training steps, pinned: a refactoring of attention, model or optimizer changes none of these losses."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from selfattn_bio import config
from selfattn_bio.attention.native import why_not
from selfattn_bio.model.classifier import build_network
from selfattn_bio.training.optimizer import build_optimizer, learning_rate

# Losses of steps 0, 4, 8, 12, 16 and 19. The first weights are float32 draws, whose last bit may differ from CPU to CPU.
GOLDEN = {
    "window, t5": [0.690496530775, 0.73397020397, 0.670297148698, 0.803707619674, 0.665383772151, 0.654551948495],
    "window and global, rotary, cls": [0.692176700008, 1.0517768833, 0.571249704876, 0.916992080875, 0.66607532973, 0.672331062289],
    "bigbird, shaw": [0.70281267537, 0.748286335215, 0.65780752144, 0.84401069016, 0.656721766964, 0.657467116542],
    "causal, alibi": [0.69907579472, 0.746431586772, 0.681028107131, 0.765040795455, 0.667809741556, 0.676235454514],
}


def losses(kernel, pattern, position, dtype, head):
    torch.manual_seed(0)
    run = config.RunFile.model_validate(
        {
            "data": {"positives": "a", "negatives": "b"},
            "tokens": {"k": 2},
            "model": {
                "kind": "attention",
                "members": 1,
                "embed_dim": 32,
                "num_heads": 2,
                "dropout": 0.0,
                "stem": {"kind": "none"},
                "pattern": pattern,
                "position": position,
                "head": head,
                "kernel": kernel,
            },
            "training": {"max_steps": 20, "warmup_steps": 5, "learning_rate": 2e-3},
        }
    )
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
    return found


CASES = {
    "window, t5": ({"kind": "window", "window": 20}, {"kind": "t5"}, {"kind": "pooling"}),
    "window and global, rotary, cls": ({"kind": "window", "window": 20, "num_global": 2}, {"kind": "rotary"}, {"kind": "cls"}),
    "bigbird, shaw": ({"kind": "bigbird", "window": 20, "block": 16, "num_global": 1}, {"kind": "shaw"}, {"kind": "pooling"}),
    "causal, alibi": ({"kind": "window", "window": 20, "causal": True}, {"kind": "alibi"}, {"kind": "pooling"}),
}


@pytest.mark.parametrize("kernel", ["reference", "slab"])
@pytest.mark.parametrize("name", CASES)
def test_twenty_steps(name, kernel):
    pattern, position, head = CASES[name]
    found = losses(kernel, pattern, position, torch.float64, head)
    assert found[::4] + found[-1:] == pytest.approx(GOLDEN[name], rel=1e-6)


@pytest.mark.skipif(why_not() is not None, reason=f"no band kernel here: {why_not()}")
@pytest.mark.parametrize("name", ["window, t5", "window and global, rotary, cls", "causal, alibi"])
def test_twenty_steps_of_the_band_kernel(name):
    pattern, position, head = CASES[name]
    found = losses("band", pattern, position, torch.float32, head)
    assert found[::4] + found[-1:] == pytest.approx(GOLDEN[name], rel=1e-5)
