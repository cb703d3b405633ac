"""A genome scored: windows along both strands to bigWig, bedGraph and BED peaks.

Hides: chunks, so that memory does not grow with a chromosome; which letter of a window its score stands at; what is no window (N).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pandas as pd
import pyBigWig
import pysam
from numpy.typing import NDArray
from scipy.special import expit, logit

from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.files import INTERVAL_FILES, whole_file
from selfattn_bio.scoring.origin import Model, Origin, origin_of
from selfattn_bio.scoring.peaks import PeakFinder
from selfattn_bio.scoring.regions import Region, joined, parse_region, read_regions
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.windows import Windows, strand_logits, unit
from selfattn_bio.sequence.genome import Genome

CHUNK = 4096  # windows whose letters and vectors are held at once
PER_WINDOW = 12  # strides to a window, if none is named: between two of them a score changes little
MOST_AMBIGUOUS = 0.5  # a window with a larger share of N and other letters of several bases has no score
STRANDS = {"+": ".plus", "-": ".minus"}  # strand -> in the names of its tracks
BOTH = {".": ""}  # of a model that reads both strands
PEAKS = ["chrom", "start", "end", "name", "score", "strand", "summit", "log_odds", "probability"]


@dataclass(frozen=True)
class Scan:
    """How a genome is scanned.

    Attributes
    ----------
    window
        Letters; None for the length of the records that the model was trained on.
    stride
        Letters from a window to the next; None for the largest multiple of the model's pooling that is a twelfth of the window at most. A
        stride that is no multiple of the pooling takes longer, as nothing is shared.
    anchor
        Which letter of a window its score stands at, in reading direction: "start", "centre" or "end", as of a model of what lies in front
        of a place, such as promoters that end at the start of transcription.
    threshold
        Least probability of a peak; None for the one that was fitted on valid, or with a prior .5.
    separation
        Letters between two peaks of a strand, at least; None for the window.
    """

    window: int | None = None
    stride: int | None = None
    anchor: Literal["start", "centre", "end"] = "centre"
    threshold: float | None = None
    separation: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "stride", "separation"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ArgumentError(f"{name} must be at least 1 letter, got {value}")
        if self.anchor not in ("start", "centre", "end"):
            raise ArgumentError(f"anchor must be start, centre or end, got {self.anchor!r}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ArgumentError(f"threshold must be a probability in (0, 1), got {self.threshold}")

    def windows(self, origin: Origin) -> Windows:
        """The windows of a model."""
        size, step = origin.window(self.window), unit(origin.scorer)
        return Windows(size, self.stride or min(size, max(step, size // PER_WINDOW // step * step)))

    def bins(self, windows: Windows, strand: str) -> int:
        """Letters from the start of a window to that of the stretch of `stride` letters that carries its score."""
        room = windows.size - windows.stride
        offset = {"start": 0, "centre": room // 2, "end": room}[self.anchor]
        return room - offset if strand == "-" else offset

    def summit(self, windows: Windows, strand: str) -> int:
        """Letters from the start of a window to the one its score stands at."""
        offset = {"start": 0, "centre": windows.size // 2, "end": windows.size - 1}[self.anchor]
        return windows.size - 1 - offset if strand == "-" else offset

    def strands(self, scorer: Scorer | Ensemble) -> dict[str, str]:
        """The strands that a model tells apart -> what the names of their tracks have; one, ".", if it reads both.

        Raises
        ------
        ValueError
            If the score is to be at the start or end of a window that is read both ways.
        """
        if not scorer.both_strands:
            return STRANDS
        if self.anchor != "centre":
            message = f"the model reads both strands of a window, so anchor {self.anchor!r} has no direction"
            raise ArgumentError(message, cure="Use anchor 'centre'")
        return BOTH


@dataclass(frozen=True)
class Block:
    """Neighbouring windows of a chromosome: their starts (n,), 0-based, and log-odds (2, n) of the strands + and -, NaN where none.

    (1, n) of a model that reads both strands.
    """

    chrom: str
    starts: NDArray[np.int64]
    log_odds: NDArray[np.float64]


def score_genome(
    model: Model,
    genome: Genome | str | Path,
    output: str | Path,
    *,
    regions: Sequence[str] | str | Path | None = None,
    prior: float | None = None,
    assembly: str | None = None,
    scan: Scan | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Score windows along both strands of a genome and write tracks and peaks.

    `score_genome("results/promoter/model", "dm3.fa", "promoters", regions=["chr2R"])` writes promoters.dm3.plus.bw, .minus.bw,
    .plus.bedGraph.gz, .minus.bedGraph.gz, .peaks.bed and .summits.bed. A track holds calibrated log-odds: 0 is a probability of one half.
    A model that reads both strands (`evaluation.strands`) has one track, promoters.dm3.bw and .bedGraph.gz, and peaks of strand ".".

    Parameters
    ----------
    model
        A model folder of positives against negatives of DNA, several of them whose logits are averaged, or what `load` or `origin_of`
        returned.
    genome
        FASTA, plain or bgzip, or an open `Genome`.
    output
        What the names of the files begin with.
    regions
        Name of a chromosome or "chrom:start-end" (0-based half-open), several of them, or the path of a BED file; None for the whole
        genome. Scored are the windows of the whole chromosome, at multiples of the stride, whose middle `stride` letters touch a region.
    prior
        Share of windows that are positive, in (0, 1), which takes the place of the training set's: log-odds are logit / T + logit(prior) -
        logit(training share). Without it they are those of a set balanced as the training set, and probabilities far too high for a genome.
    assembly
        What the files are named by; None for the genome's file name up to its first dot.
    scan
        Window, stride, anchor, threshold and separation of peaks.
    say
        Told how far the scan is, line by line.

    Returns
    -------
    One row a peak, in the genome's order: chrom, start, end (the window, 0-based half-open), name, score (probability x 1000), strand,
    summit (0-based letter that the anchor names), log_odds, probability. The BED files hold the first six, of the window and of the summit.

    Raises
    ------
    GenomeError
        If the genome or a region is malformed or they do not fit each other, or no window fits.
    IntervalError
        If a file of regions is malformed or does not fit the genome.
    ModelFolderError
        As of `load`; or if the model is not one of positives against negatives of DNA.
    ValueError
        If an argument is out of range, or the model does not tell its window or its share of positives.
    """
    origin, scan = origin_of(model), scan or Scan()
    genome = (genome if isinstance(genome, Genome) else Genome(genome)).spelled(origin.scorer.spelling.soft_mask)
    windows, shift, strands = scan.windows(origin), origin.shift(prior), scan.strands(origin.scorer)
    threshold = scan.threshold or (origin.scorer.threshold if prior is None else 0.5)
    stretches = _stretches(_wanted(regions, genome), genome, windows)
    if not stretches:
        raise GenomeError(
            f"a chromosome must be at least as long as the window of {windows.size} letters, got none", place=str(genome.path)
        )
    best, peaks, progress = -np.inf, [], _Progress(sum(stretch.end - stretch.start for stretch in stretches), say)
    name = f"{output}.{assembly or assembly_of(genome)}"
    with ExitStack() as files:
        tracks = {strand: files.enter_context(_Track(f"{name}{word}", genome)) for strand, word in strands.items()}
        for chrom in dict.fromkeys(stretch.chrom for stretch in stretches):
            finders = {strand: PeakFinder(logit(threshold), scan.separation or windows.size) for strand in strands}
            found: list[pd.DataFrame] = []
            for stretch in (stretch for stretch in stretches if stretch.chrom == chrom):
                for block in blocks(origin.scorer, genome, stretch, windows, shift=shift):
                    for strand, values in zip(strands, block.log_odds, strict=True):
                        tracks[strand].write(chrom, block.starts + scan.bins(windows, strand), windows.stride, values)
                        found.append(_table(chrom, strand, *finders[strand].add(block.starts, values)))
                    best = np.fmax.reduce(block.log_odds, axis=None, initial=best)
                    progress.add(chrom, block.starts)
            found += [_table(chrom, strand, *finder.finish()) for strand, finder in finders.items()]
            peaks.append(pd.concat(found).sort_values(["start", "strand"], ignore_index=True))
        table = _peaks(pd.concat(peaks, ignore_index=True), scan, windows)
        _write_bed(files.enter_context(whole_file(f"{name}.peaks.bed")), table)
        _write_bed(files.enter_context(whole_file(f"{name}.summits.bed")), table.assign(start=table["summit"], end=table["summit"] + 1))
    number = f"{len(table)} peak{'s' * (len(table) != 1)} at or above a probability of {threshold:.3g}"
    say(f"{number}, the highest window has {expit(best):.3g}; wrote {name}.*")
    return table


def assembly_of(genome: Genome) -> str:
    """What a genome is called if nobody says: its file name up to the first dot."""
    return genome.path.name.split(".")[0]


def blocks(scorer: Scorer | Ensemble, genome: Genome, stretch: Region, windows: Windows, *, shift: float = 0.0) -> Iterator[Block]:
    """Log-odds (logit / T + shift) of windows `stretch.start` to `stretch.end` of a chromosome, counted from its first, CHUNK by CHUNK."""
    for at in range(stretch.start, stretch.end, CHUNK):
        starts = np.arange(at, min(at + CHUNK, stretch.end)) * windows.stride
        letters = genome.fetch(stretch.chrom, int(starts[0]), int(starts[-1]) + windows.size)
        log_odds = strand_logits(scorer, letters, windows) / scorer.temperature + shift
        foreign = np.concatenate(([0], np.cumsum(scorer.alphabet.codes(letters) >= len(scorer.alphabet.letters))))
        at_start = starts - starts[0]
        log_odds[:, foreign[at_start + windows.size] - foreign[at_start] > MOST_AMBIGUOUS * windows.size] = np.nan
        yield Block(stretch.chrom, starts, log_odds)


def _wanted(regions: Sequence[str] | str | Path | None, genome: Genome) -> list[Region]:
    if regions is None:
        return [Region(name, 0, length) for name, length in genome.lengths.items()]
    if isinstance(regions, Path) or (isinstance(regions, str) and regions.lower().endswith(INTERVAL_FILES)):
        return read_regions(regions, genome)
    return joined([parse_region(text, genome) for text in ([regions] if isinstance(regions, str) else regions)], genome)


def _stretches(regions: Sequence[Region], genome: Genome, windows: Windows) -> list[Region]:
    """The numbers of the windows whose middle `stride` letters touch a region, joined where two regions touch the same."""
    middle, found = (windows.size - windows.stride) // 2, []
    for chrom, start, end in regions:
        first, last = (start - middle) // windows.stride, -(-(end - middle) // windows.stride)
        found.append(Region(chrom, max(0, first), min(last, windows.number(genome.lengths[chrom]))))
    return joined([stretch for stretch in found if stretch.start < stretch.end], genome)


class _Track:
    """bigWig and bedGraph of one strand, written window by window; whole files, or none."""

    def __init__(self, name: str, genome: Genome) -> None:
        self._name, self._genome = name, genome

    def __enter__(self) -> _Track:
        with ExitStack() as files:
            bigwig, bedgraph = (files.enter_context(whole_file(f"{self._name}.{suffix}")) for suffix in ("bw", "bedGraph.gz"))
            bigwig.touch()  # where that fails, pyBigWig would crash
            self._bigwig = files.enter_context(pyBigWig.open(str(bigwig), "w"))
            self._bigwig.addHeader(list(self._genome.lengths.items()))
            self._bedgraph = files.enter_context(pysam.BGZFile(str(bedgraph), "wb", None))
            self._files = files.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)

    def write(self, chrom: str, starts: NDArray[np.int64], span: int, values: NDArray[np.float64]) -> None:
        """Values of stretches of `span` letters that follow each other; none where the value is NaN."""
        known = np.flatnonzero(~np.isnan(values))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            if len(run):
                self._bigwig.addEntries(chrom, int(starts[run[0]]), values=values[run].astype(np.float32), span=span, step=span)
        lines = (f"{chrom}\t{start}\t{start + span}\t{value:.4f}\n" for start, value in zip(starts[known], values[known], strict=True))
        self._bedgraph.write("".join(lines).encode())


def _table(chrom: str, strand: str, starts: NDArray[np.int64], values: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame({"chrom": chrom, "start": starts, "strand": strand, "log_odds": values})


def _peaks(found: pd.DataFrame, scan: Scan, windows: Windows) -> pd.DataFrame:
    """chrom, start, strand, log_odds -> all columns of PEAKS."""
    summit = found["strand"].map({strand: scan.summit(windows, strand) for strand in (*STRANDS, *BOTH)})
    probability = expit(found["log_odds"])
    return found.assign(
        end=found["start"] + windows.size,
        name=[f"peak{number}" for number in range(1, len(found) + 1)],
        score=(probability * 1000).round().astype(int),
        summit=found["start"] + summit.astype(int),
        probability=probability,
    )[PEAKS]


def _write_bed(path: Path, table: pd.DataFrame) -> None:
    table[PEAKS[:6]].to_csv(path, sep="\t", header=False, index=False, lineterminator="\n")


class _Progress:
    """Says how far the scan is, every 20 seconds."""

    def __init__(self, number: int, say: Callable[[str], None]) -> None:
        self._number, self._say, self._start, self._done = number, say, time.monotonic(), 0
        self._last = self._start

    def add(self, chrom: str, starts: NDArray[np.int64]) -> None:
        """These windows are done."""
        self._done += len(starts)
        now, share = time.monotonic(), self._done / self._number
        if now - self._last >= 20:
            self._last = now
            self._say(f"{chrom}:{starts[-1]:,}, {share:.0%} done, {(now - self._start) * (1 - share) / share:.0f} s left")
