"""Simple two-class models that are fitted next to a network and saved and scored like it.

`BASELINES` lists them, simplest first. To add one, write a subclass of `Baseline` in a new file and
add it to the list. If it may be a part of a stack, add its name to `StackPart` in config/stack.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from selfattn_bio.baselines.base import CARD, Baseline, Calibration, Setup, read_card, restore
from selfattn_bio.baselines.composition import Composition
from selfattn_bio.baselines.dipeptides import Dipeptides
from selfattn_bio.baselines.exact_positions import ExactPositions
from selfattn_bio.baselines.first_letter import FirstLetter
from selfattn_bio.baselines.gc import GcContent
from selfattn_bio.baselines.gkm_svm import GkmSvm
from selfattn_bio.baselines.kmers import Kmers
from selfattn_bio.baselines.length import Length
from selfattn_bio.baselines.motif_scores import MotifScores
from selfattn_bio.baselines.positional_kmers import PositionalKmers
from selfattn_bio.evaluation.composition import Letters

__all__ = [
    "BASELINES",
    "Baseline",
    "Calibration",
    "Setup",
    "is_baseline",
    "load_baseline",
    "read_card",
    "suitable",
]

BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind
    for kind in (
        GcContent,
        Kmers,
        PositionalKmers,
        ExactPositions,
        MotifScores,
        GkmSvm,
        Length,
        FirstLetter,
        Composition,
        Dipeptides,
    )
}


def suitable(setup: Setup, train: Letters) -> Iterator[tuple[type[Baseline], str]]:
    """Yield the baselines for the alphabet, each with the reason why it cannot be fitted.

    The reason is an empty string if it can be fitted to these records.
    """
    for kind in BASELINES.values():
        if setup.alphabet.name in kind.alphabets:
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
