"""Tests of `selfattn_bio.motifs.tomtom`, against memelite."""

import warnings

import numpy as np
import pytest

from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.tomtom import compare


def motifs(size: int, number: int, widest: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.dirichlet(np.full(size, 1 / size), size=width).T
        for width in rng.integers(3, widest, size=number)
    ]


def seqlets(size: int) -> list[np.ndarray]:
    """Scores of any sign, with columns that are 0."""
    rng = np.random.default_rng(1)
    scores = [rng.normal(size=(size, width)) for width in rng.integers(8, 30, size=60)]
    for each in scores:
        each[:, rng.random(each.shape[1]) < 0.2] = 0
    return scores


def patterns(number: int) -> list[np.ndarray]:
    """Motifs of proteins as in PROSITE, with one to four residues at most positions."""
    rng = np.random.default_rng(2)
    found = []
    for width in rng.integers(5, 20, size=number):
        weights = np.full((20, width), 0.001)
        for column in weights.T:
            column[rng.choice(20, rng.choice([1, 2, 3, 4, 20]), replace=False)] += 1
        found.append(weights / weights.sum(axis=0))
    return found


def known() -> list[np.ndarray]:
    return [matrix.T for matrix in open_database("jaspar:vertebrates").values()]


@pytest.mark.parametrize(
    ("both_strands", "best", "p", "offset"),
    [
        (
            True,
            [37, 22, 15, 39],
            [2.091885971e-3, 7.478393053e-3, 0.08189655162, 0.01748069032],
            [-16, -4, -4, 2],
        ),
        (
            False,
            [22, 22, 15, 33],
            [0.02945756874, 3.886012304e-3, 0.03847432252, 0.05446081612],
            [2, -4, -4, 1],
        ),
    ],
)
def test_best_matches_of_random_motifs_are_pinned(both_strands, best, p, offset):
    found = compare(motifs(4, 4, 30), motifs(4, 40, 30, seed=1), both_strands)
    assert found[0].argmin(axis=1).tolist() == best
    np.testing.assert_allclose(found[0].min(axis=1), p, rtol=1e-8)  # of memelite 0.5
    assert found[1][range(4), best].tolist() == offset
    assert found[2][range(4), best].any() == both_strands


def test_order_of_residues_has_no_effect():
    rng = np.random.default_rng(0)
    order, targets = rng.permutation(20), patterns(60)
    found = compare(targets[:9], targets, False)
    other = compare([each[order] for each in targets[:9]], [each[order] for each in targets], False)
    np.testing.assert_allclose(found[0], other[0], rtol=1e-9)
    np.testing.assert_array_equal(found[1], other[1])


@pytest.mark.long  # memelite compiles for a minute
@pytest.mark.parametrize(
    ("queries", "targets", "both_strands", "bins"),
    [
        (motifs(4, 40, 30), motifs(4, 40, 30, seed=1), True, (100, 100)),
        (motifs(4, 9, 40), motifs(4, 5, 9, seed=1), False, (100, 100)),
        (motifs(20, 40, 20), motifs(20, 60, 20, seed=1), False, (100, 100)),
        (known()[::25], known(), True, (100, 100)),
        (seqlets(4), seqlets(4), True, (25, 10)),
        (seqlets(20), seqlets(20), False, (25, 10)),
        ([np.full((4, 5), 0.25)], [np.full((4, 7), 0.25)] * 2, True, (100, 100)),
    ],
    ids=["dna", "few", "protein", "jaspar", "seqlets", "residues", "equal"],
)
def test_alignments_and_p_values_are_those_of_memelite(queries, targets, both_strands, bins):
    from memelite import tomtom

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="tomtom was given")
        p, _, offset, _, strand = tomtom(
            queries,
            targets,
            n_score_bins=bins[0],
            n_target_bins=bins[1],
            reverse_complement=both_strands,
        )
    found = compare(queries, targets, both_strands, bins)
    np.testing.assert_allclose(found[0], p, rtol=1e-10)
    np.testing.assert_array_equal(found[1][p < 1], offset[p < 1])
    np.testing.assert_array_equal(found[2], strand == 1)
