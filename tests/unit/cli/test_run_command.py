"""Test run: arguments of Snakemake, messages, copied tasks."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from commands import exit_code, run

from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.study import workflow
from selfattn_bio.study.address import TASKS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def started(monkeypatch):
    """Replace Snakemake with a program that prints its arguments and exits with the last one."""
    seen = []
    real = workflow.subprocess.Popen
    code = (
        "import sys; print('snakemake', *sys.argv[1:]); "
        "said = [word[8:] for word in sys.argv if word.startswith('--print=')]; "
        "print(*said or ['and an error'], file=sys.stderr); sys.exit(int(sys.argv[1]))"
    )

    def popen(command, **options):
        seen.append(command)
        number = next((word[6:] for word in command if word.startswith("--end=")), "0")
        return real([sys.executable, "-c", code, number, *command[3:]], **options)

    monkeypatch.setattr(workflow.subprocess, "Popen", popen)
    return seen


def test_run_passes_arguments_to_snakemake(here, started):
    run("run train_mine --cores 3 --config a=b")
    profile = ["--workflow-profile", str(ROOT / "profiles/default")]
    assert started.pop() == [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflows/Snakefile")),
        *(*profile, "--cores", "all", "train_mine", "--cores", "3", "--config", "a=b"),
    ]
    assert exit_code("run --quiet --profile gpu sweep_mine --end=1") == 1
    assert exit_code("run --quiet sweep_mine --profile gpu --end=1") == 1
    assert started[0] == started[1]
    profile += ["--profile", str(ROOT / "profiles/gpu")]
    assert started[0][5:] == [*profile, "sweep_mine", "--end=1", "--quiet", "all"]


def test_run_names_the_place_of_snakemake_options(here, started, capsys):
    assert exit_code("run --cores 1 train_big") == 2
    assert capsys.readouterr().err == (
        "selfattn-bio run: error: --cores is an option of Snakemake and goes after the target: "
        "selfattn-bio run train_big --cores ...\n"
    )
    assert not started


def test_run_explains_targets(here, started, capsys):
    assert exit_code("run mine") == 1
    wanted = "unknown target 'mine'; a target is train_NAME, .*. Did you mean train_mine?"
    assert re.search(wanted, capsys.readouterr().err)
    TASKS.mkdir(parents=True, exist_ok=True)
    (TASKS / "semi.toml").touch()
    for typo, target in (("trian_semi", "train_semi"), ("promotor", "train_promoter")):
        assert exit_code(f"run {typo}") == 1
        assert f"Did you mean {target}?" in capsys.readouterr().err
    assert not started
    run("run results/mine/metrics.json")


def test_run_reports_unwritable_folders(here, started, monkeypatch, capsys):
    Path("file").touch()
    for place in ("/proc/nowhere", "file/below"):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        assert exit_code("run train_mine") == 1
        wanted = f"error: {place}: the cache folder cannot be written: .* Set XDG_CACHE_HOME to an"
        assert re.search(wanted, capsys.readouterr().err)
    monkeypatch.setattr(workflow.os, "access", lambda path, mode: path != ".")
    assert exit_code("run train_mine") == 1
    assert f"{Path.cwd()}: the folder cannot be written: " in capsys.readouterr().err
    assert not started


def test_ctrl_c_stops_run_with_130(here):
    begins = "import sys, time\nprint('a step begins', file=sys.stderr, flush=True)\n"
    ends = "try: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit('a traceback')\n"
    Path("snakemake.py").write_text(begins + ends)  # found before the real one
    command = [sys.executable, "-m", "selfattn_bio.cli.main", "run", "train_mine"]
    # a shell's jobs in the background ignore Ctrl-C
    interruptible = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible
    ) as process:
        assert process.stderr.readline() == "a step begins\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
        stopped = "selfattn-bio run: stopped; run the same command again to continue\n"
        assert process.stderr.read() == stopped
    assert process.returncode == 130


def test_quiet_run_prints_only_failures(here, started, capfd):
    run("run --quiet train_mine")
    assert capfd.readouterr() == ("", "")
    assert exit_code("run --quiet train_mine --end=1") == 1
    out, err = capfd.readouterr()
    assert (out, err[:12]) == ("", "and an error")


def test_run_prints_results_if_nothing_is_left_to_do(here, started, capfd):
    """Snakemake prints no summary then."""
    for folder in ("workflows/tasks", "results/mine"):
        Path(folder).mkdir(parents=True)
    Path("results/mine/sweep.tsv").touch()
    Path("workflows/tasks/mine.toml").write_text('data = { positives = "p", negatives = "n" }\n')
    run("run sweep_mine '--print=Nothing to be done (all ...).'")
    wanted = "Nothing to be done (all ...).\nResults: results/mine/sweep.tsv\n"
    assert capfd.readouterr().err == wanted
    for more in ("--print=done", "'--print=Nothing to be done' --dry-run"):
        run(f"run sweep_mine {more}")
        assert "Results: " not in capfd.readouterr().err


def test_lines_of_snakemake_become_objects(here, started, capsys, monkeypatch):
    monkeypatch.delenv("PATH")  # it is not needed
    run("run --json train_mine")
    line = next(each for each in capsys.readouterr().out.splitlines() if "an error" not in each)
    assert json.loads(line)["message"].startswith("snakemake 0 --snakefile")


def test_run_copies_data_and_keeps_existing_files(here, started):
    Path("data").mkdir()
    Path("data/README.md").write_text("mine")
    run("run train_promoter --cores 2")
    assert started[0][-3:] == ["train_promoter", "--cores", "2"]
    assert Path("data/README.md").read_text() == "mine"
    for name in ("positives", "negatives"):
        file = f"data/fly_promoters/{name}.fa.gz"
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()


def test_dry_run_writes_nothing(here, capfd):
    run("run train_promoter --dry-run --cores 1")
    out, err = capfd.readouterr()
    assert "are not in this folder; a run copies them from the package\n" in out
    assert "This was a dry-run" in out + err
    assert list(here.iterdir()) == []


TSS = "data/fly_2R/chr2R.fa.gz data/fly_2R/chr2R.fa.gz.gzi data/fly_2R/tss.bed"


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("train_smoke", "data/smoke/negatives.fa data/smoke/positives.fa"),
        ("train_tss", f"{TSS} workflows/tasks/tss.toml workflows/tasks/tss_parent.toml"),
        ("sweep_grid", "data/smoke/negatives.fa workflows/tasks/grid.toml"),
    ],
)
def test_run_copies_shipped_task_with_data(here, started, target, there):
    run(f"run {target}")
    for file in (*there.split(), "data/README.md"):
        assert Path(file).read_bytes() == (ROOT / file).read_bytes()
    assert started[0][-1] == target


def test_run_copies_no_task_for_shipped_parent(here, started, tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "workflows/tasks").mkdir(parents=True)
    (source / "data").mkdir()
    for name in ("data/README.md", "p.fa", "n.fa"):
        (source / name).touch()
    task = "[data]\npositives = 'p.fa'\nnegatives = 'n.fa'\n[transfer]\nparent = 'motifs'\n"
    (source / "workflows/tasks/mine.toml").write_text(task)
    monkeypatch.setattr(workflow, "project_folder", lambda: source)
    workflow.copy_task("mine")
    assert [path.name for path in (here / "workflows/tasks").iterdir()] == ["mine.toml"]


def test_run_keeps_existing_task(here, started):
    Path("workflows/tasks").mkdir(parents=True)
    Path("workflows/tasks/amp.toml").write_text("mine")
    run("run train_amp")
    run("run train_another")
    assert [path.name for path in here.rglob("*") if path.is_file()] == ["amp.toml"]


def test_missing_workflow_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "__file__", str(tmp_path / "selfattn_bio/study/workflow.py"))
    with pytest.raises(SelfAttnBioError, match="the package was installed without its workflow"):
        workflow.project_folder()
    (tmp_path / "selfattn_bio/project/workflows").mkdir(parents=True)
    (tmp_path / "selfattn_bio/project/workflows/Snakefile").touch()
    assert workflow.project_folder() == tmp_path / "selfattn_bio/project"
