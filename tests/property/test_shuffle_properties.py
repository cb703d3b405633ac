"""Test that shuffles preserve k-lets, are uniform over all arrangements, and depend on the seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfattn_bio.sequence.shuffle import shuffle_letters

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


def test_k_below_1_is_refused():
    with pytest.raises(ValueError, match="k = 0 is less than 1"):
        shuffled("ACGT", 0)
