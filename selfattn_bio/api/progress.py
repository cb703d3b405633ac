"""How the steps report their progress: long ones accept `say`, which is called with one line."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], object]


def silent(line: str) -> None:
    """Ignore a line of progress. This is the default of all steps."""
