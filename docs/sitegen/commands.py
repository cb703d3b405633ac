"""Reference of the commands, from the parsers of their options."""

import argparse

from selfattn_bio.cli.main import GROUPS, build_parser
from sitegen.text import prose, table


def reference() -> str:
    """Return one section per command, and the options of every command."""
    parser = build_parser()
    (choices,) = [
        each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)
    ]
    parts = []
    for group, commands in GROUPS.items():
        parts += [
            f"## Commands: {group}",
            *(section(each.name, choices[each.name]) for each in commands),
        ]
    shared = table(["option", "meaning"], options(parser))
    return "\n\n".join([*parts, "## Options before or after each command", shared])


def section(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the section of one command."""
    text, _, example = (parser.description or "").partition("\nexample: ")
    parts = [f"### {name}", description(text)]
    if example:
        parts.append(f"```text\n{example}\n```")
    parts.append(table(["option", "meaning"], options(parser)))
    return "\n\n".join(parts)


def description(text: str) -> str:
    """Return the paragraphs of a help text; indented lines are shown as they are."""
    blocks = []
    for paragraph in text.strip().split("\n\n"):
        is_code = all(line.startswith(" ") for line in paragraph.splitlines())
        blocks.append(f"```text\n{paragraph}\n```" if is_code else prose(paragraph))
    return "\n\n".join(blocks)


def options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Return name and meaning of each option, without `--help`."""
    formatter = parser._get_formatter()
    rows = []
    for action in parser._actions:
        if action.help is None or isinstance(action, argparse._HelpAction):
            continue
        name = formatter._format_action_invocation(action)
        needed = "required; " if action.required and action.option_strings else ""
        rows.append((f"`{name}`", needed + prose(formatter._expand_help(action))))
    return rows
