"""Show what this machine offers, and which attention kernels run here.

Prints versions, device, threads, and whether the band kernel could be compiled. Then it lists
optional programs and libraries, with the purpose of those that are missing.

A table shows which kernel `kernel = "auto"` in a run file chooses for each pattern and position,
and why the kernels that come earlier are not used. A run file can also name a kernel. The last list
has the mixers other than softmax, which run on any device, and the positions that each accepts.

example: selfattn-bio doctor
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio doctor`, which has none."""


def run(arguments: argparse.Namespace) -> None:
    """Print packages, device, optional parts, and the tables of kernels and mixers."""
    from selfattn_bio.api.machine import inspect_machine

    print("\n".join(inspect_machine().lines))
