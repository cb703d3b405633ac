"""What all tables of a run file have in common: how values are checked, and types that several use."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_PROTEIN_K = 4

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
T = TypeVar("T")
Listed = Annotated[T, Field(strict=False)]  # a tuple, which TOML has not: it is a list there
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1, strict=False),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
]
Column = Annotated[str, Field(min_length=1)]
Paths = Names


def left_out(default: Any, **field: Any) -> Any:
    """A field that is left out of what is written where it has its default: folders and checkpoints of runs that do not name it are then
    those of before the key was known."""
    return Field(default, exclude_if=lambda value: value == default, **field)


class Section(BaseModel):
    """A table of the run file: frozen, no value read as another type than it has (but 1 as 1.0), finite numbers, and an unknown key is an
    error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(key, cls.model_fields, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(cls.model_fields))}"
                raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        return values


SectionT = TypeVar("SectionT", bound=Section)
