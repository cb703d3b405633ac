"""Test the accuracy benchmark without its trainings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from chains import write_chains

from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.objectives.loss import UNKNOWN


def test_folder_without_tables_is_an_error(tmp_path: Path) -> None:
    from accuracy import TableSet

    (tmp_path / "dev.csv.gz").touch()
    with pytest.raises(SystemExit, match=r"^error: .*no file names with train and test"):
        TableSet().proposed(tmp_path)


def test_own_folders_have_their_own_results(tmp_path: Path) -> None:
    from accuracy import own_name

    folder = tmp_path / "a" / "mine"
    assert own_name(folder) == own_name(folder / ".." / "mine") != own_name(tmp_path / "b" / "mine")
    assert own_name(folder).startswith("mine_")


def test_code_hash_of_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import comparison

    package = Path(comparison.selfattn_bio.__file__).parent
    stated = (  # figures change with each of these
        *("evaluation/calibration.py", "motifs/jaspar/plants.meme.gz", "wizard/draft.py"),
        *("config/training.py", "attention/kernels/band/band.cpp", "study/training.py"),
    )
    left_out = ("cli/main.py", "report/__init__.py", "evidence/verdicts.py")
    for name in (*stated, *left_out):
        assert (package / name).is_file()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(
        comparison, "selfattn_bio", SimpleNamespace(__file__=tmp_path / "__init__.py")
    )
    hashes = [comparison.code_hash()]
    for name in (*stated, *left_out):
        (tmp_path / name).write_text("changed")
        hashes.append(comparison.code_hash())
    assert len(set(hashes)) == 1 + len(stated)


def sampled(value: float, spread: float = 0.01) -> ResampledMetric:
    """Return a metric whose bootstrap samples are evenly spread around its value."""
    return ResampledMetric(value, value + np.linspace(-spread, spread, 101))


def test_mean_over_seeds_bootstraps_records() -> None:
    import comparison

    mean = comparison.mean_of([sampled(0.6), sampled(0.8)])
    assert mean.value == pytest.approx(0.7)
    # both use the same bootstrap samples of records
    assert mean.minus(sampled(0.7))["high"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("model", "verdict"), [(0.9, "yes, ahead"), (0.702, "no"), (0.5, "yes, behind")]
)
def test_verdict_depends_on_interval_excluding_0(model: float, verdict: str) -> None:
    from comparison import Comparison

    row = Comparison(
        metric="MCC",
        valid=0.5,
        model=sampled(model, 0.02),
        by_seed=[0.9],
        network=sampled(0.7),
        baselines={"weak": sampled(0.1), "strong": sampled(0.7)},
        seconds=7.0,
    ).row("a set", "1", "")
    assert row["interval over records excludes 0"] == f"{verdict} (one training)"
    assert row["best simple baseline"] == "0.700 (strong)"


def test_q3_counts_known_residues_and_bootstraps_chains() -> None:
    import protein_ss3

    targets = [np.array([0, 1, UNKNOWN]), np.array([2, 2])]
    right, half = (np.eye(3)[classes] for classes in ([0, 1, 0], [2, 0]))
    found = protein_ss3.sampled_q3([right, half], targets)
    assert found.value == 3 / 4
    # one chain twice, both chains, the other chain twice
    assert sorted(set(found.draws.tolist())) == [0.5, 0.75, 1.0]


def test_chains_similar_to_test_are_dropped(tmp_path: Path) -> None:
    import protein_ss3

    own = "ACDEFGHIKLMNPQRSTVWY" * 3
    chains = {
        "train": [
            ("same", own),
            ("part", "W" * 100 + own[:30]),
            ("other", "GAVLIMFWPGAVLIMFWP" * 4),
            ("short", "ACD"),
        ],
        "val": [("other", "KRHDEKRHDEKRHDEKRHDE")],
        "ts115": [("test", own)],
    }
    for name, rows in chains.items():
        labelled = [
            (id, letters, "H" * len(letters), "01" + "1" * (len(letters) - 2))
            for id, letters in rows
        ]
        write_chains(tmp_path, name, labelled)
    read = protein_ss3.read_chains(tmp_path)
    assert read["id"].tolist() == ["test_test", "train_other", "train_short", "valid_other"]
    assert read["ss3"].str[:3].unique().tolist() == ["-HH"]


def test_missing_sets_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    monkeypatch.setenv("SELFATTN_BENCH", str(tmp_path / "none"))
    with pytest.raises(
        SystemExit, match=r"^error: .*/none: no such folder; .* --bench DIR or SELF"
    ):
        accuracy.main([])
    with pytest.raises(SystemExit, match=r"^error: .*gue_tf4: no such folder; known sets are gue"):
        accuracy.main(["gue_tf4", "--bench", str(tmp_path)])
