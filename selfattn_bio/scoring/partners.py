"""Read the second input of sequences that are scored or explained, and match it to the first.

The second input can be a file or list of sequences, or a file or arrays of numbers. It is matched
by id or by order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.config import TrackPartner
from selfattn_bio.data.partner import open_numbers
from selfattn_bio.errors import ArgumentError
from selfattn_bio.scoring.inputs import Input, Inputs, read_inputs
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import Scale

Letters = NDArray[np.uint8]
Partners = (
    Inputs | Sequence[Any] | Mapping[str, Any]
)  # sequences, or arrays of numbers in order or by id


def read_partners(scorer: Scorer, partner: Partners | None) -> Callable[[Input], Letters] | None:
    """Return a function that gives the partner of a sequence as the ASCII symbols the model reads.

    Returns None for a model with one input.

    Raises
    ------
    ArgumentError
        If a model with two inputs gets no partner, or a model with one input gets one. The returned
        function raises it for a sequence without a partner, and for numbers that are not one per
        position.
    SequenceFileError, IntervalError
        If a file is missing or malformed.
    """
    if not isinstance(scorer, PairedScorer):
        if partner is not None:
            raise ArgumentError("partner was given, but this model has only one input")
        return None
    if partner is None:
        raise ArgumentError("this model has two inputs; pass the second one as partner")
    section = scorer.run.partner
    if isinstance(section, TrackPartner):
        find, scale = _numbers(partner), Scale(section.low, section.high)

        def level(each: Input) -> Letters:
            numbers = find(each)
            if numbers is None:
                raise ArgumentError(f"no partner for sequence {each.id!r}")
            if numbers.shape != (len(each.letters),):
                raise ArgumentError(
                    f"the partner of {each.id!r} has shape {numbers.shape}, but the sequence has "
                    f"{len(each.letters)} positions"
                )
            return scale.letters(numbers)

        return level
    k = scorer.partner_tokenizer.k
    known = {each.id: each.letters for each in read_inputs(scorer.partner_policy, partner, k)}  # type: ignore[arg-type]

    def sequence(each: Input) -> Letters:
        if each.id not in known:
            raise ArgumentError(f"no partner for sequence {each.id!r}")
        return known[each.id]

    return sequence


def _numbers(partner: Partners) -> Callable[[Input], NDArray[np.float64] | None]:
    """Return a function that gives the numbers of a sequence."""
    if isinstance(partner, str | Path):
        of_file = open_numbers(str(partner))

        def along(each: Input) -> NDArray[np.float64] | None:
            chrom, start, _, strand, _ = each.place or (None, None, None, None, None)
            return of_file(
                SimpleNamespace(
                    id=each.id, chrom=chrom, start=start, strand=strand, length=len(each.letters)
                )
            )

        return along
    given = (
        partner
        if isinstance(partner, Mapping)
        else {str(number): row for number, row in enumerate(partner)}
    )

    def of_array(each: Input) -> NDArray[np.float64] | None:
        if each.id not in given:
            return None
        try:
            return np.asarray(given[each.id], dtype=np.float64)
        except (TypeError, ValueError):
            got = type(given[each.id]).__name__
            raise ArgumentError(
                f"the partner of {each.id!r} is a {got}, but the model reads a track: pass one "
                "number per position"
            ) from None

    return of_array
