"""From a pretrained model to a new task: whose weights it starts from, which of them move, and how fast.

Hides: names of weights, layers, LoRA. The loop alone uses it. Layers are counted from the input: the embedding and the stem are 0, the
blocks 1 to N, what is above them (the last norm, the head) N + 1.
"""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from selfattn_bio.config import RunFile, Transfer
from selfattn_bio.errors import RunFileError
from selfattn_bio.model.checkpoint import load_model, read_provenance
from selfattn_bio.model.classifier import Network


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

    Each member takes those of one of the parent's members in turn.

    Raises
    ------
    ModelFolderError
        If the parent's folder is not whole.
    RunFileError
        If the parent is of another alphabet, or of other [tokens] or layers.
    """
    parent_run, parent, _ = load_model(transfer.folder)
    cure = f"[tokens] and [model] must be those of {transfer.folder / 'run.toml'}, but for members, dropout and head"
    if (parent_run.data.alphabet, parent_run.tokens) != (run.data.alphabet, run.tokens):
        raise RunFileError("parent must have the tokens of the run, got others", place=place, cure=cure)
    theirs = parent.state_dict()
    ours = network.state_dict()
    for name, weight in ours.items():
        if ".head." in name:
            continue
        source = re.sub(r"^members\.(\d+)", lambda found: f"members.{int(found[1]) % len(parent.members)}", name)
        if source not in theirs or theirs[source].shape != weight.shape:
            got = f"shape {tuple(theirs[source].shape)}" if source in theirs else "none"
            raise RunFileError(f"parent must have {source} of shape {tuple(weight.shape)}, got {got}", place=place, cure=cure)
        weight.copy_(theirs[source])
    if transfer.adapt == "lora":
        for module in list(network.modules()):
            if isinstance(module, nn.Linear) and module not in _heads(network):
                parametrize.register_parametrization(module, "weight", LowRank(module.weight, transfer.lora_rank))
    if transfer.adapt in ("frozen", "lora"):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(".head." in name or name.endswith((".down", ".up")))


def _heads(network: Network) -> set[nn.Module]:
    return {module for name, module in network.named_modules() if re.match(r"members\.\d+\.head\b", name)}


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
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if parametrize.is_parametrized(module) and any(isinstance(each, LowRank) for each in module.parametrizations["weight"]):  # type: ignore[index]
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return plain.state_dict()


def parents_of(folder: Path) -> list[dict[str, Any]]:
    """What a model folder's provenance says of its parents: the parent itself, and those before it."""
    provenance = read_provenance(folder)
    told = ("weights_sha256", "corpus_fingerprint", "data", "num_train", "num_valid")
    return [{"folder": str(folder)} | {key: provenance.get(key) for key in told}, *provenance.get("parents", [])]
