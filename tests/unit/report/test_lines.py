"""Test the summary at the end of a run."""

import json

import pytest
from small_results import TASK, make_results
from target_results import OBJECTIVES, PER_LETTER

from selfattn_bio import Study
from selfattn_bio.config import RunFile
from selfattn_bio.objectives import objective_of
from selfattn_bio.report.lines import final_lines


def lines_of(folder, task=TASK):
    """Return the lines without the name of the task, except the last one about the results."""
    *lines, last = final_lines(Study(task, folder))
    assert last == f"Results: {folder / 'metrics.json'}"
    return [line.removeprefix(f"{folder.name}: ") for line in lines]


def test_binary_run_ends_with_figures_and_motifs(tmp_path):
    make_results(tmp_path)
    auroc = json.loads((tmp_path / "metrics.json").read_text())["test"]["model"]["auroc"]
    figures, comparison, motifs = lines_of(tmp_path)
    interval = f"({auroc['low']:.3f} to {auroc['high']:.3f})"
    assert figures == f"test AUROC {auroc['value']:.3f} {interval} on 80 records"
    assert "its best baseline, CNN: " in comparison
    assert motifs.startswith("1 of 3 motifs is supported")
    (tmp_path / "report.html").touch()
    report = f"Report: {tmp_path / 'report.html'}"
    assert list(final_lines(Study(TASK, tmp_path)))[-1] == report
    (tmp_path / "sweep.tsv").touch()  # of an earlier sweep
    assert list(final_lines(Study(TASK, tmp_path)))[-1] == report
    sweep = f"Results: {tmp_path / 'sweep.tsv'}"
    assert list(final_lines(Study(TASK, tmp_path), ["sweep"])) == [sweep]
    (tmp_path / "motifs.tsv").write_text("")
    (tmp_path / "report.html").unlink()
    assert lines_of(tmp_path)[2].startswith(f"error: {tmp_path / 'motifs.tsv'}: cannot read")
    (tmp_path / "motifs.tsv").unlink()
    assert len(lines_of(tmp_path)) == 2
    (tmp_path / "metrics.json").unlink()
    assert list(final_lines(Study(TASK, tmp_path))) == []


@pytest.mark.parametrize(
    ("kind", "best", "title", "figures", "comparison"),
    [
        ("regression", "kmer6_linear", "Pearson's r", (0.61, 0.5), "of 6-mers: +0.11"),
        ("labels", None, "accuracy", (0.7, 0.6), "a baseline, because no baseline was run."),
        ("masked", "unigram", "perplexity", (3.9, 3.99), "frequencies: \N{MINUS SIGN}0.090"),
    ],
)
def test_lines_have_the_main_metric(tmp_path, kind, best, title, figures, comparison):
    objective = {"kind": kind} | OBJECTIVES.get(kind, {})
    data = {"sequences": "a.csv"} | ({"targets": "t.tsv"} if kind in OBJECTIVES else {})
    task = RunFile.model_validate({"data": data, "objective": objective, **PER_LETTER})
    metric = objective_of(task.objective).main_metric

    def entry(value):
        return {metric: {"value": value, "low": value - 0.1, "high": value + 0.1, "p": 0.5}}

    model, other = figures
    baselines = {best: entry(other)} if best else {}
    leads = {best: entry(model - other)} if best else {}
    metrics = {
        "confidence": 0.95,
        "test": {"n": 1200, "unit": "records", "model": entry(model), "baselines": baselines},
        "differences": {"best_baseline": best, "baselines": leads},
        "sizes": {"model": {"networks": 1, "trainings": 1}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    first, second = lines_of(tmp_path, task)
    interval = f"({model - 0.1:.3f} to {model + 0.1:.3f})"
    assert first == f"test {title} {model:.3f} {interval} on 1,200 records"
    assert comparison in second
