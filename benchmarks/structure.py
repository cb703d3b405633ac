"""Measure the structure of the package: sizes of files, commands and functions, lines of code.

`benchmarks/style.py` prints the figures and compares them with their limits.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_LINES = 450
ARGUMENTS = 10  # of a function, without self
IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}
# docs/decisions.md says when the last one was raised.
LONG_FILES, COMMAND_MOST, MANY_ARGUMENTS = 0, 110, 0
CODE_LINES = 34_852  # of the package; the goal is 30,000


@dataclass(frozen=True)
class Figure:
    """A figure of the package; it must not exceed `limit`.

    `places` has a line for each file or function that counts.
    """

    name: str
    value: float
    limit: float | None = None
    places: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the figure exceeds its limit."""
        return self.limit is not None and self.value > self.limit

    @property
    def row(self) -> str:
        """The figure and its limit in aligned columns."""
        limit = "" if self.limit is None else f"{self.limit:,g}"
        return f"{self.name:50}{self.value:9,g}{limit:>9}{'  OVER' if self.is_over else ''}"


def figures(root: Path, files: Iterable[Path]) -> Iterator[Figure]:
    """Yield the figures of Python files below `root`.

    Files in `selfattn_bio` are the package; other files only count as long files.
    """
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in files}
    lines = {path: text.count("\n") for path, text in texts.items()}
    package = {path: text for path, text in texts.items() if path.parts[0] == "selfattn_bio"}
    long = tuple(f"{path}: {n} lines" for path, n in lines.items() if n > FILE_LINES)
    yield Figure(f"files above {FILE_LINES} lines", len(long), LONG_FILES, long)
    commands = [
        (number, f"{path}:{line}: {name} has {number} lines")
        for path, text in package.items()
        for line, name, number in command_sizes(text)
    ]
    most = max((number for number, _ in commands), default=0)
    longest = tuple(place for number, place in commands if number > COMMAND_MOST)
    yield Figure("lines of a command, most", most, COMMAND_MOST, longest)
    many = tuple(
        f"{path}:{line}: {name} has {number} arguments"
        for path, text in package.items()
        for line, name, number in argument_counts(text)
        if number > ARGUMENTS
    )
    name = f"functions with more than {ARGUMENTS} arguments"
    yield Figure(name, len(many), MANY_ARGUMENTS, many)
    kinds = tuple(
        f"{path}:{line}: {text}"
        for path, source in package.items()
        if not path.is_relative_to("selfattn_bio/objectives")
        and not path.is_relative_to("selfattn_bio/config")
        for line, text in kind_tests(source)
    )
    yield Figure("tests of objective.kind or its section's class", len(kinds), 0, kinds)
    yield Figure("lines of the package", sum(lines[path] for path in package))
    code = sum(code_lines(text) for text in package.values())
    yield Figure("without docstrings, comments and blank lines", code, CODE_LINES)


def command_sizes(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield line, name and number of lines of each function below `@command(...)`."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(decorator_list=[ast.Call(func=ast.Name(id="command")) as first]):
                yield node.lineno, node.name, (node.end_lineno or 0) - first.lineno + 1


def argument_counts(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield line, name and number of arguments of each function, without self and cls."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = node.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            own = [each for each in named if each.arg not in ("self", "cls")]
            yield node.lineno, node.name, len(own) + bool(given.vararg) + bool(given.kwarg)


def kind_tests(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each test of `objective.kind`, or of the class of its section.

    Found are comparisons, look-ups and `match` of an expression that ends with `objective.kind`,
    and `isinstance` and `case` with a class whose name contains `Objective`. Not found are tests of
    a variable that holds the kind, and of the classes in `objectives`, such as `Binary`. Only
    `config` and `objectives` may contain these tests.
    """
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Compare(left=left, comparators=others):
                found = any(map(_is_kind, (left, *others)))
            case ast.Subscript(slice=key):
                found = _is_kind(key)
            case ast.Match(subject=subject):
                found = _is_kind(subject)
            case ast.MatchClass(cls=of):
                found = "Objective" in ast.unparse(of)
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, of]):
                found = "Objective" in ast.unparse(of)
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
                found = _is_kind(key)
            case _:
                found = False
        if found:
            yield getattr(node, "lineno", 0), ast.unparse(node).splitlines()[0]


def _is_kind(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="kind", value=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name == "objective"
        case _:
            return False


def code_lines(text: str) -> int:
    """Count the lines of a module without docstrings, comments and blank lines."""
    counted: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in IGNORED:
            counted |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            counted -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(counted)
