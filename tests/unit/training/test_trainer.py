"""Test steps, validation, messages and counters of a training, its precision and its memory."""

import math
import resource
import signal
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from selfattn_bio import config
from selfattn_bio.data.collation import TokenBatch
from selfattn_bio.objectives.loss import Batch
from selfattn_bio.training import memory
from selfattn_bio.training.dry_run import best_number
from selfattn_bio.training.hardware import (
    PRECISION_FILE,
    fast_precision,
    keep_precision,
    with_precision,
)
from selfattn_bio.training.history import History, StepTotals
from selfattn_bio.training.memory import is_out_of_memory, words_of
from selfattn_bio.training.private import PrivateSteps
from selfattn_bio.training.resume import StopSignals
from selfattn_bio.training.steps import Steps
from selfattn_bio.training.trainer import Trainer, Validation


@pytest.mark.parametrize(
    ("kind", "rank", "rows"), [(Steps, 0, [7, 5]), (Steps, 1, [3, 1]), (PrivateSteps, 0, [0])]
)
def test_first_batch_has_the_rows_of_the_process(kind, rank, rows):
    """A private training computes records one by one."""
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([7, 3, 5, 1]))]),
        fabric=SimpleNamespace(world_size=2, global_rank=rank),
        batch=lambda epoch, rows: (rows.tolist(), 0),
    )
    assert kind.first_batch(steps) == rows


def test_loss_of_a_step_is_read_once(monkeypatch):
    """On CUDA, reading a number waits for the device."""
    parts, reads, item = [0.1, 0.2, 0.3], [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda x: reads.append(x) or item(x))
    losses = iter([torch.tensor(part) for part in parts])
    lengths = torch.tensor([4])
    fabric = SimpleNamespace(world_size=1, global_rank=0, device=torch.device("cpu"))
    fabric.no_backward_sync = lambda network, enabled: nullcontext()
    steps = SimpleNamespace(
        stream=SimpleNamespace(batches=lambda step: [(0, np.array([row])) for row in range(3)]),
        fabric=fabric,
        network=None,
        batch=lambda epoch, rows: (Batch(TokenBatch(torch.ones(1, 4), lengths), None, 1), 6),
        backward=lambda batch, weight, num_targets: next(losses),
    )
    totals = Steps.add_gradients(steps, 0)
    assert len(reads) == 1
    # each float32 number is added in float64
    assert totals == (sum(float(np.float32(part)) for part in parts), 18, 12)


def test_batch_moves_all_targets():
    tokens, device = TokenBatch(torch.ones(1, 4), torch.tensor([4])), torch.device("meta")
    moved = Batch(tokens, {"a": torch.ones(1), "b": torch.ones(1, 2)}, 1).to(device)
    assert {moved.tokens.ids.device, *(x.device for x in moved.targets.values())} == {device}
    assert moved.tokens.lengths.device.type == "cpu"
    assert Batch(tokens, torch.ones(1), 1).to(device).targets.device == device


class Rows:
    """An objective that predicts the number of each record, two records per batch."""

    section = config.BinaryObjective()

    def __init__(self, signals, stop_in=None):
        self.signals, self.stop_in, self.batches = signals, stop_in, 0

    def read_batches(self, scorer, inputs):
        for rows in np.arange(len(inputs))[::-1].reshape(-1, 2):
            self.batches += 1
            if self.batches == self.stop_in:
                self.signals.received = signal.SIGTERM
            yield rows, np.array([[inputs[row]] for row in rows])


def validation_of(signals, objective, **processes):
    data = SimpleNamespace(valid=SimpleNamespace(rows=np.arange(8)), objective=objective)
    fabric = SimpleNamespace(**{"world_size": 1, "global_rank": 0} | processes)
    inputs = SimpleNamespace(of=lambda row: 10.0 * row)
    return Validation(fabric, data, inputs, None, signals)


def test_outputs_are_in_the_order_of_records():
    signals = StopSignals()
    found = validation_of(signals, Rows(signals)).outputs()
    assert np.array_equal(found, 10.0 * np.arange(8)[:, None])


@pytest.mark.parametrize("rank", [0, 8])
def test_every_process_scores_few_records(rank, monkeypatch):
    """With 9 processes and 8 records, the last process had no record and failed."""
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: None)
    signals = StopSignals()
    processes = {"world_size": 9, "global_rank": rank, "device": "cpu"}
    processes["all_reduce"] = lambda mine, reduce_op: {"max": mine}[reduce_op]
    validation = validation_of(signals, Rows(signals), **processes)
    validation.scorer = SimpleNamespace(network=torch.nn.BatchNorm1d(1))
    assert np.array_equal(validation.outputs(), 10.0 * np.arange(8)[:, None])


@pytest.mark.parametrize("batch", [1, 4])
def test_stop_signal_ends_scoring_after_the_batch(batch):
    signals = StopSignals()
    objective = Rows(signals, stop_in=batch)
    assert validation_of(signals, objective).outputs() is None
    assert objective.batches == batch


def test_lines_have_the_name_and_come_from_one_process(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    for first in (True, False):
        fabric = SimpleNamespace(is_global_zero=first)
        Trainer.log(SimpleNamespace(name="cnn 2", fabric=fabric), "step 1/2")
    assert caplog.messages == ["cnn 2: step 1/2"]


def test_best_evaluations_are_kept_in_order():
    history = History()
    for value in (-0.5, 0.7, math.nan, 0.7):
        history.add_step(StepTotals(1.0, 10, 4))
        history.add_evaluation({"step": history.step}, value, 3)
    # of equal values, the earlier one wins
    assert history.best_steps == [[0.7, 2], [0.7, 4], [-0.5, 1]]
    assert history.best_step == 2
    assert [row["step"] for row in history.rows] == [1, 2, 3, 4]
    history = History(step=1)
    history.add_evaluation({"step": 1}, math.nan, 2)
    assert history.best_steps == [[-math.inf, 1]]  # an undefined value is the worst


def test_evaluation_starts_a_new_mean_loss():
    history = History()
    for loss in (1.0, 2.0):
        history.add_step(StepTotals(loss, 10, 4))
    assert (history.loss_sum, history.loss_steps) == (3.0, 2)
    assert (history.letters, history.tokens) == (20, 8)
    assert not history.is_evaluated
    history.add_evaluation({"step": 2}, 0.5, 1)
    assert (history.loss_sum, history.loss_steps) == (0.0, 0)
    assert history.is_evaluated


def test_speed_is_a_mean_over_the_running_time():
    speed = History(letters=600, tokens=200).speed(200.0)
    assert speed == {"letters_per_second": 3.0, "tokens_per_second": 1.0}


# ------------ precision, CPU threads and memory
def run_file(precision, **sections):
    data = config.Data(positives=("a",), negatives=("b",))
    return config.RunFile(data=data, training={"precision": precision}, **sections)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the rule for CPUs")
@pytest.mark.parametrize(
    ("has_amx", "has_avx512_bf16", "expected"),
    [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true")],
)
def test_instructions_of_the_cpu_decide(has_amx, has_avx512_bf16, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512_bf16)
    assert fast_precision() == expected
    assert with_precision(run_file("auto")).training.precision == expected


def test_named_precision_and_own_networks_ignore_the_machine(monkeypatch):
    monkeypatch.setattr("selfattn_bio.training.hardware.fast_precision", lambda: "bf16-mixed")
    named = run_file("32-true")
    assert with_precision(named) is named
    own = run_file("auto", model=config.ModuleModel(module="mine:build"))
    assert with_precision(own).training.precision == "32-true"


def test_precision_of_the_first_start_is_kept(tmp_path):
    keep_precision(run_file("16-mixed"), tmp_path)
    assert (tmp_path / PRECISION_FILE).read_text() == "16-mixed\n"
    assert with_precision(run_file("auto"), tmp_path).training.precision == "16-mixed"
    assert with_precision(run_file("32-true"), tmp_path).training.precision == "32-true"


@pytest.mark.parametrize(
    ("most", "speeds", "chosen"),
    [
        (2, {2: 1.6}, 2),
        (2, {2: 1.4}, 1),
        (8, {2: 1.9, 4: 3.2, 8: 5.0}, 4),
        (8, {2: 1.0, 4: 4.0, 8: 8.0}, 1),  # the first that is too slow ends the search
        (6, {2: 2.0, 4: 4.0, 6: 5.5}, 6),
        (1, {}, 1),
    ],
)
def test_threads_must_reach_three_quarters_of_the_ideal_speed(most, speeds, chosen):
    seconds = {1: 1.0, **{number: 1 / speed for number, speed in speeds.items()}}
    assert best_number(most, seconds.__getitem__) == chosen


@pytest.mark.slow
def test_peak_memory_excludes_parent_process():
    asks = "from selfattn_bio.training.memory import peak_mb; print(peak_mb())"
    starts = (
        "import subprocess, sys; large = b'1' * 1_200_000_000; "
        f"subprocess.run([sys.executable, '-c', {asks!r}], check=True)"
    )
    out = subprocess.check_output([sys.executable, "-c", starts], text=True)
    assert 10 < float(out) < 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason="the peak is that of the GPU")
def test_peak_memory_without_proc_is_similar(monkeypatch, tmp_path):
    by_linux = memory.peak_mb()
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    # getrusage counts kB on Linux, bytes on macOS
    assert 1024 * memory.peak_mb() == pytest.approx(by_linux, rel=0.5)


def test_out_of_memory_errors_are_recognised():
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] data. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 9 bytes. E"
    )
    assert words_of(cpu) == "can't allocate memory: you tried to allocate 9 bytes"
    gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")
    assert words_of(gpu) == "CUDA out of memory"
    assert words_of(MemoryError()) == "MemoryError"
    assert all(map(is_out_of_memory, (cpu, gpu, MemoryError())))
    others = (RuntimeError("shape"), OSError("no file"), ValueError("can't allocate memory"))
    assert not any(map(is_out_of_memory, others))


@pytest.mark.skipif(torch.cuda.is_available(), reason="oneDNN computes on the CPU")
def test_onednn_error_counts_only_near_a_limit(monkeypatch):
    error = RuntimeError("could not create a primitive")
    assert not is_out_of_memory(error)
    near = psutil.Process().memory_info().data + int(memory.HEAP_PAD * 1e6)
    limits = {resource.RLIMIT_DATA: near, resource.RLIMIT_AS: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (limits[limit], limits[limit]))
    assert is_out_of_memory(error)
