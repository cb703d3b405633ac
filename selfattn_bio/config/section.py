"""Common base of all tables of a run file, and types shared by several of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from selfattn_bio.display import did_you_mean

MAX_PROTEIN_K = 4
AlphabetName = Literal["dna", "rna", "ssdna", "protein"]
ATTRIBUTES = "\n\nAttributes\n----------\n"  # heading of a docstring

Fraction = Annotated[float, Field(ge=0, lt=1)]
MOST = 10**12  # of all integers in a run file
Positive = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=65_536)]  # of arrays, which are allocated
Repeats = Annotated[int, Field(ge=1, le=1024)]  # modules, which are built one after the other
Seed = Annotated[int, Field(ge=0, lt=2**32, description="seed of random numbers")]
T = TypeVar("T")
Listed = Annotated[T, Field(strict=False)]  # a tuple, written as a list in TOML


def _check_odd(value: Any, info: ValidationInfo) -> Any:
    numbers = value if isinstance(value, tuple) else (value,)
    if even := [number for number in numbers if number % 2 == 0]:
        raise ValueError(f"{info.field_name} {even[0]} is even; use an odd number")
    return value


def _check_different(values: Any, info: ValidationInfo) -> Any:
    if repeated := [each for i, each in enumerate(values or ()) if each in values[:i]]:
        raise ValueError(f"{info.field_name} names {repeated[0]!r} more than once")
    return values


Odd = Annotated[T, AfterValidator(_check_odd)]  # a number, or a tuple of them
Different = Annotated[T, AfterValidator(_check_different)]  # a tuple without repeated values
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1, strict=False),
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=str | list[str],
    ),
]
Column = Annotated[str, Field(min_length=1)]
Paths = Names


def left_out(default: Any, **field: Any) -> Any:
    """Return a field that is omitted when written with its default value.

    Folders and checkpoints of runs that do not set it are then the same as before the key existed.
    """
    return Field(default, exclude_if=lambda value: value == default, **field)


def stride_problems(k: int, stride: int) -> Iterator[str]:
    """Yield the problem of k-mers that leave positions between them."""
    if stride > k:
        yield f"stride {stride} skips positions; use at most k ({k})"


class Section(BaseModel):
    """A table of the run file.

    The docstring of a section describes its keys as attributes; the schema and the documentation
    show these texts.

    Tables are immutable. Values are not converted to other types (except 1 to 1.0), numbers are
    finite, and an unknown key raises an error that suggests the closest known one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each combination of values that is impossible.

        The first one becomes the error of the table. Sections that check combinations override
        this method.
        """
        yield from ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe table and keys by the docstring of the class."""
        found = handler(schema)
        table = handler.resolve_ref_schema(found)
        table["description"] = inspect.cleandoc(cls.__doc__ or "").partition(ATTRIBUTES)[0]
        for base in reversed(cls.__mro__):
            keys = inspect.cleandoc(base.__doc__ or "").partition(ATTRIBUTES)[2]
            for key, text in re.findall(r"^(\w+)\n((?:    .+\n?)+)", keys, re.MULTILINE):
                if key in table["properties"]:
                    table["properties"][key]["description"] = " ".join(text.split())
        return found

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if problem := next(self.problems(), None):
            raise ValueError(problem)
        return self

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        any_key = cls.model_config.get("extra") == "allow"
        for key in values if isinstance(values, dict) and not any_key else ():
            if key not in cls.model_fields:
                known = sorted(cls.model_fields)
                hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
                raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
            if isinstance(values[key], int) and abs(values[key]) > MOST:
                raise ValueError(f"{key} has {len(str(values[key]))} digits; use at most 13")
        return values
