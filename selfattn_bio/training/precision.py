"""Choose the precision of a training with `precision = "auto"`.

A rule decides, not a timing: a timing depends on other processes, so two trainings of the same task
on the same machine could end with different weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from selfattn_bio.config import ModuleModel, RunFile
from selfattn_bio.files import whole_file

FILE = "precision"  # in the folder of the checkpoints


def with_precision(run: RunFile, checkpoints: Path | None = None) -> RunFile:
    """Replace precision "auto" of a run by that of its first start, or else of this machine.

    Parameters
    ----------
    run
        The run file.
    checkpoints
        Folder of the checkpoints, which may be missing.
    """
    if run.training.precision != "auto":
        return run
    file = checkpoints / FILE if checkpoints else None
    if file and file.exists():
        precision = file.read_text(encoding="utf-8").strip()
    else:
        precision = "32-true" if isinstance(run.model, ModuleModel) else fast_precision()
    training = run.training.model_copy(update={"precision": precision})
    return run.model_copy(update={"training": training})


def keep_precision(run: RunFile, checkpoints: Path) -> None:
    """Write the precision of a run to the folder of its checkpoints, for `with_precision`."""
    with whole_file(checkpoints / FILE) as path:
        path.write_text(f"{run.training.precision}\n", encoding="utf-8")


def fast_precision() -> str:
    """Return "bf16-mixed" if this machine has instructions for bfloat16, otherwise "32-true".

    These are AMX or AVX512-BF16 on the CPU, and the matrix units of GPUs from Ampere on.
    """
    if torch.cuda.is_available():
        has_instructions = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_instructions = (
            torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        )
    return "bf16-mixed" if has_instructions else "32-true"
