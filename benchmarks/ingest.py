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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from selfattn_bio.data.corpus import Corpus

LINE, ROWS = 60, 100_000
Blocks = Iterator[bytes]
RUN = """
[data]
sequences = "genome.fa"
header = '(?P<chrom>\\w+)'
max_length = 1_000_000_000

[split]
kind = "chromosome"
valid = ["chr1"]
test = ["chr2"]

[objective]
kind = "masked"

[model]
kind = "attention"
members = 1
embed_dim = 32
num_layers = 1
feedforward_dim = 64
stem = { kind = "none" }
pattern = { kind = "window", window = 32 }

[training]
window = 1024
max_steps = 20
batch_size = 16
warmup_steps = 5
"""
PROCESS = """
import re, sys, time
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
status = open("/proc/self/status").read().replace("\\t", " ")
print(time.process_time(), re.search(r"VmHWM: +([0-9]+)", status)[1], file=sys.stderr)
sys.exit(code)
"""


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


def measured(*command: str | Path, folder: Path | None = None) -> tuple[float, float]:
    """Return CPU seconds and peak MB of one command."""
    told = subprocess.run(
        [sys.executable, "-c", PROCESS, *command],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
    ).stderr.split()
    return float(told[-2]), float(told[-1]) / 1000


def train(size: int, folder: Path) -> None:
    """Ingest, split and train on one genome; print time and memory of each."""
    with (folder / "genome.fa").open("wb") as handle:
        written = sum(map(handle.write, genome(size)))
    (folder / "run.toml").write_text(RUN)
    common = ["--run-file", "run.toml", "--corpus", "corpus"]
    commands: dict[str, list[str]] = {
        "ingest": ["--run-file", "run.toml", "--output", "corpus"],
        "split": [*common, "--output", "split.tsv"],
        "train": [*common, "--split", "split.tsv", "--threads", "1", "--output", "model"],
    }
    print(f"genome of {written / 1e6:,.0f} MB")
    print(f"{'command':10} {'CPU s':>7} {'wall s':>7} {'peak MB':>8}", flush=True)
    for name, arguments in commands.items():
        begun = time.monotonic()
        seconds, peak = measured(name, *arguments, folder=folder)
        print(f"{name:10} {seconds:7.1f} {time.monotonic() - begun:7.1f} {peak:8.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, default=1000, help="MB of each file (default: %(default)s)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="folder for the temporary files (default: %(default)s)",
    )
    parser.add_argument(
        "--train", action="store_true", help="ingest, split and train on one genome instead"
    )
    arguments = parser.parse_args()
    size = arguments.size * 10**6
    if arguments.train:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            train(size, Path(folder))
        return
    kinds: dict[str, tuple[Callable[[], Blocks], bool]] = {
        "genome": (lambda: genome(size), False),
        "genome, half in lower case": (lambda: genome(size, masked=True), False),
        "genome, gz": (lambda: genome(size), True),
        "one record in one line": (lambda: one_line(size), False),
        "records of 300 bp": (lambda: reads(size // 4), False),
    }
    print(f"{'file':34} {'MB':>6} {'CPU s':>7} {'MB/s':>6} {'peak MB':>8}", end="")
    print(f" {'open s':>7}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, (make, zipped) in kinds.items():
            file, corpus = Path(folder) / "a.fa", Path(folder) / "corpus"
            written = 0
            with gzip.open(file, "wb", compresslevel=6) if zipped else file.open("wb") as handle:
                for block in make():
                    written += handle.write(block)
            seconds, peak = measured(
                "ingest", "--sequences", file, "--alphabet", "dna", "--output", corpus
            )
            begun = time.process_time()
            opened = Corpus.open(corpus)
            opening = time.process_time() - begun
            megabytes = written / 1e6
            print(
                f"{name:34} {megabytes:6.0f} {seconds:7.2f} {megabytes / seconds:6.0f} {peak:8.0f} "
                f"{opening:7.2f}",
                flush=True,
            )
            del opened
            file.unlink()
            shutil.rmtree(corpus)


if __name__ == "__main__":
    main()
