"""The promoter model along a chromosome it was not trained on: time, and precision and recall of the peaks against known starts.

A peak is right if a transcription start of its strand stands within the tolerance of its summit (the last letter of the window as the
strand reads); a start is found if a right peak stands so near. Beside it the same for peaks moved along the chromosome, which is chance.
The starts are those of data/fly_promoters (one of several within 500 letters of a strand): a peak at one that is not annotated
counts as wrong. Run on two idle cores:

    python benchmarks/scan.py --genome data/fly_2R/chr2R.fa.gz
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from selfattn_bio.scoring.origin import origin_of
from selfattn_bio.scoring.regions import Region, parse_region
from selfattn_bio.scoring.tracks import Scan, score_genome
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.readers import read_records

STARTS = Path("data/fly_promoters/positives.fa.gz")
TOLERANCES = (100, 500)  # letters
TOP = (100, 300, 1000, 3000, 10_000)  # peaks, the highest first
MOVED = 50_021  # letters: farther than a promoter's neighbourhood


def known_starts(path: Path, region: Region) -> pd.DataFrame:
    """strand, place: the first transcribed letter (0-based), behind the last letter of each promoter of the region, as its strand reads."""
    rows = [
        (record.strand, record.end if record.strand == "+" else record.start - 1)
        for record in read_records(path, DNA)
        if record.chrom == region.chrom and record.start is not None and record.end is not None
    ]
    table = pd.DataFrame(rows, columns=["strand", "place"]).drop_duplicates()
    return table[table["place"].between(region.start, region.end - 1)].reset_index(drop=True)


def near(places: NDArray[np.int64], others: NDArray[np.int64], tolerance: int) -> NDArray[np.bool_]:
    """Of each place whether one of the others stands within the tolerance."""
    others = np.sort(others)
    return np.searchsorted(others, places + tolerance, side="right") > np.searchsorted(others, places - tolerance, side="left")


def judged(peaks: pd.DataFrame, starts: pd.DataFrame, tolerance: int) -> tuple[float, float]:
    """Precision and recall."""
    right = found = 0
    for strand in "+-":
        summits, places = (
            peaks.loc[peaks["strand"] == strand, "summit"].to_numpy(),
            starts.loc[starts["strand"] == strand, "place"].to_numpy(),
        )
        right += int(near(summits, places, tolerance).sum())
        found += int(near(places, summits, tolerance).sum())
    return right / max(1, len(peaks)), found / len(starts)


def moved(peaks: pd.DataFrame, region: Region) -> pd.DataFrame:
    """The same peaks elsewhere, around the end of the region."""
    return peaks.assign(summit=(peaks["summit"] - region.start + MOVED) % (region.end - region.start) + region.start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", default=["promoter"], metavar="DIR")
    parser.add_argument("--genome", type=Path, required=True, metavar="FASTA")
    parser.add_argument("--region", default="chr2R", help="CHROM or CHROM:START-END (%(default)s)")
    parser.add_argument("--stride", type=int, metavar="LETTERS")
    parser.add_argument("--output", type=Path, default=Path("results/bench_scan/promoters"), metavar="PREFIX")
    arguments = parser.parse_args()
    genome, origin = Genome(arguments.genome), origin_of(arguments.model)
    region, scan = parse_region(arguments.region, genome), Scan(stride=arguments.stride, anchor="end", threshold=0.5)
    windows, start, cpu = scan.windows(origin), time.monotonic(), time.process_time()
    peaks = score_genome(
        origin,
        genome,
        arguments.output,
        regions=[f"{region.chrom}:{region.start}-{region.end}"],
        scan=scan,
        say=lambda line: print(line, flush=True),
    )
    seconds, used, letters = time.monotonic() - start, time.process_time() - cpu, region.end - region.start
    print(f"{letters:,} letters, windows of {windows.size} every {windows.stride}, both strands: {seconds:.0f} s by the clock")
    rate, peak = 2 * letters // windows.stride / used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{used:.0f} s of processor time, {torch.get_num_threads()} threads, {rate:,.0f} windows a second of it; {peak:.0f} MB at most")
    starts = known_starts(STARTS, region)
    base = len(starts) / (2 * (letters // windows.stride))
    print(f"{len(starts)} known starts; {len(peaks)} peaks with log-odds >= 0 as of the balanced set")
    peaks = peaks.sort_values("log_odds", ascending=False, kind="stable", ignore_index=True)
    prior = int((peaks["log_odds"] + origin.shift(base) >= 0).sum())
    print(f"with --prior {base:.5f}, the share of windows that end at a start: {prior} peaks at a probability >= .5")
    print("peaks  tolerance  precision  by chance  recall  by chance")
    for number in sorted({*(top for top in TOP if top < len(peaks)), len(peaks)}):
        best = peaks[:number]
        for tolerance in TOLERANCES:
            precision, recall = judged(best, starts, tolerance)
            by_chance = judged(moved(best, region), starts, tolerance)
            print(f"{number:5}  {tolerance:9}  {precision:9.3f}  {by_chance[0]:9.3f}  {recall:6.3f}  {by_chance[1]:9.3f}")


if __name__ == "__main__":
    main()
