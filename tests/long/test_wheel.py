"""Install the built wheel in a new environment, create, run and score a task, and plan the demo."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


def test_task_runs_from_wheel(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            str(tmp_path / "dist"),
        ],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True, symlinks=True)
    python = tmp_path / "env/bin/python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    # Dependencies come from this environment; the package itself comes from the wheel, which is
    # first on the path.
    (
        tmp_path
        / "env/lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / "site-packages/needs.pth"
    ).write_text(sysconfig.get_path("purelib") + "\n")

    here = tmp_path / "empty folder"
    here.mkdir()
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(here)}

    def command(*words):
        done = subprocess.run(
            [tmp_path / "env/bin/selfattn-bio", *words],
            cwd=here,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    code = "import selfattn_bio; print(selfattn_bio.__file__)"
    where = subprocess.run(
        [python, "-c", code], cwd=here, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert Path(where.strip()).is_relative_to(tmp_path / "env")
    for name in ("positives", "negatives"):
        (here / f"{name}.fa").write_bytes((ROOT / f"data/smoke/{name}.fa").read_bytes())
    command("init", "my_task", "--positives", "positives.fa", "--negatives", "negatives.fa")
    run_file = here / "workflows/tasks/my_task.toml"
    text = run_file.read_text()
    for proposed, small in (
        ("max_steps = 600", "max_steps = 40"),
        ("warmup_steps = 75", "warmup_steps = 4"),
        ("evaluate_every = 60", "evaluate_every = 20"),
    ):
        assert proposed in text
        text = text.replace(proposed, small)
    run_file.write_text(text)
    command("run", "results/my_task/metrics.json", "--cores", "1")
    assert (here / "results/my_task/model_card.md").is_file()
    command(
        "score",
        "--model",
        "results/my_task/model",
        "promoter",
        "--fasta",
        "positives.fa",
        "--output",
        "scores.tsv",
    )
    assert len(pd.read_csv(here / "scores.tsv", sep="\t")) == 280
    assert "train_promoter" in command("demo", "--dry-run")
    assert not (here / "data").exists()  # a dry run writes nothing
    code = "from selfattn_bio.study.workflow import copy_task; copy_task('promoter')"
    subprocess.run([python, "-c", code], cwd=here, env=env, check=True)
    assert os.listdir(here / "data/fly_promoters")
