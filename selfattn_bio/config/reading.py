"""Read TOML files made of sections and report the first error with its line."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, get_args, get_origin

from pydantic import ValidationError

from selfattn_bio.config.attention import Mixer, Pattern, Position
from selfattn_bio.config.data import Label, Negatives, TrackTarget, Windows
from selfattn_bio.config.interpret import Caller, Method
from selfattn_bio.config.model import Exits, Gates, Head, Model, Stem
from selfattn_bio.config.objective import Objective, Part
from selfattn_bio.config.partner import Partner
from selfattn_bio.config.run import RunFile
from selfattn_bio.config.section import SectionT
from selfattn_bio.config.split import Split
from selfattn_bio.config.training import Balance
from selfattn_bio.errors import RunFileError, SelfAttnBioError


@dataclass(frozen=True)
class Form(Generic[SectionT]):
    """A kind of TOML file.

    Attributes
    ----------
    section
        The model of the file.
    what
        Name of the file in error messages.
    failure
        Class of the errors raised.
    unions
        For each key, the types that are selected by `kind`.
    """

    section: type[SectionT]
    what: str
    failure: type[SelfAttnBioError]
    unions: Mapping[str, Any]

    def read(self, path: str | Path) -> SectionT:
        """Read and check a file.

        Errors are those of `read_run_file`.
        """
        path = Path(path)
        try:
            text = path.read_text(
                encoding="utf-8-sig"
            )  # editors on Windows may write a byte order mark
        except FileNotFoundError:
            raise self.failure(
                f"{self.what} must be an existing TOML file, got no such file", place=str(path)
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self.failure(
                f"{self.what} must be readable UTF-8 text, got {error}", place=str(path)
            ) from error
        return self.check(text, path)

    def check(self, text: str, path: Path) -> SectionT:
        """Check text that is, or will be, in the file `path`, which errors name."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line (\d+)", str(error))
            lines = text.splitlines()[int(line[1]) - 1 : int(line[1])] if line else []
            hint = (
                "Write paths with /, or between single quotes: 'C:\\data\\a.fa'"
                if any("\\" in each for each in lines)
                else ""
            )
            place = f"{path}:{line[1]}" if line else str(path)
            raise self.failure(
                f"{self.what} must be TOML, got {error}", place=place, hint=hint
            ) from error
        try:
            return self.section.model_validate(values)
        except ValidationError as error:
            message, keys, hint = _first_mistake(error, self.unions)
            raise self.failure(
                message, place=f"{path}:{_line_of(keys, text)}", hint=hint
            ) from error


def read_run_file(path: str | Path) -> RunFile:
    """Read and check a run file.

    Raises
    ------
    RunFileError
        If the file is missing, is not TOML, or has an unknown key or a value out of range. An error
        for an unknown key suggests the closest known one. The place is `path:line`.
    """
    return _RUN_FILES.read(path)


def run_file_of(text: str, path: Path) -> RunFile:
    """Check the text of a run file before it is written to `path`."""
    return _RUN_FILES.check(text, path)


def _first_mistake(error: ValidationError, unions: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """Return the first error, the keys it is at, and a hint that counts the remaining ones."""
    first, more = error.errors()[0], error.error_count() - 1
    context = first.get("ctx", {})
    # The location contains the tag of `kind` unions ("model", "attention", "embed_dim"), which is
    # not a key of the file.
    # [sweep] has dotted keys
    parts = [key for part in first["loc"] if part != "[key]" for key in str(part).split(".")]
    # below these, a name chosen by the user comes before the tag
    named = (["several", "parts"], ["data", "tracks"])
    keys = [
        key
        for i, key in enumerate(parts)
        if not (i > 0 and (parts[i - 1] in unions or parts[max(i - 3, 0) : i - 1] in named))
    ]
    match first["type"]:
        case "unknown_key":
            keys = [*keys, context["key"]]
            message = (
                f"{'.'.join(keys)} must be a known key, got {context['key']!r} ({context['hint']})"
            )
        case "missing":
            message = f"{'.'.join(keys)} must be given, got nothing"
        case "union_tag_not_found":
            message = f"{'.'.join(keys)}.kind must be one of {_kinds(keys, unions)}, got nothing"
        case "union_tag_invalid":
            kinds, keys = _kinds(keys, unions), [*keys, "kind"]
            message = f"{'.'.join(keys)} must be one of {kinds}, got {context['tag']!r}"
        case "value_error":
            message = f"[{'.'.join(keys)}] {context['error']}" if keys else str(context["error"])
            keys = keys or _named_first(message)
        case _:
            # pydantic: "Input should be greater than 0", "Tuple should have at least 1 item"
            rule = re.sub(r"^\w+ should ", "must ", first["msg"]).replace("tuple", "list")
            rule = rule.replace(
                "be a valid dictionary or object to extract fields from",
                "be a table such as { kind = ... }",
            )
            message = f"{'.'.join(keys)} {rule}, got {first['input']!r}"
    return message, keys, f"{more} more to mend after this one" if more else ""


_UNIONS: dict[str, Any] = {
    **{"windows": Windows, "negatives": Negatives, "label": Label},
    **{
        "partner": Partner,
        "split": Split,
        "objective": Objective,
        "model": Model,
        "cross_position": Position,
    },
    **{
        "stem": Stem,
        "position": Position,
        "pattern": Pattern,
        "mixer": Mixer,
        "head": Head,
        "gates": Gates,
        "exits": Exits,
    },
    **{"method": Method, "caller": Caller, "balance": Balance},
}
_RUN_FILES = Form(RunFile, "run file", RunFileError, _UNIONS)


def _named_first(message: str) -> list[str]:
    """Return the keys named at the start of a message about the complete file.

    For "[interpret] method must go with ..." these are interpret and method.
    """
    return re.findall(r"\w+", re.match(r"\[[\w.]+\](?: \w+)?|[\w.]*", message)[0])  # type: ignore[index]


def _kinds(keys: Sequence[str], unions: Mapping[str, Any]) -> str:
    """Return the kinds of the union at these keys."""
    # tracks and parts of several objectives have names chosen by the user
    of_own_name = TrackTarget if "tracks" in keys else Part
    members = get_args(get_args(unions.get(keys[-1], of_own_name))[0])
    sections = [
        get_args(member)[0] if get_origin(member) is Annotated else member for member in members
    ]
    kinds = (
        get_args(section.model_fields["kind"].annotation)
        for section in sections
        if hasattr(section, "model_fields")
    )
    return ", ".join(map(repr, itertools.chain.from_iterable(kinds)))


def _line_of(keys: Sequence[str], text: str) -> int:
    """Return the 1-based line that sets `keys`, or that of the closest table or key above."""
    table: list[str] = []
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.match(r"""\s*(?P<table>\[+)?\s*(?P<keys>[\w."'-]+)\s*[\]=]""", line)
        if not found:
            continue
        path = [key.strip("\"'") for key in found["keys"].split(".")]
        table = path if found["table"] else table
        path = path if found["table"] else table + path
        shared = min(len(path), len(keys))
        if shared > depth and path[:shared] == list(keys[:shared]):
            best, depth = number, shared
    return best
