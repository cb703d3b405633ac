from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.policy import SequencePolicy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write tables with TATA at 10 in positives; one test sequence is also in dev, on strand -."""
    rng, tables = np.random.default_rng(0), {}
    for split, number in (("train", 80), ("dev", 40), ("test", 40)):
        letters = rng.choice(list("ACGT"), (number, 30))
        letters[1::2, 10:14] = list("TATA")
        tables[split] = pd.DataFrame(
            {"sequence": ["".join(row) for row in letters], "label": np.arange(number) % 2}
        )
    shared = np.frombuffer(tables["dev"]["sequence"][0].encode(), np.uint8)
    tables["test"].loc[0, "sequence"] = DNA.reverse_complement(shared).tobytes().decode()
    for split, table in tables.items():
        table.to_csv(tmp_path / f"{split}.csv.gz", index=False)
    return tmp_path


def test_copies_are_removed_as_by_split(folder: Path) -> None:
    import baselines

    train, dev = (pd.read_csv(folder / f"{split}.csv.gz") for split in ("train", "dev"))
    copied = pd.concat([train, train.iloc[[3]], dev.iloc[[1]]])  # a repeat, and a copy of dev
    copied.to_csv(folder / "train.tsv", sep="\t", index=False)
    (folder / "train.csv.gz").unlink()
    (folder / "dev.csv.gz").rename(folder / "valid.csv.gz")
    test = pd.read_csv(folder / "test.csv.gz")
    pd.concat([test, test.iloc[[5]]]).to_csv(folder / "test.csv.gz", index=False)
    splits = baselines.read_splits(folder, SequencePolicy(DNA))
    assert {split: len(letters) for split, (letters, _) in splits.items()} == {
        "train": 80,
        "valid": 39,  # one is in test, on strand -
        "test": 41,  # stays complete
    }
    assert splits["train"][0][3].tobytes().decode() == train["sequence"][3]
    assert splits["train"][1].tolist() == train["label"].tolist()


def test_missing_table_is_an_error(folder: Path) -> None:
    import baselines

    (folder / "dev.csv.gz").unlink()
    with pytest.raises(SystemExit, match="no table named dev or valid or val or validation"):
        baselines.main([str(folder)])


def test_the_table_has_a_row_per_baseline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import baselines

    baselines.main([str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert f"{folder.name}: motif_scores left out: the task names no motif database" in lines
    cells = {
        fields[2]: fields
        for line in lines
        if (fields := [part.strip() for part in line.split("|")])[1:2] == [folder.name]
    }
    assert set(cells) == {
        "gc",
        "kmer6_logistic",
        "kmer6_positional_logistic",
        "exact_positions",
        "gkm_svm",
    }
    assert float(cells["exact_positions"][4]) > 0.9
