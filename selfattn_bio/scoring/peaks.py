"""Write the scores of an output along a genome, and find their peaks; for `scoring.tracks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.display import counted
from selfattn_bio.files import whole_file
from selfattn_bio.objectives.outputs import LOG_ODDS, Track
from selfattn_bio.scoring.windows import GenomeWindows
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.tables import BED_COLUMNS, write_bed

PEAKS = [*BED_COLUMNS, "summit", "log_odds", "probability"]


class TrackWriter:
    """Write the scores of one output: a bigWig per strand, and its peaks.

    Parameters
    ----------
    track
        The output.
    name
        Beginning of the names of its files.
    bigwigs
        Functions from `open_bigwig` by strand.
    offsets
        By strand, the distance in bp from the start of a window to the interval that carries its
        score, and to the summit of a peak.
    windows
        The windows.
    least
        Minimum probability of a peak; None to find no peaks.
    separation
        Minimum distance between two peaks in bp.
    """

    def __init__(
        self,
        track: Track,
        name: str,
        bigwigs: Mapping[str, Callable[..., None]],
        offsets: Mapping[str, tuple[int, int]],
        windows: GenomeWindows,
        least: float | None,
        separation: int,
    ) -> None:
        self.track, self.name, self.bigwigs, self.offsets = track, name, bigwigs, offsets
        self.windows, self.least, self.range = windows, least, (np.inf, -np.inf)
        self.finders = {
            strand: PeakFinder(logit(least), separation) for strand in bigwigs if least is not None
        }
        self.found: list[tuple[str, str, Integers, Floats]] = []

    def add(self, chrom: str, starts: Integers, scores: Floats) -> None:
        """Write the scores (strands, n) of the next windows of a chromosome."""
        for (strand, write), values in zip(self.bigwigs.items(), scores, strict=True):
            write(chrom, starts + self.offsets[strand][0], self.windows.stride, values)
            if strand in self.finders:
                self.found.append((chrom, strand, *self.finders[strand].add(starts, values)))
        low, high = self.range
        self.range = (
            np.fmin.reduce(scores, axis=None, initial=low),
            np.fmax.reduce(scores, axis=None, initial=high),
        )

    def end(self, chrom: str) -> None:
        """Find the last peaks of a chromosome."""
        self.found += [(chrom, strand, *each.finish()) for strand, each in self.finders.items()]

    def save(self, genome: Genome, files: ExitStack) -> pd.DataFrame:
        """Write the peaks, if there may be some, and return them in the genome's order."""
        table = self._peaks(genome)
        if self.least is not None:
            at = table["summit"]
            summits = _in_order(table.assign(start=at, end=at + 1), genome)
            for what, rows in (("peaks", table), ("summits", summits)):
                write_bed(files.enter_context(whole_file(f"{self.name}.{what}.bed")), rows)
        if self.track.name:
            table.insert(0, "output", self.track.name)
        return table

    def line(self, peaks: int) -> str:
        """Return the number of peaks, or the range of the scores, for the log."""
        low, high = self.range
        start = f"{self.track.name}: " if self.track.name else ""
        if low > high:
            return f"{start}no score, because of too many ambiguous bases"
        if self.least is None:
            no_peaks = "; no peaks, because there is no threshold"
            end = no_peaks if self.track.unit == LOG_ODDS else ""
            return f"{start}scores from {low:.3g} to {high:.3g} ({self.track.unit}){end}"
        return (
            f"{start}{counted(peaks, 'peak')} with a probability of at least {self.least:.3g}; the "
            f"best window has {expit(high):.3g}"
        )

    def _peaks(self, genome: Genome) -> pd.DataFrame:
        parts = [
            pd.DataFrame({"chrom": chrom, "start": starts, "strand": strand, "log_odds": values})
            for chrom, strand, starts, values in self.found
        ]
        if not parts:
            return pd.DataFrame(columns=PEAKS)
        table = pd.concat(parts, ignore_index=True)
        summits = {strand: summit for strand, (_, summit) in self.offsets.items()}
        table["summit"] = table["start"] + table["strand"].map(summits).astype(int)
        table["end"] = table["start"] + self.windows.size
        if self.windows.size == 1:  # consecutive positions are one peak
            first = table["start"] - table.groupby(["chrom", "strand"]).cumcount()
            runs = table.groupby(["chrom", "strand", first])
            spans = {"start": runs["start"].min().array, "end": runs["end"].max().array}
            table = table.loc[runs["log_odds"].idxmax()].assign(**spans)
        table = _in_order(table, genome)
        probability = expit(table["log_odds"])
        return table.assign(
            name=[f"peak{number}" for number in range(1, len(table) + 1)],
            score=(probability * 1000).round().astype(int),
            probability=probability,
        )[PEAKS]


def _in_order(table: pd.DataFrame, genome: Genome) -> pd.DataFrame:
    """Sort intervals in the order of the chromosomes in the genome."""
    chroms = pd.Index(genome.names).get_indexer(table["chrom"].array)
    rows = np.lexsort((table["strand"], table["start"], chroms))
    return table.iloc[rows].reset_index(drop=True)


class PeakFinder:
    """Find peaks by greedy non-maximum suppression.

    The highest position is kept and suppresses all positions nearer than `separation`. This is
    repeated with the next highest. For example, with values 1, 3, 2 and 2 at positions 0, 10, 20
    and 30 and separation 15, position 10 is kept and suppresses 0 and 20, then 30 is kept.

    Positions below the threshold are ignored. A gap of `separation` bp without a position above the
    threshold ends a group, so memory holds one group only.

    Parameters
    ----------
    threshold
        Minimum value of a peak.
    separation
        Minimum distance between two peaks in bp.
    """

    def __init__(self, threshold: float, separation: int) -> None:
        self.threshold, self.separation = threshold, separation
        self._positions, self._values = np.empty(0, np.int64), np.empty(0)

    def add(self, positions: Integers, values: Floats) -> tuple[Integers, Floats]:
        """Add the next positions and return the peaks that are final.

        Positions are in ascending order, with NaN for missing values. Peaks are in ascending order
        too.
        """
        high = values >= self.threshold
        self._positions = np.concatenate((self._positions, positions[high]))
        self._values = np.concatenate((self._values, values[high]))
        ahead = int(positions[-1]) + 1 if len(positions) else 0  # the next position that can follow
        # positions followed by a gap of at least `separation`
        cuts: Integers = np.flatnonzero(np.diff(self._positions, append=ahead) >= self.separation)
        return self._decide(int(cuts[-1]) + 1 if len(cuts) else 0)

    def finish(self) -> tuple[Integers, Floats]:
        """Return the remaining peaks and reset the finder."""
        return self._decide(len(self._positions))

    def _decide(self, number: int) -> tuple[Integers, Floats]:
        positions, values = self._positions[:number], self._values[:number]
        self._positions, self._values = self._positions[number:], self._values[number:]
        kept = unsuppressed(positions, values, self.separation)
        return positions[kept], values[kept]


def unsuppressed(positions: Integers, values: Floats, separation: int) -> Integers:
    """Return the indices of the positions that are kept, in ascending order.

    If values are equal, the first takes precedence.
    """
    first = np.searchsorted(positions, positions - separation, side="right")
    last = np.searchsorted(positions, positions + separation, side="left")
    free, kept = np.ones(len(positions), bool), np.zeros(len(positions), bool)
    for i in np.argsort(-values, kind="stable").tolist():
        if free[i]:
            kept[i] = True
            free[first[i] : last[i]] = False
    return np.flatnonzero(kept)
