"""Planted tasks that only a pair of inputs solves, as files of a folder. No tests."""

from pathlib import Path

import numpy as np

DNA_MOTIFS, DOMAINS = ("TGACTCAT", "CACGTGGC"), ("HWKCNR", "FYEDQM")
RUN = """
[data]
positives = "positives.fa"
negatives = "negatives.fa"

[partner]
{partner}

[tokens]
k = 1

[model]
kind = "paired"
members = 1
{more}

[model.encoder]
embed_dim = 32
num_layers = 1
num_heads = 2
feedforward_dim = 64
dropout = 0.1
head = {{ kind = "pooling", parts = 1 }}

[training]
max_steps = {steps}
warmup_steps = 30
evaluate_every = 50
label_smoothing = 0.0

[evaluation]
bootstraps = 50

[interpret]
max_sequences = 64
method = {{ kind = "attnlrp" }}
"""


def planted(rng, length, motif, alphabet="ACGT"):
    """Random letters with a motif somewhere, or without one; where it begins."""
    letters, at = rng.choice(list(alphabet), length), int(rng.integers(0, length - len(motif or "") + 1))
    letters[at : at + len(motif or "")] = list(motif or "")
    return "".join(letters), at


def two_sequences(rng, label):
    """Label 1 where both hold their motif, or neither does."""
    first = bool(rng.integers(2))
    partner = first == bool(label)
    (one, at), (other, there) = planted(rng, 40, DNA_MOTIFS[0] if first else None), planted(rng, 32, DNA_MOTIFS[1] if partner else None)
    return one, other, (at, 8) if first else None, (there, 8) if partner else None


def dna_and_protein(rng, label):
    """Each of two domains binds one of two motifs: label 1 where the protein's domain binds the motif that the DNA holds."""
    motif = int(rng.integers(2))
    domain = motif if label else 1 - motif
    one, at = planted(rng, 40, DNA_MOTIFS[motif])
    other, there = planted(rng, 30, DOMAINS[domain], "ACDEFGHIKLMNPQRSTVWY")
    return one, other, (at, 8), (there, 6)


def dna_and_track(rng, label):
    """A motif and 16 letters with high numbers: label 1 where the motif lies among them."""
    one, at = planted(rng, 64, DNA_MOTIFS[0])
    starts = np.arange(49)
    inside, apart = (starts <= at) & (at + 8 <= starts + 16), (at + 8 <= starts) | (starts + 16 <= at)
    there = int(rng.choice(starts[inside if label else apart]))
    numbers = rng.normal(0, 0.15, 64)
    numbers[there : there + 16] += 1
    return one, numbers, (at, 8), (there, 16)


PARTNERS = {
    two_sequences: ('kind = "sequence"\nfiles = "partners.fa"\nk = 1', ""),
    dna_and_protein: ('kind = "sequence"\nalphabet = "protein"\nfiles = "partners.fa"\nk = 1', ""),
    dna_and_track: ('kind = "track"\npath = "partners.npz"\nlow = -0.5\nhigh = 1.5', 'cross_position = { kind = "t5" }'),
}


def write_pairs(folder: Path, kind, number: int, steps: int):
    """run.toml and the files of both inputs; of each record its label, both inputs, and where something was planted (start, letters)."""
    rng = np.random.default_rng(0)
    records = {f"r{i}": (i % 2, *kind(rng, i % 2)) for i in range(number)}
    for label, name in ((1, "positives"), (0, "negatives")):
        (folder / f"{name}.fa").write_text("".join(f">{key}\n{of[1]}\n" for key, of in records.items() if of[0] == label))
    turned = list(records)[::-1]  # partners may come in any order
    if kind is dna_and_track:
        np.savez(folder / "partners.npz", **{key: records[key][2] for key in turned})
    else:
        (folder / "partners.fa").write_text("".join(f">{key}\n{records[key][2]}\n" for key in turned))
    partner, more = PARTNERS[kind]
    (folder / "run.toml").write_text(RUN.format(partner=partner, more=more, steps=steps))
    return records
