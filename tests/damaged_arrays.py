"""Damage the arrays of a model folder, as a stranger or a failing disk could."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from selfattn_bio.files import sha256_of

OTHER = {"float32": "float64", "float64": "float32", "int64": "int32", "uint8": "int64"}


VALUES = {"i": 1_000_000_000, "u": 255, "f": np.nan}


def _with_first(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = value
    return changed


DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # integers out of range, or NaN
    "value": lambda array: _with_first(array, VALUES[array.dtype.kind]),
    "negative integer": lambda array: _with_first(array.astype(np.int64), -5),
    "infinite": lambda array: np.full(array.shape, np.inf),
    "shorter": lambda array: array[:-1],
    "empty": lambda array: array[:0],
    "complex": lambda array: array.astype(np.complex64),
    "bool": lambda array: array.astype(bool),
    "another type": lambda array: array.astype(OTHER[str(array.dtype)]),
    "another axis": lambda array: array[None],
    "no axis": lambda array: np.array(array.flat[0]),
}


def damaged_files(path: Path, damage: str) -> Iterator[str]:
    """Damage each array of a file in turn, and yield its name; "missing" removes the array.

    A hash of the file in baseline.json is corrected.
    """
    sound, card = path.read_bytes(), path.with_name("baseline.json")
    text, sha256 = card.read_text() if card.exists() else "", sha256_of(path)
    with safe_open(path, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    for name, array in arrays.items():
        rest = {other: arrays[other] for other in arrays if other != name}
        changed = {} if damage == "missing" else {name: DAMAGES[damage](array)}
        path.write_bytes(save(rest | changed, metadata=metadata))
        if text:
            card.write_text(text.replace(sha256, sha256_of(path)))
        yield name
    path.write_bytes(sound)
