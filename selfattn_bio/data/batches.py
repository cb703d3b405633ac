"""Which records make a batch, in which order, and how they become letters of one shape.

Hides: windows of long records, length buckets, padding, and augmentation that depends on seed, epoch and record alone, so that a run can
be taken up at any batch. Training and evaluation import it; no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.edits import Edits
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import Alphabet

# Batches sorted by length together: little padding, and still a random order. With 50 a tenth of the places was padding on lengths like
# those of proteins, with 200 it is a thirtieth.
POOL = 200
# Lengths are sorted as if each were up to this share longer, drawn anew each epoch: else all epochs of a set that is one pool have the same
# batches. On lengths like those of proteins it costs half a hundredth of the places.
NOISE = 0.02
LAID, LEAST = 1 << 22, 64  # letters of a side in windows laid end to end that are read at most, but LEAST windows at least
TRIES = 100  # windows of N alone that are drawn again

Letters = NDArray[np.uint8]


def pad_letters(sequences: list[Letters]) -> Letters:
    """ASCII arrays of any length -> (B, L) with L of the longest, padded with 0."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, letters in zip(padded, sequences, strict=True):
        row[: len(letters)] = letters
    return padded


class Windows:
    """Records as windows of at most `size` letters, of which one of L letters has ceil(L / size); without a size each record is one.

    With size 4, records of 10 and 3 letters have the windows 0, 1, 2 and 3: [0, 4), [4, 8), [8, 10) of the first, [0, 3) of the second.
    """

    def __init__(self, lengths: NDArray[np.int64], size: int | None) -> None:
        self.lengths, self.size = lengths, size or int(lengths.max(initial=1))
        self._ends = np.cumsum(-(-lengths // self.size))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def drawn(self) -> NDArray[np.int64]:
        """Letters of each window as an epoch draws them, (len,): of a record longer than `size` all are of `size` letters."""
        return np.repeat(np.minimum(self.lengths, self.size), np.diff(self._ends, prepend=0))

    def records(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The record of each window, and which of the record's it is, from 0; both as many as `windows`."""
        records = np.searchsorted(self._ends, windows, "right")
        return records, windows - np.where(records > 0, self._ends[records - 1], 0)

    def laid(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Record, start and end (0-based half-open, letters) of windows laid end to end, in order, evenly thinned to LAID letters."""
        most = max(LEAST, LAID // self.size)
        chosen = np.arange(len(self)) if len(self) <= most else np.arange(most) * len(self) // most
        records, number = self.records(chosen)
        return records, number * self.size, np.minimum((number + 1) * self.size, self.lengths[records])


class Laid(NamedTuple):
    """Windows over records of a corpus: row of its table, start and end (0-based half-open, letters), each (n,), and letters."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    letters: list[Letters]


def laid_windows(corpus: Corpus, rows: NDArray[np.int64], size: int, least: int) -> Laid:
    """The windows of `Windows.laid` over these records, always the same.

    Left out are windows of N (X) alone, and of less than `least` letters. They are read here, at most LAID letters or LEAST windows.

    Raises
    ------
    CorpusError
        If none is left.
    """
    records, starts, ends = Windows(corpus.records["length"].to_numpy()[rows], size).laid()
    places = zip(rows[records].tolist(), starts.tolist(), ends.tolist(), strict=True)
    letters = [corpus.window(*place) for place in places]
    kept = [i for i, row in enumerate(letters) if len(row) >= least and not _unknown(row, corpus.alphabet)]
    if not kept:
        message = f"windows of {size:,} letters must hold known ones, got {corpus.alphabet.unknown} alone in the {len(letters):,} looked at"
        raise CorpusError(message, place=str(corpus.path), cure="Put another record on this side of the split")
    return Laid(rows[records[kept]], starts[kept], ends[kept], [letters[i] for i in kept])


def _unknown(letters: Letters, alphabet: Alphabet) -> bool:
    return bool((letters == ord(alphabet.unknown)).all())


class Epoch(Sequence[NDArray[np.int64]]):
    """The batches of an epoch, each cut out of the order of its records when it is asked for: an epoch may have millions."""

    def __init__(self, order: NDArray[np.int64], batch_size: int, batches: NDArray[np.int64]) -> None:
        self._order, self._size, self._batches = order, batch_size, batches

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[NDArray[np.int64]]: ...

    def __getitem__(self, number: int | slice) -> NDArray[np.int64] | Sequence[NDArray[np.int64]]:
        if isinstance(number, slice):
            return Epoch(self._order, self._size, self._batches[number])
        start = self._batches[number] * self._size
        return self._order[start : start + self._size]


@dataclass(frozen=True)
class BatchOrder:
    """The batches of an epoch: all records once, those of a batch of similar length, in an order drawn from seed and epoch.

    Parameters
    ----------
    lengths
        Letters per record, or window, (n,).
    batch_size
        Records to a batch; the last of an epoch may be smaller.
    """

    lengths: NDArray[np.int64]
    batch_size: int
    seed: int

    def epoch(self, number: int) -> Epoch:
        """Row numbers into `lengths`, batch by batch."""
        rng = np.random.default_rng((self.seed, number))
        order = self.drawn(rng)
        if np.ptp(self.lengths):  # else there is nothing to sort
            as_sorted, pool = rng.uniform(1, 1 + NOISE, len(order)), POOL * self.batch_size
            as_sorted *= self.lengths
            for start in range(0, len(order), pool):
                part = order[start : start + pool]
                order[start : start + pool] = part[np.argsort(as_sorted[part])]
        return Epoch(order, self.batch_size, rng.permutation(-(-len(order) // self.batch_size)))

    def drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Row numbers of an epoch in random order."""
        return rng.permutation(len(self.lengths))

    def efficiency(self) -> float:
        """Share of the places of the first epoch's batches that hold letters, not padding."""
        if not np.ptp(self.lengths):
            return 1.0
        batches = list(self.epoch(0))
        letters = sum(int(self.lengths[rows].sum()) for rows in batches)
        return float(letters / sum(len(rows) * int(self.lengths[rows].max()) for rows in batches))


class View(NamedTuple):
    """How an epoch shows a record: its letters [first, last), 0-based, or their reverse complement."""

    first: int
    last: int
    turned: bool


@dataclass(frozen=True)
class Augmentation:
    """Each record, each epoch anew: moved by up to `shift` letters, turned to the other strand half of the times, some letters drawn anew.

    A shift by s drops the first s letters (s > 0) or the last -s (s < 0): the edge moves, and no letter is made up. A record that
    would come out shorter than `min_length` letters stays as it is. A share `substitution` of the letters becomes any letter of the
    alphabet, the one it was included.

    With `multiple` a moved record has the same number of letters wherever it moved, a multiple of it, if it is long enough: long records
    of one length then need no padding, which cost a third of their steps.

    Of a record longer than `window` a window of so many letters is drawn, each start as often as any other; one of N (X) alone is drawn
    again, up to TRIES times. It is not moved besides.

    `edits` change the letters of the first `edited_epochs` epochs.
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

    def view(self, corpus: Corpus, record: int, epoch: int, number: int = 0) -> tuple[Letters, View]:
        """The letters of a record of the corpus, or its window `number`, as epoch `epoch` shows them, and which of its letters they are."""
        letters = corpus.letters(record)
        long = bool(self.window and len(letters) > self.window)
        edits = self.edits if epoch < self.edited_epochs else None
        if not (long or self.shift or self.reverse_complement or self.substitution or edits):
            return letters, View(0, len(letters), False)
        rng = np.random.default_rng((self.seed, epoch, record, number) if long else (self.seed, epoch, record))
        if long:
            first, letters = self._drawn(corpus, record, len(letters), rng)
            last = first + len(letters)
        else:
            first, last = self._moved(len(letters), rng)
            letters = letters[first:last]
        view = View(first, last, bool(self.reverse_complement and rng.random() < 0.5))
        if view.turned:
            letters = corpus.alphabet.reverse_complement(letters)
        if self.substitution:
            drawn = rng.choice(np.frombuffer(corpus.alphabet.letters.encode(), np.uint8), len(letters))
            letters = np.where(rng.random(len(letters)) < self.substitution, drawn, letters)
        if edits:
            letters = edits.apply(letters, rng)
        return letters, view

    def _drawn(self, corpus: Corpus, record: int, length: int, rng: np.random.Generator) -> tuple[int, Letters]:
        """Start and letters of a window."""
        size = self.window or length
        for first in rng.integers(length - size + 1, size=TRIES).tolist():
            letters = corpus.window(record, first, first + size)
            if not _unknown(letters, corpus.alphabet):
                break
        return first, letters

    def _moved(self, length: int, rng: np.random.Generator) -> tuple[int, int]:
        by = int(rng.integers(-self.shift, self.shift + 1))
        if length - abs(by) < self.min_length:
            by = 0
        if self.multiple and (whole := (length - 2 * self.shift) // self.multiple * self.multiple):
            return self.shift + by, self.shift + by + whole
        return max(by, 0), length + min(by, 0)

    def letters(self, corpus: Corpus, record: int, epoch: int) -> Letters:
        """The letters of a record of the corpus as epoch `epoch` shows them."""
        return self.view(corpus, record, epoch)[0]
