"""Test the targets of a batch and its loss on worked examples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.evaluation.measures import UNKNOWN, object_array
from selfattn_bio.evaluation.points import Points
from selfattn_bio.scoring.scorer import rates_of_bins
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import MASK, PAD, UNK, KmerTokenizer
from selfattn_bio.training.objectives import (
    BinsOfPoints,
    Causal,
    Labels,
    Masked,
    Multiclass,
    Multilabel,
    Regression,
    build_language_model,
    build_objective,
)

PLAIN = config.Training(label_smoothing=0)
CLASSES = config.MulticlassObjective(column="c", classes=("a", "b", "c"))


def tokens_of(tokenizer, *texts):
    rows = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    letters = np.zeros((len(rows), max(map(len, rows))), np.uint8)
    for row, text in zip(letters, rows, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(tokenizer.encode(DNA.codes(letters)).astype(np.int64))


def test_multiclass_is_cross_entropy_of_known_labels():
    objective, tokens = (
        Multiclass(CLASSES, PLAIN, np.array([0, 1, 2])),
        torch.ones(3, 4, dtype=torch.int64),
    )
    batch = objective.batch(tokens, np.array([2, UNKNOWN, 0]))
    assert batch.size == 2
    outputs = torch.randn(3, 2, 3)
    expected = (
        sum(
            cross_entropy(outputs[row, member], torch.tensor(label))
            for member in (0, 1)
            for row, label in ((0, 2), (2, 0))
        )
        / 2
    )
    assert_close(objective.loss(outputs, batch.targets), expected)


def test_balanced_classes_weigh_the_same_in_total():
    labels = np.array([0, 0, 0, 0, 1, 2])
    objective = Multiclass(
        CLASSES, config.Training(class_weights="balanced", label_smoothing=0), labels
    )
    losses = [
        objective.loss(torch.zeros(len(rows), 1, 3), torch.from_numpy(labels[rows]))
        for rows in ([0, 1, 2, 3], [4], [5])
    ]
    assert_close(losses[0], losses[1])
    assert_close(losses[0], losses[2])


def test_missing_targets_have_no_loss():
    tokens, nan = torch.ones(2, 4, dtype=torch.int64), np.nan
    labels = Multilabel(config.MultilabelObjective(columns=("x", "y")), PLAIN)
    batch = labels.batch(tokens, np.array([[1.0, nan], [nan, 0.0]]))
    assert batch.size == 2
    outputs = torch.tensor([[[0.0, 9.0]], [[9.0, 0.0]]], requires_grad=True)
    loss = labels.loss(outputs, batch.targets)
    assert_close(loss, torch.tensor(2 * np.log(2), dtype=torch.float32))
    loss.backward()
    assert outputs.grad[0, 0, 1] == outputs.grad[1, 0, 0] == 0


@pytest.mark.parametrize(
    ("loss", "at", "expected"), [("mse", 2.0, 1.0), ("huber", 3.0, 1.5), ("poisson", 0.0, -3.0 + 1)]
)
def test_regression_on_standardised_numbers(loss, at, expected):
    section = config.RegressionObjective(columns=("x",), loss=loss, center=(10.0,), scale=(5.0,))
    objective = Regression(section)
    # 1 deviation above the mean; a count
    targets = np.array([[15.0]]) if loss != "poisson" else np.array([[3.0]])
    encoded = objective.batch(torch.ones(1, 4, dtype=torch.int64), targets).targets
    if loss == "poisson":
        assert_close(
            objective.loss(torch.tensor([[[1.0]]]), encoded), torch.tensor(float(np.e - 3))
        )
    else:
        assert_close(objective.loss(torch.tensor([[[at]]]), encoded), torch.tensor(expected))


SEVERAL = config.RunFile(
    data=config.Data(sequences=("s.fa",), targets="t.tsv"),
    objective=config.SeveralObjective(
        parts={
            "class": config.MulticlassPart(column="c", classes=("a", "b", "c"), weight=1),
            "activity": config.RegressionPart(
                columns=("x", "y"), center=(0.0, 0.0), scale=(1.0, 2.0), weight=3
            ),
        }
    ),
    training=PLAIN,
)


def targets_of_several(classes, numbers):
    targets = np.empty(
        len(classes), dtype=[("class", np.int64, ()), ("activity", np.float64, (2,))]
    )
    targets["class"], targets["activity"] = classes, numbers
    return targets


def several(targets):
    return build_objective(SEVERAL, KmerTokenizer(DNA, 3), targets)


def test_parts_are_weighted_as_in_run_file():
    nan = np.nan
    targets = targets_of_several(
        [2, UNKNOWN, UNKNOWN, UNKNOWN], [[1.0, nan], [nan, 4.0], [2.0, nan], [nan, nan]]
    )
    objective = several(targets)
    batch = objective.batch(torch.ones(4, 5, dtype=torch.int64), targets)
    assert batch.size == 4  # records
    outputs = torch.randn(4, 2, 5)
    # mean over the known label
    of_class = sum(cross_entropy(outputs[0, member, :3], torch.tensor(2)) for member in (0, 1)) / 2
    wanted = ((0, 3, 1.0), (1, 4, 2.0), (2, 3, 2.0))  # in deviations
    of_numbers = (
        sum(
            (outputs[row, member, at] - value) ** 2
            for row, at, value in wanted
            for member in (0, 1)
        )
        / 2
        / 3
    )
    assert_close(
        objective.loss(outputs, batch.targets) / batch.size, (1 * of_class + 3 * of_numbers) / 4
    )
    measured = objective.measure(outputs.double().mean(1).numpy(), targets)
    assert measured["loss"] == pytest.approx(
        (measured["class.loss"] + 3 * measured["activity.loss"]) / 4
    )
    assert measured["activity.loss"] == pytest.approx(
        np.mean([(float(outputs[row, :, at].mean()) - value) ** 2 for row, at, value in wanted])
    )


def test_missing_target_affects_only_its_part():
    targets = targets_of_several([1, UNKNOWN], [[np.nan, np.nan], [1.0, np.nan]])
    objective, outputs = several(targets), torch.zeros(2, 1, 5, requires_grad=True)
    objective.loss(
        outputs, objective.batch(torch.ones(2, 4, dtype=torch.int64), targets).targets
    ).backward()
    moved = outputs.grad[:, 0] != 0
    assert moved.tolist() == [[True, True, True, False, False], [False, False, False, True, False]]
    unknown = targets_of_several([UNKNOWN], [[np.nan, np.nan]])
    assert (
        objective.loss(
            torch.ones(1, 1, 5),
            objective.batch(torch.ones(1, 4, dtype=torch.int64), unknown).targets,
        )
        == 0
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), cut=st.integers(1, 11))
def test_losses_of_partial_batches_add_up(seed, cut):
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random((12, 2)) < 0.6, np.nan, rng.normal(size=(12, 2)))
    targets = targets_of_several(
        np.where(rng.random(12) < 0.5, UNKNOWN, rng.integers(0, 3, 12)), numbers
    )
    targets[0] = (1, (0.5, -0.5))
    objective, outputs, tokens = (
        several(targets),
        torch.from_numpy(rng.normal(size=(12, 1, 5))),
        torch.ones(12, 4, dtype=torch.int64),
    )
    rows = rng.permutation(12)
    pieces = [
        (outputs[part], objective.batch(tokens[part], targets[part]))
        for part in (rows[:cut], rows[cut:])
    ]
    whole = objective.batch(tokens, targets)
    assert sum(batch.size for _, batch in pieces) == whole.size
    assert_close(
        sum(objective.loss(of_part, batch.targets) for of_part, batch in pieces),
        objective.loss(outputs, whole.targets),
    )


def test_labels_are_padded_with_unknown():
    objective = Labels(config.LabelsObjective(column="s", classes="HE"), PLAIN)
    targets = np.empty(2, dtype=object)
    targets[:] = [np.array([0, 1, UNKNOWN]), np.array([1])]
    batch = objective.batch(torch.tensor([[4, 5, 6], [4, 0, 0]]), targets)
    assert batch.targets.tolist() == [[0, 1, UNKNOWN], [1, UNKNOWN, UNKNOWN]]
    assert batch.size == 3


@settings(max_examples=60, deadline=None)
@given(
    k=st.integers(1, 5),
    stride=st.integers(1, 5),
    fraction=st.sampled_from([0.05, 0.15, 0.5]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_masked_bases_are_never_visible(k, stride, fraction, seed, data):
    tokenizer = KmerTokenizer(DNA, k, min(stride, k))
    texts = [data.draw(st.text("ACGTN", min_size=max(k, 12), max_size=80)) for _ in range(3)]
    tokens = tokens_of(tokenizer, *texts)
    batch = Masked(tokenizer, fraction).batch(
        tokens, np.zeros((3, 0)), torch.Generator().manual_seed(seed)
    )
    spans = tokenizer.spans(tokens.shape[1])
    for row in range(3):
        shown = batch.tokens[row] != MASK
        # tokens that are not hidden are unchanged
        assert torch.equal(batch.tokens[row][shown], tokens[row][shown])
        seen = {
            int(letter)
            for token in torch.nonzero(shown).flatten()
            if tokens[row, token] != PAD
            for letter in range(*spans[token])
        }
        for token in torch.nonzero(batch.targets[row] != UNKNOWN).flatten():
            assert not seen & set(range(*spans[token]))
            assert batch.targets[row, token] == tokens[row, token]
            assert tokens[row, token] not in (PAD, UNK)
    assert batch.size == int((batch.targets != UNKNOWN).sum())


def test_masked_fraction_is_about_as_set():
    tokenizer = KmerTokenizer(DNA, 3)
    tokens = tokens_of(
        tokenizer, *["".join(np.random.default_rng(i).choice(list("ACGT"), 600)) for i in range(20)]
    )
    batch = Masked(tokenizer, 0.15).batch(
        tokens, np.zeros((20, 0)), torch.Generator().manual_seed(0)
    )
    # 15 spans of 6 bases in 600, some overlapping: each masks 8 tokens and predicts 4.
    assert 0.14 < float((batch.tokens == MASK).double().mean()) < 0.2
    assert 0.07 < float((batch.targets != UNKNOWN).double().mean()) < 0.11


def test_causal_targets_are_next_tokens():
    tokenizer = KmerTokenizer(DNA, 1)
    tokens = tokens_of(tokenizer, "ACNT", "GT")
    batch = Causal(tokenizer).batch(tokens, np.zeros((2, 0)))
    a, c, g, t = 4, 5, 6, 7
    assert tokens.tolist() == [[a, c, UNK, t], [g, t, PAD, PAD]]
    assert batch.targets.tolist() == [[c, UNKNOWN, t, UNKNOWN], [t, UNKNOWN, UNKNOWN, UNKNOWN]]
    assert batch.size == 3


def test_language_model_is_masked_or_causal():
    assert isinstance(build_language_model(config.CausalObjective(), KmerTokenizer(DNA, 1)), Causal)
    with pytest.raises(ValueError, match="objective 'multiclass' is not a language model"):
        build_language_model(CLASSES, KmerTokenizer(DNA, 1))


def test_bin_loss_combines_its_positions():
    """Two positions per bin; after the last complete bin of a row there are no targets."""
    objective = BinsOfPoints(config.BinsObjective(points="p.bed", bin=10), pitch=5)
    at, strand = np.array([3, 12]), np.array([0, 1])
    rows = object_array([Points("c", 0, 24, at, strand), Points("c", 50, 10, at[:0], strand[:0])])
    batch = objective.batch(torch.ones(2, 24, dtype=torch.long), rows)
    assert batch.size == 3
    assert batch.targets[0].tolist() == [[1, 0], [0, 1]]
    assert batch.targets[1, 0].tolist() == [0, 0]
    assert batch.targets[1, 1].isnan().all()
    outputs = torch.randn(2, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    p = outputs.sigmoid()[:, 0]
    none = (1 - p[:, 0:4:2]) * (1 - p[:, 1:4:2])  # (rows, bins, strands)
    expected = (
        -(1 - none[0, 0, 0]).log()
        - none[0, 0, 1].log()
        - none[0, 1, 0].log()
        - (1 - none[0, 1, 1]).log()
        - none[1, 0].log().sum()
    )
    assert objective.loss(outputs, batch.targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_positions_beyond_last_kmer_have_no_rate():
    # the fourth position is missing
    rates = rates_of_bins(torch.zeros(1, 3, 2), positions=2, bins=2)
    assert rates[0, :, 0].tolist() == pytest.approx([2 * np.log(2), np.log(2)])
