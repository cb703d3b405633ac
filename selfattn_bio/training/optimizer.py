"""The optimizer and its learning rate.

Hides: which weights decay, the shape of the schedule, the form of AdamW's state. The loop alone uses it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from selfattn_bio.config import Training


def build_optimizer(network: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear and convolution layers; embeddings, positions, norms and biases do not decay."""
    weights = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear | nn.Conv1d)}
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in network.parameters():
        (decayed if id(parameter) in weights else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate)


def learning_rate(step: int, training: Training) -> float:
    """Of the step with number `step` (from 0): a linear warm-up, then half a cosine down to 0 at `max_steps`."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.max_steps - training.warmup_steps)
    return training.learning_rate * (1 + math.cos(math.pi * min(1.0, done))) / 2


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as named tensors, `NUMBER.NAME`."""
    return {f"{i}.{name}": value for i, slots in optimizer.state_dict()["state"].items() for name, value in slots.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `optimizer_tensors`."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
