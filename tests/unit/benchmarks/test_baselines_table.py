import gzip
from pathlib import Path

import baselines
import numpy as np
import pandas as pd
import pytest

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.spelling import Spelling


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Positives have TATA at 10; one sequence of test is also in train, on the other strand."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 80), ("dev", 40), ("test", 40)):
        letters = rng.choice(list("ACGT"), (number, 30))
        letters[1::2, 10:14] = list("TATA")
        table = pd.DataFrame({"sequence": ["".join(row) for row in letters], "label": np.arange(number) % 2})
        if split == "test":
            turned = DNA.reverse_complement(np.frombuffer(first.encode(), np.uint8)).tobytes().decode()
            table.loc[0, "sequence"] = turned
        first = table["sequence"][0]
        with gzip.open(tmp_path / f"{split}.csv.gz", "wt") as file:
            table.to_csv(file, index=False)
    return tmp_path


def test_sequences_of_test_leave_train_and_dev(folder: Path) -> None:
    splits = baselines.read_splits(folder, Spelling(DNA))
    assert {split: len(letters) for split, (letters, _) in splits.items()} == {"train": 80, "dev": 39, "test": 40}


def test_the_table_has_a_row_per_baseline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baselines.main([str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert f"{folder.name}: motif_scores left out: the task names no motif database" in lines
    cells = {fields[2]: fields for line in lines if (fields := [part.strip() for part in line.split("|")])[1:2] == [folder.name]}
    assert set(cells) == {"gc", "kmer6_logistic", "kmer6_positional_logistic", "exact_positions", "gkm_svm"}
    assert float(cells["exact_positions"][4]) > 0.9
