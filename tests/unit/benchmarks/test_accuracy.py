"""The accuracy benchmark before and after its trainings."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest


def test_tables_are_found_by_their_usual_names(tmp_path: Path) -> None:
    import accuracy

    (tmp_path / "dev.csv.gz").touch()
    (tmp_path / "train.tsv").touch()
    assert accuracy.find_table(tmp_path, "dev", "valid").name == "dev.csv.gz"
    assert accuracy.find_table(tmp_path, "train").name == "train.tsv"
    with pytest.raises(SystemExit, match="no table named test"):
        accuracy.find_table(tmp_path, "test")


def test_init_is_repeated_where_its_code_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    runs: list[Path] = []

    def init(command: Sequence[str], check: bool, cwd: Path) -> None:
        task = cwd / "workflows" / "tasks" / "task.toml"
        assert not task.exists()  # init refuses to replace it
        task.parent.mkdir(parents=True, exist_ok=True)
        task.touch()
        runs.append(task)

    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.csv").touch()
    monkeypatch.setattr(accuracy, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(accuracy.subprocess, "run", init)
    monkeypatch.setattr(accuracy, "ingested", lambda task, place: task)
    for code, number in (("a", 1), ("a", 1), ("b", 2)):
        monkeypatch.setattr(accuracy, "code_hash", lambda *more, code=code: code)
        accuracy.TableSet().prepare("set", tmp_path)
        assert len(runs) == number


def test_every_source_of_init_is_a_file() -> None:
    import accuracy
    import published

    package = Path(published.selfattn_bio.__file__).parent
    assert all(list(package.glob(pattern)) for pattern in (*published.SOURCES, *accuracy.INIT_SOURCES))


def test_a_score_is_the_mean_over_seeds_with_an_interval_over_records() -> None:
    import accuracy

    rng = np.random.default_rng(0)
    labels = {of: np.arange(200) % 2 for of in accuracy.SPLITS}
    letters = {of: [np.array([label], np.uint8) for label in labels[of]] for of in accuracy.SPLITS}
    noise = rng.normal(size=200)

    def right(records: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([float(record[0]) for record in records]) * 8 - 4

    def chance(records: Sequence[np.ndarray]) -> np.ndarray:
        return noise

    score = accuracy.bootstrapped(labels, letters, "mcc")
    both, best, worst = score([right, chance])["test"], score([right])["test"], score([chance])["test"]
    assert best.value == 1.0
    assert both.value == pytest.approx((1 + worst.value) / 2)
    assert best.minus(worst)["low"] > 0.5


def test_chains_like_one_of_test_are_left_out_and_masked_residues_have_no_label(tmp_path: Path) -> None:
    import protein_ss3

    own = "ACDEFGHIKLMNPQRSTVWY" * 3
    chains = {
        "train": [("same", own), ("part", "W" * 100 + own[:30]), ("other", "GAVLIMFWPGAVLIMFWP" * 4), ("short", "ACD")],
        "val": [("other", "KRHDEKRHDEKRHDEKRHDE")],
        "ts115": [("test", own)],
    }
    for name, rows in chains.items():
        mask = "eval_mask" if name == "ts115" else "resolved_mask"
        text = "".join(f"{name}\t{letters}\t{'H' * len(letters)}\t01{'1' * (len(letters) - 2)}\n" for name, letters in rows)
        with gzip.open(tmp_path / f"{name}.tsv.gz", "wt") as file:
            file.write(f"id\tsequence\tss3\t{mask}\n{text}")
    read = protein_ss3.read_chains(tmp_path)
    assert read["id"].tolist() == ["test_test", "train_other", "train_short", "valid_other"]
    assert read["ss3"].str[:3].unique().tolist() == ["-HH"]


def test_missing_sets_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    monkeypatch.setenv("SELFATTN_BENCH", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"^error: the published sets must be in a folder, got .*/none'\. Name it: --bench DIR, or SELF"):
        accuracy.main([])
    with pytest.raises(SystemExit, match=r"^error: .*gue_tf4: no such folder; known sets are gue_core_tata"):
        accuracy.main(["gue_tf4", "--bench", str(tmp_path)])
