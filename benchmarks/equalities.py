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
from runs import prepared
from safetensors.torch import load_file

from selfattn_bio import Study

TOLERANCE = 1e-4  # relative
TRAIN, VALID, STEPS = 58, 20, 24
NETWORK = {
    **{"kind": "attention", "embed_dim": 16, "num_layers": 2, "num_heads": 2},
    **{"feedforward_dim": 32, "dropout": 0.0},
    "stem": {"kind": "none"},  # the default stem has batch norm, which depends on the batches
}
TRAINING = {
    "optimizer": "adam",  # with decay in the gradient; AdamW would hide a wrong factor of all
    "weight_decay": 0.1,
    "max_steps": STEPS,
    "evaluate_every": 1,
    "patience": STEPS,
}
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")
# variant -> name, batch_size, accumulate, launcher, options
WAYS: dict[str, tuple[str, int, int, tuple[str, ...], tuple[str, ...]]] = {
    "one": ("one batch", TRAIN, 1, (), ()),
    "four": ("4 accumulated batches", 16, 4, (), ()),
    "ddp": ("2 processes, DDP", TRAIN, 1, TORCHRUN, ()),
    "ddp_four": ("2 processes, DDP, 4 batches", 16, 4, TORCHRUN, ()),
    "fsdp2": ("2 processes, FSDP2", TRAIN, 1, TORCHRUN, ("--sharded",)),
}


def study_of(folder: Path) -> Study:
    """Write records of two labels with their split, and a run file with each way as a variant."""
    rng = np.random.default_rng(0)
    splits = rng.permutation(["train"] * TRAIN + ["valid"] * VALID).tolist() + ["test"] * 2
    texts = {1: "", 0: ""}
    for number, split in enumerate(splits):
        letters = "".join(rng.choice(list("ACGT"), rng.integers(30, 60)))
        texts[number % 2] += f">{number} split={split}\n{letters}\n"
    for label, text in texts.items():
        (folder / f"{label}.fa").write_text(text, encoding="ascii")
    values = {
        "data": {"positives": f"{folder}/1.fa", "negatives": f"{folder}/0.fa"},
        "split": {"kind": "column"},
        "model": NETWORK,
        "training": TRAINING,
        "variants": {
            variant: {"training": {"batch_size": batch, "accumulate": accumulate}}
            for variant, (_, batch, accumulate, _, _) in WAYS.items()
        },
    }
    return prepared(folder, values)


def trained(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """Train one variant; return the loss of each step and the final weights."""
    name, _, _, launcher, options = WAYS[study.address.variant or ""]
    words = ("train", str(study.files.folder), "--threads", "1", *options)
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "selfattn_bio.cli.main", *words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nerror: {name!r} failed with exit code {done.returncode}")
    weights = load_file(study.files.model / "model.safetensors")
    losses = pd.read_csv(study.files.history)["train_loss"].to_numpy()
    return losses, np.concatenate(
        [weights[key].double().numpy().ravel() for key in sorted(weights)]
    )


def measure(_: object) -> Iterator[Table]:
    """Train each variant and compare it with one batch."""
    far = []

    def rows() -> Iterator[Row]:
        for variant, (way, *_) in WAYS.items():
            own, own_weights = trained(study.variant(variant))
            if variant == "one":
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
        study = study_of(Path(name))
        yield Table("", rows())
    if far:
        raise SystemExit(f"error: losses differ by more than {TOLERANCE:.0e}: {', '.join(far)}")


if __name__ == "__main__":
    run(__doc__, measure)
