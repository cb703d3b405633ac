"""Run the smoke task on Slurm with two virtual nodes: stops, retries and a cancelled job.

Runs only with SELFATTN_SLURM_TEST=1, as root, and with Slurm installed: it starts daemons and
creates links in /etc/slurm.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import copy_project

SCRIPTS = Path(__file__).parent / "slurm"
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])  # Debian installs the daemons there
PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scancel", "sinfo", "squeue", "munged")
# The profile's settings for real clusters, made small: one core per process and frequent status
# checks.
RULES = ("train", "train_variant", "evaluate", "explain", "motifs", "interactions")
SMALL = ["--set-threads", *(f"{rule}=1" for rule in RULES)]
SMALL += ["--default-resources", "mem_mb=500", "runtime=30", "--slurm-status-command", "squeue"]
SMALL += ["--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "10", "--nolock"]
TWO_NODES = ("mpi: srun", "nodes: 2", "tasks: 2")  # comments in the profile
STEPS = 150  # enough to be killed before the end
RESULTS = """
model/model.safetensors metrics.json predictions/test.tsv motifs.tsv motifs.meme seqlets.bed
marginals.tsv report.html motifs.ipynb variants/cnn/model/model.safetensors
"""


def why_not() -> str:
    """Return why this machine cannot run the test; empty if it can."""
    if os.environ.get("SELFATTN_SLURM_TEST") != "1":
        return "SELFATTN_SLURM_TEST is not 1"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=PATH)]:
        return f"Slurm's programs are missing: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root can start Slurm's daemons"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "snakemake-executor-plugin-slurm is not installed: pip install -e '.[slurm]'"
    return ""


pytestmark = [
    pytest.mark.long,
    pytest.mark.alone,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "never"),
]


@pytest.fixture
def cluster(tmp_path_factory):
    """Start Slurm and yield its folder; it ends with the test, so that no other test meets it."""
    folder = tmp_path_factory.mktemp("slurm") / "cluster"
    try:
        subprocess.run([SCRIPTS / "start.sh", folder, "2"], check=True)
        yield folder
    finally:
        daemons = {file.name: int(file.read_text()) for file in folder.glob("*.pid")}
        subprocess.run([SCRIPTS / "stop.sh", folder], check=True)
    assert not Path("/etc/slurm/slurm.conf").exists()
    assert {"slurmctld.pid", "slurmd.n1.pid", "slurmd.n2.pid"} <= daemons.keys()
    alive = [name for name, process in daemons.items() if Path(f"/proc/{process}/exe").exists()]
    assert alive == []


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Copy the project, with a longer training on two nodes."""
    folder = copy_project(tmp_path_factory.mktemp("slurm") / "project")
    profile = folder / "profiles/slurm/config.yaml"
    for line in TWO_NODES:
        assert f"    # {line}" in profile.read_text()
        profile.write_text(profile.read_text().replace(f"    # {line}", f"    {line}"))
    set_steps(folder, STEPS)
    return folder


def set_steps(project: Path, steps: int) -> None:
    file = project / "workflows/tasks/smoke.toml"
    text = re.sub(r"max_steps = \d+", f"max_steps = {steps}", file.read_text())
    file.write_text(re.sub(r"checkpoint_every = \d+", "checkpoint_every = 10", text))


class Run:
    """Snakemake with the Slurm profile, in the background; its output goes to a file."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.file = project / "said.txt"
        snakemake = [sys.executable, "-m", "snakemake", *arguments]
        command = [*snakemake, "--profile", "profiles/slurm", *SMALL]
        with self.file.open("w") as file:
            streams = {"stdout": file, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, cwd=project, **streams)

    @property
    def said(self) -> str:
        return self.file.read_text()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:  # the test failed
            self.process.kill()
            self.process.wait()  # its jobs end with the cluster

    def wait_for_checkpoint(self, *folders: Path) -> Path:
        """Return the first of the folders that gets a checkpoint."""
        end = time.monotonic() + 900
        while True:
            for folder in folders:
                if any(folder.glob("step-*.safetensors")):
                    return folder
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.05)


def trainers(project: Path, study: str) -> dict[str, int]:
    """Return the rank and process id of each process that trains a study."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
            if "train" not in words or study not in words:
                continue
            if (folder / "cwd").resolve() != project.resolve():  # may not be read for all processes
                continue
            words = (folder / "environ").read_text(errors="replace").split("\0")
            variables = dict(word.partition("=")[::2] for word in words)
        except (FileNotFoundError, ProcessLookupError):  # the process ended
            continue
        if "RANK" in variables:
            found[variables["RANK"]] = int(folder.name)
    return found


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def nodes_are_free() -> bool:
    return slurm("sinfo", "--noheader", "--format=%T:%D") == "idle:2"


def jobs_of(cluster: Path) -> list[dict[str, str]]:
    """Return Slurm's records of finished jobs."""
    return [
        dict(word.split("=", 1) for word in line.split() if "=" in word)
        for line in (cluster / "jobcomp.txt").read_text().splitlines()
    ]


def running_job(comment: str) -> str:
    """Return the id of the running Slurm job whose comment is this rule with its wildcards."""
    table = slurm("squeue", "--noheader", "--states=RUNNING", "--format=%A %k")
    jobs = [line.split() for line in table.splitlines()]
    # a wildcard may be empty
    (number,) = [number for number, words in jobs if words.rstrip("_") == comment.rstrip("_")]
    return number


def test_slurm_trainings_resume_after_kill_and_sigterm(cluster, project):
    results = project / "results/smoke"
    killed, asked = results / "model.checkpoints", results / "variants/cnn/model.checkpoints"
    started = time.monotonic()
    with Run(project, "train_smoke") as run:
        waiting = {killed, asked}
        while waiting:
            found = run.wait_for_checkpoint(*waiting)
            waiting.remove(found)
            if found == killed:
                os.kill(trainers(project, "results/smoke")["1"], signal.SIGKILL)
            else:
                job = running_job("rule_train_variant_wildcards_smoke__variants_cnn")
                slurm("scancel", "--signal=TERM", job)
        assert run.process.wait(timeout=2000) == 0, run.said
    seconds = time.monotonic() - started

    assert run.said.count("Trying to restart job") == 2
    log = (results / "logs/train.log").read_text()
    assert "2 processes, each with 1 thread;" in log
    step = int(re.search(r"model: resuming from the checkpoint of step (\d+)", log)[1])
    assert 0 < step < STEPS
    logs = project / ".snakemake/slurm_logs/rule_train_variant"
    # the log of the retry is removed; a wildcard may be empty
    (failed,) = logs.glob("smoke__variants_cnn*/*.log")
    message = r"training was stopped by SIGTERM at step (\d+); its state is saved"
    saved = re.search(message, failed.read_text())
    log = (results / "variants/cnn/logs/train.log").read_text()
    assert f"cnn: resuming from the checkpoint of step {saved[1]}\n" in log

    assert [name for name in RESULTS.split() if not (results / name).exists()] == []
    assert json.loads((results / "model/provenance.json").read_text())["processes"] == 2
    jobs = jobs_of(cluster)
    states = [job["JobState"] for job in jobs if job["NodeCnt"] == "2"]
    assert sorted(states) == ["COMPLETED"] * 3 + ["FAILED"] * 2
    assert nodes_are_free()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "train_smoke", "--dry-run"]
    output = subprocess.check_output(command, cwd=project, text=True, stderr=subprocess.STDOUT)
    assert "Nothing to be done" in output  # on other machines
    print(
        f"{len(jobs)} Slurm jobs, {len(states)} of them on two nodes, {seconds:.0f} s; "
        f"resumed at step {step} after kill -9, and at step {saved[1]} after SIGTERM"
    )


def test_scancel_frees_the_nodes(cluster, project):
    checkpoints = project / "results/smoke/model.checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    set_steps(project, 100_000)
    with Run(project, "results/smoke/model/history.csv", "--retries", "0") as run:
        run.wait_for_checkpoint(checkpoints)
        assert not nodes_are_free()
        slurm("scancel", running_job("rule_train_wildcards_smoke_"))
        cancelled = time.monotonic()
        while not nodes_are_free():
            assert time.monotonic() - cancelled < 120, slurm("sinfo")
            time.sleep(0.1)
        seconds = time.monotonic() - cancelled
        assert trainers(project, "results/smoke") == {}
        assert run.process.wait(timeout=900) == 1, run.said
    print(f"nodes free {seconds:.1f} s after scancel")
