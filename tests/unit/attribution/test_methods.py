"""Test each method against its formula, for all heads, single letters and k-mers, in any batch."""

import dataclasses

import numpy as np
import pytest
import torch
from learners import CNN, CONV, HEADS, NO_STEM, SEQUENCES, SMALL, scorer_of
from letters import ascii_of

from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import (
    METHODS,
    AttentionMethod,
    AttnLRP,
    AttnLRPCopies,
    BlockOcclusion,
    Gradient,
    Guided,
    IntegratedGradients,
    Saturation,
)
from selfattn_bio.attribution.methods.base import generator
from selfattn_bio.attribution.rules import (
    FIRST_KMER,
    backward_batches,
    embedding_table,
    gradient_scores,
)
from selfattn_bio.attribution.targets import Target

WINDOW_CLS = NO_STEM | {
    "pattern": {"kind": "window", "window": 2, "num_global": 1},
    "head": {"kind": "cls"},
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
        mutants = np.tile(row, (12, len(known), 1))
        for at in range(12):
            mutants[at, :, at] = known
        with torch.no_grad():
            tokens = scorer.tokens(np.stack([row, *mutants.reshape(-1, 12)]))
            outputs = picked(scorer.network(tokens).mean(1))
        effects = (outputs[1:] - outputs[0]).numpy().reshape(12, len(known))
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
    scores = IntegratedGradients(steps=200).scores(scorer, letters, target)
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
    "method", [cls() for cls in METHODS.values()], ids=lambda method: method.name
)
@pytest.mark.parametrize(
    "model", [SMALL | {"stem": CONV}, WINDOW_CLS, CNN], ids=["conv", "cls", "cnn"]
)
def test_batching_does_not_change_attributions(method, model):
    scorer, letters = scorer_of(model), [ascii_of(sequence) for sequence in SEQUENCES]
    if model is CNN and isinstance(method, AttentionMethod):
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
        AttnLRPCopies(copies=2, share=0.0).scores(scorer, [letters], Target())[0],
        expected,
        atol=1e-6,
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


@pytest.mark.parametrize(("rows", "number"), [(2, 20), (9, 20), (64, 25)])
def test_limits_of_a_pass_do_not_change_scores(monkeypatch, rows, number):
    scorer, letters = scorer_of(k=3), [ascii_of(sequence) for sequence in SEQUENCES]
    method = AttnLRPCopies(copies=4)
    expected = method.scores(scorer, letters, Target())
    monkeypatch.setattr("selfattn_bio.attribution.rules.BATCH", rows)
    monkeypatch.setattr("selfattn_bio.attribution.rules.BATCH_LETTERS", number)
    passes = [part.stop - part.start for part in backward_batches(letters, copies=4)]
    assert passes == [1, 1, 1]
    for one, other in zip(method.scores(scorer, letters, Target()), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_passes_hold_all_copies_of_their_sequences():
    letters = [np.zeros(length, np.uint8) for length in (300, 300, 300, 300, 300, 1000, 30_000, 3)]
    passes = [(part.start, part.stop) for part in backward_batches(letters, copies=16)]
    assert passes == [(0, 4), (4, 6), (6, 7), (7, 8)]


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
