"""Check whether this machine can train, and list missing parts.

Prints a verdict, versions, device, threads, and the state of the fused attention kernel for the
CPU. Then it lists other programs and libraries, with the purpose of those that are missing.

With --kernels the fused kernel is compiled if it has not been yet. A table shows which kernel
`kernel = "auto"` in a run file chooses for each pattern and position, and why the kernels that come
earlier are not used. A run file can also name a kernel.

example: selfattn-bio doctor
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio doctor`."""
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="also list the attention kernels that run here; may compile one, in up to a minute",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the verdict, packages, device and other parts, and the tables of kernels."""
    from selfattn_bio.study.machine import inspect_machine

    print("\n".join(inspect_machine(kernels=arguments.kernels).lines))
