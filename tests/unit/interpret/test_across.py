"""Test pairs of motifs with one motif in each input, on scores whose epistasis is known."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.interpret.across import evaluate_across
from selfattn_bio.interpret.interactions import COLUMNS, Interactions

DNA = {"alpha": b"GGTCACACTG", "gamma": b"TATCGATAAC"}
PROTEIN = {"partner/beta": b"HWKCNRGF", "partner/delta": b"FYEDQMPA"}


def planted(words, letters, number, rng):
    """Return sequences with each word in 8 of 10, and the sites."""
    slots = {name: 3 + 30 * i for i, name in enumerate(words)}
    sequences, rows = [], []
    for record in range(number):
        sequence = rng.choice(np.frombuffer(letters, np.uint8), 70)
        for name, word in words.items():
            if rng.random() < 0.8:
                start = slots[name] + int(rng.integers(15))
                sequence[start : start + len(word)] = np.frombuffer(word, np.uint8)
                rows.append((name, record, start, start + len(word), "+", 1.0))
        sequences.append(sequence)
    columns = ["name", "record", "start", "end", "strand", "rank"]
    return sequences, pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(0)
    first, sites_a = planted(DNA, b"ACGT", 80, rng)
    partner, sites_b = planted(PROTEIN, b"ACDEFGHIKLMNPQRSTVWY", 80, rng)
    return [sites_a, sites_b], [RecordPair(*pair) for pair in zip(first, partner, strict=True)]


def words_in(pair):
    """Return the number of each word: alpha, gamma, beta, delta."""
    first, partner = (letters.tobytes() for letters in pair)
    counts = [first.count(word) for word in DNA.values()]
    return counts + [partner.count(word) for word in PROTEIN.values()]


def scored(function):
    return lambda pairs: np.array([float(function(*words_in(pair))) for pair in pairs])


def verdicts(records, function, **options):
    table = evaluate_across(*records, scored(function), **options)
    assert list(table) == COLUMNS
    assert len(table) == 4
    assert (table["tested"] >= 30).all()
    return table.set_index(["name_a", "name_b"])


def test_pair_that_acts_together_is_supported(records):
    table = verdicts(records, lambda a, g, b, d: 2 * min(a, b) + g + d)
    assert table["verdict"].to_dict() == {
        ("alpha", "partner/beta"): "supported",
        ("alpha", "partner/delta"): "inconclusive",
        ("gamma", "partner/beta"): "inconclusive",
        ("gamma", "partner/delta"): "inconclusive",
    }
    assert table.loc[("alpha", "partner/beta"), "epistasis"] == pytest.approx(2, abs=0.1)
    assert table["spacing_start"].isna().all()
    assert (
        Interactions(table.reset_index())
        .lines[0]
        .startswith("alpha and partner/beta: epistasis +2")
    )


def test_pair_of_which_one_is_enough_is_redundant(records):
    table = verdicts(records, lambda a, g, b, d: 2 * max(a, b) + g + d)
    (pair,) = table.index[table["verdict"] != "inconclusive"]
    assert pair == ("alpha", "partner/beta")
    assert table.loc[pair, "verdict"] == "redundant"
    assert table.loc[pair, "epistasis"] == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, g, b, d: 1.5 * a + g + 2 * b + d,  # no epistasis
        lambda a, g, b, d: (a + g + b + d) ** 2 / 2,  # a curve of the sum gives it to every pair
    ],
    ids=["sum", "curve"],
)
def test_pairs_of_additive_motifs_are_not_supported(records, function):
    for seed in range(3):
        assert not (verdicts(records, function, seed=seed)["verdict"] == "supported").any()


def test_pairs_in_few_records_are_not_tested(records):
    (sites_a, sites_b), pairs = records
    few = sites_b[sites_b["record"] < 15]
    assert evaluate_across([sites_a, few], pairs, scored(lambda *words: sum(words))).empty
    assert evaluate_across([sites_a[:0], sites_b], pairs, scored(lambda *words: sum(words))).empty
