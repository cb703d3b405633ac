"""Remove the parts of a network that its gates closed.

`scoring.pruning` writes the result as a model folder.
"""

from __future__ import annotations

from torch import nn

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import AttentionBody, Network
from selfattn_bio.model.encoder import EncoderBlock, SelfAttention
from selfattn_bio.model.gates import HardConcrete


def prune_network(run: config.RunFile, network: Network) -> config.RunFile:
    """Remove closed heads, feed-forwards and layers from a network, in place.

    The gates of the remaining parts are multiplied into their weights.

    Returns
    -------
    The run file of the pruned network.

    Raises
    ------
    ArgumentError
        If the network has no gates.
    """
    model = run.model
    if not isinstance(model, config.AttentionModel) or not isinstance(
        model.gates, config.HardConcreteGates
    ):
        if isinstance(model, config.AttentionModel) and model.gates.kind == "pruned":
            raise ArgumentError("the model is already pruned")
        raise ArgumentError("the model has no gates to prune", hint="Train it with [model] gates")
    members = []
    for body in network.members:
        assert isinstance(body, AttentionBody)
        layers = tuple(_kept(block) for block in body.encoder.blocks)
        body.encoder.prune_to([(layer.heads, layer.feedforward) for layer in layers])
        members.append(layers)
    gates = config.PrunedGates(members=tuple(members))
    return run.model_copy(update={"model": model.model_copy(update={"gates": gates})})


def _kept(block: nn.Module) -> config.KeptLayer:
    assert isinstance(block, EncoderBlock)
    assert isinstance(block.attention, SelfAttention)
    heads, feedforward = block.attention.gates, block.feedforward_gate
    assert isinstance(heads, HardConcrete)
    assert isinstance(feedforward, HardConcrete)
    return config.KeptLayer(
        heads=tuple(heads.values().nonzero().flatten().tolist()),
        feedforward=bool(feedforward.values() > 0),
    )
