"""Test the simple models of bins, and their stack, on a planted word in random DNA."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score

from selfattn_bio.arrays import object_array
from selfattn_bio.attribution.methods.mutagenesis import Saturation
from selfattn_bio.attribution.targets import Target
from selfattn_bio.baselines import BASELINES, load_baseline
from selfattn_bio.baselines.base import Setup
from selfattn_bio.baselines.bins import AROUND
from selfattn_bio.config import run_file_of
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.build import build_network
from selfattn_bio.objectives.points import Points, chance, without_overlaps
from selfattn_bio.scoring.loading import BaselineScorer, scorer_of
from selfattn_bio.scoring.stack import Stack, load_stack
from selfattn_bio.scoring.tiling import Tiling
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.training.stacking import fit_stack

BIN, LENGTH = 200, 2050
WORD = np.frombuffer(b"GATTACAGATTAC", np.uint8)
RUN = run_file_of(
    """
tokens.k = 1
[data]
sequences = "s.fa"
[model]
kind = "dilated"
embed_dim = 8
dilations = [1]
stem = { kind = "tower", token_dim = 4, channels = [8], kernels = [5, 3], pools = [5, 2] }
[stack]
parts = ["bin_kmers"]
[objective]
kind = "bins"
points = "p.bed"
bin = 200
""",
    "run.toml",
)
SETUP = Setup(SequencePolicy(DNA), section=RUN.objective)


@cache
def planted(number, seed):
    """Return records with one word on one strand in the middle of a bin, and their points."""
    rng, letters, points = np.random.default_rng(seed), [], []
    for row in range(number):
        record = rng.choice(np.frombuffer(b"ACGT", np.uint8), LENGTH)
        at, strand = int(rng.integers(10)) * BIN + 44, int(rng.integers(2))
        record[at : at + len(WORD)] = DNA.reverse_complement(WORD) if strand else WORD
        letters.append(record)
        points.append(Points("c", row * LENGTH, LENGTH, np.array([at]), np.array([strand])))
    return letters, object_array(points)


@cache
def fitted(name="bin_kmers"):
    return BASELINES[name](SETUP).fit(*planted(60, 0), *planted(30, 1))


@cache
def stacked():
    torch.manual_seed(0)
    stack = Stack((fitted(),), np.array([[0.5, 0.5], [1.5, 1.5]]), np.array([-0.3, -0.3]))
    return scorer_of(RUN, build_network(RUN).eval(), stack=stack)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("bin_kmers", 0.3, 1), ("bin_trees", 0.3, 1), ("bin_gc", 0, 0.2)]
)
def test_bases_around_a_bin_predict_the_planted_word(name, low, high):
    letters, points = planted(60, 2)
    rates = fitted(name).outputs(letters)
    labels = np.concatenate([of.labels(BIN) for of in points])
    assert rates.shape == labels.shape == (600, 2)
    assert low < average_precision_score(labels.ravel(), rates.ravel()) < high
    # rates are those of labels
    assert chance(rates).mean() == pytest.approx(labels.any(axis=1).mean(), abs=0.04)


def test_strands_of_bins_are_equal_and_survive_saving(tmp_path):
    (record, *_), _ = planted(60, 2)
    record = record[:2000]
    forward, reverse = fitted().position_outputs([record, DNA.reverse_complement(record)])
    np.testing.assert_allclose(forward, reverse[::-1, ::-1])
    fitted().save(tmp_path / "bin_kmers")
    scorer = BaselineScorer(load_baseline(tmp_path / "bin_kmers"))
    np.testing.assert_allclose(scorer.read([record])[0], forward)
    tiling = Tiling.of(scorer)
    assert tiling.overlap >= AROUND
    short = dataclasses.replace(tiling, longest=1900, size=1800)
    np.testing.assert_allclose(short.read([record], scorer.read)[0], forward)


def test_strands_share_the_weights_of_a_stack(tmp_path):
    """The stack of an uninformative network is its part."""
    scorer, (letters, points) = stacked(), planted(30, 1)
    network = dataclasses.replace(scorer, stack=None).read(letters)
    stack, held_out = fit_stack(network, [fitted()], letters, scorer.objective.answers(points))
    assert np.array_equal(stack.weights[:, 0], stack.weights[:, 1])
    assert stack.weights[1, 0] > 0.7
    measured = scorer.objective.loss(RUN, scorer.tokenizer, points).measure_outputs
    before, after, part = (
        measured(of, points) for of in (network, held_out, fitted().read(letters))
    )
    assert after["auprc"] > before["auprc"] + 0.3
    assert after["loss"] < 1.05 * part["loss"]
    scorer.stack.save(tmp_path, "abc")
    found = scorer.read(letters[:2])[1]
    expected = 0.5 * network[1] + 1.5 * fitted().read(letters)[1] - 0.3
    np.testing.assert_allclose(found, expected)
    loaded = load_stack(tmp_path, RUN, "abc").outputs(network[:2], letters[:2])[1]
    np.testing.assert_allclose(loaded, expected)
    # outputs of records are read in the given direction
    given = scorer.outputs(letters[:2])
    assert np.abs(given[1] - logsumexp(found, axis=0)).max() < 0.3


@pytest.mark.parametrize("strand", [0, 1])
def test_effects_on_points_equal_measured_substitutions(strand):
    (record, *_), _ = planted(60, 2)
    record = record[:430]
    (effects,) = fitted().substitution_effects([record], strand)

    def points(letters):
        return logsumexp(fitted().read([letters])[0][:, strand])

    for at in (3, 150, 260, 429):
        for letter, base in enumerate(b"ACGT"):
            changed = record.copy()
            changed[at] = base
            expected = points(changed) - points(record) if at < 400 else 0
            assert effects[at, letter] == pytest.approx(expected, abs=1e-9)
    scores = Saturation().scores(dataclasses.replace(stacked(), stack=None), [record], Target("+"))
    assert stacked().stack.attributions(scores, [record])[0].shape == (430, 4)
    with pytest.raises(ArgumentError, match="not those between start and end"):
        fitted().substitution_effects([record], strand, slice(0, 3))


def test_overlapping_records_are_read_once():
    places = [("c", 5, 10), ("c", 0, 10), ("d", 0, 3), ("c", 10, 4), ("c", 12, 9), ("d", 3, 3)]
    none = np.zeros(0, np.int64)
    points = object_array([Points(*place, none, none) for place in places])
    assert without_overlaps(points).tolist() == [1, 2, 3, 5]
