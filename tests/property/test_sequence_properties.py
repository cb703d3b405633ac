"""Test that decode inverts encode for each k and stride, with padded rows and several chunks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.sequence import kmers
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer
from selfattn_bio.sequence.shuffle import shuffle_letters


@st.composite
def tokenizers(draw):
    alphabet = draw(st.sampled_from([DNA, PROTEIN]))
    k = draw(st.integers(1, 8 if alphabet is DNA else 4))
    return KmerTokenizer(alphabet, k, draw(st.integers(1, k)))


def letters_for(tokenizer: KmerTokenizer, text: str):
    return st.lists(
        st.text(alphabet=text, min_size=tokenizer.k, max_size=40), min_size=1, max_size=4
    )


def padded(rows: list[str]) -> np.ndarray:
    letters = np.zeros((len(rows), max(map(len, rows))), np.uint8)
    for row, text in zip(letters, rows, strict=True):
        row[: len(text)] = list(text.encode())
    return letters


@settings(deadline=None)
@given(st.data())
def test_decode_undoes_encode(data):
    tokenizer = data.draw(tokenizers())
    rows = data.draw(letters_for(tokenizer, tokenizer.alphabet.letters))
    decoded = tokenizer.decode(tokenizer.encode(tokenizer.alphabet.codes(padded(rows))))
    for row, text in zip(decoded, rows, strict=True):
        covered = (len(text) - tokenizer.k) // tokenizer.stride * tokenizer.stride + tokenizer.k
        assert len(text) - covered < tokenizer.stride
        assert row[:covered].tobytes().decode() == text[:covered]
        assert not row[covered:].any()


def one_by_one(tokenizer: KmerTokenizer, row: bytes) -> list[int]:
    """Return tokens by their definition, letter by letter."""
    alphabet, tokens = tokenizer.alphabet.letters, []
    for start in range(0, len(row) - tokenizer.k + 1, tokenizer.stride):
        kmer = row[start : start + tokenizer.k]
        if 0 in kmer:
            tokens.append(0)
        elif any(chr(letter) not in alphabet for letter in kmer):
            tokens.append(3)
        else:
            tokens.append(
                4
                + sum(
                    alphabet.index(chr(letter)) * len(alphabet) ** i
                    for i, letter in enumerate(reversed(kmer))
                )
            )
    return tokens


@settings(deadline=None)
@given(st.data(), st.sampled_from([1, 7, 16, 64, 1 << 15]))
def test_encode_is_the_definition_however_it_is_cut(data, chunk):
    tokenizer = data.draw(tokenizers())
    text = tokenizer.alphabet.letters + tokenizer.alphabet.ambiguous
    letters = padded(data.draw(letters_for(tokenizer, text)))
    before, kmers.TOKENS_AT_ONCE = kmers.TOKENS_AT_ONCE, max(chunk, tokenizer.stride)
    try:
        tokens = tokenizer.encode(tokenizer.alphabet.codes(letters))
    finally:
        kmers.TOKENS_AT_ONCE = before
    assert tokens.tolist() == [one_by_one(tokenizer, row.tobytes()) for row in letters]


SEQUENCES = st.one_of(
    st.text("ACGT", max_size=80), st.text("ACGTNRY", max_size=60), st.text("AC", max_size=60)
)


def k_lets(text, k):
    return Counter(text[at : at + k] for at in range(len(text) - k + 1))


def shuffled(text, k, seed=0):
    return (
        shuffle_letters(np.frombuffer(text.encode(), np.uint8), k, np.random.default_rng(seed))
        .tobytes()
        .decode()
    )


@settings(deadline=None, max_examples=100, derandomize=True)
@given(text=SEQUENCES, k=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_k_lets_are_kept(text, k, seed):
    made = shuffled(text, k, seed)
    assert len(made) == len(text)
    for size in range(1, k + 1):
        assert k_lets(made, size) == k_lets(text, size)
    assert made == shuffled(text, k, seed)


@pytest.mark.parametrize(
    ("text", "k"), [("ACAGATACCA", 2), ("AACAGAAACA", 2), ("ACACAGACATAC", 3), ("AACG", 1)]
)
def test_all_arrangements_are_equally_likely(text, k):
    counts, draws, rng = Counter(), 6_000, np.random.default_rng(0)
    letters = np.frombuffer(text.encode(), np.uint8)
    for _ in range(draws):
        counts[shuffle_letters(letters, k, rng).tobytes().decode()] += 1
    arrangements = set(_arrangements(text, k))
    assert set(counts) == arrangements
    expected = draws / len(arrangements)
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    freedom = len(arrangements) - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def _arrangements(text, k):
    """Return all sequences with the same k-lets and start as `text`, by exhaustive search."""
    open_, left = [(text[: k - 1], k_lets(text, k))], []
    while open_:
        so_far, counts = open_.pop()
        if len(so_far) == len(text):
            left.append(so_far)
        for word in [word for word in counts if word[:-1] == so_far[len(so_far) - k + 1 :]]:
            open_.append((so_far + word[-1], counts - Counter([word])))
    return left


def test_shuffles_of_a_long_sequence_differ():
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), 300))
    made = shuffled(text, 2)
    assert sum(a == b for a, b in zip(made, text, strict=True)) < 120
    assert made != shuffled(text, 2, seed=1)
