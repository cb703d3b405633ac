"""Capture queries, keys and values of a model as it scores sequences: `read_attention`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selfattn_bio.arrays import Integers
from selfattn_bio.attention.inputs import AttentionInputs, AttentionMask, prepare
from selfattn_bio.attribution.readout import AttentionReading
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.classifier import AttentionBody
from selfattn_bio.model.encoder import SelfAttention
from selfattn_bio.model.heads import ClsHead
from selfattn_bio.scoring.inputs import read_sequences
from selfattn_bio.scoring.loading import load_single
from selfattn_bio.scoring.paired_scorer import check_one_input
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.kmers import pad_letters


def read_attention(
    model: Scorer | str | Path, sequences: Sequence[str] | str | Path
) -> AttentionReading:
    """Read a model's attention on sequences, all in one batch.

    `read_attention("results/promoter/model", ["ACGT..."]).map()` has the weights of a layer.

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
    ArgumentError
        If there is no sequence, a string is shorter than the model's k, `model` is several models,
        or the network has no attention, for example a CNN.
    """
    scorer = load_single(model)
    check_one_input(scorer, "attention")
    ids, letters = read_sequences(scorer.policy, sequences, scorer.tokenizer.k)
    if not ids:
        raise ArgumentError("no sequences to read attention for")
    return read_letters(scorer, pad_letters(letters), ids)


def has_attention(scorer: Scorer) -> bool:
    """Return whether all members have attention weights that can be read.

    CNNs and networks with two inputs have none.
    """
    return all(isinstance(member, AttentionBody) for member in scorer.network.members)


def read_letters(scorer: Scorer, letters: Ascii, ids: list[str]) -> AttentionReading:
    """Read the attention on ASCII letters (B, L), padded with 0.

    With `strands = "shared"`, the attention on the given strand is read.

    Raises
    ------
    ArgumentError
        If the network has no attention weights, for example a CNN.
    """
    if not has_attention(scorer):
        kind = scorer.run.model.kind
        raise ArgumentError(f"cannot read attention: models of kind {kind!r} have no attention")
    tokens = scorer.tokens(letters)
    layers = [
        [module for module in member.modules() if isinstance(module, SelfAttention)]
        for member in scorer.network.members
    ]
    # rows of the network per sequence, the given strand first
    strands = 2 if scorer.run.shares_strands else 1
    found: dict[SelfAttention, AttentionInputs] = {}

    def keep(module: SelfAttention, inputs: tuple[Tensor, AttentionMask]) -> None:
        x, mask = inputs[0][::strands], inputs[1].select(slice(None, None, strands))
        found[module] = prepare(
            *module.qkv(x), pattern=module.pattern, position=module.position, mask=mask
        )

    with ExitStack() as hooks, torch.inference_mode():
        for module in chain.from_iterable(layers):
            hooks.enter_context(module.register_forward_pre_hook(keep))
        scorer.network(tokens)
    spans = _spans(scorer, tokens.shape[1])
    with_cls = isinstance(scorer.network.members[0].head, ClsHead)
    return AttentionReading(
        ids,
        tuple(tuple(found[module] for module in modules) for modules in layers),
        spans,
        lengths=np.count_nonzero(letters, axis=1),
        seen=np.arange(len(spans)) == 0 if with_cls else spans[:, 0] >= 0,
    )


def _spans(scorer: Scorer, num_tokens: int) -> Integers:
    """Return the letters [start, end) of each encoder position; -1 for [CLS]."""
    body: AttentionBody = scorer.network.members[0]  # type: ignore[assignment]
    of_tokens, pool = scorer.tokenizer.spans(num_tokens), body.stem.pool
    last = np.minimum(np.arange(pool - 1, num_tokens + pool - 1, pool), num_tokens - 1)
    spans = np.stack([of_tokens[::pool, 0], of_tokens[last, 1]], axis=1)
    prefix = np.full((body.head.num_prefix, 2), -1)
    return np.concatenate([prefix, spans]).astype(np.int64)
