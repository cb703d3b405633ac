"""Run commands of selfattn-bio in this process; pytest puts this folder on the path."""

import shlex

from selfattn_bio.cli.main import main


def exit_code(command: str, *more: object) -> int:
    """Run a command, such as `exit_code("train mine --threads", 1)`, and return its exit code."""
    return main([*shlex.split(command), *map(str, more)])


def run(command: str, *more: object) -> None:
    """Run a command that must succeed."""
    assert exit_code(command, *more) == 0
