"""Attention maps of selected records, which are saved with an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfattn_bio.attribution.readout import AttentionMap


@dataclass(frozen=True)
class MappedSequence:
    """Attention maps of one sequence.

    They show where the model attends. They do not explain its output.

    Attributes
    ----------
    letters
        (L,) ASCII.
    score
        Score of the sequence for the first explained output.
    layers
        Map of each layer, as returned by `attention_maps`; all have the same edges.
    """

    letters: NDArray[np.uint8]
    score: float
    layers: Sequence[AttentionMap]


def write_maps(path: Path, maps: Mapping[str, MappedSequence]) -> None:
    """Write maps by record id as npz; nothing if there are none."""
    if not maps:
        return
    arrays: dict[str, Any] = {
        "ids": np.array(list(maps)),
        "scores": np.array([mapped.score for mapped in maps.values()]),
    }
    for i, mapped in enumerate(maps.values()):
        arrays |= {
            f"letters_{i}": mapped.letters,
            f"edges_{i}": mapped.layers[0].edges,
            f"weights_{i}": np.stack([layer.weights for layer in mapped.layers]),
        }
    np.savez_compressed(path, **arrays)


def read_maps(path: Path) -> dict[str, MappedSequence]:
    """Read a file of `write_maps`; there are no maps without the file.

    Raises
    ------
    OSError, ValueError, KeyError, BadZipFile
        If the file is damaged.
    """
    if not path.exists():
        return {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {
            str(name): MappedSequence(
                arrays[f"letters_{i}"],
                float(score),
                [AttentionMap(arrays[f"edges_{i}"], layer) for layer in arrays[f"weights_{i}"]],
            )
            for i, (name, score) in enumerate(zip(arrays["ids"], arrays["scores"], strict=True))
        }
