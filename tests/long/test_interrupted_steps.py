"""Kill each step of a task ten times, run it twice at the same time, and let its disk run full."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 10
# options of each step; OUT is the folder that it writes to
SHARED = "--run-file task.toml --corpus corpus --split split.tsv"
STEPS = {
    "ingest": "--run-file task.toml --output OUT/corpus",
    "split": "--run-file task.toml --corpus corpus --output OUT/split.tsv",
    "audit": f"{SHARED} --output OUT/audit.tsv",
    "train": f"{SHARED} --threads 1 --output OUT/model",
    "evaluate": f"{SHARED} --model model --output OUT/results",
    "explain": f"{SHARED} --model model --output OUT/attribution",
    "motifs": f"{SHARED} --model model --attribution attribution --output OUT/motifs",
    "interactions": f"{SHARED} --model model --motifs motifs/motifs.meme --output OUT/pairs.tsv",
    "score": "--model model --fasta positives.fa --output OUT/scores.tsv",
    "embed": "--model model --fasta positives.fa --output OUT/vectors.parquet",
    "hits": "--motifs motifs/motifs.meme --fasta positives.fa --hit-p 0.001 --output OUT/hits.tsv",
}
# their contents include times or the command
DIFFERENT = {"train.json", "history.csv", "provenance.json", "README.md"}
KILLED = ("ingest", "split", "evaluate", "explain", "motifs")
pytestmark = pytest.mark.long


def command(step: str, output: Path) -> list[str]:
    words = STEPS[step].replace("OUT", str(output)).split()
    return [sys.executable, "-m", "selfattn_bio", step, *words]


def run(step: str, output: Path, task: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(step, output), cwd=task, text=True, capture_output=True, check=False
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    """Return a folder with the results of each step of the smoke task."""
    folder = tmp_path_factory.mktemp("task")
    for name in ("positives", "negatives"):
        shutil.copy(ROOT / f"data/smoke/{name}.fa", folder)
    text = (ROOT / "workflows/tasks/smoke.toml").read_text().replace("data/smoke/", "")
    (folder / "task.toml").write_text(text)
    for step in STEPS:
        done = run(step, folder, folder)
        assert done.returncode == 0, done.stderr
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, also of hidden ones."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("step", KILLED)
def test_killed_step_leaves_nothing_and_ends_with_same_results(step, task, tmp_path):
    (tmp_path / "whole").mkdir()
    start = time.monotonic()
    assert run(step, tmp_path / "whole", task).returncode == 0
    seconds, moments, ended = time.monotonic() - start, random.Random(step), 0
    output = tmp_path / "killed"
    output.mkdir()
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(step, output), cwd=task, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds * moments.uniform(0.3, 1.0))  # before, libraries are imported
        process.kill()
        ended += process.wait() == 0
        for path in output.rglob("*"):
            if path.is_file() and not any(part.startswith(".") for part in path.parts):
                # under its final name, a file is complete
                same = tmp_path / "whole" / path.relative_to(output)
                assert path.read_bytes() == same.read_bytes(), path
    assert ended < KILLS
    assert run(step, output, task).returncode == 0
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.parametrize("step", STEPS)
def test_step_that_runs_twice_at_the_same_time(step, task, tmp_path):
    """Both processes write the same result, except those of a training, where one stops."""
    output = tmp_path / "both"
    output.mkdir()
    processes = [
        subprocess.Popen(command(step, output), cwd=task, text=True, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    if step == "train":
        assert sorted(codes) == [0, 1], errors
        assert re.fullmatch(
            r"selfattn-bio train: error: .*/model\.checkpoints: another process \(\d+\) trains "
            r"this run and uses its checkpoint folder\. Wait for it, or stop it: kill \d+\n",
            errors[codes.index(1)],
        ), errors
    else:
        assert codes == [0, 0], errors
    same = {
        name: digest
        for name, digest in contents(output).items()
        if not name.startswith("model.checkpoints/") and Path(name).name not in DIFFERENT
    }
    assert same
    assert same.items() <= contents(task).items()


@pytest.fixture
def full_disk(tmp_path):
    """Mount a file system of 4 KiB."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("step", [step for step in STEPS if step != "interactions"])
def test_full_disk_is_one_line_and_leaves_no_part_of_a_file(step, task, full_disk):
    done = run(step, full_disk, task)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"selfattn-bio {step}: error: {full_disk}/")
    assert "No space left on device" in last
    assert "Traceback" not in done.stderr
    sizes = {path.name: path.stat().st_size for path in full_disk.rglob("*") if path.is_file()}
    assert not any(name.startswith(".") for name in sizes), sizes
