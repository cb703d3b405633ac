"""Build the network of a run file.

Initial weights are random numbers of torch's global generator, so the order in which the parts are
built matters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.parametrize import register_parametrization

from selfattn_bio import config
from selfattn_bio.model.classifier import (
    AttentionBody,
    Body,
    BothStrandsNetwork,
    Network,
    PairedNetwork,
    SharedByStrands,
)
from selfattn_bio.model.cnn import Cnn, Dilated
from selfattn_bio.model.paired import PairedBody
from selfattn_bio.model.pretrained.network import PretrainedNetwork
from selfattn_bio.model.user_module import build_module
from selfattn_bio.sequence.kmers import partner_tokenizer_of, tokenizer_of


def build_network(run: config.RunFile) -> Network:
    """Build the network of a run file."""
    tokenizer = tokenizer_of(run)
    size = tokenizer.vocabulary_size
    if isinstance(run.model, config.ModuleModel):
        return build_module(run.model, size, num_outputs(run), place=str(run.path or ""))
    if isinstance(run.model, config.PretrainedModel):
        per_letter = run.objective.is_per_token
        return PretrainedNetwork(
            run.model, tokenizer.alphabet, num_outputs(run), per_letter=per_letter
        )
    total = size + (partner_tokenizer_of(run).vocabulary_size if run.partner else 0)
    members = build_members(run.model, num_outputs(run), run.objective)
    if isinstance(run.model, config.PairedModel):
        network: Network = PairedNetwork(members, size, total - size)
    elif run.shares_strands:
        network = BothStrandsNetwork(members, torch.from_numpy(tokenizer.complement()))
    else:
        network = Network(members, size)
    if run.tokens.canonical:
        canonical = torch.cat((torch.from_numpy(tokenizer.canonical()), torch.arange(size, total)))
        register_parametrization(network.embedding, "weight", SharedByStrands(canonical))
    return network


def build_members(
    section: config.AnyModel, num_outputs: int, objective: config.AnyObjective
) -> list[Body]:
    """Build the members of a network.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs per sequence, token, bin or base.
    objective
        Section [objective].
    """
    if isinstance(section, config.CnnModel):
        return [Cnn(section, num_outputs) for _ in range(section.members)]
    kinds: Any = {"attention": AttentionBody, "paired": PairedBody, "dilated": Dilated}
    return [kinds[section.kind](section, num_outputs, objective) for _ in range(section.members)]


def num_outputs(run: config.RunFile) -> int:
    """Return the number of outputs per sequence, token or bin of the objective."""
    return run.objective.num_outputs(tokenizer_of(run).vocabulary_size)
