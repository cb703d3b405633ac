"""Test the choice of a recipe from training and validation records with a planted signal."""

import numpy as np
import pytest

from selfattn_bio.baselines.base import Setup, sample_rows
from selfattn_bio.config import RegressionObjective, RunFile, run_file_of
from selfattn_bio.model.build import build_network
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.training.recipes import (
    MARGIN,
    MAX_STEPS,
    MIN_RECORDS,
    MIN_STEPS,
    aligned,
    both_strands,
    choose_recipe,
    learns_nothing,
    one_strand,
    suits_recipes,
    variants,
)
from selfattn_bio.training.transfer import start_from

MUTATED = 0.3  # of the bases of a site; weak enough for the trials to differ
LENGTH, MOTIF = 60, np.frombuffer(b"TGACGTAAGC", np.uint8)
SETUP = Setup(SequencePolicy(DNA))
DATA = 'data = { positives = "p.fa", negatives = "n.fa" }\n'


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
    base = run_file_of(DATA, "run.toml")
    return RunFile.model_validate({"data": base.data, "stack": {"parts": recipe.parts}} | sections)


def chosen(place, strand, database="none"):
    return choose_recipe(*splits(place, strand), Setup(SequencePolicy(DNA), database=database))


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
    recipe, trials = choose_recipe(letters, labels, SETUP)
    assert [trial.name for trial in trials][2:] == ["exact positions"]
    assert trials[2].value < trials[0].value - MARGIN
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
    sampled = sample_rows(labels["train"], 200, MIN_RECORDS)
    short = next(row for row in range(600) if row not in sampled)
    assert choose_recipe(letters, labels, SETUP)[0].name == "aligned"
    letters["train"][short] = letters["train"][short][:40]
    recipe, trials = choose_recipe(letters, labels, SETUP)
    assert recipe.name != "aligned"
    assert "exact positions" not in [trial.name for trial in trials]


@pytest.mark.parametrize(
    "recipe",
    [
        variants(5000, 75),
        aligned(5000, 41),
        aligned(5000, 70),
        aligned(5000, 300),
        both_strands(5000, 101),
        both_strands(5000, 101, parent="motifs"),
        one_strand(5000, 300),
    ],
)
def test_every_recipe_is_a_run_file(recipe):
    run = run_of(recipe)
    assert run.stack.parts == recipe.parts
    assert run.both_strands == (recipe.name == "both strands")


@pytest.mark.parametrize(
    ("number", "length", "steps"),
    [
        (10, 100, MIN_STEPS),
        (6400, 100, 900),
        (10**7, 100, MAX_STEPS),
        (10**7, 250, 2500),
        (10**7, 2000, MIN_STEPS),
    ],
)
def test_steps_follow_number_and_length_of_records(number, length, steps):
    assert one_strand(number, length).training["max_steps"] == steps


@pytest.mark.parametrize(
    ("number", "length", "members"), [(5000, 75, 4), (30_000, 75, 2), (30_000, 237, 1)]
)
def test_networks_share_a_budget(number, length, members):
    assert variants(number, length).model["members"] == members
    assert aligned(number, length).model["members"] == members


def test_long_records_have_no_recipe():
    run = run_file_of(DATA, "run.toml")
    assert suits_recipes(run, [300, 200])
    assert not suits_recipes(run, [300, 5000])


def test_of_proteins_only_possible_variants_are_tried():
    text = DATA.replace("{", '{ alphabet = "protein",') + "tokens = { k = 1 }\n"
    assert not suits_recipes(run_file_of(text, "run.toml"), [75, 75])
    numbers = text.replace('positives = "p.fa", negatives = "n.fa"', 'sequences = "s.csv"')
    numbers += 'objective = { kind = "regression", columns = ["y"] }'
    numbers = run_file_of(numbers, "run.toml")
    assert suits_recipes(numbers, [75, 75])
    assert not suits_recipes(numbers, [75, 76])


def test_only_variants_of_proteins_have_a_recipe():
    rng = np.random.default_rng(0)
    residues = np.frombuffer(PROTEIN.letters.encode(), np.uint8)
    setup = Setup(SequencePolicy(PROTEIN), section=RegressionObjective(columns=("y",)))
    targets = {split: rng.normal(size=(30, 1)) for split in ("train", "valid")}
    unrelated = {split: list(rng.choice(residues, (30, 40))) for split in targets}
    assert choose_recipe(unrelated, targets, setup) == (None, [])
    varied = {split: [unrelated["train"][0].copy() for _ in range(30)] for split in targets}
    for records in varied.values():
        for row, record in enumerate(records):
            record[row] = ord("A")
    recipe, _ = choose_recipe(varied, targets, setup)
    assert recipe.name == "variants"
    assert recipe.model["head"]["parts"] == 40
    assert recipe.parts == ("substitutions_linear", "exact_positions_trees")
    # trees are not fitted to many outputs
    many = RegressionObjective(columns=[f"y{number}" for number in range(21)])
    targets = {split: rng.normal(size=(30, 21)) for split in targets}
    recipe, _ = choose_recipe(varied, targets, Setup(SequencePolicy(PROTEIN), section=many))
    assert recipe.parts == ("substitutions_linear",)


def test_random_labels_give_the_simplest_recipe_and_a_warning():
    rng = np.random.default_rng(0)
    letters, labels = splits("fixed", "given")
    labels = {split: rng.permutation(of) for split, of in labels.items()}
    recipe, trials = choose_recipe(letters, labels, SETUP)
    assert recipe.name == "both strands"
    assert learns_nothing(trials)
    assert not learns_nothing(chosen("fixed", "given")[1])
