"""Test the accuracy benchmark without its trainings."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from selfattn_bio.evaluation.measures import UNKNOWN
from selfattn_bio.evaluation.metrics import ResampledMetric

if TYPE_CHECKING:
    from comparison import Comparison


def test_tables_are_found_by_their_usual_names(tmp_path: Path) -> None:
    import accuracy

    (tmp_path / "dev.csv.gz").touch()
    (tmp_path / "train.tsv").touch()
    assert accuracy.find_table(tmp_path, "dev", "valid").name == "dev.csv.gz"
    assert accuracy.find_table(tmp_path, "train").name == "train.tsv"
    with pytest.raises(SystemExit, match="no table named test"):
        accuracy.find_table(tmp_path, "test")


def test_init_is_repeated_where_its_code_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accuracy

    runs: list[Path] = []

    def init(command: Sequence[str], check: bool, cwd: Path) -> None:
        task = cwd / "workflows" / "tasks" / "task.toml"
        assert not task.exists()  # init does not replace an existing file
        task.parent.mkdir(parents=True, exist_ok=True)
        task.touch()
        runs.append(task)

    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.csv").touch()
    monkeypatch.setattr(accuracy.subprocess, "run", init)
    for code, number in (("a", 1), ("a", 1), ("b", 2)):
        monkeypatch.setattr(accuracy, "code_hash", lambda *more, code=code: code)
        accuracy.TableSet().prepare(tmp_path, tmp_path / "results")
        assert len(runs) == number


def test_every_source_of_init_is_a_file() -> None:
    import accuracy
    import published

    package = Path(published.selfattn_bio.__file__).parent
    assert all(
        list(package.glob(pattern)) for pattern in (*published.SOURCES, *accuracy.INIT_SOURCES)
    )


def sampled(value: float, spread: float = 0.01) -> ResampledMetric:
    """Return a metric whose bootstrap samples are evenly spread around its value."""
    return ResampledMetric(value, value + np.linspace(-spread, spread, 101))


def comparison(model: float, network: float, baseline: float, spread: float = 0.02) -> Comparison:
    from comparison import Comparison

    baselines = {"weak": sampled(0.1), "strong": sampled(baseline)}
    return Comparison("MCC", 0.5, sampled(model, spread), sampled(network), baselines, seconds=7.0)


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
    row = comparison(model, 0.7, 0.7).row("a set", "3", "")
    assert row["interval excludes 0"] == verdict
    assert row["best simple baseline"] == "0.700 (strong)"


def test_last_line_counts_sets() -> None:
    import comparison as table

    found = [
        comparison(0.9, 0.8, 0.7),
        comparison(0.702, 0.6, 0.7),
        comparison(0.5, 0.4, 0.7),
        comparison(0.7, 0.7, 0.7),
    ]
    assert table.closing_line(found) == (
        "The mean of the model is at least that of the best simple baseline on 3 of 4 sets. "
        "The interval of the difference excludes 0 on 2: 1 ahead, 1 behind. "
        "The network alone is below the best simple baseline on 2."
    )


def test_rows_are_a_markdown_table() -> None:
    import comparison

    assert (
        comparison.markdown([{"set": "a", "metric": "Q3"}])
        == "| set | metric |\n| --- | --- |\n| a | Q3 |"
    )


def test_q3_counts_known_residues_and_bootstraps_chains() -> None:
    import protein_ss3

    targets = [np.array([0, 1, UNKNOWN]), np.array([2, 2])]
    right, half = (np.eye(3)[classes] for classes in ([0, 1, 0], [2, 0]))
    found = protein_ss3.sampled_q3([right, half], targets)
    assert found.value == 3 / 4
    # one chain twice, both chains, the other chain twice
    assert sorted(set(found.draws.tolist())) == [0.5, 0.75, 1.0]
    same = protein_ss3.sampled_q3([right, half], targets)
    assert (found.draws == same.draws).all()


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
        mask = "eval_mask" if name == "ts115" else "resolved_mask"
        text = "".join(
            f"{name}\t{letters}\t{'H' * len(letters)}\t01{'1' * (len(letters) - 2)}\n"
            for name, letters in rows
        )
        with gzip.open(tmp_path / f"{name}.tsv.gz", "wt") as file:
            file.write(f"id\tsequence\tss3\t{mask}\n{text}")
    read = protein_ss3.read_chains(tmp_path)
    assert read["id"].tolist() == ["test_test", "train_other", "train_short", "valid_other"]
    assert read["ss3"].str[:3].unique().tolist() == ["-HH"]


def test_missing_sets_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    monkeypatch.setenv("SELFATTN_BENCH", str(tmp_path / "none"))
    with pytest.raises(
        SystemExit,
        match=r"^error: .*/none: no such folder; choose the published sets with --bench DIR or "
        r"SELF",
    ):
        accuracy.main([])
    with pytest.raises(
        SystemExit, match=r"^error: .*gue_tf4: no such folder; known sets are gue_tf1"
    ):
        accuracy.main(["gue_tf4", "--bench", str(tmp_path)])
