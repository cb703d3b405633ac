"""Kill each step of a task ten times, run it twice at the same time, and let its disk run full."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from commands import start
from projects import replace

from selfattn_bio.layout import Layout

ROOT = Path(__file__).parents[2]
KILLS = 10
TASK_STEPS = ["ingest", "split", "audit", "train", "evaluate", "explain", "motifs", "interactions"]
# the command of each step; OUT is the folder that it writes to
STEPS = {step: f"{step} OUT" for step in TASK_STEPS} | {
    "train": "train OUT --threads 1",
    "score": "score --model model --fasta positives.fa --output OUT/scores.tsv",
    "embed": "embed --model model --fasta positives.fa --output OUT/vectors.parquet",
    "hits": "hits --motifs motifs.meme --fasta positives.fa --hit-p 0.001 --output OUT/hits.tsv",
}
# their contents include times or the command
DIFFERENT = {"train.json", "history.csv", "provenance.json", "README.md"}
KILLED = ("ingest", "split", "evaluate", "explain", "motifs")
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("interrupted steps")]


def begin(step: str, output: Path, task: Path, errors: Path | str = os.devnull) -> BaseProcess:
    return start(STEPS[step].replace("OUT", str(output)), folder=task, errors=errors)


def code_of(process: BaseProcess) -> int:
    process.join()
    return process.exitcode


def finish(step: str, output: Path, task: Path) -> None:
    assert code_of(begin(step, output, task)) == 0


def prepared(step: str, task: Path, folder: Path) -> Path:
    """Return a folder with links to the run file and the results of all earlier steps."""
    folder.mkdir(exist_ok=True)
    earlier = TASK_STEPS[: TASK_STEPS.index(step)] if step in TASK_STEPS else []
    files = [file.name for file in vars(Layout).values() if getattr(file, "step", "") in earlier]
    for name in ("run.toml", *files):
        if "/" not in name and (task / name).exists():
            (folder / name).symlink_to(task / name)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    """Return a folder with the results of each step of a small smoke task."""
    folder = tmp_path_factory.mktemp("task")
    for name in ("positives", "negatives"):
        shutil.copy(ROOT / f"data/smoke/{name}.fa", folder)
    text = (ROOT / "workflows/tasks/smoke.toml").read_text().replace("data/smoke/", "")
    (folder / "run.toml").write_text(text)
    replace(folder / "run.toml", "200\n", "40\n")
    replace(folder / "run.toml", 'parts = ["kmer6_positional_logistic"]', "parts = []")
    for step in STEPS:
        finish(step, folder, folder)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, also of hidden ones, but not of links."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("step", KILLED)
def test_killed_step_leaves_nothing_and_ends_with_same_results(step, task, tmp_path):
    whole, output = (prepared(step, task, tmp_path / name) for name in ("whole", "killed"))
    begun = time.monotonic()
    finish(step, whole, task)
    seconds, moments, ended = time.monotonic() - begun, random.Random(step), 0
    for _ in range(KILLS):
        process = begin(step, output, task)
        time.sleep(seconds * moments.random())
        process.kill()
        ended += code_of(process) == 0
        # under its final name, a file is complete
        names = {name for name in contents(output) if not re.search(r"(^|/)\.", name)}
        for name in names:
            assert (output / name).read_bytes() == (whole / name).read_bytes(), name
    assert ended < KILLS
    finish(step, output, task)
    assert contents(output) == contents(whole)


@pytest.mark.parametrize("step", STEPS)
def test_step_that_runs_twice_at_the_same_time(step, task, tmp_path):
    """Both processes write the same result, except those of a training, where one stops."""
    output = prepared(step, task, tmp_path / "both")
    files = [tmp_path / f"errors.{number}" for number in (1, 2)]
    processes = [begin(step, output, task, file) for file in files]
    codes = [code_of(process) for process in processes]
    errors = [file.read_text() for file in files]
    if step == "train":
        assert sorted(codes) == [0, 1], errors
        message = r"selfattn-bio train: error: .*/model\.checkpoints: another process \(\d+\) "
        assert re.match(message, errors[codes.index(1)]), errors
    else:
        assert codes == [0, 0], errors
    found = contents(output)
    names = [name for name in found if not name.startswith("model.checkpoints/")]
    same = {name: found[name] for name in names if Path(name).name not in DIFFERENT}
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
def test_full_disk_is_one_line_and_leaves_no_part_of_a_file(step, task, full_disk, tmp_path):
    errors = tmp_path / "errors"
    assert code_of(begin(step, prepared(step, task, full_disk), task, errors)) == 1
    text = errors.read_text()
    last = text.splitlines()[-1]
    assert last.startswith(f"selfattn-bio {step}: error: {full_disk}/")
    assert "No space left on device" in last
    assert "Traceback" not in text
    assert not [name for name in contents(full_disk) if name.startswith(".")]
