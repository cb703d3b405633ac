"""Test each method against its formula, for any head, batch and value of a record."""

import dataclasses
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from dense_weights import dense_weights
from learners import CNN, HEADS, NO_STEM, POOLED, SEQUENCES, WINDOW_CLS, scorer_of
from letters import ascii_of
from pydantic import TypeAdapter
from scipy.special import logit, softmax

from selfattn_bio import config
from selfattn_bio.attribution import methods, rules
from selfattn_bio.attribution.capture import read_letters
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import METHODS
from selfattn_bio.attribution.methods.base import generator
from selfattn_bio.attribution.targets import Target
from selfattn_bio.config.interpret import KNOWN_METHODS, PlainMethod
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.epistasis import mean_of_strands
from selfattn_bio.objectives.outputs import find_output
from selfattn_bio.sequence.kmers import pad_letters

METHOD = pytest.mark.parametrize(
    "method",
    [
        cls(**({"steps": 4} if cls is methods.IntegratedGradients else {}))
        for cls in methods.METHODS.values()
    ],
    ids=methods.METHODS,
)
HEAD = pytest.mark.parametrize(("scorer", "target", "picked"), HEADS.values(), ids=HEADS.keys())


def letters_for(scorer, length=12):
    known = ascii_of(scorer.alphabet.letters)
    return list(np.random.default_rng(3).choice(known, (2, length)))


@dataclasses.dataclass(frozen=True)
class Edited(methods.AttributionMethod):
    """A method of a user; `edit` changes what `Saturation` returns."""

    edit: object
    name = "edited"

    def scores(self, scorer, letters, target):
        return self.edit(methods.Saturation().scores(scorer, letters, target))


@pytest.mark.parametrize(
    "edit",
    [
        lambda scores: scores[1:],
        lambda scores: [*scores, scores[0]],
        lambda scores: [each[1:] for each in scores],
        lambda scores: [each.T for each in scores],
        lambda scores: [each * np.nan for each in scores],
    ],
    ids=["too few", "too many", "shorter", "transposed", "nan"],
)
def test_unusable_scores_of_a_method_are_refused(edit):
    scorer = scorer_of(POOLED)
    with pytest.raises(ArgumentError, match=r"'edited' .* \(L, A\) .* such as \(12, 4\) for the"):
        explain(scorer, ["ACGTTGCAACGT"] * 3, method=Edited(edit))


@HEAD
def test_saturation_substitutes_one_base_at_a_time(scorer, target, picked):
    letters = letters_for(scorer)
    target.check(scorer, [12, 12])
    known = ascii_of(scorer.alphabet.letters)
    for row, found in zip(
        letters, methods.Saturation().scores(scorer, letters, target), strict=True
    ):
        mutants = np.tile(row, (12, len(known), 1))
        for at in range(12):
            mutants[at, :, at] = known
        with torch.no_grad():
            tokens = scorer.tokens(np.stack([row, *mutants.reshape(-1, 12)]))
            outputs = picked(scorer.network(tokens).mean(1))
        effects = (outputs[1:] - outputs[0]).numpy().reshape(12, len(known))
        np.testing.assert_allclose(found, effects - effects.mean(1, keepdims=True), atol=1e-6)
        assert np.abs(found).max() > 1e-3


@HEAD
def test_integrated_gradients_sum_to_difference(scorer, target, picked):
    letters = letters_for(scorer)
    tokens = scorer.tokens(np.stack(letters))
    mean = rules.embedding_table(scorer)[rules.FIRST_KMER :].mean(0).expand(*tokens.shape, -1)
    with torch.no_grad():
        ends = scorer.network.embed(tokens), mean
        here, there = (picked(scorer.network.classify(x, tokens != 0)) for x in ends)
    known = ascii_of(scorer.alphabet.letters)
    scores = methods.IntegratedGradients(steps=50).scores(scorer, letters, target)
    sums = [
        (rows * (row[:, None] == known)).sum() for rows, row in zip(scores, letters, strict=True)
    ]
    # not exact, because max pooling has kinks along the path
    np.testing.assert_allclose(sums, (here - there).numpy(), rtol=0.02, atol=2e-3)


@HEAD
def test_a_gradient_of_every_head_is_of_its_target(scorer, target, picked):
    letters = letters_for(scorer)
    for method in (methods.Gradient(), methods.AttnLRP()):
        together = method.scores(scorer, letters, target)
        expected = rules.gradient_scores(
            scorer, np.stack(letters), method.rules, lambda outputs, tokens: picked(outputs)
        )
        np.testing.assert_allclose(np.stack(together), expected, atol=1e-7)
        assert np.abs(expected).max() > 1e-4


@METHOD
@pytest.mark.parametrize("model", [POOLED, WINDOW_CLS, CNN], ids=["conv", "cls", "cnn"])
def test_batching_does_not_change_attributions(method, model):
    scorer, letters = scorer_of(model), [ascii_of(sequence) for sequence in SEQUENCES]
    if model is CNN and isinstance(method, methods.AttentionMethod):
        with pytest.raises(ValueError, match="models of kind 'cnn' have no attention"):
            method.attribution(scorer, letters, Target())
        return
    found = method.attribution(scorer, letters, Target())
    assert [len(row) for row in found] == [20, 10, 15]
    for row, sequence in zip(found, letters, strict=True):
        (alone,) = method.attribution(scorer, [sequence], Target())
        np.testing.assert_allclose(row, alone, atol=1e-5)
        assert row.min() >= 0
        assert row.max() > 0
    explanation = explain(scorer, SEQUENCES, method=method)
    assert explanation.method == method.name
    assert explanation.is_attention == isinstance(method, methods.AttentionMethod)
    assert explanation.ids == ["0", "1", "2"]
    for row, of_row in enumerate(found):
        length = len(of_row)
        np.testing.assert_allclose(explanation.attribution[row], of_row, atol=1e-6)
        assert not explanation.hypothetical[row, length:].any()
        assert not explanation.attention[row, length:].any()
    np.testing.assert_allclose(explanation.hypothetical.sum(-1), 0, atol=1e-5)


def test_guided_attributions_are_pinned():
    """Guided mutagenesis equals an explicit computation to the last bit.

    The batch is scored by AttnLRP. Then the best 0.15 of each sequence is mutated, with the
    mutants and finally the sequence itself in one array.
    """
    scorer, rng = scorer_of(), np.random.default_rng(0)
    letters = rng.choice(ascii_of("ACGT"), (3, 240))
    guessed = rules.gradient_scores(scorer, letters)
    texts = [row.tobytes().decode() for row in letters]
    found = explain(scorer, texts, method=methods.Guided()).hypothetical
    for row, guess, scores in zip(letters, guessed, found, strict=True):
        positions = np.sort(np.argsort(-np.linalg.norm(guess, axis=-1), kind="stable")[:36])
        at, letter = np.nonzero(row[positions][:, None] != ascii_of("ACGT"))
        mutants = np.repeat(row[None], len(at) + 1, axis=0)
        mutants[np.arange(len(at)), positions[at]] = ascii_of("ACGT")[letter]
        logits = scorer.logits(mutants)
        effects = np.zeros((36, 4), dtype=np.float32)
        effects[at, letter] = logits[:-1] - logits[-1]
        effects -= effects.mean(axis=-1, keepdims=True)
        expected = guess * (np.linalg.norm(effects) / np.linalg.norm(guess[positions]))
        expected[positions] = effects
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize(
    ("turned", "alphabet"), [(True, "dna"), (False, "dna"), (False, "protein")]
)
def test_copies_are_of_both_strands_where_the_model_knows_both(turned, alphabet):
    scorer = scorer_of(alphabet=alphabet, k=1)
    training = scorer.run.training.model_copy(update={"reverse_complement": turned})
    scorer = dataclasses.replace(scorer, run=scorer.run.model_copy(update={"training": training}))
    letters = ascii_of("ACGTTGCATGCATTAGCCAT")
    expected = rules.gradient_scores(scorer, letters[None])[0]
    if turned:
        other = scorer.alphabet.reverse_complement(letters)
        expected = (expected + rules.gradient_scores(scorer, other[None])[0][::-1, ::-1]) / 2
    (found,) = methods.AttnLRPCopies(copies=2, fraction=0.0).scores(scorer, [letters], Target())
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_copies_average_gradients_at_substituted_sequences():
    scorer = scorer_of(k=3)
    letters = ascii_of("ACGTTGCANTGCATTAGCCAT")
    method, chance = methods.AttnLRPCopies(copies=3, fraction=0.3, seed=5), generator(5, letters)
    copies = [method._copy(scorer, letters, chance) for _ in range(3)]
    assert all(copy[8] == ord("N") for copy in copies)
    assert 0 < np.mean([copy != letters for copy in copies]) < 0.4
    expected = np.mean(
        [rules.gradient_scores(scorer, letters[None], at=copy[None])[0] for copy in copies], axis=0
    )
    np.testing.assert_allclose(method.scores(scorer, [letters], Target())[0], expected, atol=1e-6)
    others = np.mean([rules.gradient_scores(scorer, copy[None])[0] for copy in copies], axis=0)
    assert np.abs(others - expected).max() > 1e-3


@pytest.mark.parametrize(("rows", "number"), [(2, 20), (9, 20), (64, 25)])
def test_limits_of_a_pass_do_not_change_scores(monkeypatch, rows, number):
    scorer, letters = scorer_of(k=3), [ascii_of(sequence) for sequence in SEQUENCES]
    method = methods.AttnLRPCopies(copies=4)
    expected = method.scores(scorer, letters, Target())
    monkeypatch.setattr("selfattn_bio.attribution.rules.BATCH", rows)
    monkeypatch.setattr("selfattn_bio.attribution.rules.BATCH_LETTERS", number)
    passes = [part.stop - part.start for part in rules.backward_batches(letters, copies=4)]
    assert passes == [1, 1, 1]
    for one, other in zip(method.scores(scorer, letters, Target()), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_passes_hold_all_copies_of_their_sequences():
    lengths = *[100] * 9, 1000, 30_000, 3
    letters = [np.zeros(length, np.uint8) for length in lengths]
    passes = [(part.start, part.stop) for part in rules.backward_batches(letters, copies=16)]
    assert passes == [(0, 8), (8, 10), (10, 11), (11, 12)]


def test_methods_that_need_weights_are_those_of_attention():
    of_attention = {name for name, method in METHODS.items() if not hasattr(method, "scores")}
    assert {kind for kind, (_, need) in KNOWN_METHODS.items() if need == "weights"} == of_attention


@pytest.mark.parametrize(
    "pattern",
    [
        {"kind": "full"},
        {"kind": "window", "window": 2, "num_global": 1},
        {"kind": "bigbird", "window": 1, "block": 4},
    ],
    ids=str,
)
def test_rollout_equals_its_formula(pattern):
    scorer = scorer_of(NO_STEM | {"pattern": pattern, "members": 1, "num_kv_heads": 1}, k=1)
    letters = [ascii_of("ACGTACCATTGA"), ascii_of("ACGTAC")]
    reading = read_letters(scorer, pad_letters(letters), ["", ""])
    flow = np.eye(12)[None]
    for layer in reading.layers[0]:
        flow = (dense_weights(layer).detach().mean(1).numpy() + np.eye(12)) / 2 @ flow
    found = methods.Rollout().attribution(scorer, letters, Target())
    for row, length in enumerate((12, 6)):
        start = (np.arange(12) < length) / length
        np.testing.assert_allclose(found[row], (start @ flow[row])[:length], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("class", None, 'has 3 outputs; choose one of a, b, c. For example, add target="c"'),
        ("class", ["a", "b"], r"target is \['a', 'b'\]; it must be one output"),
        ("class", Target("d"), "no output 'd'; the outputs are a, b, c"),
        ("class", Target(3), "no output 3; the outputs are numbered from 0 to 2"),
        ("class", Target("a", 0, 3), "'multiclass' predicts complete sequences, so a target can"),
        *(
            ("letter of protein", Target("H", *span), "is not within the shortest sequence, which")
            for span in ((3, 3), (0, 11), (-1, 4))
        ),
        ("masked k-mer", Target("ACG", 9), "contains no token of the shortest sequence, which has"),
    ],
)
def test_unknown_target_is_named(name, target, message):
    with pytest.raises(ArgumentError, match=message):
        explain(HEADS[name][0], ["ACGTACGTAC"], target=target)


def test_a_method_is_chosen_by_kind():
    for kind, cls in methods.METHODS.items():
        method = methods.build_method(TypeAdapter(config.AnyMethod).validate_python({"kind": kind}))
        assert method == cls()
    for section in get_args(get_args(config.AnyMethod)[0]):
        if section is not PlainMethod:
            assert methods.build_method(section()).model_dump() == section().model_dump()
    assert methods.build_method(config.GuidedMethod(fraction=0.3)) == methods.Guided(fraction=0.3)


def test_settings_out_of_range_are_refused():
    for method, wrong in (
        (methods.Guided, {"fraction": 1.5}),
        (methods.AttnLRPCopies, {"copies": 0}),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            method(**wrong)


def test_attention_methods_have_no_motifs_and_round_trip(tmp_path):
    explanation = explain(scorer_of(), SEQUENCES, method=methods.Received())
    assert explanation.hypothetical.shape == (3, 20, 0)
    with pytest.raises(ValueError, match="method 'received' reads attention weights, but motifs"):
        explanation.find_motifs()
    assert explanation.plot().axes[0].get_ylabel() == "received (raw attention)"
    explanation.save(tmp_path / "attribution")
    loaded = Explanation.load(tmp_path / "attribution")
    assert (loaded.method, loaded.is_attention) == ("received", True)
    np.testing.assert_array_equal(loaded.attribution[2], explanation.attribution[2])


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
    gradient = rules.gradient_at(scorer.network, tokens, shift, rules.PLAIN, chosen)
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
        (scores,) = methods.Saturation().scores(scorer, [ascii_of(text)], Target(target))
        np.testing.assert_allclose(scores, rules.centred(values), atol=1e-6)
        (guided,) = methods.Guided(fraction=1.0).scores(scorer, [ascii_of(text)], Target(target))
        np.testing.assert_allclose(guided, rules.centred(values), atol=1e-6)


def test_scores_of_bins_are_those_of_one_strand():
    scorer = HEADS["place"][0]  # on the reverse complement, + is another strand
    assert mean_of_strands(scorer, np.ones) is np.ones
    assert mean_of_strands(HEADS["class"][0], np.ones) is not np.ones


def test_records_of_bins_and_labels_are_numbers():
    scorer, (target, texts) = HEADS["place"][0], RECORDS["place"]
    assert explain(scorer, texts, target=target).numbers == ("-",)
    assert explain(scorer, texts, target=Target("-", 2, 5)).numbers == ()
    assert explain(HEADS["class"][0], texts, target="b").targets == ["b"]
    assert str(Target("-", 2, 5)) == "-[2, 5)"
    assert explain(HEADS["masked k-mer"][0], texts, target="ACG").numbers == ()
    with pytest.raises(ValueError, match="objective 'masked' has no outputs for complete sequence"):
        HEADS["masked k-mer"][0].outputs([ascii_of("ACGTACGT")])
