"""Tests of windows of long records: position, sampling of the complete record, and memory."""

import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from letters import BASES
from small_corpus import fasta, ingested

from selfattn_bio.data import batches, corpus
from selfattn_bio.data.batches import BatchOrder, RecordWindows, laid_windows
from selfattn_bio.data.inputs import Augmentation
from selfattn_bio.errors import CorpusError


@pytest.fixture
def folder(tmp_path):
    return lambda *texts: ingested([fasta(tmp_path / "a.fa", *texts)], tmp_path / "corpus")


def random_text(length, seed=0):
    return np.random.default_rng(seed).choice(BASES, length).tobytes().decode()


def test_a_worked_example():
    windows = RecordWindows(np.array([10, 3]), 4)
    assert len(windows) == 4
    assert windows.sampled_lengths().tolist() == [4, 4, 4, 3]
    assert [part.tolist() for part in windows.records(np.arange(4))] == [[0, 0, 0, 1], [0, 1, 2, 0]]
    assert [part.tolist() for part in windows.laid()] == [[0, 0, 0, 1], [0, 4, 8, 0], [4, 8, 10, 3]]


def test_without_a_size_each_record_is_a_window():
    lengths = np.array([10, 3, 7])
    windows = RecordWindows(lengths, None)
    assert windows.sampled_lengths().tolist() == lengths.tolist()
    found = [part.tolist() for part in windows.records(np.array([2, 0, 1]))]
    assert found == [[2, 0, 1], [0, 0, 0]]


def test_random_windows_cover_their_record(folder):
    texts = [random_text(23, 1), random_text(5, 2), random_text(40, 3)]
    built = folder(*texts)
    augmentation = Augmentation(shift=4, reverse_complement=False, min_length=1, seed=0, window=8)
    seen = {0: set(), 2: set()}
    views = [(0, 0), (0, 1), (0, 2), (2, 0), (2, 4)]
    for epoch, (record, number) in product(range(150), views):
        letters, view = augmentation.view(built, record, epoch, number)
        assert bytes(letters).decode() == texts[record][view.first : view.last]
        assert (view.last - view.first, view.reverse) == (8, False)
        seen[record].add(view.first)
    # Every start, including the first and last
    assert seen == {0: set(range(16)), 2: set(range(33))}
    short = Augmentation(shift=0, reverse_complement=False, min_length=1, seed=0, window=8)
    assert bytes(short.view(built, 1, 0)[0]).decode() == texts[1]


def test_random_windows_are_reproducible(folder):
    built = folder(random_text(5000))

    def first(seed, epoch, number):
        return Augmentation(0, False, 1, seed, window=10).view(built, 0, epoch, number)[1].first

    assert first(3, 1, 2) == first(3, 1, 2)
    assert len({first(3, 1, 2), first(4, 1, 2), first(3, 2, 2), first(3, 1, 3)}) == 4


def test_windows_with_only_n_are_resampled(folder):
    built = folder("N" * 300 + random_text(300) + "N" * 300)
    augmentation = Augmentation(0, False, 1, 0, window=10)
    views = [augmentation.view(built, 0, epoch)[0] for epoch in range(300)]
    # Two of three starts have only N
    assert not any((letters == ord("N")).all() for letters in views)
    rare = folder("N" * 100_000 + "ACGT")
    assert bytes(augmentation.view(rare, 0, 0)[0]) == b"N" * 10  # attempts are limited


def test_fixed_windows_are_thinned_evenly(folder, monkeypatch):
    texts = [random_text(1003, 1), random_text(7, 2), "N" * 40 + random_text(60, 3)]
    built = folder(*texts)
    rows = np.array([0, 1, 2])
    laid = laid_windows(built, rows, 20, least=4)
    # The last 3 bp of the first record are fewer than 4, and the first two windows of the third are
    # only N
    places = [(0, start, start + 20) for start in range(0, 1000, 20)]
    places += [(1, 0, 7), (2, 40, 60), (2, 60, 80), (2, 80, 100)]
    assert list(zip(laid.rows, laid.starts, laid.ends, strict=True)) == places
    for row, start, end, letters in zip(*laid, strict=True):
        assert bytes(letters).decode() == texts[row][start:end]
    monkeypatch.setattr(batches, "LAID", 200)
    monkeypatch.setattr(batches, "LEAST", 5)
    thinned = laid_windows(built, rows[:1], 20, least=4)
    assert thinned.starts.tolist() == [20 * (i * 51 // 10) for i in range(10)]
    again = laid_windows(built, rows[:1], 20, least=4)
    assert [bytes(row) for row in thinned.letters] == [bytes(row) for row in again.letters]
    assert len(laid_windows(built, rows[:1], 100, least=4).rows) == 5


def test_split_of_windows_with_only_n_is_refused(folder, monkeypatch):
    monkeypatch.setattr(batches, "LEAST", 2)
    monkeypatch.setattr(batches, "LAID", 1)
    built = folder("N" * 5000 + "ACGTACGT")
    with pytest.raises(CorpusError, match="the 2 windows of 10 bp read for a split contain only N"):
        laid_windows(built, np.array([0]), 10, least=4)


def test_a_million_windows_take_few_megabytes():
    lengths = np.full(10, 10**8)
    tracemalloc.start()
    windows = RecordWindows(lengths, 1000)
    order = BatchOrder(windows.sampled_lengths(), 1, seed=0)  # maximum number of batches
    epoch = order.epoch(0)
    found = windows.records(epoch[12_345])
    assert order.efficiency() == 1.0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(windows), len(epoch), len(found[0])) == (10**6, 10**6, 1)
    assert peak < 35e6, f"{peak / 1e6:.0f} MB"


def test_pass_keeps_few_bases_in_memory(folder, monkeypatch):
    texts = [random_text(700_000, i) for i in range(12)]
    built = folder(*texts)
    monkeypatch.setattr(corpus, "PASSED", 1 << 20)

    def mapped():
        _, _, found = Path("/proc/self/smaps").read_text().partition("letters.bin")
        return int(found.partition("Rss:")[2].split()[0]) * 1024 if found else 0

    most = 0
    for text, letters in zip(texts, built.each(range(12)), strict=True):
        assert bytes(letters).decode() == text
        most = max(most, mapped())
    assert 0 < most < 3e6
    assert mapped() == 0
    laid_windows(built, np.arange(12), 100, least=4)
    Augmentation(0, False, 1, 0, window=100).view(built, 3, 0)
    assert mapped() == 0  # windows are read, not mapped
    assert bytes(built.letters(7)).decode() == texts[7]
