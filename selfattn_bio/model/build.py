"""Build the network of a run file.

The modules of this package take plain arguments; this module translates the sections of a run file
into them. Initial weights are random numbers of torch's global generator, so the order in which
the parts are built matters.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from selfattn_bio import config
from selfattn_bio.attention.mixers import build_mixer
from selfattn_bio.attention.positions import build_absolute, build_position
from selfattn_bio.model.classifier import (
    AttentionBody,
    Body,
    BothStrandsNetwork,
    Network,
    PairedNetwork,
    SharedByStrands,
)
from selfattn_bio.model.cnn import Cnn
from selfattn_bio.model.dilated import Dilated
from selfattn_bio.model.encoder import Encoder
from selfattn_bio.model.exits import ConfidenceExits, LastLayer
from selfattn_bio.model.heads import BinHead, ClsHead, Head, PoolingHead, TokenHead
from selfattn_bio.model.paired import CrossBlock, Graded, PairedBody
from selfattn_bio.model.stem import BatchNorm, ConvStem, NoStem, RecordNorm, Stem, TowerStem
from selfattn_bio.model.user_module import build_module
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.kmers import SPECIAL, KmerTokenizer
from selfattn_bio.sequence.policy import SequencePolicy


def build_network(run: config.RunFile) -> Network:
    """Build the network of a run file."""
    tokenizer = tokenizer_of(run)
    size = tokenizer.vocabulary_size
    if isinstance(run.model, config.ModuleModel):
        return build_module(run.model, size, num_outputs(run), place=str(run.path or ""))
    total = size + (partner_tokenizer_of(run).vocabulary_size if run.partner else 0)
    members = build_members(run.model, num_outputs(run), run.objective.outputs_per)
    gates = getattr(run.model, "gates", None)
    penalty = gates.penalty if isinstance(gates, config.HardConcreteGates) else 0.0
    if isinstance(run.model, config.PairedModel):
        network: Network = PairedNetwork(members, size, total - size)
    elif run.shares_strands:
        complement = torch.from_numpy(tokenizer.complement())
        network = BothStrandsNetwork(members, complement, gate_penalty=penalty)
    else:
        network = Network(members, size, gate_penalty=penalty)
    if run.tokens.canonical:
        canonical = torch.cat((torch.from_numpy(tokenizer.canonical()), torch.arange(size, total)))
        register_parametrization(network.embedding, "weight", SharedByStrands(canonical))
    if isinstance(run.partner, config.TrackPartner):
        register_parametrization(
            network.embedding, "weight", Graded(size + len(SPECIAL), total - 1)
        )
    return network


def build_members(
    section: config.AnyModel, num_outputs: int = 1, outputs_per: str = "sequence"
) -> list[Body]:
    """Build the members of a network, pruned if [model] gates lists what remains.

    Parameters
    ----------
    section
        Section [model].
    num_outputs
        Number C of outputs per sequence, token or bin.
    outputs_per
        "sequence", "token" or "position" of the encoder.
    """
    members = [build_member(section, num_outputs, outputs_per) for _ in range(section.members)]
    gates = getattr(section, "gates", None)
    if isinstance(gates, config.PrunedGates):
        for member, layers in zip(members, gates.members, strict=True):
            kept = [(layer.heads, layer.feedforward) for layer in layers]
            member.encoder.prune_to(kept)  # type: ignore[operator, union-attr]
    return members


def build_member(section: config.AnyModel, num_outputs: int, outputs_per: str) -> Body:
    """Build one member; arguments are those of `build_members`."""
    match section:
        case config.AttentionModel():
            return AttentionBody(
                build_stem(section.stem, section.embed_dim, section.dropout),
                build_encoder(section),
                build_head(section, num_outputs, outputs_per),
                ConfidenceExits() if section.exits.kind == "confidence" else LastLayer(),
            )
        case config.CnnModel():
            return Cnn(
                section.embed_dim,
                num_outputs,
                channels=section.channels,
                kernels=section.kernels,
                pools=section.pools,
                bins=section.bins,
                hidden_dim=section.hidden_dim,
                dropout=section.dropout,
            )
        case config.DilatedModel():
            return Dilated(
                build_stem(section.stem, section.embed_dim, section.dropout),
                section.embed_dim,
                num_outputs,
                dilations=section.dilations,
                kernel=section.kernel,
                dropout=section.dropout,
            )
        case config.PairedModel():
            return _build_pair(section, num_outputs, outputs_per)
        case config.ModuleModel():
            raise ValueError("the network of a user's module is built by build_network")


def _build_pair(section: config.PairedModel, num_outputs: int, outputs_per: str) -> PairedBody:
    first, partner = section.encoder, section.of_partner
    return PairedBody(
        build_stem(first.stem, first.embed_dim, first.dropout),
        build_encoder(first),
        build_stem(partner.stem, partner.embed_dim, partner.dropout),
        build_encoder(partner),
        [
            CrossBlock(
                first.embed_dim,
                first.num_heads,
                partner.embed_dim,
                position=partial(
                    build_position, section.cross_position, first.num_heads, first.head_dim
                ),
                num_kv_heads=first.num_kv_heads,
                feedforward_dim=first.feedforward_dim,
                dropout=first.dropout,
                attention_dropout=first.attention_dropout,
            )
            for _ in range(section.cross_layers)
        ],
        build_head(first, num_outputs, outputs_per),
    )


def build_encoder(section: config.AttentionModel) -> Encoder:
    """Build the encoder of a section [model], with gates if it has some."""
    absolute = build_absolute(section.position, section.embed_dim)
    relative = partial(build_position, section.position, section.num_heads, section.head_dim)
    encoder = Encoder(
        section.embed_dim,
        section.num_layers,
        section.num_heads,
        pattern=partial(build_mixer, section),
        position=relative if isinstance(absolute, nn.Identity) else absolute,
        num_kv_heads=section.num_kv_heads,
        feedforward_dim=section.feedforward_dim,
        dropout=section.dropout,
        stochastic_depth=section.stochastic_depth,
        bias=section.gates.kind == "none",
    )
    encoder.set_attention_dropout(section.attention_dropout)
    if section.gates.kind == "hard_concrete":
        encoder.add_gates()
    return encoder


def build_stem(section: config.AnyStem, embed_dim: int, dropout: float) -> Stem:
    """Build the stem that the run file names, with outputs of size `embed_dim`."""
    match section:
        case config.ConvStemSection():
            return ConvStem(
                section.token_dim,
                embed_dim,
                kernel=section.kernel,
                pool=section.pool,
                second_kernel=section.second_kernel,
                norm=BatchNorm if section.norm == "batch" else RecordNorm,
                dropout=dropout,
            )
        case config.TowerStemSection():
            return TowerStem(
                section.token_dim,
                embed_dim,
                channels=section.channels,
                kernels=section.kernels,
                pools=section.pools,
                residual_kernel=section.residual_kernel,
            )
        case config.NoStemSection():
            return NoStem(embed_dim)


def build_head(section: config.AttentionModel, num_outputs: int, outputs_per: str) -> Head:
    """Build the head that the run file names.

    Objectives with outputs per token or bin have only one possible head, so `section.head` is
    ignored for them. Arguments are those of `build_members`.
    """
    if outputs_per == "token":
        pool = section.stem.pool if isinstance(section.stem, config.ConvStemSection) else 1
        return TokenHead(section.embed_dim, num_outputs, pool)
    if outputs_per == "position":
        return BinHead(section.embed_dim, num_outputs, getattr(section.pattern, "num_global", 0))
    if isinstance(section.head, config.PoolingHeadSection):
        return PoolingHead(
            section.embed_dim, section.num_heads, section.head.parts, section.dropout, num_outputs
        )
    return ClsHead(section.embed_dim, section.dropout, num_outputs)


def num_outputs(run: config.RunFile) -> int:
    """Return the number of outputs per sequence, token or bin of the objective."""
    return run.objective.num_outputs(tokenizer_of(run).vocabulary_size)


def tokenizer_of(run: config.RunFile) -> KmerTokenizer:
    """Build the tokenizer that a run file describes."""
    return KmerTokenizer(get_alphabet(run.data.alphabet), k=run.tokens.k, stride=run.tokens.stride)


def partner_tokenizer_of(run: config.RunFile) -> KmerTokenizer:
    """Build the tokenizer of the second of two inputs.

    Raises
    ------
    ValueError
        If the run has no partner.
    """
    if run.partner is None:
        raise ValueError("the run file has no section [partner]")
    return KmerTokenizer(
        get_alphabet(run.partner.alphabet), k=run.partner.k, stride=run.partner.stride
    )


def policy_of(data: config.Data) -> SequencePolicy:
    """Return how the records of [data] are read.

    A soft mask that is kept is stored separately from the sequence.
    """
    return SequencePolicy(
        get_alphabet(data.alphabet),
        "hard" if data.soft_mask == "hard" else "ignore",
        data.gaps,
        data.columns.get("id", "id"),
        data.columns.get("sequence", "sequence"),
    )
