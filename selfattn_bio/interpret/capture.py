"""Capture queries, keys and values of a model as it scores sequences: `read_attention`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfattn_bio.attention.inputs import AttentionInputs, prepare
from selfattn_bio.attention.mask import AttentionMask
from selfattn_bio.attention.mixers import Softmax
from selfattn_bio.config import AttentionModel, SoftmaxMixer
from selfattn_bio.data.batches import pad_letters
from selfattn_bio.errors import ArgumentError
from selfattn_bio.interpret.readout import AttentionReading
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.encoder import SelfAttention
from selfattn_bio.model.exits import through_all_layers
from selfattn_bio.model.heads import ClsHead
from selfattn_bio.scoring.inputs import read_sequences
from selfattn_bio.scoring.loading import load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer

T = TypeVar("T")


def read_attention(
    model: Scorer | str | Path, sequences: Sequence[str] | str | Path
) -> AttentionReading:
    """Read a model's attention on sequences, all in one batch.

    `read_attention("results/promoter/model", ["ACGT..."]).edges()` lists the largest weights.

    Parameters
    ----------
    model
        A model folder, or a model returned by `load`. If that has several `members`, read each of
        them.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip).

    Raises
    ------
    SequenceFileError
        If the file is malformed, a character is not in the alphabet, or a record is shorter than
        the model's k.
    ValueError
        If there is no sequence, a string is shorter than the model's k, `model` is several models,
        or the network has no attention, for example a CNN.
    """
    scorer = load_single(model)
    check_one_input(scorer, "attention")
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise ValueError("no sequences to read attention for")
    return read_letters(scorer, pad_letters(letters), ids)


def has_attention(scorer: Scorer) -> bool:
    """Return whether all members have attention weights that can be read.

    CNNs, mixers other than softmax, networks with two inputs and members without heads have none.
    """
    if not all(isinstance(member, AttentionBody) for member in scorer.network.members):
        return False
    of_members = [
        [module.mixer for module in member.modules() if isinstance(module, SelfAttention)]
        for member in scorer.network.members
    ]
    return all(
        mixers and all(isinstance(mixer, Softmax) for mixer in mixers) for mixers in of_members
    )


def read_letters(
    scorer: Scorer, letters: NDArray[np.uint8], ids: list[str], target: Target | None = None
) -> AttentionReading:
    """Read the attention on ASCII letters (B, L), padded with 0; with a target, its gradients too.

    With `strands = "shared"`, the attention on the given strand is read.

    Raises
    ------
    ArgumentError
        If the network has no attention weights, for example a CNN or a mixer other than softmax.
    """
    members = scorer.network.members
    if not has_attention(scorer):
        model = scorer.run.model
        if not isinstance(model, AttentionModel):
            reason = f"models of kind {model.kind!r} have no attention"
        elif isinstance(model.mixer, SoftmaxMixer):
            reason = "all attention heads of a member were pruned"
        else:
            reason = f"mixer {model.mixer.kind!r} does not compute attention weights"
        raise ArgumentError(f"cannot read attention: {reason}")
    tokens = scorer.tokens(letters)
    strands = (
        2 if scorer.run.shares_strands else 1
    )  # rows of the network per sequence, the given strand first
    layers: dict[Any, AttentionInputs] = {}
    norms: dict[Any, Tensor] = {}
    above: dict[Any, Tensor] = {}  # gradients at the heads' outputs, by their gates module

    def keep(module: SelfAttention, inputs: tuple[Tensor, AttentionMask]) -> None:
        x, mask = inputs[0][::strands], inputs[1].select(slice(None, None, strands))
        assert isinstance(module.mixer, Softmax)  # ensured by has_attention
        with torch.no_grad():
            layer = prepare(
                *module.qkv(x), pattern=module.mixer.pattern, position=module.position, mask=mask
            )
            # (H, D, Dh)
            out = module.out.weight.unflatten(1, (layer.q.shape[1], -1)).transpose(0, 1)
            passed = module.gates(layer.v)
            squares = (passed @ (out.transpose(1, 2) @ out) * passed).sum(-1)
        layers[module], norms[module] = layer, squares.clamp(min=0).sqrt()

    def keep_output(module: nn.Module, inputs: tuple[Tensor]) -> None:
        above[module] = inputs[0]

    def ordered(found: dict[Any, T]) -> tuple[tuple[T, ...], ...]:
        return tuple(tuple(found[module] for module in modules) for modules in attention)

    attention = [
        [each for each in member.modules() if isinstance(each, SelfAttention)] for member in members
    ]
    handles = [
        module.register_forward_pre_hook(keep) for modules in attention for module in modules
    ]
    handles += [
        module.gates.register_forward_pre_hook(keep_output)
        for modules in attention
        for module in modules
    ]
    try:
        if target is None:
            with torch.inference_mode(), through_all_layers(scorer.network):
                scorer.network(tokens)
        else:
            with torch.enable_grad(), through_all_layers(scorer.network):
                value = target.of(scorer, scorer.network(tokens).mean(1), tokens).sum()
            gradients = torch.autograd.grad(value, list(above.values()))
            by_gates = dict(zip(above, gradients, strict=True))
            above = {module: by_gates[module.gates][::strands] for module in layers}
    finally:
        for handle in handles:
            handle.remove()
    of_tokens = scorer.tokenizer.spans(tokens.shape[1])  # (N, 2)
    body: AttentionBody = members[0]  # type: ignore[assignment]
    pool, prefix = body.stem.pool, body.head.num_prefix
    starts, ends = (
        of_tokens[::pool, 0],
        of_tokens[
            np.minimum(np.arange(pool - 1, len(of_tokens) + pool - 1, pool), len(of_tokens) - 1), 1
        ],
    )
    spans = np.concatenate([np.full((prefix, 2), -1), np.stack([starts, ends], axis=1)]).astype(
        np.int64
    )
    lengths = np.count_nonzero(letters, axis=1)
    seen = np.arange(len(spans)) == 0 if isinstance(body.head, ClsHead) else spans[:, 0] >= 0
    return AttentionReading(
        ids,
        ordered(layers),
        spans,
        lengths,
        seen,
        ordered(norms),
        ordered(above) if target else (),
    )
