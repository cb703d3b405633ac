"""Measure memory and time of training steps, in a separate process on synthetic records.

`training.plan` draws the conclusions. The training loop itself takes the steps, so that all its
memory is included: optimizer, running mean, batches, evaluation, checkpoint. The process is
spawned, because a forked one would share pages with its parent and could not use threads that the
parent has started.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import torch

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import SelfAttnBioError, TrainingError
from selfattn_bio.objectives import objective_of
from selfattn_bio.training import heap
from selfattn_bio.training.hardware import open_fabric, use_matmul, use_threads
from selfattn_bio.training.lengths import Lengths
from selfattn_bio.training.memory import (
    available_mb,
    give_back,
    is_out_of_memory,
    now_mb,
    peak_mb,
    reset_peak,
    status_mb,
)
from selfattn_bio.training.precision import with_precision
from selfattn_bio.training.resume import CheckpointFolder
from selfattn_bio.training.synthetic import synthetic_corpus
from selfattn_bio.training.trainer import Trainer

STEPS = 3  # per size
MOST_BATCHES = 24  # of the last size; by then fragmentation of the heap hardly grows
FIRST = 2048  # bases or residues of the smallest size
GROWTH = 4  # factor between sizes
SHORTEST = 20  # length of a synthetic record; shorter ones could be duplicates
FRACTION = 0.5  # fraction of the available memory that a size may be expected to take
# exit codes of a process that was killed because memory ran out
KILLED = (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV)
ARROW_ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"  # environment variable


@dataclass(frozen=True)
class Point:
    """Store a size and its cost.

    Attributes
    ----------
    length
        Bases or residues per record.
    batch
        Records per batch.
    peak
        Peak memory in MB.
    seconds
        Process time of one batch, forward and backward.
    """

    length: int
    batch: int
    peak: float
    seconds: float


@dataclass(frozen=True)
class Probe:
    """Store all measurements.

    Seconds are process times, as on an otherwise idle machine; `crowding` relates them to the
    clock.

    Attributes
    ----------
    available
        MB that a training process may use on this device now.
    opened
        Peak MB while opening the corpus, 0 without one.
    parameters
        Number of weights of the network.
    kept
        MB in use between two steps: the program, weights, moments, running mean.
    points
        Measured sizes, small to large; all records of a size have the same length.
    holes
        MB by which the peak of the last size grew after many batches of all lengths fragmented the
        heap.
    pace
        Mean seconds of a batch over all lengths, relative to a batch of the longest records.
    crowding
        Clock time of the last steps relative to their process time; more than 1 while other work
        shares the processors.
    evaluated
        Peak MB at the last size after these steps, an evaluation and a checkpoint.
    evaluation
        Seconds of an evaluation per base or residue, without the time for imports.
    """

    device: str
    available: float
    opened: float = 0.0
    parameters: int = 0
    kept: float = 0.0
    points: tuple[Point, ...] = ()
    holes: float = 0.0
    pace: float = 1.0
    crowding: float = 1.0
    evaluated: float = 0.0
    evaluation: float = 0.0


def measure(
    run: config.RunFile, lengths: Lengths, *, threads: int, seconds: float, keep_memory: bool
) -> Probe:
    """Measure steps of a run up to its longest records and its batch size.

    Time and memory may not allow all sizes.

    The cost of each size is predicted from the previous one. The first is always measured. A later
    one is left out if it would take more than half of the available memory; from the third on, also
    if its steps would take more than `seconds`.

    Parameters
    ----------
    run
        The run file.
    lengths
        Lengths of the records and batches. Batches of different lengths reuse memory and fragment
        the heap.
    threads
        Number of threads of the training.
    seconds
        Time limit for the steps of one size.
    keep_memory
        Whether the process keeps freed memory; see `heap.keep_memory`.

    Raises
    ------
    SelfAttnBioError
        Any error of the training loop, such as a sequence that is longer than learned positions
        allow.
    TrainingError
        If there is not even enough memory to start the process.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    found: Probe | SelfAttnBioError | None = None
    with tempfile.TemporaryDirectory() as folder:  # removed here, because the process may be killed
        process = context.Process(
            target=_work,
            args=(theirs, run, lengths, threads, seconds, keep_memory, Path(folder)),
        )
        try:
            _start(process)
            theirs.close()
            with suppress(EOFError):  # the process has ended; its exit code shows how
                while True:
                    found = ours.recv()
            process.join()
        except BaseException:
            if process.pid is not None:
                process.kill()
                process.join()
            raise
    if isinstance(found, SelfAttnBioError):
        raise found
    if process.exitcode not in (0, *KILLED):
        # it has printed its traceback
        raise RuntimeError(f"the measuring process ended with exit code {process.exitcode}")
    if found is None:
        raise TrainingError("out of memory: the measuring process was killed at startup")
    return found


def _start(process: BaseProcess) -> None:
    """Start a process that ignores Ctrl-C from its first line on, and whose Arrow reserves nothing.

    A terminal sends Ctrl-C to all processes. The parent receives it and kills the process. Arrow's
    own allocator would reserve 1 GiB when it is imported, which limits of memory count. A thread of
    Arrow might then not start, and Arrow would wait for it forever.
    """
    # otherwise it starts with the process and unblocks the signal
    resource_tracker.ensure_running()
    allocator = os.environ.get(ARROW_ALLOCATOR)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ[ARROW_ALLOCATOR] = "system"
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.environ.pop(ARROW_ALLOCATOR)
        if allocator is not None:
            os.environ[ARROW_ALLOCATOR] = allocator


def grows_squared(model: config.AnyModel) -> bool:
    """Return whether the work for a record grows with the square of its length.

    With some kernels, memory does so too.
    """
    if not isinstance(model, config.AttentionModel):
        return False
    if not isinstance(model.mixer, config.SoftmaxMixer):
        return model.mixer.grows_squared
    return model.pattern.kind in ("full", "strided") or model.kernel in ("reference", "sdpa")


# ------------ in the measuring process
def _work(
    pipe: Connection,
    run: config.RunFile,
    lengths: Lengths,
    threads: int,
    seconds: float,
    keep_memory: bool,
    folder: Path,
) -> None:
    """Send the measurements after each size; the last message received counts."""
    if keep_memory:
        heap.keep_memory()
    # this is not a process of the training, even if it was started from one
    os.environ.pop("TORCHELASTIC_RUN_ID", None)
    use_threads(threads)
    use_matmul(run.training.matmul)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    probe = Probe(device, available_mb())
    pipe.send(probe)
    _guard(probe)
    try:
        for found in _SizeProbe(run, probe, folder, lengths, seconds).found():
            pipe.send(found)
    except SelfAttnBioError as error:
        pipe.send(error)


class _SizeProbe:
    """Measure steps of growing sizes."""

    def __init__(
        self,
        run: config.RunFile,
        probe: Probe,
        folder: Path,
        lengths: Lengths,
        seconds: float,
    ) -> None:
        self.run, self.probe, self.folder = with_precision(run), probe, folder
        self.lengths, self.seconds = lengths, seconds
        # with two batches, gradients already exist during the second forward pass
        self.accumulate = min(2, run.training.accumulate)
        self.fabric = open_fabric(self.run.training.precision)
        self.trainer: Trainer | None = None

    def found(self) -> Iterator[Probe]:
        """Yield the measurements after each size, until memory runs out."""
        try:
            corpus = self.lengths.corpus
            opened = Corpus.open(corpus) if corpus else None  # the table of records stays in memory
            self.probe = replace(self.probe, opened=peak_mb() if opened else 0.0)
            for each in probe_sizes(self.lengths.longest, self.run.training.batch_size):
                if self._is_too_much(*each):
                    break
                point = self._point(*each)
                self.probe = replace(self.probe, points=(*self.probe.points, point))
                yield self.probe
            if self.probe.points:
                self._finish(self._go_on())
                yield self.probe
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise

    def _is_too_much(self, length: int, batch: int) -> bool:
        if not self.probe.points:
            return False
        last = self.probe.points[-1]
        growth = length / last.length * batch / last.batch
        if grows_squared(self.run.model):
            growth *= length / last.length
        memory = self.probe.kept + (last.peak - self.probe.kept) * growth
        # extrapolation needs two sizes
        too_slow = STEPS * last.seconds * growth > self.seconds and len(self.probe.points) > 1
        return too_slow or memory > FRACTION * self.probe.available

    def _point(self, length: int, batch: int) -> Point:
        self.trainer = trainer = self._trainer(length, batch, (1.0,))
        trainer.take_step()  # the first step is slower
        seconds = min(_timed(trainer.take_step).own for _ in range(STEPS - 1))
        point = Point(length, batch, peak_mb(), seconds / self.accumulate)
        if not self.probe.kept:
            give_back()
            parameters = sum(each.numel() for each in trainer.bare.parameters())
            self.probe = replace(self.probe, kept=now_mb(), parameters=parameters)
        return point

    def _trainer(self, length: int, batch: int, spread: tuple[float, ...]) -> Trainer:
        self.trainer = None  # free the previous trainer before creating the next
        training = self.run.training.model_copy(
            update={"batch_size": batch, "accumulate": self.accumulate}
        )
        section = objective_of(self.run.objective).with_synthetic_files(self.folder)
        run = self.run.model_copy(update={"training": training, "objective": section})
        corpus, split = synthetic_corpus(
            run,
            [max(round(fraction * length), SHORTEST) for fraction in spread],
            self.lengths.scored,
            self.folder,
        )
        reset_peak()
        return Trainer(self.fabric, run, corpus, split, self.folder / "model", "plan")

    def _go_on(self) -> Trainer:
        """Take steps of the last size with batches of all lengths, within the time limit.

        They fragment the heap as a training does.
        """
        last, rounds = self.probe.points[-1], list[_Seconds]()
        self.trainer = trainer = self._trainer(last.length, last.batch, self.lengths.spread)
        of_round = math.ceil(
            len(self.lengths.spread) / self.accumulate
        )  # steps that cover all lengths
        while not rounds or (
            len(rounds) * of_round * self.accumulate < MOST_BATCHES
            and sum(each.clock for each in rounds) < self.seconds
        ):
            rounds.append(_timed(trainer.take_step, of_round))
        # the minimum, because the first round includes preparations for each length
        best = min(each.own for each in rounds) / (of_round * self.accumulate)
        crowding = max(1.0, min(each.clock / each.own for each in rounds))
        self.probe = replace(
            self.probe,
            holes=max(0.0, peak_mb() - last.peak),
            pace=best / last.seconds,
            crowding=crowding,
        )
        return trainer

    def _finish(self, trainer: Trainer) -> None:
        """Run an evaluation and a checkpoint, which determine the peak if batches are small."""
        letters = int(trainer.data.lengths(trainer.data.valid).sum())
        trainer.measure_valid()  # the first call imports the modules for metrics
        evaluation = _timed(trainer.evaluate).own / letters
        with CheckpointFolder(self.folder / "checkpoints", "plan") as checkpoints:
            checkpoints.save(1, *trainer.state())
        self.probe = replace(self.probe, evaluated=peak_mb(), evaluation=evaluation)


def probe_sizes(length: int, batch: int) -> list[tuple[int, int]]:
    """List sizes (length, records) from small to the full size.

    First one record grows to its full length, then the number of records grows. (8192, 8) is
    reached by (2048, 1), (8192, 1), (8192, 2).
    """
    found = [(length, batch)]
    while batch > 1 and batch * length > FIRST:
        batch = math.ceil(batch / GROWTH)
        found.append((length, batch))
    while length > FIRST:
        length = math.ceil(length / GROWTH)
        found.append((length, batch))
    return found[::-1]


class _Seconds(NamedTuple):
    """Store clock time, and the time for which this thread had a processor.

    On CUDA both are the clock time, because a busy processor does not slow the GPU down.
    """

    clock: float
    own: float


def _timed(work: Callable[[], object], times: int = 1) -> _Seconds:
    start, own = time.perf_counter(), time.thread_time()
    for _ in range(times):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return _Seconds(clock := time.perf_counter() - start, clock)
    return _Seconds(time.perf_counter() - start, time.thread_time() - own)


def _guard(probe: Probe) -> None:
    """Limit the process to the available memory.

    An allocation that is too large then fails in this process, before the system kills another.
    """
    if probe.device == "cpu":
        most, hard = resource.getrlimit(resource.RLIMIT_DATA)
        ours = int((status_mb("VmData") + probe.available) * 1e6)
        resource.setrlimit(
            resource.RLIMIT_DATA,
            (ours if most == resource.RLIM_INFINITY else min(ours, most), hard),
        )
