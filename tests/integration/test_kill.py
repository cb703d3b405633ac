"""Kill or stop a training at any moment; after a restart, it ends with identical results."""

import itertools
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from commands import PROCESSES, exit_code, run

from selfattn_bio import files
from selfattn_bio.config import read_run_file
from selfattn_bio.errors import TrainingInterrupted
from selfattn_bio.scoring import scorer
from selfattn_bio.training import loop, steps
from selfattn_bio.training import trainer as trainer_module

RUN = """
[model]
members = 2
embed_dim = 8
feedforward_dim = 8
dropout = 0.3
stem = { kind = "conv", token_dim = 4, kernel = 5, pool = 4, second_kernel = 3 }
[training]
max_steps = 24
batch_size = 8
accumulate = 2
evaluate_every = 8
checkpoint_every = 3
shift = 3
reverse_complement = true
ema_decay = 0.9
top = 3
matmul = "highest"
"""
MOMENTS = {  # maximum number of calls before the kill; all are within the first 21 of 24 steps
    "in a step": 20,
    "in accumulation": 40,
    "in an evaluation": 2,
    "in a save": 6,
}
WRITES = {
    **{"in an evaluation": 2, "in a save": 4, "in a flush": 3},
    **{"between two renames": 1, "at the end": 1},
}
ASKED = 128 + signal.SIGTERM


def trainer(folder, moment, count, environment):
    """Train, and send this process SIGKILL at the given moment."""

    def dying(function):
        calls = itertools.count(1)

        def call(*arguments, **named):
            if next(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    match moment:
        case "in a step":
            trainer_module.learning_rate = dying(trainer_module.learning_rate)
        case "in accumulation":
            steps._own_rows = dying(steps._own_rows)
        case "in an evaluation":
            loop.Trainer.measure_valid = dying(loop.Trainer.measure_valid)
        case "at the end":
            loop.write_model = dying(loop.write_model)
        case "in a save":
            files.os.replace = dying(os.replace)
        case "in a flush":
            files.os.fsync = dying(os.fsync)
        case "between two renames":  # the one of the old model folder and the one of the new
            replace = os.replace
            files.os.replace = lambda old, new: (
                dying(replace)(old, new) if new == folder / "model" else replace(old, new)
            )
        case "asked in an evaluation":  # SIGTERM at a validation batch that takes one second
            scorer.BATCH_LETTERS = 1
            batches, calls = scorer.Scorer.batches, itertools.count(1)

            def slow(self, *asked):
                for rows in batches(self, *asked):
                    if next(calls) == count:
                        (folder / "asked").write_text(str(time.monotonic()))
                        os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(1)
                    yield rows

            scorer.Scorer.batches = slow
    os.environ |= environment
    torch.set_num_threads(1)
    try:
        st.fit(folder, read_run_file(folder / "run.toml"))
    except TrainingInterrupted as error:
        sys.exit(error.exit_code)


def start(folder, moment="never", count=0, processes=1, *, dies=None, after=math.inf):
    """Train and return the exit code.

    It is 0 after a complete training, 143 if all processes were stopped by a signal, and -SIGKILL
    if one was killed; the others are then killed as torchrun would.

    Parameters
    ----------
    moment, count
        When the process `dies`, or each process if it is None, is stopped.
    after
        Seconds after which that process is killed in any case.
    """
    moments = [moment if dies in (None, rank) else "never" for rank in range(processes)]
    arguments = zip(moments, st.environments(processes), strict=True)
    started = [
        PROCESSES.Process(target=trainer, args=(folder, each, count, environment))
        for each, environment in arguments
    ]
    begun = time.monotonic()
    for process in started:
        process.start()
    while any(process.is_alive() for process in started):
        if time.monotonic() - begun > after:
            started[dies or 0].kill()
        if any(process.exitcode not in (None, 0, ASKED) for process in started):
            for process in started:
                process.kill()
        time.sleep(0.001)
    codes = {process.exitcode for process in started}
    assert codes in ({0}, {ASKED}) or -signal.SIGKILL in codes
    return codes.pop() if len(codes) == 1 else -signal.SIGKILL


def prepare(folder, processes, run=RUN):
    """Write a task to a folder, train it without interruption and keep the model as "expected"."""
    st.write_task(folder, st.small(run))
    assert start(folder, processes=processes) == 0
    shutil.copytree(folder / "model", folder / "expected")  # the model stays, to be replaced
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("kill"), 1)


def kill(folder, moment, count, processes=1, *, dies=None, code=-signal.SIGKILL):
    """Train without checkpoints, and stop it at a moment; return the checkpoints."""
    forget(folder)
    assert start(folder, moment, count, processes, dies=dies) == code
    return checkpoints(folder)


def resume(folder, processes=1):
    """Train to the end."""
    assert start(folder, processes=processes) == 0
    same_as_expected(folder)


def checkpoints(folder):
    return sorted(path.name for path in (folder / "model.checkpoints").glob("step-*"))


def forget(folder):
    for file in (folder / "model.checkpoints").iterdir():
        file.unlink()


def same_as_expected(folder):
    st.assert_same_weights(folder / "expected", folder / "model")
    for top in (folder / "expected" / "top").iterdir():
        assert top.read_bytes() == (folder / "model" / "top" / top.name).read_bytes()
    pd.testing.assert_frame_equal(
        *(st.history(folder / name) for name in ("expected", "model")), check_exact=True
    )
    tales = [st.read_json(folder / name / "provenance.json") for name in ("expected", "model")]
    called = {"command": "", "git_commit": ""}  # depend on how and where the test runs
    assert tales[0] | called == tales[1] | called
    assert not list(folder.rglob("*.tmp")) + list(folder.glob(".*"))


@pytest.mark.slow
def test_killed_at_five_random_steps(prepared):
    forget(prepared)
    rng = np.random.default_rng(1)
    kills = 0
    for count in rng.integers(2, 9, 5):
        kills += start(prepared, "in a step", count) == -signal.SIGKILL
    assert kills == 5
    resume(prepared)


@pytest.mark.slow
@pytest.mark.parametrize("moment", WRITES)
def test_killed_in_evaluation_or_write(prepared, moment):
    kill(prepared, moment, WRITES[moment])
    assert (prepared / "model").exists() == (moment != "between two renames")
    resume(prepared)


@pytest.mark.slow
def test_sigterm_in_evaluation_saves_and_resumes(prepared):
    kept = kill(prepared, "asked in an evaluation", 3, code=ASKED)
    # 17 more records would take 17 s
    assert time.monotonic() - float((prepared / "asked").read_text()) < 8
    assert any(name.startswith("step-000000008.") for name in kept)
    resume(prepared)


@pytest.mark.long
def test_killed_in_float16_keeps_loss_scale(tmp_path):
    prepare(tmp_path, 1, RUN.replace("= 24", "= 12") + 'precision = "16-mixed"\n')
    kill(tmp_path, "in a step", 8)
    resume(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("adapt", ["lora", "gradual"])
def test_killed_in_fine_tuning(prepared, tmp_path, adapt):
    transfer = f'parent = "{prepared / "expected"}"\nadapt = "{adapt}"\n'
    prepare(tmp_path, 1, f"{RUN}[transfer]\n{transfer}unfreeze_every = 10\nlora_rank = 2\n")
    # at step 11; the checkpoint before it has optimizer moments of the head only
    kill(tmp_path, "in a step", 12)
    resume(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_twenty_kills(tmp_path, processes):
    """Restart after each kill. `make test-long ARGS=-rP` prints the table of moments."""
    prepare(tmp_path, processes)
    rng = np.random.default_rng(processes)
    for number, (moment, most) in enumerate(list(MOMENTS.items()) * 5, start=1):
        count = int(rng.integers(1, most + 1))
        dies = (None, 0, 1)[number % 3] if processes == 2 else None  # both processes or one of them
        dies = 0 if moment == "in a save" else dies  # the other process writes nothing
        kept = kill(tmp_path, moment, count, processes, dies=dies)
        resume(tmp_path, processes)
        went_on = int(kept[-1].removeprefix("step-").partition(".")[0]) if kept else 0
        who = f"{processes} process(es)" if dies is None else f"process {dies} of {processes}"
        print(f"{who}, kill {number:2} {moment}, call {count:2}: step {went_on} on, same")


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_ten_kills_at_any_millisecond(tmp_path, processes):
    """Kill a process at any instruction, from its first to the renaming of its model folder."""
    prepare(tmp_path, processes)
    rng = np.random.default_rng(10 + processes)
    forget(tmp_path)
    begun = time.monotonic()
    assert start(tmp_path, processes=processes) == 0
    whole, kills = time.monotonic() - begun, 0
    while kills < 10:
        forget(tmp_path)
        after, dies = float(rng.uniform(0, whole)), int(rng.integers(processes))
        killed = start(tmp_path, processes=processes, dies=dies, after=after) == -signal.SIGKILL
        kills += killed
        kept = len(checkpoints(tmp_path))
        resume(tmp_path, processes)
        who = f"process {dies} of {processes}, {'killed' if killed else 'done'}"
        print(f"{who} after {after:.3f} s: {kept} checkpoints, same")


@pytest.mark.long
def test_sigterm_to_one_of_two_processes(tmp_path):
    """The other process gets no signal: it finishes its part and stops as well."""
    prepare(tmp_path, 2)
    kept = kill(tmp_path, "asked in an evaluation", 3, 2, dies=0, code=ASKED)
    assert any(name.startswith("step-000000008.") for name in kept)
    resume(tmp_path, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_resumes(prepared, tmp_path, monkeypatch, capsys, number):
    monkeypatch.chdir(st.copy_task(prepared, tmp_path / "task"))
    Path("run.toml").write_text(st.small(RUN, "training.checkpoint_every = 1000000"))
    with st.after_step(12, lambda: signal.raise_signal(number)):
        assert exit_code("train . --threads 1") == 128 + number
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"training was stopped by {number.name} at step 12" in said
    run("train . --threads 1")
    assert "resuming from the checkpoint of step 12" in capsys.readouterr().out
    same_as_expected(tmp_path / "task")
