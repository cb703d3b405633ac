"""Test batches: by length, of balanced cells, and sampled independently; padded, and of pairs."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from letters import ascii_of

from selfattn_bio.data.batches import BalancedOrder, BatchOrder, PoissonOrder
from selfattn_bio.data.collation import Collation, PairCollation, to_device
from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import PAD, KmerTokenizer

POISSON = PoissonOrder(num_records=200, batch_size=20, secret=12345)


def test_epoch_has_each_record_once_sorted_by_length():
    lengths = np.random.default_rng(0).integers(10, 1000, 1003)
    batches = BatchOrder(lengths, 16, seed=3).epoch(5)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    used = sum(int(lengths[rows].sum()) for rows in batches)
    assert used / sum(len(rows) * int(lengths[rows].max()) for rows in batches) > 0.85


@pytest.mark.parametrize(("records", "least"), [(5_000, 0.94), (20_000, 0.95)])
def test_protein_lengths_need_little_padding(records, least):
    found = []
    for seed in range(8):
        lengths = np.random.default_rng(seed).lognormal(5.7, 0.75, records)
        lengths = np.clip(lengths, 30, 5000).astype(int)
        found.append(BatchOrder(lengths, 64, seed=seed).efficiency())
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


def test_cells_are_equally_frequent_in_an_epoch():
    cells = np.repeat([0, 1, 2], [70, 25, 6])
    order = BalancedOrder(np.full(101, 50), 8, seed=3, cells=cells)
    batches = list(order.epoch(5))
    assert [len(rows) for rows in batches].count(8) == 12  # 12 of 8 and one of 5 make 101 records
    counts = np.bincount(np.concatenate(batches), minlength=101)
    assert np.bincount(cells, counts).tolist() == [34, 34, 33]
    assert counts[:70].max() == 1  # no record of a large cell occurs twice
    assert set(counts[70:95]) == {1, 2}
    assert set(counts[95:]) == {5, 6}
    again = list(order.epoch(5))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = np.bincount(np.concatenate(list(order.epoch(6))), minlength=101)
    assert not np.array_equal(other[:70], counts[:70])


def test_balanced_batches_have_similar_lengths():
    rng = np.random.default_rng(0)
    lengths, cells = rng.integers(50, 500, 2000), (rng.random(2000) < 0.1).astype(int)
    order = BalancedOrder(lengths, 16, seed=0, cells=cells)
    spans = [np.ptp(lengths[rows]) for rows in order.epoch(0)]
    assert np.median(spans) < 30
    assert 0.9 < order.efficiency() <= 1


def test_records_are_sampled_independently():
    batches = [rows for number in range(300) for rows in POISSON.epoch(number)]
    assert len(batches) == 3000  # 10 per epoch
    drawn = np.zeros((len(batches), 200))
    for row, batch in zip(drawn, batches, strict=True):
        assert (np.diff(batch) > 0).all()
        row[batch] = 1
    # 4 standard deviations of 600,000 samples are .0015
    assert drawn.mean() == pytest.approx(0.1, abs=0.002)
    assert np.abs(drawn.mean(axis=0) - 0.1).max() < 0.028  # 5 standard deviations of 3,000 samples
    sizes = drawn.sum(axis=1)
    # Binomial; batches of one size would have 0
    assert sizes.var() == pytest.approx(200 * 0.1 * 0.9, rel=0.15)
    pairs = np.corrcoef(drawn.T)[np.triu_indices(200, 1)]
    # Some would be higher without replacement, or if sorted by length
    assert np.abs(pairs).max() < 0.1


def test_batches_depend_only_on_secret_and_index():
    batches, again = POISSON.epoch(7), PoissonOrder(200, 20, 12345).epoch(7)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert np.array_equal(batches[3], list(batches)[3])
    for other in (PoissonOrder(200, 20, 54321).epoch(7), POISSON.epoch(8)):
        assert not np.array_equal(batches[3], other[3])
    with pytest.raises(IndexError):
        POISSON.epoch(0)[10]


def test_a_batch_may_be_empty():
    order = PoissonOrder(4, 1, 0)
    assert any(len(batch) == 0 for number in range(50) for batch in order.epoch(number))


def test_rows_are_padded_to_the_longest():
    tokens = Collation(KmerTokenizer(DNA, 3))([ascii_of("ACGTA"), ascii_of("AAAC")])
    assert tokens.ids.dtype == torch.int64
    assert tokens.ids.shape == (2, 3)
    assert tokens.lengths.tolist() == [3, 2]
    assert tokens.ids[1].tolist() == [4, 5, PAD]  # AAA, AAC


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 1), (3, 3), (4, 2)])
def test_lengths_count_the_tokens_that_are_no_padding(k, stride):
    rng = np.random.default_rng(0)
    rows = [rng.choice(ascii_of("ACGTN"), n) for n in (k, 9, 17, 24)]
    tokens = Collation(KmerTokenizer(DNA, k, stride))(rows)
    assert tokens.lengths.tolist() == (tokens.ids != PAD).sum(1).tolist()


def test_pairs_are_joined():
    tokenizers = KmerTokenizer(DNA, 3), KmerTokenizer(PROTEIN, 1)
    collate = PairCollation(*tokenizers, lambda *ids: torch.cat(ids, 1))
    texts = [("ACGTA", "MK"), ("AAAC", "MKV")]
    pairs = [RecordPair(ascii_of(dna), ascii_of(protein)) for dna, protein in texts]
    tokens = collate(pairs)
    assert tokens.ids.shape == (2, 3 + 3)
    assert tokens.lengths.tolist() == [3 + 2, 2 + 3]
    assert collate.num_letters(pairs) == 5 + 2 + 4 + 3


def test_copies_to_a_gpu_are_asynchronous():
    batch, device, x = Mock(), torch.device("cuda"), torch.zeros(3)
    assert to_device(batch, device) is batch.pin_memory.return_value.to.return_value
    batch.pin_memory.return_value.to.assert_called_once_with(device, non_blocking=True)
    assert to_device(x, torch.device("cpu")) is x
