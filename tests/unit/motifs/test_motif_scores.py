"""Test the scores of motifs: best hits and occupancies equal a loop over all windows."""

import numpy as np
import pytest
from letters import ascii_of

from selfattn_bio.motifs import scores as scores_module
from selfattn_bio.motifs import words
from selfattn_bio.motifs.scores import OCCUPANCY_STEP, ScoreMatrices

RNG = np.random.default_rng(0)
WIDTHS = (1, 4, 5, 8, 12, 13, 21)
MATRICES = ScoreMatrices.from_probabilities(
    {f"m{width}": RNG.dirichlet(np.full(4, 0.3), width) for width in WIDTHS}
)


def bases(length):
    return RNG.choice(ascii_of(b"ACGT" * 6 + b"N"), length)


def by_loop(record):
    """Return best hits, then occupancies before rounding, (2 M,)."""
    best, occupancy = [], []
    for width, matrix in zip(WIDTHS, MATRICES.values, strict=True):
        found = []
        for forward in (matrix[:width], matrix[:width][::-1, ::-1]):
            for start in range(max(1, len(record) - width + 1)):
                window = record[start : start + width]
                at = [(i, b"ACGT".index(base)) for i, base in enumerate(window) if base != ord("N")]
                found.append(sum(float(forward[i, base]) for i, base in at))
        best.append(max(found))
        occupancy.append(np.log(np.exp(found).sum()))
    return np.array([*best, *occupancy])


def assert_scores(found, records):
    expected = np.array([by_loop(record) for record in records])
    best, occupancy = np.split(found, 2, axis=1)
    np.testing.assert_allclose(best, expected[:, : len(WIDTHS)], rtol=0, atol=1e-6)
    rounding = 0.5 / OCCUPANCY_STEP + 1e-5
    np.testing.assert_allclose(occupancy, expected[:, len(WIDTHS) :], rtol=0, atol=rounding)
    assert (occupancy * OCCUPANCY_STEP % 1 == 0).all()


@pytest.mark.parametrize("chunk", [50, 10_000])
@pytest.mark.parametrize("block", [3, 64])
def test_scores_equal_a_loop_over_windows(chunk, block, monkeypatch):
    monkeypatch.setattr(scores_module, "CHUNK", chunk)
    monkeypatch.setattr(words, "BLOCK", block)
    records = [bases(length) for length in (30, 3, 60, 20, 21, 1, 22)]
    matrices = ScoreMatrices(MATRICES.labels, MATRICES.values, MATRICES.widths)
    assert_scores(matrices.scores(records), records)
    assert matrices.scores([]).shape == (0, 2 * len(WIDTHS))


@pytest.mark.parametrize(("size", "stride"), [(60, 7), (60, 60), (40, 1), (25, 12), (9, 4)])
def test_window_scores_equal_scores_of_each_window(size, stride):
    letters = bases(200)
    windows = [letters[start : start + size] for start in range(0, 200 - size + 1, stride)]
    found = MATRICES.window_scores(letters, size, stride)
    assert_scores(found, windows)
    np.testing.assert_array_equal(found, MATRICES.scores(windows))


@pytest.mark.parametrize("one_strand", [False, True])
@pytest.mark.parametrize("has_kernel", [False, True])
def test_scores_of_substitutions_equal_those_of_changed_records(
    has_kernel, one_strand, monkeypatch
):
    if not has_kernel:
        monkeypatch.setattr(scores_module.band, "unavailable_reason", lambda: "no compiler")
    elif scores_module.band.unavailable_reason() is not None:
        pytest.skip("no compiled kernel")
    names = [f"copy {i} of {label}" for i in range(6) for label in MATRICES.labels]
    values, widths = np.tile(MATRICES.values, (6, 1, 1)), np.tile(MATRICES.widths, 6)
    matrices = ScoreMatrices(tuple(names), values, widths, one_strand)  # more than lanes of a CPU
    for record in map(bases, (1, 5, 21, 40)):
        if one_strand:
            record[record == ord("N")] = ord("A")
        given, changed = matrices.score_substitutions(record)
        copies = np.tile(record, (4, len(record), 1))
        for number, base in enumerate(b"ACGT"):
            np.fill_diagonal(copies[number], base)
        expected = matrices.scores([record, *copies.reshape(-1, len(record))]).T
        found = np.hstack([given[:, None], changed.reshape(len(given), -1)])
        np.testing.assert_array_equal(found[: len(names)], expected[: len(names)])
        # sums in another order may be rounded up instead of down
        np.testing.assert_allclose(found, expected, rtol=0, atol=1 / OCCUPANCY_STEP)


def test_sum_below_float32_leaves_the_best_hit():
    column = np.array([1.0, 0, 0, 0])
    wide = ScoreMatrices.from_probabilities({"A": np.tile(column, (30, 1))})
    best, occupancy = wide.scores([np.full(30, ord("C"), np.uint8)])[0]
    assert best == pytest.approx(30 * np.log(0.01), abs=0.1)
    assert occupancy == pytest.approx(best, abs=1 / OCCUPANCY_STEP)
