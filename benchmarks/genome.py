"""Measure the speed of windows, shuffles and negatives from a genome, in CPU seconds of one core.

python benchmarks/genome.py chr2R.fa
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.negatives import Wanted, matched, neighbours
from selfattn_bio.sequence.shuffle import shuffle_letters
from selfattn_bio.sequence.windows import cut

WINDOWS, WIDTH = 10_000, 300


def seconds(work: Callable[[], object]) -> float:
    """Measure CPU seconds, which depend less on other processes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def drawn(genome: Genome, number: int, rng: np.random.Generator) -> pd.DataFrame:
    """Sample windows without N or overlap on either strand of the longest chromosome."""
    chrom = max(genome.lengths, key=lambda name: genome.lengths[name])
    starts = rng.permutation(genome.lengths[chrom] // WIDTH)[: 2 * number] * WIDTH
    letters = genome.fetch(chrom)
    starts = np.array(
        [start for start in starts if ord("N") not in letters[start : start + WIDTH]][:number]
    )
    strands = rng.choice(["+", "-"], len(starts))
    rest = {
        "name": "",
        "score": np.nan,
        "summit": -1,
        "line": np.arange(len(starts)),
        "path": "drawn",
    }
    return pd.DataFrame(
        {"chrom": chrom, "start": starts, "end": starts + WIDTH, "strand": strands} | rest
    )


def measure(path: Path, rng: np.random.Generator) -> None:
    """Print the figures of one file."""
    indexing, opening = seconds(lambda: Genome(path)), seconds(lambda: Genome(path))
    print(f"{path.name}: indexed in {indexing:.2f} s, opened in {1e3 * opening:.1f} ms")
    genome = Genome(path)
    rows = drawn(genome, WINDOWS, rng)
    few = rows.head(1000 if path.suffix == ".gz" else WINDOWS)
    places = list(
        zip(few["chrom"], few["start"].tolist(), few["end"].tolist(), few["strand"], strict=True)
    )
    took = seconds(lambda: [genome.fetch(*place) for place in places])
    windows = f"windows of {WIDTH} bp per second"
    print(f"{path.name}: {len(places) / took:,.0f} {windows}, one at a time at random positions")
    took = seconds(lambda: list(cut(rows, genome)))
    print(
        f"{path.name}: {len(rows) / took:,.0f} {windows} as records, {len(rows)} of one chromosome"
    )
    letters = genome.fetch(rows["chrom"].iloc[0])
    starts = rng.integers(0, len(letters) - WIDTH, 200_000)
    took = seconds(lambda: np.lib.stride_tricks.sliding_window_view(letters, WIDTH)[starts])
    print(f"{path.name}: {len(starts) / took:,.0f} {windows} from a chromosome in memory")
    took = seconds(lambda: matched(rows, genome, Wanted(), None, 0.02, Counter()))
    print(f"{path.name}: matched negatives for {len(rows)} positives in {took:.2f} s")
    took = seconds(lambda: neighbours(rows, genome, Wanted(may_lack=0.9), None, 0, 10, Counter()))
    print(f"{path.name}: neighbouring negatives for {len(rows)} positives in {took:.2f} s")


def main() -> None:
    """Measure a genome, uncompressed and as bgzip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("genome", type=Path, help="uncompressed FASTA file")
    path, rng = parser.parse_args().genome, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, path.name)
        plain.write_bytes(path.read_bytes())
        measure(plain, rng)
        pysam.tabix_compress(str(plain), f"{plain}.gz")
        measure(Path(f"{plain}.gz"), rng)
    letters = rng.choice(list(b"ACGT"), (WINDOWS, WIDTH)).astype(np.uint8)
    print(f"shuffle: compiled in {seconds(lambda: shuffle_letters(letters[0], 2, rng)):.1f} s")
    for k in (1, 2, 3, 6):
        took = seconds(lambda k=k: [shuffle_letters(row, k, rng) for row in letters])
        print(f"shuffle: {WINDOWS} x {WIDTH} bp, keeping {k}-mer counts, in {took:.1f} s")


if __name__ == "__main__":
    main()
