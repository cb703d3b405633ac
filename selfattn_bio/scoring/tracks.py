"""Score a genome along both strands and write bigWig and BED files for each output of a model.

Models with outputs of complete records score windows; others score every position or bin.
Chromosomes are processed in chunks, so memory does not grow with their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.files import INTERVAL_FILES, check_output_file, listed
from selfattn_bio.log import LOG, Progress
from selfattn_bio.objectives.outputs import LOG_ODDS, safe_names
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.peaks import TrackWriter
from selfattn_bio.scoring.regions import Region, joined, parse_region, read_regions
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.tiling import Tiling
from selfattn_bio.scoring.windows import (
    GenomeWindows,
    assembly_of,
    base_outputs,
    in_threads,
    load_dna_model,
    position_outputs,
    prior_shift,
    strand_outputs,
    unit,
    warn_of_other_assembly,
    window_size,
)
from selfattn_bio.sequence.alphabet import Ascii
from selfattn_bio.sequence.bigwig import open_bigwig
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.intervals import counts_before

CHUNK = 4096  # windows held in memory at a time
MIDDLES = 32  # windows of profiles that are read together
PER_WINDOW = 12  # default strides per window; scores change little from one to the next
MOST_AMBIGUOUS = 0.5  # windows with a larger fraction of N and other ambiguous bases get no score
STRANDS = {"+": ".plus", "-": ".minus"}  # strand -> suffix of its track names
BOTH = {".": ""}  # for a model that reads both strands


@dataclass(frozen=True)
class Scan:
    """Settings of a genome scan.

    `window`, `stride` and `anchor` are for models with outputs of complete records.

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
        if a prior is given; models that are not binary have no peaks then.
    separation
        Minimum distance in bp between two peaks on the same strand. None for the window size, or
        the size of a bin.
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
        """Return the windows for a model: its bins, or bases, if it scores these.

        Raises
        ------
        ArgumentError
            If a setting of windows is given for a model of positions or bins.
        """
        if not scorer.objective.section.is_per_sequence:
            if (self.window, self.stride, self.anchor) != (None, None, "centre"):
                raise ArgumentError(
                    "window, stride and anchor cannot be used with objective "
                    f"{scorer.objective.kind!r}, which has scores of positions or bins"
                )
            return GenomeWindows(size := Tiling.of(scorer).unit, size)
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

    def least(self, scorer: Scorer | Ensemble, prior: float | None) -> float | None:
        """Return the least probability of a peak, or None for a model without peaks.

        Raises
        ------
        ArgumentError
            If there is a threshold and the model has only numbers.
        """
        objective = scorer.objective
        if self.threshold and all(track.unit != LOG_ODDS for track in objective.tracks):
            message = "threshold is a probability, but the outputs of this model are numbers"
            raise ArgumentError(message)
        if self.threshold or not objective.has_log_odds:
            return self.threshold
        return scorer.calibration.threshold if prior is None else 0.5

    def strands(self, scorer: Scorer | Ensemble) -> dict[str, str]:
        """Map the strands that a model distinguishes to suffixes of track names.

        A model that reads both strands has one strand, ".". So have bins here, because each of
        their outputs is a strand.

        Raises
        ------
        ArgumentError
            If the anchor is "start" or "end" and the model reads both strands.
        """
        if scorer.objective.section.is_per_base:
            return STRANDS if scorer.objective.section.num_strands == 2 else BOTH
        if scorer.objective.section.is_per_bin:
            return BOTH
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
    """Score a genome along both strands and write one track per output, and peaks.

    `score_genome("results/promoter/model", "dm3.fa", "promoters", regions=["chr2R"])` writes
    promoters.dm3.plus.bw, .minus.bw, .peaks.bed and .summits.bed. A track holds calibrated
    log-odds; 0 is a probability of 0.5. A model that reads both strands (`evaluation.strands`) has
    one track, promoters.dm3.bw, and its peaks have strand ".".

    Models that are not binary have these files for each output, such as promoters.dm3.heart.plus.bw
    (`safe_names`). Classes and labels have log-odds, of the class against all others. Numbers have
    the unit of their column, and counts the logarithm. Labels per position and bins have log-odds
    of every position or bin, not of windows. Profiles have the expected counts of each base,
    without the bias, in the middle of windows of the training records' length. Classes, labels and
    bins have peaks if `scan` has a threshold.

    A warning is logged for a binary model without `prior`, and if the genome is named differently
    from the assembly of the training records.

    Parameters
    ----------
    model
        A folder of a model of DNA, a list of folders whose outputs are averaged, or the result of
        `load`. The model may have any objective except "masked" and "causal".
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
        Fraction of windows that are positive, in (0, 1), for a binary model. It replaces that of
        the validation split: calibrated log-odds + logit(prior) - logit(validation fraction).
        Without it, log-odds hold for as many positives as in validation, and probabilities are far
        too high for a genome.
    assembly
        Assembly name in the file names. None for the genome's file name up to its first dot.
    scan
        Window, stride, anchor, threshold and separation of peaks.

    Returns
    -------
    One row per peak, in the genome's order: chrom, start, end (the window, 0-based half-open),
    name, score (probability x 1000), strand, summit (0-based position of the anchor), log_odds,
    probability. The BED files hold the first six columns, for the window and for the summit. Models
    that are not binary have a column output in front, by which rows are sorted first.

    Raises
    ------
    GenomeError
        If the genome or a region is malformed, a region is not on the genome, or no window fits.
    IntervalError
        If a file of regions is malformed or does not fit the genome.
    ModelFolderError
        As for `load`, or if the model is not a model of DNA that scores sequences.
    ArgumentError
        If an argument is out of range or does not fit the objective, the model folder does not give
        the window or the fraction of positives that is needed, or two outputs would have the same
        file names.
    """
    scorer, scan = load_dna_model(model), scan or Scan()
    shift, windows = prior_shift(scorer, prior), scan.windows(scorer)
    least, strands = scan.least(scorer, prior), scan.strands(scorer)
    tracks = scorer.objective.tracks
    names = safe_names([track.name for track in tracks])
    if scorer.objective.section.is_per_sequence:
        read = "one score for both" if scorer.both_strands else "scored on both"
        LOG.info(f"windows of {windows.size} bp, one every {windows.stride} bp, {read} strands")
    if prior is None and least is not None:
        _warn_without_prior(scorer)
    if not scorer.run.objective.is_per_record and (text := Tiling.of(scorer).difference):
        LOG.warning(f"chromosomes are {text}")
    genome = genome if isinstance(genome, Genome) else Genome(genome, scorer.alphabet)
    genome = genome.with_soft_mask(scorer.policy.soft_mask)
    assembly = assembly or assembly_of(genome)
    warn_of_other_assembly(scorer, assembly)
    stretches = _stretches(_wanted(regions, genome), genome, windows)
    if not stretches:
        message = f"no window of {windows.size} bp fits into the chromosomes or regions to scan"
        raise GenomeError(message, place=str(genome.path))
    prefix, separation = f"{output}.{assembly}", scan.separation or windows.size
    offsets = {each: (scan.bins(windows, each), scan.summit(windows, each)) for each in ".+-"}
    of_bins = scorer.objective.section.is_per_bin  # each output is a strand
    with ExitStack() as files:
        writers = []
        for track in tracks:
            name = f"{prefix}.{names[track.name]}" if track.name else prefix
            for ending in ("peaks.bed", "summits.bed"):
                check_output_file(f"{name}.{ending}", *listed(regions or ()))
            own = {track.name: ""} if of_bins else strands
            bigwigs = {
                strand: files.enter_context(open_bigwig(f"{name}{word}.bw", genome.lengths))
                for strand, word in own.items()
            }
            of_track = least if track.unit == LOG_ODDS else None
            writer = TrackWriter(track, name, bigwigs, offsets, windows, of_track, separation)
            writers.append(writer)
        scored = _scored(scorer, genome, stretches, windows, shift)
        for chrom, of_chrom in groupby(scored, key=itemgetter(0)):
            for _, starts, scores in of_chrom:
                for writer, of_output in zip(writers, scores, strict=True):
                    writer.add(chrom, starts, of_output)
            for writer in writers:
                writer.end(chrom)
        tables = [writer.save(genome, files) for writer in writers]
    for writer, table in zip(writers, tables, strict=True):
        LOG.info(writer.line(len(table)))
    LOG.info(f"wrote {prefix}.*")
    return pd.concat(tables, ignore_index=True)


def _warn_without_prior(scorer: Scorer | Ensemble) -> None:
    if not scorer.objective.section.is_per_sequence:
        return  # trained on long records, as in a genome
    if not scorer.objective.has_log_odds:
        LOG.warning(
            "probabilities hold for the fractions of classes in the training records; in a genome "
            "most are far rarer. Choose a high threshold; a prior is only for two classes"
        )
        return
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
    """Yield chromosome, starts and scores of blocks of windows, and report the progress."""
    done, progress, number = 0, Progress(), sum(each.end - each.start for each in stretches)
    text = "{}:{:,}, {:,} of {:,} windows{}".format
    for stretch in stretches:
        for starts, scores in blocks(scorer, genome, stretch, windows, shift):
            yield stretch.chrom, starts, scores
            done += len(starts)
            progress.update(partial(text, stretch.chrom, starts[-1], done, number), done / number)


def blocks(
    scorer: Scorer | Ensemble, genome: Genome, stretch: Region, windows: GenomeWindows, shift: float
) -> Iterator[tuple[Integers, Floats]]:
    """Yield the scores of windows, positions or bins of a chromosome, in blocks.

    The scores are those of `Objective.tracks`, for two classes calibrated, + `shift`. `stretch`
    gives the numbers of the first and last window, counted from the start of the chromosome.

    Yields
    ------
    The starts of the windows (n,), 0-based, and their scores (K, 2, n) on strands + and -, with NaN
    for windows without a score; (K, 1, n) for a model that reads both strands, and for bins.
    """
    objective, alphabet = scorer.objective, scorer.alphabet
    of_windows = objective.section.is_per_sequence
    size = window_size(scorer, None) if objective.section.is_per_base else 0
    if of_windows:
        read = _chunks(stretch, windows)
    elif size:
        read = _middles(stretch, size, objective.section.width, genome.lengths[stretch.chrom])
    else:
        read = _cores(scorer, genome, stretch, windows)
    sequences = (
        (starts, genome.fetch(stretch.chrom, start, end), int(starts[0]) - start)
        for starts, start, end in read
    )

    def scored(starts: Integers, letters: Ascii, before: int) -> tuple[Integers, Floats]:
        if of_windows:
            outputs = strand_outputs(scorer, letters, windows)
        elif size:
            outputs = base_outputs(scorer, letters, size, before)[:, : len(starts)]
        else:
            first = before // windows.size
            outputs = position_outputs(scorer, letters)[:, first : first + len(starts)]
        scores = np.stack([track.value(outputs) for track in objective.tracks])
        if objective.has_log_odds:
            scores = scorer.calibration.log_odds(scores) + shift
        foreign = counts_before(alphabet.codes(letters) >= len(alphabet.letters))
        at = starts - starts[0] + before
        counts = foreign[at + windows.size] - foreign[at]
        scores[..., counts > MOST_AMBIGUOUS * windows.size] = np.nan
        return starts, scores

    # small batches of windows share no threads; a tile of positions uses them all
    several = of_windows and all(member.device.type == "cpu" for member in scorer.members)
    yield from in_threads(scored, sequences, torch.get_num_threads() if several else 1)


def _chunks(stretch: Region, windows: GenomeWindows) -> Iterator[tuple[Integers, int, int]]:
    """Yield the starts of at most CHUNK windows, and the interval that they cover."""
    for at in range(stretch.start, stretch.end, CHUNK):
        starts = np.arange(at, min(at + CHUNK, stretch.end)) * windows.stride
        yield starts, int(starts[0]), int(starts[-1]) + windows.size


def _middles(
    stretch: Region, size: int, width: int, length: int
) -> Iterator[tuple[Integers, int, int]]:
    """Yield bases in the middles, of `width` bp, of windows of `size` bp, and their interval.

    Windows start at multiples of `width`, so that scores do not depend on the regions. Bases nearer
    to an end of the chromosome than the middle of a window have no score.
    """
    flank = (size - width) // 2
    moved = length - size + flank  # the middle of a last window that ends with the chromosome
    at, last = max(stretch.start, flank), min(stretch.end, moved + width)
    while at < last and length >= size:
        first = min(at - (at - flank) % width, moved)
        number = min(MIDDLES, -(-(last - first) // width), (moved - first) // width + 1)
        starts = np.arange(at, min(first + number * width, last))
        yield starts, first - flank, first - flank + (number - 1) * width + size
        at = int(starts[-1]) + 1


def _cores(
    scorer: Scorer | Ensemble, genome: Genome, stretch: Region, windows: GenomeWindows
) -> Iterator[tuple[Integers, int, int]]:
    """Yield the starts of the bins in the core of each tile of a chromosome, and the tile."""
    size, length, tiling = windows.size, genome.lengths[stretch.chrom], Tiling.of(scorer)
    # the other strand is pooled from the end of the chromosome; bins read it within their record
    step = tiling.step if scorer.objective.section.is_per_token else 1
    for tile in tiling.cut(length):
        first, last = max(tile.first, stretch.start * size), min(tile.last, stretch.end * size)
        if first < last:
            end = tile.end + (length - tile.end) % step
            yield np.arange(first, last, size), tile.start, end


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
