"""Measure scans and scores with blocks of the encoder as one kernel, and as separate modules.

The model that ships reads random DNA: windows of 300 bp on both strands, one every 24 bp, and
records of 300 bp. Both ways alternate in one process with one thread; figures are medians of
processor time. The largest difference of the log-odds is that of rounding.

    OMP_NUM_THREADS=1 python benchmarks/scan_speed.py
    OMP_NUM_THREADS=1 python benchmarks/scan_speed.py --windows 512 --rounds 3      # quick
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import torch
from harness import Row, Table, option, run

from selfattn_bio import load
from selfattn_bio.model.encoder import EncoderBlock
from selfattn_bio.process import keep_memory
from selfattn_bio.scoring.windows import GenomeWindows, strand_outputs

SIZE, STRIDE, RECORDS = 300, 24, 1024


def timed(work: Callable[[], np.ndarray], *, fused: bool) -> tuple[float, np.ndarray]:
    """Return the seconds of processor time of `work`, and its result."""
    allowed = EncoderBlock._can_fuse if fused else lambda *_: False
    with mock.patch.object(EncoderBlock, "_can_fuse", allowed):
        start = time.process_time()
        result = work()
        return time.process_time() - start, result


def rows(windows: int, rounds: int) -> Iterator[Row]:
    """Measure a chunk of a scan, and records."""
    keep_memory()  # as the commands do
    torch.set_num_threads(1)
    scorer, random = load("promoter"), np.random.default_rng(0)

    def letters(length: int) -> np.ndarray:
        return np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length)]

    layout = GenomeWindows(SIZE, STRIDE)
    chunk, records = letters(layout.span(windows)), [letters(SIZE) for _ in range(RECORDS)]
    works = {
        "scan, s per Mb": (lambda: strand_outputs(scorer, chunk, layout), 1e6 / len(chunk)),
        "score, us per record": (lambda: scorer.log_odds(records), 1e6 / RECORDS),
    }
    for name, (work, factor) in works.items():
        timed(work, fused=True)
        pairs = [(timed(work, fused=False), timed(work, fused=True)) for _ in range(rounds)]
        before, now = (np.array([pair[i][0] for pair in pairs]) for i in range(2))
        differences = [np.abs(first[1] - second[1]).max() for first, second in pairs]
        yield {
            "": name,
            "modules": f"{np.median(before) * factor:.3g}",
            "one kernel": f"{np.median(now) * factor:.3g}",
            "ratio": f"{np.median(before / now):.2f}",
            "largest difference": f"{max(differences):.0e}",
        }


if __name__ == "__main__":
    run(
        __doc__,
        lambda chosen: [Table("", rows(chosen.windows, chosen.rounds))],
        option("--windows", type=int, default=4096, help="windows of the scan (%(default)s)"),
        option("--rounds", type=int, default=9, help="measurements of each (%(default)s)"),
    )
