"""Declare and check values and arrays of model and corpus folders, which may come from elsewhere.

A subclass of `Stored` lists what a file must contain: numbers and texts with their types and
ranges, and arrays with `ArrayOf`. `read_arrays` opens a file of arrays, and `checked` compares what
was read with the declaration. Compiled code and C++ libraries index these arrays without checks of
their own, so nothing else may read them first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import CoreSchema, core_schema
from safetensors import SafetensorError, safe_open

from selfattn_bio.errors import ModelFolderError, SelfAttnBioError
from selfattn_bio.files import regular

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

DTYPES = ("F32", "F64", "I64", "U8")  # names in safetensors of the types that folders contain
LEAST_SLOPE = 1e-6  # of a calibration; above 0, so that it never changes the ranking of records


@dataclass(frozen=True)
class ArrayOf:
    """Type, shape and range of an array: `Annotated[NDArray[np.int64], ArrayOf("int64", low=0)]`.

    The array has at least one value, and all are finite.

    Parameters
    ----------
    dtype
        Its exact type.
    shape
        The size of each axis, or a name. Axes with the same name have the same size in all arrays
        of a declaration.
    low, high
        Range of the values, including both.
    """

    dtype: str
    shape: tuple[int | str, ...] = ("values",)
    low: float = -math.inf
    high: float = math.inf

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Let pydantic check a field by `check` alone."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, found: Any) -> NDArray[Any]:
        """Return the array, or raise ValueError with the end of a sentence about it."""
        if not isinstance(found, np.ndarray):
            raise ValueError("is not an array")
        if found.dtype != self.dtype:
            raise ValueError(f"has type {found.dtype}, not {self.dtype}")
        axes = zip(self.shape, found.shape, strict=False)
        if found.ndim != len(self.shape) or any(
            wanted != size for wanted, size in axes if isinstance(wanted, int)
        ):
            raise ValueError(f"has shape {found.shape}, not ({', '.join(map(str, self.shape))})")
        if not found.size:
            raise ValueError("has no values")
        wrong = ~np.isfinite(found) | (found < self.low) | (found > self.high)
        if wrong.any():
            allowed = f"from {self.low:g} to {self.high:g}"
            raise ValueError(
                f"has {found[wrong][0]}; only finite values"
                f"{f' {allowed}' * (allowed != 'from -inf to inf')} are possible"
            )
        return found


class Stored(BaseModel, strict=True):
    """Values and arrays of a file; a subclass declares them as fields."""

    @classmethod
    def arrays(cls) -> dict[str, ArrayOf]:
        """Return the declarations of the arrays by name."""
        return {
            name: rule
            for name, field in cls.model_fields.items()
            for rule in field.metadata
            if isinstance(rule, ArrayOf)
        }

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        """Raise ValueError if axes with the same name differ in size."""
        known: dict[str, tuple[int, str]] = {}
        for name, rule in self.arrays().items():
            for axis, size in zip(rule.shape, getattr(self, name).shape, strict=True):
                expected, other = known.setdefault(str(axis), (size, name))
                if size != expected:
                    raise ValueError(f"{name} has {size} {axis}, but {other} has {expected}")
        return self


class StoredCalibration(Stored):
    """Slope, intercept and threshold of a model or baseline; see `evaluation.calibration`."""

    slope: Annotated[Finite, Field(ge=LEAST_SLOPE)]
    intercept: Finite = 0.0
    threshold: Probability
    positive_fraction: Probability | None = None


class StoredFile(Stored):
    """An input file."""

    path: str
    sha256: str


class StoredNegatives(Stored):
    """How negatives were generated."""

    kind: str


class StoredSource(StoredFile):
    """A source of training records, and the files read with it."""

    records: int
    made: StoredNegatives = StoredNegatives(kind="")
    files: list[StoredFile] = Field(default_factory=list)


AnyStored = TypeVar("AnyStored", bound=Stored)


def checked(
    kind: type[AnyStored],
    found: Mapping[str, Any],
    file: Path,
    hint: str,
    arrays: Path | None = None,
    error: type[SelfAttnBioError] = ModelFolderError,
) -> AnyStored:
    """Compare what was read with its declaration, and return it.

    Parameters
    ----------
    kind
        The declaration.
    found
        Values and arrays by name. Those that are not declared are ignored.
    file
        File of the values, for errors.
    hint
        Advice for the user.
    arrays
        File of the arrays, if it is another one.
    error
        Class of the error.

    Raises
    ------
    SelfAttnBioError
        If something is missing or has a wrong type, size or value. The message names the file and
        the first such value.
    """
    try:
        return kind.model_validate(found)
    except ValidationError as found_wrong:
        first = found_wrong.errors()[0]
        key = ".".join(map(str, first["loc"]))
        match first["type"]:
            case "missing":
                message = f"{key} is missing"
            case "value_error":
                message = f"{key} {first['ctx']['error']}".strip()
            case _:
                message = f"{key}: {first['msg']}"
        if arrays and (not key or key in kind.arrays()):
            file = arrays
        raise error(message, place=str(file), hint=hint) from found_wrong


def read_arrays(path: Path, hint: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read the arrays and the metadata of a safetensors file.

    Raises
    ------
    ModelFolderError
        If the file is missing or damaged, or an array has a type that no folder contains.
    """
    try:
        with safe_open(regular(path), framework="numpy") as file:
            names = file.keys()
            for name in names:
                if (dtype := file.get_slice(name).get_dtype()) not in DTYPES:
                    message = f"{name} has type {dtype}; only {', '.join(DTYPES)} are possible"
                    raise ModelFolderError(message, place=str(path), hint=hint)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    # numpy refuses some shapes
    except (SafetensorError, OSError, ValueError) as error:
        message = f"damaged file: {' '.join(str(error).split())[:200]}"
        raise ModelFolderError(message, place=str(path), hint=hint) from error
