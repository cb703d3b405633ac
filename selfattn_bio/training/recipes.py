"""Choose how a model of two classes of DNA is trained, from its training and validation records.

Baselines, which are fitted in seconds, answer two questions: does the direction of a record matter,
and do the exact positions of its bases separate the classes? If there is a motif database, motif
scores are added to the stack of the recipe.

To add a recipe, write a function that returns a `Recipe`, call it in `choose_recipe`, and add it to
`test_every_recipe_is_a_run_file` and to the table in docs/stacking.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.config import NO_DATABASE, RunFile
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.sequence.policy import SequencePolicy

ENOUGH = 5_000  # maximum number of records that are examined, per split
MIN_RECORDS = 20  # records per class and split that a choice requires
# Records count as aligned if exact positions lose less AUROC than this, compared with 6-mers that
# are counted in each tenth of a record.
MARGIN = 0.02
SHORT = 100  # bp; up to this length the stem pools by 2, above by 4
LONGEST = 2_000  # bp; longest record that the recipes support
MOST = 200_000_000  # bp of all records together that the recipes support
# with more training records, one network is trained, to stay within 15 minutes on two cores
MANY = 10_000
BATCH, MIN_STEPS, MAX_STEPS = 64, 600, 4_000
EPOCHS, EDITED_EPOCHS, CHILD_EPOCHS = 9, 27, 18  # without edits; with random edits; with a parent
# shipped encoder that was pretrained on the motifs of a database
PARENTS = {"jaspar:vertebrates": "motifs"}
# with which the recipes were measured; the default is 0
ATTENTION_DROPOUT = 0.3
EDITS = {"per_record": 2, "longest": 12, "translocation": 24, "substitution": 0.05}


@dataclass(frozen=True)
class Recipe:
    """Store the sections of a run file that a recipe sets.

    Attributes
    ----------
    name
        `aligned`, `both strands` or `one strand`.
    reason
        Why it suits the records; the text follows "because".
    tokens, model, training, transfer
        Keys of these sections that differ from the defaults.
    parts
        Baselines that are combined with the network.
    """

    name: str
    reason: str
    tokens: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    transfer: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """Store the name of a fitted baseline and its AUROC on validation records."""

    name: str
    auroc: float


def suits_recipes(run: RunFile, lengths: Sequence[int]) -> bool:
    """Return whether the recipes support the records of a run file.

    They support two classes of DNA, with records of at most `LONGEST` bp, `MOST` bp in total.
    """
    is_binary = objective_of(run.objective).has_log_odds
    is_plain = is_binary and run.data.alphabet == "dna" and run.partner is None
    return is_plain and max(lengths) <= LONGEST and sum(lengths) <= MOST


def choose_recipe(
    letters: Mapping[str, Letters],
    labels: Mapping[str, NDArray[np.int64]],
    policy: SequencePolicy,
    database: str = NO_DATABASE,
) -> tuple[Recipe, list[Trial]]:
    """Choose a recipe from training and validation records.

    Parameters
    ----------
    letters, labels
        Records of `train` and `valid` in ASCII, and their labels 0 or 1.
    policy
        How the DNA records were read.
    database
        Motif database, or "none".

    Returns
    -------
    The recipe, and the fitted baselines that decided.

    Raises
    ------
    ValueError
        If the training or validation records lack one of the two classes.
    """
    number = len(letters["train"])
    longest = max(map(len, letters["train"]))
    given, both = Setup(policy, "given", database), Setup(policy, "both", database)
    # a single record can make a part unsuitable, so the sample is not enough
    has_motifs, is_aligned = (
        not BASELINES[name].obstacle(given, letters["train"])
        for name in ("motif_scores", "exact_positions")
    )
    motifs = ("motif_scores",) * has_motifs
    rows = {split: sample_rows(labels[split], ENOUGH, MIN_RECORDS) for split in letters}
    letters = {split: [letters[split][i] for i in of] for split, of in rows.items()}
    labels = {split: labels[split][of] for split, of in rows.items()}

    def trial(name: str, setup: Setup, kind: str) -> Trial:
        data = letters["train"], labels["train"], letters["valid"], labels["valid"]
        fitted = BASELINES[kind](setup).fit(*data)
        return Trial(name, float(roc_auc_score(labels["valid"], fitted.logits(letters["valid"]))))

    one = trial("k-mers of the given strand", given, "kmer6_positional_logistic")
    two = trial("k-mers of both strands", both, "kmer6_positional_logistic")
    trials = [one, two]
    if two.auroc >= one.auroc:
        return both_strands(number, motifs, PARENTS.get(database, "")), trials
    if is_aligned:
        exact = trial("exact positions", given, "exact_positions")
        trials.append(exact)
        if exact.auroc > one.auroc - MARGIN:
            return aligned(number, longest, motifs), trials
    return one_strand(number, motifs), trials


def aligned(records: int, length: int, motifs: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for aligned records, such as promoters around a start site.

    Little pooling, and a head with one part for every few bases, let the network learn positions.
    """
    pool = 2 if length <= SHORT else 4
    parts = max(6, math.ceil(length / (2 * pool)))
    return Recipe(
        "aligned",
        "the direction of the records matters, and so do the exact positions of their bases",
        {"k": 1},
        {
            "kind": "attention",
            "members": 4 if length <= SHORT else 2,
            "dropout": 0.3,
            "attention_dropout": ATTENTION_DROPOUT,
            "stem": {"kind": "conv", "kernel": 15, "pool": pool, "second_kernel": 5},
            "head": {"kind": "pooling", "parts": parts},
        },
        {**_budget(records), "learning_rate": 2e-3, "shift": 0},
        parts=("exact_positions", "kmer6_positional_logistic", *motifs),
    )


def both_strands(records: int, motifs: tuple[str, ...] = (), parent: str = "") -> Recipe:
    """Return the recipe for records without a direction, such as binding sites.

    Their motifs may be anywhere, so training sequences are edited at random. With a parent that
    knows the motifs, training is shorter, at half the learning rate.
    """
    epochs, rate = (CHILD_EPOCHS, 1e-3) if parent else (EDITED_EPOCHS, 2e-3)
    return Recipe(
        "both strands",
        "k-mers of both strands predict at least as well as those of the given strand",
        {"k": 1},
        {
            "kind": "attention",
            "members": 1 if parent or records > MANY else 2,
            "embed_dim": 128,
            "feedforward_dim": 256,
            "dropout": 0.3,
            "attention_dropout": ATTENTION_DROPOUT,
            "stem": {"kind": "conv", "kernel": 15, "pool": 4, "second_kernel": 5},
            "head": {"kind": "pooling", "parts": 1},
        },
        {
            **_budget(records, epochs),
            "learning_rate": rate,
            "reverse_complement": True,
            "edits": EDITS,
        },
        {"parent": parent} if parent else {},
        ("kmer6_positional_logistic", *motifs),
    )


def one_strand(records: int, motifs: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for records with a direction that are not aligned base by base."""
    return Recipe(
        "one strand",
        "k-mers of the given strand predict better than those of both strands",
        model={"kind": "attention", "attention_dropout": ATTENTION_DROPOUT},
        training=_budget(records),
        parts=("kmer6_positional_logistic", *motifs),
    )


def _budget(records: int, epochs: int = EPOCHS) -> dict[str, int]:
    """Return settings that train on each record `epochs` times, within limits."""
    steps = min(MAX_STEPS, max(MIN_STEPS, round(epochs * records / BATCH)))
    every = max(25, steps // 10)
    return {
        "max_steps": steps,
        "warmup_steps": min(200, steps // 8),
        "evaluate_every": every,
        # the learning rate falls to 0, and the last steps are the best
        "patience": 1 + steps // every,
        "checkpoint_every": every,
    }
