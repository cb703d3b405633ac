"""Tests of the summary at the end of a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from selfattn_bio.config import RunFile
from selfattn_bio.report.lines import closing_lines

OBJECTIVES = {
    "regression": {"columns": ["activity"]},
    "labels": {"column": "structure", "classes": "HE"},
    "masked": {},
}


def run_of(kind: str) -> RunFile:
    data = {"sequences": "a.csv", **({} if kind == "masked" else {"targets": "t.tsv"})}
    section = {"kind": kind, **OBJECTIVES[kind]}
    tokens, training = {"k": 1}, {"shift": 0, "reverse_complement": False}
    return RunFile.model_validate(
        {"data": data, "objective": section, "tokens": tokens, "training": training}
    )


def test_a_binary_run_ends_with_figures_and_motifs(
    tmp_path: Path, results_maker: Callable[..., RunFile]
) -> None:
    run = results_maker(tmp_path)
    auroc = json.loads((tmp_path / "metrics.json").read_text())["test"]["model"]["auroc"]
    figures, comparison, motifs = closing_lines(run, tmp_path)
    assert (
        figures
        == f"test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f}) on 80 "
        "records"
    )
    assert "its best baseline, CNN: " in comparison
    assert motifs.startswith("1 of 3 motifs is supported")
    (tmp_path / "motifs.tsv").unlink()
    assert len(list(closing_lines(run, tmp_path))) == 2
    (tmp_path / "metrics.json").unlink()
    assert list(closing_lines(run, tmp_path)) == []


def test_metrics_of_an_earlier_version_end_with_one_line(
    tmp_path: Path, results_maker: Callable[..., RunFile]
) -> None:
    run, path = results_maker(tmp_path), tmp_path / "metrics.json"
    path.write_text(
        json.dumps(
            {key: value for key, value in json.loads(path.read_text()).items() if key != "sizes"}
        )
    )
    figures, problem = closing_lines(run, tmp_path)
    assert figures.startswith("test AUROC ")
    assert problem.startswith("error: metrics.json ")
    assert problem.endswith("Run `selfattn-bio evaluate` again")


@pytest.mark.parametrize(
    ("kind", "model", "baselines", "expected"),
    [
        (
            "regression",
            {"pearson": {"value": 0.61, "low": 0.55, "high": 0.66}},
            {
                "constant": {"pearson": {"value": None}},
                "kmer6_linear": {"pearson": {"value": 0.5, "low": 0.4, "high": 0.6}},
            },
            [
                "test Pearson's r 0.610 (0.550 to 0.660) on 1,200 records",
                "best baseline: linear model of 6-mers, Pearson's r 0.500 (0.400 to 0.600); "
                "model minus linear model of 6-mers Pearson's r +0.110 (+0.050 to +0.170)",
            ],
        ),
        (
            "labels",
            {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}},
            {},
            ["test accuracy 0.700 (0.600 to 0.800) on 1,200 records"],
        ),
        (
            "masked",
            {"perplexity": {"value": 3.9, "low": 3.8, "high": 4.0}},
            {"unigram": {"perplexity": {"value": 3.99}}, "worse": {"perplexity": {"value": 4.2}}},
            [
                "test perplexity 3.900 (3.800 to 4.000) on 1,200 records",
                "best baseline: token frequencies, perplexity 3.990",
            ],
        ),
    ],
)
def test_other_objectives_end_with_their_main_metric(
    tmp_path: Path, kind, model, baselines, expected
) -> None:
    lead = {"value": 0.11, "low": 0.05, "high": 0.17, "p": 0.01}
    leads = {"kmer6_linear": {"pearson": lead}, "constant": {"pearson": {"value": None}}}
    metrics = {"test": {"n": 1200, "model": model, "baselines": baselines}}
    if kind == "regression":
        metrics["differences"] = {"baselines": leads}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert list(closing_lines(run_of(kind), tmp_path)) == expected
