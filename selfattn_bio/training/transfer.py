"""From a pretrained model to a new task: whose weights it starts from, which of them move, and how fast.

Hides: names of weights, layers, LoRA. The loop alone uses it. Layers are counted from the input: the embedding and the stem are 0, the
blocks 1 to N, what is above them (the last norm, the head) N + 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from selfattn_bio.config import AttentionModel, RunFile, Transfer
from selfattn_bio.errors import RunFileError
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.classifier import Network

FREE = {
    "members",
    "dropout",
    "stochastic_depth",
    "head",
    "kernel",
    "pattern",
    "exits",
    "strands",
}  # of [model]: a child may have others than its parent
STEM = {"embed_dim", "stem"}  # of [model] kind "dilated": all that it can take


class LowRank(nn.Module):
    """W + B A with W as it was and A, B small: LoRA, as a parametrization, so that the layer itself knows nothing of it.

    B starts at 0, so that the network starts as it was. Source: Hu et al. 2021, with a scale of 1.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns).uniform_(-1, 1) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) -> the same."""
        return weight + self.up @ self.down


def start_from(network: Network, run: RunFile, transfer: Transfer, place: str) -> None:
    """Copy the parent's weights into a fresh network, all but its head, and fix or adapt what [transfer] says.

    A dilated CNN takes embedding and stem alone. Each member takes those of one of the parent's members in turn.

    Raises
    ------
    ModelFolderError
        If the parent's folder is not whole.
    RunFileError
        If the parent is of another alphabet, or of other [tokens] or layers.
    """
    parent_run, parent, _ = load_model(transfer.folder)
    cure = f"[tokens] and [model] must be those of {transfer.folder / 'run.toml'}, but for {', '.join(sorted(FREE))}"
    told = _what_must_agree(parent_run)
    for key, value in _what_must_agree(run).items():
        if told.get(key) != value:
            raise RunFileError(f"parent must have {key} = {value}, got {told.get(key)}", place=place, cure=cure)
    theirs = parent.state_dict()
    ours = network.state_dict()
    for name, weight in ours.items():
        if ".head." in name or ".exits." in name or (run.model.kind == "dilated" and not re.search(r"^embedding\.|\.stem\.", name)):
            continue
        source = re.sub(r"^members\.(\d+)", lambda found: f"members.{int(found[1]) % len(parent.members)}", name)
        weight.copy_(theirs[source])
    if transfer.adapt == "lora":
        for module in list(network.modules()):
            if isinstance(module, nn.Linear) and module not in _heads(network):
                parametrize.register_parametrization(module, "weight", LowRank(module.weight, transfer.lora_rank))
    if transfer.adapt in ("frozen", "lora"):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(".head." in name or name.endswith((".down", ".up")))


def _what_must_agree(run: RunFile) -> dict[str, Any]:
    """Keys of the run file that give weights their shape and their meaning."""
    model = run.model.model_dump(include=STEM) if run.model.kind == "dilated" else run.model.model_dump(exclude=FREE)
    if isinstance(run.model, AttentionModel):
        # These are left out of what is written where they are softmax and none.
        model |= {"mixer": run.model.mixer.model_dump(), "gates": run.model.gates.model_dump()}
    return {
        "data.alphabet": run.data.alphabet,
        **{f"tokens.{key}": value for key, value in run.tokens.model_dump().items()},
        **{f"model.{key}": value for key, value in model.items()},
    }


def _heads(network: Network) -> set[nn.Module]:
    return {module for name, module in network.named_modules() if re.match(r"members\.\d+\.head\b", name)}


def still(network: nn.Module, rate_of: Callable[[int], float] = lambda _: 1.0) -> None:
    """Let the batch norms whose weights are fixed, or whose layer has a rate of 0, normalise as they learnt to, and learn nothing more."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):  # of the stem or the CNN: of no block
            module.train(module.weight.requires_grad and rate_of(0) > 0)


def layer_of(name: str, num_layers: int) -> int:
    """The layer of a weight, by its name in the network."""
    if found := re.search(r"\.blocks\.(\d+)\.", name):
        return int(found[1]) + 1
    return num_layers + 1 if re.search(r"\.(head|encoder\.norm)\.", name) else 0


def rate_of_layer(layer: int, num_layers: int, step: int, transfer: Transfer | None) -> float:
    """What a layer's learning rate is multiplied by at a step; 0 while it is frozen."""
    if transfer is None:
        return 1.0
    below = num_layers + 1 - layer  # the head
    if transfer.adapt == "gradual" and below > step // transfer.unfreeze_every:
        return 0.0
    return transfer.layer_decay**below


def merged(network: Network) -> dict[str, Tensor]:
    """The weights of a network as those of one without LoRA."""
    weights = network.state_dict()
    for name, module in network.named_modules():
        # Not by remove_parametrizations: a copy of a network shares its classes, and that takes `weight` from all of them.
        if parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations["weight"][0], LowRank):
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.parametrizations.weight.")}
            weights[f"{name}.weight"] = module.weight.detach()
    return weights
