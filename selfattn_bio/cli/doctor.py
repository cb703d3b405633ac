"""Say what this machine offers, and which attention kernel serves which pattern and position here, and why.

Prints versions, device and threads, whether the band kernel could be compiled, and a table of the kernels that `kernel = "auto"` in a
run file chooses, each with what the ones before it in the order cannot or should not do. A run file can name a kernel instead.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selfattn_bio.attention.attend import Asked

PACKAGES = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "snakemake", "modisco-lite", "memelite")
LENGTH = 1000  # tokens of the requests in the table: more than the shortest, which plain attention serves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `selfattn-bio doctor`: none."""


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    import torch

    from selfattn_bio.attention.attend import KERNELS, SHORT, choose
    from selfattn_bio.attention.band import why_not

    print("packages  " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"device    CPU with {torch.get_num_threads()} threads; CUDA: {cuda}")
    print(f"band      {'compiled and ready' if (reason := why_not()) is None else f'cannot run: {reason}'}")
    print("\nKernels of attention, in the order in which they are asked:\n")
    for kernel in KERNELS.values():
        print(f"  {kernel.name:10} {kernel.purpose}")
    print(f'\nWhat runs here with kernel = "auto": training, float32, {LENGTH:,} tokens (up to {SHORT} tokens: sdpa or reference):\n')
    print(f"  {'pattern':16} {'position':15} {'kernel':10} because")
    for (pattern, position), asked in _requests().items():
        chosen = choose(asked)
        before = list(KERNELS.values())[: list(KERNELS).index(chosen.name)]
        told = [each for each in before if each.name not in ("reference", "" if torch.cuda.is_available() else "flex")]
        reasons = [f"{each.name}: {each.should_not(asked) or each.cannot(asked)}" for each in told]
        print(f"  {pattern:16} {position:15} {chosen.name:10} {'not ' if reasons else 'first in the order'}{'; '.join(reasons)}")


def _requests() -> dict[tuple[str, str], Asked]:
    """The table's rows: (pattern, position) -> what a layer in training asks."""
    import torch

    from selfattn_bio import config
    from selfattn_bio.attention.attend import Asked
    from selfattn_bio.attention.patterns import build_pattern
    from selfattn_bio.attention.positions import build_position
    from selfattn_bio.attention.tiles import Setting

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    patterns = (config.FullPattern(), config.WindowPattern(), config.WindowPattern(dilation=4), config.BigBirdPattern())
    positions = (config.NoPosition(), config.RotaryPosition(), config.T5Position(), config.ShawPosition())
    rows: dict[tuple[str, str], Asked] = {}
    for pattern in patterns:
        for position in positions:
            q = torch.zeros(1, 2, LENGTH, 32, device=device)
            setting = Setting(build_pattern(pattern), (1, 2, LENGTH), device)
            terms = build_position(position, 2, 32).to(device).terms(q, setting.reach())
            name = "window, dilated" if getattr(pattern, "dilation", 1) > 1 else pattern.kind
            rows[name, position.kind] = Asked(q, q, q, setting, terms, dropout=0.0)
    return rows
