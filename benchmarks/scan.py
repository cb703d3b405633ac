"""Scan a held-out chromosome with the promoter model: time, precision and recall of peaks.

A peak is correct if a transcription start on its strand is within the tolerance of its summit (the
last base of the window in the direction of the strand). A start is found if a correct peak is that
close. The same figures for peaks moved along the chromosome give the level of chance. The starts
are those of data/fly_promoters, which keeps one of several starts within 500 bp on a strand. A peak
at an unannotated start counts as wrong.

    python benchmarks/scan.py --genome data/fly_2R/chr2R.fa.gz      # on two idle cores
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import Row, Table, option, run
from numpy.typing import NDArray

from selfattn_bio.scoring.origin import origin_of
from selfattn_bio.scoring.regions import Region, parse_region
from selfattn_bio.scoring.tracks import Scan, score_genome
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.readers import read_records

STARTS = Path("data/fly_promoters/positives.fa.gz")
TOLERANCES = (100, 500)  # bp
TOP = (100, 300, 1000, 3000, 10_000)  # peaks, the highest first
MOVED = 50_021  # bp, beyond the neighbourhood of a promoter


def known_starts(path: Path, region: Region) -> pd.DataFrame:
    """Return strand and place of the known starts in a region.

    `place` is the first transcribed base (0-based), directly downstream of the promoter.
    """
    rows = [
        (record.strand, record.end if record.strand == "+" else record.start - 1)
        for record in read_records(path, DNA)
        if record.chrom == region.chrom and record.start is not None and record.end is not None
    ]
    table = pd.DataFrame(rows, columns=["strand", "place"]).drop_duplicates()
    return table[table["place"].between(region.start, region.end - 1)].reset_index(drop=True)


def near(places: NDArray[np.int64], others: NDArray[np.int64], tolerance: int) -> NDArray[np.bool_]:
    """Return for each position whether one of the others is within the tolerance."""
    others = np.sort(others)
    return np.searchsorted(others, places + tolerance, side="right") > np.searchsorted(
        others, places - tolerance, side="left"
    )


def judged(peaks: pd.DataFrame, starts: pd.DataFrame, tolerance: int) -> tuple[float, float]:
    """Return precision and recall."""
    right = found = 0
    for strand in "+-":
        summits = peaks.loc[peaks["strand"] == strand, "summit"].to_numpy()
        places = starts.loc[starts["strand"] == strand, "place"].to_numpy()
        right += int(near(summits, places, tolerance).sum())
        found += int(near(places, summits, tolerance).sum())
    return right / max(1, len(peaks)), found / len(starts)


def moved(peaks: pd.DataFrame, region: Region) -> pd.DataFrame:
    """Move the peaks along the region, wrapping at its end."""
    return peaks.assign(
        summit=(peaks["summit"] - region.start + MOVED) % (region.end - region.start) + region.start
    )


def rows(peaks: pd.DataFrame, starts: pd.DataFrame, region: Region) -> Iterator[Row]:
    """Return precision and recall of the best peaks."""
    for number in sorted({*(top for top in TOP if top < len(peaks)), len(peaks)}):
        best = peaks[:number]
        for tolerance in TOLERANCES:
            precision, recall = judged(best, starts, tolerance)
            by_chance = judged(moved(best, region), starts, tolerance)
            yield {
                "peaks": str(number),
                "tolerance": str(tolerance),
                "precision": f"{precision:.3f}",
                "by chance": f"{by_chance[0]:.3f}",
                "recall": f"{recall:.3f}",
                "recall by chance": f"{by_chance[1]:.3f}",
            }


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Scan, and compare the peaks with the known starts."""
    genome, origin = Genome(chosen.genome), origin_of(chosen.model)
    region = parse_region(chosen.region, genome)
    scan = Scan(stride=chosen.stride, anchor="end", threshold=0.5)
    windows, start, cpu = scan.windows(origin), time.monotonic(), time.process_time()
    peaks = score_genome(
        origin,
        genome,
        chosen.output,
        regions=[f"{region.chrom}:{region.start + 1}-{region.end}"],
        scan=scan,
    )
    seconds, used = time.monotonic() - start, time.process_time() - cpu
    letters = region.end - region.start
    rate = 2 * letters // windows.stride / used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    yield (
        f"{letters:,} bp, windows of {windows.size} every {windows.stride}, both strands: "
        f"{seconds:.0f} s wall-clock, {used:.0f} CPU s, {torch.get_num_threads()} threads, "
        f"{rate:,.0f} windows per CPU s, peak {peak:.0f} MB"
    )
    starts = known_starts(STARTS, region)
    base = len(starts) / (2 * (letters // windows.stride))
    peaks = peaks.sort_values("log_odds", ascending=False, kind="stable", ignore_index=True)
    prior = int((peaks["log_odds"] + origin.shift(base) >= 0).sum())
    yield (
        f"{len(starts)} known starts; {len(peaks)} peaks with log-odds >= 0 without --prior. With "
        f"--prior {base:.5f}, the fraction of windows that end at a start: {prior} peaks with a "
        "probability of at least .5"
    )
    yield Table("", rows(peaks, starts, region))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--model", type=Path, nargs="+", default=["promoter"], metavar="DIR"),
        option("--genome", type=Path, required=True, metavar="FASTA"),
        option("--region", default="chr2R", help="CHROM or CHROM:FIRST-LAST (%(default)s)"),
        option("--stride", type=int, metavar="BP"),
        option(
            "--output", type=Path, default=Path("results/bench_scan/promoters"), metavar="PREFIX"
        ),
        threads=None,
    )
