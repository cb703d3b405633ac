"""Run `.ci/run` on a simulated machine: installation, tests and reports of missing programs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci/run"
SLURM = "slurmctld slurmd slurm-client munge"

pytestmark = pytest.mark.skipif(
    Path("/etc/slurm/slurm.conf").exists(), reason="a Slurm is set up on this machine"
)


def run(folder, apt_works=True, has_slurm=False, npm_works=True):
    """Return the output of .ci/run with substitutes for make, apt-get, npm and dpkg-query.

    `make` prints its arguments; apt-get and npm write down what they install.
    """
    (folder / ".ci").mkdir()
    shutil.copy(CI, folder / ".ci/run")
    (folder / "bin").mkdir()
    programs = {
        "make": 'echo "make $1, SELFATTN_SLURM_TEST=$SELFATTN_SLURM_TEST"; echo "$SELFATTN_AXE" >> '
        "axe.txt",
        "apt-get": f'echo "apt-get $*" >> apt.txt; {"true" if apt_works else "exit 100"}',
        "npm": f'echo "npm $*" >> npm.txt; exit {0 if npm_works else 1}',
        "dpkg-query": f"exit {0 if has_slurm else 1}",
    }
    for name, text in programs.items() | dict.fromkeys(("g++", "python3"), "true").items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    variables = {"PATH": os.pathsep.join([str(folder / "bin"), "/usr/bin", "/bin"])}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([folder / ".ci/run"], env=variables, check=True, **options)
    return done.stdout.splitlines()


def test_ci_installs_slurm_and_tests_it_last(tmp_path):
    said = run(tmp_path)
    assert said == [
        "Installing chromium",
        f"Installing {SLURM}",
        *(f"make {name}, SELFATTN_SLURM_TEST=1" for name in ("check", "docs", "test", "test-long")),
    ]
    installed = (tmp_path / "apt.txt").read_text()
    assert "install -y -qq --no-install-recommends chromium\n" in installed
    assert f"install -y -qq --no-install-recommends {SLURM}" in installed


def test_ci_skips_installed_programs(tmp_path):
    assert run(tmp_path, has_slurm=True)[0].startswith("make check")
    assert not (tmp_path / "apt.txt").exists()


def test_ci_without_apt_and_axe_runs_the_rest(tmp_path):
    said = run(tmp_path, apt_works=False, npm_works=False)
    assert "Chromium could not be installed: the tests of the page in it are skipped" in said
    assert "Slurm could not be installed: the test that starts one is skipped" in said
    assert "axe-core could not be fetched: the test of the page with it is skipped" in said
    assert set((tmp_path / "axe.txt").read_text().splitlines()) == {""}
    assert said[-1].startswith("make test-long")


def test_ci_passes_axe_and_removes_it(tmp_path):
    run(tmp_path)
    named = set((tmp_path / "axe.txt").read_text().splitlines())
    (axe,) = {Path(line) for line in named}
    assert axe.parts[-3:] == ("node_modules", "axe-core", "axe.min.js")
    assert f"--prefix {axe.parents[2]} axe-core@4" in (tmp_path / "npm.txt").read_text()
    assert not axe.parents[2].exists()
