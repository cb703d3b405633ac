"""Write the training history for TensorBoard: `tensorboard --logdir results`.

TensorBoard is an optional dependency. A resumed run discards events that the interrupted run wrote
after its last checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfattn_bio.errors import TrainingError


class Board:
    """Write rows of the history into a folder.

    Raises
    ------
    TrainingError
        If the tensorboard package is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            hint = (
                "Install it (pip install tensorboard), or remove training.tensorboard from the run "
                "file"
            )
            raise TrainingError(
                f"training.tensorboard needs the tensorboard package: {error}", hint=hint
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, row: dict[str, float]) -> None:
        """Write one evaluation: each figure under its name, at its step."""
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(
                    name.replace("_", "/", 1) if name.startswith(("train_", "valid_")) else name,
                    value,
                    int(row["step"]),
                )
        self._writer.flush()
