"""[sweep]: lists of values to try. Each combination of values is one job."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from selfattn_bio.config.section import Names, Section
from selfattn_bio.config.training import Training

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile

# Sections that may differ between jobs, which share data and objective.
SWEPT = ("tokens", "model", "training", "transfer")


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


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes
    ----------
    of
        "model", or the name of the variant that is swept.
    settings
        Maps dotted keys of the run file to the values of this job.
    run
        The run file of the job.
    """

    of: str
    settings: dict[str, Any]
    run: RunFile

    @property
    def name(self) -> str:
        """Return a hash of the settings, so that longer lists of values train only the new jobs."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def folder(self) -> str:
        """Return the path of the job below results/TASK/, which contains its model folder."""
        return f"{'' if self.of == 'model' else f'variants/{self.of}/'}sweep/{self.name}"


def jobs_of(run: RunFile) -> list[Job]:
    """Return the jobs of [sweep]; `RunFile.jobs` describes them."""
    if run.sweep is None:
        return []
    jobs: list[Job] = []
    for of in run.sweep.of:
        swept = (run if of == "model" else run.variant(of)).member(1)
        values = swept.model_dump(exclude={"variants", "sweep", "stack"})
        jobs += [
            Job(of, settings, _run_of(run, values, settings))
            for settings in run.sweep.combinations()
        ]
    if len({job.folder for job in jobs}) < len(jobs):
        raise ValueError(
            "two jobs have the same settings; list each value, and each name in of, once"
        )
    return jobs


def _run_of(run: RunFile, values: dict[str, Any], settings: dict[str, Any]) -> RunFile:
    """Return the run of `values` with the settings of a job applied."""
    values = copy.deepcopy(values)
    for key, value in settings.items():
        *tables, last = key.split(".")
        table = values
        for name in tables:
            if not isinstance(table.get(name), dict):
                table[name] = {}
            table = table[name]
        table[last] = value
    job = type(run).model_validate(values | {"variants": {}})
    if other := [key for key in settings if key.partition(".")[0] not in SWEPT]:
        raise ValueError(f"{other[0]!r} cannot be swept, only keys of {', '.join(SWEPT)}")
    found = _same_in_jobs(job.training)
    for name, wanted in _same_in_jobs(run.member(1).training).items():
        if found[name] != wanted:
            raise ValueError(
                f"training.{name} is {wanted!r} in [training] but {found[name]!r} in a job; "
                "it must be the same in all jobs"
            )
    return job


def _same_in_jobs(training: Training) -> dict[str, Any]:
    """Return the [training] values that a sweep must not change: budget and comparison."""
    same = {
        name: getattr(training, name)
        for name in ("max_steps", "evaluate_every", "patience", "labels", "seeds", "window")
    }
    return same | {"batch_size * accumulate": training.batch_size * training.accumulate}
