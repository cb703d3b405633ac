"""Explain a model's scores position by position: `explain` returns an `Explanation`.

Models with one and two inputs share this code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.attribution.capture import has_attention, read_letters
from selfattn_bio.attribution.explanation import INTERVAL, OF_RECORDS, Explanation
from selfattn_bio.attribution.methods import (
    AttnLRPCopies,
    AttributionMethod,
    ByGradient,
    Method,
    Received,
    Saturation,
    hypothetical_scores,
)
from selfattn_bio.attribution.readout import AttentionMap
from selfattn_bio.attribution.rules import BATCH, backward_batches
from selfattn_bio.attribution.targets import Target
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.errors import ArgumentError
from selfattn_bio.log import Progress
from selfattn_bio.scoring.inputs import PLACE, Inputs, read_inputs
from selfattn_bio.scoring.loading import load_single
from selfattn_bio.scoring.paired_scorer import PairedScorer, read_partners
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Ascii, Letters
from selfattn_bio.sequence.kmers import pad_letters

MAP_BINS = 150  # maximum number of intervals per axis of a map


def attention_maps(scorer: Scorer, letters: Ascii, bins: int = MAP_BINS) -> list[AttentionMap]:
    """Return the attention map of each layer for one sequence, averaged over heads.

    The maps are those of the first member of the network. They show where the model attends. They
    do not explain its output.

    Parameters
    ----------
    scorer
        A model with attention (`capture.has_attention`).
    letters
        (L,) ASCII.
    bins
        Largest number of intervals per axis.

    Returns
    -------
    One map per layer, (S, S) with S <= `bins`; all have the same edges.

    Raises
    ------
    ArgumentError
        If the network has no attention, for example a CNN, or `bins` is not positive.
    """
    reading = read_letters(scorer, letters[None], [""])
    return [reading.map(layer=layer, bins=bins) for layer in range(len(reading.layers[0]))]


def explain(
    model: Scorer | str | Path,
    sequences: Sequence[str] | str | Path,
    *,
    genome: str | Path | None = None,
    partner: Inputs | None = None,
    method: Method | None = None,
    target: Target | str | int | None = None,
) -> Explanation:
    """Explain an output of each sequence, position by position.

    `explain("results/promoter/model", ["ACGT..."]).attribution[0]` has one number per position.

    Parameters
    ----------
    model
        A model folder, or a model returned by `load`. An ensemble of several models is refused:
        explain each of its `members`.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip); with `genome` a BED or GFF file.
        Coordinates in FASTA headers are kept.
    genome
        FASTA file of the intervals, plain or bgzip.
    partner
        Second input of each sequence for models with two inputs, as in `score_sequences`. It is
        explained as well.
    method
        One of `attribution.methods`, such as `Saturation()`, which is the default for a user's
        module and a pretrained model; otherwise `AttnLRPCopies()` is.
    target
        Name or index of the output to explain, such as "heart"; required for models with several.
        For models with outputs per token or bin, a `Target` also has the span.

    Returns
    -------
    The explanation, with one row per sequence in the given order.

    Raises
    ------
    SequenceFileError
        If the file is malformed, a character is not in the alphabet, or a record is shorter than
        the model's k.
    ArgumentError
        If there is no sequence, a string is shorter than the model's k, `model` is an ensemble of
        several models or lacks the target, or a partner is missing or superfluous. Also if the
        method is not a method object (for example the name of a kind), or requires attention that
        the network does not have.
    """
    if method is not None and not isinstance(method, Method):
        raise ArgumentError(
            f"{method!r} is not a method of selfattn_bio.attribution.methods; pass an object such "
            "as Guided()"
        )
    scorer = load_single(model)
    inputs = list(read_inputs(scorer.policy, sequences, scorer.tokenizer.k, genome))
    records = pd.DataFrame({"id": [each.id for each in inputs]})
    if any(each.place for each in inputs):
        places = [(each.place or [None] * len(PLACE))[: len(INTERVAL)] for each in inputs]
        records = records.join(pd.DataFrame(places, columns=INTERVAL))
    partner_of = read_partners(scorer, partner)
    if method is None:
        method = AttnLRPCopies() if scorer.network.has_rules else Saturation()
    options: dict[str, Any] = {"method": method, "target": Target.of_name(target)}
    if partner_of:
        pairs = [RecordPair(each.letters, partner_of(each)) for each in inputs]
        return explain_pairs(scorer, pairs, records, **options)
    return explain_letters(scorer, [each.letters for each in inputs], records, **options)


def explain_pairs(
    scorer: Scorer,
    pairs: Sequence[RecordPair],
    records: pd.DataFrame,
    *,
    method: Method,
    target: Target = Target(),  # noqa: B008
    place: str = "",
) -> Explanation:
    """Explain both inputs of a model with two inputs, each with the other one fixed.

    Both are explained at the given pair, so the conservation rule of AttnLRP holds for the sum of
    the attributions of both inputs. Gradient methods process batches of pairs, other methods one
    pair at a time.

    Parameters
    ----------
    scorer
        A model with two inputs, a `PairedScorer`.
    pairs
        Both inputs of each record, ASCII.
    records, method, target, place
        As in `explain_letters`; one row of `records` per pair.

    Returns
    -------
    The explanation of the first inputs; its `partner` explains the second inputs.

    Raises
    ------
    ArgumentError
        As for `explain_letters`. Also if the method is based on attention, which does not support
        two inputs.
    """
    assert isinstance(scorer, PairedScorer)
    if not isinstance(method, AttributionMethod):
        raise ArgumentError(f"method {method.name!r} cannot explain models with two inputs")
    if not pairs:
        raise ArgumentError("no sequences to explain")
    parts: tuple[list[Explanation], list[Explanation]] = ([], [])  # of first and second inputs
    first, partner = [pair.first for pair in pairs], [pair.partner for pair in pairs]
    partner_records = records.drop(columns=list(INTERVAL), errors="ignore")
    # of a method without backward passes, one pair at a time
    copies = method.rows_per_sequence if isinstance(method, ByGradient) else BATCH
    batches = backward_batches(first, partner, copies=copies)
    explained = partial(explain_letters, method=method, target=target)
    for batch in _with_time_left(batches, len(pairs), place):
        views = (
            (scorer.of_input("first", pairs[batch]), first, records),
            (scorer.of_input("partner", pairs[batch]), partner, partner_records),
        )
        for explanations, (view, letters, table) in zip(parts, views, strict=True):
            explanations.append(explained(view, letters[batch], table.iloc[batch]))
    partner_explained = replace(joined(parts[1]), input="partner")
    return replace(joined(parts[0]), input="first", partner=partner_explained)


def _with_time_left(batches: Iterable[slice], total: int, place: str) -> Iterator[slice]:
    """Yield the batches of `total` records, and report the time left after `place`."""
    progress = Progress()
    for batch in batches:
        yield batch
        done = min(batch.stop, total)
        if total > batch.stop - batch.start:
            text = partial("{}{:,} of {:,} records{}".format, place, done, total)
            progress.update(text, done / total)


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Concatenate explanations of the same model, padded to the longest sequence."""
    partners = [part.partner for part in parts if part.partner]
    length = max(part.letters.shape[1] for part in parts)

    def padded(arrays: Iterable[NDArray[Any]]) -> Any:
        return np.concatenate(
            [
                np.pad(each, [(0, 0), (0, length - each.shape[1])] + [(0, 0)] * (each.ndim - 2))
                for each in arrays
            ]
        )

    return replace(
        parts[0],
        records=pd.concat([part.records for part in parts], ignore_index=True),
        numbers=tuple(dict.fromkeys(name for part in parts for name in part.numbers)),
        partner=joined(partners) if partners else None,
        **{name: padded(getattr(part, name) for part in parts) for name in OF_RECORDS},
    )


def explain_letters(
    scorer: Scorer,
    letters: Letters,
    records: pd.DataFrame,
    *,
    method: Method,
    target: Target = Target(),  # noqa: B008
    place: str = "",
) -> Explanation:
    """Explain ASCII arrays, given a table of their records; see `explain`.

    Parameters
    ----------
    scorer
        The model.
    letters
        (L,) upper-case ASCII for each sequence; lengths may differ.
    records
        One row per sequence: id, optionally chrom, start, end, strand, and any further columns.
    method, target
        How to explain, and which output.
    place
        Start of progress lines.

    Raises
    ------
    ArgumentError
        If there is no sequence, one is shorter than the model's k, the model lacks the target, or
        the method requires attention that the network does not have.
    """
    if not len(letters):
        raise ArgumentError("no sequences to explain")
    if short := [len(row) for row in letters if len(row) < scorer.tokenizer.k]:
        raise ArgumentError(
            f"a sequence has length {min(short)}, but the model needs at least "
            f"k = {scorer.tokenizer.k}"
        )
    method.check(scorer)
    target.check(scorer, [len(row) for row in letters])
    padded = pad_letters(list(letters))
    size = len(scorer.alphabet.letters) if isinstance(method, AttributionMethod) else 0
    hypothetical = np.zeros((*padded.shape, size), dtype=np.float32)
    attention = np.zeros(padded.shape, dtype=np.float32)
    # copies take long: report the progress more often
    has_copies = isinstance(method, ByGradient) and method.rows_per_sequence > 1
    step = BATCH // 4 if has_copies else BATCH
    slices = (slice(start, start + step) for start in range(0, len(letters), step))
    for batch_slice in _with_time_left(slices, len(letters), place):
        start, batch = batch_slice.start, letters[batch_slice]
        if isinstance(method, AttributionMethod):
            is_read = start % BATCH == 0 and has_attention(scorer)
            some = letters[start : start + BATCH] if is_read else []
            attended = Received().attribution(scorer, some, target)
            for row, scores in enumerate(hypothetical_scores(method, scorer, batch, target), start):
                hypothetical[row, : len(scores)] = scores
        else:
            attended = method.attribution(scorer, batch, target)
        for row, received in enumerate(attended, start):
            attention[row, : len(received)] = received
    table = records.reset_index(drop=True).assign(
        target=target.label(scorer), length=[len(row) for row in letters]
    )
    return Explanation(
        table.reindex(columns=[*table, *(name for name in INTERVAL if name not in table)]),
        padded,
        hypothetical,
        attention,
        scorer.alphabet.name,
        method=method.name,
        numbers=(target.label(scorer),) if target.is_number(scorer) else (),
    )
