"""Test that evidence for motifs of one input leaves the other input of a record as it is."""

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.data.inputs import RecordPair
from selfattn_bio.evidence.held_out import neutral_backgrounds
from selfattn_bio.evidence.records import LabelledRecords, Scored, effect, mean_fall, sufficiency

WORD, LENGTH, NUM = b"GGTCACACTG", 60, 90
INPUTS = pytest.mark.parametrize("name", ["first", "partner"])


def pairs_with_word(name):
    """Return records with the word in one input. The other one is long, or short and "on"."""
    rng = np.random.default_rng(0)
    pairs, spans = [], []
    for record in range(NUM):
        letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), LENGTH)
        start = int(rng.integers(LENGTH - len(WORD)))
        letters[start : start + len(WORD)] = np.frombuffer(WORD, np.uint8)
        other = np.frombuffer(b"MKV"[: 1 + record % 3] + b"%d" % record, np.uint8)
        pair = RecordPair(letters, letters)
        pairs.append(pair._replace(**{"partner" if name == "first" else "first": other}))
        spans.append((record, start, start + len(WORD)))
    hits = pd.DataFrame(spans, columns=["record", "start", "end"])
    hits = hits.assign(name="word", strand="+", p_value=1e-6)
    return pairs, hits


def held_out_of(pairs, name):
    letters = [getattr(pair, name) for pair in pairs]
    return LabelledRecords(letters, np.arange(NUM) % 2, pairs=pairs, input=name)


def score_with(name):
    """Return a score of 2 for the word if the other input of the pair starts with M only."""
    other = "partner" if name == "first" else "first"

    def scores(pairs):
        return np.array(
            [
                2.0 * (WORD in getattr(pair, name).tobytes())
                if not getattr(pair, other).tobytes().startswith(b"MK")
                else 0.0
                for pair in pairs
            ]
        )

    return scores


@INPUTS
def test_effects_depend_on_the_other_input_of_the_record(name):
    pairs, hits = pairs_with_word(name)
    scored, rng = Scored(held_out_of(pairs, name), score_with(name)), np.random.default_rng(0)
    for rows, expected in ((hits["record"] % 3 == 0, 2.0), (hits["record"] % 3 > 0, 0.0)):
        some = hits[rows]
        assert mean_fall(some, scored, rng) == pytest.approx(expected, abs=0.1)
        found = effect(some, scored, rng)
        assert found["effect"] == pytest.approx(expected, abs=0.2)
        assert found["effect_records"] == len(some)
        assert sufficiency(some, scored, rng)["sufficiency"] == pytest.approx(expected, abs=0.1)


@INPUTS
def test_backgrounds_keep_the_other_input_of_the_record(name):
    pairs, _ = pairs_with_word(name)
    held_out = held_out_of(pairs, name)
    other = "partner" if name == "first" else "first"
    contents = {
        getattr(pair, other).tobytes(): sorted(getattr(pair, name).tobytes()) for pair in pairs
    }

    def same_record(given):
        return np.array(
            [
                [sorted(getattr(pair, name)) == contents[getattr(pair, other).tobytes()]]
                for pair in given
            ],
            dtype=float,
        )

    backgrounds = neutral_backgrounds(held_out, same_record, seed=0)
    assert backgrounds.before.tolist() == [1.0] * 30
    assert not backgrounds.effects(np.stack([backgrounds.letters] * 3)).any()
    shuffled = {bytes(row) for row in backgrounds.letters}
    assert not shuffled & {letters.tobytes() for letters in held_out.sequences}
