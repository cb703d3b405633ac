"""Provide the inputs of a model for each record, augmented in training.

An input is the letters of a record, or a `RecordPair` for two inputs. To evaluate one of two inputs
alone, the other can be taken from another record. Augmentation depends only on seed, epoch and
record, so that training can resume at any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from selfattn_bio.config import EditsSection, PairedModel, RunFile
from selfattn_bio.data.batches import is_unknown
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import Ascii

TRIES = 100  # attempts to sample a window that is not only N


class View(NamedTuple):
    """The part of a record used in an epoch: letters [first, last), 0-based.

    The last field says whether it is the reverse complement of this part.
    """

    first: int
    last: int
    reverse: bool


@dataclass(frozen=True)
class Augmentation:
    """Augment each record in each epoch by shifts, reverse complements and random substitutions.

    A shift by s drops the first s letters (s > 0) or the last -s (s < 0). No letters are added.
    Records that would become shorter than `min_length` are not shifted. A fraction `substitution`
    of the letters is replaced by random letters of the alphabet, which may equal the original. Half
    of the records are reverse-complemented if `reverse_complement` is set.

    With `multiple`, shifted records of sufficient length have the same number of letters for each
    shift, a multiple of this number. Long records of equal length then need no padding, which would
    cost a third of their steps.

    From records longer than `window`, a window of this size is sampled; all starts are equally
    likely. Windows that contain only N (X in protein) are sampled again, up to TRIES times. Such
    windows are not shifted.

    `edits` change the sequences in the first `edited_epochs` epochs.
    """

    shift: int
    reverse_complement: bool
    min_length: int
    seed: int
    substitution: float = 0.0
    multiple: int = 0
    window: int | None = None
    edits: Edits | None = None
    edited_epochs: int = 0

    def view(self, corpus: Corpus, record: int, epoch: int, number: int = 0) -> tuple[Ascii, View]:
        """Return a record as used in an epoch, and which of its letters this is.

        `number` is the number of the window for records longer than `window`.
        """
        letters = corpus.letters(record)
        long = bool(self.window and len(letters) > self.window)
        edits = self.edits if epoch < self.edited_epochs else None
        if not (long or self.shift or self.reverse_complement or self.substitution or edits):
            return letters, View(0, len(letters), False)
        rng = np.random.default_rng(
            (self.seed, epoch, record, number) if long else (self.seed, epoch, record)
        )
        if long:
            first, letters = self._random_window(corpus, record, len(letters), rng)
            last = first + len(letters)
        else:
            first, last = self._moved(len(letters), rng)
            letters = letters[first:last]
        view = View(first, last, bool(self.reverse_complement and rng.random() < 0.5))
        if view.reverse:
            letters = corpus.alphabet.reverse_complement(letters)
        if self.substitution:
            random = rng.choice(
                np.frombuffer(corpus.alphabet.letters.encode(), np.uint8), len(letters)
            )
            letters = np.where(rng.random(len(letters)) < self.substitution, random, letters)
        if edits:
            letters = edits.apply(letters, rng)
        return letters, view

    def _random_window(
        self, corpus: Corpus, record: int, length: int, rng: np.random.Generator
    ) -> tuple[int, Ascii]:
        """Return the start and letters of a random window."""
        size = self.window or length
        for first in rng.integers(length - size + 1, size=TRIES).tolist():
            letters = corpus.window(record, first, first + size)
            if not is_unknown(letters, corpus.alphabet):
                break
        return first, letters

    def _moved(self, length: int, rng: np.random.Generator) -> tuple[int, int]:
        by = int(rng.integers(-self.shift, self.shift + 1))
        if length - abs(by) < self.min_length:
            by = 0
        whole = (length - 2 * self.shift) // max(self.multiple, 1) * self.multiple
        if self.multiple and whole >= self.min_length:
            return self.shift + by, self.shift + by + whole
        return max(by, 0), length + min(by, 0)


class RecordPair(NamedTuple):
    """Both inputs of a record: ASCII letters (L,) and those of its partner (M,)."""

    first: Ascii
    partner: Ascii


@dataclass(frozen=True)
class Alone:
    """Inputs that consist of the letters of the records."""

    corpus: Corpus

    def of(self, record: int) -> Ascii:
        """Return the input of a record, given its row."""
        return self.corpus.letters(record)

    def seen(
        self, augmentation: Augmentation, record: int, epoch: int, number: int
    ) -> tuple[Ascii, View]:
        """Return the augmented input for an epoch, and which part of the record it shows."""
        return augmentation.view(self.corpus, record, epoch, number)


class Pairs:
    """Inputs that consist of the letters of the records and of their partners.

    If [training] `pairs` is not "given", one of the two inputs is taken from another record. This
    choice depends only on the seed. Only the first input is augmented.
    """

    def __init__(self, corpus: Corpus, run: RunFile) -> None:
        _check(corpus, run)
        self.corpus = corpus
        self._first = self._partner = np.arange(len(corpus))
        shuffled = np.random.default_rng((run.training.seed, len(corpus))).permutation(len(corpus))
        if run.training.pairs == "first_alone":
            self._partner = shuffled
        elif run.training.pairs == "partner_alone":
            self._first = shuffled

    def of(self, record: int) -> RecordPair:
        """Return the input of a record, given its row."""
        return RecordPair(
            self.corpus.letters(int(self._first[record])),
            self.corpus.partner_letters(int(self._partner[record])),
        )

    def seen(
        self, augmentation: Augmentation, record: int, epoch: int, number: int
    ) -> tuple[RecordPair, View]:
        """Return the augmented input for an epoch, and which part of the first one it shows."""
        first, view = augmentation.view(self.corpus, int(self._first[record]), epoch, number)
        return RecordPair(first, self.of(record).partner), view


Inputs = Alone | Pairs


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
        CorpusError.fail("the corpus has no partners, but the run file has [partner]", place, hint)
    assert run.partner is not None  # the run file is validated before
    if (found := corpus.partner.alphabet.name) != run.partner.alphabet:
        message = f"the partners have alphabet {found}, but the run file has {run.partner.alphabet}"
        raise CorpusError(message, place=place, hint=hint)
    lengths = corpus.partner.records["length"]
    if lengths.min() < run.partner.k:
        short = corpus.partner.records["id"].iloc[int(lengths.argmin())]
        message = (
            f"the partner of {short!r} has length {lengths.min()}, less than partner.k = "
            f"{run.partner.k}"
        )
        raise CorpusError(message, place=place, hint="Lower partner.k, or ingest again")


class Edits(EditsSection):
    """Edit sequences similarly to evolution, keeping their length and label.

    Parameters are those of [training] `edits`.

    References
    ----------
    Lee et al. 2023, EvoAug: improving generalization and interpretability of genomic deep neural
    networks with evolution-inspired data augmentations. New letters are sampled from the record
    here, so that its composition does not change; EvoAug samples them uniformly.
    """

    def apply(self, letters: Ascii, rng: np.random.Generator) -> Ascii:
        """Return an edited copy of a sequence, (L,) of the same length."""
        kinds: list[Callable[[Ascii, np.random.Generator], Ascii]] = []
        if self.longest:
            kinds += [self.inserted, self.deleted]
        if self.translocation:
            kinds.append(self.translocated)
        if self.substitution:
            kinds.append(self.substituted)
        for kind in rng.permutation(len(kinds))[: self.per_record].tolist():
            letters = kinds[kind](letters, rng)
        return letters

    def inserted(self, letters: Ascii, rng: np.random.Generator) -> Ascii:
        """Return the sequence with an insertion; the ends are cut to keep its length."""
        size, at = self._size(letters, rng), int(rng.integers(len(letters) + 1))
        longer = np.concatenate([letters[:at], rng.choice(letters, size), letters[at:]])
        first = int(rng.integers(size + 1))
        return longer[first : first + len(letters)]

    def deleted(self, letters: Ascii, rng: np.random.Generator) -> Ascii:
        """Return the sequence with a deletion; the ends are extended to keep its length."""
        size = self._size(letters, rng)
        at, left = int(rng.integers(len(letters) - size + 1)), int(rng.integers(size + 1))
        new = rng.choice(letters, size)
        return np.concatenate([new[:left], letters[:at], letters[at + size :], new[left:]])

    def translocated(self, letters: Ascii, rng: np.random.Generator) -> Ascii:
        """Return the rotated sequence: the part cut off at one end is added at the other."""
        return np.roll(letters, int(rng.integers(-self.translocation, self.translocation + 1)))

    def substituted(self, letters: Ascii, rng: np.random.Generator) -> Ascii:
        """Return the sequence with some letters replaced by random letters from it."""
        replaced = rng.random(len(letters)) < self.substitution
        return np.where(replaced, rng.choice(letters, len(letters)), letters)

    def _size(self, letters: Ascii, rng: np.random.Generator) -> int:
        return int(rng.integers(1, min(self.longest, len(letters)) + 1))
