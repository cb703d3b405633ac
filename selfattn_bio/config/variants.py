"""[variants.NAME]: the same run with another model or training, as a baseline or control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from selfattn_bio.config.model import AnyModel, CnnModel, PairedModel
from selfattn_bio.config.section import Section
from selfattn_bio.config.stack import KNOWN_BASELINES, StackSection
from selfattn_bio.config.stem import Tokens
from selfattn_bio.config.training import Training, Transfer
from selfattn_bio.errors import ArgumentError

if TYPE_CHECKING:
    from selfattn_bio.config.run import RunFile


PARTNER = "partner_"  # prefix of the baselines of second inputs
NETWORK = "network"  # name of the network of a stacked model when evaluated alone


def check_variant_name(name: str) -> str:
    """Return the name of a variant, which must not be that of the model or of a baseline.

    Raises
    ------
    ArgumentError
        If the name is taken.
    """
    if name in ("model", NETWORK) or name.removeprefix(PARTNER) in KNOWN_BASELINES:
        raise ArgumentError(
            f"{name!r} is the name of the model or of a baseline; choose another name"
        )
    return name


VariantName = Annotated[str, Field(pattern="^[a-z0-9_]+$"), AfterValidator(check_variant_name)]


class VariantSection(Section):
    """[variants.NAME]: the same run with another model or training, as a baseline or control."""

    tokens: Tokens | None = Field(None, description="[tokens] of the variant, if it differs")
    model: AnyModel | None = Field(
        None, description="if members is not given, it is that of [model]"
    )
    training: Training = Field(
        Training(),
        description="values that differ from [training]; all others are taken from there",
    )
    transfer: Transfer | None = Field(
        None,
        description="parent of the variant, if it has tokens or model; otherwise the parent is "
        "that of the run",
    )


def default_variants() -> dict[str, VariantSection]:
    """Return the variants of a binary run with one input: a CNN and shuffled labels."""
    return {
        "cnn": VariantSection(model=CnnModel()),
        "shuffled": VariantSection(training=Training(labels="shuffled")),
    }


def default_variants_of_pairs() -> dict[str, VariantSection]:
    """Return the variants of a binary run with two inputs: each alone, and shuffled labels."""
    return {
        "first_alone": VariantSection(training=Training(pairs="first_alone")),
        "partner_alone": VariantSection(training=Training(pairs="partner_alone")),
        "shuffled": VariantSection(training=Training(labels="shuffled")),
    }


def apply_variant(run: RunFile, change: VariantSection) -> RunFile:
    """Apply a variant to a run and validate the result as a run file."""
    values: dict[str, Any] = {name: getattr(run, name) for name in type(run).model_fields}
    values |= {
        "variants": {},
        "sweep": None,
        "stack": StackSection(),  # variants are compared as networks, without a stack
        "training": run.training.model_dump()
        | {key: getattr(change.training, key) for key in change.training.model_fields_set},
        "tokens": change.tokens or run.tokens,
        "model": _sized(change.model, run.model) if change.model else run.model,
    }
    if not isinstance(values["model"], PairedModel):
        values["partner"] = None  # a model with one input has no partner
    if change.tokens or change.model:
        values["transfer"] = (
            change.transfer
        )  # the weights of [transfer] may not fit another network
    return type(run).model_validate(values)


def _sized(model: AnyModel, like: AnyModel) -> AnyModel:
    """Copy members and strands of `like` to a variant's model unless the variant sets them.

    Equal sizes make the comparison fair.
    """
    names = {
        name
        for name in ("members", "strands")
        if hasattr(like, name) and name in type(model).model_fields
    }
    return model.model_copy(
        update={name: getattr(like, name) for name in names - model.model_fields_set}
    )
