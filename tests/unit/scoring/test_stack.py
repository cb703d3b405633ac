"""Test a network combined with simple models: weights, logits, attributions and folder."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from genome_models import run_file
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import StratifiedKFold

from selfattn_bio.arrays import object_array
from selfattn_bio.attribution.explain import explain_letters
from selfattn_bio.attribution.methods import Saturation, build_method
from selfattn_bio.attribution.targets import Target
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.config import Interpret, RegressionObjective, RunFile, run_file_of
from selfattn_bio.errors import CorpusError, ModelFolderError
from selfattn_bio.evidence.held_out import importance_of
from selfattn_bio.model.build import build_network
from selfattn_bio.objectives.base import Answer
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.stack import Stack, fitted_parts, load_stack
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.study.explain import COLUMNS, _member_correlation
from selfattn_bio.training.stacking import FOLDS, check_parts, fit_stack
from selfattn_bio.training.stacking import _fit as fit_weights

LENGTH = 24
STEM = {"kind": "conv", "token_dim": 4, "kernel": 3, "pool": 2, "second_kernel": 3}


def records(number, seed):
    """Return records with TATA at position 10 in positives, and labels."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), (number, LENGTH))
    letters[1::2, 10:14] = np.frombuffer(b"TATA", np.uint8)
    return list(letters), np.arange(number) % 2


def fitted(*names, strands="given"):
    """Fit the named parts."""
    train, valid = records(120, 0), records(60, 1)
    setup = Setup(SequencePolicy(DNA), strands)
    return [BASELINES[name](setup).fit(*train, *valid) for name in names]


def fit_labels(network, parts, letters, labels):
    """Fit the stack of a network with logits (n,) of two classes."""
    return fit_stack(network[:, None], parts, letters, [Answer("label", labels)])


def run_of(both=False, parts=None):
    """Return a run file with stacked parts, and the reverse complement in training if `both`."""
    if parts is None:
        parts = "kmer6_logistic", "kmer6_positional_logistic" if both else "exact_positions"
    changes = {"stack": {"parts": parts}, "training": {"reverse_complement": both}}
    return RunFile(**dict(run_file({"k": 1}, members=2, stem=STEM)) | changes)


def stacked(both):
    """Return a scorer with random network weights and two stacked parts."""
    run = run_of(both)
    parts = fitted(*run.stack.parts, strands="both" if both else "given")
    stack = Stack(tuple(parts), np.array([[0.5], [2.0], [1.5]]), np.array([-0.3]))
    return scorer_of(run, build_network(run).eval(), stack=stack)


def test_fit_stack_prefers_the_informative_part():
    letters, labels = records(400, 2)
    rng = np.random.default_rng(0)
    part, useless = fitted("exact_positions", "gc")
    stack, _ = fit_labels(rng.normal(size=400), [part], letters, labels)
    size = stack.weights[:, 0] * [1, part.logits(letters).std()]
    assert (stack.weights >= 0).all()
    assert size[1] > 10 * size[0]
    labels = np.random.default_rng(1).permutation(labels)
    network = 4.0 * (labels - 0.5) + np.random.default_rng(0).normal(size=400)
    stack, _ = fit_labels(network, [useless], letters, labels)
    assert (stack.parts, stack.left_out, len(stack.weights)) == ((), (useless,), 1)


def test_fit_stack_calibrates():
    letters, _ = records(2000, 3)
    rng = np.random.default_rng(1)
    truth = rng.normal(size=2000)
    labels = (rng.random(2000) < expit(truth)).astype(np.int64)
    stack, held_out = fit_labels(3 * truth + 1, [], letters, labels)
    assert stack.weights[0, 0] == pytest.approx(1 / 3, rel=0.2)
    assert np.corrcoef(held_out[:, 0], truth)[0, 1] > 0.999


def test_held_out_logits_do_not_see_their_label():
    """The logits of a fold come from weights fitted to the other records."""
    letters, labels = records(100, 4)
    network = labels + np.random.default_rng(5).normal(size=100)
    _, held_out = fit_labels(network, [], letters, labels)
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(network, labels)
    for rest, fold in splits:
        of_rest, _ = fit_labels(network[rest], [], [letters[i] for i in rest], labels[rest])
        expected = of_rest.outputs(network[fold][:, None], fold)
        np.testing.assert_allclose(held_out[fold], expected, rtol=1e-6)


def test_weights_are_penalised_by_spread():
    letters, labels = records(40, 4)
    network = 3 * (labels + np.random.default_rng(5).normal(size=40))
    stack, _ = fit_labels(network, [], letters, labels)
    scaled = network[:, None] / network.std()
    expected = LogisticRegression(C=1, tol=1e-8).fit(scaled, labels)
    assert stack.weights[0] * network.std() == pytest.approx(expected.coef_[0], rel=1e-3)
    assert stack.bias == pytest.approx(expected.intercept_, rel=1e-3)


def test_a_part_without_signal_far_from_zero_does_no_harm():
    """The intercept has to make up for its mean, which is 2,000 times its spread."""
    rng = np.random.default_rng(1)
    score = rng.normal(0, 1.5, 287)
    labels = (rng.random(287) < expit(score - 0.5)).astype(float)
    noise, far, one, other = rng.normal(size=(4, 287))
    parts = 0.5 * score + 0.5 * one - 0.3, score + 0.7 * other, 0.01 * far - 20
    x, losses = np.stack([0.3 * noise, *parts], axis=1), []
    for number in (3, 4):
        weights, bias = fit_weights(x[:, :number], Answer("label", labels))
        logits = x[:, :number] @ weights + bias
        losses.append(np.mean(np.logaddexp(0, logits) - labels * logits))
    assert losses[1] <= losses[0] + 1e-5


@pytest.mark.parametrize("kind", ["number", "count"])
def test_weights_of_numbers_are_those_of_a_regression(kind):
    """Unknown values are left out, and predicted by weights fitted to all others."""
    rng, letters = np.random.default_rng(0), records(200, 4)[0]
    network, part = rng.normal(size=(2, 200, 1))
    mean = 0.8 * network[:, 0] + 0.3 * part[:, 0] - 0.5
    values = rng.poisson(np.exp(mean)) * 1.0 if kind == "count" else mean + rng.normal(size=200)
    values[::5] = np.nan
    known = np.isfinite(values)
    fixed = SimpleNamespace(outputs=lambda letters: part)
    stack, held_out = fit_stack(network, [fixed], letters, [Answer(kind, values)])
    x = np.concatenate([network, part], axis=1)
    scale = x[known].std(axis=0)
    model = Ridge() if kind == "number" else PoissonRegressor(alpha=1 / known.sum(), tol=1e-8)
    model.fit(x[known] / scale, values[known])
    assert stack.weights[:, 0] * scale == pytest.approx(model.coef_, rel=2e-3)
    assert stack.bias[0] == pytest.approx(model.intercept_, abs=1e-3)
    fitted = stack.outputs(network, letters)
    np.testing.assert_allclose(held_out[~known], fitted[~known])
    assert not np.isclose(held_out[known], fitted[known]).any()


def test_held_out_profiles_differ_in_counts_only():
    rng, letters = np.random.default_rng(0), records(60, 4)[0]
    network, counts = rng.normal(size=(60, 7, 2)), rng.normal(size=60)
    network[..., 0] = network[:, :1, 0]
    part = np.stack([counts, np.zeros(60)], axis=1)
    given = [SimpleNamespace(outputs=lambda letters: part)], letters
    answers = [Answer("number", network[:, 0, 0] + counts), Answer("number", np.zeros(60))]
    held_out = fit_stack(network, *given, answers)[1]
    of_records = fit_stack(network[:, 0], *given, answers)[1]
    np.testing.assert_allclose(
        held_out - network, (of_records - network[:, 0])[:, None] + 0 * network
    )
    assert np.corrcoef(held_out[:, 3, 0], answers[0].values)[0, 1] > 0.95


def test_outliers_hardly_change_weights_of_robust_numbers():
    rng, letters = np.random.default_rng(0), records(200, 4)[0]
    network = rng.normal(size=(200, 1))
    values = network[:, 0] + 0.1 * rng.normal(size=200)
    values[::20] = 1000
    stack, _ = fit_stack(network, [], letters, [Answer("robust", values)])
    assert stack.weights[0, 0] == pytest.approx(1, abs=0.1)
    assert stack.bias[0] == pytest.approx(0, abs=0.2)


def test_classes_share_weights_and_have_intercepts():
    rng, letters = np.random.default_rng(0), records(3000, 4)[0]
    truth, priors = rng.normal(size=(3000, 3)), np.array([1.0, 0.0, -1.0])
    classes = (truth + priors + rng.gumbel(size=truth.shape)).argmax(axis=1) * 1.0
    network = 3 * np.concatenate([truth, np.full((3000, 1), -2)], axis=1)
    answers = [Answer("class", classes, 4)]
    stack, held_out = fit_stack(network, [], letters, answers)
    assert stack.weights[0] == pytest.approx([1 / 3] * 4, rel=0.1)
    assert stack.bias[:3] - stack.bias[1] == pytest.approx(priors, abs=0.2)
    assert -10 < stack.bias[3] < -1  # there is no record of this class
    assert np.abs(held_out - stack.outputs(network, letters)).max() < 0.3
    shifted = network + 10 * rng.normal(size=(3000, 1))  # what classes share has no effect
    again, _ = fit_stack(shifted, [], letters, answers)
    assert again.weights == pytest.approx(stack.weights, rel=1e-3)


def test_answers_have_their_own_weights():
    """A part is left out if it helps none of them; nothing is learned from one value."""
    rng, letters = np.random.default_rng(0), records(300, 4)[0]
    truth = rng.normal(size=(300, 3))
    outputs = (rng.normal(size=(300, 3)), np.roll(truth, 1, axis=1))
    noise, useful = (SimpleNamespace(outputs=lambda letters, of=of: of) for of in outputs)
    network = truth * [1, 0, 0] + rng.normal(size=(300, 3)) * [0, 1, 1]
    targets = [truth[:, 0], truth[:, 0], np.full(300, 2.0)]
    answers = [Answer("number", values) for values in targets]
    stack, _ = fit_stack(network, [noise, useful], letters, answers)
    assert stack.parts == (useful,)
    assert stack.left_out == (noise,)
    assert stack.weights == pytest.approx(np.array([[1, 0, 1], [0, 1, 0]]), abs=0.1)
    assert stack.bias[2] == 0


def test_logits_are_the_weighted_sum():
    scorer, letters = stacked(False), records(7, 6)[0]
    network = scorer.network_outputs(letters)[:, :, 0].mean(1)
    kmers, positions = (part.logits(letters) for part in scorer.stack.parts)
    expected = 0.5 * network + 2.0 * kmers + 1.5 * positions - 0.3
    np.testing.assert_allclose(scorer.logits(letters), expected, rtol=1e-6)
    of_members = scorer.member_log_odds(letters).mean(1)
    np.testing.assert_allclose(of_members, scorer.log_odds(letters), rtol=1e-6)


@pytest.mark.parametrize("both", [False, True])
def test_attributions_equal_measured_substitutions(both):
    scorer, letters = stacked(both), records(3, 7)[0]
    found = explain_letters(scorer, letters, pd.DataFrame({"id": list("abc")}), method=Saturation())
    for row, sequence in enumerate(letters):
        mutants = np.tile(sequence, (LENGTH, 4, 1))
        for position in range(LENGTH):
            mutants[position, :, position] = list(b"ACGT")
        logits = scorer.logits([sequence, *mutants.reshape(-1, LENGTH)])
        effects = (logits[1:] - logits[0]).reshape(LENGTH, 4)
        expected = effects - effects.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(found.hypothetical[row], expected, atol=2e-4)
    letters[0][[0, 11]] = ord("N")
    unknown, known = scorer.stack.attributions([np.zeros((LENGTH, 4))] * 3, letters)[:2]
    assert not unknown[[0, 11]].any()
    assert known[[0, 11]].any()


def test_importance_without_the_network_is_that_of_the_parts():
    scorer, letters = stacked(False), records(3, 7)[0]
    weights = np.array([[0.0], [2.0], [1.5]])
    scorer = dataclasses.replace(scorer, stack=dataclasses.replace(scorer.stack, weights=weights))
    table = pd.DataFrame({"id": list("abc")})
    measured = explain_letters(scorer, letters, table, method=Saturation()).attribution
    found = importance_of(scorer, scorer.objective.outputs[0], letters)
    np.testing.assert_allclose(found, measured, atol=2e-4)
    assert np.min(np.max(measured, axis=1)) > 0.1


LABELS = """
data = { sequences = "r.fa", targets = "t.tsv" }
tokens.k = 1
[model]
kind = "attention"
members = 2
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
stem.kind = "none"
[training]
shift = 0
[stack]
parts = ["window_logistic", "window_trees"]
[objective]
kind = "labels"
column = "s"
classes = "io"
"""


@pytest.fixture(scope="module")
def of_positions():
    """Return a scorer of labels with random network weights and two parts, and two records.

    A position is i if G is two positions before it.
    """
    run, rng = run_file_of(LABELS, "run.toml"), np.random.default_rng(0)
    letters = [
        rng.choice(np.frombuffer(b"ACGT", np.uint8), size) for size in rng.integers(20, 40, 80)
    ]
    targets = object_array([np.where(np.roll(row == ord("G"), 2), 0, 1) for row in letters])
    setup, half = Setup(SequencePolicy(DNA), section=run.objective), len(letters) // 2
    fit_to = letters[:half], targets[:half], letters[half:], targets[half:]
    parts = [BASELINES[name](setup).fit(*fit_to) for name in run.stack.parts]
    stack = Stack(tuple(parts), np.repeat([[0.5], [2.0], [1.5]], 2, axis=1), np.array([-0.3, 0.2]))
    return scorer_of(run, build_network(run).eval(), stack=stack), letters[:2], targets[:2]


def test_positions_are_the_weighted_sum(of_positions, tmp_path):
    scorer, letters, targets = of_positions
    network = dataclasses.replace(scorer, stack=None).token_outputs(letters)
    parts = (part.position_outputs(letters) for part in scorer.stack.parts)
    found = scorer.token_outputs(letters)
    for rows, one, two, three in zip(found, network, *parts, strict=True):
        np.testing.assert_allclose(rows, 0.5 * one + 2 * two + 1.5 * three + scorer.stack.bias)
    fractions = [softmax(rows, axis=1).mean(axis=0) for rows in found]
    np.testing.assert_allclose(scorer.outputs(letters)[:, 2:], 100 * np.array(fractions), rtol=0.1)
    scorer.stack.save(tmp_path, "abc")
    loaded = load_stack(tmp_path, scorer.run, "abc")
    np.testing.assert_allclose(loaded.outputs(network, letters)[1], found[1], rtol=1e-6)
    answers = scorer.objective.answers(targets)
    _, held_out = fit_stack(network, scorer.stack.parts, letters, answers)
    assert [rows.shape for rows in held_out] == [rows.shape for rows in network]
    metrics = scorer.objective.measure(np.concatenate(held_out), np.concatenate(targets))
    assert metrics["accuracy"] > 0.9


@pytest.mark.parametrize("target", [Target("i"), Target("i", 3, 9)])
def test_attributions_of_positions_equal_measured_substitutions(of_positions, target):
    """They are the mean log-odds of two classes, or the sum of logits over a span."""
    scorer, letters, _ = of_positions
    table = pd.DataFrame({"id": list("ab")})
    found = explain_letters(scorer, letters, table, method=Saturation(), target=target)
    for row, sequence in enumerate(letters):
        mutants = np.tile(sequence, (len(sequence), 4, 1))
        for position in range(len(sequence)):
            mutants[position, :, position] = list(b"ACGT")
        mutants = list(mutants.reshape(-1, len(sequence)))
        values = scorer.outputs(mutants)[:, 0]
        if target.start:
            values = np.array([rows[3:9, 0].sum() for rows in scorer.token_outputs(mutants)])
        effects = values.reshape(-1, 4) - values.reshape(-1, 4).mean(axis=1, keepdims=True)
        scores = found.hypothetical[row, : len(sequence)]
        np.testing.assert_allclose(scores, effects, atol=1e-5)


def test_agreement_of_networks_leaves_out_shared_parts():
    scorer, letters = stacked(False), records(4, 7)[0]
    table = pd.DataFrame({"id": list("abcd")}).reindex(columns=COLUMNS)
    (output,) = scorer.objective.outputs
    scorers, how = (scorer, dataclasses.replace(scorer, stack=None)), {"kind": "saturation"}
    more = letters, table, build_method(Interpret(method=how).method)
    both, alone = (_member_correlation(each, output, *more) for each in scorers)
    assert both == alone < 0.9


def test_both_strands_have_one_score():
    run = run_of(both=True, parts=())
    scorer, letters = scorer_of(run, build_network(run).eval()), records(5, 8)[0]
    other = [DNA.reverse_complement(row) for row in letters]
    np.testing.assert_allclose(scorer.logits(letters), scorer.logits(other), rtol=1e-6)
    outputs = (np.stack(scorer.of_each(of, scorer.network)) for of in (letters, other))
    strands = [of[:, :, 0].mean(1) for of in outputs]
    assert not np.allclose(*strands)
    np.testing.assert_allclose(scorer.logits(letters), np.mean(strands, axis=0), rtol=1e-6)


def test_stack_round_trip(tmp_path):
    assert fitted_parts(tmp_path) == {}
    (useless,), letters = fitted("gc"), records(9, 10)[0]
    stack = dataclasses.replace(stacked(False).stack, left_out=(useless,))
    stack.save(tmp_path, "abc")
    loaded, network = load_stack(tmp_path, run_of(), "abc"), np.linspace(-1, 1, 9)[:, None]
    found, expected = (each.outputs(network, letters) for each in (loaded, stack))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [part.setup.threads for part in loaded.parts] == [1, 1]
    assert list(fitted_parts(tmp_path)) == ["exact_positions", "gc", "kmer6_logistic"]
    found, expected = (each.logits(letters) for each in (*loaded.left_out, useless))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert load_stack(tmp_path / "stack", run_of(), "abc") is None
    with pytest.raises(ModelFolderError, match="network abc; the model folder holds other"):
        load_stack(tmp_path, run_of(), "other")


def of_two_numbers(name):
    letters, labels = records(40, 2)
    section = RegressionObjective(columns=("a", "b"), center=(0, 0), scale=(1, 1))
    numbers = np.stack([labels, 1 - labels], axis=1) * 1.0
    setup = Setup(SequencePolicy(DNA), section=section)
    return BASELINES[name](setup).fit(letters, numbers, letters, numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part, run: shutil.rmtree(part), "no part 'exact_positions'"),
        (lambda part, run: fitted("gc")[0].save(part), "no part 'exact_positions'"),
        (lambda part, run: run["data"].update(soft_mask="hard"), "has another alphabet, soft_mask"),
        (lambda part, run: of_two_numbers("exact_positions").save(part), "has 2 outputs;"),
        (lambda part, run: run.update(stack={"parts": ["exact_positions"]}), r"not in \[stack\]"),
        (lambda part, run: (part.parent / "weights.json").write_text("{}"), "weights is missing"),
    ],
)
def test_foreign_or_damaged_part_is_refused(tmp_path, change, message):
    stacked(False).stack.save(tmp_path, "abc")
    run = run_of().model_dump()
    change(tmp_path / "stack" / "exact_positions", run)
    with pytest.raises(ModelFolderError, match=message):
        load_stack(tmp_path, RunFile.model_validate(run), "abc")


def test_repr_names_parts_in_use():
    scorer = stacked(False)
    assert ", stacked with kmer6_logistic, exact_positions, on cpu" in repr(scorer)
    left_out = Stack((), np.ones((1, 1)), np.zeros(1), left_out=scorer.stack.parts)
    assert "stacked" not in repr(dataclasses.replace(scorer, stack=left_out))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("composition", "part 'composition' cannot be fitted: it does not suit dna"),
        ("kmer6_linear", "does not suit dna and objective 'binary'"),
        (
            "exact_positions",
            "'exact_positions' cannot be fitted: training records have 5 to 24 bp",
        ),
    ],
)
def test_unsuitable_part_is_refused_before_training(part, message):
    letters = [*records(20, 11)[0], records(1, 12)[0][0][:5]]
    with pytest.raises(CorpusError, match=message):
        check_parts(run_of(parts=[part]), letters, SequencePolicy(DNA))
