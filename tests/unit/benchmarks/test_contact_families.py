"""Test the simulated families of the contact benchmark, and mutual information."""

import numpy as np
import pytest


def test_residues_in_contact_covary():
    import contacts as bench

    rng = np.random.default_rng(0)
    touching = bench.ladders(rng)
    assert touching.sum() >= 2 * bench.CONTACTS
    np.testing.assert_array_equal(touching, touching.T)
    i, j = np.nonzero(touching)
    assert abs(i - j).min() >= 6


def test_mutual_information_of_counts():
    import contacts as bench

    # the first two columns are coupled, the third is independent
    codes = np.array([[0, 0, 1], [1, 1, 1], [0, 0, 2], [1, 1, 2]] * 5000)
    found = bench.mutual_information(codes)
    plain = np.array([[0, np.log(2), 0], [np.log(2), 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(found, bench.average_product_corrected(plain), atol=2e-3)


@pytest.mark.slow
def test_coupled_pair_is_detected(monkeypatch):
    import contacts as bench

    monkeypatch.setattr(bench, "SWEEPS", 5)
    touching = np.zeros((bench.LENGTH, bench.LENGTH), dtype=bool)
    touching[3, 40] = touching[40, 3] = True
    family = bench.simulate(touching, 3 * np.eye(bench.STATES), np.random.default_rng(0), 300)
    assert family.letters.shape == (300, bench.LENGTH)
    found = bench.mutual_information(family.codes)
    assert set(map(int, np.unravel_index(found.argmax(), found.shape))) == {3, 40}
