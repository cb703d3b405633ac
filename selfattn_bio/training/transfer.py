"""Transfer learning: start from pretrained weights, and choose which layers train and how fast.

Layers are numbered from the input: the embedding and the stem are 0, the blocks 1 to N, and the
parts above them (the final norm, the head) N + 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from selfattn_bio.config import Adaptation, RunFile, Transfer
from selfattn_bio.errors import RunFileError
from selfattn_bio.model.checkpoint import load_model
from selfattn_bio.model.classifier import Network

# keys of [model] in which a child may differ from its parent
FREE = {"members", "dropout", "attention_dropout", "stochastic_depth", "head", "kernel"}
FREE |= {"pattern", "strands"}
HEAD = re.compile(r"members\.\d+\.head")  # new layers of a network
# last norms, of this package and of pretrained models
LAST = re.compile(r"\.(head|encoder\.norm)|final_(layer_)?norm|emb_layer_norm_after")
STEM = {"embed_dim", "stem"}  # keys of [model] that a model of kind "dilated" can take over


class LowRank(nn.Module):
    """Low-rank adaptation (LoRA): W + B A with W fixed and small A, B.

    It is a parametrization, so the layer needs no change. B starts at 0, so the network starts
    unchanged.

    References
    ----------
    Hu et al. 2021, with a scale of 1.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns).uniform_(-1, 1) / math.sqrt(columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Map the weight (rows, columns) to the adapted weight of the same shape."""
        return weight + self.up @ self.down


def start_from(network: Network, run: RunFile, transfer: Transfer, place: str) -> None:
    """Copy the parent's weights, except the head.

    A dilated CNN takes only embedding and stem. Member i takes the weights of the parent's member i
    modulo their number.

    Parameters
    ----------
    network
        The network to initialise, changed in place.
    run
        Its run file.
    transfer
        Section [transfer] of the run file.
    place
        Location for error messages.

    Raises
    ------
    ModelFolderError
        If the parent's folder is incomplete.
    RunFileError
        If the parent has another alphabet, other [tokens] or other layers.
    """
    parent_run, parent, _ = load_model(transfer.folder)
    hint = (
        f"Use the [tokens] and [model] of {transfer.folder / 'run.toml'}; only "
        f"{', '.join(sorted(FREE))} may differ"
    )
    of_parent = _keys_that_must_agree(parent_run)
    for key, value in _keys_that_must_agree(run).items():
        if of_parent.get(key) != value:
            message = f"{key} is {value}, but the parent has {of_parent.get(key)}"
            RunFileError.fail(message, place, hint)
    theirs = parent.state_dict()
    ours = network.state_dict()
    for name, weight in ours.items():
        if ".head." in name or (
            run.model.kind == "dilated" and not re.search(r"^embedding\.|\.stem\.", name)
        ):
            continue
        source = re.sub(
            r"^members\.(\d+)", lambda found: f"members.{int(found[1]) % len(parent.members)}", name
        )
        weight.copy_(theirs[source])


def adapt(network: Network, adaptation: Adaptation) -> None:
    """Freeze the weights that are not adapted, and add those of LoRA."""
    if adaptation.adapt == "lora":
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.Linear) and not HEAD.match(name):
                parametrize.register_parametrization(
                    module, "weight", LowRank(module.weight, adaptation.lora_rank)
                )
    if adaptation.adapt in ("frozen", "lora"):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(bool(HEAD.match(name)) or name.endswith((".down", ".up")))


def _keys_that_must_agree(run: RunFile) -> dict[str, Any]:
    """Return the keys of the run file that determine shape and meaning of the weights."""
    model = (
        run.model.model_dump(include=STEM)
        if run.model.kind == "dilated"
        else run.model.model_dump(exclude=FREE)
    )
    return {
        "data.alphabet": run.data.alphabet,
        **{f"tokens.{key}": value for key, value in run.tokens.model_dump().items()},
        **{f"model.{key}": value for key, value in model.items()},
    }


def freeze_batchnorm(network: nn.Module, rate_of: Callable[[int], float] = lambda _: 1.0) -> None:
    """Put frozen batch norms into evaluation mode.

    A batch norm is frozen if its weights are fixed or the learning rate of its layer is 0.
    """
    for module in network.modules():
        # in the stem or the CNN; blocks have none
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.train(module.weight.requires_grad and rate_of(0) > 0)


def layer_of(name: str, num_layers: int) -> int:
    """Return the layer number of a weight from its name."""
    if found := re.search(r"\.(?:blocks?|layers?)\.(\d+)\.", name):
        return int(found[1]) + 1
    return num_layers + 1 if LAST.search(name) else 0


def rate_of_layer(layer: int, num_layers: int, step: int, adaptation: Adaptation | None) -> float:
    """Return the factor on a layer's learning rate at a step; 0 while it is frozen."""
    if adaptation is None:
        return 1.0
    depth = num_layers + 1 - layer  # number of layers below the head
    if adaptation.adapt == "gradual" and depth > step // adaptation.unfreeze_every:
        return 0.0
    return adaptation.layer_decay**depth


def merge_lora(network: Network) -> dict[str, Tensor]:
    """Return the weights of a network with LoRA merged into its layers."""
    weights = network.state_dict()
    for name, module in network.named_modules():
        # remove_parametrizations would also remove `weight` from copies of the network, which share
        # its classes
        if parametrize.is_parametrized(module, "weight") and isinstance(
            module.parametrizations["weight"][0], LowRank
        ):
            for part in module.parametrizations["weight"].state_dict():
                del weights[f"{name}.parametrizations.weight.{part}"]
            weights[f"{name}.weight"] = module.weight.detach()
    return weights
