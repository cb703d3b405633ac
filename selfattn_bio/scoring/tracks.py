"""Score a genome in windows along both strands and write bigWig and BED files.

Chromosomes are processed in chunks, so memory does not grow with their length.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyBigWig
import torch
from scipy.special import expit, logit

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, GenomeError, ModelFolderError
from selfattn_bio.files import INTERVAL_FILES, check_not_input, listed, whole_file
from selfattn_bio.log import LOG, Progress
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.regions import Region, joined, parse_region, read_regions
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.windows import (
    GenomeWindows,
    assembly_of,
    in_threads,
    load_dna_model,
    strand_logits,
    unit,
    warn_of_other_assembly,
    window_size,
)
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import counts_before
from selfattn_bio.sequence.tables import BED_COLUMNS, write_bed

CHUNK = 4096  # windows held in memory at a time
SPARE = 1 << 20  # bytes that must be free on the disk before values are written
BIGWIG_END = bytes.fromhex("26fc8f88")  # last bytes of a complete bigWig
PER_WINDOW = 12  # default strides per window; scores change little from one to the next
MOST_AMBIGUOUS = 0.5  # windows with a larger fraction of N and other ambiguous bases get no score
STRANDS = {"+": ".plus", "-": ".minus"}  # strand -> suffix of its track names
BOTH = {".": ""}  # for a model that reads both strands
PEAKS = [*BED_COLUMNS, "summit", "log_odds", "probability"]


@dataclass(frozen=True)
class Scan:
    """Settings of a genome scan.

    Attributes
    ----------
    window
        Window size in bp. None for the length of the model's training records.
    stride
        Distance in bp between the starts of neighbouring windows. None for the largest multiple of
        the model's pooling that is at most a twelfth of the window. A stride that is not a multiple
        of the pooling is slower, because windows cannot share computations.
    anchor
        The position in a window that its score is assigned to, in reading direction: "start",
        "centre" or "end". "end" suits models of sequences upstream of a position, such as promoters
        that end at the transcription start site.
    threshold
        Minimum probability of a peak. None for the threshold fitted on the validation split, or 0.5
        if a prior is given.
    separation
        Minimum distance in bp between two peaks on the same strand. None for the window size.
    """

    window: int | None = None
    stride: int | None = None
    anchor: Literal["start", "centre", "end"] = "centre"
    threshold: float | None = None
    separation: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "stride", "separation"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ArgumentError(f"{name} is {value}; it must be at least 1 bp")
        if self.anchor not in ("start", "centre", "end"):
            raise ArgumentError(f"unknown anchor {self.anchor!r}; choose start, centre or end")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ArgumentError(f"threshold {self.threshold} is not between 0 and 1")

    def windows(self, scorer: Scorer | Ensemble) -> GenomeWindows:
        """Return the windows for a model."""
        size, step = window_size(scorer, self.window), unit(scorer)
        stride = min(size, max(step, size // PER_WINDOW // step * step))
        return GenomeWindows(size, self.stride or stride)

    def bins(self, windows: GenomeWindows, strand: str) -> int:
        """Return the offset in bp of the interval that carries a window's score.

        The offset is counted from the start of the window. The interval is `stride` bp long.
        """
        last = windows.size - windows.stride
        offset = {"start": 0, "centre": last // 2, "end": last}[self.anchor]
        return last - offset if strand == "-" else offset

    def summit(self, windows: GenomeWindows, strand: str) -> int:
        """Return the offset in bp of the position that a window's score is assigned to."""
        offset = {"start": 0, "centre": windows.size // 2, "end": windows.size - 1}[self.anchor]
        return windows.size - 1 - offset if strand == "-" else offset

    def strands(self, scorer: Scorer | Ensemble) -> dict[str, str]:
        """Map the strands that a model distinguishes to suffixes of track names.

        A model that reads both strands has one strand, ".".

        Raises
        ------
        ValueError
            If the anchor is "start" or "end" and the model reads both strands.
        """
        if not scorer.both_strands:
            return STRANDS
        if self.anchor != "centre":
            message = f"the model reads both strands, so anchor {self.anchor!r} has no direction"
            raise ArgumentError(message, hint="Use anchor 'centre'")
        return BOTH


def score_genome(
    model: Models,
    genome: Genome | str | Path,
    output: str | Path,
    *,
    regions: Sequence[str | Path] | str | Path | None = None,
    prior: float | None = None,
    assembly: str | None = None,
    scan: Scan | None = None,
) -> pd.DataFrame:
    """Score windows along both strands of a genome and write tracks and peaks.

    `score_genome("results/promoter/model", "dm3.fa", "promoters", regions=["chr2R"])` writes
    promoters.dm3.plus.bw, .minus.bw, .peaks.bed and .summits.bed. A track holds calibrated
    log-odds; 0 is a probability of 0.5. A model that reads both strands (`evaluation.strands`) has
    one track, promoters.dm3.bw, and its peaks have strand ".".

    A warning is logged without `prior`, and if the genome is named differently from the assembly of
    the training records.

    Parameters
    ----------
    model
        A folder of a binary model of DNA, a list of folders whose logits are averaged, or the
        result of `load`.
    genome
        FASTA file, plain or bgzip, or an open `Genome`.
    output
        Prefix of the file names.
    regions
        A chromosome name, "chrom:first-last" (1-based inclusive as in samtools), the path of a BED
        file, or a list of these. None for the complete genome. Windows start at multiples of the
        stride from the start of the chromosome, and those whose middle `stride` bp overlap a region
        are scored.
    prior
        Fraction of windows that are positive, in (0, 1). It replaces that of the validation split:
        calibrated log-odds + logit(prior) - logit(validation fraction). Without it, log-odds hold
        for as many positives as in validation, and probabilities are far too high for a genome.
    assembly
        Assembly name in the file names. None for the genome's file name up to its first dot.
    scan
        Window, stride, anchor, threshold and separation of peaks.

    Returns
    -------
    One row per peak, in the genome's order: chrom, start, end (the window, 0-based half-open),
    name, score (probability x 1000), strand, summit (0-based position of the anchor), log_odds,
    probability. The BED files hold the first six columns, for the window and for the summit.

    Raises
    ------
    GenomeError
        If the genome or a region is malformed, a region is not on the genome, or no window fits.
    IntervalError
        If a file of regions is malformed or does not fit the genome.
    ModelFolderError
        As for `load`, or if the model is not a binary model of DNA.
    ValueError
        If an argument is out of range, or the model folder does not give the window or the fraction
        of positives that is needed.
    """
    scorer, scan = load_dna_model(model), scan or Scan()
    if not scorer.objective.has_log_odds:
        message = f"scans need a binary model; this one has objective {scorer.objective.kind!r}"
        raise ModelFolderError(message, place=str(scorer.members[0].folder or ""))
    windows = scan.windows(scorer)
    read = "one score for both" if scorer.both_strands else "scored on both"
    LOG.info(f"windows of {windows.size} bp, one every {windows.stride} bp, {read} strands")
    if prior is None:
        _warn_without_prior(scorer)
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    genome = genome.with_soft_mask(scorer.policy.soft_mask)
    assembly = assembly or assembly_of(genome)
    warn_of_other_assembly(scorer, assembly)
    shift, strands = scorer.calibration.shift(prior), scan.strands(scorer)
    threshold = scan.threshold or (scorer.calibration.threshold if prior is None else 0.5)
    stretches = _stretches(_wanted(regions, genome), genome, windows)
    if not stretches:
        message = f"no window of {windows.size} bp fits into the chromosomes or regions to scan"
        raise GenomeError(message, place=str(genome.path))
    best, found, name = -np.inf, [], f"{output}.{assembly}"
    for ending in ("peaks.bed", "summits.bed"):
        check_not_input(f"{name}.{ending}", *listed(regions or ()))
    with ExitStack() as files:
        tracks = {
            strand: files.enter_context(_open_track(f"{name}{word}.bw", genome))
            for strand, word in strands.items()
        }
        scored = _scored(scorer, genome, stretches, windows, shift)
        for chrom, of_chrom in groupby(scored, key=itemgetter(0)):
            separation = scan.separation or windows.size
            finders = {strand: PeakFinder(logit(threshold), separation) for strand in strands}
            for _, starts, log_odds in of_chrom:
                for strand, values in zip(strands, log_odds, strict=True):
                    at = starts + scan.bins(windows, strand)
                    tracks[strand](chrom, at, windows.stride, values)
                    found.append((chrom, strand, *finders[strand].add(starts, values)))
                best = np.fmax.reduce(log_odds, axis=None, initial=best)
            found += [(chrom, strand, *finder.finish()) for strand, finder in finders.items()]
        table = _peaks(found, genome, scan, windows)
        summits = table.assign(start=table["summit"], end=table["summit"] + 1)
        write_bed(files.enter_context(whole_file(f"{name}.peaks.bed")), table)
        write_bed(files.enter_context(whole_file(f"{name}.summits.bed")), summits)
    LOG.info(
        f"{counted(len(table), 'peak')} with a probability of at least "
        f"{threshold:.3g}; the best window has {expit(best):.3g}"
    )
    LOG.info(f"wrote {name}.*")
    return table


def _warn_without_prior(scorer: Scorer | Ensemble) -> None:
    fraction = scorer.calibration.positive_fraction
    known = "" if fraction is None else f" ({fraction:.1%})"
    LOG.warning(
        f"no prior: scores assume that as many windows are positive as in validation{known}, "
        "but in a genome far fewer are"
    )


def _scored(
    scorer: Scorer | Ensemble,
    genome: Genome,
    stretches: Sequence[Region],
    windows: GenomeWindows,
    shift: float,
) -> Iterator[tuple[str, Integers, Floats]]:
    """Yield chromosome, starts and log-odds of blocks of windows, and report the progress."""
    done, progress, number = 0, Progress(), sum(each.end - each.start for each in stretches)
    text = "{}:{:,}, {:,} of {:,} windows, about {:.0f} s left".format
    for stretch in stretches:
        for starts, log_odds in blocks(scorer, genome, stretch, windows, shift):
            yield stretch.chrom, starts, log_odds
            done += len(starts)
            progress.update(partial(text, stretch.chrom, starts[-1], done, number), done / number)


def blocks(
    scorer: Scorer | Ensemble, genome: Genome, stretch: Region, windows: GenomeWindows, shift: float
) -> Iterator[tuple[Integers, Floats]]:
    """Yield calibrated log-odds + shift of windows of a chromosome, CHUNK windows at a time.

    `stretch` gives the numbers of the first and last window, counted from the start of the
    chromosome.

    Yields
    ------
    The starts of the windows (n,), 0-based, and their scores (2, n) on strands + and -, with NaN
    for windows without a score; (1, n) for a model that reads both strands.
    """
    sequences = (
        (starts, genome.fetch(stretch.chrom, int(starts[0]), int(starts[-1]) + windows.size))
        for at in range(stretch.start, stretch.end, CHUNK)
        for starts in [np.arange(at, min(at + CHUNK, stretch.end)) * windows.stride]
    )

    def scored(starts: Integers, letters: Ascii) -> tuple[Integers, Floats]:
        logits = strand_logits(scorer, letters, windows)
        log_odds = scorer.calibration.log_odds(logits) + shift
        foreign = counts_before(scorer.alphabet.codes(letters) >= len(scorer.alphabet.letters))
        first = starts - starts[0]
        counts = foreign[first + windows.size] - foreign[first]
        log_odds[:, counts > MOST_AMBIGUOUS * windows.size] = np.nan
        return starts, log_odds

    on_cpu = all(member.device.type == "cpu" for member in scorer.members)
    yield from in_threads(scored, sequences, torch.get_num_threads() if on_cpu else 1)


def _wanted(regions: Sequence[str | Path] | str | Path | None, genome: Genome) -> list[Region]:
    if regions is None:
        return [Region(name, 0, length) for name, length in genome.lengths.items()]
    found = []
    for region in listed(regions):
        if isinstance(region, Path) or region.lower().endswith(INTERVAL_FILES):
            found += read_regions(region, genome)
        else:
            found.append(parse_region(region, genome))
    return joined(found, genome)


def _stretches(regions: Sequence[Region], genome: Genome, windows: GenomeWindows) -> list[Region]:
    """Return ranges of window numbers whose middle `stride` bp overlap a region.

    Ranges that touch are merged.
    """
    middle, found = (windows.size - windows.stride) // 2, []
    for chrom, start, end in regions:
        first, last = (start - middle) // windows.stride, -(-(end - middle) // windows.stride)
        found.append(Region(chrom, max(0, first), min(last, windows.number(genome.lengths[chrom]))))
    return joined([stretch for stretch in found if stretch.start < stretch.end], genome)


@contextmanager
def _open_track(path: str, genome: Genome) -> Iterator[Callable[..., None]]:
    """Yield a function that writes values of intervals to a bigWig, leaving out NaN.

    Its arguments are the chromosome, the starts (n,) of consecutive intervals, their length in bp
    and their values (n,). The file appears under its name only when it is complete.

    Raises
    ------
    OSError
        If the disk is almost full, or became full.
    """
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def write(chrom: str, starts: Integers, span: int, values: Floats) -> None:
        if shutil.disk_usage(Path(path).parent).free < SPARE + 8 * len(values):
            raise full  # pyBigWig may never return on a full disk
        known = np.flatnonzero(~np.isnan(values))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            if len(run):
                first, part = int(starts[run[0]]), values[run].astype(np.float32)
                file.addEntries(chrom, first, values=part, span=span, step=span)

    with whole_file(path) as temporary:
        temporary.touch()  # pyBigWig crashes if the file cannot be created; this raises an error
        with pyBigWig.open(str(temporary), "w") as file:
            file.addHeader(list(genome.lengths.items()))
            yield write
        with temporary.open("rb") as written:  # pyBigWig raises no error on a full disk
            written.seek(max(0, temporary.stat().st_size - len(BIGWIG_END)))
            if written.read() != BIGWIG_END:
                raise full


def _peaks(
    found: list[tuple[str, str, Integers, Floats]],
    genome: Genome,
    scan: Scan,
    windows: GenomeWindows,
) -> pd.DataFrame:
    """Return peaks, given as (chrom, strand, starts, log-odds), in the genome's order."""
    parts = [
        pd.DataFrame({"chrom": chrom, "start": starts, "strand": strand, "log_odds": values})
        for chrom, strand, starts, values in found
    ]
    order = {name: number for number, name in enumerate(genome.names)}
    table = pd.concat(parts).sort_values(
        ["chrom", "start", "strand"],
        key=lambda values: values.map(order) if values.name == "chrom" else values,
        ignore_index=True,
    )
    offsets = {strand: scan.summit(windows, strand) for strand in (*STRANDS, *BOTH)}
    probability = expit(table["log_odds"])
    return table.assign(
        end=table["start"] + windows.size,
        name=[f"peak{number}" for number in range(1, len(table) + 1)],
        score=(probability * 1000).round().astype(int),
        summit=table["start"] + table["strand"].map(offsets).astype(int),
        probability=probability,
    )[PEAKS]


# ------------ peaks
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
