"""Runs that are derived from a run file: [variants.NAME] and the jobs of [sweep].

A variant is the same run with another model or training, as a baseline or control. A sweep tries
lists of values; each combination of values is one job.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, field_serializer, model_validator

from selfattn_bio.config.genome import kind_of
from selfattn_bio.config.model import AnyModel, PairedModel, Tokens
from selfattn_bio.config.section import Names, Section
from selfattn_bio.config.training import KNOWN_BASELINES, StackSection, Training, Transfer
from selfattn_bio.display import dotted
from selfattn_bio.errors import ArgumentError

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


PARTNER = "partner_"  # prefix of the baselines of second inputs
NETWORK = "network"  # name of the network of a stacked model when evaluated alone
STACKED = "+stack"  # ends the name of a variant that is evaluated with the model's simple models
RESERVED = (
    *("model", NETWORK),
    *("markov", "unigram"),  # baselines that are not saved
    # other columns of the tables of predictions
    *("id", "chrom", "start", "end", "label", "predicted"),
    *("model_logit", "model_calibrated", "model_spread"),
)


def check_variant_name(name: str) -> str:
    """Return the name of a variant, which must not be that of another result of `evaluate`.

    Raises
    ------
    ArgumentError
        If the name is taken.
    """
    if name in RESERVED or name.removeprefix(PARTNER) in KNOWN_BASELINES:
        raise ArgumentError(
            f"{name!r} is the name of the model, of a baseline or of a column; choose another name"
        )
    return name


VariantName = Annotated[str, Field(pattern="^[a-z0-9_]+$"), AfterValidator(check_variant_name)]


class VariantSection(Section):
    """[variants.NAME]: the same run with another model or training, as a baseline or control.

    Attributes
    ----------
    tokens
        [tokens] of the variant, if it differs
    model
        if members is not given, it is that of [model]
    training
        values that differ from [training]; all others are taken from there
    transfer
        parent of the variant, if it has tokens or model; otherwise the parent is that of the
        run
    """

    tokens: Tokens | None = None
    model: AnyModel | None = None
    training: Training = Training()
    transfer: Transfer | None = None

    @field_serializer("model", "training", when_used="unless-none")
    def _set_keys(self, section: Section) -> dict[str, Any]:
        """Leave out keys that are taken from the run, so that they still are when read again.

        Keys that are set are written, also those that `left_out` omits from other tables.
        """
        inherited = inherited_keys(section)
        known = {key: value for key, value in section if value is not None}
        values = known | section.model_dump(mode="json", exclude_none=True)
        return {key: value for key, value in values.items() if key not in inherited}


def inherited_keys(section: Section) -> set[str]:
    """Return the keys that [training] or [model] of a variant takes from the run.

    A model that does not set its members or strands has those of the run, because equal sizes make
    the comparison fair.
    """
    keys = type(section).model_fields.keys() - section.model_fields_set
    return keys if isinstance(section, Training) else keys & {"members", "strands"}


def default_variants(objective: str, model: Any, is_private: bool) -> dict[str, Any]:
    """Return the default variants, which depend on the objective and the model.

    Pretrained models get the same network with random weights, trained and frozen. Other binary
    runs get a CNN and a control with shuffled labels. Runs with two inputs get each input alone
    instead of the CNN. Private runs get none: a CNN cannot be private, and each variant would train
    on the records once more.

    Parameters
    ----------
    objective
        Kind of the objective.
    model
        Section [model], or its values before they are checked.
    is_private
        Whether the run has a section [privacy].
    """
    if kind_of(model) == "pretrained":
        return default_variants_of_pretrained(model)
    if objective != "binary" or is_private:
        return {}
    shuffled = {"shuffled": {"training": {"labels": "shuffled"}}}
    if kind_of(model) == "paired":
        alone = ("first_alone", "partner_alone")
        return {name: {"training": {"pairs": name}} for name in alone} | shuffled
    return {"cnn": {"model": {"kind": "cnn"}}, **shuffled}


def default_variants_of_pretrained(model: Any) -> dict[str, Any]:
    """Return the controls of a pretrained model: its network with random weights.

    All of them are trained, or none, so that only the head is.

    Parameters
    ----------
    model
        Section [model], or its values before they are checked.
    """
    values = dict(model) | {"weights": "random"}
    return {
        "random_init": {"model": values | {"adapt": "all"}},
        "random_embedding": {"model": values | {"adapt": "frozen"}},
    }


def apply_variant(run: RunFile, change: VariantSection) -> RunFile:
    """Apply a variant to a run and validate the result as a run file."""
    values: dict[str, Any] = {name: getattr(run, name) for name in type(run).model_fields}
    values |= {
        "variants": {},
        "sweep": None,
        "stack": StackSection(),  # `evaluate` combines variants with the parts of the model
        "training": run.training.model_dump()
        | {key: getattr(change.training, key) for key in change.training.model_fields_set},
        "tokens": change.tokens or run.tokens,
        "model": _sized(change.model, run.model) if change.model else run.model,
    }
    if not isinstance(values["model"], PairedModel):
        values["partner"] = None  # a model with one input has no partner
    if change.tokens or change.model:
        # the weights of [transfer] may not fit another network
        values["transfer"] = change.transfer
    return type(run).model_validate(values)


def _sized(model: AnyModel, like: AnyModel) -> AnyModel:
    """Copy members and strands of `like` to a variant's model unless the variant sets them."""
    copied = [name for name in inherited_keys(model) if hasattr(like, name)]
    return model.model_copy(update={name: getattr(like, name) for name in copied})


# Sections that may differ between jobs, which share data and objective.
SWEPT = ("tokens", "model", "training", "transfer")


class Sweep(Section):
    """[sweep]: a list of values for each dotted key; each combination of values is a job.

    Attributes
    ----------
    of
        what to sweep: model, names of variants, or both; each gets the same jobs
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]]
    of: Names = ("model",)

    @model_validator(mode="before")
    @classmethod
    def _flatten_keys(cls, values: Any) -> Any:
        """Flatten nested tables: learning_rate in [sweep.training] is training.learning_rate.

        [sweep] accepts any key. Unknown keys are reported when the run file of each job is
        validated.
        """
        return dict(dotted(values)) if isinstance(values, dict) else values

    def problems(self) -> Iterator[str]:
        if not self.__pydantic_extra__:
            yield 'no key to sweep; add one, such as "training.learning_rate" = [1e-3, 4e-3]'

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of each job: dotted key to value. The last key varies fastest."""
        lists = self.__pydantic_extra__
        for values in itertools.product(*lists.values()):
            yield dict(zip(lists, values, strict=True))


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
        message = "two jobs have the same settings; list each value, and each name in of, once"
        raise ValueError(message)
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
