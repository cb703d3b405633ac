"""Test the harness of the benchmarks, and the scripts gpu, promoter and pu1 without training."""

import gzip
import importlib

import numpy as np
import pandas as pd
import pytest
import torch

from selfattn_bio.evaluation.metrics import Bootstrap


def test_cases_take_turns():
    from harness import median_seconds, seconds

    order = []
    cases = {name: lambda name=name: order.append(name) for name in "ab"}
    assert {name: len(each) for name, each in seconds(cases, 3).items()} == {"a": 3, "b": 3}
    assert order == ["a", "b"] * 3
    ticks = iter([0, 1, 1, 3, 3, 10])
    assert seconds({"a": int}, 3, lambda: float(next(ticks))) == {"a": [1, 2, 7]}
    assert median_seconds({"a": int}, 5)["a"] < 1


def test_interval_over_seeds_uses_student_t():
    from harness import interval, mean_over_seeds

    assert interval({"value": 0.5, "low": 0.4, "high": 0.61}, 2, "+") == "+0.50 (+0.40 to +0.61)"
    assert mean_over_seeds([0.8, 0.9, None, 1.0]) == "0.900 (0.652 to 1.148)"
    assert mean_over_seeds([0.8]) == "0.800 (one seed)"
    assert mean_over_seeds([None]) == "none"


def test_rows_are_an_aligned_table():
    from harness import markdown

    assert markdown([{"set": "a", "MCC": "0.5"}, {"set": "long", "MCC": "1"}]) == (
        "| set  | MCC |\n| ---- | --: |\n| a    | 0.5 |\n| long |   1 |"
    )
    assert markdown([]) == ""


def test_page_has_text_machine_and_tables(tmp_path):
    from harness import Page, Table, option, run

    page = Page(tmp_path / "page.md", "Speed of x", "How it is measured.")

    def measure(chosen):
        yield Table("Rows", [{"n": str(n)} for n in range(chosen.rows)])
        yield "A sentence."

    rows = option("--rows", type=int, default=2)
    for words in ([], ["--write-docs"]):
        assert not page.path.exists()
        run("Measure x.", measure, rows, arguments=words, threads=None, page=page)
    title, machine, text, *rest = page.path.read_text().split("\n\n")
    assert (title, text) == ("# Speed of x", "How it is measured.")
    assert ", commit " in machine
    assert "torch" in machine
    assert rest == ["## Rows", "| n |\n| - |\n| 0 |\n| 1 |", "A sentence.\n"]


LABELS = np.array([1, 1, 0, 0])
RIGHT, HALF, WRONG = np.array([[0.9, 0.8, 0.2, 0.1], [0.9, 0.1, 0.8, 0.0], [0.1, 0.2, 0.8, 0.9]])


def test_lead_of_means():
    from promoter import lead_of_means

    bootstrap = Bootstrap(LABELS, units=np.arange(4))
    # AUROC 1, 0.75 and 0.
    lead = lead_of_means([RIGHT, HALF], [WRONG, HALF], bootstrap)
    assert lead["value"] == pytest.approx((1 + 0.75) / 2 - (0 + 0.75) / 2)
    same = lead_of_means([RIGHT, HALF], [HALF, RIGHT], bootstrap)
    # the same bootstrap samples for all
    assert (same["low"], same["value"], same["high"]) == (0, 0, 0)


def test_splits_and_labels_come_from_headers(tmp_path, monkeypatch):
    import pu1

    peaks = {"train": "chrX:5-9 AACC ACAC", "val": "chr7:5-9 GATC GTAC"}
    peaks["test"] = "chr8:5-9 AAAC CCAC chr9:5-9 GAAC GTTT"
    for name, words in peaks.items():
        places, given, shuffled = (words.split()[first::3] for first in range(3))
        with gzip.open(tmp_path / f"{name}.fa.gz", "wt") as file:
            for place, own, other in zip(places, given, shuffled, strict=True):
                file.write(f">{place}|1\n{own}\n>{place}_dishuf|0\n{other}\n")
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
def test_only_the_first_motif_counts(label, q, found):
    import pu1

    motifs = pd.DataFrame({"match": [label, "Spi1 (MA0080.7)"], "match_q": [q, 0.0]})
    expected = found and f"{found}SPI1 or SPIB at q < 0.01)"
    assert pu1.refusal(motifs) == expected
    assert pu1.refusal(motifs[:0]) == "no motif was found"


@pytest.fixture
def gpu(benchmarks):
    return importlib.import_module("gpu")


def test_attentions_agree_with_a_window_over_all_tokens(gpu):
    length = gpu.WINDOW
    q, k, v = (torch.randn(1, length, gpu.HEADS, gpu.HEAD_DIM) for _ in range(3))
    one, other = (function(q, k, v) for function in gpu.attentions(length, "cpu").values())
    torch.testing.assert_close(one, other)


def test_failed_row_has_its_reason(gpu, monkeypatch):
    errors = [torch.OutOfMemoryError(), RuntimeError("no kernel\nmore")]

    def fail():
        raise errors.pop(0)

    monkeypatch.setattr(gpu, "cases", lambda *given: [("large", 9, 9, fail), ("odd", 9, 9, fail)])
    rows = gpu.rows("cpu", quick=True)
    assert next(rows)["failed"] == "out of memory"
    assert next(rows)["failed"] == "RuntimeError: no kernel"
    with pytest.raises(SystemExit, match=r"for another reason than memory: odd at 9$"):
        next(rows)
