"""Choose how a model is trained, from its training and validation records.

Baselines, which are fitted in seconds, answer two questions: does the direction of a record matter,
and do the exact positions of its letters? An answer counts only if resampled validation records
agree; otherwise the simpler assumption holds. If there is a motif database, motif scores are added
to the stack of the recipe.

To add a recipe, write a function that returns a `Recipe`, call it in `choose_recipe`, and add it to
`test_every_recipe_is_a_run_file` and to the table in docs/stacking.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.config import RunFile
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import Letters

ENOUGH = 5_000  # maximum number of records that are examined, per split
MIN_RECORDS = 20  # records per split, and of each of two classes, that a choice requires
RESAMPLES, CONFIDENCE = 200, 0.95  # of the comparisons of two baselines
# Records count as aligned if exact positions lose less of the metric than this, compared with
# k-mers.
MARGIN = 0.02
UNPOOLED = 60  # bp; up to this length the stem of aligned records does not pool
SHORT = 100  # bp; up to this length it pools by 2, above by 4
LONGEST = 2_000  # bp; longest record that the recipes support
MOST = 200_000_000  # bp of all records together that the recipes support
BATCH, MIN_STEPS, MAX_STEPS = 64, 600, 4_000
# letters that a training reads, to stay within 15 minutes on two cores; its networks share them,
# except those of "one strand", which are faster
MAX_READ = 40_000_000
MOST_NETWORKS = 4
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
        `variants`, `aligned`, `both strands` or `one strand`.
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
    """Store the metric of a fitted baseline on validation records and on resamples of them.

    Attributes
    ----------
    name, metric
        Readable name of the baseline, and the main metric of the objective.
    value, draws
        The metric of all records, and of each resample; trials have the same resamples.
    """

    name: str
    metric: str
    value: float
    draws: NDArray[np.float64]

    def beats(self, other: Trial | float) -> bool:
        """Return whether the metric is higher in at least `CONFIDENCE` of the resamples."""
        least = other.draws if isinstance(other, Trial) else other
        return float(np.mean(self.draws > least)) >= CONFIDENCE

    def __str__(self) -> str:
        low, high = np.quantile(self.draws, [0.025, 0.975])
        return f"{self.name}: {title_of(self.metric)} {self.value:.3f} ({low:.3f} to {high:.3f})"


def suits_recipes(run: RunFile, lengths: Sequence[int]) -> bool:
    """Return whether the recipes support the records of a run file.

    They support records with one input and scores per sequence, of at most `LONGEST` letters, and
    `MOST` in total. Proteins must have one length and not two classes, as variants of one sequence.
    """
    objective = objective_of(run.objective)
    is_scored = objective.has_scores and objective.outputs_per == "sequence"
    if run.partner or not is_scored or max(lengths) > LONGEST or sum(lengths) > MOST:
        return False
    may_be_variants = len(set(lengths)) == 1 and not objective.has_log_odds
    return run.data.alphabet == "dna" or may_be_variants


def choose_recipe(
    letters: Mapping[str, Letters],
    targets: Mapping[str, NDArray],
    setup: Setup,
    has_direction: bool = False,
) -> tuple[Recipe | None, list[Trial]]:
    """Choose a recipe from training and validation records.

    Parameters
    ----------
    letters, targets
        Records of `train` and `valid` in ASCII, and their targets as from `Objective.targets`.
    setup
        How the records were read, the objective and the motif database.
    has_direction
        Whether only the given strand exists, as in RNA.

    Returns
    -------
    The recipe, or None for proteins that are no variants of one sequence; and the fitted baselines
    that decided.

    Raises
    ------
    ValueError
        If there are two classes, and the training or validation records lack one of them.
    """
    train = letters["train"]
    number, longest = len(train), max(map(len, train))
    length = math.ceil(sum(map(len, train)) / number)

    def fits(name: str) -> bool:
        # a single record can make a part unsuitable, so the sample below is not enough
        return not BASELINES[name].obstacle(setup, train)

    two_classes = setup.objective.has_log_odds
    if not two_classes and fits("substitutions_linear"):
        stacked = filter(fits, ("substitutions_linear", "exact_positions_trees"))
        return variants(number, longest, tuple(stacked)), []
    if setup.alphabet.name != "dna":
        return None, []
    kmers = "kmer6_positional_logistic" if two_classes else "kmer6_linear"
    exact = "exact_positions" if two_classes else "exact_positions_linear"
    parts = tuple(filter(fits, (kmers, "gapped_kmers", "motif_scores")))
    strata = {split: of if two_classes else np.zeros(len(of)) for split, of in targets.items()}
    rows = {split: sample_rows(strata[split], ENOUGH, MIN_RECORDS) for split in letters}
    letters = {split: [letters[split][i] for i in of] for split, of in rows.items()}
    targets = {split: targets[split][of] for split, of in rows.items()}

    def trial(name: str, strands: Literal["given", "both"], kind: str) -> Trial:
        objective = setup.objective
        fitted = BASELINES[kind](replace(setup, strands=strands)).fit(
            letters["train"], targets["train"], letters["valid"], targets["valid"]
        )
        predictions = objective.predictions(fitted.outputs(letters["valid"]))
        measure, rng = objective.measurer(predictions, targets["valid"]), np.random.default_rng(0)
        size = len(targets["valid"])
        draws = [np.arange(size), *(rng.integers(size, size=size) for _ in range(RESAMPLES))]
        metric = objective.main_metric
        # a constant prediction has no correlation
        value, *others = (np.nan_to_num(measure(draw)[metric]) for draw in draws)
        return Trial(name, metric, float(value), np.array(others))

    one = trial("k-mers of the given strand", "given", kmers)
    two = trial("k-mers of both strands", "both", kmers)
    trials = [one, two]
    if fits(exact):
        trials.append(trial("exact positions", "given", exact))
    if not has_direction and not any(given.beats(two) for given in (one, *trials[2:])):
        parent = PARENTS.get(setup.database, "") if two_classes else ""
        return both_strands(number, length, parts, parent), trials
    if any(positions.value > one.value - MARGIN for positions in trials[2:]):
        by_position = dict.fromkeys((exact, "exact_positions_trees", *parts))
        return aligned(number, longest, tuple(filter(fits, by_position))), trials
    recipe = one_strand(number, length, parts)
    return replace(recipe, reason="RNA has one strand") if has_direction else recipe, trials


def learns_nothing(trials: Sequence[Trial]) -> bool:
    """Return whether no baseline is above chance on the validation records."""
    chance = {"auroc": 0.5}
    return bool(trials) and not any(one.beats(chance.get(one.metric, 0.0)) for one in trials)


def variants(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for variants of one sequence, which differ in few letters.

    No position is pooled, and the head has a part for each, so that the effect of a substitution
    can depend on its position.
    """
    budget = _budget(records, length)
    return Recipe(
        "variants",
        "the records are variants of one sequence",
        {"k": 1},
        {
            "kind": "attention",
            "members": _members(budget, length),
            "dropout": 0.1,
            "attention_dropout": ATTENTION_DROPOUT,
            "stem": {"kind": "conv", "kernel": 5, "pool": 1, "second_kernel": 5},
            "head": {"kind": "pooling", "parts": length},
        },
        {**budget, "learning_rate": 2e-3, "shift": 0},
        parts=stacked,
    )


def aligned(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for aligned records, such as promoters around a start site.

    Little pooling, and a head with one part for every few bases, let the network learn positions.
    """
    pool = 1 if length <= UNPOOLED else 2 if length <= SHORT else 4
    parts, budget = max(6, math.ceil(length / (2 * pool))), _budget(records, length)
    return Recipe(
        "aligned",
        "the direction of the records matters, and so do the exact positions of their bases",
        {"k": 1},
        {
            "kind": "attention",
            "members": _members(budget, length),
            "dropout": 0.3,
            "attention_dropout": ATTENTION_DROPOUT,
            "stem": {"kind": "conv", "kernel": 15, "pool": pool, "second_kernel": 5},
            "head": {"kind": "pooling", "parts": parts},
        },
        {**budget, "learning_rate": 2e-3, "shift": 0},
        parts=stacked,
    )


def both_strands(
    records: int, length: int, stacked: tuple[str, ...] = (), parent: str = ""
) -> Recipe:
    """Return the recipe for records without a direction, such as binding sites.

    Their motifs may be anywhere, so training sequences are edited at random. With a parent that
    knows the motifs, training is shorter, at half the learning rate.
    """
    epochs, rate = (CHILD_EPOCHS, 1e-3) if parent else (EDITED_EPOCHS, 2e-3)
    budget = _budget(records, length, epochs)
    return Recipe(
        "both strands",
        "no simple model that reads the given strand alone is clearly better than k-mers of both",
        {"k": 1},
        {
            "kind": "attention",
            "members": 1 if parent else min(2, _members(budget, length)),
            "embed_dim": 128,
            "feedforward_dim": 256,
            "dropout": 0.3,
            "attention_dropout": ATTENTION_DROPOUT,
            "stem": {"kind": "conv", "kernel": 15, "pool": 4, "second_kernel": 5},
            "head": {"kind": "pooling", "parts": 1},
        },
        {
            **budget,
            "learning_rate": rate,
            "reverse_complement": True,
            "edits": EDITS,
        },
        {"parent": parent} if parent else {},
        stacked,
    )


def one_strand(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for records with a direction that are not aligned base by base."""
    return Recipe(
        "one strand",
        "k-mers of the given strand predict clearly better than those of both strands",
        model={"kind": "attention", "attention_dropout": ATTENTION_DROPOUT},
        training=_budget(records, length),
        parts=stacked,
    )


def _members(budget: Mapping[str, int], length: int) -> int:
    """Return how many networks can be averaged: each reads every batch."""
    return max(1, min(MOST_NETWORKS, MAX_READ // (BATCH * length * budget["max_steps"])))


def _budget(records: int, length: int, epochs: int = EPOCHS) -> dict[str, int]:
    """Return settings that train on each record `epochs` times, within limits."""
    most = min(MAX_STEPS, MAX_READ // (BATCH * length))
    steps = max(MIN_STEPS, min(most, round(epochs * records / BATCH)))
    every = max(25, steps // 10)
    return {
        "max_steps": steps,
        "warmup_steps": min(200, steps // 8),
        "evaluate_every": every,
        # the learning rate falls to 0, and the last steps are the best
        "patience": 1 + steps // every,
        "checkpoint_every": every,
    }
