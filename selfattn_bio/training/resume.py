"""Identify, save and resume a training, and handle the signals that stop it.

Checkpoints are in a locked folder next to the output. A file is complete or absent, even after
kill -9; the last two are kept. A fingerprint in their names shows whether they belong to the run.
Provenance describes data, code and machine. It is collected before the first step, because the
split table may change or disappear during training.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfattn_bio.config import ModuleModel, PretrainedModel, RunFile
from selfattn_bio.display import counted
from selfattn_bio.errors import TrainingError
from selfattn_bio.files import sha256_of, whole_file
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.model.pretrained.folder import pretrained_sha256
from selfattn_bio.model.user_module import module_sha256
from selfattn_bio.training.data import TrainingData

KEPT = 2  # number of checkpoints


def checkpoints_of(output: Path) -> Path:
    """Return the folder of the checkpoints of a model folder, which is next to it."""
    return output.with_name(output.name + ".checkpoints")


class StopSignals:
    """Record SIGTERM and Ctrl-C during training, so that a run can save before it ends.

    A second Ctrl-C ends the run immediately. A second SIGTERM does not, because torchrun and Slurm
    both send one to the same process. Outside the main thread, where Python accepts no signal
    handlers, nothing is recorded.

    Attributes
    ----------
    received
        Number of the last signal that arrived, 0 for none.
    """

    received = 0

    def __enter__(self) -> StopSignals:
        is_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


class CheckpointFolder:
    """Manage the checkpoints of one run; a context manager that holds the lock of the folder.

    Parameters
    ----------
    path
        The folder, created if missing. It must not be an output of a workflow rule, because a
        workflow deletes outputs before a rerun.
    fingerprint
        Hash of everything the run depends on: data, hyperparameters, versions. It is part of the
        file names. Checkpoints with another fingerprint are kept until `finish`, so that a run can
        resume if its settings are changed back.
    writes
        Whether this process locks, cleans and writes the folder. This is the first process of a
        run; the others read the newest checkpoint afterwards.

    Raises
    ------
    TrainingError
        On entering, if another process holds the lock, or the file system does not support locks.
    """

    def __init__(self, path: Path, fingerprint: str, *, writes: bool = True) -> None:
        self.path, self.fingerprint, self.writes = path, fingerprint, writes

    def __enter__(self) -> CheckpointFolder:
        if self.writes:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("a+")
            try:
                self._take_over()
            except BaseException:
                self._lock.close()
                raise
        return self

    def _take_over(self) -> None:
        """Lock the folder and remove unusable files."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip()
            message = f"another process ({holder}) trains this run and uses its checkpoint folder"
            TrainingError.fail(message, self.path, f"Wait for it, or stop it: kill {holder}")
        except OSError as error:  # such as ENOLCK
            message = (
                "the file system of the checkpoint folder does not support locks (flock): "
                f"{error.strerror}"
            )
            hint = "Choose an output on another file system, or mount it with locks"
            raise TrainingError(message, place=str(self.path), hint=hint) from error
        self._lock.truncate(0)
        print(os.getpid(), file=self._lock, flush=True)
        for leftover in self.path.glob(".*.tmp"):  # of a trainer that was killed during a write
            leftover.unlink()
        self._drop_damaged()
        self._report_others()

    def __exit__(self, *error: object) -> None:
        if self.writes:
            self._lock.close()

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write the checkpoint of `step` and keep the last two; other processes do nothing."""
        if not self.writes:
            return
        metadata = {"fingerprint": self.fingerprint, "state": json.dumps(state)}
        metadata["sha256"] = _digest(tensors, metadata)
        path = self.path / f"step-{step:09d}.{self.fingerprint[:12]}.safetensors"
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with whole_file(path) as temporary:
            # Not save_file: its error on a full disk is not an OSError.
            temporary.write_bytes(save(contiguous, metadata))
        for old in self._files()[:-KEPT]:
            old.unlink()

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and state of the newest checkpoint, or None."""
        files = self._files()
        if not files:
            return None
        tensors, metadata = _read(files[-1], self.fingerprint)
        return tensors, json.loads(metadata["state"])

    def finish(self) -> None:
        """Remove checkpoints of other fingerprints, after the model has been written.

        Only the writing process acts.
        """
        if self.writes:
            for path in self._others():
                path.unlink()

    def _drop_damaged(self) -> None:
        """Remove damaged checkpoints that are newer than the newest intact one, with a message."""
        files = self._files()
        while files:
            path = files.pop()
            try:
                _read(path, self.fingerprint)
                return
            except (SafetensorError, ValueError) as error:
                then = "the previous one is used" if files else "training starts again"
                LOG.warning(f"{path}: checkpoint is damaged ({error}); {then}")
                path.unlink()

    def _report_others(self) -> None:
        if (others := self._others()) and not self._files():
            size = sum(path.stat().st_size for path in others) / 1e6
            LOG.warning(
                f"{self.path}: training starts again; {counted(len(others), 'checkpoint')} of "
                f"other data, settings or versions ({size:,.0f} MB) stay until its model is written"
            )

    def _files(self) -> list[Path]:
        return sorted(self.path.glob(f"step-*.{self.fingerprint[:12]}.safetensors"))

    def _others(self) -> list[Path]:
        return sorted(set(self.path.glob("step-*.safetensors")) - set(self._files()))


def _read(path: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of a checkpoint.

    Raises
    ------
    ValueError
        If they differ from the written ones, or have another fingerprint.
    """
    # On a disk error this raises. Reading a mapped file, as below, would end the process without a
    # message.
    sha256_of(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    written = metadata.pop("sha256", "none")
    if (found := _digest(tensors, metadata)) != written:
        raise ValueError(f"its sha256 is {found[:12]}, not {written[:12]}")
    if metadata["fingerprint"] != fingerprint:
        message = f"its fingerprint is {metadata['fingerprint'][:12]}, not {fingerprint[:12]}"
        raise ValueError(message)
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all contents of a checkpoint."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)}".encode())
        found.update(
            tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        )
    return found.hexdigest()


# packages whose versions are recorded; another version also changes the fingerprint
VERSIONS = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "safetensors")


def provenance_of(
    data: TrainingData, *, device: str, processes: int, threads: int
) -> dict[str, Any]:
    """Return the entries of provenance.json that are known before the first step.

    Parameters
    ----------
    data
        Run file, corpus and split; the sources of the corpus are the hashed input files.
    device
        Device of the training, for the record only.
    processes, threads
        Number of processes, and of threads per process.
    """
    run, corpus = data.run, data.corpus
    return {
        "data": corpus.summary["sources"],
        "targets": corpus.summary.get("targets"),
        **({"partners": corpus.partner.summary["sources"]} if corpus.partner else {}),
        **_sha256_of_network(run),
        "corpus_fingerprint": corpus.fingerprint,
        "split_sha256": data.split_sha256,
        "seed": run.training.seed,
        "device": device,
        "processes": processes,
        "threads": threads,
        "command": sys.argv,
        "git_commit": commit_of(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in VERSIONS},
    }


def fingerprint_of(data: TrainingData, processes: int) -> str:
    """Return a SHA-256 of everything that determines the weights after a given step.

    A checkpoint with another fingerprint is not resumed. It covers the settings that affect
    training, the corpus, the split table, the number of processes, the package versions and the
    package's source code.
    """
    run = data.run
    parts = [run.data.alphabet, run.training.model_dump_json()]
    parts += [part.model_dump_json() for part in (run.tokens, run.objective, run.model)]
    parts += _sha256_of_network(run).values()
    if run.both_strands:
        parts.append("evaluated on both strands")  # affects which evaluation is the best
    if run.partner:
        parts.append(run.partner.model_dump_json())
    if run.transfer:
        parts.append(run.transfer.model_dump_json())
        parts.append(str(read_provenance(run.transfer.folder)["weights_sha256"]))
    if run.privacy:
        parts += [run.privacy.model_dump_json(), f"opacus {version('opacus')}"]
    parts += [
        data.corpus.fingerprint,
        data.split_sha256,
        f"{processes} processes",
        *(f"{p} {version(p)}" for p in VERSIONS),
        f"code {code_sha256()}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sha256_of_network(run: RunFile) -> dict[str, str]:
    """Return the SHA-256 of the module or pretrained folder of a run, by its provenance entry."""
    if isinstance(run.model, ModuleModel):
        return {"module_sha256": module_sha256(run.model.module)}
    if isinstance(run.model, PretrainedModel):
        return {"pretrained_sha256": pretrained_sha256(Path(run.model.folder))}
    return {}


@cache
def code_sha256() -> str:
    """Return a SHA-256 of all source files of the package, Python and C++."""
    package = Path(__file__).parents[1]
    files = sorted(file for kind in ("py", "cpp") for file in package.rglob(f"*.{kind}"))
    names = [f"{file.relative_to(package)} {sha256_of(str(file))}" for file in files]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def commit_of(folder: Path) -> str | None:
    """Return the git commit of a folder, with "-dirty" appended if it has uncommitted changes.

    Returns None if git is not installed, or if no commit contains the folder. That is so for a
    package that is installed inside the repository of another project.
    """
    # HEAD:./ fails if the commit does not contain the folder
    found = _git(folder, "rev-parse", "HEAD", "HEAD:./")
    if found is None:
        return None
    return found.split()[0] + ("-dirty" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git, or None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
