"""Check how `train` is started for each profile and its resources, in dry runs."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from projects import ROOT, copy_project, snakemake

SRUN = "srun --nodes=2 --ntasks=2 --ntasks-per-node=1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("launch") / "a project")


def dry_run(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    requested = ("results/smoke/model/history.csv", "--dry-run", "--printshellcmds", "--cores", "4")
    return snakemake(project, *requested, *arguments)


def training(project: Path, *arguments: str) -> str:
    """Return the shell command of the training."""
    done = dry_run(project, *arguments)
    assert done.returncode == 0, done.stdout
    (command,) = re.findall(r"Shell command: (.* train results/.*)$", done.stdout, re.MULTILINE)
    return command


def asked(resources: str) -> list[str]:
    return ["--set-resources", *(f"train:{each}" for each in resources.split())]


def test_trainings_share_the_cores(project):
    command = training(project, "--cores", "12")
    assert command.startswith("selfattn-bio train results/smoke --threads 4 ")


def test_several_processes_share_the_threads(project):
    command = training(project, "--set-threads", "train=4", *asked("tasks=2"))
    assert command.startswith("torchrun --nproc-per-node=2 --no-python --standalone selfattn-bio ")
    assert " --threads 2 " in command


def launched(**resources):
    """Return the words before `train` and the threads of a process, for a rule with 4 threads."""
    path, of_snakemake = ROOT / "workflows/rules/launch.smk", {"sys": sys}
    functions = runpy.run_path(str(path), of_snakemake)
    return [functions[name]({}, resources, 4) for name in ("trainer", "threads_each")]


@pytest.mark.parametrize(
    ("resources", "here", "cores"),
    [
        ({"nodes": 2, "tasks": 2}, 1, 4),
        ({"nodes": 2, "tasks": 6}, 3, 12),
        ({"nodes": 2, "tasks_per_node": 3}, 3, 12),
    ],
)
def test_nodes_connect_to_the_first_node(resources, here, cores):
    command, threads = launched(mpi="srun", **resources)
    assert threads == 4
    assert command.startswith(f"{SRUN} --cpus-per-task={cores} ")
    assert f"torchrun --nproc-per-node={here} --no-python --nnodes=2 --rdzv-backend=c10d" in command
    endpoint = '--rdzv-endpoint="$(hostname):$((10000 + SLURM_JOB_ID % 20000))"'
    assert command.endswith(f" {endpoint} selfattn-bio")


def test_single_process_needs_no_launcher():
    assert launched(nodes=1, tasks=1) == launched() == ["selfattn-bio", 4]


def test_nodes_without_launcher_error():
    with pytest.raises(SystemExit, match="resources of train: nodes=2 needs a launcher; add mpi=s"):
        launched(nodes=2, tasks=2)


def test_invalid_resources_error(project):
    done = dry_run(project, *asked("mpi=srun nodes=2 tasks=3"))
    assert done.returncode == 1
    message = "tasks=3 cannot be divided evenly among nodes=2"
    assert done.stdout.splitlines()[-1] == f"error: resources of train: {message}"


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def heavy_rules() -> set[str]:
    """Return the rules that use several cores: each runs a model."""
    text = "".join(file.read_text() for file in ROOT.glob("workflows/rules/*.smk"))
    rules = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    threads = r"threads: (cores_per_training|half_of_cores)\n"
    heavy = {rule.partition(":")[0] for rule in rules if re.search(threads, rule)}
    return heavy | {"train_variant", "partner_motifs"}  # inherit threads of train and motifs


def test_profile_of_one_gpu():
    gpu = profile("gpu")
    assert gpu["resources"] == {"gpu": 1}
    assert gpu["set-resources"] == {rule: {"gpu": 1} for rule in heavy_rules()}


def test_slurm_jobs_do_not_request_all_cores():
    assert {"train", "interactions"} <= heavy_rules() == set(profile("slurm")["set-threads"])


@pytest.mark.parametrize("name", ["gpu", "slurm"])
def test_profiles_add_to_the_default_one(project, name):
    """A setting of the default profile would win, because Snakemake reads it last."""
    assert not profile("default").keys() & profile(name).keys()
    said = dry_run(project, "--profile", f"profiles/{name}").stdout
    assert f"Using profiles profiles/{name} and workflow specific profile profiles/default" in said
    assert "Shell command: selfattn-bio train results/smoke " in said
