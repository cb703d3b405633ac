"""Test values of records for models with outputs per token or position, and their attribution."""

from functools import partial

import numpy as np
import pytest
import torch
from learners import HEADS
from letters import ascii_of
from scipy.special import logit, softmax

from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import Guided, Saturation
from selfattn_bio.attribution.rules import PLAIN, centred, gradient_at
from selfattn_bio.attribution.targets import Target
from selfattn_bio.evidence.epistasis import mean_of_strands
from selfattn_bio.objectives.outputs import find_output

RECORDS = {
    "letter of protein": ("E", ["ACDEFGHIKLMN", "WYVTSRQ"]),
    "letter, pooled stem": ("C", ["ACGTTGCATTACGGAT", "ACGTTGCAT"]),
    "place": ("-", ["ACGTTGCATTACGGATCC", "ACGTTGCATT"]),
}


def outputs_of(scorer, *texts):
    """Return the outputs of each member for sequences of one length, (n, M, N, C)."""
    with torch.inference_mode():
        return scorer.network(scorer.tokens_of([ascii_of(text) for text in texts])).numpy()


def log_points(outputs):
    """Return the log of the summed rates on the reverse strand, from (..., N, 2)."""
    return np.log(np.log1p(np.exp(outputs[..., 1])).sum(-1))


def values_of(scorer, name, *texts):
    """Return the values to explain, of the mean outputs of the members, (n,)."""
    outputs = outputs_of(scorer, *texts).mean(1)
    if name == "place":
        return log_points(outputs)
    column = {"E": 1, "C": 2}[RECORDS[name][0]]
    return logit(softmax(outputs, axis=2)[..., column]).mean(1)


@pytest.mark.parametrize("name", RECORDS)
def test_value_of_a_record(name):
    scorer, (target, texts) = HEADS[name][0], RECORDS[name]
    letters = [ascii_of(text) for text in texts]  # padding of the shorter one does not count
    expected = [values_of(scorer, name, text)[0] for text in texts]
    np.testing.assert_allclose(Target(target).values(scorer, letters), expected)
    output = find_output(scorer.objective.outputs, target)
    found = output.value(scorer.network_outputs(letters))  # (n, M)
    of_members = [outputs_of(scorer, text)[0] for text in texts]
    if name == "place":
        scores = [log_points(outputs) for outputs in of_members]
    else:
        scores = [100 * softmax(each, axis=-1)[..., output.column].mean(1) for each in of_members]
    np.testing.assert_allclose(found, scores)
    np.testing.assert_allclose(output.value(scorer.outputs(letters)), found.mean(1))


@pytest.mark.parametrize("name", RECORDS)
def test_gradient_of_a_record_equals_differences(name):
    scorer, (target, texts) = HEADS[name][0], RECORDS[name]
    tokens = scorer.tokens_of([ascii_of(text) for text in texts])
    chosen = partial(Target(target).of, scorer)
    shift = torch.zeros_like(scorer.network.embed(tokens)).detach()
    gradient = gradient_at(scorer.network, tokens, shift, PLAIN, chosen)
    rng = np.random.default_rng(0)
    for row, position, dim in rng.integers(0, (2, 7, shift.shape[2]), (10, 3)).tolist():
        step = torch.zeros_like(shift)
        step[row, position, dim] = 1e-5
        with torch.inference_mode():
            embedded = scorer.network.embed(tokens)
            up, down = (
                chosen(scorer.network.classify(x, tokens > 0), tokens)[row]
                for x in (embedded + step, embedded - step)
            )
        difference = float(up - down) / 2e-5
        assert float(gradient[row, position, dim]) == pytest.approx(difference, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", RECORDS)
def test_mutagenesis_of_a_record_equals_values_of_mutants(name):
    scorer, (target, texts) = HEADS[name][0], RECORDS[name]
    alphabet = scorer.alphabet.letters
    for text in texts:
        places = range(len(text))
        mutants = [text[:at] + letter + text[at + 1 :] for at in places for letter in alphabet]
        values = values_of(scorer, name, *mutants).reshape(len(text), -1)
        (scores,) = Saturation().scores(scorer, [ascii_of(text)], Target(target))
        np.testing.assert_allclose(scores, centred(values), atol=1e-6)
        (guided,) = Guided(fraction=1.0).scores(scorer, [ascii_of(text)], Target(target))
        np.testing.assert_allclose(guided, centred(values), atol=1e-6)


def test_scores_of_bins_are_those_of_one_strand():
    scorer = HEADS["place"][0]  # on the reverse complement, + is another strand
    assert mean_of_strands(scorer, np.ones) is np.ones
    assert mean_of_strands(HEADS["class"][0], np.ones) is not np.ones


def test_records_of_bins_and_labels_are_numbers():
    scorer, (target, texts) = HEADS["place"][0], RECORDS["place"]
    assert explain(scorer, texts, target=target).numbers == ("-",)
    assert explain(scorer, texts, target=Target("-", 2, 5)).numbers == ()
    assert explain(HEADS["masked k-mer"][0], texts, target="ACG").numbers == ()
    with pytest.raises(ValueError, match="objective 'masked' has no outputs for complete sequence"):
        HEADS["masked k-mer"][0].outputs([ascii_of("ACGTACGT")])
