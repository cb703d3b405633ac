"""Create negatives for given positives: genomic windows or shuffled sequences.

`matched` and `neighbours` return windows that overlap neither positives nor excluded intervals nor
each other, and contain no N. `shuffled` yields records. All raise an error if more negatives are
missing than `may_lack` allows.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools, Integers
from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import LOCUS, Cover, counts_before
from selfattn_bio.sequence.records import SHUFFLED, Record
from selfattn_bio.sequence.shuffle import shuffle_letters

FULL = 0.4  # covered fraction of a chromosome above which free windows are rare
# Each round samples 32 windows per missing negative, then 4 times as many as the round before.
_ROUNDS, _FIRST_SAMPLES, _MORE = 4, 32, 4
_MAX_SAMPLES = 4_000_000  # in a round; limits memory
_TRIES = 10  # attempts to find a shuffle that differs from the positive and its other shuffles
_EMPTY = np.empty(0, np.uint8)
_GC = np.isin(np.arange(256), list(b"GCSgcs"))
_KNOWN = np.isin(np.arange(256), list(b"ACGTUacgtu"))


@dataclass(frozen=True)
class Wanted:
    """How many negatives to create, and how many may be missing.

    Parameters
    ----------
    per_positive
        Negatives per positive.
    seed
        Random seed; the same seed gives the same negatives.
    may_lack
        Fraction of the negatives that may be missing without an error.
    """

    per_positive: int = 1
    seed: int = 0
    may_lack: float = 0.01

    def check_enough(
        self,
        found: int,
        positives: int,
        what: str,
        counts: Counter[str],
        keys: str,
        used: Sequence[float] = (),
        place: str = "",
    ) -> None:
        """Raise if too many negatives are missing, otherwise count the missing ones.

        `keys` are the settings to change, and `used` has the fraction of each chromosome that is
        covered.
        """
        requested = positives * self.per_positive
        if requested - found > self.may_lack * requested:
            message = f"found only {found} of {requested} {what} for the negatives"
            hint = (
                f"Positives and excluded intervals cover {np.mean(used):.0%} of a chromosome on "
                "average. Use fewer or shorter ones, or shuffled negatives"
                if used and np.mean(used) > FULL
                else f"Change {keys}, may_lack ({self.may_lack:g}) or per_positive "
                f"({self.per_positive}), or choose another kind of negatives"
            )
            raise IntervalError(message, place=place, hint=hint)
        if requested > found:
            counts[f"negatives not found (of {requested} {what})"] += requested - found


def matched(
    positives: pd.DataFrame,
    genome: Genome,
    wanted: Wanted,
    exclude: pd.DataFrame | None,
    tolerance: float,
    counts: Counter[str],
) -> pd.DataFrame:
    """Sample windows with the length, GC content and strand of each positive, from its chromosome.

    A window with exactly the same number of G and C is used if one was sampled, otherwise the
    closest sampled one within `tolerance`.

    Parameters
    ----------
    positives
        Windows within the genome.
    exclude
        Further intervals that no negative may overlap, with the genome's chromosome names.
    tolerance
        Largest difference in GC content, in [0, 1].
    counts
        Counts of missing and inexact negatives are added to this counter.

    Returns
    -------
    Windows, sorted by chromosome in the order of `positives`, with the same columns; `line` and
    `path` are those of the positive.

    Raises
    ------
    IntervalError
        If too few negatives are found.
    """
    rng = np.random.default_rng(wanted.seed)
    found: list[tuple[int, int]] = []  # row of the positive, start
    used = []
    for chrom, group in positives.groupby("chrom", sort=False):
        free = _Free(str(chrom), genome.fetch(str(chrom)), positives, exclude)
        used.append(free.used)
        found += _match(group, free, wanted.per_positive, tolerance, rng, counts)
    keys, place = f"tolerance ({tolerance:g})", str(genome.path)
    wanted.check_enough(len(found), len(positives), "matched windows", counts, keys, used, place)
    return _windows_at(positives, found)


def neighbours(
    positives: pd.DataFrame,
    genome: Genome,
    wanted: Wanted,
    exclude: pd.DataFrame | None,
    distance: int,
    steps: int,
    counts: Counter[str],
) -> pd.DataFrame:
    """Return windows near each positive, with its length and strand.

    The first windows are `distance` bp before and after the positive, in random order. If one is
    not free, the next windows outward are tried, up to `steps` in each direction.

    Parameters, returns and errors are those of `matched`.
    """
    rng = np.random.default_rng(wanted.seed)
    found: list[tuple[int, int]] = []  # row of the positive, start
    used = []
    for chrom, group in positives.groupby("chrom", sort=False):
        free = _Free(str(chrom), genome.fetch(str(chrom)), positives, exclude)
        used.append(free.used)
        for row, start, end in group[["start", "end"]].itertuples(name=None):
            length = end - start
            gaps = distance + length * np.arange(steps)
            flanks = np.stack([start - length - gaps, end + gaps], axis=1)[:, rng.permutation(2)]
            taken = (at for at in flanks.ravel().tolist() if free.take(at, at + length))
            found += [(row, at) for at in islice(taken, wanted.per_positive)]
    what, keys = "neighbouring windows", f"steps ({steps}), distance ({distance})"
    wanted.check_enough(len(found), len(positives), what, counts, keys, used, str(genome.path))
    return _windows_at(positives, found)


def shuffled(
    records: Iterable[Record], k: int, wanted: Wanted, counts: Counter[str]
) -> Iterator[Record]:
    """Yield each positive shuffled with its k-let counts preserved; see `shuffle_letters`.

    The id is that of the positive plus `/shuffled1`, by which splits keep the two together.
    Chromosome, group and target columns are copied, but coordinates are not. A repeated positive is
    dropped later, so its shuffle has the id and columns of the first one. A shuffle equal to the
    positive or to an earlier shuffle is repeated. Positives without another arrangement get no
    negative.

    Raises
    ------
    IntervalError
        After the last record, if too few negatives were found.
    """
    rng = np.random.default_rng(wanted.seed)
    num_records = num_found = 0
    # By digest of the letters: the first positive, and the digests of it and its shuffles
    known: dict[bytes, tuple[Record, set[bytes]]] = {}
    for record in records:
        num_records += 1
        digest = _digest(record.letters)
        first, seen = known.setdefault(digest, (record._replace(letters=_EMPTY), {digest}))
        for _ in range(wanted.per_positive):
            tries = (shuffle_letters(record.letters, k, rng) for _ in range(_TRIES))
            letters = next((made for made in tries if _digest(made) not in seen), None)
            if letters is not None:
                num_found += 1
                yield Record(
                    f"{first.id}{SHUFFLED}{len(seen)}",
                    letters,
                    first.chrom,
                    group=first.group,
                    targets=first.targets,
                )
                seen.add(_digest(letters))
    wanted.check_enough(num_found, num_records, "shuffled sequences", counts, f"k ({k})")


@dataclass
class _Free:
    """Free positions for negatives on a chromosome.

    Positives, excluded intervals, N and windows that were taken are not free.
    """

    chrom: str
    letters: NDArray[np.uint8]
    positives: pd.DataFrame
    exclude: pd.DataFrame | None
    taken: list[tuple[int, int]] = field(default_factory=list)  # sorted, disjoint

    def __post_init__(self) -> None:
        parts = [self.positives] if self.exclude is None else [self.positives, self.exclude]
        self._used = Cover(
            pd.concat([part.loc[part["chrom"] == self.chrom, LOCUS] for part in parts])
        )
        size = len(self.letters)
        self.used = self._used.bases(self.chrom, np.array([0]), np.array([size]))[0] / size
        self._unknown = counts_before(~_KNOWN[self.letters])

    def are(self, start: Integers, end: Integers) -> Bools:
        """Return which windows are within the chromosome, unoccupied and without N."""
        inside = (start >= 0) & (end <= len(self.letters))
        start, end = np.where(inside, start, 0), np.where(inside, end, 0)
        return (
            inside
            & (self._used.bases(self.chrom, start, end) == 0)
            & (self._unknown[start] == self._unknown[end])
        )

    def take(self, start: int, end: int) -> bool:
        """Take a free window that overlaps no taken one; return whether it was taken."""
        at = bisect.bisect(self.taken, (start, end))
        neighbours = self.taken[max(at - 1, 0) : at + 1]
        if any(start < other_end and other_start < end for other_start, other_end in neighbours):
            return False
        if not self.are(np.array([start]), np.array([end]))[0]:
            return False
        self.taken.insert(at, (start, end))
        return True


def _match(
    group: pd.DataFrame,
    free: _Free,
    per_positive: int,
    tolerance: float,
    rng: np.random.Generator,
    counts: Counter[str],
) -> list[tuple[int, int]]:
    """Return the row of the positive and the start of each negative found on this chromosome."""
    gc = counts_before(_GC[free.letters])
    start, end = group["start"].to_numpy(np.int64), group["end"].to_numpy(np.int64)
    start, end = np.maximum(start, 0), np.minimum(end, len(free.letters))  # padding has no letters
    lengths = group["end"].to_numpy(np.int64) - group["start"].to_numpy(np.int64)
    wanted = np.round((gc[end] - gc[start]) / np.maximum(end - start, 1) * lengths).astype(np.int64)
    lacking = list(zip(group.index, lengths.tolist(), wanted.tolist(), strict=True)) * per_positive
    # Starts by length and number of G and C
    pools: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    found: list[tuple[int, int]] = []
    for round_ in range(_ROUNDS):
        samples = min(_FIRST_SAMPLES * _MORE**round_, max(_MAX_SAMPLES // len(lacking), 1))
        sizes = np.repeat([length for _, length, _ in lacking], samples).astype(np.int64)
        starts = rng.integers(0, np.maximum(len(free.letters) - sizes + 1, 1))
        sizes, starts = (x[free.are(starts, starts + sizes)] for x in (sizes, starts))
        numbers = gc[starts + sizes] - gc[starts]
        for length, count, at in np.stack([sizes, numbers, starts], axis=1).tolist():
            pools[length, count].append(at)
        lacking = _serve(lacking, pools, free, (0,), found)
        if not lacking:
            return found
    exact = len(found)
    for difference in range(1, int(tolerance * lengths.max()) + 1):
        near = [need for need in lacking if difference <= tolerance * need[1]]
        signs = rng.permutation([-difference, difference]).tolist()
        lacking = _serve(near, pools, free, signs, found) + [
            need for need in lacking if difference > tolerance * need[1]
        ]
    counts["negatives whose GC content differs from the positive, within the tolerance"] += (
        len(found) - exact
    )
    return found


def _serve(
    lacking: list[tuple[int, int, int]],
    pools: dict[tuple[int, int], list[int]],
    free: _Free,
    differences: Iterable[int],
    found: list[tuple[int, int]],
) -> list[tuple[int, int, int]]:
    """Assign sampled windows to positives, and return the positives without a window.

    Each positive is (row, length, number of G and C). Its window may differ in the number of G and
    C by one of `differences`.
    """
    without = []
    for row, length, count in lacking:
        sampled = (
            pools[key].pop()
            for key in ((length, count + more) for more in differences)
            if key in pools
            for _ in range(len(pools[key]))
        )
        start = next((at for at in sampled if free.take(at, at + length)), None)
        if start is None:
            without.append((row, length, count))
        else:
            found.append((row, start))
    return without


def _digest(letters: NDArray[np.uint8]) -> bytes:
    return sha256(letters.tobytes()).digest()


def _windows_at(positives: pd.DataFrame, found: list[tuple[int, int]]) -> pd.DataFrame:
    windows = positives.loc[[row for row, _ in found]]
    first = np.array([start for _, start in found], np.int64)
    lengths = (windows["end"] - windows["start"]).to_numpy(np.int64)
    return windows.assign(
        start=first, end=first + lengths, name="", score=np.nan, summit=-1
    ).reset_index(drop=True)
