"""Test `as_module`: outputs and gradients at one-hot sequences, and tools that use them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import CNN, HEADS, POOLED, learner, scorer_of
from letters import ascii_of
from torch import nn

from selfattn_bio import config, load
from selfattn_bio.attribution.methods import Saturation
from selfattn_bio.attribution.rules import PLAIN, centred, gradient_scores
from selfattn_bio.attribution.targets import Target
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.user_module import ModuleNetwork
from selfattn_bio.scoring.paired_scorer import PairedScorer
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.sequence.kmers import tokenizer_of


def binary(model=POOLED, k=1, stride=1, both=False):
    found = learner({"kind": "binary"}, model, k=k, stride=stride, positives="a", negatives="b")
    training = found.run.training.model_copy(update={"reverse_complement": both})
    return replace(found, run=found.run.model_copy(update={"training": training}))


SCORERS = {name: scorer for name, (scorer, *_) in HEADS.items() if name != "masked k-mer"} | {
    "both strands, k-mers": binary(k=3, stride=2, both=True),
    "shared strands": binary(POOLED | {"strands": "shared"}, k=3),
    "cnn": binary(CNN),
    "stack, float32": load("promoter", device="cpu"),
}


def one_hot(scorer, letters):
    """Return (n, A, L); columns of unknown letters are 0."""
    known = ascii_of(scorer.alphabet.letters)
    return torch.from_numpy((np.stack(letters)[:, None] == known[:, None]).astype(np.float32))


def letters_of(scorer, length=14):
    return np.random.default_rng(1).choice(ascii_of(scorer.alphabet.letters), (3, length))


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS.keys())
def test_one_hot_outputs_equal_those_of_letters(scorer):
    letters = letters_of(scorer)
    letters[1, 6] = ord(scorer.alphabet.unknown)
    expected = scorer.network_outputs(letters).mean(1)  # without the stack
    network = scorer.as_module()
    found = network(one_hot(scorer, letters))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3
    next(network.parameters()).zero_()  # a copy: the model keeps its weights
    np.testing.assert_array_equal(scorer.network_outputs(letters).mean(1), expected)


@pytest.mark.parametrize(("k", "stride", "model"), [(1, 1, CNN), (3, 2, POOLED)])
def test_one_hot_gradient_is_that_of_the_embeddings(k, stride, model):
    scorer = binary(model, k, stride)
    letters = letters_of(scorer)
    x = one_hot(scorer, letters).requires_grad_()
    (gradient,) = torch.autograd.grad(scorer.as_module()(x).sum(), x)
    found = centred(gradient.transpose(1, 2).numpy())
    expected = gradient_scores(scorer, letters, PLAIN)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_one_hot_network_of_several_models():
    scorers = (scorer_of(k=1), scorer_of(CNN, k=3))
    letters = letters_of(scorers[0])
    expected = np.mean([scorer.outputs(letters) for scorer in scorers], axis=0)
    found = Ensemble(scorers).as_module()(one_hot(scorers[0], letters))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_hot_network_of_two_inputs():
    sections = {"data": {"sequences": "t.tsv", "label": "label"}, "model": {"kind": "paired"}}
    sections["partner"] = {"kind": "sequence", "column": "other"}
    run = config.RunFile.model_validate(sections)
    pairs = PairedScorer(run, tokenizer_of(run), build_network(run).eval())
    with pytest.raises(ArgumentError, match=r"two inputs .*of_first\(partners\)\.as_module"):
        pairs.as_module()
    scorer = pairs.of_first([ascii_of("GATTACA")])
    letters = letters_of(scorer)
    found = scorer.as_module()(one_hot(scorer, letters))
    np.testing.assert_allclose(found, scorer.outputs(letters), atol=1e-5)


def test_one_hot_errors():
    with pytest.raises(ArgumentError, match="objective 'masked' has no outputs of sequences"):
        HEADS["masked k-mer"][0].as_module()
    scorer = scorer_of(k=3)
    user = ModuleNetwork(nn.Linear(1, 1), 1, "mine:build", Path("mine.py"))
    with pytest.raises(ArgumentError, match="without the methods embed and classify"):
        replace(scorer, network=user).as_module()
    for shape in ((4, 9), (1, 9, 4), (1, 4, 2)):
        with pytest.raises(ArgumentError, match=r"expected \(sequences, 4, length\)"):
            scorer.as_module()(torch.zeros(shape))


def test_tangermeme_explains_one_hot_networks():
    pytest.importorskip("tangermeme")
    from tangermeme.saliency import saliency
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    scorer = scorer_of(k=3)
    letters = letters_of(scorer)
    x, network = one_hot(scorer, letters), scorer.as_module()
    found = saliency(network, x, hypothetical=True, device="cpu")
    expected = gradient_scores(scorer, letters, PLAIN)
    np.testing.assert_allclose(found.transpose(1, 2), expected, rtol=1e-4, atol=1e-6)
    found = saturation_mutagenesis(network, x, hypothetical=True, device="cpu")
    expected = Saturation().scores(scorer, list(letters), Target())
    np.testing.assert_allclose(found.transpose(1, 2), np.stack(expected), atol=1e-5)
