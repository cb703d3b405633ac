"""Test the choice of a recipe from training and validation records with a planted signal."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from selfattn_bio.arrays import object_array
from selfattn_bio.baselines.base import Setup, sample_rows
from selfattn_bio.config import (
    BinsObjective,
    LabelsObjective,
    ProfileObjective,
    RegressionObjective,
    RunFile,
    run_file_of,
)
from selfattn_bio.model.build import build_network
from selfattn_bio.report.figures import pools_positions
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.training import recipes
from selfattn_bio.training.transfer import start_from
from selfattn_bio.training.trials import Trial, learns_nothing

MUTATED = 0.3  # of the bases of a site; weak enough for the trials to differ
LENGTH, MOTIF = 60, np.frombuffer(b"TGACGTAAGC", np.uint8)
SETUP = Setup(SequencePolicy(DNA))
DATA = 'data = { positives = "p.fa", negatives = "n.fa" }\n'
LABELS = LabelsObjective(column="s", classes="io")


def records(number, seed, *, place, strand):
    """Simulate DNA with a mutated motif in positives, at a fixed position or anywhere."""
    rng = np.random.default_rng(seed)
    letters = list(rng.choice(np.frombuffer(b"ACGT", np.uint8), (number, LENGTH)))
    labels = np.arange(number, dtype=np.int64) % 2
    other = DNA.reverse_complement(MOTIF)
    for row, label in zip(letters, labels, strict=True):
        start = int(rng.integers(LENGTH - len(MOTIF)))
        if place == "fixed":  # negatives have the motif at another position
            start, motif = (20 if label else 40), MOTIF
        elif strand == "given":  # negatives have it on the other strand
            motif = MOTIF if label else other
        elif label:
            motif = MOTIF if rng.random() < 0.5 else other
        else:
            motif = row[start : start + len(MOTIF)].copy()
        kept = rng.random(len(MOTIF)) > MUTATED
        row[start : start + len(MOTIF)][kept] = motif[kept]
    # lengths differ, so that no positions are aligned
    if place == "anywhere" and strand == "given":
        letters = [row[: rng.integers(LENGTH - 10, LENGTH)] for row in letters]
    return letters, labels


def splits(place, strand):
    train = records(600, 0, place=place, strand=strand)
    valid = records(300, 1, place=place, strand=strand)
    return tuple({"train": one, "valid": other} for one, other in zip(train, valid, strict=True))


def run_of(recipe):
    """Return a run file with the sections of a recipe."""
    names = ("tokens", "model", "training", "transfer")
    sections = {name: getattr(recipe, name) for name in names if getattr(recipe, name)}
    base = {"data": run_file_of(DATA, "run.toml").data, "stack": {"parts": recipe.parts}}
    if recipe.name == "bins":
        base |= {"data": {"sequences": "r.fa"}, "objective": BinsObjective(points="p.bed")}
        base |= {"variants": {name: {"model": keys} for name, keys in recipe.variants.items()}}
    if recipe.name == "neighbours":
        base |= {"data": {"sequences": "r.fa", "targets": "t.tsv"}, "objective": LABELS}
    return RunFile.model_validate(base | sections)


@cache
def chosen(place, strand, database="none"):
    return recipes.choose_recipe(
        *splits(place, strand), Setup(SequencePolicy(DNA), database=database)
    )


@pytest.mark.parametrize(
    ("place", "strand", "name"),
    [
        ("fixed", "given", "aligned"),
        ("anywhere", "either", "both strands"),
        ("anywhere", "given", "one strand"),
    ],
)
def test_recipe_fits_the_signal(place, strand, name):
    recipe, trials = chosen(place, strand)
    assert recipe.name == name
    assert max(trial.value for trial in trials) > 0.6


def test_motif_anywhere_in_equal_lengths_has_no_position():
    """Exact positions can be fitted, but predict less well than k-mers."""
    letters, labels = splits("anywhere", "given")
    letters = {split: [row[:50] for row in of] for split, of in letters.items()}
    recipe, trials = recipes.choose_recipe(letters, labels, SETUP)
    assert [trial.name for trial in trials][2:] == ["exact_positions (exact positions)"]
    assert trials[2].value < trials[0].value - recipes.MARGIN
    assert recipe.name == "one strand"


def test_motif_scores_are_a_part_if_database_exists():
    assert "motif_scores" in chosen("fixed", "given", "jaspar:insects")[0].parts
    assert "motif_scores" not in chosen("fixed", "given")[0].parts


def test_vertebrate_sites_start_from_shipped_encoder(tmp_path):
    recipe, _ = chosen("anywhere", "either", "jaspar:vertebrates")
    assert recipe.transfer == {"parent": "motifs"}
    assert not chosen("anywhere", "either", "jaspar:insects")[0].transfer
    run = run_of(recipe)
    start_from(build_network(run), run, run.transfer, "run.toml")  # its layers are the parent's


def test_one_short_record_rules_out_positions(monkeypatch):
    """Training would refuse the part, even if the record is not in the sample."""
    monkeypatch.setattr("selfattn_bio.training.recipes.ENOUGH", 200)
    letters, labels = splits("fixed", "given")
    sampled = sample_rows(labels["train"], 200, recipes.MIN_RECORDS)
    short = next(row for row in range(600) if row not in sampled)
    assert recipes.choose_recipe(letters, labels, SETUP)[0].name == "aligned"
    letters["train"][short] = letters["train"][short][:40]
    recipe, trials = recipes.choose_recipe(letters, labels, SETUP)
    assert recipe.name != "aligned"
    assert not any(trial.name.startswith("exact_positions") for trial in trials)


@pytest.mark.parametrize(
    "recipe",
    [
        recipes.variants(5000, 75),
        recipes.aligned(5000, 41),
        recipes.aligned(5000, 70),
        recipes.aligned(5000, 300),
        recipes.both_strands(5000, 101),
        recipes.both_strands(5000, 101, parent="motifs"),
        recipes.one_strand(5000, 300),
        recipes.neighbours(5000, 300, recipes.NEIGHBOURS),
        recipes.bins(500, 32_000, recipes.AROUND),
    ],
)
def test_every_recipe_is_a_run_file(recipe):
    run = run_of(recipe)
    assert run.stack.parts == recipe.parts
    assert run.both_strands == (recipe.name == "both strands")
    assert ("the head ignores positions" in recipe.reason) == pools_positions(run)


@pytest.mark.parametrize(
    ("number", "length", "steps"),
    [
        (10, 100, recipes.MIN_STEPS),
        (6400, 100, 900),
        (10**7, 100, recipes.MAX_STEPS),
        (10**7, 250, 2500),
        (10**7, 2000, recipes.MIN_STEPS),
    ],
)
def test_steps_follow_number_and_length_of_records(number, length, steps):
    assert recipes.one_strand(number, length).training["max_steps"] == steps


@pytest.mark.parametrize(
    ("number", "length", "members"), [(5000, 75, 4), (30_000, 75, 2), (30_000, 237, 1)]
)
def test_networks_share_a_budget(number, length, members):
    assert recipes.variants(number, length).model["members"] == members
    assert recipes.aligned(number, length).model["members"] == members


def test_long_records_have_no_recipe():
    run = run_file_of(DATA, "run.toml")
    assert recipes.suits_recipes(run, [300, 200])
    assert not recipes.suits_recipes(run, [300, 5000])
    protein = run_file_of(DATA.replace("{", '{ alphabet = "protein",') + "tokens = { k = 1 }", "")
    assert recipes.suits_recipes(protein, [300, 5000])


def of_residues(text):
    return np.frombuffer(text.encode(), np.uint8)


def test_variants_of_proteins():
    rng = np.random.default_rng(0)
    section = RegressionObjective(columns=("y",), center=(0.0,), scale=(1.0,))
    setup = Setup(SequencePolicy(PROTEIN), section=section)
    targets = {split: rng.normal(size=(30, 1)) for split in ("train", "valid")}
    one = rng.choice(of_residues(PROTEIN.letters), 40)
    varied = {split: [one.copy() for _ in range(30)] for split in targets}
    for records in varied.values():
        for row, record in enumerate(records):
            record[row] = ord("A")
    recipe, _ = recipes.choose_recipe(varied, targets, setup)
    assert recipe.name == "variants"
    assert recipe.model["head"]["parts"] == 40
    assert recipe.parts == ("substitutions_linear", "exact_positions_trees")
    labels = {split: np.arange(30) % 2 for split in targets}
    recipe, _ = recipes.choose_recipe(varied, labels, Setup(SequencePolicy(PROTEIN)))
    assert recipe.parts == ("substitutions_linear", "exact_positions_trees")
    # trees are not fitted to many outputs
    many = RegressionObjective(columns=[f"y{number}" for number in range(21)])
    targets = {split: rng.normal(size=(30, 21)) for split in targets}
    recipe, trials = recipes.choose_recipe(
        varied, targets, Setup(SequencePolicy(PROTEIN), section=many)
    )
    assert (recipe.parts, trials) == (("substitutions_linear",), [])


@pytest.mark.parametrize(("lengths", "name"), [((20, 21), "aligned"), ((20, 41), "unaligned")])
def test_proteins_have_positions_if_lengths_agree(lengths, name):
    """The label is the residue at a position, and lengths differ or not."""
    rng, letters, labels = np.random.default_rng(0), {}, {}
    for split, number in (("train", 300), ("valid", 150)):
        labels[split] = np.arange(number) % 2
        letters[split] = [
            rng.choice(of_residues("ACDEFG"), rng.integers(*lengths)) for _ in range(number)
        ]
        for record, label in zip(letters[split], labels[split], strict=True):
            record[7] = ord("K" if label else "R")
            record[3] = ord("R" if label else "K")
    recipe, trials = recipes.choose_recipe(letters, labels, Setup(SequencePolicy(PROTEIN)))
    parts = ("exact_positions", "exact_positions_trees") if name == "aligned" else ()
    assert (recipe.name, recipe.parts) == (name, (*parts, "composition", "kmer2_logistic"))
    names = ["kmer2_logistic (k-mers)", "exact_positions (exact positions)"]
    assert [trial.name for trial in trials] == names[: len(parts) + 1]
    assert bool(recipe.model) == bool(parts)
    assert ("positions of records of different lengths" in recipe.reason) == (not parts)


@pytest.mark.parametrize(("is_heavy", "loss"), [(False, {}), (True, {"loss": "huber"})])
def test_loss_follows_the_tails(is_heavy, loss, monkeypatch):
    # the losses differ in 97 % of them, close to the 95 % that a choice needs
    monkeypatch.setattr("selfattn_bio.training.trials.RESAMPLES", 200)
    letters, labels = splits("fixed", "given")
    rng = np.random.default_rng(0)
    targets = {
        split: 2.0 * of[:, None] + rng.normal(size=(len(of), 1)) for split, of in labels.items()
    }
    if is_heavy:
        targets = {split: np.exp(of) for split, of in targets.items()}
    scale = {"center": (targets["train"].mean(),), "scale": (targets["train"].std(),)}
    section = RegressionObjective(columns=("y",), **scale)
    recipe, trials = recipes.choose_recipe(letters, targets, replace(SETUP, section=section))
    assert recipe.objective == loss
    assert "Huber's loss" in trials[-1].name


@pytest.mark.parametrize("metric", ["accuracy", "auprc", "r2"])
def test_baselines_as_good_as_a_constant_learn_nothing(metric):
    draws = np.random.default_rng(0).normal(0.5, 0.01, 200)
    trials = [Trial(name, metric, 0.5, draws) for name in ("constant", "k-mers")]
    assert learns_nothing(trials)
    assert not learns_nothing([*trials, Trial("better", metric, 0.6, draws + 0.1)])


def test_random_labels_give_the_simplest_recipe_and_a_warning():
    rng = np.random.default_rng(0)
    letters, labels = splits("fixed", "given")
    labels = {split: rng.permutation(of) for split, of in labels.items()}
    recipe, trials = recipes.choose_recipe(letters, labels, SETUP)
    assert recipe.name == "both strands"
    assert learns_nothing(trials)
    assert not learns_nothing(chosen("fixed", "given")[1])


@pytest.mark.parametrize(("is_random", "name"), [(False, "neighbours"), (True, "no neighbours")])
def test_labels_per_position(is_random, name):
    """A label is 0 if G is two positions before, or it is random."""
    letters, _ = splits("fixed", "given")
    rng = np.random.default_rng(0)

    def labels(row):
        return rng.integers(0, 2, len(row)) if is_random else 1 - np.roll(row == ord("G"), 2)

    targets = {split: object_array([labels(row) for row in of]) for split, of in letters.items()}
    recipe, trials = recipes.choose_recipe(letters, targets, replace(SETUP, section=LABELS))
    assert (recipe.name, bool(recipe.parts)) == (name, not is_random)
    assert [trial.metric for trial in trials] == ["accuracy"] * 3
    assert learns_nothing(trials) == is_random


@pytest.mark.parametrize(
    ("strand", "is_random"), [("either", False), ("given", False), ("given", True)]
)
def test_counts_per_base(strand, is_random):
    """A word multiplies the counts by 3, or they are random."""
    letters, labels = splits("anywhere", strand)
    section = ProfileObjective(tracks={"a": ("a.bw",)}, width=20, scale=(1.0,))
    rng, targets = np.random.default_rng(0), {}
    for split, of in labels.items():
        rates = np.broadcast_to(1.0 + 2 * of * (not is_random), (20, len(of))).T
        targets[split] = rng.poisson(rates)[:, None, None, None].astype(np.float32)
    recipe, trials = recipes.choose_recipe(letters, targets, replace(SETUP, section=section))
    assert recipe.name == "profiles"
    assert recipe.training == {"reverse_complement": strand == "either" or is_random}
    assert ("kmer6_linear" in recipe.parts) != is_random
    assert [trial.metric for trial in trials] == ["r2"] * 4
    assert learns_nothing(trials) == is_random
