"""Simple models that are fitted next to a network and saved and scored like it.

`BASELINES` has their classes by name. To add one, write a subclass of `PairBaseline` in a new file
of this folder, and register it with one line of `KNOWN_BASELINES` in config/training.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

from selfattn_bio.baselines.base import CARD, Baseline, Setup, restore
from selfattn_bio.config.training import KNOWN_BASELINES
from selfattn_bio.sequence.alphabet import Letters

BASELINES: dict[str, type[Baseline]] = {
    name: resolve_name(f"{__name__}.{path}") for name, (path, _) in KNOWN_BASELINES.items()
}


def suitable(setup: Setup, train: Letters) -> Iterator[tuple[type[Baseline], str]]:
    """Yield the baselines for the question and alphabet, each with why it cannot be fitted.

    The reason is an empty string if it can be fitted to these records.
    """
    for kind in BASELINES.values():
        if setup.question in kind.suits and setup.alphabet.name in kind.alphabets:
            yield kind, kind.obstacle(setup, train)


def is_baseline(folder: str | Path) -> bool:
    """Return whether a folder holds a saved baseline."""
    return (Path(folder) / CARD).is_file()


def load_baseline(folder: str | Path, threads: int = 0) -> Baseline:
    """Load a saved baseline.

    Raises
    ------
    ModelFolderError
        If the folder does not contain a baseline, the baseline has another version, or a file is
        missing or altered.
    """
    return restore(BASELINES, folder, threads)
