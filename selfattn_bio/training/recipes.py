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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.baselines import BASELINES, Setup, suitable
from selfattn_bio.baselines.base import PROFILE, sample_rows
from selfattn_bio.config import RunFile
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.training.trials import Trial, fit_trial, learns_nothing

# baselines of the comparisons and of the stacks, if they can be fitted
KMERS = ("kmer6_positional_logistic", "kmer6_linear", "kmer2_logistic", "kmer2_linear")
EXACT = ("exact_positions", "exact_positions_linear")
NEIGHBOURS = ("window_logistic", "window_trees")
AROUND = ("bin_kmers", "bin_trees")
PARTS = ("composition", "composition_linear", *KMERS, "gapped_kmers", "motif_scores")
ENOUGH = 5_000  # maximum number of records that are examined, per split
POSITIONS = 50_000  # positions that are examined per split, for labels per position
BINS = 10_000  # the same for bins
MIN_RECORDS = 20  # records per split, and of each of two classes, that a choice requires
# Records count as aligned if exact positions lose less of the metric than this, compared with
# k-mers. Huber's loss must gain more, compared with squared error.
MARGIN = 0.02
UNPOOLED = 60  # bp; up to this length the stem of aligned records does not pool
SHORT = 100  # bp; up to this length it pools by 2, above by 4
LONGEST = 2_000  # bp; longest record of DNA that the recipes support
MOST = 200_000_000  # letters of all records together that the recipes support
BATCH, MIN_STEPS, MAX_STEPS = 64, 600, 4_000
PRETRAINED_BATCH = 16
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
        `variants`, `aligned`, `both strands`, `one strand`, `unaligned`, `neighbours`,
        `no neighbours`, `bins`, `profiles` or `pretrained`.
    reason
        Why it suits the records; the text follows "because".
    tokens, model, training, transfer, objective
        Keys that are written in these sections.
    variants
        Networks that are trained and evaluated as well, [variants.NAME.model].
    parts, method
        Baselines that are combined with the network; method of [interpret] if not the default.
    """

    name: str
    reason: str
    tokens: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    transfer: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    objective: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def pretrained_recipe(folder: str, num_records: int) -> Recipe:
    """Return the settings of a pretrained model in `folder`: LoRA for about five epochs."""
    steps = min(MAX_STEPS, max(100, 5 * num_records // PRETRAINED_BATCH))
    every = max(25, steps // 6)
    return Recipe(
        "pretrained",
        "the network is given",
        model={"kind": "pretrained", "folder": folder, "adapt": "lora"},
        training={
            "max_steps": steps,
            "batch_size": PRETRAINED_BATCH,
            "learning_rate": 1e-3,
            "warmup_steps": steps // 10,
            "evaluate_every": every,
            "checkpoint_every": every,
            "shift": 0,
        },
    )


def suits_recipes(run: RunFile, lengths: Sequence[int]) -> bool:
    """Return whether the recipes support the records of a run file.

    They support records with one input, and every objective with scores: proteins, and DNA of at
    most `LONGEST` bp, or of any length for bins; `MOST` letters in total.
    """
    section = run.objective
    is_short = run.data.alphabet == "protein" or section.is_per_bin or max(lengths) <= LONGEST
    return section.has_scores and is_short and not run.partner and sum(lengths) <= MOST


def choose_recipe(
    letters: Mapping[str, Letters], targets: Mapping[str, NDArray], setup: Setup
) -> tuple[Recipe, list[Trial]]:
    """Choose a recipe from training and validation records.

    Parameters
    ----------
    letters, targets
        Records of `train` and `valid` in ASCII, and their targets as from `Objective.targets`.
    setup
        How the records were read, the objective and the motif database.

    Returns
    -------
    The recipe, and the fitted baselines that decided.

    Raises
    ------
    ValueError
        If there are two classes, and the training or validation records lack one of them.
    """
    trials = _Trials(letters, targets, setup)
    if setup.is_per_position:
        recipe = _of_positions(trials)
    elif setup.question == PROFILE:
        recipe = _of_profiles(trials)
    else:
        recipe = _of_records(trials)
    return _with_loss(recipe, trials), trials.fitted


class _Trials:
    """Baselines that are fitted to a sample of the records, to choose a recipe."""

    def __init__(
        self, letters: Mapping[str, Letters], targets: Mapping[str, NDArray], setup: Setup
    ) -> None:
        train = letters["train"]
        self.number, self.longest = len(train), max(map(len, train))
        self.length = math.ceil(sum(map(len, train)) / self.number)
        # a single record can make a part unsuitable, so the sample below is not enough
        self.suitable = {kind.name for kind, obstacle in suitable(setup, train) if not obstacle}
        self.given, self.both = replace(setup, strands="given"), replace(setup, strands="both")
        self.fitted: list[Trial] = []
        self.has_two_classes = setup.objective.has_log_odds
        examined = POSITIONS if setup.unit == 1 else BINS * setup.unit
        most = max(MIN_RECORDS, examined // self.length) if setup.is_per_position else ENOUGH
        self.letters, self.targets = dict(letters), dict(targets)
        for split, of_split in targets.items():
            strata = of_split if self.has_two_classes else np.zeros(len(of_split))
            rows = sample_rows(strata, most, MIN_RECORDS)
            self.letters[split] = [letters[split][row] for row in rows]
            self.targets[split] = of_split[rows]

    def stacked(self, *names: str) -> tuple[str, ...]:
        """Return those of the baselines that can be fitted, each once."""
        return tuple(name for name in dict.fromkeys(names) if name in self.suitable)

    def fit(self, kind: str, setup: Setup, name: str = "") -> Trial:
        """Fit a baseline and measure it; `name` is for messages, by default its title."""
        title = f"{kind} ({name or BASELINES[kind].title})"
        self.fitted.append(fit_trial(title, kind, setup, self.letters, self.targets))
        return self.fitted[-1]


def _of_records(trials: _Trials) -> Recipe:
    """Return the recipe for labels or numbers of records."""
    number, length, given, stacked = trials.number, trials.length, trials.given, trials.stacked
    if "substitutions_linear" in trials.suitable:
        parts = stacked("substitutions_linear", "exact_positions_trees")
        return variants(number, trials.longest, parts)
    (kmers,), exact, parts = stacked(*KMERS), stacked(*EXACT), stacked(*PARTS)
    alphabet = given.alphabet
    is_protein, is_stranded = not alphabet.is_nucleic, not alphabet.has_complement
    one = trials.fit(kmers, given, "k-mers" if is_protein else "k-mers of the given strand")
    two = None if is_stranded else trials.fit(kmers, trials.both, "k-mers of both strands")
    positions = [trials.fit(name, given, "exact positions") for name in exact]
    if two and not any(each.beats(two) for each in (one, *positions)):
        parent = PARENTS.get(given.database, "") if trials.has_two_classes else ""
        return both_strands(number, length, parts, parent)
    if any(each.value > one.value - MARGIN for each in positions):
        parts = stacked(*exact, "exact_positions_trees", *parts)
        recipe = aligned(number, trials.longest, parts)
        of = "residues" if is_protein else "bases"
        reason = f"exact positions of the {of} predict as well as k-mers"
        return replace(recipe, reason=reason) if is_stranded else recipe
    if is_protein:
        reason = "exact positions do not predict as well as k-mers"
        if not positions:
            reason = "positions of records of different lengths do not correspond"
        return Recipe("unaligned", reason, parts=parts)  # with the default network
    recipe = one_strand(number, length, parts)
    reason = f"{alphabet.title} has one strand"
    return replace(recipe, reason=reason) if is_stranded else recipe


def _of_positions(trials: _Trials) -> Recipe:
    """Return the recipe for labels of positions or bins."""
    parts = trials.stacked(*NEIGHBOURS, *AROUND)
    names = *trials.stacked("constant", "bin_constant"), *parts
    constant, *found = (trials.fit(name, trials.given) for name in names)
    has_learned = any(each.beats(constant) for each in found)
    if trials.given.unit > 1:
        return bins(trials.number, trials.length, parts if has_learned else ())
    if has_learned:
        return neighbours(trials.number, trials.length, parts)
    # with the default network
    return Recipe("no neighbours", "neighbours predict labels no better than a constant")


def _of_profiles(trials: _Trials) -> Recipe:
    """Return the recipe for counts per base: strands and stack, with the default network."""
    constant = trials.fit("mean_profile", trials.given)
    one = trials.fit("kmer6_linear", trials.given, "k-mers of the given strand")
    two = trials.fit("kmer6_linear", trials.both, "k-mers of both strands")
    is_stranded = one.beats(two)
    best, reads = (one, trials.given) if is_stranded else (two, trials.both)
    trees = trials.stacked("kmer6_trees")  # none if there are many tracks
    boosted = [trials.fit(name, reads) for name in trees]
    has_learned = not learns_nothing([constant, best, *boosted])
    better = trees if any(each.beats(best) for each in boosted) else ()
    return Recipe(
        "profiles",
        f"k-mers of the given strand {'' if is_stranded else 'do not clearly '}beat those of both",
        training={"reverse_complement": not is_stranded},
        parts=trials.stacked(*PARTS, *better) if has_learned else (),
    )


def _with_loss(recipe: Recipe, trials: _Trials) -> Recipe:
    """Return the recipe with Huber's loss if boosting predicts numbers clearly better with it."""
    squared = trials.both if "reverse_complement" in recipe.training else trials.given
    at_positions = ("exact_positions_trees",) * ("exact_positions_trees" in recipe.parts)
    # there are no trees if a fit of many outputs would take too long
    judges = trials.stacked(*at_positions, "kmer6_trees", "kmer2_trees")
    if squared.section.robust and judges:
        huber = replace(squared, section=squared.section.model_copy(update=squared.section.robust))
        before = trials.fit(judges[0], squared, "gradient boosting with squared error")
        after = trials.fit(judges[0], huber, "gradient boosting with Huber's loss")
        if after.beats(before) and after.value > before.value + MARGIN:
            recipe = replace(recipe, objective=squared.section.robust)
    return recipe


def variants(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for variants of one sequence, which differ in few letters.

    No position is pooled, and the head has a part for each, so that the effect of a substitution
    can depend on its position.
    """
    reason = "the records are variants of one sequence"
    network = {"dropout": 0.1, "kernel": 5, "pool": 1, "parts": length}
    return _by_position("variants", reason, records, length, stacked, network)


def aligned(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for aligned records, such as promoters around a start site.

    Little pooling, and a head with one part for every few bases, let the network learn positions.
    """
    pool = 1 if length <= UNPOOLED else 2 if length <= SHORT else 4
    network = {"pool": pool, "parts": max(6, math.ceil(length / (2 * pool)))}
    reason = "the direction of the records matters, and exact positions predict as well as k-mers"
    return _by_position("aligned", reason, records, length, stacked, network)


def _by_position(
    name: str,
    reason: str,
    records: int,
    length: int,
    stacked: tuple[str, ...],
    network: Mapping[str, Any],
) -> Recipe:
    """Return a recipe that keeps positions; `network` has arguments of `_network`."""
    budget = _budget(records, length)
    model = _network(_members(budget, length), **network)
    training = {**budget, "learning_rate": 2e-3, "shift": 0}
    return Recipe(name, reason, {"k": 1}, model, training, parts=stacked)


def both_strands(
    records: int, length: int, stacked: tuple[str, ...] = (), parent: str = ""
) -> Recipe:
    """Return the recipe for records without a direction, such as binding sites.

    Their motifs may be anywhere, so training sequences are edited at random. With a parent that
    knows the motifs, training is shorter, at half the learning rate.
    """
    epochs, rate = (CHILD_EPOCHS, 1e-3) if parent else (EDITED_EPOCHS, 2e-3)
    budget = _budget(records, length, epochs)
    members = 1 if parent else min(2, _members(budget, length))
    return Recipe(
        "both strands",
        "no simple model that reads the given strand alone is clearly better than k-mers of both; "
        "the head ignores positions (parts = 1; use 4 if they may matter)",
        {"k": 1},
        _network(members, pool=4, parts=1, embed_dim=128, feedforward_dim=256),
        {**budget, "learning_rate": rate, "reverse_complement": True, "edits": EDITS},
        {"parent": parent} if parent else {},
        stacked,
    )


def one_strand(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for records with a direction that are not aligned base by base."""
    return Recipe(
        "one strand",
        "k-mers of the given strand predict clearly better than those of both strands",
        model={"kind": "attention", "members": 2, "attention_dropout": ATTENTION_DROPOUT},
        training=_budget(records, length),
        parts=stacked,
    )


def neighbours(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for labels per position that depend on the letters around.

    Nothing is pooled, and every layer attends to a window.
    """
    model = {
        **{"kind": "attention", "members": 1, "embed_dim": 128, "num_layers": 3},
        **{"feedforward_dim": 256, "dropout": 0.1, "attention_dropout": 0.1},
        "stem": {"kind": "conv", "token_dim": 24, "kernel": 11, "pool": 1, "second_kernel": 7},
        "position": {"kind": "t5", "num_buckets": 64, "max_distance": 64},
        "pattern": {"kind": "window", "window": 32},
    }
    fixed = {"batch_size": 16, "learning_rate": 2e-3, "label_smoothing": 0.0, "shift": 0}
    training = {**_budget(records, length, batch=16), **fixed}
    reason = "simple models of neighbouring positions predict the labels"
    return Recipe("neighbours", reason, {"k": 1}, model, training, parts=stacked)


def bins(records: int, length: int, stacked: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe for bins of 200 bp along long windows of a genome.

    Attention between positions of a tower is compared with dilated convolutions, which are often as
    good (docs/long_sequences.md).
    """
    stages = {"kernels": [15, 7, 5, 3, 3], "channels": [64, 96, 128, 128], "pools": [5, 5, 2, 1, 1]}
    tower = {"kind": "tower", **stages}
    model = {
        **{"kind": "attention", "members": 1, "embed_dim": 128, "num_layers": 2},
        **{"dropout": 0.2, "attention_dropout": 0.2, "stem": tower},
        "position": {"kind": "t5", "max_distance": 128},
        "pattern": {"kind": "window", "window": 64, "num_global": 4},
    }
    dilated = {"kind": "dilated", "dropout": 0.2, "stem": tower, "dilations": [2, 4, 8, 10]}
    fixed = {"batch_size": 4, "learning_rate": 2e-3, "shift": 100, "reverse_complement": True}
    training = {**_budget(records, length, batch=4), **fixed}
    reason = "points of bins need long windows; `evaluate` compares attention with convolutions"
    variants = {"dilated": dilated}
    return Recipe("bins", reason, {"k": 1}, model, training, parts=stacked, variants=variants)


def _network(
    members: int, *, pool: int, parts: int, dropout: float = 0.3, kernel: int = 15, **sizes: int
) -> dict[str, Any]:
    """Return [model] of a network with a stem that pools `pool` positions, and a head of parts."""
    return {
        "kind": "attention",
        "members": members,
        **sizes,
        "dropout": dropout,
        "attention_dropout": ATTENTION_DROPOUT,
        "stem": {"kind": "conv", "kernel": kernel, "pool": pool, "second_kernel": 5},
        "head": {"kind": "pooling", "parts": parts},
    }


def _members(budget: Mapping[str, int], length: int) -> int:
    """Return how many networks can be averaged: each reads every batch."""
    return max(1, min(MOST_NETWORKS, MAX_READ // (BATCH * length * budget["max_steps"])))


def _budget(records: int, length: int, epochs: int = EPOCHS, batch: int = BATCH) -> dict[str, int]:
    """Return settings that train on each record `epochs` times, within limits."""
    most = min(MAX_STEPS, MAX_READ // (batch * length))
    steps = max(MIN_STEPS, min(most, round(epochs * records / batch)))
    every = max(25, steps // 10)
    return {
        "max_steps": steps,
        "warmup_steps": min(200, steps // 8),
        "evaluate_every": every,
        # the learning rate falls to 0, and the last steps are the best
        "patience": 1 + steps // every,
        "checkpoint_every": every,
    }
