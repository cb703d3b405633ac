"""Test the PU.1 benchmark: the split of a peak, and a motif of another factor."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.sequence.split_table import read_split


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
    run_file = pu1.prepared(tmp_path)
    records = Corpus.open(run_file.with_name("corpus")).records
    assert records["label"].tolist() == [1, 0] * 4
    assert (
        read_split(run_file.with_name("split.tsv"), records["id"])
        == ["train"] * 2 + ["valid"] * 2 + ["test"] * 4
    )


@pytest.mark.parametrize(
    ("label", "q", "told"),
    [
        ("SPIB (MA0081.3)", 0.009, ""),
        ("Spi1 (MA0080.7)", 0.0, ""),
        (
            "SPIC (MA0687.2)",
            1e-9,
            "the first motif matches SPIC (MA0687.2) at q 1e-09 (expected SPI1 or SPIB at q < "
            "0.01)",
        ),
        (
            "SPIB (MA0081.3)",
            0.01,
            "the first motif matches SPIB (MA0081.3) at q 0.01 (expected SPI1 or SPIB at q < 0.01)",
        ),
    ],
)
def test_only_the_first_motif_counts(label: str, q: float, told: str) -> None:
    import pu1

    assert (
        pu1.refusal(pd.DataFrame({"match": [label, "Spi1 (MA0080.7)"], "match_q": [q, 0.0]}))
        == told
    )


def test_no_motif_is_refused() -> None:
    import pu1

    assert pu1.refusal(pd.DataFrame({"match": [], "match_q": []})) == "no motif was found"
