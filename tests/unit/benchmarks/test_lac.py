"""Test the lac benchmark: mean bins, random arrangements, measured effects, shuffled sites."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

LENGTH = 75


def test_bin_is_the_mean_over_reads(tmp_path: Path) -> None:
    import lac

    path = tmp_path / "data.csv"
    reads = np.zeros((3, 10), dtype=int)
    reads[0, 4], reads[1, [2, 5]], reads[2, [0, 9]] = 1, (1, 2), (3, 1)
    table = pd.DataFrame(reads, columns=[f"ct_{number}" for number in range(10)])
    table.assign(set=["training", "validation", "test"], x="ACGT").to_csv(path, index=False)
    variants = lac.read_variants(path)
    assert variants["bin"].tolist() == [4, 4, 2.25]
    assert variants["split"].tolist() == ["training", "validation", "test"]
    with pytest.raises(SystemExit, match="no such file"):
        lac.read_variants(tmp_path / "none")


def test_arrangements_keep_widths_without_overlap() -> None:
    import lac

    rng, starts = np.random.default_rng(0), set()
    for _ in range(500):
        found = lac.arranged(LENGTH, rng)
        assert sorted(end - start for start, end in found) == [6, 6, 22]
        assert lac.is_site(found, LENGTH).sum() == 34
        starts.add(found[0][0])
        assert found[0][0] >= 0
        assert found[-1][1] <= LENGTH
    assert len(starts) > 20


def test_scores_at_the_sites_are_recognised() -> None:
    import lac

    rng = np.random.default_rng(0)
    noise = rng.random(LENGTH)
    known = lac.attribution_row("", noise + 2 * lac.is_site(lac.SITES.values(), LENGTH))
    assert (known["AUROC"], known["AUPR"], known["10 highest"]) == ("1.000", "1.000", "10 in sites")
    assert float(known["p"]) < 0.001
    assert float(known["CRP"].split()[0]) > 3
    assert float(lac.attribution_row("", noise)["p"]) > 0.05


def test_effects_of_substitutions_are_measured() -> None:
    import lac

    rng = np.random.default_rng(0)
    wild = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), LENGTH)
    letters = np.repeat(wild[None], 5000, axis=0)
    mutated = rng.random(letters.shape) < 0.2
    letters[mutated] = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), mutated.sum())
    other = next(base for base in b"ACGT" if base != wild[40])
    study = object.__new__(lac.Lac)
    study.letters = {"train": letters}
    study.bins = {"train": 5.0 - 2.0 * (letters[:, 40] == other)}
    assert (study.wild_type == wild).all()
    effects = study.measured_effects("train")
    row = np.flatnonzero(study.substitutions[:, 40] == other)
    assert len(row) == 1
    assert effects[row] == pytest.approx([-2.0])
    assert np.abs(np.delete(effects, row)).max() < 0.4


def test_shuffled_positions_keep_their_bases_in_each_row() -> None:
    import lac

    rng = np.random.default_rng(0)
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), (50, LENGTH))
    positions = np.array([3, 10, 11, 12, 40, 41, 70])
    found = lac.shuffled_in(letters, positions, rng)
    outside = np.setdiff1d(np.arange(LENGTH), positions)
    assert (found[:, outside] == letters[:, outside]).all()
    assert (np.sort(found[:, positions]) == np.sort(letters[:, positions])).all()
    assert (found != letters).any(axis=1).mean() > 0.9
