"""[sweep]: lists of values, expanded into the settings of each job."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from selfattn_bio.config.section import Names, Section


class Sweep(Section):
    """[sweep]: a list of values for each dotted key; each combination of values is a job."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]]
    of: Names = Field(
        ("model",),
        description="what to sweep, each with the same values: model or names of variants",
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        """Convert [sweep.training] learning_rate to "training.learning_rate".

        Unknown keys are reported when the jobs' run files are validated.
        """
        return dict(_dotted(values)) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _something_is_swept(self) -> Sweep:
        if not self.__pydantic_extra__:
            raise ValueError(
                'no key to sweep; add one, such as "training.learning_rate" = [1e-3, 4e-3]'
            )
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield a dict from dotted key to value for each job; the last key varies fastest."""
        lists = self.__pydantic_extra__
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def _dotted(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{rest}", below) for rest, below in _dotted(value))
        else:
            yield key, value
