"""Test each method against its formula, for all heads, single letters and k-mers, in any batch."""

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from test_explanation import CNN, CONV, SEQUENCES, SMALL, scorer_of

from selfattn_bio import config
from selfattn_bio.attention.attend import weights
from selfattn_bio.config import RunFile
from selfattn_bio.errors import ResultsError
from selfattn_bio.interpret.attribution import FIRST_KMER, embedding_table, gradient_scores
from selfattn_bio.interpret.explain import explain
from selfattn_bio.interpret.explanation import Explanation
from selfattn_bio.interpret.methods import (
    METHODS,
    AttentionMethod,
    AttnLRP,
    AttnLRPCopies,
    BlockOcclusion,
    DeepLiftShap,
    Gradient,
    GradientRollout,
    Guided,
    IntegratedGradients,
    Received,
    Rollout,
    Saturation,
    ValueRollout,
    build_method,
)
from selfattn_bio.interpret.methods.base import generator
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer

NO_STEM = SMALL | {"stem": {"kind": "none"}}
WINDOW_CLS = NO_STEM | {
    "pattern": {"kind": "window", "window": 2, "num_global": 1},
    "head": {"kind": "cls"},
}


def ascii_of(text):
    return np.frombuffer(text.encode(), dtype=np.uint8)


def learner(objective, model=NO_STEM, alphabet="dna", k=1, stride=1, **data):
    """Return a scorer for any objective, with random weights in float64."""
    torch.manual_seed(0)
    sections = {
        "data": {"alphabet": alphabet, **data},
        "tokens": {"k": k, "stride": stride},
        "training": {"shift": 0},
    }
    run = RunFile.model_validate(sections | {"objective": objective, "model": model})
    network = build_network(run).eval().double()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return Scorer(run, KmerTokenizer(get_alphabet(alphabet), k, stride), network)


HEADS = {
    "class": (
        learner(
            {"kind": "multiclass", "column": "c", "classes": ["a", "b", "c"]},
            sequences="s",
            targets="t",
        ),
        Target("b"),
        lambda x: x[:, 1],
    ),
    "label": (
        learner({"kind": "multilabel", "columns": ["a", "b"]}, k=3, sequences="s", targets="t"),
        Target(1),
        lambda x: x[:, 1],
    ),
    "number": (
        learner(
            {
                "kind": "regression",
                "columns": ["a", "b"],
                "center": [0.0, 0.0],
                "scale": [1.0, 1.0],
            },
            sequences="s",
            targets="t",
        ),
        Target("a"),
        lambda x: x[:, 0],
    ),
    "part": (
        learner(
            {
                "kind": "several",
                "parts": {
                    "one": {"kind": "multilabel", "columns": ["a"]},
                    "two": {"kind": "multiclass", "column": "c", "classes": ["x", "y"]},
                },
            },
            sequences="s",
            targets="t",
        ),
        Target("two.y"),
        lambda x: x[:, 2],
    ),
    "letter of protein": (
        learner(
            {"kind": "labels", "column": "c", "classes": "HEC"},
            alphabet="protein",
            sequences="s",
            targets="t",
        ),
        Target("E", 3, 5),
        lambda x: x[:, 3:5, 1].sum(1),
    ),
    "letter, pooled stem": (
        learner(
            {"kind": "labels", "column": "c", "classes": "HEC"},
            SMALL | {"stem": CONV},
            sequences="s",
            targets="t",
        ),
        Target("C", 8),
        lambda x: x[:, 8:, 2].sum(1),
    ),
    "place": (
        learner(
            {"kind": "bins", "points": "p.bed", "bin": 4},
            SMALL | {"stem": CONV, "pattern": {"kind": "window", "window": 2, "num_global": 2}},
            sequences="s",
        ),
        Target("-", 2, 5),
        lambda x: x[:, 1:3, 1].sum(1),
    ),
    "masked k-mer": (
        learner({"kind": "masked"}, k=3, sequences="s"),
        Target("ACG", 4, 5),
        lambda x: x[:, 4, 4 + 6],
    ),
}


def letters_for(scorer, length=12):
    known = ascii_of(scorer.alphabet.letters)
    return list(np.random.default_rng(3).choice(known, (2, length)))


@pytest.mark.parametrize(("scorer", "target", "picked"), HEADS.values(), ids=HEADS.keys())
def test_saturation_substitutes_one_base_at_a_time(scorer, target, picked):
    letters = letters_for(scorer)
    target.check(scorer, [12, 12])
    known = ascii_of(scorer.alphabet.letters)
    for row, found in zip(letters, Saturation().scores(scorer, letters, target), strict=True):
        effects = np.zeros((12, len(known)))
        for at, number in np.ndindex(effects.shape):
            mutant = row.copy()
            mutant[at] = known[number]
            with torch.no_grad():
                both = picked(scorer.network(scorer.tokens(np.stack([mutant, row]))).mean(1))
            effects[at, number] = both[0] - both[1]
        np.testing.assert_allclose(found, effects - effects.mean(1, keepdims=True), atol=1e-6)
        assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize(("scorer", "target", "picked"), HEADS.values(), ids=HEADS.keys())
def test_integrated_gradients_sum_to_difference(scorer, target, picked):
    letters = letters_for(scorer)
    tokens = scorer.tokens(np.stack(letters))
    mean = embedding_table(scorer)[FIRST_KMER:].mean(0).expand(*tokens.shape, -1)
    with torch.no_grad():
        here, there = (
            picked(scorer.network.classify(x, tokens != 0))
            for x in (scorer.network.embed(tokens), mean)
        )
    known = ascii_of(scorer.alphabet.letters)
    scores = IntegratedGradients(200).scores(scorer, letters, target)
    sums = [
        (rows * (row[:, None] == known)).sum() for rows, row in zip(scores, letters, strict=True)
    ]
    # not exact, because max pooling has kinks along the path
    np.testing.assert_allclose(sums, (here - there).numpy(), rtol=0.02, atol=2e-3)


@pytest.mark.parametrize(("scorer", "target", "picked"), HEADS.values(), ids=HEADS.keys())
def test_a_gradient_of_every_head_is_of_its_target(scorer, target, picked):
    letters = letters_for(scorer)
    for method in (Gradient(), AttnLRP()):
        together = method.scores(scorer, letters, target)
        expected = gradient_scores(
            scorer, np.stack(letters), method.rules, lambda outputs, tokens: picked(outputs)
        )
        np.testing.assert_allclose(np.stack(together), expected, atol=1e-7)
        assert np.abs(expected).max() > 1e-4


@pytest.mark.parametrize(
    "method",
    [cls() for cls in METHODS.values() if cls is not DeepLiftShap],
    ids=lambda method: method.name,
)
@pytest.mark.parametrize(
    "model", [SMALL | {"stem": CONV}, WINDOW_CLS, CNN], ids=["conv", "cls", "cnn"]
)
def test_batching_does_not_change_attributions(method, model):
    scorer, letters = scorer_of(model), [ascii_of(sequence) for sequence in SEQUENCES]
    if model is CNN and method.is_attention:
        with pytest.raises(
            ValueError, match="cannot read attention: models of kind 'cnn' have no attention"
        ):
            method.attribution(scorer, letters, Target())
        return
    found = method.attribution(scorer, letters, Target())
    assert [len(row) for row in found] == [20, 10, 15]
    for row, sequence in zip(found, letters, strict=True):
        np.testing.assert_allclose(
            row, method.attribution(scorer, [sequence], Target())[0], atol=1e-5
        )
        assert row.min() >= 0
        assert row.max() > 0
    explanation = explain(scorer, SEQUENCES, method=method)
    assert (explanation.method, explanation.is_attention) == (
        method.name,
        isinstance(method, AttentionMethod),
    )
    np.testing.assert_allclose(explanation.attribution[1], found[1], atol=1e-6)


def test_guided_attributions_are_pinned():
    """Guided mutagenesis equals an explicit computation to the last bit.

    The batch is scored by AttnLRP. Then the best 0.15 of each sequence is mutated, with the
    mutants and finally the sequence itself in one array.
    """
    scorer, rng = scorer_of(), np.random.default_rng(0)
    letters = rng.choice(ascii_of("ACGT"), (3, 240))
    guessed = gradient_scores(scorer, letters)
    found = explain(
        scorer, [row.tobytes().decode() for row in letters], method=Guided()
    ).hypothetical
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
    expected = gradient_scores(scorer, letters[None])[0]
    if turned:
        expected = (
            expected
            + gradient_scores(scorer, scorer.alphabet.reverse_complement(letters)[None])[0][
                ::-1, ::-1
            ]
        ) / 2
    np.testing.assert_allclose(
        AttnLRPCopies(2, 0.0).scores(scorer, [letters], Target())[0], expected, atol=1e-6
    )


def test_copies_average_gradients_at_substituted_sequences():
    scorer = scorer_of(k=3)
    letters = ascii_of("ACGTTGCANTGCATTAGCCAT")
    method, chance = AttnLRPCopies(copies=3, share=0.3, seed=5), generator(5, letters)
    copies = [method._copy(scorer, letters, chance) for _ in range(3)]
    assert all(copy[8] == ord("N") for copy in copies)
    assert 0 < np.mean([copy != letters for copy in copies]) < 0.4
    expected = np.mean(
        [gradient_scores(scorer, letters[None], at=copy[None])[0] for copy in copies], axis=0
    )
    np.testing.assert_allclose(method.scores(scorer, [letters], Target())[0], expected, atol=1e-6)
    others = np.mean([gradient_scores(scorer, copy[None])[0] for copy in copies], axis=0)
    assert np.abs(others - expected).max() > 1e-3


def test_block_attribution_is_effect_of_replacement():
    scorer = scorer_of(NO_STEM, k=1)
    letters = ascii_of("AAAACCCCGT")  # shuffling a block of one base changes nothing
    (shuffled,) = BlockOcclusion(width=4, draws=3).scores(scorer, [letters], Target())
    # batches of different size are rounded differently
    np.testing.assert_allclose(shuffled[:8], 0, atol=1e-7)
    assert np.abs(shuffled[8:]).min() > 1e-5
    method = BlockOcclusion(width=4, by="random", draws=5, seed=2)
    (scores,) = method.scores(scorer, [letters], Target())
    rng = generator(2, letters)
    own = scorer.logits(letters[None])[0]
    for start in (0, 4, 8):
        mutants = np.repeat(letters[None], 5, axis=0)
        for mutant in mutants:
            mutant[start : start + 4] = rng.choice(ascii_of("ACGT"), len(mutant[start : start + 4]))
        stands = scores[start : start + 4] * (letters[start : start + 4, None] == ascii_of("ACGT"))
        assert stands.sum() == pytest.approx(own - scorer.logits(mutants).mean(), abs=1e-5)
    np.testing.assert_allclose(scores.sum(-1), 0, atol=1e-6)


@pytest.mark.parametrize(
    "pattern",
    [
        {"kind": "full"},
        {"kind": "window", "window": 2, "num_global": 1},
        {"kind": "bigbird", "window": 1, "block": 4},
    ],
    ids=str,
)
def test_attention_methods_equal_their_formulas(pattern):
    scorer = scorer_of(NO_STEM | {"pattern": pattern, "members": 1, "num_kv_heads": 1}, k=1)
    letters = [ascii_of("ACGTACCATTGA"), ascii_of("ACGTAC")]
    (body,) = scorer.network.members
    kept = []
    handles = [
        block.attention.register_forward_pre_hook(
            lambda module, inputs: kept.append((module, *inputs))
        )
        for block in body.encoder.blocks
    ]
    handles += [
        block.attention.out.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
        for block in body.encoder.blocks
    ]
    value = scorer.network(scorer.tokens_of(letters)).sum()
    gradients = dict(zip((0, 1), torch.autograd.grad(value, kept[1::2]), strict=True))
    for handle in handles:
        handle.remove()
    flows = {
        "rollout": np.eye(12)[None],
        "value_rollout": np.eye(12)[None],
        "gradient_rollout": np.eye(12)[None],
    }
    with torch.no_grad():
        for number, (module, x, mask) in enumerate(kept[::2]):
            q, k, v = module.qkv(x)
            found = weights(q, k, pattern=module.mixer.pattern, position=module.position, mask=mask)
            v = v.expand(-1, 2, -1, -1)
            projected = torch.einsum(
                "bhld,ohd->bhlo", v, module.out.weight.unflatten(1, (2, -1))
            ).norm(dim=-1)
            scaled = found * projected[:, :, None]
            scaled = (scaled / scaled.sum(-1, keepdim=True).clamp(min=1e-30)).mean(1)
            of_weights = gradients[number].unflatten(-1, (2, -1)).transpose(1, 2) @ v.transpose(
                -1, -2
            )
            eye = np.eye(12)
            flows["rollout"] = (found.mean(1).numpy() + eye) / 2 @ flows["rollout"]
            flows["value_rollout"] = (scaled.numpy() + eye) / 2 @ flows["value_rollout"]
            flows["gradient_rollout"] = (
                (found * of_weights).clamp(min=0).mean(1).numpy() + eye
            ) @ flows["gradient_rollout"]
    for method in (Rollout(), ValueRollout(), GradientRollout()):
        for row, (found, length) in enumerate(
            zip(method.received(scorer, letters, Target()), (12, 6), strict=True)
        ):
            start = (np.arange(12) < length) / length
            expected = start @ flows[method.name][row] - start * (method.name == "gradient_rollout")
            np.testing.assert_allclose(found, expected[:length], rtol=1e-3, atol=1e-7)


def test_outputs_are_selected_by_name():
    scorer, letters = HEADS["class"][0], ["ACGTACGTAC"]
    with pytest.raises(ValueError, match="the model has 3 outputs; choose one of a, b, c"):
        explain(scorer, letters)
    with pytest.raises(ValueError, match="no output 'd'; the outputs are a, b, c"):
        explain(scorer, letters, target=Target("d"))
    with pytest.raises(ValueError, match="no output 3; the outputs are numbered from 0 to 2"):
        explain(scorer, letters, target=Target(3))
    with pytest.raises(
        ValueError,
        match="objective 'multiclass' predicts complete sequences, so a target cannot have start",
    ):
        explain(scorer, letters, target=Target("a", 0, 3))
    for span in ((3, 3), (0, 11), (-1, 4)):
        with pytest.raises(
            ValueError,
            match=r"is not within the shortest sequence, which has length 10",
        ):
            explain(HEADS["letter of protein"][0], ["ACDEFGHIKL"], target=Target("H", *span))
    with pytest.raises(
        ValueError, match="contains no token of the shortest sequence, which has 8 tokens"
    ):
        explain(HEADS["masked k-mer"][0], letters, target=Target("ACG", 9))
    assert explain(scorer, letters, target=Target("b")).target == "b"
    assert str(Target("-", 2, 5)) == "-[2, 5)"


def test_a_method_is_chosen_by_kind():
    for kind, cls in METHODS.items():
        method = build_method(TypeAdapter(config.AnyMethod).validate_python({"kind": kind}))
        assert method == cls()
    assert build_method(config.GuidedMethod(fraction=0.3)) == Guided(0.3)
    assert build_method(config.BlocksMethod(width=5, by="random")) == BlockOcclusion(5, "random")
    assert {cls.name for cls in METHODS.values() if cls.is_attention} == {
        "received",
        "rollout",
        "value_rollout",
        "gradient_rollout",
    }
    # from a model folder written before there were several methods
    old = config.Interpret.model_validate({"mutated_fraction": 0.4})
    assert old.method == config.GuidedMethod(fraction=0.4)


@pytest.mark.parametrize(
    ("cls", "wrong", "message"),
    [
        (Guided, {"fraction": 0.0}, r"fraction is 0.0; choose a value above 0 and at most 1"),
        (Guided, {"fraction": 1.5}, r"fraction is 1.5; choose a value above 0 and at most 1"),
        (AttnLRPCopies, {"copies": 0}, "copies is 0; choose at least 1"),
        (AttnLRPCopies, {"share": 1.0}, r"share is 1.0; choose at least 0 and less than 1"),
        (IntegratedGradients, {"steps": 0}, "steps is 0; choose at least 1"),
        (BlockOcclusion, {"width": 0}, "width is 0; choose at least 1"),
        (BlockOcclusion, {"draws": 0}, "draws is 0; choose at least 1"),
        (BlockOcclusion, {"by": "hand"}, "unknown value 'hand' of by; use 'shuffle' or 'random'"),
        (DeepLiftShap, {"shuffles": 0}, "shuffles is 0; choose at least 1"),
    ],
)
def test_settings_out_of_range(cls, wrong, message):
    with pytest.raises(ValueError, match=message):
        cls(**wrong)


def test_attention_methods_have_no_motifs_and_round_trip(tmp_path):
    explanation = explain(scorer_of(), SEQUENCES, method=Received())
    assert explanation.hypothetical.shape == (3, 20, 0)
    with pytest.raises(
        ValueError,
        match="method 'received' reads attention weights, but motifs need attributions",
    ):
        explanation.motifs()
    assert explanation.plot().axes[0].get_ylabel() == "received (raw attention)"
    explanation.save(tmp_path / "attribution")
    loaded = Explanation.load(tmp_path / "attribution")
    assert (loaded.method, loaded.is_attention) == ("received", True)
    np.testing.assert_array_equal(loaded.attribution[2], explanation.attribution[2])
    dataclasses.replace(explanation, attention=explanation.attention[:1]).save(
        tmp_path / "attribution"
    )
    with pytest.raises(ResultsError, match="have different numbers of records"):
        Explanation.load(tmp_path / "attribution")
