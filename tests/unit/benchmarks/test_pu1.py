"""Test the PU.1 benchmark: the split of a peak, and a motif of another factor."""

import gzip
from pathlib import Path

import pandas as pd
import pytest


def test_splits_and_labels_come_from_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pu1

    peaks = {"train": ["chrX:5-9"], "val": ["chr7:5-9"], "test": ["chr8:5-9", "chr9:5-9"]}
    letters = iter(["AACC", "ACAC", "GATC", "GTAC", "AAAC", "CCAC", "GAAC", "GTTT"])
    for name, places in peaks.items():
        with gzip.open(tmp_path / f"{name}.fa.gz", "wt") as file:
            file.writelines(
                f">{place}{end}\n{next(letters)}\n"
                for place in places
                for end in ("|1", "_dishuf|0")
            )
    monkeypatch.setattr(pu1, "FOLDER", tmp_path)
    study = pu1.study_of(tmp_path)
    assert study.corpus.records["label"].tolist() == [1, 0] * 4
    assert study.splits.table["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 4


@pytest.mark.parametrize(
    ("label", "q", "found"),
    [
        ("SPIB (MA0081.3)", 0.009, ""),
        ("Spi1 (MA0080.7)", 0.0, ""),
        ("SPIC (MA0687.2)", 1e-9, "the first motif matches SPIC (MA0687.2) at q 1e-09 (expected "),
        ("SPIB (MA0081.3)", 0.01, "the first motif matches SPIB (MA0081.3) at q 0.01 (expected "),
    ],
)
def test_only_the_first_motif_counts(label: str, q: float, found: str) -> None:
    import pu1

    motifs = pd.DataFrame({"match": [label, "Spi1 (MA0080.7)"], "match_q": [q, 0.0]})
    expected = found and f"{found}SPI1 or SPIB at q < 0.01)"
    assert pu1.refusal(motifs) == expected
    assert pu1.refusal(motifs[:0]) == "no motif was found"
