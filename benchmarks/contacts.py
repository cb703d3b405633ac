"""Compare contact maps by attention and by mutual information on simulated protein families.

A family is a Potts model of 60 residues. Each position has its own residue preferences, and
positions in contact prefer certain residue pairs by a matrix that all families share. Contacts form
ladders like those of strands and helices. Most positions therefore have several contacts, and
positions without contact covary through the ones between.

One masked model is trained on sequences of all families, without contacts. A regression over its
heads is fitted on a few families and evaluated on the others. The map of a family is the mean over
some of its sequences. Mutual information, with the same average-product correction, uses all
training sequences of the family.

    python benchmarks/contacts.py      # minutes on one core; continues in results/bench_contacts/
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Row, Table, option, run
from numpy.typing import NDArray
from runs import Study, quick_folder, write_run_file

from selfattn_bio.interpret.contacts import (
    RANGES,
    average_product_corrected,
    contact_map,
    fit_contacts,
    head_maps,
    precision_at_length,
)
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import PROTEIN

FOLDER = Path("results/bench_contacts")
LENGTH, STATES = 60, len(PROTEIN.letters)
FAMILIES, FITTED = 6, 2  # families, and the number of them that the regression is fitted on
SEQUENCES, SAMPLED = 1000, 50  # sequences per family: for training, and for its map
COUPLING, FIELD, SWEEPS = 1.0, 0.8, 60
CONTACTS = 2 * LENGTH
RUN: dict[str, Any] = {
    "split": {"kind": "random", "test_fraction": 0.05, "valid_fraction": 0.05},
    "objective": {"kind": "masked", "fraction": 0.15},
    "tokens": {"k": 1},
    "model": {
        "kind": "attention",
        "members": 1,
        "embed_dim": 64,
        "num_layers": 2,
        "num_heads": 8,
        "feedforward_dim": 128,
        "dropout": 0.0,
        "stem": {"kind": "none"},
        "position": {"kind": "learned", "max_length": LENGTH},
    },
}
TRAINING = {
    "max_steps": 2000,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "warmup_steps": 200,
    "evaluate_every": 500,
    "shift": 0,
    "label_smoothing": 0.0,
}
QUICK = {"max_steps": 10, "warmup_steps": 5, "evaluate_every": 10}


@dataclass(frozen=True)
class Family:
    """A simulated family: codes (n, L) and contacts (L, L)."""

    codes: NDArray[np.int64]
    contacts: NDArray[np.bool_]

    @property
    def letters(self) -> NDArray[np.uint8]:
        """Return the sequences as ASCII, (n, L)."""
        return np.frombuffer(PROTEIN.letters.encode(), dtype=np.uint8)[self.codes]


def ladders(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Sample contacts in parallel and antiparallel runs of 3 to 6, at least 6 residues apart."""
    contacts = np.zeros((LENGTH, LENGTH), dtype=bool)
    while contacts.sum() < 2 * CONTACTS:
        i, j = np.sort(rng.integers(0, LENGTH, 2))
        rungs, turn = np.arange(rng.integers(3, 7)), rng.choice([1, -1])
        first, second = i + rungs, j + turn * rungs
        kept = (second - first >= 6) & (second < LENGTH)
        contacts[first[kept], second[kept]] = contacts[second[kept], first[kept]] = True
    return contacts


def simulate(
    contacts: NDArray[np.bool_],
    pairing: NDArray[np.float64],
    rng: np.random.Generator,
    number: int = SEQUENCES,
) -> Family:
    """Sample the sequences of a family by Gibbs sampling, one per chain.

    The Potts model has couplings `pairing` (A, A) at contacts and random fields.
    """
    fields = FIELD * rng.normal(size=(LENGTH, STATES))
    codes = rng.integers(0, STATES, (number, LENGTH))
    for _ in range(SWEEPS):
        for site in rng.permutation(LENGTH):
            logits = fields[site] + pairing[codes[:, contacts[site]]].sum(1)
            codes[:, site] = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return Family(codes, contacts)


def families(number: int, seed: int = 0) -> list[Family]:
    """Simulate all families.

    Residues have three properties, like charge and size. Pairs prefer equal values of two of them
    and opposite values of the third.
    """
    rng = np.random.default_rng(seed)
    properties = rng.normal(size=(STATES, 3))
    pairing = COUPLING * (properties * [1, -1, 1]) @ properties.T / np.sqrt(3)
    return [simulate(ladders(rng), pairing, rng, number) for _ in range(FAMILIES)]


def mutual_information(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return average-product corrected mutual information in nats, (n, L) -> (L, L).

    A pseudocount of 1 is spread over the residue pairs.
    """
    length = codes.shape[1]
    one_hot = np.eye(STATES)[codes].reshape(len(codes), -1)
    joint = (one_hot.T @ one_hot + 1 / STATES**2) / (len(codes) + 1)
    joint = joint.reshape(length, STATES, length, STATES).swapaxes(1, 2)  # (L, L, A, A)
    alone = joint.sum(3)[:, 0]  # (L, A)
    information = (joint * np.log(joint / (alone[:, None, :, None] * alone[None, :, None, :]))).sum(
        (2, 3)
    )
    np.fill_diagonal(information, 0)
    return average_product_corrected(information)


def model_of(all_families: list[Family], folder: Path, training: dict[str, float]) -> Path:
    """Train the masked model and return its folder."""
    study, fasta = Study(folder), folder / "families.fa"
    data = {"alphabet": "protein", "sequences": str(fasta)}
    run_file = write_run_file(folder / "masked.toml", {"data": data, "training": training, **RUN})
    rows = [
        f">f{number}s{row}\n{bytes(letters).decode()}\n"
        for number, each in enumerate(all_families)
        for row, letters in enumerate(each.letters)
    ]
    fasta.write_text("".join(rows), encoding="utf-8")
    study.prepare(run_file)
    return study.train(run_file, folder / "masked")


def rows(all_families: list[Family], model: Path, sampled: int) -> Iterator[Row]:
    """Return P@L by range, averaged over the families that the regression was not fitted on.

    The last row is the upper limit, because a range may have fewer than L contacts.
    """
    scorer = load(model)
    maps = [
        np.mean([head_maps(scorer, letters) for letters in each.letters[:sampled]], axis=0)
        for each in all_families
    ]
    touching = [each.contacts for each in all_families]
    attention = fit_contacts(maps[:FITTED], touching[:FITTED])
    ways = {
        "attention, regression over heads": [contact_map(attention, of_heads) for of_heads in maps],
        "attention, mean over heads": [of_heads.mean(0) for of_heads in maps],
        "mutual information": [mutual_information(each.codes) for each in all_families],
        "the contacts themselves": [contacts.astype(float) for contacts in touching],
    }
    for name, scores in ways.items():
        pairs = list(zip(scores, touching, strict=True))[FITTED:]
        held_out = [precision_at_length(*both) for both in pairs]
        means = {kind: f"{np.mean([each[kind] for each in held_out]):.3f}" for kind in RANGES}
        yield {"map": name, **means}


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Simulate and train."""
    number, sampled = (100, 10) if chosen.quick else (SEQUENCES, SAMPLED)
    simulated, folder = families(number), quick_folder(FOLDER, chosen.quick)
    model = model_of(simulated, folder, TRAINING | (QUICK if chosen.quick else {}))
    yield Table("P@L by range", rows(simulated, model, sampled))


if __name__ == "__main__":
    run(__doc__, measure, option("--quick", action="store_true", help="a check of a few steps"))
