"""Test the targets of a batch and its loss on worked examples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from letters import ascii_of
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.arrays import object_array
from selfattn_bio.data.collation import Collation, TokenBatch
from selfattn_bio.objectives import objective_of
from selfattn_bio.objectives.binary import BinaryLoss
from selfattn_bio.objectives.bins import BinsLoss, rates_of_bins
from selfattn_bio.objectives.labels import LabelsLoss
from selfattn_bio.objectives.language import CausalLoss, MaskedLoss
from selfattn_bio.objectives.loss import UNKNOWN
from selfattn_bio.objectives.multiclass import MulticlassLoss
from selfattn_bio.objectives.numbers import MultilabelLoss, RegressionLoss
from selfattn_bio.objectives.points import Points
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import MASK, PAD, UNK, KmerTokenizer

PLAIN = config.Training(label_smoothing=0)
BALANCED = config.Training(class_weights="balanced", label_smoothing=0)
BINARY = objective_of(config.BinaryObjective())
CLASSES = objective_of(config.MulticlassObjective(column="c", classes=("a", "b", "c")))


def tokens_of(tokenizer, *texts):
    return Collation(tokenizer)([ascii_of(text) for text in texts])


def ones(rows, length):
    return TokenBatch(torch.ones(rows, length, dtype=torch.int64), torch.full((rows,), length))


def test_binary_loss_is_cross_entropy():
    logits, labels = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    loss = BinaryLoss(BINARY, PLAIN, labels.long().numpy())
    assert_close(loss.sum(logits[:, None, None], labels), -logits.sigmoid().log().sum())


def test_balanced_weights_make_classes_count_the_same():
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0])
    loss, plain = (BinaryLoss(BINARY, of, labels.long().numpy()) for of in (BALANCED, PLAIN))
    one = loss.sum(torch.zeros(1, 1, 1), labels[:1])
    rest = loss.sum(torch.zeros(3, 1, 1), labels[1:])
    assert_close(one, rest)
    assert_close(one + rest, plain.sum(torch.zeros(4, 1, 1), labels))


def test_smoothing_moves_the_best_logit_from_infinity():
    loss = BinaryLoss(BINARY, config.Training(label_smoothing=0.2), np.array([0, 1]))
    at = torch.logit(torch.tensor([0.9])).requires_grad_()
    loss.sum(at[:, None, None], torch.ones(1)).backward()
    assert abs(float(at.grad)) < 1e-6


def test_members_each_have_their_own_loss():
    loss = BinaryLoss(BINARY, config.Training(), np.array([0, 1]))
    logits, labels = torch.randn(5, 3, 1), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    alone = torch.stack([loss.sum(logits[:, [i]], labels) for i in range(3)])
    assert_close(loss.sum(logits, labels), alone.mean())


def test_multiclass_is_cross_entropy_of_known_labels():
    loss = MulticlassLoss(CLASSES, PLAIN, np.array([0, 1, 2]))
    batch = loss.batch(ones(3, 4), np.array([2, UNKNOWN, 0]))
    assert batch.num_targets == 2
    outputs = torch.randn(3, 2, 3)
    of_members = outputs[[0, 2]].transpose(1, 2)  # (records, classes, members)
    expected = cross_entropy(of_members, torch.tensor([[2, 2], [0, 0]]), reduction="sum") / 2
    assert_close(loss.sum(outputs, batch.targets), expected)


def test_balanced_classes_weigh_the_same_in_total():
    labels = np.array([0, 0, 0, 0, 1, 2])
    loss = MulticlassLoss(CLASSES, BALANCED, labels)
    first, second, third = (
        loss.sum(torch.zeros(len(rows), 1, 3), torch.from_numpy(labels[rows]))
        for rows in ([0, 1, 2, 3], [4], [5])
    )
    assert first == pytest.approx(second) == pytest.approx(third)


def test_missing_targets_have_no_loss():
    tokens, nan = ones(2, 4), np.nan
    labels = MultilabelLoss(objective_of(config.MultilabelObjective(columns=("x", "y"))), PLAIN)
    batch = labels.batch(tokens, np.array([[1.0, nan], [nan, 0.0]]))
    assert batch.num_targets == 2
    outputs = torch.tensor([[[0.0, 9.0]], [[9.0, 0.0]]], requires_grad=True)
    loss = labels.sum(outputs, batch.targets)
    assert_close(loss, torch.tensor(2 * np.log(2), dtype=torch.float32))
    loss.backward()
    assert outputs.grad[0, 0, 1] == outputs.grad[1, 0, 0] == 0


@pytest.mark.parametrize(
    ("loss", "target", "output", "expected"),
    [("mse", 15.0, 2.0, 1.0), ("huber", 15.0, 3.0, 1.5), ("poisson", 3.0, 1.0, np.e - 3)],
)
def test_regression_on_standardised_numbers(loss, target, output, expected):
    """15 is one deviation above the mean; 3 is a count."""
    section = config.RegressionObjective(columns=("x",), loss=loss, center=(10.0,), scale=(5.0,))
    regression = RegressionLoss(objective_of(section))
    encoded = regression.batch(ones(1, 4), np.array([[target]])).targets
    found = regression.sum(torch.tensor([[[output]]]), encoded)
    assert_close(found, torch.tensor(float(expected)))


NUMBERS = {"columns": ("x", "y"), "center": (0.0, 0.0), "scale": (1.0, 2.0)}
PARTS = {
    "class": config.MulticlassPart(column="c", classes=("a", "b", "c"), weight=1),
    "activity": config.RegressionPart(**NUMBERS, weight=3),
}
SEVERAL = config.RunFile(
    data=config.Data(sequences=("s.fa",), targets="t.tsv"),
    objective=config.SeveralObjective(parts=PARTS),
    training=PLAIN,
)


def targets_of_several(classes, numbers):
    types = [("class", np.int64, ()), ("activity", np.float64, (2,))]
    targets = np.empty(len(classes), dtype=types)
    targets["class"], targets["activity"] = classes, numbers
    return targets


def several(targets):
    return objective_of(SEVERAL.objective).loss(SEVERAL, KmerTokenizer(DNA, 3), targets)


def test_parts_are_weighted_as_in_run_file():
    numbers = [[1.0, np.nan], [np.nan, 4.0], [2.0, np.nan], [np.nan, np.nan]]
    targets = targets_of_several([2, UNKNOWN, UNKNOWN, UNKNOWN], numbers)
    loss = several(targets)
    batch = loss.batch(ones(4, 5), targets)
    assert batch.num_targets == 4  # records
    outputs = torch.randn(4, 2, 5)
    # mean over the known label
    of_class = sum(cross_entropy(outputs[0, member, :3], torch.tensor(2)) for member in (0, 1)) / 2
    rows, columns, values = [0, 1, 2], [3, 4, 3], torch.tensor([1.0, 2.0, 2.0])  # in deviations
    of_numbers = (outputs[rows, :, columns] - values[:, None]).square().mean()
    found = loss.sum(outputs, batch.targets) / batch.num_targets
    assert_close(found, (1 * of_class + 3 * of_numbers) / 4)
    mean = outputs.double().mean(1)
    measured = loss.measure_outputs(mean.numpy(), targets)
    together = (measured["class.loss"] + 3 * measured["activity.loss"]) / 4
    assert measured["loss"] == pytest.approx(together)
    of_activity = (mean[rows, columns] - values).square().mean()
    assert measured["activity.loss"] == pytest.approx(float(of_activity))


def test_missing_target_affects_only_its_part():
    targets = targets_of_several([1, UNKNOWN], [[np.nan, np.nan], [1.0, np.nan]])
    loss, outputs = several(targets), torch.zeros(2, 1, 5, requires_grad=True)
    loss.sum(outputs, loss.batch(ones(2, 4), targets).targets).backward()
    moved = outputs.grad[:, 0] != 0
    assert moved.tolist() == [[True, True, True, False, False], [False, False, False, True, False]]
    unknown = loss.batch(ones(1, 4), targets_of_several([UNKNOWN], [[np.nan, np.nan]]))
    assert loss.sum(torch.ones(1, 1, 5), unknown.targets) == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), cut=st.integers(1, 11))
def test_losses_of_partial_batches_add_up(seed, cut):
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random((12, 2)) < 0.6, np.nan, rng.normal(size=(12, 2)))
    classes = np.where(rng.random(12) < 0.5, UNKNOWN, rng.integers(0, 3, 12))
    targets = targets_of_several(classes, numbers)
    targets[0] = (1, (0.5, -0.5))
    loss, outputs = several(targets), torch.from_numpy(rng.normal(size=(12, 1, 5)))
    rows = rng.permutation(12)
    parts = (rows[:cut], rows[cut:])
    batches = [loss.batch(ones(len(part), 4), targets[part]) for part in parts]
    whole = loss.batch(ones(12, 4), targets)
    assert sum(batch.num_targets for batch in batches) == whole.num_targets
    each = zip(parts, batches, strict=True)
    total = sum(loss.sum(outputs[part], batch.targets) for part, batch in each)
    assert_close(total, loss.sum(outputs, whole.targets))


def test_labels_are_padded_with_unknown():
    loss = LabelsLoss(objective_of(config.LabelsObjective(column="s", classes="HE")), PLAIN)
    targets = np.empty(2, dtype=object)
    targets[:] = [np.array([0, 1, UNKNOWN]), np.array([1])]
    tokens = TokenBatch(torch.tensor([[4, 5, 6], [4, 0, 0]]), torch.tensor([3, 1]))
    batch = loss.batch(tokens, targets)
    assert batch.targets.tolist() == [[0, 1, UNKNOWN], [1, UNKNOWN, UNKNOWN]]
    assert batch.num_targets == 3


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
    loss = MaskedLoss(objective_of(config.MaskedObjective(fraction=fraction)), tokenizer)
    batch = loss.batch(tokens, np.zeros((3, 0)), torch.Generator().manual_seed(seed))
    ids = tokens.ids
    spans = tokenizer.spans(ids.shape[1])
    for row in range(3):
        shown = batch.tokens.ids[row] != MASK
        # tokens that are not hidden are unchanged
        assert torch.equal(batch.tokens.ids[row][shown], ids[row][shown])
        tokens_shown = torch.nonzero(shown & (ids[row] != PAD)).flatten()
        seen = {letter for token in tokens_shown for letter in range(*spans[token])}
        for token in torch.nonzero(batch.targets[row] != UNKNOWN).flatten():
            assert not seen & set(range(*spans[token]))
            assert batch.targets[row, token] == ids[row, token]
            assert ids[row, token] not in (PAD, UNK)
    assert batch.num_targets == int((batch.targets != UNKNOWN).sum())


def test_masked_fraction_is_about_as_set():
    tokenizer = KmerTokenizer(DNA, 3)
    texts = np.random.default_rng(0).choice(list("ACGT"), (20, 600))
    tokens = tokens_of(tokenizer, *map("".join, texts))
    loss = MaskedLoss(objective_of(config.MaskedObjective()), tokenizer)
    batch = loss.batch(tokens, np.zeros((20, 0)), torch.Generator().manual_seed(0))
    # 15 spans of 6 bases in 600, some overlapping: each masks 8 tokens and predicts 4.
    assert 0.14 < float((batch.tokens.ids == MASK).double().mean()) < 0.2
    assert 0.07 < float((batch.targets != UNKNOWN).double().mean()) < 0.11


def test_causal_targets_are_next_tokens():
    tokenizer = KmerTokenizer(DNA, 1)
    tokens = tokens_of(tokenizer, "ACNT", "GT")
    loss = CausalLoss(objective_of(config.CausalObjective()), tokenizer)
    batch = loss.batch(tokens, np.zeros((2, 0)))
    a, c, g, t = 4, 5, 6, 7
    assert tokens.ids.tolist() == [[a, c, UNK, t], [g, t, PAD, PAD]]
    assert batch.targets.tolist() == [[c, UNKNOWN, t, UNKNOWN], [t, UNKNOWN, UNKNOWN, UNKNOWN]]
    assert batch.num_targets == 3


def test_bin_loss_combines_its_positions():
    """Two positions per bin; after the last complete bin of a row there are no targets."""
    loss = BinsLoss(size=10, stride=5)
    at, strand = np.array([3, 12]), np.array([0, 1])
    rows = object_array([Points("c", 0, 24, at, strand), Points("c", 50, 10, at[:0], strand[:0])])
    batch = loss.batch(ones(2, 24), rows)
    assert batch.num_targets == 3
    assert batch.targets[0].tolist() == [[1, 0], [0, 1]]
    assert batch.targets[1, 0].tolist() == [0, 0]
    assert batch.targets[1, 1].isnan().all()
    outputs = torch.randn(2, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    p = outputs.sigmoid()[:, 0]
    none = (1 - p[:, 0:4:2]) * (1 - p[:, 1:4:2])  # (rows, bins, strands)
    points = torch.eye(2) == 1  # of the first row
    expected = torch.where(points, 1 - none[0], none[0]).log().sum() + none[1, 0].log().sum()
    assert loss.sum(outputs, batch.targets).item() == pytest.approx(-expected.item(), rel=1e-5)


def test_positions_beyond_last_kmer_have_no_rate():
    # the fourth position is missing
    rates = rates_of_bins(torch.zeros(1, 3, 2), positions=2, bins=2)
    assert rates[0, :, 0].tolist() == pytest.approx([2 * np.log(2), np.log(2)])
