"""The optimizer, its learning rates and its state, and the running mean of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.config import Training


def build_optimizer(
    network: nn.Module, training: Training, layer_of: Callable[[str], int] = lambda _: 0
) -> torch.optim.Optimizer:
    """Build AdamW or Adam with weight decay on linear and convolution weights only.

    Embeddings, positions, norms and biases do not decay. Frozen parameters are left out.

    Parameters
    ----------
    network
        The network, in which the parameters to freeze no longer require gradients.
    training
        Section [training].
    layer_of
        Function from the name of a parameter to the number of its layer. Each parameter group has
        one layer, under the key "layer", so that layers can have different learning rates.
    """
    weights = {
        id(module.weight)
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
    }
    members: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            members[layer_of(name), id(parameter) in weights].append(parameter)
    groups = [
        {
            "params": members[layer, decays],
            "weight_decay": training.weight_decay if decays else 0.0,
            "layer": layer,
        }
        for layer, decays in sorted(members, key=lambda key: (key[0], not key[1]))
    ]
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    # Fabric cannot clip gradients of a fused optimizer that it scales, as in float16
    return kind(groups, lr=training.learning_rate, fused=training.precision != "16-mixed")


def learning_rate(step: int, training: Training) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises linearly during the warm-up. Then the schedule follows:

    - cosine: falls to 0 at `max_steps`, as half a period of a cosine.
    - linear: falls to 0 at `max_steps`.
    - inverse_sqrt: falls as sqrt(warmup_steps / (step + 1)) (Vaswani et al. 2017).
    - constant: stays the same.
    """
    warmup = training.warmup_steps
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    # fraction of the steps after the warm-up
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

    Call it after the backward pass and before clipping. Layers with factor 0 are frozen, so their
    gradients are deleted: they must not count in the clipping norm, nor update Adam's moments.

    Parameters
    ----------
    optimizer
        From `build_optimizer`.
    rate
        Learning rate of the step.
    factor_of
        Function from the number of a layer to its factor.
    """
    for group in optimizer.param_groups:
        factor = factor_of(group["layer"])
        group["lr"] = rate * factor
        if factor == 0:
            for parameter in group["params"]:
                parameter.grad = None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of the optimizer's state.

    Names are `NUMBER.NAME`: the number of the parameter in the optimizer and the name of the state,
    such as `0.exp_avg`.
    """
    return {
        f"{i}.{name}": value
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned.

    Learning rates and weight decay are not restored.
    """
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


class RunningMean:
    """Follow the weights of a network.

    Parameters
    ----------
    network
        Network that is trained.
    average
        Copy of it, which receives the means and the buffers.
    """

    def __init__(self, network: nn.Module, average: nn.Module) -> None:
        self._means, self._weights = tuple(average.parameters()), tuple(network.parameters())
        self._buffers = list(zip(average.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def move(self, step: int, decay: float) -> None:
        """Move the means towards the weights after `step`, counted from 1; copy the buffers.

        A mean becomes decay x mean + (1 - decay) x weight. The decay is smaller in early steps, so
        that the means do not retain the random initial weights.
        """
        decay = min(decay, (step - 1) / (step + 8))
        torch._foreach_lerp_(self._means, self._weights, 1 - decay)
        for copied, buffer in self._buffers:
            copied.copy_(buffer)
