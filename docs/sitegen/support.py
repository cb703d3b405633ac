"""Tables of what works with what: that of README.md, and those that the configuration decides."""

import re
import tomllib
from collections.abc import Iterator
from typing import get_args

from make_support import ALPHABETS, OBJECTIVES, README, run_file
from pydantic import ValidationError

from selfattn_bio.config import RunFile
from sitegen import text

MODELS = {
    "attention": {"kind": "attention"},
    "cnn": {"kind": "cnn"},
    "dilated": {"kind": "dilated"},
    "paired": {"kind": "paired"},
    "pretrained": {"kind": "pretrained", "folder": "models/esm2"},
    "module": {"kind": "module", "module": "my_model:build"},
}


def table() -> str:
    """Return all tables in Markdown."""
    ((tried, also),) = re.findall(
        r"<!-- support matrix.*?-->\n(.*?)<!-- end of support matrix -->\n(.*?)\n\n",
        README.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    return "\n\n".join(
        [
            "## Steps by objective",
            "Each cell was tried with a small attention model (`python docs/make_support.py`). "
            + also,
            tried.strip(),
            "## Models by objective",
            "The columns are the values of `[model] kind`, described in [run_file.md](run_file.md)."
            " `paired` reads two inputs, `pretrained` is a [published language "
            "model](pretrained.md), and `module` is [your own network](extending.md#a-network).",
            text.table(["", *(f"`{name}`" for name in MODELS)], models()),
        ]
    )


def models() -> Iterator[list[str]]:
    """Yield one row per objective: the alphabets for which each kind of model is accepted."""
    for title, objective in OBJECTIVES.items():
        yield [
            title,
            *(
                ", ".join(
                    alphabet for alphabet in ALPHABETS if accepted(alphabet, objective, model)
                )
                or "-"
                for model in MODELS.values()
            ),
        ]


def accepted(alphabet: str, objective: str, model: dict[str, str]) -> bool:
    """Return whether a run file with this model passes all rules of the configuration."""
    values = tomllib.loads(run_file(alphabet, objective))
    if model["kind"] != "attention":  # the stem and pattern of the run file suit the objective
        values["model"] = model
    if model["kind"] == "pretrained":
        values.pop("tokens", None)  # it has a vocabulary of its own
    if "bins" in objective:
        values["objective"]["bin"] = 200  # a multiple of the pooling of all stems
    if "profile" in objective and model["kind"] == "dilated":
        values["model"] = model | {"stem": {"kind": "conv", "pool": 1}}
    if model["kind"] == "paired":
        values["partner"] = {"kind": "sequence", "files": ["partners.fa"]}
    try:
        RunFile.model_validate(values)
    except ValidationError:
        return False
    return True


def kinds(union: object) -> list[str]:
    """Return the values of `kind` in a union of tables."""
    return [member.model_fields["kind"].default for member in members(union)]


def members(union: object) -> tuple[type, ...]:
    """Return the tables of an annotated union."""
    return get_args(get_args(union)[0])
