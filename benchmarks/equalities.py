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
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import Rules
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
WAYS: dict[
    str, tuple[int, int, tuple[str, ...], tuple[str, ...]]
] = {  # -> batch_size, accumulate, launcher, options
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
        letters = [
            "".join(rng.choice(list("ACGT"), rng.integers(30, 60)))
            for _ in range((TRAIN + VALID) // 2)
        ]
        (folder / f"{label}.fa").write_text(
            "".join(f">{label}-{i}\n{text}\n" for i, text in enumerate(letters))
        )
    corpus = build_corpus(
        [(folder / "1.fa", 1), (folder / "0.fa", 0)], folder / "corpus", Rules(DNA)
    )
    splits = rng.permutation(["train"] * TRAIN + ["valid"] * VALID)
    pd.DataFrame({"id": corpus.records["id"], "split": splits, "reason": ""}).to_csv(
        folder / "split.tsv", sep="\t", index=False
    )


def trained(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Train one variant; return the loss of each step and the final weights."""
    batch, accumulate, launcher, options = WAYS[name]
    (folder / f"{name}.toml").write_text(f"{RUN}batch_size = {batch}\naccumulate = {accumulate}\n")
    command = [
        sys.executable,
        *launcher,
        "-m",
        "selfattn_bio.cli.main",
        "train",
        "--run-file",
        f"{name}.toml",
        "--corpus",
        "corpus",
    ]
    command += ["--split", "split.tsv", "--threads", "1", "--output", name, *options]
    done = subprocess.run(
        command,
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        found = {way: trained(Path(name), way) for way in WAYS}
    losses, weights = found["one batch"]
    head = (
        "loss, step 1",
        f"step {STEPS // 2}",
        f"step {STEPS}",
        "max rel. diff.",
        "max weight diff.",
    )
    print(f"{'':28} " + " ".join(f"{each:>17}" for each in head))
    far = []
    for way, (own, own_weights) in found.items():
        difference = float(np.abs(own / losses - 1).max())
        steps = " ".join(f"{own[step]:17.7f}" for step in (0, STEPS // 2 - 1, STEPS - 1))
        print(f"{way:28} {steps} {difference:17.1e} {np.abs(own_weights - weights).max():17.1e}")
        far += [] if difference <= TOLERANCE else [way]
    if far:
        raise SystemExit(f"error: losses differ by more than {TOLERANCE:.0e}: {', '.join(far)}")


if __name__ == "__main__":
    main()
