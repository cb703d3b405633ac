"""Copies of the project, and Snakemake in them, for the tests of the workflow."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fast_python import fast_python

ROOT = Path(__file__).parents[2]


def copy_project(folder: Path) -> Path:
    folder.mkdir()
    for name in ("workflows", "profiles", "notebooks", "data/smoke"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    mine = '[data]\npositives = "data/smoke/positives.fa"\nnegatives = "data/smoke/negatives.fa"\n'
    (folder / "workflows" / "tasks" / "mine.toml").write_text(mine)
    return folder


def command(*arguments: str) -> list[str]:
    """Return a Snakemake command with one core, which is fastest for tasks this small."""
    return [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]


def snakemake(project: Path, *arguments: str, fresh: bool = False) -> subprocess.CompletedProcess:
    """Run Snakemake; return output and errors as one stream.

    Snakemake and the commands start in forks, or as `fresh` processes that import the libraries.
    """
    program, *rest = command(*arguments)
    shell_function = f'() {{ "{fast_python()}" -m selfattn_bio.cli.main "$@"; }}'
    forked = {"BASH_FUNC_selfattn-bio%%": shell_function}
    return subprocess.run(
        [program if fresh else fast_python(), *rest],
        cwd=project,
        env=os.environ | ({} if fresh else forked),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=550,
        check=False,
    )


def planned(project: Path, target: str = "train_smoke") -> dict[str, int]:
    """Return the number of jobs of each rule in a dry run; empty if there is nothing to do."""
    result = snakemake(project, target, "--dry-run")
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
