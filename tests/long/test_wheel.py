"""Install the built wheel in a new environment, create, run and score a task, and plan another.

On other versions of Python, without torch, whose builds for them have gigabytes on PyPI.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement
from projects import replace

from selfattn_bio.attention.kernels.band.variants import VARIANTS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(folder)], cwd=ROOT, check=True)
    (file,) = folder.glob("*.whl")
    return file


# Fails if the CPU or the wheel lacks the kernel. The compiler is not on the path.
RUN_BAND = """
import torch
from selfattn_bio.attention.attend import attend
from selfattn_bio.attention.kernels.band.build import describe
from selfattn_bio.attention.patterns import Window
x = torch.ones(1, 1, 20, 16)
attend(x, x, x, pattern=Window(3), kernel="band")
print(describe())
"""


def test_task_runs_from_wheel(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True, symlinks=True)
    python = tmp_path / "env/bin/python"
    install = [python, *["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"], str(wheel)]
    subprocess.run(install, check=True)
    # Dependencies come from this environment; the package itself comes from the wheel, which is
    # first on the path.
    (packages,) = (tmp_path / "env/lib").glob("python*/site-packages")
    (packages / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")

    here = tmp_path / "empty folder"
    here.mkdir()
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(here)}

    def output(*command):
        options = {"cwd": here, "env": env, "capture_output": True, "text": True}
        done = subprocess.run(command, check=False, **options)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def selfattn_bio(command):
        return output(tmp_path / "env/bin/selfattn-bio", *command.split())

    where = output(python, "-c", "import selfattn_bio; print(selfattn_bio.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path / "env")
    kernel = output("/usr/bin/env", "PATH=", python, "-c", RUN_BAND)
    assert kernel.startswith("comes compiled with the package (band-avx")
    for name in ("positives", "negatives"):
        shutil.copyfile(ROOT / f"data/smoke/{name}.fa", here / f"{name}.fa")
    selfattn_bio("init my_task --positives positives.fa --negatives negatives.fa")
    run_file = here / "workflows/tasks/my_task.toml"
    small = {"max_steps = 600": "40", "warmup_steps = 75": "4", "evaluate_every = 60": "20"}
    for line, number in small.items():
        replace(run_file, line, f"{line.split()[0]} = {number}")
    selfattn_bio("run results/my_task/metrics.json --cores 1")
    assert (here / "results/my_task/model_card.md").is_file()
    models = "results/my_task/model promoter"
    selfattn_bio(f"score --model {models} --fasta positives.fa --output scores.tsv")
    assert len(pd.read_csv(here / "scores.tsv", sep="\t")) == 280
    assert "train_promoter" in selfattn_bio("run train_promoter --dry-run")
    assert not (here / "data").exists()  # a dry run writes nothing
    output(python, "-c", "from selfattn_bio.study.workflow import copy_task; copy_task('promoter')")
    assert os.listdir(here / "data/fly_promoters")
    assert not list(here.glob(".cache/selfattn_bio/*.so"))  # nothing was compiled


def test_kernels_of_wheel_need_no_newer_system_than_its_tag(wheel):
    assert wheel.name.endswith("-py3-none-manylinux_2_28_x86_64.whl")
    most = {b"GLIBC_2": 28, b"GLIBCXX_3.4": 24, b"CXXABI_1.3": 11}  # of manylinux_2_28
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        for name in names:
            for library, number in re.findall(
                rb"(GLIBC_2|GLIBCXX_3\.4|CXXABI_1\.3)\.(\d+)", archive.read(name)
            ):
                assert int(number) <= most[library], (name, library)
    assert sorted(Path(name).name for name in names) == sorted(VARIANTS)


def python_of(version):
    """Return the path of a Python of this version, or None; a shim of pyenv may not work."""
    of_pyenv = Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")
    for path in (*filter(None, [shutil.which(f"python{version}")]), *map(str, of_pyenv)):
        done = subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True)
        if not done.returncode:
            return path
    return None


# Imports every module; those that need torch stop at its import.
IMPORT_ALL = """
import pkgutil, selfattn_bio
from importlib import import_module
names = [m.name for m in pkgutil.walk_packages(selfattn_bio.__path__, "selfattn_bio.", str)]
missing = {"torch": 0, "lightning_fabric": 0, None: 0}
for name in names:
    if not name.endswith("__main__"):
        try:
            import_module(name)
            missing[None] += 1
        except ModuleNotFoundError as error:
            missing[error.name] += 1
from selfattn_bio.motifs import open_database
task = selfattn_bio.__path__[0] + "/project/workflows/tasks/smoke.toml"
print(missing[None], selfattn_bio.read_run_file(task).title, len(open_database("jaspar:insects")))
"""


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_wheel_on_other_python(version, wheel, tmp_path):
    if (base := python_of(version)) is None:
        pytest.skip(f"no Python {version} on this machine, and uv and pyenv cannot download it")
    subprocess.run([base, "-m", "venv", "env"], cwd=tmp_path, check=True)
    python = str(tmp_path / "env/bin/python")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    without = {"torch", "lightning-fabric"}
    libraries = [each for each in project["dependencies"] if Requirement(each).name not in without]
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *libraries], check=True)
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    found = subprocess.check_output([python, "-c", IMPORT_ALL], cwd=tmp_path, env=env, text=True)
    assert int(found.split()[0]) > 80
