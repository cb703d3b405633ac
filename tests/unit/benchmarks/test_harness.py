"""Test the harness of the benchmarks, what they run again, and gpu, promoter and pu1."""

import ast
import gzip
import importlib
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

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


RUN = {
    "data": {"positives": "p.fa", "negatives": "n.fa"},
    "split": {"kind": "random", "valid_fraction": 0.3, "test_fraction": 0.3},
    "variants": {"cnn": {"model": {"kind": "cnn"}}},
}


@pytest.fixture
def commands(here, monkeypatch):
    """Record commands instead of running them; a training writes its model folder."""
    import runs

    from selfattn_bio import Study

    def record(name, study, *options):
        called.append(str(study))
        Study(study).files.model.mkdir(parents=True, exist_ok=True)

    called = []
    monkeypatch.setattr(runs, "command", record)
    for name, base in (("p", "A"), ("n", "C")):
        rows = (f">{name}{i}\n{'GT' * i}{base * 9}\n" for i in range(10))
        (here / f"{name}.fa").write_text("".join(rows))
    return called


def test_training_is_repeated_if_something_changed(tmp_path, commands):
    from runs import prepared, train, train_all, with_training

    folder = tmp_path / "results"

    def trainings(values, code=""):
        train(prepared(folder, values), code=code)
        return len(commands)

    assert [trainings(RUN), trainings(RUN)] == [1, 1]
    for unused in ({"variants": {}}, {"interpret": {"max_sequences": 9}}):
        assert trainings(RUN | unused) == 1
    assert trainings(RUN, "code") == 2
    assert trainings(with_training(RUN, max_steps=7), "code") == 3
    assert trainings(RUN | {"split": {"kind": "random"}}) == 4
    (folder / "model").rmdir()
    assert trainings(RUN | {"split": {"kind": "random"}}) == 5
    study = prepared(folder, with_training(RUN, seeds=2))
    train_all([*study.members, study.variant("cnn")])
    assert set(commands[5:]) == {f"{folder}{part}" for part in ("", "/members/2", "/variants/cnn")}


def test_first_member_with_a_stack_is_trained_first(tmp_path, commands):
    from runs import prepared, train_all, with_training

    stack = {"stack": {"parts": ["exact_positions"]}}
    study = prepared(tmp_path / "results", with_training(RUN | stack, seeds=2))
    train_all(reversed(study.members))
    assert commands == [str(each.files.folder) for each in study.members]


def test_result_is_kept_until_its_origin_changes(tmp_path):
    from runs import kept

    results = iter(range(9))
    found = [kept(tmp_path / "a.json", of, lambda: next(results)) for of in "aabba"]
    assert found == [0, 0, 1, 1, 2]


SCRIPTS = sorted((Path(__file__).parents[3] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_benchmark_imports_exist(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "selfattn_bio":
            names = {}
            exec(ast.unparse(node), names)
            assert {each.asname or each.name for each in node.names} <= names.keys()


MISSING = [
    name
    for name in ("local_attention", "transformers", "x_transformers")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.slow,  # the imports are slow
    pytest.mark.filterwarnings("ignore"),  # other libraries may warn
    pytest.mark.skipif(
        bool(MISSING), reason=f"not installed, pip install --group bench: {', '.join(MISSING)}"
    ),
]


def script(name, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # the script may set it; restored after the test
    with warnings.catch_warnings(action="ignore"):
        return importlib.import_module(name)


def test_agreement_fails_above_tolerance(monkeypatch):
    agreement = script("agreement", monkeypatch)
    (table,) = agreement.measure(None)
    rows = list(table.rows)
    assert len(rows) == len(agreement.WAYS)
    monkeypatch.setattr(agreement, "TOLERANCE", 1e-9)
    measured = agreement.measure(None)
    assert list(next(measured).rows) == rows
    with pytest.raises(SystemExit, match=r"^error: difference above 1e-09: ALiBi slopes: Huggi"):
        next(measured)


def test_reachable_speed_counts_all_operations(monkeypatch):
    peers, report = script("peers", monkeypatch), script("speed_targets", monkeypatch)
    length, qkv, out = 64, *(torch.nn.Linear(peers.DIM, n * peers.DIM) for n in (3, 1))
    x = torch.randn(1, length, peers.DIM, requires_grad=True)
    mask = torch.ones(length, length, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        peers.dense_oracle(x, qkv, out, mask).sum().backward()
    of_token = report.PROJECTIONS + report.pairs(report.keys_of_window(length))
    assert counter.get_total_flops() == length * of_token
    allowed = peers.build_pattern(peers.WINDOWED).dense_mask(300)
    assert report.keys_of_window(300) == pytest.approx(int(allowed.sum()) / 300)
    row = report.Target("layer", 4, True, {"a": 3.0, "b": 2.0}, {"a": 3.5, "b": 2.5}).row()
    assert row == ["layer", ">= 4", "2", "2.5", "b", "NO"]
