"""Run the workflow twice at the same time in one folder."""

import json
from pathlib import Path

import pytest
from projects import TINY, copy_project, planned, start
from test_targets import wait_for

pytestmark = pytest.mark.long


@pytest.fixture
def project(tmp_path) -> Path:
    folder = copy_project(tmp_path / "a project")
    for name in ("first", "second"):
        (folder / f"workflows/tasks/{name}.toml").write_text(TINY)
    return folder


def test_two_tasks_at_the_same_time_end_as_usual(project):
    runs = [start(project, f"results/{name}/metrics.json") for name in ("first", "second")]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    results = [
        json.loads((project / f"results/{name}/metrics.json").read_text())
        for name in ("first", "second")
    ]
    for metrics in results:
        del metrics["costs"]  # time and memory
    assert results[0] == results[1]  # the tasks have the same settings
    for name in ("first", "second"):
        assert planned(project, f"results/{name}/metrics.json") == {}


def test_second_run_of_a_task_stops_with_one_sentence(project):
    first = start(project, "results/first/metrics.json")
    wait_for(lambda: any((project / ".snakemake/locks").glob("*")), first)
    second = start(project, "results/first/metrics.json")
    output = second.communicate()[0]
    assert second.returncode == 1
    assert output.splitlines()[-1] == (
        "error: another run in this folder makes the same results. Wait until it ends; if there "
        "is none, because it was killed, run `snakemake --unlock` and the command again"
    )
    assert first.poll() is None
    text = first.communicate()[0]
    assert first.returncode == 0, text
    assert planned(project, "results/first/metrics.json") == {}
