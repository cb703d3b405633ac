"""Test the summary at the end of a run."""

import json

import pytest
from small_results import TASK, make_results

from selfattn_bio.config import RunFile
from selfattn_bio.layout import Layout
from selfattn_bio.report.lines import final_lines

OBJECTIVES = {
    "regression": {"columns": ["activity"]},
    "labels": {"column": "structure", "classes": "HE"},
    "masked": {},
}


def task_of(kind):
    data = {"sequences": "a.csv", **({} if kind == "masked" else {"targets": "t.tsv"})}
    section = {"kind": kind, **OBJECTIVES[kind]}
    tokens, training = {"k": 1}, {"shift": 0, "reverse_complement": False}
    return RunFile.model_validate(
        {"data": data, "objective": section, "tokens": tokens, "training": training}
    )


def lines_of(folder, task=TASK):
    """Return the lines without the name of the task, except the last one about the results."""
    *lines, last = final_lines(task, Layout(folder), "small")
    assert last == f"Results: {folder / 'metrics.json'}"
    return [line.removeprefix("small: ") for line in lines]


def test_binary_run_ends_with_figures_and_motifs(tmp_path):
    make_results(tmp_path)
    auroc = json.loads((tmp_path / "metrics.json").read_text())["test"]["model"]["auroc"]
    figures, comparison, motifs = lines_of(tmp_path)
    interval = f"({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert figures == f"test AUROC {auroc['value']:.3f} {interval} on 80 records"
    assert "its best baseline, CNN: " in comparison
    assert motifs.startswith("1 of 3 motifs is supported")
    (tmp_path / "report.html").touch()
    assert list(final_lines(TASK, Layout(tmp_path), "a"))[-1] == (
        f"Report: {tmp_path / 'report.html'}"
    )
    (tmp_path / "motifs.tsv").write_text("")
    (tmp_path / "report.html").unlink()
    assert lines_of(tmp_path)[2].startswith(f"error: {tmp_path / 'motifs.tsv'}: cannot read")
    (tmp_path / "motifs.tsv").unlink()
    assert len(lines_of(tmp_path)) == 2
    (tmp_path / "metrics.json").unlink()
    assert list(final_lines(TASK, Layout(tmp_path), "small")) == []


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
                "The Pearson's r of the model is higher than that of its best baseline, linear "
                "model of 6-mers: +0.110 Pearson's r (95 % interval +0.050 to +0.170) by paired "
                "bootstrap over records; the comparison is based on only one training, so this "
                "may be chance.",
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
def test_other_objectives_end_with_their_main_metric(tmp_path, kind, model, baselines, expected):
    metrics = {"test": {"n": 1200, "unit": "records", "model": model, "baselines": baselines}}
    if kind == "regression":
        lead = {"pearson": {"value": 0.11, "low": 0.05, "high": 0.17, "p": 0.01}}
        leads = {"best_baseline": "kmer6_linear", "baselines": {"kmer6_linear": lead}}
        metrics |= {"confidence": 0.95, "differences": leads}
        metrics["sizes"] = {"model": {"networks": 1, "trainings": 1}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert lines_of(tmp_path, task_of(kind)) == expected
