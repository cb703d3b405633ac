"""Run the accuracy benchmark on tiny data with tiny networks: one row per kind of set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tomli_w
from chains import write_chains
from commands import exit_code

if TYPE_CHECKING:
    from comparison import Comparison

    from selfattn_bio.study.evaluated import EvaluationRecords

SIZES = {"members": 1, "embed_dim": 8, "num_layers": 1, "num_heads": 2, "feedforward_dim": 8}
NETWORK = {"kind": "attention", "stem": {"kind": "none"}, **SIZES}
TOWER = {
    **{"kind": "tower", "token_dim": 4, "channels": [8]},
    **{"kernels": [5, 3], "pools": [5, 2], "residual_kernel": 3},
}
TRAINING = {"max_steps": 4, "evaluate_every": 2, "batch_size": 8, "shift": 0}
CLASSES = {
    "data": {"positives": "p.fa", "negatives": "n.fa"},
    "split": {"kind": "random", "valid_fraction": 0.3, "test_fraction": 0.3},
    "tokens": {"k": 1},
    "model": NETWORK,
    "training": TRAINING | {"max_steps": 60, "warmup_steps": 5, "evaluate_every": 20},
    "stack": {"parts": ["exact_positions"]},
    "evaluation": {"bootstraps": 20},
    "interpret": {"database": "none"},
}
NUMBERS = {
    **CLASSES,
    "data": {"sequences": "table.csv"},
    "split": {"kind": "column"},
    "objective": {"kind": "regression", "columns": ["strength"]},
    "training": TRAINING,
    "stack": {"parts": ["exact_positions_linear"]},
}
TOWERED = {"tokens": {"k": 1}, "model": NETWORK | {"stem": TOWER}, "training": TRAINING}
DILATED = {"kind": "dilated", "embed_dim": 8, "stem": TOWER, "dilations": [1]}
PARENT = {**CLASSES, **TOWERED, "stack": {"parts": []}, "variants": {}}
BINS = {
    "data": {"sequences": "s.fa"},
    "split": {"kind": "chromosome", "valid": ["c1"], "test": ["c2"]},
    "objective": {"kind": "bins", "points": "points.bed", "bin": 20},
    "transfer": {"parent": "tiny_parent"},
    "evaluation": {"bootstraps": 20, "block": 100},
    "variants": {"dilated_3500": {"transfer": {"parent": "tiny_parent"}, "model": DILATED}},
    **TOWERED,
}


class InTurn:
    """Replace the thread pool: only the main thread receives the signals of a training."""

    def __init__(self, workers: int) -> None: ...
    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *error: object) -> None: ...

    map = staticmethod(map)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Train in this process, in an empty folder; return the list of trained studies."""
    import runs

    studies: list[str] = []

    def in_process(name: str, study: Path, *options: object) -> None:
        studies.append(str(study))
        assert exit_code(name, study, *options) == 0

    monkeypatch.setattr(runs, "command", in_process)
    monkeypatch.setattr(runs, "ThreadPoolExecutor", InTurn)
    monkeypatch.chdir(tmp_path)
    return studies


def write_two_classes() -> None:
    rng = np.random.default_rng(0)
    for name in "pn":
        rows = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(60)]
        rows = [row[:10] + "TATA" + row[14:] if name == "p" else row for row in rows]
        Path(f"{name}.fa").write_text("".join(f">{name}{i}\n{row}\n" for i, row in enumerate(rows)))


def test_two_classes(trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    from selfattn_bio import Study

    write_two_classes()
    thresholds: list[float] = []

    class Recorded(accuracy.Bootstrap):
        def metrics(self, probabilities: Any, threshold: float) -> Any:
            thresholds.append(threshold)
            return super().metrics(probabilities, threshold)

    def compare(seeds: int) -> Comparison:
        thresholds.clear()
        return accuracy.compare_records(CLASSES, Path("set"), seeds, "mcc")

    monkeypatch.setattr(accuracy, "Bootstrap", Recorded)
    found = compare(2)
    assert {"exact_positions", "gc", "kmer6_logistic"} <= found.baselines.keys()
    assert found.stacked_with == ["exact_positions"]
    assert found.model.value > found.network.value
    assert found.parts
    assert found.parts.value > 0.8  # TATA at one position
    assert len(found.by_seed) == 2

    one = compare(1)
    assert trained == ["set", "set/members/2"]  # nothing changed, so nothing is trained again
    test = Study("set").evaluation.metrics["test"]
    assert one.model.value == one.by_seed[0] == pytest.approx(test["model"]["mcc"]["value"])
    for name, baseline in one.baselines.items():
        assert baseline.value == pytest.approx(test["baselines"][name]["mcc"]["value"])
    assert one.at_half
    assert one.auroc
    assert one.at_half.model.value == pytest.approx(test["model"]["mcc_at_half"]["value"])
    assert one.auroc.model.value == pytest.approx(test["model"]["auroc"]["value"])

    # nothing is chosen on test: with permuted test labels all thresholds are the same
    chosen, records_of = thresholds.copy(), accuracy.records_of

    def permuted_records(study: Study) -> EvaluationRecords:
        records = records_of(study)
        labels, in_test = records.corpus.records["label"].to_numpy().copy(), records.rows["test"]
        labels[in_test] = np.random.default_rng(1).permutation(labels[in_test])
        records.corpus.records["label"] = labels
        return records

    assert 0.5 not in chosen  # which would be the threshold of an untrained network
    monkeypatch.setattr(accuracy, "records_of", permuted_records)
    permuted = compare(1)
    assert thresholds == chosen
    assert permuted.model.value < one.model.value - 0.3


def test_numbers(trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import accuracy

    from selfattn_bio import Study

    monkeypatch.setattr(accuracy, "DRAWS", 20)
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("ACGT"), 20)) for _ in range(90)]
    lines = [
        f"{row},{row[5:15].count('A')},{('train', 'valid', 'test')[i % 3]}\n"
        for i, row in enumerate(rows)
    ]
    Path("table.csv").write_text("sequence,strength,split\n" + "".join(lines))
    found = accuracy.compare_records(NUMBERS, Path("set"), 1, "spearman")
    test = Study("set").evaluation.metrics["test"]
    assert found.model.value == pytest.approx(test["model"]["spearman"]["value"])
    assert found.network.value == pytest.approx(test["baselines"]["network"]["spearman"]["value"])
    assert found.parts
    # the number is a sum over positions, which a network does not learn in 4 steps
    assert found.parts.value > found.network.value + 0.3
    assert found.best != "constant"  # which has no correlation
    for name, baseline in found.baselines.items():
        if name != "constant":
            assert baseline.value == pytest.approx(test["baselines"][name]["spearman"]["value"])
    row = found.row("set", "1", "")
    assert row["metric"] == "Spearman's rho"
    assert row["at 0.5: model - baseline"] == row["AUROC: model - baseline"] == "-"


def test_bins_of_a_chromosome(trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import tss

    write_two_classes()
    rng = np.random.default_rng(0)
    chroms = {name: "".join(rng.choice(list("ACGT"), 800)) for name in ("c0", "c1", "c2")}
    places = [(name, start) for name in chroms for start in range(0, 800, 200)]
    Path("s.fa").write_text(
        "".join(
            f">{name}_{start} chrom={name} start={start} end={start + 200} "
            f"strand=+\n{chroms[name][start : start + 200]}\n"
            for name, start in places
        )
    )
    Path("points.bed").write_text(
        "".join(f"{name}\t{start + 30}\t{start + 31}\tp\t0\t+\n" for name, start in places)
    )
    tss.TASKS.mkdir(parents=True)
    for name, values in {"tiny": BINS, "tiny_parent": PARENT}.items():
        (tss.TASKS / f"{name}.toml").write_text(tomli_w.dumps(values))
    monkeypatch.setattr(tss, "FOLDER", Path("bench"))
    found = tss.BinsTask().measure("tiny", Path(), 2)
    assert found.baselines.keys() == {"gc", "kmer5_logistic"}
    assert np.mean(found.by_seed) == pytest.approx(found.model.value)
    assert "dilated CNN" in found.row("tiny", "2", "")["other network"]
    variants = [f"bench/tiny/variants/{name}" for name in ("model1", "other0", "other1")]
    assert trained == ["bench/tiny_parent", "bench/tiny", *variants]
    tss.BinsTask().measure("tiny", Path(), 2)
    assert len(trained) == 5


def test_labels_per_residue(
    trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import protein_ss3

    rng = np.random.default_rng(0)
    for name, number in {"train": 30, "val": 10, "ts115": 10}.items():
        rows = ["".join(rng.choice(list("ACDEFGHIKL"), 40)) for _ in range(number)]
        labels = ["".join("HEC"["ACDEFGHIKL".index(of) % 3] for of in row) for row in rows]
        each = zip(rows, labels, strict=True)
        write_chains(
            tmp_path, name, [(f"{name}{i}", *both, "1" * 40) for i, both in enumerate(each)]
        )
    tiny = {"tokens": {"k": 1}, "model": NETWORK, "training": TRAINING}
    monkeypatch.setattr(protein_ss3, "MODEL", tiny)
    monkeypatch.setattr(protein_ss3, "FOLDER", Path("bench"))
    found = protein_ss3.Chains().measure("protein_ss3", tmp_path, 1)
    assert found.best == "logistic regression on neighbouring positions"
    assert found.baselines[found.best].value > 0.9  # each label follows from its residue
    assert found.verdict == "yes, behind"
    assert found.range_of_seeds == "one training"
    assert trained == ["bench/protein_ss3"]
