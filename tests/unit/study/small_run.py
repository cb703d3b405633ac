"""Small tasks for the tests of steps: trained on sequences with a planted word, or untrained."""

import json

import numpy as np
import torch

import selfattn_bio as sb
from selfattn_bio.files import sha256_of
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import save_model

WORD = "GGTCACACTGTA"
MODEL = """
[model]
kind = "attention"
members = 1
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = 0.0
"""
RUN_FILE = f"""
split = {{ kind = "chromosome", valid = ["c2"], test = ["c3"] }}
[data]
positives = "p.fa"
negatives = "n.fa"
{MODEL}
[training]
max_steps = 60
warmup_steps = 10
evaluate_every = 60
batch_size = 32
learning_rate = 0.01
[interpret]
max_sequences = 120
database = "none"
caller = {{ kind = "clusters" }}
"""


def split_study(sections=""):
    """Add sections to the run file in the current folder; ingest and split its records."""
    with open("run.toml", "a") as file:
        file.write(sections)
    study = sb.Study(".")
    study.ingest()
    study.split()
    return study


def write_run(folder):
    """Write a task to `folder`, which is the current one, and train it."""
    rng = np.random.default_rng(0)
    for name, word in (("p", WORD), ("n", "")):
        lines = []
        for i in range(180):
            row, at = "".join(rng.choice(list("ACGT"), 60)), int(rng.integers(5, 40))
            row = f"{row[:at]}{word}{row[at + len(word) :]}"
            lines.append(f">{name}{i} chrom=c{i % 3 + 1}\n{row}\n")
        (folder / f"{name}.fa").write_text("".join(lines))
    (folder / "run.toml").write_text(RUN_FILE)
    split_study().train(threads=1)


def save_untrained(study, seed=0, slope=1.0, zero=False):
    """Save a random or `zero` network as the model of a study, as if it had been trained."""
    torch.manual_seed(seed)
    weights = build_network(study.run).state_dict()
    if zero:
        weights = {name: torch.zeros_like(value) for name, value in weights.items()}
    provenance = {
        "corpus_fingerprint": study.corpus.fingerprint,
        "split_sha256": sha256_of(study.splits),
        "calibration": {"slope": slope, "threshold": 0.5},
    }
    folder = study.files.model
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, study.run, weights, provenance)
    cost = {"seconds": 1.0 + seed, "peak_memory_mb": 2.0, "letters_per_second": 3.0}
    (folder / "train.json").write_text(json.dumps(cost))
