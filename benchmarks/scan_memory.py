"""Measure the memory of `scan` with many outputs, by the size of the genome.

A small untrained network with 50 numbers per window of 400 bp scans random genomes, whose
chromosomes have 1.5 Mb each. Peak is the largest resident memory of the command, with its start.
It should not grow with the genome: 50 outputs of 12 Mb must stay below 2 GB.

    python benchmarks/scan_memory.py
    python benchmarks/scan_memory.py --sizes 1.5 --outputs 2      # quick
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Row, Table, option, run
from runs import measured_command, prepared, train

FOLDER = Path("results/bench_scan_memory")
CHROMOSOME, WINDOW = 1_500_000, 400
MODEL = {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 32, "members": 1}


def letters(length: int, seed: int) -> str:
    """Return random bases."""
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def model_of(outputs: int) -> Path:
    """Train a network for two steps on random numbers; return its folder."""
    folder, names = FOLDER / f"{outputs}_outputs", [f"track_{i}" for i in range(outputs)]
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0).normal(size=(60, outputs)).round(3).astype(str)
    lines = ["\t".join(["id", "sequence", *names])]
    lines += ["\t".join([f"r{i}", letters(WINDOW, i), *row]) for i, row in enumerate(numbers)]
    (folder / "records.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "data": {"sequences": str(folder / "records.tsv")},
        "objective": {"kind": "regression", "columns": names},
        "model": {"kind": "attention", **MODEL},
        "training": {"max_steps": 2, "batch_size": 16},
        "variants": {},
    }
    study = prepared(folder, values)
    train(study)
    return study.files.model


def genome_of(megabases: float) -> Path:
    """Write a random genome."""
    path, number = FOLDER / f"{megabases:g}.fa", round(megabases * 1e6 / CHROMOSOME)
    records = (f">chr{i}\n{letters(CHROMOSOME, i)}\n" for i in range(number))
    path.write_text("".join(records), encoding="utf-8")
    return path


def rows(outputs: int, sizes: list[float]) -> Iterator[Row]:
    """Scan each genome."""
    model = model_of(outputs)
    for size in sizes:
        prefix = FOLDER / f"scan_{size:g}"
        cost = measured_command(
            "scan", "--model", model, "--genome", genome_of(size), "--output", prefix
        )
        files = list(FOLDER.glob(f"{prefix.name}.*.bw"))
        yield {
            "genome, Mb": f"{size:g}",
            "outputs": str(outputs),
            "bigWig files": str(len(files)),
            "files, MB": f"{sum(file.stat().st_size for file in files) / 1e6:.0f}",
            "processor time, s": f"{cost.cpu:.0f}",
            "peak, MB": f"{cost.peak:.0f}",
        }
        for file in files:
            file.unlink()


if __name__ == "__main__":
    run(
        __doc__,
        lambda chosen: [Table("", rows(chosen.outputs, chosen.sizes))],
        option("--sizes", nargs="+", type=float, default=[3, 6, 12], help="Mb (3 6 12)"),
        option("--outputs", type=int, default=50, help="numbers per window (%(default)s)"),
    )
