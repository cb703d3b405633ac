"""Run `selfattn-bio plan` without its measurements."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfattn_bio.cli.main import main
from selfattn_bio.training import plan
from selfattn_bio.training.probe import Point, Probe
from selfattn_bio.training.total import StackTime

RUN_FILE = """
[data]
positives = "p.fa"
negatives = "n.fa"
[training]
batch_size = 8
max_steps = 100
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    (tmp_path / "run.toml").write_text(RUN_FILE)

    def call(available, *arguments):
        points = (Point(2048, 1, 500.0, 0.1), Point(2048, 2, 700.0, 0.2))
        monkeypatch.setattr(
            plan,
            "measure",
            lambda *_, **__: Probe("cpu", available, kept=400.0, parameters=1234, points=points),
        )
        monkeypatch.chdir(tmp_path)
        return main(["plan", "--run-file", "run.toml", *arguments]), *capsys.readouterr()

    return call


def test_plan_prints_memory_and_time(call):
    code, out, err = call(9000.0, "--length", "2048")
    assert (code, err) == (0, "")
    assert out == (
        "plan: 1,234 parameters, batches of 8 records of at most 2,048 bp, on cpu\n"
        "plan: peak memory 1.9 GB of 9 GB available, extrapolated from steps of 2 records of up to "
        "2,048 bp\n"
        "plan: time 0.8 s per step; 100 steps, without evaluations: 80 s at most\n"
        "plan: cnn: 1,234 parameters, batches of 8 records of at most 2,048 bp, on cpu\n"
        "plan: cnn: peak memory 1.9 GB of 9 GB available, extrapolated from steps of 2 records "
        "of up to 2,048 bp\n"
        "plan: cnn: time 0.8 s per step; 100 steps, without evaluations: 80 s at most\n"
        "plan: total of 3 trainings (model, cnn, shuffled): 4.0 min at most, peak memory 1.9 GB\n"
    )


def test_total_includes_seeds_and_variants(call, tmp_path):
    (tmp_path / "run.toml").write_text(
        RUN_FILE + "seeds = 3\n[variants.slow.training]\nmax_steps = 1000\n"
    )
    out = call(9000.0, "--length", "2048")[1].splitlines()
    assert (
        out[-1]
        == "plan: total of 6 trainings (model x 3, slow x 3): 44.0 min at most, peak memory 1.9 GB"
    )
    assert (
        "plan: slow: time 0.8 s per step; 1,000 steps, without evaluations: 13.3 min at most" in out
    )
    alone = call(9000.0, "--length", "2048", "--variant", "slow")[1].splitlines()
    assert (
        alone[-1] == "plan: total of 3 trainings (slow x 3): 40.0 min at most, peak memory 1.9 GB"
    )
    (tmp_path / "run.toml").write_text(RUN_FILE + "[variants]\n")
    assert "total" not in call(9000.0, "--length", "2048")[1]


def test_total_includes_the_stack(call, tmp_path, monkeypatch):
    letters = ["ACGT" * 8 + a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
    for name, rows in (("p", letters[::2]), ("n", letters[1::2])):
        (tmp_path / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{row}\n" for i, row in enumerate(rows))
        )
    parts = RUN_FILE.replace("[training]", '[stack]\nparts = ["kmer6_logistic"]\n[training]')
    (tmp_path / "run.toml").write_text(parts + "seeds = 3\n[variants]\n")
    out = call(9000.0, "--length", "2048")[1].splitlines()
    assert (
        out[-2]
        == "plan: the time of the stack depends on the records and is not included; plan with a "
        "corpus to measure it"
    )
    assert main(["ingest", "--run-file", "run.toml", "--output", "corpus"]) == 0
    lines = []
    for seconds in (0.0, 90.0):
        measured = StackTime(("kmer6_logistic",), seconds, fitted=10, records=64)
        monkeypatch.setattr(
            StackTime, "measure", lambda run, corpus, threads, measured=measured: measured
        )
        lines.append(call(9000.0, "--corpus", "corpus")[1].splitlines())
    assert (
        lines[1][-2]
        == "plan: stack of kmer6_logistic: about 90 s, extrapolated from 10 of 64 records; all "
        "seeds use the same parts"
    )
    before, after = (int(re.search(r"x 3\): (\d+) s at most", of[-1])[1]) for of in lines)
    assert after - before == pytest.approx(90, abs=1)


def test_variant_that_does_not_fit_is_named(call, tmp_path):
    (tmp_path / "run.toml").write_text(
        RUN_FILE + "accumulate = 2\n[variants.big.training]\nbatch_size = 16\naccumulate = 1\n"
    )
    code, _, err = call(3000.0, "--length", "2048")
    assert code == 1
    assert err.startswith("selfattn-bio plan: error: run.toml (big): the training needs ")


def test_plan_that_does_not_fit_is_one_line(call):
    code, _, err = call(1500.0, "--length", "2048")
    assert code == 1
    assert err == (
        "selfattn-bio plan: error: run.toml: the training needs 1.9 GB of memory, more than "
        "1.35 GB (90% of the memory available on cpu). "
        "Set training.batch_size = 4 and training.accumulate = 2, which keeps the number of "
        "records per step\n"
    )


def test_plan_argument_errors_are_one_line(call):
    assert (
        call(9000.0, "--length", "2")[2]
        == "selfattn-bio plan: error: run.toml: length 2 is shorter than [tokens] k = 3\n"
    )
    assert (
        "unknown variant 'rnn'; known variants: cnn, shuffled"
        in call(9000.0, "--length", "300", "--variant", "rnn")[2]
    )


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 4.0])  # during import, and during measurement
def test_ctrl_c_stops_plan_and_removes_files(tmp_path, seconds):
    (tmp_path / "run.toml").write_text(RUN_FILE)
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "selfattn_bio.cli.main",
            "plan",
            "--run-file",
            "run.toml",
            "--length",
            "20000",
        ],
        **{
            "cwd": tmp_path,
            "env": {**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            "start_new_session": True,
        },
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        # shells ignore SIGINT in background jobs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # one child belongs to multiprocessing
    while len(children.read_text().split()) < 2 and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "selfattn-bio plan: interrupted\n")
    assert list((tmp_path / "tmp").iterdir()) == []
