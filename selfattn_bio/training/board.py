"""Write the training history for TensorBoard; view it with `tensorboard --logdir results`.

The tensorboard package is an optional dependency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfattn_bio.errors import TrainingError


class TensorBoardWriter:
    """Write evaluations to a TensorBoard folder.

    Parameters
    ----------
    folder
        Folder for the event files.
    step
        Step of the checkpoint from which training resumes, 0 for a new run. Events of later steps,
        written by the interrupted run, are discarded.

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
        """Write the values of one evaluation at step `row["step"]`.

        `train_loss` becomes `train/loss`, so that TensorBoard groups values by split.
        """
        for name, value in row.items():
            if name != "step":
                tag = name.replace("_", "/", 1) if name.startswith(("train_", "valid_")) else name
                self._writer.add_scalar(tag, value, int(row["step"]))
        self._writer.flush()
