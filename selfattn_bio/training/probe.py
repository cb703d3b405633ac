"""What steps of a run take on this machine: memory and time, measured in a process of their own on made-up records.

Hides: the process, the sizes it climbs, the kernel's and glibc's books, limits of memory. `training.plan` draws the conclusions.

The loop itself takes the steps, so that nothing it allocates is forgotten: optimizer, running mean, batches, evaluation, checkpoint. The
process is a fresh one, as a forked one would share pages with its parent and may not use threads that the parent has started.
"""

from __future__ import annotations

import ctypes
import gc
import math
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus, Rules, build_corpus
from selfattn_bio.errors import SelfAttnBioError, TrainingError
from selfattn_bio.scoring.scorer import BATCH_LETTERS
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.training.hardware import open_fabric, use_matmul, use_threads
from selfattn_bio.training.loop import Trainer
from selfattn_bio.training.resume import CheckpointFolder

STEPS = 3  # of a size; the first warms up
FIRST = 2048  # letters of the smallest size
GROWTH = 4  # from size to size
SHORTEST = 20  # letters of a made-up record: shorter ones would be drawn twice
SHARE = 0.5  # of the available memory that a size may be expected to take
HEAP_PAD = 268  # MB that malloc asks for ahead of need, as `cli.main.keep_memory` sets it
KILLED = (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV)  # how a process ends that finds no memory


@dataclass(frozen=True)
class Point:
    """A size and what it took: letters of each record, records of a batch, MB at the peak, seconds of a batch forward and backward."""

    length: int
    batch: int
    peak: float
    seconds: float


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes
    ----------
    available
        MB that a training process may take on this device now.
    opened
        MB at the peak of opening the corpus, 0 without one.
    parameters
        Weights of the network.
    kept
        MB that stay between two steps: the program, weights, moments, running mean.
    climbs
        Of each size that was asked for, what led to it, small to large; the last is the size itself if it was reached.
    whole
        MB at the peak after an evaluation and a checkpoint were made too, with what was reached of the first size.
    evaluation
        Seconds of an evaluation a letter.
    """

    device: str
    available: float
    opened: float = 0.0
    parameters: int = 0
    kept: float = 0.0
    climbs: tuple[tuple[Point, ...], ...] = ()
    whole: float = 0.0
    evaluation: float = 0.0


def measure(
    run: config.RunFile,
    sizes: list[tuple[int, int]],
    *,
    threads: int,
    seconds: float,
    scored: int = BATCH_LETTERS,
    corpus: Path | None = None,
    prepare: Callable[[], object],
) -> Probe:
    """Measure steps of a run up to each of `sizes`, as far as time and memory go.

    From the third on, a size is left out if its steps would take more than `seconds`, by what the one before took; any, if it would take
    more than half of the available memory.

    Parameters
    ----------
    sizes
        (letters of a record, records of a batch) of each size that is to be reached; the largest first, as what one leaves in the heap
        would be counted with the next.
    scored
        Letters of valid, with their padding, that are scored at once.
    corpus
        The folder that the training opens.
    prepare
        What the process calls first, such as `cli.main.keep_memory`; a function of a module.

    Raises
    ------
    SelfAttnBioError
        What the loop would raise, such as for a sequence longer than learned positions reach.
    TrainingError
        If not even the process itself finds the memory to start.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, run, sizes, threads, seconds, scored, corpus, prepare))
    process.start()
    theirs.close()
    found: Probe | SelfAttnBioError | None = None
    with suppress(EOFError):  # the process has ended, in whatever way: its exit code says
        while True:
            found = ours.recv()
    process.join()
    if isinstance(found, SelfAttnBioError):
        raise found
    if process.exitcode not in (0, *KILLED):
        raise RuntimeError(f"the process that measures ended with exit code {process.exitcode}")  # after its traceback
    if found is None:
        raise TrainingError("memory must hold a process that trains, got one that was killed as it started")
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory, of the CPU or of the GPU, could not be had."""
    told = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in told)
    )


def words_of(error: BaseException) -> str:
    """What an allocator says, in short: without its own place in torch's source."""
    return " ".join(str(error).split()).rpartition("DefaultCPUAllocator: ")[2].partition(". ")[0] or type(error).__name__


def grows_squared(model: config.AttentionModel | config.CnnModel) -> bool:
    """Whether the work, and with some kernels the memory, of a record grows with the square of its length."""
    if isinstance(model, config.CnnModel):
        return False
    return model.pattern.kind in ("full", "strided") or model.kernel in ("reference", "sdpa")


# ---------------------------------------------------------------------------------------------------- in the process
def _work(
    pipe: Connection,
    run: config.RunFile,
    sizes: list[tuple[int, int]],
    threads: int,
    seconds: float,
    scored: int,
    corpus: Path | None,
    prepare: Callable[[], object],
) -> None:
    """Send what is known after each size; the last that arrives counts."""
    prepare()
    warnings.filterwarnings("ignore", message="The `srun` command")  # the training itself says it
    os.environ.pop("TORCHELASTIC_RUN_ID", None)  # it is no process of the training, even if one of those asks
    use_threads(threads)
    use_matmul(run.training.matmul)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    probe = Probe(device, available_mb())
    pipe.send(probe)
    _guard(probe)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for found in _Climber(run, probe, Path(folder), seconds, scored).found(sizes, corpus):
                pipe.send(found)
    except SelfAttnBioError as error:
        pipe.send(error)


class _Climber:
    """Takes steps of growing sizes."""

    def __init__(self, run: config.RunFile, probe: Probe, folder: Path, seconds: float, scored: int) -> None:
        self.run, self.probe, self.folder, self.seconds, self.scored = run, probe, folder, seconds, scored
        self.fabric = open_fabric(run.training.precision)
        self.trainer: Trainer | None = None

    def found(self, sizes: list[tuple[int, int]], corpus: Path | None) -> Iterator[Probe]:
        """What is known after each size; out of memory ends it."""
        try:
            opened = Corpus.open(corpus) if corpus else None  # its table of records stays in memory
            self.probe = replace(self.probe, opened=peak_mb() if opened else 0.0)
            for number, size in enumerate(sizes):
                for each in rungs(*size):
                    before = self.probe.climbs[number] if len(self.probe.climbs) > number else ()
                    if before and self._is_too_much(before, *each):
                        break
                    climb = (*before, self._point(*each))
                    self.probe = replace(self.probe, climbs=(*self.probe.climbs[:number], climb))
                    yield self.probe
                if number == 0 and self.trainer is not None:
                    self._finish(self.trainer)
                    yield self.probe
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise

    def _is_too_much(self, before: tuple[Point, ...], length: int, batch: int) -> bool:
        last = before[-1]
        growth = length / last.length * batch / last.batch
        if grows_squared(self.run.model):
            growth *= length / last.length
        memory = self.probe.kept + (last.peak - self.probe.kept) * growth
        too_slow = len(before) > 1 and STEPS * last.seconds * growth > self.seconds  # a line needs two
        return too_slow or memory > SHARE * self.probe.available

    def _point(self, length: int, batch: int) -> Point:
        self.trainer = None  # the one before goes before the next comes
        accumulate = min(2, self.run.training.accumulate)  # with two, gradients are there while the second goes forward
        training = self.run.training.model_copy(update={"batch_size": batch, "accumulate": accumulate})
        run = self.run.model_copy(update={"training": training})
        corpus, split = made_up(run, max(length, SHORTEST), self.scored, self.folder)
        _reset_peak()
        self.trainer = Trainer(self.fabric, run, corpus, split, self.folder / "model", "plan")
        seconds = [_timed(self.trainer.take_step) for _ in range(STEPS)]
        point = Point(length, batch, peak_mb(), min(seconds[1:]) / accumulate)
        if not self.probe.kept:
            give_back()
            parameters = sum(each.numel() for each in self.trainer.bare.parameters())
            self.probe = replace(self.probe, kept=_now_mb(), parameters=parameters)
        return point

    def _finish(self, trainer: Trainer) -> None:
        """An evaluation and a checkpoint: for small batches they, not the steps, are the peak."""
        letters = sum(len(trainer.corpus.letters(int(row))) for row in trainer.valid.rows)
        evaluation = _timed(trainer.evaluate) / letters
        with CheckpointFolder(self.folder / "checkpoints", "plan") as checkpoints:
            checkpoints.save(1, *trainer.state())
        self.probe = replace(self.probe, whole=peak_mb(), evaluation=evaluation)


def rungs(length: int, batch: int) -> list[tuple[int, int]]:
    """(letters, records) from small to the whole: one record that grows to its length, then more of them.

    (8192, 8) is reached by (2048, 1), (8192, 1), (8192, 2).
    """
    found = [(length, batch)]
    while batch > 1 and batch * length > FIRST:
        batch = math.ceil(batch / GROWTH)
        found.append((length, batch))
    while length > FIRST:
        length = math.ceil(length / GROWTH)
        found.append((length, batch))
    return found[::-1]


def made_up(run: config.RunFile, length: int, scored: int, folder: Path) -> tuple[Corpus, Path]:
    """A corpus of random records of one length with what the objective wants, and its split: a whole batch to train on, and about
    `scored` letters of valid."""
    rng, alphabet = np.random.default_rng(0), get_alphabet(run.data.alphabet)
    sides = {"train": max(2, run.training.batch_size), "valid": max(2, scored // length)}
    ids = [f"{side}-{i}" for side, number in sides.items() for i in range(number)]
    letters = np.frombuffer(alphabet.letters.encode(), np.uint8)
    binary = run.objective.kind == "binary"
    files = [folder / "0.fa", folder / "1.fa"] if binary else [folder / "0.fa"]
    for number, file in enumerate(files):
        records = (f">{name}\n{rng.choice(letters, length).tobytes().decode()}\n" for name in ids[number :: len(files)])
        file.write_text("".join(records), encoding="ascii")
    targets = _targets(run.objective, len(ids), length, rng)
    table = None
    if targets:
        table = folder / "targets.tsv"
        pd.DataFrame({"id": ids, **targets}).to_csv(table, sep="\t", index=False)
    sources = [(file, number if binary else None) for number, file in enumerate(files)]
    corpus = build_corpus(sources, folder / "corpus", Rules(alphabet), table)
    split = pd.DataFrame({"id": corpus.records["id"], "split": corpus.records["id"].str.partition("-")[0], "reason": ""})
    split.to_csv(folder / "split.tsv", sep="\t", index=False)
    return corpus, folder / "split.tsv"


def _targets(objective: config.Objective, number: int, length: int, rng: np.random.Generator) -> dict[str, list]:
    """Columns of made-up targets, one value a record."""
    match objective:
        case config.MulticlassObjective(column=column, classes=classes):
            names = classes or ("a", "b")
            return {column: [names[i % len(names)] for i in range(number)]}
        case config.MultilabelObjective(columns=columns) | config.RegressionObjective(columns=columns):
            return {column: [i // 2 % 2 for i in range(number)] for column in columns}
        case config.LabelsObjective(column=column, classes=text):
            return {column: ["".join(rng.choice(list(text), length)) for _ in range(number)]}
        case _:
            return {}


# ------------------------------------------------------------------------------------------------------ memory and time
def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def status_mb(entry: str) -> float:
    """VmRSS (resident now), VmHWM (the most since the last reset), VmSize, VmData or RssAnon of this process, in MB.

    Not getrusage, whose mark a process takes over from the one that started it.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(entry + ":")[1].split()[0]) * 1024 / 1e6


def peak_mb() -> float:
    """The most since `_reset_peak`: resident, or taken from the GPU by torch."""
    return torch.cuda.max_memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmHWM")


def _now_mb() -> float:
    return torch.cuda.memory_reserved() / 1e6 if torch.cuda.is_available() else status_mb("VmRSS")


def _reset_peak() -> None:
    give_back()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # a sandbox may forbid it; as sizes grow, the mark then still is that of the last
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def give_back() -> None:
    """Return to the system, or the GPU, what is free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def available_mb() -> float:
    """MB that this process may take, with what it has: of the GPU if there is one, else by the system, its control group and its limits."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e6 + torch.cuda.memory_reserved() / 1e6
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    system = int(text.split("MemAvailable:")[1].split()[0]) * 1024 / 1e6
    found = [min(system, group_room_mb()) + status_mb("RssAnon")]
    for limit, entry in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            found.append(most / 1e6 - status_mb(entry) + status_mb("VmRSS") - HEAP_PAD)
    return max(0.0, min(found))


def group_room_mb(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """MB up to the nearest limit of the control groups (version 1 or 2) that this process is in; infinite without one.

    What they hold of files is not counted as taken, as the system drops it first.
    """
    room = math.inf
    for line in own.read_text(encoding="ascii").splitlines() if own.exists() else ():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, usage, prefix = root, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, limit, usage, prefix = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        folder = top / path.lstrip("/")  # in a container the path may be the host's: what there is of it counts
        for group in (folder, *folder.parents):
            if group.is_relative_to(top) and (group / limit).exists() and (most := (group / limit).read_text().strip()) != "max":
                stat = dict(each.split() for each in (group / "memory.stat").read_text().splitlines())
                files = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
                room = min(room, (int(most) - int((group / usage).read_text()) + files) / 1e6)
    return room


def _guard(probe: Probe) -> None:
    """No more than is available: an allocation beyond fails here, before the system would end any process for it."""
    if probe.device == "cpu":
        most, hard = resource.getrlimit(resource.RLIMIT_DATA)
        ours = int((status_mb("VmData") + probe.available) * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (ours if most == resource.RLIM_INFINITY else min(ours, most), hard))
