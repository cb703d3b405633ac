"""The optimizer, its learning rate schedule, and its state in checkpoints."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.config import Training
from selfattn_bio.training.hardware import gather, shard_like


def build_optimizer(
    network: nn.Module, training: Training, layer_of: Callable[[str], int] = lambda _: 0
) -> torch.optim.Optimizer:
    """Build AdamW or Adam with weight decay on linear and convolution weights only.

    Embeddings, positions, norms and biases do not decay. Frozen weights are left out. The `layer`
    of each parameter group is the result of `layer_of` for the name of the weight.
    """
    weights = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv1d)
    }
    members: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            members[layer_of(name), id(parameter) in weights].append(parameter)
    groups = [
        {
            "params": parameters,
            "weight_decay": training.weight_decay if decays else 0.0,
            "layer": layer,
        }
        for (layer, decays), parameters in sorted(
            members.items(), key=lambda item: (item[0][0], not item[0][1])
        )
    ]
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=training.learning_rate)


def learning_rate(step: int, training: Training) -> float:
    """Return the learning rate of step `step` (from 0): a linear warm-up, then `schedule`.

    Schedules are half a cosine or a line down to 0 at `max_steps`, the inverse square root of the
    step in units of the warm-up (Vaswani et al. 2017), or a constant.
    """
    warmup = training.warmup_steps
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, training.max_steps - warmup))
    match training.schedule:
        case "cosine":
            return training.learning_rate * (1 + math.cos(math.pi * done)) / 2
        case "linear":
            return training.learning_rate * (1 - done)
        case "inverse_sqrt":
            return training.learning_rate * math.sqrt(max(1, warmup) / (step + 1))
        case "constant":
            return training.learning_rate


def set_rates(
    optimizer: torch.optim.Optimizer, rate: float, factor_of: Callable[[int], float]
) -> None:
    """Set the learning rate of each layer to `rate` times its factor.

    Weights whose factor is 0 lose their gradients. Otherwise they would count in the norm for
    clipping, and would later start with moments of steps that they did not take.
    """
    for group in optimizer.param_groups:
        factor = factor_of(group["layer"])
        group["lr"] = rate * factor
        if factor == 0:
            for parameter in group["params"]:
                parameter.grad = None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as named tensors, `NUMBER.NAME`, gathered over processes."""
    return {
        f"{i}.{name}": gather(value)
        for i, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = shard_like(value, parameters[int(number)])
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
