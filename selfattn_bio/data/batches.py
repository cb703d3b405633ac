"""Group records into batches, augment them and pad them to one shape.

Order and augmentation depend only on seed, epoch and record, so that training can resume at any
batch. Long records are split into windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.edits import Edits
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import Alphabet

# Number of batches that are sorted by length together, to reduce padding but keep a random order.
# With 50, a tenth of positions was padding on protein-like lengths; with 200, a thirtieth is.
POOL = 200
# Before sorting, lengths are randomly increased by up to this fraction, because all epochs of a
# small set would otherwise have the same batches. Cost: 0.5 % padding on protein-like lengths.
LENGTH_NOISE = 0.02
# Maximum number of letters per split read as consecutive windows, and minimum number of windows
LAID, LEAST = 1 << 22, 64
TRIES = 100  # attempts to sample a window that is not only N

Letters = NDArray[np.uint8]


def pad_letters(sequences: Sequence[Letters]) -> Letters:
    """Pad ASCII arrays with 0 to the length of the longest, (B, L)."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, letters in zip(padded, sequences, strict=True):
        row[: len(letters)] = letters
    return padded


class RecordWindows:
    """Divide records into windows of at most `size` letters.

    A record of L letters has ceil(L / size) windows. Without a size, each record is one window.
    With size 4, records of 10 and 3 letters have windows 0 to 3: [0, 4), [4, 8) and [8, 10) of the
    first and [0, 3) of the second.
    """

    def __init__(self, lengths: NDArray[np.int64], size: int | None) -> None:
        self.lengths, self.size = lengths, size or int(lengths.max(initial=1))
        self._ends = np.cumsum(-(-lengths // self.size))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def sampled_lengths(self) -> NDArray[np.int64]:
        """Return the length of each window as sampled in an epoch, (len,).

        For records longer than `size`, all windows have `size` letters.
        """
        return np.repeat(np.minimum(self.lengths, self.size), np.diff(self._ends, prepend=0))

    def records(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the record of each window, and the number of the window in its record, from 0."""
        records = np.searchsorted(self._ends, windows, "right")
        return records, windows - np.where(records > 0, self._ends[records - 1], 0)

    def laid(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return consecutive windows in order, thinned evenly to at most LAID letters.

        Returns
        -------
        Record, start and end of each window (0-based half-open).
        """
        most = max(LEAST, LAID // self.size)
        chosen = np.arange(len(self)) if len(self) <= most else np.arange(most) * len(self) // most
        records, number = self.records(chosen)
        return (
            records,
            number * self.size,
            np.minimum((number + 1) * self.size, self.lengths[records]),
        )


class Laid(NamedTuple):
    """Windows of records of a corpus.

    Fields are the rows of the records, starts and ends (0-based half-open), each (n,), and the
    sequences.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    letters: list[Letters]


def laid_windows(corpus: Corpus, rows: NDArray[np.int64], size: int, least: int) -> Laid:
    """Read the windows of `RecordWindows.laid` from these records; the result is always the same.

    Windows that contain only N (X in protein) or have fewer than `least` letters are left out. At
    most LAID letters, or LEAST windows, are read.

    Raises
    ------
    CorpusError
        If no window is left.
    """
    records, starts, ends = RecordWindows(corpus.records["length"].to_numpy()[rows], size).laid()
    windows = zip(rows[records].tolist(), starts.tolist(), ends.tolist(), strict=True)
    letters = [corpus.window(*window) for window in windows]
    kept = [
        i
        for i, row in enumerate(letters)
        if len(row) >= least and not _unknown(row, corpus.alphabet)
    ]
    if not kept:
        raise CorpusError(
            f"the {len(letters):,} windows of {size:,} {corpus.alphabet.unit} read for a split "
            f"contain only {corpus.alphabet.unknown} or are too short",
            place=str(corpus.path),
            hint="Add another record to this split",
        )
    return Laid(rows[records[kept]], starts[kept], ends[kept], [letters[i] for i in kept])


def _unknown(letters: Letters, alphabet: Alphabet) -> bool:
    return bool((letters == ord(alphabet.unknown)).all())


class Epoch(Sequence[NDArray[np.int64]]):
    """The batches of an epoch, each made on access: an epoch may have millions.

    Parameters
    ----------
    batch
        Returns the row numbers of a batch, given its number.
    numbers
        Numbers of the batches, in order.
    """

    def __init__(
        self, batch: Callable[[int], NDArray[np.int64]], numbers: NDArray[np.int64] | range
    ) -> None:
        self._batch, self._numbers = batch, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[NDArray[np.int64]]: ...

    def __getitem__(self, number: int | slice) -> NDArray[np.int64] | Sequence[NDArray[np.int64]]:
        if isinstance(number, slice):
            return Epoch(self._batch, self._numbers[number])
        return self._batch(int(self._numbers[number]))


@dataclass(frozen=True)
class BatchOrder:
    """Group all records into batches of similar length, in an order that depends on seed and epoch.

    Parameters
    ----------
    lengths
        Length of each record or window, (n,).
    batch_size
        Records per batch; the last batch of an epoch may be smaller.
    """

    lengths: NDArray[np.int64]
    batch_size: int
    seed: int

    def epoch(self, number: int) -> Epoch:
        """Return the batches of an epoch as row numbers of `lengths`."""
        rng = np.random.default_rng((self.seed, number))
        order = self.sampled(rng)
        if np.ptp(self.lengths):  # equal lengths need no sorting
            as_sorted, pool = rng.uniform(1, 1 + LENGTH_NOISE, len(order)), POOL * self.batch_size
            as_sorted *= self.lengths
            for start in range(0, len(order), pool):
                part = order[start : start + pool]
                order[start : start + pool] = part[np.argsort(as_sorted[part])]
        size = self.batch_size
        numbers = rng.permutation(-(-len(order) // size))
        return Epoch(lambda number: order[number * size : (number + 1) * size], numbers)

    def sampled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the row numbers of an epoch in random order."""
        return rng.permutation(len(self.lengths))

    def efficiency(self) -> float:
        """Return the fraction of positions in the batches of the first epoch without padding."""
        if not np.ptp(self.lengths):
            return 1.0
        batches = list(self.epoch(0))
        letters = sum(int(self.lengths[rows].sum()) for rows in batches)
        return float(letters / sum(len(rows) * int(self.lengths[rows].max()) for rows in batches))


@dataclass(frozen=True)
class LongestFirst(BatchOrder):
    """Group records into batches from long to short, so that the first batches need most memory."""

    def epoch(self, number: int) -> Epoch:
        """Return the batches as row numbers of `lengths`; all epochs are the same."""
        order, size = np.argsort(-self.lengths, kind="stable"), self.batch_size
        return Epoch(
            lambda number: order[number * size : (number + 1) * size], range(-(-len(order) // size))
        )


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

    def view(
        self, corpus: Corpus, record: int, epoch: int, number: int = 0
    ) -> tuple[Letters, View]:
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
    ) -> tuple[int, Letters]:
        """Return the start and letters of a random window."""
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
        """Return the letters of a record of the corpus as used in an epoch."""
        return self.view(corpus, record, epoch)[0]
