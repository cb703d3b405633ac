"""Measure speed and memory of ingest and of opening a corpus.

Files of the requested size are generated. The command reads each one in a separate process; figures
are its CPU seconds (including one second of startup and imports), its peak resident memory and the
bytes of the uncompressed file.

    python benchmarks/ingest.py --size 1000 --folder /tmp
    python benchmarks/ingest.py --train      # ingest, split and train on one genome instead

With --train the genome is split by chromosome and a small masked model takes 20 steps of windows of
1,024 bp.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Table, median_seconds, option, run
from runs import measured_command, study_in

LINE, ROWS = 60, 100_000
Blocks = Iterator[bytes]
MOST = 10**9  # bp of a record
SMALL = {"kind": "attention", "members": 1, "embed_dim": 32, "num_layers": 1, "feedforward_dim": 64}
RUN: dict[str, Any] = {
    "data": {"header": "(?P<chrom>\\w+)", "max_length": MOST},
    "split": {"kind": "chromosome", "valid": ["chr1"], "test": ["chr2"]},
    "objective": {"kind": "masked"},
    "model": {**SMALL, "stem": {"kind": "none"}, "pattern": {"kind": "window", "window": 32}},
    "training": {"window": 1024, "max_steps": 20, "batch_size": 16, "warmup_steps": 5},
}


def lines(seed: int, masked: bool) -> Callable[[], bytes]:
    """Return a function that gives 6 MB in lines of 60 bp, in a new order at each call."""
    generator = np.random.default_rng(seed)
    letters = generator.choice(np.frombuffer(b"ACGT", np.uint8), ROWS * LINE)
    if masked:  # half of the bases in runs of 300 bp, like repeats
        letters = letters | (
            np.repeat(generator.random(len(letters) // 300) < 0.5, 300) * 32
        ).astype(np.uint8)
    rows = np.hstack([letters.reshape(-1, LINE), np.full((ROWS, 1), ord("\n"), np.uint8)])
    return lambda: rows[generator.permutation(ROWS)].tobytes()


def genome(size: int, masked: bool = False) -> Blocks:
    """Yield chromosomes of 60 Mb."""
    more, written, number = lines(0, masked), 0, 0
    while written < size:
        number += 1
        yield b">chr%d\n" % number
        for _ in range(10):
            yield more()
            written += ROWS * (LINE + 1)


def reads(size: int) -> Blocks:
    """Yield records of 300 bp."""
    more, written, number = lines(1, masked=False), 0, 0
    while written < size:
        block = more()
        for at in range(0, len(block), 5 * (LINE + 1)):
            number += 1
            yield b">r%d\n%b" % (number, block[at : at + 5 * (LINE + 1)])
        written += len(block)


def one_line(size: int) -> Blocks:
    """Yield a single record in a single line."""
    more = lines(2, masked=False)
    yield b">long\n"
    for _ in range(0, size, ROWS * LINE):
        yield more().replace(b"\n", b"")


def command_rows(genome: Path) -> Iterator[Row]:
    """Ingest, split and train on a genome; return time and memory of each."""
    data = {**RUN["data"], "sequences": str(genome)}
    study_in(genome.parent, {**RUN, "data": data})
    for name, options in {"ingest": (), "split": (), "train": ("--threads", 1)}.items():
        cost = measured_command(name, genome.parent, *options)
        yield {
            "command": name,
            "CPU s": f"{cost.cpu:.1f}",
            "wall s": f"{cost.wall:.1f}",
            "peak MB": f"{cost.peak:.0f}",
        }


def file_row(name: str, blocks: Blocks, zipped: bool, folder: Path) -> Row:
    """Write a file, and measure ingest and opening the corpus."""
    file = folder / "a.fa"
    data = {"sequences": str(file), "max_length": MOST}
    study = study_in(folder, {"data": data, "objective": RUN["objective"]})
    with gzip.open(file, "wb", compresslevel=6) if zipped else file.open("wb") as handle:
        megabytes = sum(map(handle.write, blocks)) / 1e6
    cost = measured_command("ingest", folder)
    opening = median_seconds({"open": lambda: study.corpus})["open"]
    file.unlink()
    shutil.rmtree(study.root.corpus)
    return {
        "file": name,
        "MB": f"{megabytes:.0f}",
        "CPU s": f"{cost.cpu:.2f}",
        "MB/s": f"{megabytes / cost.cpu:.0f}",
        "peak MB": f"{cost.peak:.0f}",
        "open s": f"{opening:.2f}",
    }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Measure ingest of several files, or three commands on one genome."""
    size = chosen.size * 10**6
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary)
        if chosen.train:
            with (folder / "genome.fa").open("wb") as handle:
                written = sum(map(handle.write, genome(size)))
            yield Table(f"genome of {written / 1e6:,.0f} MB", command_rows(folder / "genome.fa"))
            return
        files = {
            "genome": (genome(size), False),
            "genome, half in lower case": (genome(size, masked=True), False),
            "genome, gz": (genome(size), True),
            "one record in one line": (one_line(size), False),
            "records of 300 bp": (reads(size // 4), False),
        }
        yield Table("", (file_row(name, *each, folder) for name, each in files.items()))


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        option("--size", type=int, default=1000, help="MB of each file (default: %(default)s)"),
        option(
            "--folder",
            type=Path,
            default=Path(tempfile.gettempdir()),
            help="folder for the temporary files (default: %(default)s)",
        ),
        option("--train", action="store_true", help="ingest, split and train on one genome"),
    )
