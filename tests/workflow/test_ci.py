"""`.ci/run` on a made-up machine: what it installs, what it runs, and that it says what it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci/run"
SLURM = "slurmctld slurmd slurm-client munge"

pytestmark = pytest.mark.skipif(Path("/etc/slurm/slurm.conf").exists(), reason="a Slurm is set up on this machine")


def run(folder: Path, *, apt_works: bool, has_slurm: bool = False) -> list[str]:
    """What it prints where each `make` prints its arguments, and apt-get what it installs."""
    (folder / ".ci").mkdir()
    shutil.copy(CI, folder / ".ci/run")
    (folder / "bin").mkdir()
    programs = {
        "make": 'echo "make $1, SELFATTN_SLURM_TEST=$SELFATTN_SLURM_TEST"',
        "apt-get": f'echo "apt-get $*" >> apt.txt; {"true" if apt_works else "exit 100"}',
        "dpkg-query": f"exit {0 if has_slurm else 1}",
    }
    for name, text in programs.items() | dict.fromkeys(("g++", "python3"), "true").items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    variables = {"PATH": os.pathsep.join([str(folder / "bin"), "/usr/bin", "/bin"])}
    done = subprocess.run([folder / ".ci/run"], env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.splitlines()


def test_slurm_is_installed_and_its_test_is_run_last(tmp_path: Path) -> None:
    said = run(tmp_path, apt_works=True)
    assert said == [f"Installing {SLURM}", *(f"make {name}, SELFATTN_SLURM_TEST=1" for name in ("check", "test", "test-long"))]
    assert f"install -y -qq --no-install-recommends {SLURM}" in (tmp_path / "apt.txt").read_text()


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    assert run(tmp_path, apt_works=True, has_slurm=True)[0].startswith("make check")
    assert not (tmp_path / "apt.txt").exists()


def test_without_apt_it_says_so_and_runs_the_rest(tmp_path: Path) -> None:
    said = run(tmp_path, apt_works=False)
    assert "Slurm could not be installed: the test that starts one is skipped" in said
    assert said[-1].startswith("make test-long")
