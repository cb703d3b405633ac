from types import SimpleNamespace

import numpy as np
import pytest

from selfattn_bio.data.batches import BatchOrder
from selfattn_bio.data.inputs import Augmentation
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import pad_letters

LETTERS = np.frombuffer(b"AACCGGTTAACCGGTTGATC", np.uint8)
CORPUS = SimpleNamespace(alphabet=DNA, letters=lambda i: LETTERS)


def test_padding_of_a_worked_example():
    padded = pad_letters([np.frombuffer(b"ACG", np.uint8), np.frombuffer(b"T", np.uint8)])
    assert padded.tolist() == [[65, 67, 71], [84, 0, 0]]


def test_epoch_has_each_record_once_sorted_by_length():
    lengths = np.random.default_rng(0).integers(10, 1000, 1003)
    batches = BatchOrder(lengths, 16, seed=3).epoch(5)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    used = sum(int(lengths[rows].sum()) for rows in batches)
    assert used / sum(len(rows) * int(lengths[rows].max()) for rows in batches) > 0.85


@pytest.mark.parametrize(
    ("records", "batch_size", "least"), [(5_000, 64, 0.94), (20_000, 64, 0.95), (100_000, 64, 0.95)]
)
def test_protein_lengths_need_little_padding(records, batch_size, least):
    found = []
    for seed in range(8):
        lengths = np.random.default_rng(seed).lognormal(5.7, 0.75, records)
        lengths = np.clip(lengths, 30, 5000).astype(int)
        found.append(BatchOrder(lengths, batch_size, seed=seed).efficiency())
    assert np.mean(found) >= least


def test_batches_differ_between_epochs():
    # All different, and fewer than one pool
    lengths = np.random.default_rng(0).permutation(np.arange(100, 1100))
    order = BatchOrder(lengths, 16, seed=0)
    first, second = ([set(rows) for rows in order.epoch(number)] for number in (0, 1))
    again = [max(len(rows & other) for other in second) / len(rows) for rows in first]
    assert np.mean(again) < 0.8
    assert order.efficiency() > 0.95


def test_equal_lengths_keep_the_sampled_order():
    rng = np.random.default_rng((3, 5))
    drawn = rng.permutation(20)
    batches = [drawn[i : i + 8] for i in range(0, 20, 8)]
    expected = [batches[i].tolist() for i in rng.permutation(3)]
    assert [rows.tolist() for rows in BatchOrder(np.full(20, 7), 8, seed=3).epoch(5)] == expected


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return [list(rows) for rows in BatchOrder(np.full(50, 7), 8, seed).epoch(epoch)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_shift_moves_an_edge_and_adds_no_base():
    augmentation = Augmentation(shift=3, reverse_complement=False, min_length=1, seed=0)
    seen = {bytes(augmentation.letters(CORPUS, 0, epoch)) for epoch in range(200)}
    text = bytes(LETTERS)
    assert seen == {text, text[1:], text[2:], text[3:], text[:-1], text[:-2], text[:-3]}


def test_reverse_complement_half_of_the_times():
    augmentation = Augmentation(shift=0, reverse_complement=True, min_length=1, seed=0)
    seen = [bytes(augmentation.letters(CORPUS, 0, epoch)) for epoch in range(400)]
    turned = seen.count(bytes(DNA.reverse_complement(LETTERS)))
    assert turned / 400 == pytest.approx(0.5, abs=0.08)
    assert turned + seen.count(bytes(LETTERS)) == 400


def test_records_keep_their_minimum_length():
    augmentation = Augmentation(shift=30, reverse_complement=False, min_length=18, seed=0)
    assert min(len(augmentation.letters(CORPUS, 0, epoch)) for epoch in range(100)) == 18


def test_fraction_of_bases_is_resampled():
    augmentation = Augmentation(0, False, min_length=1, seed=0, substitution=0.4)
    seen = np.array([augmentation.letters(CORPUS, 0, epoch) for epoch in range(500)])
    assert set(seen.ravel()) == set(b"ACGT")
    # A quarter of the sampled letters equals the original
    assert np.mean(seen != LETTERS) == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(seen[7], augmentation.letters(CORPUS, 0, 7))


def test_shifted_record_length_is_a_multiple():
    augmentation = Augmentation(shift=2, reverse_complement=True, min_length=1, seed=0, multiple=5)
    length = (len(LETTERS) - 4) // 5 * 5
    views = [augmentation.view(CORPUS, 0, epoch) for epoch in range(200)]
    starts = {(view.first, view.last - view.first) for _, view in views}
    assert starts == {(first, length) for first in range(5)}
    for letters, (first, last, turned) in views:
        expected = LETTERS[first:last]
        assert bytes(letters) == bytes(DNA.reverse_complement(expected) if turned else expected)
