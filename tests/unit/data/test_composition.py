import numpy as np
import pytest

from selfattn_bio.data import composition
from selfattn_bio.data.composition import KmerCounts, count_kmers, gc_content
from selfattn_bio.sequence.alphabet import DNA


def ascii_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def test_gc_content_of_long_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "PIECE", 3)
    assert gc_content([ascii_of("ACGTGGGGAA"), ascii_of("A")]).tolist() == [0.6, 0.0]


def test_gc_content_ignores_ambiguous_bases() -> None:
    records = [ascii_of(text) for text in ("ACGT", "GGGN", "NNRA", "N")]
    assert gc_content(records).tolist() == [0.5, 1.0, 0.0, 0.0]


def test_count_kmers_of_short_and_ambiguous_records() -> None:
    counts = count_kmers([ascii_of("AAAC"), ascii_of("ANAA"), ascii_of("C")], DNA, 2).toarray()
    assert counts[:, :2].tolist() == [[2, 1], [1, 0], [0, 0]]  # AA, AC
    assert counts.sum() == 4


def test_kmer_counts_have_unit_length() -> None:
    counts = KmerCounts(DNA, 1)([ascii_of("AAAACCC"), ascii_of("N")]).toarray()
    assert counts.tolist() == [[0.8, 0.6000000000000001, 0, 0], [0, 0, 0, 0]]
