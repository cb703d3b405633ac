"""Read run files and report the first error with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from selfattn_bio.config.run import RunFile
from selfattn_bio.config.section import Section
from selfattn_bio.display import did_you_mean
from selfattn_bio.errors import RunFileError
from selfattn_bio.files import regular_text


def read_run_file(path: str | Path) -> RunFile:
    """Read and check a run file.

    Raises
    ------
    RunFileError
        If the file is missing, is not TOML, or has an unknown key or a value out of range. An error
        for an unknown key suggests the closest known one. Its `place` is `path:line`.
    """
    path = Path(path)
    try:
        # editors on Windows may write a byte order mark
        text = regular_text(path, encoding="utf-8-sig")
    except FileNotFoundError:
        raise RunFileError("run file not found", place=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"run file cannot be read as UTF-8 text: {error}"
        raise RunFileError(message, place=str(path)) from error
    return run_file_of(text, path).read_from(path)


def place_of(path: str | Path, *keys: str) -> str:
    """Return `path:line` of a key in a run file, or of its table if the key is not set."""
    return f"{path}:{_line_of(list(keys), Path(path).read_text(encoding='utf-8-sig'))}"


def check_files(run_file: Path | None, files: Iterable[str | None]) -> None:
    """Raise `RunFileError`, with the line of the run file, unless these input files exist."""
    for file in files:
        if file and file != "-" and not Path(file).exists():
            lines = run_file.read_text(encoding="utf-8-sig").splitlines() if run_file else []
            quoted = rf"""["']{re.escape(file)}["']"""
            named = (line for line, text in enumerate(lines, 1) if re.search(quoted, text))
            place = f"{run_file}:{next(named, 1)}" if run_file else ""
            hint = "Correct the path, which is relative to the current folder"
            raise RunFileError(f"no such file: {file!r}", place=place, hint=hint)


def run_file_of(text: str, path: Path) -> RunFile:
    """Check the text of a run file that is, or will be, in the file `path`, which errors name."""
    try:
        values = tomllib.loads(text)
    # too many digits or too many brackets are no TOMLDecodeError
    except (ValueError, RecursionError) as error:
        line = re.search(r"line (\d+)", str(error))
        lines = text.splitlines()[int(line[1]) - 1 : int(line[1])] if line else []
        hint = ""
        if any("\\" in each for each in lines):
            hint = "Write paths with /, or between single quotes: 'C:\\data\\a.fa'"
        place = f"{path}:{line[1]}" if line else str(path)
        message = f"run file is not valid TOML: {error}"
        raise RunFileError(message, place=place, hint=hint) from error
    try:
        return RunFile.model_validate(values)
    except ValidationError as error:
        message, keys, hint = _first_error(error, unions_of(RunFile))
        raise RunFileError(message, place=f"{path}:{_line_of(keys, text)}", hint=hint) from error


Keys = list[str | int]  # an integer is the index of an item of a list


@dataclass(frozen=True)
class Unions:
    """Kinds of the tables that are selected by `kind`.

    Attributes
    ----------
    of_key
        The kinds of a table, by its key.
    of_name
        The kinds of tables whose names users choose, by the key of the table that contains them.
    """

    of_key: dict[str, list[str]]
    of_name: dict[str, list[str]]


def unions_of(section: type[Section]) -> Unions:
    """Find the tables with a choice of kinds in a table and in those below."""
    of_key, of_name = dict[str, list[str]](), dict[str, list[str]]()
    for name, field in section.model_fields.items():
        below = list(dict.fromkeys(_sections_in(field.annotation)))
        kinds = [
            kind
            for each in below
            if "kind" in each.model_fields
            for kind in get_args(each.model_fields["kind"].annotation)
        ]
        if len(below) > 1 and kinds:
            of_names = get_origin(field.annotation) is dict
            (of_name if of_names else of_key).setdefault(name, kinds)
        for found in map(unions_of, below):  # kinds that were found before take precedence
            of_key, of_name = found.of_key | of_key, found.of_name | of_name
    return Unions(of_key, of_name)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections in a type such as `dict[str, A | B]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _first_error(error: ValidationError, unions: Unions) -> tuple[str, Keys, str]:
    """Return the message and the keys of the first error, and the number of further errors."""
    first, more = error.errors()[0], error.error_count() - 1
    context, value = first.get("ctx", {}), first["input"]
    # The location contains the tag of `kind` unions ("model", "attention", "embed_dim"), which is
    # not a key of the file. Keys of [sweep] are dotted.
    parts: Keys = [
        key
        for part in first["loc"]
        if part != "[key]"
        for key in (part.split(".") if isinstance(part, str) else [part])
    ]
    keys = [
        key
        for i, key in enumerate(parts)
        if not (i > 0 and key in unions.of_key.get(str(parts[i - 1]), ()))
        and not (i > 1 and key in unions.of_name.get(str(parts[i - 2]), ()))
    ]
    match first["type"]:
        case "unknown_key":
            keys = [*keys, context["key"]]
            message = f"unknown {_name_of(keys)}; {context['hint']}"
        case "missing":
            message = f"missing {_name_of(keys)}"
        case "union_tag_not_found":
            message = f"missing {_name_of([*keys, 'kind'])}; choose one of {_kinds(keys, unions)}"
        case "union_tag_invalid":
            kinds = _kinds(keys, unions)
            choice = _closest(context["tag"], kinds) or f"choose one of {kinds}"
            message = f"unknown kind {context['tag']!r}{_in_table(keys)}; {choice}"
            keys = [*keys, "kind"]
        case "value_error":
            # the input of a validator of one key is the value of that key
            table = keys if isinstance(value, dict | Section) else keys[:-1]
            message = f"{_in_table(table).removeprefix(' in ')} {context['error']}".lstrip()
            keys = keys or _named_first(message)
        case _ if first["loc"][-1] == "[key]":
            message = f"invalid name {value!r}{_in_table(keys[:-1])}; expected {_expected(first)}"
        case _:
            is_choice = first["type"] == "literal_error"
            near = _closest(value, context["expected"]) if is_choice else ""
            value = str(value).lower() if isinstance(value, bool) else repr(value)
            rule = near or f"expected {_expected(first)}"
            message = f"invalid value {value} for {_name_of(keys)}; {rule}"
    plural = "s" if more > 1 else ""
    return message, keys, f"The file has {more} more error{plural}" if more else ""


def _closest(value: Any, choices: str) -> str:
    """Suggest one of the choices, given as "'a', 'b' or 'c'", for a likely misspelling."""
    if not isinstance(value, str):
        return ""
    return did_you_mean(value, re.findall("'(.*?)'", choices), cutoff=0.75)


def _in_table(keys: Keys) -> str:
    return f" in [{'.'.join(map(str, keys))}]" if keys else ""


def _name_of(keys: Keys) -> str:
    """Return "key 'k' in [tokens]" or, for an item of a list, "item 3 of 'pools' in [model]"."""
    *tables, last = keys
    name = f"item {last + 1} of {tables.pop()!r}" if isinstance(last, int) else f"key {last!r}"
    return name + _in_table(tables)


# The characters that a pattern of names or values accepts.
_CHARACTERS = {
    "^[a-z0-9_]+$": "lower-case letters, digits and _",
    "^[A-Za-z0-9_]+$": "letters, digits and _",
    "^[!-,.-~]$": "one ASCII character other than -",
    "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$": "module:function, such as my_model:build",
}
_TYPES = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a table"),
}


def _expected(error: ErrorDetails) -> str:
    """Describe the values that a key accepts."""
    if error["type"] == "string_pattern_mismatch":
        return _CHARACTERS[error["ctx"]["pattern"]]
    # "Input should be greater than 0", "Tuple should have at least 1 item after validation, not 0"
    rule = re.sub(r"^\w+ should (be|have) | after validation.*", "", error["msg"])
    rule = rule.replace("greater than or equal to", "at least")
    rule = rule.replace("less than or equal to", "at most")
    return _TYPES.get(error["type"], re.sub("^(?=greater|less)", "a number ", rule))


def _named_first(message: str) -> Keys:
    """Return the keys named at the start of a message about the complete file.

    For "[interpret] method 'rollout' needs ..." these are interpret and method.
    """
    start = re.match(r"\[[\w.]+\](?: \w+)?|[\w.]*", message)
    assert start is not None  # the pattern matches an empty string
    return re.findall(r"\w+", start[0])


def _kinds(keys: Keys, unions: Unions) -> str:
    """Return the kinds of the table at these keys."""
    *tables, last = map(str, keys)
    return ", ".join(map(repr, unions.of_key.get(last) or unions.of_name[tables[-1]]))


def _line_of(keys: Keys, text: str) -> int:
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
