"""Checkpoints that a kill -9 cannot hurt: a locked folder beside the output, whole files, the last two kept.

Hides: file names, the lock, the fingerprint that says whether a checkpoint belongs to this run. The loop alone uses it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfattn_bio.errors import TrainingError
from selfattn_bio.files import whole_file

KEPT = 2


class CheckpointFolder:
    """The checkpoints of one run; a context manager that holds the folder's lock.

    Parameters
    ----------
    path
        The folder; made if missing. It is no output that a workflow knows of, since a workflow deletes outputs before a rerun.
    fingerprint
        What the run depends on: data, hyperparameters, versions. Checkpoints of another fingerprint are removed, and that is said.

    Raises
    ------
    TrainingError
        On entering, if another process holds the lock.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint

    def __enter__(self) -> CheckpointFolder:
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
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.close()

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write the checkpoint of `step`; older ones beyond the last two go."""
        metadata = {"fingerprint": self.fingerprint, "state": json.dumps(state)}
        with whole_file(self.path / f"step-{step:09d}.safetensors") as temporary:
            # Not save_file: its error on a full disk is no OSError.
            temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))
        for old in self._files()[:-KEPT]:
            old.unlink()

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest readable checkpoint of this fingerprint, or None; what cannot be used is said and removed."""
        for path in reversed(self._files()):
            try:
                with safe_open(path, framework="pt") as file:
                    metadata = file.metadata()
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            except SafetensorError as error:
                print(f"{path}: checkpoint is damaged ({error}); the one before it is used", flush=True)
                path.unlink()
                continue
            if metadata["fingerprint"] == self.fingerprint:
                return tensors, json.loads(metadata["state"])
            print(f"{path}: checkpoint is of other data, settings or versions; training starts anew", flush=True)
            path.unlink()
        return None

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.safetensors"))
