"""Inspect what this machine offers, and which attention kernels run here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import pandas as pd
import torch
from matplotlib import rcParams
from matplotlib.font_manager import findfont

from selfattn_bio.attention.kernels.band.build import describe
from selfattn_bio.display import counted
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.extras import install_command
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.loading import SHIPPED
from selfattn_bio.study.workflow import project_folder

PACKAGES = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "snakemake", "modisco-lite")
# optional programs: the commands to look for, and the purpose
PROGRAMS = {
    "C++ compiler": (
        ("c++", "g++", "clang++"),
        "It compiles the fused attention kernel for the CPU if the package does not have it",
    ),
    "git": (("git",), "It adds the commit to the provenance of a model"),
    "make": (("make",), "It runs the targets of the Makefile; `selfattn-bio run` does not need it"),
    "Slurm": (("sbatch",), "It runs trainings on a cluster"),
    "MMseqs2": (
        ("mmseqs",),
        "It clusters similar sequences by alignment; without it, shared k-mers are used",
    ),
}
# optional libraries: module, extra and purpose
LIBRARIES = {
    "papermill": ("notebooks", "It runs the notebooks at the end of a workflow"),
    "opacus": ("privacy", "It counts the privacy that a training with [privacy] spends"),
    "transformers": ("pretrained", "It builds published language models"),
    "onnxscript": ("onnx", "It writes networks as ONNX"),
    "snakemake_executor_plugin_slurm": ("slurm", "It submits jobs to Slurm"),
}


NEEDED = ("workflow", "model 'promoter'")  # parts without which the README does not work


@dataclass(frozen=True, repr=False)
class Machine(TableResult):
    """Packages, devices and optional parts of a machine.

    Attributes
    ----------
    packages
        Versions of the package and of the main libraries.
    device
        The processors, as text.
    band
        State of the fused kernel for the CPU, as text.
    table
        Other parts: name, found (path, version or name; empty if missing), purpose, and whether it
        is needed.
    """

    packages: dict[str, str]
    device: str
    band: str
    table: pd.DataFrame

    def __repr__(self) -> str:
        found = int((self.table["found"] != "").sum())
        return f"Machine: {self.device}; {found} of {len(self.table)} other parts found"

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def verdict(self) -> str:
        """Return one sentence: whether this machine can train, with the names of missing parts."""
        missing = self.table[self.table["needed"] & (self.table["found"] == "")]
        if len(missing):
            return f"Something needed is missing: {', '.join(missing['name'])}; see below."
        device = "on a GPU and " if _gpu() else ""
        return f"You can train {device}on the CPU; nothing needed is missing."

    @property
    def lines(self) -> list[str]:
        """Return the text of `selfattn-bio doctor`."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        width = max(map(len, self.table["name"]))
        return [
            f"{self.verdict}\n",
            f"packages  {packages}",
            f"device    {self.device}",
            f"kernel    band, the fused kernel for the CPU, {self.band}",
            "\nOther parts:\n",
            *(
                f"  {part['name']:{width}}  {part['found'] or 'not found. ' + part['purpose']}"
                for part in self.table.to_dict("records")
            ),
        ]


def inspect_machine() -> Machine:
    """List packages, devices and other parts."""
    return Machine(
        {name: version(name) for name in PACKAGES},
        f"CPU with {counted(torch.get_num_threads(), 'thread')}; CUDA: {_gpu() or 'none'}",
        describe(),
        other_parts(),
    )


def other_parts() -> pd.DataFrame:
    """Look for GPU, programs, libraries of extras, files of the package and the font for plots.

    Returns
    -------
    One row per part: name, found (its path, version or name; empty if missing), purpose, needed.
    """
    found: list[tuple[str, str | None, str]] = [
        ("GPU", _gpu(), "It speeds up long sequences and large models. Only CUDA is supported")
    ]
    for name, (commands, purpose) in PROGRAMS.items():
        paths = (path for command in commands if (path := shutil.which(command)))
        found.append((name, next(paths, None), purpose))
    for name, (extra, purpose) in LIBRARIES.items():
        reason = f"{purpose}. Install: {install_command(extra)}"
        found.append((name, _version(name) if find_spec(name) else None, reason))
    try:
        workflow: str | None = str(project_folder())
    except SelfAttnBioError:
        workflow = None
    folder = SHIPPED / "promoter"
    model = str(folder) if folder.is_dir() else None
    found += [
        ("workflow", workflow, "`selfattn-bio run` needs it. Reinstall the package"),
        ("model 'promoter'", model, "load('promoter') needs it. Reinstall the package"),
        ("font for plots", _font(), "Plots use the font of matplotlib"),
    ]
    table = pd.DataFrame(found, columns=["name", "found", "purpose"]).fillna("")
    return table.assign(needed=table["name"].isin(NEEDED))


def _gpu() -> str | None:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _version(module: str) -> str:
    """Return the version of an installed module, or "found" if its package has another name."""
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "found"


def _font() -> str | None:
    """Return the path of the first font that plots use; None if it is not installed."""
    try:
        return findfont(rcParams["font.sans-serif"][0], fallback_to_default=False)
    except ValueError:
        return None
