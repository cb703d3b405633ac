"""Test a network combined with simple models: weights, logits, attributions and folder."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import StratifiedKFold

from selfattn_bio.attribution.explain import explain_letters
from selfattn_bio.attribution.methods import Saturation
from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.config import Interpret, RegressionObjective, RunFile, run_file_of
from selfattn_bio.errors import CorpusError, ModelFolderError, RunFileError
from selfattn_bio.model.build import build_network
from selfattn_bio.objectives.base import Answer
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.stack import Stack, fitted_parts, load_stack
from selfattn_bio.scoring.windows import GenomeWindows, strand_logits
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.study.explain import COLUMNS, _member_correlation
from selfattn_bio.training.stacking import FOLDS, check_parts, fit_stack

LENGTH = 24
RUN = """
tokens = { k = 1 }
stack = { parts = ["kmer6_logistic", "exact_positions"] }
[data]
positives = "p.fa"
negatives = "n.fa"
[model]
kind = "attention"
members = 2
embed_dim = 8
num_layers = 1
num_heads = 2
feedforward_dim = 8
stem = { kind = "conv", token_dim = 4, kernel = 3, pool = 2, second_kernel = 3 }
[training]
reverse_complement = REVERSE_COMPLEMENT
"""


def records(number, seed):
    """Return records with TATA at position 10 in positives, and labels."""
    rng = np.random.default_rng(seed)
    letters = [
        np.frombuffer(bytes(rng.choice(list(b"ACGT"), LENGTH).tolist()), np.uint8).copy()
        for _ in range(number)
    ]
    labels = np.arange(number) % 2
    for row, label in zip(letters, labels, strict=True):
        if label:
            row[10:14] = np.frombuffer(b"TATA", np.uint8)
    return letters, labels.astype(np.int64)


def fitted(*names, strands="given"):
    """Fit the named parts."""
    train, valid = records(120, 0), records(60, 1)
    setup = Setup(SequencePolicy(DNA), strands)
    return [BASELINES[name](setup).fit(*train, *valid) for name in names]


def fit_labels(network, parts, letters, labels):
    """Fit the stack of a network with logits (n,) of two classes."""
    return fit_stack(network[:, None], parts, letters, [Answer("label", labels)])


def run_of(reverse_complement=False):
    """Return a run file with two stacked parts."""
    text = (
        RUN.replace("exact_positions", "kmer6_positional_logistic") if reverse_complement else RUN
    )
    return run_file_of(
        text.replace("REVERSE_COMPLEMENT", str(reverse_complement).lower()), "run.toml"
    )


def stacked(reverse_complement):
    """Return a scorer with random network weights and two stacked parts."""
    run = run_of(reverse_complement)
    parts = fitted(*run.stack.parts, strands="both" if reverse_complement else "given")
    stack = Stack(tuple(parts), np.array([[0.5], [2.0], [1.5]]), np.array([-0.3]))
    return scorer_of(run, build_network(run).eval(), stack=stack)


def test_fit_stack_prefers_the_informative_part():
    letters, labels = records(200, 2)
    rng = np.random.default_rng(0)
    (part,) = fitted("exact_positions")
    stack, _ = fit_labels(rng.normal(size=200), [part], letters, labels)
    size = stack.weights[:, 0] * [1, part.logits(letters).std()]
    assert (stack.weights >= 0).all()
    assert size[1] > 10 * size[0]


def test_fit_stack_leaves_out_a_useless_part():
    letters, labels = records(400, 2)
    (useless,) = fitted("gc")
    labels = np.random.default_rng(1).permutation(labels)
    network = 4.0 * (labels - 0.5) + np.random.default_rng(0).normal(size=400)
    stack, _ = fit_labels(network, [useless], letters, labels)
    assert stack.parts == ()
    assert stack.left_out == (useless,)
    assert len(stack.weights) == 1


def test_excluded_part_is_saved(tmp_path):
    part, useless = fitted("exact_positions", "gc")
    Stack((part,), np.ones((2, 1)), np.zeros(1), left_out=(useless,)).save(tmp_path, "abc")
    loaded = load_stack(tmp_path, run_of(), "abc")
    assert [each.name for each in loaded.parts] == ["exact_positions"]
    assert [each.name for each in loaded.left_out] == ["gc"]
    assert set(fitted_parts(tmp_path)) == {"exact_positions", "gc"}
    letters = records(5, 12)[0]
    np.testing.assert_allclose(
        fitted_parts(tmp_path)["gc"].logits(letters), useless.logits(letters), rtol=1e-6
    )


def test_network_alone_has_no_parts(tmp_path):
    assert fitted_parts(tmp_path) == {}


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
    noise, useful = (
        SimpleNamespace(outputs=lambda letters, of=of: of)
        for of in (rng.normal(size=(300, 3)), np.roll(truth, 1, axis=1))
    )
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
    np.testing.assert_allclose(
        scorer.member_log_odds(letters).mean(1), scorer.log_odds(letters), rtol=1e-6
    )


@pytest.mark.parametrize("reverse_complement", [False, True])
def test_attributions_equal_measured_substitutions(reverse_complement):
    scorer, letters = stacked(reverse_complement), records(3, 7)[0]
    found = explain_letters(scorer, letters, pd.DataFrame({"id": list("abc")}), method=Saturation())
    for row, sequence in enumerate(letters):
        mutants = np.tile(sequence, (LENGTH, 4, 1))
        for position in range(LENGTH):
            mutants[position, :, position] = list(b"ACGT")
        logits = scorer.logits([sequence, *mutants.reshape(-1, LENGTH)])
        effects = (logits[1:] - logits[0]).reshape(LENGTH, 4)
        expected = effects - effects.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(found.hypothetical[row], expected, atol=2e-4)


def test_agreement_of_networks_leaves_out_shared_parts():
    scorer, letters = stacked(False), records(4, 7)[0]
    table = pd.DataFrame({"id": list("abcd")}).reindex(columns=COLUMNS)
    (output,) = scorer.objective.outputs
    both, alone = (
        _member_correlation(each, output, letters, table, Interpret(method={"kind": "saturation"}))
        for each in (scorer, dataclasses.replace(scorer, stack=None))
    )
    assert both == alone < 0.9


@pytest.mark.parametrize("reverse_complement", [False, True])
def test_ambiguous_bases_have_no_attribution(reverse_complement):
    scorer, letters = stacked(reverse_complement), records(2, 7)[0]
    letters[0][[0, 11]] = ord("N")
    found = scorer.stack.attributions([np.zeros((LENGTH, 4))] * 2, letters)
    assert not found[0][[0, 11]].any()
    assert found[1][[0, 11]].any()


def test_both_strands_have_one_score():
    run = run_file_of(
        RUN.replace("REVERSE_COMPLEMENT", "true").replace(
            '["kmer6_logistic", "exact_positions"]', "[]"
        ),
        "run.toml",
    )
    scorer, letters = scorer_of(run, build_network(run).eval()), records(5, 8)[0]
    other = [DNA.reverse_complement(row) for row in letters]
    np.testing.assert_allclose(scorer.logits(letters), scorer.logits(other), rtol=1e-6)
    strands = [
        np.stack(scorer.of_each(of, scorer.network))[:, :, 0].mean(1) for of in (letters, other)
    ]
    assert not np.allclose(*strands)
    np.testing.assert_allclose(scorer.logits(letters), np.mean(strands, axis=0), rtol=1e-6)


@pytest.mark.parametrize("reverse_complement", [False, True])
def test_windows_have_the_logits_of_single_sequences(reverse_complement):
    scorer = stacked(reverse_complement)
    letters = np.concatenate(records(3, 9)[0])
    found = strand_logits(scorer, letters, GenomeWindows(LENGTH, 8))
    views = [letters[i : i + LENGTH] for i in range(0, len(letters) - LENGTH + 1, 8)]
    # the shared stem adds in another order, so a logit near 0 differs by more than its own rounding
    np.testing.assert_allclose(found[0], scorer.logits(views), rtol=1e-6, atol=1e-6)
    if reverse_complement:  # one logit for both strands
        assert len(found) == 1
    else:
        other = scorer.logits([DNA.reverse_complement(row) for row in views])
        np.testing.assert_allclose(found[1], other, rtol=1e-6, atol=1e-6)


def test_stack_round_trip(tmp_path):
    stack, letters = stacked(False).stack, records(9, 10)[0]
    stack.save(tmp_path, "abc")
    loaded, network = load_stack(tmp_path, run_of(), "abc"), np.linspace(-1, 1, 9)[:, None]
    np.testing.assert_allclose(
        loaded.outputs(network, letters), stack.outputs(network, letters), rtol=1e-6
    )
    assert [part.setup.threads for part in loaded.parts] == [1, 1]
    assert load_stack(tmp_path / "stack", run_of(), "abc") is None
    with pytest.raises(
        ModelFolderError, match="fitted to the network abc; the model folder holds other"
    ):
        load_stack(tmp_path, run_of(), "other")


def test_stack_without_weights_is_refused(tmp_path):
    stacked(False).stack.save(tmp_path, "abc")
    (tmp_path / "stack" / "weights.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"weights\.json: weights is missing"):
        load_stack(tmp_path, run_of(), "abc")


def of_two_numbers(name):
    letters, labels = records(40, 2)
    section = RegressionObjective(columns=("a", "b"), center=(0, 0), scale=(1, 1))
    numbers = np.stack([labels, 1 - labels], axis=1) * 1.0
    setup = Setup(SequencePolicy(DNA), section=section)
    return BASELINES[name](setup).fit(letters, numbers, letters, numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda stack, run: shutil.rmtree(stack / "exact_positions"),
            "no folder 'exact_positions'",
        ),
        (
            lambda stack, run: fitted("gc")[0].save(stack / "exact_positions"),
            "folder 'exact_positions' contains the baseline 'gc'",
        ),
        (
            lambda stack, run: run.update(data=run["data"] | {"soft_mask": "hard"}),
            "part 'kmer6_logistic' has another alphabet, soft_mask or gaps than run.toml",
        ),
        (
            lambda stack, run: of_two_numbers("exact_positions").save(stack / "exact_positions"),
            "part 'exact_positions' has 2 outputs; run.toml has 1",
        ),
        (
            lambda stack, run: run.update(stack={"parts": ["exact_positions"]}),
            r"'kmer6_logistic' is not in \[stack\] parts of run.toml",
        ),
    ],
)
def test_foreign_part_is_refused(tmp_path, change, message):
    stacked(False).stack.save(tmp_path, "abc")
    run = run_of().model_dump()
    change(tmp_path / "stack", run)
    with pytest.raises(ModelFolderError, match=message):
        load_stack(tmp_path, RunFile.model_validate(run), "abc")


def test_repr_names_parts_in_use():
    scorer = stacked(False)
    assert ", stacked with kmer6_logistic, exact_positions, on cpu" in repr(scorer)
    left_out = Stack((), np.ones((1, 1)), np.zeros(1), left_out=scorer.stack.parts)
    assert "stacked" not in repr(dataclasses.replace(scorer, stack=left_out))


def test_unsuitable_part_is_refused():
    run = run_file_of(
        RUN.replace("REVERSE_COMPLEMENT", "false").replace(
            '"kmer6_logistic", "exact_positions"', '"composition"'
        ),
        "run.toml",
    )
    letters, _ = records(20, 11)
    with pytest.raises(CorpusError, match="part 'composition' reads protein; the records are dna"):
        check_parts(run, letters, SequencePolicy(DNA))


def test_part_of_another_objective_is_refused():
    text = RUN.replace("REVERSE_COMPLEMENT", "false").replace('"exact_positions"', '"kmer6_linear"')
    message = "part 'kmer6_linear' cannot be fitted to objective 'binary'"
    with pytest.raises(CorpusError, match=message):
        check_parts(run_file_of(text, "run.toml"), records(20, 11)[0], SequencePolicy(DNA))


def test_unaligned_records_are_refused_before_training():
    run = run_file_of(RUN.replace("REVERSE_COMPLEMENT", "false"), "run.toml")
    letters = [*records(20, 11)[0], records(1, 12)[0][0][:5]]
    with pytest.raises(
        CorpusError, match="part 'exact_positions' cannot be fitted: records have 5 to 24 bp"
    ):
        check_parts(run, letters, SequencePolicy(DNA))


def test_one_strand_part_is_refused_with_both_strands():
    with pytest.raises(RunFileError, match="part 'exact_positions' reads the given strand alone"):
        run_file_of(RUN.replace("REVERSE_COMPLEMENT", "true"), "run.toml")
