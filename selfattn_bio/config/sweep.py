"""[sweep]: lists of values to try. Each combination of values is one job."""

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
        description="what to sweep: model, names of variants, or both; each gets the same jobs",
    )

    @model_validator(mode="before")
    @classmethod
    def _flatten_keys(cls, values: Any) -> Any:
        """Flatten nested tables: learning_rate in [sweep.training] is training.learning_rate.

        [sweep] accepts any key. Unknown keys are reported when the run file of each job is
        validated.
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
        """Yield the settings of each job: dotted key to value. The last key varies fastest."""
        lists = self.__pydantic_extra__
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


def _dotted(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each entry of nested tables."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner_key}", inner) for inner_key, inner in _dotted(value))
        else:
            yield key, value
