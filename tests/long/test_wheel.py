"""Install the built wheel in a new environment, create, run and score a task, and plan the demo."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest
from projects import replace

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


def test_task_runs_from_wheel(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(tmp_path / "dist")], cwd=ROOT, check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
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
    assert "train_promoter" in selfattn_bio("demo --dry-run")
    assert not (here / "data").exists()  # a dry run writes nothing
    output(python, "-c", "from selfattn_bio.study.workflow import copy_task; copy_task('promoter')")
    assert os.listdir(here / "data/fly_promoters")
