"""Test targets and errors of a project in which nothing has run yet, and runs that meet or stop."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from fast_python import fast_python
from projects import TINY, copy_project, planned, replace, snakemake, start

import selfattn_bio as sb

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh(tmp_path) -> Path:
    """Copy a project in which nothing has run yet."""
    return copy_project(tmp_path / "a fresh project")


# tasks and errors
STEPS = dict.fromkeys(["ingest", "split", "audit", "train", "evaluate", "report"], 1)
MOTIFS = dict.fromkeys(["explain", "motifs", "interactions"], 1)
FILES = 'positives = "data/smoke/positives.fa", negatives = "data/smoke/negatives.fa"'
TWO_CLASSES = f"data = {{ {FILES} }}"
TARGETS = 'data = { sequences = "data/smoke/positives.fa", targets = "t.tsv" }'
BINS = """data.sequences = "data/smoke/positives.fa"
objective = { kind = "bins", points = "data/smoke/negatives.fa" }
"""
TASKS = {
    "two_classes": (TWO_CLASSES, MOTIFS | {"train_variant": 2, "notebook": 3}),
    "numbers": (f'{TARGETS}\nobjective = {{ kind = "regression", columns = ["x"] }}', MOTIFS),
    "members": (
        f"{TWO_CLASSES}\ntraining.seeds = 2",
        {"train": 2, "train_variant": 4, "explain": 2, "motifs": 2, "interactions": 1}
        | {"notebook": 3},
    ),
    "bins": (BINS, {}),  # its motifs need a strand
    "two_inputs": (
        f"""{TWO_CLASSES}
partner = {{ kind = "sequence", files = "data/smoke/positives.fa" }}
model.kind = "paired"
""",
        {"train_variant": 3, "explain": 1, "motifs": 1, "partner_motifs": 1},
    ),
    "bins_of_a_strand": (f'{BINS}interpret.targets = ["+"]', MOTIFS),
}


def test_new_run_files_are_new_targets(fresh):
    (fresh / "t.tsv").write_text("id\tx\n")
    for name, (text, _) in TASKS.items():
        (fresh / f"workflows/tasks/{name}.toml").write_text(text)
    *others, of_a_strand = TASKS
    for names in (others, [of_a_strand]):
        wanted = [STEPS | TASKS[name][1] | {f"train_{name}": 1} for name in names]
        assert planned(fresh, *(f"train_{name}" for name in names)) == sum(
            map(Counter, wanted), Counter()
        )


def test_data_file_named_like_a_target(fresh):
    (fresh / "data/smoke/positives.fa").rename(fresh / "train_pos")
    replace(fresh / "workflows/tasks/smoke.toml", "data/smoke/positives.fa", "train_pos")
    assert planned(fresh, "results/smoke/corpus") == {"ingest": 1}


def test_unknown_task_error(fresh):
    result = snakemake(fresh, "sweep_grib")
    assert result.returncode == 1
    message = r"error: unknown task 'grib'; did you mean 'grid'\? Tasks in .*\bmine\b.*"
    assert re.fullmatch(message, result.stdout.splitlines()[-1]), result.stdout


@pytest.mark.parametrize(
    ("target", "code", "begin"),
    [("train_smoke", 0, "smoke ends with the report"), ("results/smoke/motifs.ipynb", 1, "error")],
)
def test_without_extra_a_task_ends_with_the_report(fresh, target, code, begin):
    start = "import sys; sys.modules['papermill'] = None; import snakemake.cli as s; s.main()"
    words = [fast_python(), "-c", start, "--cores", "1", "--dry-run", target]
    done = subprocess.run(words, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    message = "notebooks need papermill. Install: pip install 'selfattn-bio[notebooks]'"
    assert (done.stdout + done.stderr).splitlines().count(f"{begin}: {message}") == 1
    assert not re.search(r"^notebook +\d", done.stdout, flags=re.MULTILINE)
    assert code or re.search(r"^report +1", done.stdout, flags=re.MULTILINE)


def test_run_file_error_is_one_line(fresh):
    task = fresh / "workflows/tasks/smoke.toml"
    text = task.read_text()
    for old, new, message in (
        ("max_motifs", "max_motfis", r"unknown key 'max_motfis' in \[interpret\]; did you mean .*"),
        ("jaspar:insects", "none.meme", r"no such file: 'none\.meme'\. Correct the path, which .*"),
    ):
        task.write_text(text.replace(old, new))
        result = snakemake(fresh, "train_smoke")
        assert result.returncode == 1
        last = result.stdout.splitlines()[-1]
        assert re.fullmatch(rf"error: workflows/tasks/smoke\.toml:\d+: {message}", last), last
        assert "Traceback" not in result.stdout
    # nothing is locked, and a broken file does not stop other tasks
    assert planned(fresh, "train_mine")


@pytest.mark.parametrize(
    ("parent", "task", "message"),
    [
        ("motifs", "", ""),
        ("motifs", "motifs", "transfer.parent 'motifs' is both a model that ships and a task"),
        ("motives", "", "transfer.parent 'motives' is not a task, a folder or 'motifs'"),
    ],
)
def test_shipped_parent(fresh, parent, task, message):
    mine = fresh / "workflows/tasks/mine.toml"
    mine.write_text(mine.read_text() + f"[transfer]\nparent = '{parent}'\n")
    if task:
        shutil.copy(fresh / "workflows/tasks/smoke.toml", fresh / f"workflows/tasks/{task}.toml")
    result = snakemake(fresh, "train_mine", "--dry-run")
    assert result.returncode == bool(message), result.stdout
    assert message in result.stdout.splitlines()[-1]


def test_bad_sequence_file_error_names_line(fresh):
    replace(fresh / "data/smoke/positives.fa", "", ">bad\nACGTJ\n")
    result = snakemake(fresh, "results/smoke/corpus")
    assert result.returncode == 1
    (line,) = set(re.findall("^selfattn-bio ingest: error: .*", result.stdout, re.MULTILINE))
    assert re.search(r"data/smoke/positives\.fa:\d+.*'J'", line)
    assert line in (fresh / "results/smoke/logs/ingest.log").read_text()
    before, last = result.stdout.splitlines()[-2:]
    assert last == line
    assert re.fullmatch("Finished steps are kept. .* Logs: results/smoke/logs/ingest.log", before)
    between = result.stdout.partition(line)[2].partition(before)[0].splitlines()
    assert len(between) <= 14, result.stdout  # of Snakemake
    assert "CalledProcessError" not in result.stdout
    assert not (fresh / "results/smoke/corpus").exists()
    replace(fresh / "data/smoke/positives.fa", ">bad\nACGTJ\n", "")
    assert snakemake(fresh, "results/smoke/corpus").returncode == 0


# a stop
def test_earlier_model_stays_until_the_new_one_is_complete(fresh):
    task, model = fresh / "workflows/tasks/tiny.toml", fresh / "results/tiny/model"
    task.write_text(f"interpret.targets = ['positive']\n{TINY}")
    target = "results/tiny/model/history.csv"
    assert snakemake(fresh, target).returncode == 0
    before = (model / "model.safetensors").read_bytes()
    replace(task, "max_steps = 4", "max_steps = 5")
    replace(task, "targets = ['positive']", "targets = ['none']")  # refused by the training
    failed = snakemake(fresh, target)
    assert failed.returncode == 1
    assert "none" in failed.stdout.splitlines()[-1]
    assert (model / "model.safetensors").read_bytes() == before
    assert sb.score_sequences(model, ["ACGT" * 20])["logit"].notna().all()
    replace(task, "targets = ['none']", "targets = ['positive']")
    assert snakemake(fresh, target).returncode == 0
    assert (model / "model.safetensors").read_bytes() != before


@pytest.mark.long
def test_kill_9_names_unlock_and_training_resumes(fresh):
    run_file = fresh / "workflows/tasks/smoke.toml"
    replace(run_file, "members = 2", "members = 1")
    replace(run_file, "checkpoint_every = 50", "checkpoint_every = 5")
    replace(run_file, 'parts = ["kmer6_positional_logistic"]', "parts = []")
    checkpoints = fresh / "results/smoke/model.checkpoints"
    process = start(fresh, "results/smoke/model/history.csv")
    # complete: it is written under another name first
    wait_for(lambda: any(checkpoints.glob("step-*.safetensors")), process)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # processes that ended, or of others
            if (folder / "cwd").samefile(fresh):
                os.kill(int(folder.name), signal.SIGKILL)
    process.communicate()

    locked = snakemake(fresh, "results/smoke/model/history.csv")
    assert locked.returncode == 1
    message = "error: another run in this folder makes the same results. "
    assert locked.stdout.splitlines()[-1].startswith(message)
    assert "run the command once with --unlock at its end" in locked.stdout

    assert snakemake(fresh, "results/smoke/model/history.csv", "--unlock").returncode == 0
    assert snakemake(fresh, "results/smoke/model/history.csv").returncode == 0
    log = (fresh / "results/smoke/logs/train.log").read_text()
    assert re.search("model: resuming from the checkpoint of step [1-9]", log)


def wait_for(condition, process: subprocess.Popen, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.1)


def write_twins(project: Path) -> list[str]:
    """Write two tasks with equal settings; return the names of their metrics."""
    for name in ("first", "second"):
        (project / f"workflows/tasks/{name}.toml").write_text(TINY)
    return ["results/first/metrics.json", "results/second/metrics.json"]


@pytest.mark.long
def test_two_tasks_at_the_same_time_end_as_usual(fresh):
    targets = write_twins(fresh)
    runs = [start(fresh, target) for target in targets]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    results = [json.loads((fresh / target).read_text()) for target in targets]
    for metrics in results:
        del metrics["costs"]  # time and memory
    assert results[0] == results[1]
    assert [planned(fresh, target) for target in targets] == [{}, {}]


@pytest.mark.long
def test_second_run_of_a_task_stops_with_one_sentence(fresh):
    target = write_twins(fresh)[0]
    first = start(fresh, target)
    wait_for(lambda: any((fresh / ".snakemake/locks").glob("*")), first)
    second = start(fresh, target)
    last = second.communicate()[0].splitlines()[-1]
    assert second.returncode == 1
    assert last.startswith("error: another run in this folder makes the same results. Wait until ")
    assert last.endswith("run the command once with --unlock at its end, and then as before")
    assert first.poll() is None
    text = first.communicate()[0]
    assert first.returncode == 0, text
    assert planned(fresh, target) == {}
