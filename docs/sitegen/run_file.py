"""Reference of the run file: each key with its values, range, default and meaning.

It is generated from the JSON Schema of the configuration, which editors use as well.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from selfattn_bio.config import RunFile
from sitegen.text import prose, table

Schema = dict[str, Any]
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "null": "",
}


def reference() -> str:
    """Return one section per table of the run file, and below it the tables in it."""
    schema = RunFile.model_json_schema()
    tables = Tables(schema["$defs"])
    for key, node in schema["properties"].items():
        tables.add(key, node)
    parts = []
    for key, node in schema["properties"].items():
        names = [name for name, path in tables.paths.items() if of(path, key)]
        if not names:
            parts += [f"## {key}", table(HEAD, [tables.row(key, node, required=False)])]
        elif tables.title(names[0]) != f"`{key}`":  # several kinds, or several tables
            parts.append(f"## [{key}]")
        parts += map(tables.section, names)
    return "\n\n".join(parts)


HEAD = ["key", "values", "default", "meaning"]


def of(path: str, key: str) -> bool:
    """Return whether a path is that of a top-level key or is in its table."""
    return path == key or path.startswith(f"{key}.")


class Tables:
    """The tables of the schema, each with the path of the first key that holds it."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self.definitions = definitions
        self.paths: dict[str, str] = {}

    def add(self, path: str, node: Schema) -> None:
        """Register the tables below a key."""
        names = [name for name in references(node) if name not in self.paths]
        if named_tables(node) and names:
            path += ".NAME"
        self.paths.update(dict.fromkeys(names, path))
        for name in names:
            for key, each in self.definitions[name].get("properties", {}).items():
                self.add(f"{path}.{key}", each)

    def section(self, name: str) -> str:
        """Return heading, description and keys of one table."""
        definition, title = self.definitions[name], self.title(name)
        is_top = "." not in title and "," not in title
        heading = f"## [{title.strip('`')}]" if is_top else f"### {title}"
        parts = [heading]
        # the first words of a description repeat the title
        text = re.sub(r'^\[[\w.]+\](?: kind = "\w+")?: ', "", definition.get("description", ""))
        parts.append(prose(text[:1].upper() + text[1:]))
        required = definition.get("required", [])
        rows = [
            self.row(key, node, required=key in required)
            for key, node in definition.get("properties", {}).items()
            if key != "kind"
        ]
        return "\n\n".join([*filter(None, parts), *([table(HEAD, rows)] if rows else [])])

    def title(self, name: str) -> str:
        """Return the path of a table and its kind."""
        kinds = ", ".join(f"`{kind}`" for kind in self.kinds(name))
        return f"`{self.paths[name]}`" + (f", kind {kinds}" if kinds else "")

    def kinds(self, name: str) -> list[str]:
        """Return the values of `kind` in a table; an empty list if it has none."""
        node = self.definitions[name].get("properties", {}).get("kind", {})
        return node.get("enum", [node["const"]] if "const" in node else [])

    def row(self, key: str, node: Schema, *, required: bool) -> list[str]:
        """Return the row of one key."""
        default = "required" if required else shown_default(node.get("default"))
        return [f"`{key}`", self.values(node), default, prose(node.get("description", ""))]

    def values(self, node: Schema) -> str:
        """Describe the values that a key accepts."""
        if "$ref" in node:
            return self.link(node["$ref"].rpartition("/")[2])
        if options := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
            return " or ".join(dict.fromkeys(filter(None, map(self.values, options))))
        if "const" in node:
            return f"`{json.dumps(node['const'])}`"
        if "enum" in node:
            return ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
        kind = node.get("type")
        if kind == "array":
            items = node.get("prefixItems", [node.get("items", {})])
            each = ", ".join(dict.fromkeys(filter(None, map(self.values, items))))
            return f"list of {each}" if each else "list"
        if kind == "object":
            each = self.values(named_tables(node))
            return f"table of {each}" if each else "table"
        return f"{WORDS[kind]}{limits(node)}" if kind else ""

    def link(self, name: str) -> str:
        """Return a link to the section of a table."""
        definition = self.definitions[name]
        if "properties" not in definition:
            return self.values(definition)
        return f"[{', '.join(self.kinds(name)) or 'table'}](#{anchor(self.title(name))})"


def named_tables(node: Schema) -> Schema:
    """Return the schema of the values of a table with names that the user chooses."""
    of_pattern = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return of_pattern[0] if isinstance(of_pattern[0], dict) else {}


def references(node: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to directly."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for key, value in node.items():
            if key not in ("discriminator", "default"):
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def anchor(title: str) -> str:
    """Return the target of a heading, as code hosts and the site make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def shown_default(value: Any) -> str:
    """Return a default in TOML; a table by its kind."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        kind = value.get("kind")
        return f'kind `"{kind}"`' if kind else "the defaults of its keys" if value else "empty"
    return f"`{json.dumps(value)}`"


def limits(node: Schema) -> str:
    """Return the range of a number: ", at least 1"."""
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    words = [
        (low, f"at least {low}"),
        (above, f"above {above}"),
        (high, f"at most {high}"),
        (below, f"below {below}"),
        (node.get("pattern"), f"matching `{node.get('pattern')}`"),
    ]
    text = ", ".join(word for bound, word in words if bound is not None)
    return f", {text}" if text else ""
