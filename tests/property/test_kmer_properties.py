"""Test that decode inverts encode for each k and stride, with padded rows and several chunks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.sequence import kmers
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer


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
