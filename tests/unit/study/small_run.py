"""A small trained task: corpus, split and a model of sequences with a planted word."""

import numpy as np

from selfattn_bio.cli.main import main

WORD = "GGTCACACTGTA"
RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[split]
kind = "chromosome"
valid = ["c2"]
test = ["c3"]
[model]
kind = "attention"
members = 1
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = 0.0
[training]
max_steps = 60
warmup_steps = 10
evaluate_every = 60
batch_size = 32
learning_rate = 0.01
[interpret]
max_sequences = 120
database = "none"
caller = { kind = "clusters" }
"""
DATA = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
COMMAND = [*DATA, "--model", "model"]


def write_run(folder):
    """Write run.toml, corpus/, split.tsv and model/ to `folder`, the current folder."""
    rng = np.random.default_rng(0)
    for name, word in (("p", WORD), ("n", "")):
        lines = []
        for i in range(180):
            row, at = "".join(rng.choice(list("ACGT"), 60)), int(rng.integers(5, 40))
            lines.append(
                f">{name}{i} chrom=c{i % 3 + 1}\n{row[:at]}{word}{row[at + len(word) :]}\n"
            )
        (folder / f"{name}.fa").write_text("".join(lines))
    (folder / "run.toml").write_text(RUN_FILE)
    ingest = ["ingest", "--fasta", "p.fa", "n.fa", "--label", "1", "0", "--alphabet", "dna"]
    assert main([*ingest, "--output", "corpus"]) == 0
    assert main(["split", *DATA[:4], "--output", "split.tsv"]) == 0
    assert main(["train", *DATA, "--threads", "1", "--output", "model"]) == 0
