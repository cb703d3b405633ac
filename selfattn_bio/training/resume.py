"""Checkpoints that a kill -9 cannot hurt: a locked folder beside the output, whole files, the last two kept; and the wish to stop.

Hides: file names, the lock, checksums, the fingerprint that says whether a checkpoint belongs to this run, signal handlers. The loop alone
uses it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfattn_bio.errors import TrainingError
from selfattn_bio.files import whole_file

KEPT = 2


class StopSignals:
    """Hears SIGTERM and Ctrl-C while a run trains, so that it can save before it ends; a second Ctrl-C ends it at once.

    A second SIGTERM does not: torchrun and Slurm both send one to the same process.

    Outside the main thread, where Python takes no handlers, it hears nothing.

    Attributes
    ----------
    heard
        The signal's number, 0 for none.
    """

    heard = 0

    def __enter__(self) -> StopSignals:
        main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = number
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


class CheckpointFolder:
    """The checkpoints of one run; a context manager that holds the folder's lock.

    Parameters
    ----------
    path
        The folder; made if missing. It is no output that a workflow knows of, since a workflow deletes outputs before a rerun.
    fingerprint
        What the run depends on: data, hyperparameters, versions. Checkpoints of another fingerprint are removed, and that is said.
    writes
        Of the processes of one run, the first locks, cleans and writes the folder; the others read the newest checkpoint, after it.

    Raises
    ------
    TrainingError
        On entering, if another process holds the lock.
    """

    def __init__(self, path: Path, fingerprint: str, *, writes: bool = True) -> None:
        self.path, self.fingerprint, self.writes = path, fingerprint, writes

    def __enter__(self) -> CheckpointFolder:
        if not self.writes:
            return self
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip()
            self._lock.close()
            message = f"checkpoint folder must be used by one trainer, got a second while process {holder} trains"
            raise TrainingError(message, place=str(self.path), cure=f"Wait for it, or stop it: kill {holder}") from None
        self._lock.truncate(0)
        print(os.getpid(), file=self._lock, flush=True)
        for leftover in self.path.glob(".*.tmp"):  # of a trainer that was killed while it wrote
            leftover.unlink()
        self._drop_unusable()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.writes:
            self._lock.close()

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write the checkpoint of `step`, in the process that writes; older ones beyond the last two go."""
        if not self.writes:
            return
        metadata = {"fingerprint": self.fingerprint, "state": json.dumps(state)}
        metadata["sha256"] = _digest(tensors, metadata)
        with whole_file(self.path / f"step-{step:09d}.safetensors") as temporary:
            # Not save_file: its error on a full disk is no OSError.
            temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))
        for old in self._files()[:-KEPT]:
            old.unlink()

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint, or None."""
        files = self._files()
        if not files:
            return None
        tensors, metadata = _read(files[-1])
        return tensors, json.loads(metadata["state"])

    def _drop_unusable(self) -> None:
        """Remove the checkpoints that are newer than the newest whole one of this fingerprint, and say why."""
        for path in reversed(self._files()):
            try:
                _, metadata = _read(path)
            except (SafetensorError, ValueError) as error:
                print(f"{path}: checkpoint is damaged ({error}); the one before it is used", flush=True)
            else:
                if metadata["fingerprint"] == self.fingerprint:
                    return
                print(f"{path}: checkpoint is of other data, settings or versions; training starts anew", flush=True)
            path.unlink()

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.safetensors"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a checkpoint; ValueError if they are not those that were written."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    written = metadata.pop("sha256", "none")
    if (found := _digest(tensors, metadata)) != written:
        raise ValueError(f"its sha256 must be {written[:12]}, got {found[:12]}")
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """SHA-256 of all that a checkpoint holds."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)}".encode())
        found.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
