"""Copy the project and run Snakemake there; pytest puts this folder on the path."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fast_python import fast_python

ROOT = Path(__file__).parents[1]
TINY = """
variants = {}
data = { positives = "data/smoke/positives.fa", negatives = "data/smoke/negatives.fa" }
split = { kind = "chromosome", valid = ["chrB"], test = ["chrC"] }
model = { kind = "attention", embed_dim = 8, num_layers = 1, num_heads = 2, feedforward_dim = 8 }
evaluation.bootstraps = 20
[training]
max_steps = 4
evaluate_every = 2
batch_size = 16
"""


def copy_project(folder: Path) -> Path:
    folder.mkdir()
    for name in ("workflows", "profiles", "notebooks", "data/smoke"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    mine = '[data]\npositives = "data/smoke/positives.fa"\nnegatives = "data/smoke/negatives.fa"\n'
    (folder / "workflows" / "tasks" / "mine.toml").write_text(mine)
    return folder


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """Return a Snakemake command with one core, which is fastest for tasks this small."""
    return [python, "-m", "snakemake", "--cores", "1", *arguments]


def start(project: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake and its commands in forks, with output and errors as one stream."""
    modules = {"selfattn-bio": "selfattn_bio.cli.main"}
    modules |= {name: name for name in ("jupytext", "papermill")}
    functions = {
        f"BASH_FUNC_{name}%%": f'() {{ "{fast_python()}" -m {module} "$@"; }}'
        for name, module in modules.items()
    }
    return subprocess.Popen(
        command(*arguments, python=fast_python()),
        cwd=project,
        env=os.environ | functions,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def snakemake(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake, and return its exit code and output."""
    with start(project, *arguments) as process:
        output, _ = process.communicate(timeout=550)
    return subprocess.CompletedProcess(arguments, process.returncode, output)


def planned(project: Path, *targets: str) -> dict[str, int]:
    """Return the number of jobs of each rule in a dry run; empty if there is nothing to do."""
    result = snakemake(project, *(targets or ["train_smoke"]), "--dry-run")
    assert result.returncode == 0, result.stdout
    table = result.stdout.partition("Job stats:")[2].partition("total")[0]
    jobs = {
        name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)
    }
    assert jobs or "Nothing to be done" in result.stdout, result.stdout
    return jobs


def replace(file: Path, old: str, new: str) -> None:
    """Replace `old` by `new`, or append `new` if `old` is empty."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new) if old else text + new)
