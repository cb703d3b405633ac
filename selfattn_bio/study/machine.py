"""Inspect what this machine offers, and which attention kernels run here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product

import pandas as pd
import torch
from matplotlib import rcParams
from matplotlib.font_manager import findfont
from pydantic import TypeAdapter

from selfattn_bio import config
from selfattn_bio.attention.inputs import AttentionInputs, prepare
from selfattn_bio.attention.kernels import choose, why_avoided, why_unsupported
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attention.kernels.band.build import describe
from selfattn_bio.attention.patterns import build_pattern
from selfattn_bio.attention.positions import build_position
from selfattn_bio.config import KERNELS, SHORT, SHORT_JOINED
from selfattn_bio.config.attention import positions_with
from selfattn_bio.display import counted
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.extras import install_command
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.loading import SHIPPED
from selfattn_bio.study.workflow import project_folder

PACKAGES = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "snakemake", "modisco-lite")
LENGTH, HEAD_DIM = 1000, 32  # tokens, and dimension of a head, in the tables of kernels
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
KERNEL_COLUMNS = ["pattern", "position", "kernel", "reason"]


@dataclass(frozen=True, repr=False)
class Machine(TableResult):
    """Packages, devices, optional parts and attention kernels of a machine.

    Attributes
    ----------
    packages
        Versions of the package and of the main libraries.
    device
        The processors, as text.
    band
        State of the fused kernel for the CPU, as text.
    parts
        Other parts: name, found (path, version or name; empty if missing), purpose, and whether it
        is needed.
    table
        The kernel that `kernel = "auto"` chooses in training: pattern, position, kernel, and the
        reason why the kernels that come earlier are not used. `model.attention_dropout` is 0, the
        default. None if it was not requested, because finding out compiles a kernel.
    """

    packages: dict[str, str]
    device: str
    band: str
    parts: pd.DataFrame
    table: pd.DataFrame | None

    def __repr__(self) -> str:
        found = int((self.parts["found"] != "").sum())
        return f"Machine: {self.device}; {found} of {len(self.parts)} other parts found"

    def __str__(self) -> str:
        return "\n".join(self.lines)

    @property
    def verdict(self) -> str:
        """Return one sentence: whether this machine can train, with the names of missing parts."""
        missing = self.parts[self.parts["needed"] & (self.parts["found"] == "")]
        if len(missing):
            return f"Something needed is missing: {', '.join(missing['name'])}; see below."
        device = "on a GPU and " if _gpu() else ""
        return f"You can train {device}on the CPU; nothing needed is missing."

    @property
    def lines(self) -> list[str]:
        """Return the text of `selfattn-bio doctor`."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        width = max(map(len, self.parts["name"]))
        return [
            f"{self.verdict}\n",
            f"packages  {packages}",
            f"device    {self.device}",
            f"kernel    band, the fused kernel for the CPU, {self.band}",
            "\nOther parts:\n",
            *(
                f"  {part['name']:{width}}  {part['found'] or 'not found. ' + part['purpose']}"
                for part in self.parts.to_dict("records")
            ),
            *(() if self.table is None else self._kernel_lines(self.table)),
        ]

    def _kernel_lines(self, table: pd.DataFrame) -> list[str]:
        return [
            '\nAttention kernels, in the order in which kernel = "auto" tries them:\n',
            *(f"  {name:10} {kernel.purpose}" for name, kernel in KERNELS.items()),
            '\nKernels that "auto" chooses on this machine, in float32 training with head_dim '
            f"{HEAD_DIM} and {LENGTH:,} tokens\n(up to {SHORT} tokens: sdpa or reference; strided "
            f"up to {SHORT_JOINED}: sdpa):\n",
            f"  {'pattern':16} {'position':26} {'kernel':10} why",
            *_kernel_lines(table),
        ]


def inspect_machine(*, kernels: bool = False) -> Machine:
    """List packages, devices and other parts.

    Parameters
    ----------
    kernels
        Also list which attention kernel runs for each pattern and position. The fused kernel is
        compiled for this if it is not yet, in up to a minute.
    """
    state = describe()
    if kernels:
        reason = unavailable_reason()
        state = "is compiled and runs" if reason is None else f"cannot run: {reason}"
    return Machine(
        {name: version(name) for name in PACKAGES},
        f"CPU with {counted(torch.get_num_threads(), 'thread')}; CUDA: {_gpu() or 'none'}",
        state,
        other_parts(),
        pd.DataFrame(_choices(), columns=KERNEL_COLUMNS) if kernels else None,
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
        ("workflow", workflow, "`selfattn-bio run` and `demo` need it. Reinstall the package"),
        ("model 'promoter'", model, "load('promoter') needs it. Reinstall the package"),
        ("font for plots", _font(), "Plots use the font of matplotlib"),
    ]
    table = pd.DataFrame(found, columns=["name", "found", "purpose"]).fillna("")
    return table.assign(needed=table["name"].isin(NEEDED))


def _requests() -> Iterator[tuple[str, str, AttentionInputs]]:
    """Yield pattern, position and example inputs of attention in training."""
    patterns: dict[str, config.AnyPattern] = {
        "full": config.FullPattern(),
        "full, causal": config.FullPattern(causal=True),
        "window": config.WindowPattern(),
        "window, global": config.WindowPattern(num_global=1),
        "window, causal": config.WindowPattern(causal=True),
        "window, dilated": config.WindowPattern(dilation=4),
        "strided": config.StridedPattern(),
        "block_local": config.BlockLocalPattern(),
        "bigbird": config.BigBirdPattern(),
    }
    by_distance = positions_with("none", "bias", "rotation", "own_keys")
    q = torch.zeros(1, 2, LENGTH, HEAD_DIM, device="cuda" if torch.cuda.is_available() else "cpu")
    for (name, section), kind in product(patterns.items(), by_distance):
        pattern = build_pattern(section)
        position = TypeAdapter(config.AnyPosition).validate_python({"kind": kind})
        own = build_position(position, 2, HEAD_DIM).to(q.device)
        yield name, kind, prepare(q, q, q, pattern=pattern, position=own)


def _choices() -> Iterator[tuple[str, str, str, str]]:
    """Yield pattern, position, kernel and reason of each request."""
    for pattern, position, inputs in _requests():
        chosen = choose(inputs)
        reasons = "; ".join(
            f"not {each}: {why_avoided(each, inputs) or why_unsupported(each, inputs)}"
            for each in list(KERNELS)[: list(KERNELS).index(chosen)]
            if each != "reference" and (each != "flex" or torch.cuda.is_available())
        )
        yield pattern, position, chosen, reasons or "first in the order"


def _kernel_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the rows as text; positions with the same kernel and reason share a line."""
    same = table.groupby(["pattern", "kernel", "reason"], sort=False)["position"]
    for (pattern, kernel, reason), positions in same:
        yield f"  {pattern:16} {', '.join(positions):26} {kernel:10} {reason}"


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
