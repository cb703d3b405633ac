"""Compare training with one batch, accumulated batches, two processes (DDP) and shards (FSDP2).

Each step sees all training records in batches; the last batch is smaller. Dropout is 0 and losses
are divided by the count of the complete step, so all variants must train identically up to the
order of sums. Prints losses and weights compared with one batch. The exit code is 1 if a loss
differs by more than `TOLERANCE`.

    make bench-equalities      # or python benchmarks/equalities.py; CPU, gloo
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from harness import Row, Table, run
from runs import Study
from safetensors.torch import load_file

from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.sequence.alphabet import DNA

TOLERANCE = 1e-4  # relative
TRAIN, VALID, STEPS = 58, 20, 24
RUN = f"""
data = {{ positives = "1.fa", negatives = "0.fa" }}
[model]
kind = "attention"
embed_dim = 16
num_layers = 2
num_heads = 2
feedforward_dim = 32
dropout = 0.0
stem = {{ kind = "none" }}  # the default stem has batch norm, which depends on the batches
[training]
optimizer = "adam"  # with decay in the gradient; AdamW would hide a wrong factor of all gradients
weight_decay = 0.1
max_steps = {STEPS}
evaluate_every = 1
patience = {STEPS}
"""
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")
# -> batch_size, accumulate, launcher, options
WAYS: dict[str, tuple[int, int, tuple[str, ...], tuple[str, ...]]] = {
    "one batch": (TRAIN, 1, (), ()),
    "4 accumulated batches": (16, 4, (), ()),
    "2 processes, DDP": (TRAIN, 1, TORCHRUN, ()),
    "2 processes, DDP, 4 batches": (16, 4, TORCHRUN, ()),
    "2 processes, FSDP2": (TRAIN, 1, TORCHRUN, ("--sharded",)),
}


def prepare(folder: Path) -> None:
    """Write records of two labels, corpus and split."""
    rng = np.random.default_rng(0)
    for label in (0, 1):
        lengths = (rng.integers(30, 60) for _ in range((TRAIN + VALID) // 2))
        rows = ["".join(rng.choice(list("ACGT"), length)) for length in lengths]
        text = "".join(f">{label}-{i}\n{row}\n" for i, row in enumerate(rows))
        (folder / f"{label}.fa").write_text(text)
    files = [(folder / "1.fa", 1), (folder / "0.fa", 0)]
    build_corpus(files, folder / "corpus", RecordRules(DNA))
    Study(folder).write_split(rng.permutation(["train"] * TRAIN + ["valid"] * VALID))


def trained(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Train one variant; return the loss of each step and the final weights."""
    batch, accumulate, launcher, options = WAYS[name]
    (folder / f"{name}.toml").write_text(f"{RUN}batch_size = {batch}\naccumulate = {accumulate}\n")
    words = ("train", "--corpus", "corpus", "--split", "split.tsv", "--threads", "1", *options)
    files = ("--run-file", f"{name}.toml", "--output", name)
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "selfattn_bio.cli.main", *words, *files],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nerror: {name!r} failed with exit code {done.returncode}")
    weights = load_file(folder / name / "model.safetensors")
    losses = pd.read_csv(folder / name / "history.csv")["train_loss"].to_numpy()
    return losses, np.concatenate(
        [weights[key].double().numpy().ravel() for key in sorted(weights)]
    )


def measure(_: object) -> Iterator[Table]:
    """Train each variant and compare it with one batch."""
    far = []

    def rows() -> Iterator[Row]:
        for way in WAYS:
            own, own_weights = trained(folder, way)
            if way == "one batch":
                losses, weights = own, own_weights
            difference = float(np.abs(own / losses - 1).max())
            far.extend([] if difference <= TOLERANCE else [way])
            yield {
                "training": way,
                **{f"loss, step {step}": f"{own[step - 1]:.7f}" for step in (1, STEPS // 2, STEPS)},
                "max rel. diff.": f"{difference:.1e}",
                "max weight diff.": f"{np.abs(own_weights - weights).max():.1e}",
            }

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        yield Table("", rows())
    if far:
        raise SystemExit(f"error: losses differ by more than {TOLERANCE:.0e}: {', '.join(far)}")


if __name__ == "__main__":
    run(__doc__, measure)
