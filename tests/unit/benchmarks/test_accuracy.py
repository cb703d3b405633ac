"""What the accuracy benchmark makes of the published sets, before anything is trained."""

import gzip
from pathlib import Path

import pandas as pd
import pytest


def write_gue(folder: Path, sides: dict[str, list[tuple[str, int]]]) -> Path:
    folder.mkdir()
    for name, rows in sides.items():
        pd.DataFrame(rows, columns=["sequence", "label"]).to_csv(folder / f"{name}.csv.gz", index=False)
    return folder


def test_a_sequence_on_two_sides_is_kept_nearest_to_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import accuracy

    sides = {
        "train": [("AACC", 1), ("GGTT", 1), ("ACAC", 0), ("TTTT", 0)],  # GGTT is the other strand of AACC
        "dev": [("GTGT", 0), ("CCCC", 1)],  # the other strand of ACAC
        "test": [("AAAA", 0)],  # of TTTT
    }
    records = accuracy.read_gue(write_gue(tmp_path / "set", sides))
    assert records.groupby("side")["sequence"].apply(list).to_dict() == {"test": ["AAAA"], "train": ["AACC", "ACAC"], "valid": ["CCCC"]}
    assert records["id"].is_unique
    assert "test 1 of 1, train 2 of 4, valid 1 of 2" in capsys.readouterr().out


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


def test_sets_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    monkeypatch.setenv("SELFATTN_BENCH", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"^error: the published sets must be in a folder, got .*/none'\. Name it: --bench DIR, or SELF"):
        accuracy.main([])
    with pytest.raises(SystemExit, match=r"^error: gue_tf4 must be a folder of the published sets, got none such in "):
        accuracy.main(["gue_tf4", "--bench", str(tmp_path)])
