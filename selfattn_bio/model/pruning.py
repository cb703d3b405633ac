"""From a network with gates to the same network without what they closed.

Hides: nothing. `scoring.pruning` makes a model folder of it; `Block.keep` of the encoder cuts.
"""

from __future__ import annotations

from torch import nn

from selfattn_bio import config
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import AttentionBody, Network
from selfattn_bio.model.encoder import Block, SelfAttention
from selfattn_bio.model.gates import HardConcrete


def prune_network(run: config.RunFile, network: Network) -> config.RunFile:
    """Cut out of a network, in place, what its gates closed; of what stays gates become part of the weights.

    Returns
    -------
    The run file of what it is now.

    Raises
    ------
    ArgumentError
        If it has no gates.
    """
    model = run.model
    if not isinstance(model, config.AttentionModel) or not isinstance(model.gates, config.HardConcreteGates):
        kind = model.gates.kind if isinstance(model, config.AttentionModel) else "none"
        cure = "it is pruned already" if kind == "pruned" else "train it with gates in [model]"
        raise ArgumentError(f"model must have gates of kind 'hard_concrete' to be pruned, got {kind!r}: {cure}")
    members = []
    for body in network.members:
        assert isinstance(body, AttentionBody)
        layers = tuple(_kept(block) for block in body.encoder.blocks)
        body.encoder.keep(layers)
        members.append(layers)
    gates = config.PrunedGates(members=tuple(members))
    return run.model_copy(update={"model": model.model_copy(update={"gates": gates})})


def _kept(block: nn.Module) -> config.KeptLayer:
    assert isinstance(block, Block)
    assert isinstance(block.attention, SelfAttention)
    heads, feedforward = block.attention.gates, block.feedforward_gate
    assert isinstance(heads, HardConcrete)
    assert isinstance(feedforward, HardConcrete)
    return config.KeptLayer(heads=tuple(heads.values().nonzero().flatten().tolist()), feedforward=bool(feedforward.values() > 0))
