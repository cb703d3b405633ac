"""Show what this machine offers, and which attention kernels run here.

Prints versions, device, threads, and whether the band kernel could be compiled. Then it lists
optional programs and libraries, with the purpose of those that are missing.

A table shows which kernel `kernel = "auto"` in a run file chooses for each pattern and position,
and why the kernels that come earlier are not used. A second table shows the kernels that change
with the default dropout. A run file can also name a kernel. The last list has the mixers other than
softmax, which run on any device, and the positions that each accepts.

example: selfattn-bio doctor
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from selfattn_bio.attention.attend import AttentionInputs

PACKAGES = (
    "selfattn-bio",
    "torch",
    "numpy",
    "lightning-fabric",
    "snakemake",
    "modisco-lite",
    "memelite",
)
LENGTH, HEAD_DIM = 1000, 32  # tokens, and dimension of a head, in the tables of kernels
# optional programs: the commands to look for, and the purpose
PROGRAMS = {
    "C++ compiler": (
        ("c++", "g++", "clang++"),
        "It compiles the fused attention kernel for the CPU; without it, torch is used",
    ),
    "git": (("git",), "It adds the commit to the provenance of a model"),
    "make": (("make",), "It runs the targets of the Makefile; `selfattn-bio run` does not need it"),
    "Slurm": (("sbatch",), "It runs trainings on a cluster"),
    "MMseqs2": (
        ("mmseqs",),
        "It clusters similar sequences by alignment; without it, shared k-mers are used",
    ),
}
# optional libraries: module and purpose; only those of extras, because dependencies are always
# installed
LIBRARIES = {
    "tensorboard": "It shows training curves. Install: pip install 'selfattn-bio[tensorboard]'",
    "gkmsvm": "It fits the baseline gkm_svm. Install: pip install 'selfattn-bio[gkm]'",
    "snakemake_executor_plugin_slurm": "It submits jobs to Slurm. Install: pip install "
    "'selfattn-bio[slurm]'",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio doctor`, which has none."""


def run(arguments: argparse.Namespace) -> None:
    """Print packages, device, optional parts, and the tables of kernels and mixers."""
    import torch

    from selfattn_bio import config
    from selfattn_bio.attention.attend import KERNELS, SHORT, choose
    from selfattn_bio.attention.native import unavailable_reason

    print("packages  " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    threads = torch.get_num_threads()
    print(f"device    CPU with {threads} thread{'s' * (threads != 1)}; CUDA: {cuda}")
    reason = unavailable_reason()
    state = "is compiled and ready" if reason is None else f"cannot run: {reason}"
    print(f"kernel    band, the fused kernel for the CPU, {state}")
    _print_optional_parts()
    print('\nAttention kernels, in the order in which kernel = "auto" tries them:\n')
    for kernel in KERNELS.values():
        print(f"  {kernel.name:10} {kernel.purpose}")
    print(
        '\nKernels that "auto" chooses on this machine, in float32 training without dropout, with '
        f"head_dim {HEAD_DIM}\nand {LENGTH:,} tokens (up to {SHORT} tokens: sdpa or reference):\n"
    )
    print(f"  {'pattern':16} {'position':26} {'kernel':10} why")
    requests = _requests()
    for pattern, by_position in requests.items():
        # positions with the same kernel and reasons share a line
        lines: dict[tuple[str, str], list[str]] = {}
        for position, inputs in by_position.items():
            chosen = choose(inputs)
            earlier = list(KERNELS.values())[: list(KERNELS).index(chosen.name)]
            reasons = "; ".join(
                f"not {each.name}: {each.should_not(inputs) or each.cannot(inputs)}"
                for each in earlier
                if each.name != "reference" and (each.name != "flex" or torch.cuda.is_available())
            )
            lines.setdefault((chosen.name, reasons or "first in the order"), []).append(position)
        for (name, reason), positions in lines.items():
            print(f"  {pattern:16} {', '.join(positions):26} {name:10} {reason}")
    p = config.AttentionModel().dropout
    print(f"\nOther kernels chosen with the default model.dropout = {p}:\n")
    changed: dict[tuple[str, str, str], list[str]] = {}
    for pattern, by_position in requests.items():
        for position, inputs in by_position.items():
            without, chosen = choose(inputs), choose(dropping := replace(inputs, dropout=p))
            if chosen != without:
                changed.setdefault(
                    (pattern, chosen.name, f"not {without.name}: {without.cannot(dropping)}"), []
                ).append(position)
    for (pattern, name, reason), positions in changed.items():
        print(f"  {pattern:16} {', '.join(positions):26} {name:10} {reason}")
    if not changed:
        print("  none")
    print("\nOther mixers (model.mixer in a run file), with the positions that they accept:\n")
    for section in get_args(get_args(config.AnyMixer)[0]):
        if section is not config.SoftmaxMixer:
            print(f"  {section.model_fields['kind'].default:16} {', '.join(section.positions)}")


def _print_optional_parts() -> None:
    """Print GPU, programs, libraries of extras, files of the package and the font for plots.

    For each part, print its path, version or name, or the purpose if it was not found.
    """
    import torch

    from selfattn_bio.cli.run import project_folder
    from selfattn_bio.errors import SelfAttnBioError

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found: dict[str, tuple[str | None, str]] = {
        "GPU": (gpu, "It speeds up long sequences and large models. Only CUDA is supported")
    }
    for name, (commands, purpose) in PROGRAMS.items():
        found[name] = (
            next((path for command in commands if (path := shutil.which(command))), None),
            purpose,
        )
    for name, purpose in LIBRARIES.items():
        found[name] = _version(name) if find_spec(name) else None, purpose
    try:
        workflow: str | None = str(project_folder())
    except SelfAttnBioError:
        workflow = None
    found["workflow"] = workflow, "`selfattn-bio run` and `demo` need it. Reinstall the package"
    found["model 'promoter'"] = (
        str(shipped)
        if (shipped := Path(__file__).parents[1] / "models/promoter").is_dir()
        else None,
        "load('promoter') needs it. Reinstall the package",
    )
    found["font for plots"] = _font(), "Plots use the font of matplotlib"
    print("\nOptional parts:\n")
    width = max(map(len, found))
    for name, (what, purpose) in found.items():
        print(f"  {name:{width}}  {what if what else f'not found. {purpose}'}")


def _version(module: str) -> str:
    """Return the version of an installed module, or "found" if its package has another name."""
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "found"


def _font() -> str | None:
    """Return the path of the first font that plots use; None if it is not installed."""
    from matplotlib import rcParams
    from matplotlib.font_manager import findfont

    try:
        return findfont(rcParams["font.sans-serif"][0], fallback_to_default=False)
    except ValueError:
        return None


def _requests() -> dict[str, dict[str, AttentionInputs]]:
    """Return example inputs of attention in training, by pattern and then by position."""
    import torch

    from selfattn_bio import config
    from selfattn_bio.attention.attend import prepared
    from selfattn_bio.attention.patterns import build_pattern
    from selfattn_bio.attention.positions import build_position

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
    positions = (
        config.NoPositionSection(),
        config.T5Position(),
        config.AlibiPosition(),
        config.RotaryPosition(),
        config.ShawPosition(),
        config.TransformerXLPosition(),
    )
    q = torch.zeros(1, 2, LENGTH, HEAD_DIM, device="cuda" if torch.cuda.is_available() else "cpu")
    return {
        name: {
            each.kind: prepared(
                q, q, q, build_pattern(pattern), build_position(each, 2, HEAD_DIM).to(q.device)
            )
            for each in positions
        }
        for name, pattern in patterns.items()
    }
