"""Group records into batches, divide long ones into windows, and pad batches to one shape.

The order depends only on seed and epoch, so that training can resume at any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from selfattn_bio.arrays import Integers
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.sequence.alphabet import Alphabet, Ascii

# Number of batches that are sorted by length together, to reduce padding but keep a random order.
# With 50, a tenth of positions was padding on protein-like lengths; with 200, a thirtieth is.
POOL = 200
# Before sorting, lengths are randomly increased by up to this fraction, because all epochs of a
# small set would otherwise have the same batches. Cost: 0.5 % padding on protein-like lengths.
LENGTH_NOISE = 0.02
# Maximum number of letters per split read as consecutive windows, and minimum number of windows
LAID, LEAST = 1 << 22, 64

# Separate random streams from the secret, so that noise does not depend on the batches
STREAM_BATCHES, STREAM_NOISE = 0, 1


class RecordWindows:
    """Divide records into windows of at most `size` letters.

    A record of L letters has ceil(L / size) windows. Without a size, each record is one window.
    With size 4, records of 10 and 3 letters have windows 0 to 3: [0, 4), [4, 8) and [8, 10) of the
    first and [0, 3) of the second.
    """

    def __init__(self, lengths: Integers, size: int | None) -> None:
        self.lengths, self.size = lengths, size or int(lengths.max(initial=1))
        self._ends = np.cumsum(-(-lengths // self.size))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def sampled_lengths(self) -> Integers:
        """Return the length of each window as sampled in an epoch, (len,).

        For records longer than `size`, all windows have `size` letters.
        """
        return np.repeat(np.minimum(self.lengths, self.size), np.diff(self._ends, prepend=0))

    def records(self, windows: Integers) -> tuple[Integers, Integers]:
        """Return the record of each window, and the number of the window in its record, from 0."""
        records = np.searchsorted(self._ends, windows, "right")
        return records, windows - np.where(records > 0, self._ends[records - 1], 0)

    def laid(self) -> tuple[Integers, Integers, Integers]:
        """Return consecutive windows in order, thinned evenly to at most LAID letters.

        Returns
        -------
        Record, start and end of each window (0-based half-open).
        """
        most = max(LEAST, LAID // self.size)
        chosen = np.arange(len(self)) if len(self) <= most else np.arange(most) * len(self) // most
        records, number = self.records(chosen)
        starts = number * self.size
        return records, starts, np.minimum(starts + self.size, self.lengths[records])


class Laid(NamedTuple):
    """Windows of records of a corpus.

    Fields are the rows of the records, starts and ends (0-based half-open), each (n,), and the
    sequences.
    """

    rows: Integers
    starts: Integers
    ends: Integers
    letters: list[Ascii]


def laid_windows(corpus: Corpus, rows: Integers, size: int, least: int) -> Laid:
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
        if len(row) >= least and not is_unknown(row, corpus.alphabet)
    ]
    if not kept:
        message = (
            f"the {len(letters):,} windows of {size:,} {corpus.alphabet.unit} read for a split "
            f"contain only {corpus.alphabet.unknown} or are too short"
        )
        raise CorpusError(message, place=str(corpus.path), hint="Add another record to this split")
    return Laid(rows[records[kept]], starts[kept], ends[kept], [letters[i] for i in kept])


def is_unknown(letters: Ascii, alphabet: Alphabet) -> bool:
    """Return whether a sequence has only the letter for "any", such as N; also if it is empty."""
    return bool((letters == ord(alphabet.unknown)).all())


class Epoch:
    """The batches of an epoch, each made on access: an epoch may have millions.

    Parameters
    ----------
    batch
        Returns the row numbers of a batch, given its number.
    numbers
        Numbers of the batches, in order.
    """

    def __init__(self, batch: Callable[[int], Integers], numbers: Integers | range) -> None:
        self._batch, self._numbers = batch, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Integers:
        return self._batch(int(self._numbers[number]))

    def __iter__(self) -> Iterator[Integers]:
        return map(self._batch, self._numbers)


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

    lengths: Integers
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

    def sampled(self, rng: np.random.Generator) -> Integers:
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


@dataclass(frozen=True)
class BalancedOrder(BatchOrder):
    """Sample equally many records from each cell in each epoch.

    An epoch has as many records as the training split. Records of small cells are repeated. From
    large cells, a new random sample is taken each epoch. With cells 0 0 0 0 0 0 1 1, an epoch has
    four of the six records of cell 0, and each record of cell 1 twice. Batches contain records of
    similar length, as in `BatchOrder`, so cells are equally frequent in an epoch but not in each
    batch.

    Parameters
    ----------
    lengths, batch_size, seed
        As in `BatchOrder`.
    cells
        Cell number of each record, (n,). Numbers start at 0 and each must occur.
    """

    cells: Integers

    def sampled(self, rng: np.random.Generator) -> Integers:
        """Return the rows of an epoch, (n,), in random order; some repeat, others are missing."""
        num_records, num_cells = len(self.cells), int(self.cells.max()) + 1
        sampled = []
        for cell in range(num_cells):
            rows = np.flatnonzero(self.cells == cell)
            wanted = num_records // num_cells + (cell < num_records % num_cells)
            rounds = -(-wanted // len(rows))
            shuffled = [rng.permutation(rows) for _ in range(rounds)]
            sampled.append(np.concatenate(shuffled)[:wanted])
        return rng.permutation(np.concatenate(sampled))


@dataclass(frozen=True)
class PoissonOrder:
    """Sample batches that contain each record independently with equal probability.

    Batches have `batch_size` records on average; the size varies and may be 0. An epoch has as many
    batches as contain each record once on average; a record may occur twice in it, or not at all.
    Records are processed one at a time, so lengths do not matter.

    Parameters
    ----------
    num_records
        Number of rows to sample from.
    batch_size
        Mean number of records per batch, at most `num_records`.
    secret
        Seed of all random numbers. Whoever knows it can tell which records were in which batch.

    References
    ----------
    Subsampled Gaussian mechanism: Abadi et al. 2016, Mironov et al. 2019.
    """

    num_records: int
    batch_size: int
    secret: int

    @property
    def rate(self) -> float:
        """Return the probability that a record is in a batch."""
        return self.batch_size / self.num_records

    def epoch(self, number: int) -> Epoch:
        """Return the batches of an epoch as row numbers in ascending order."""
        return Epoch(partial(self.batch, number), range(-(-self.num_records // self.batch_size)))

    def batch(self, epoch: int, number: int) -> Integers:
        """Return the row numbers of one batch."""
        rng = np.random.default_rng((self.secret, STREAM_BATCHES, epoch, number))
        return np.flatnonzero(rng.random(self.num_records) < self.rate)

    def efficiency(self) -> float:
        """Return 1, because records are processed one at a time without padding."""
        return 1.0
