"""Provide the inputs of a model for each record: its letters, or a `RecordPair` for two inputs.

To evaluate one of two inputs alone, the other can be taken from another record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from selfattn_bio.config import PairedModel, RunFile, TrackPartner
from selfattn_bio.data.batches import Augmentation, Letters, View
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError


class RecordPair(NamedTuple):
    """Both inputs of a record: ASCII letters (L,) and those of its partner (M,)."""

    first: Letters
    partner: Letters


class Inputs(Protocol):
    """Inputs of a model from a corpus."""

    def of(self, record: int) -> Any:
        """Return the input of a record, given its row: letters (L,) or a `RecordPair`."""

    def seen(
        self, augmentation: Augmentation, record: int, epoch: int, number: int
    ) -> tuple[Any, View]:
        """Return the augmented input for an epoch, and which part of the first input it shows."""


@dataclass(frozen=True)
class Alone:
    """Inputs that consist of the letters of the records."""

    corpus: Corpus

    def of(self, record: int) -> Letters:
        return self.corpus.letters(record)

    def seen(
        self, augmentation: Augmentation, record: int, epoch: int, number: int
    ) -> tuple[Letters, View]:
        return augmentation.view(self.corpus, record, epoch, number)


class Pairs:
    """Inputs that consist of the letters of the records and of their partners.

    If [training] `pairs` is not "given", one of the two inputs is taken from another record. This
    choice depends only on the seed. In training, tracks are shifted with the letters of their
    record; partner sequences are not.
    """

    def __init__(self, corpus: Corpus, run: RunFile) -> None:
        _check(corpus, run)
        self.corpus, self.is_track = corpus, isinstance(run.partner, TrackPartner)
        self._first = self._partner = np.arange(len(corpus))
        shuffled = np.random.default_rng((run.training.seed, len(corpus))).permutation(len(corpus))
        match run.training.pairs:
            case "first_alone":
                self._partner = shuffled
            case "partner_alone":
                self._first = shuffled

    def of(self, record: int) -> RecordPair:
        return RecordPair(
            self.corpus.letters(int(self._first[record])),
            self.corpus.partner_letters(int(self._partner[record])),
        )

    def seen(
        self, augmentation: Augmentation, record: int, epoch: int, number: int
    ) -> tuple[RecordPair, View]:
        whole, partner = self.of(record)
        first, view = augmentation.view(self.corpus, int(self._first[record]), epoch, number)
        if self.is_track and len(partner) == len(whole):
            partner = partner[view.first : view.last]
        return RecordPair(first, partner), view


def inputs_of(run: RunFile, corpus: Corpus) -> Inputs:
    """Return the inputs of the model of a run.

    Raises
    ------
    CorpusError
        If the model has two inputs, and the corpus has no partners or other ones than the run file.
    """
    return Pairs(corpus, run) if isinstance(run.model, PairedModel) else Alone(corpus)


def _check(corpus: Corpus, run: RunFile) -> None:
    place, hint = str(corpus.path), "Run selfattn-bio ingest again with this run file"
    if corpus.partner is None:
        raise CorpusError(
            "the corpus has no partners, but the run file has [partner]",
            place=place,
            hint=hint,
        )
    assert run.partner is not None  # the run file is validated before
    found: dict[str, Any] = {"alphabet": corpus.partner.alphabet.name}
    wanted: dict[str, Any] = {"alphabet": run.partner.alphabet}
    if isinstance(run.partner, TrackPartner):
        of_track = corpus.partner.summary["sources"][0]
        found |= {end: of_track.get(end) for end in ("low", "high")}
        wanted |= {"low": run.partner.low, "high": run.partner.high}
    for what, value in wanted.items():
        if found[what] != value:
            raise CorpusError(
                f"the partners have {what} {found[what]}, but the run file has {value}",
                place=place,
                hint=hint,
            )
    lengths = corpus.partner.records["length"]
    if lengths.min() < run.partner.k:
        short = corpus.partner.records["id"].iloc[int(lengths.argmin())]
        message = (
            f"the partner of {short!r} has length {lengths.min()}, less than partner.k = "
            f"{run.partner.k}"
        )
        raise CorpusError(message, place=place, hint="Lower partner.k, or ingest again")
