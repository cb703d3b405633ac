"""Test the figures of `make style` on a small package, and the imports of all benchmarks."""

import ast
from pathlib import Path

import pytest

MODULE = '''"""Text
of a module."""

# a comment
@command(option("name"))
def add_arguments(parser, *rest, name="x", **more):
    """Text."""
    return """two
lines"""
'''


def figures_of(root, texts):
    """Return the figures of files with these texts by name."""
    from structure import figures

    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return {each.name: each for each in figures(root, [root / name for name in texts])}


def test_figures_of_small_package(tmp_path):
    from structure import CODE_LINES, FILE_LINES

    long = "x = 1\n" * (FILE_LINES + 1)
    found = figures_of(tmp_path, {"selfattn_bio/cli/try.py": MODULE, "tests/test_long.py": long})
    assert found["files above 450 lines"].places == ("tests/test_long.py: 451 lines",)
    assert found["lines of a command, most"].value == 5
    assert found["functions with more than 10 arguments"].value == 0
    assert found["lines of the package"].value == 9
    code = found["without docstrings, comments and blank lines"]
    assert (code.value, code.limit, code.is_over) == (4, CODE_LINES, False)


def test_arguments_are_counted_without_self():
    from structure import argument_counts

    assert list(argument_counts(MODULE)) == [(6, "add_arguments", 4)]
    assert list(argument_counts("class A:\n    def run(self, x, /, y): ...\n")) == [(2, "run", 2)]


def test_questions_about_the_kind_are_found(tmp_path):
    text = """
if run.objective.kind == "binary" or MAIN[objective.kind] or isinstance(x, BinsObjective):
    print(f"{run.objective.kind!r}")
match run.objective:
    case config.MaskedObjective() | Other():
        pass
"""
    report = "selfattn_bio/report/a.py"
    found = figures_of(tmp_path, {report: text, "selfattn_bio/config/a.py": text})
    figure = found["tests of objective.kind or its section's class"]
    lines = [place.split(": ")[0].removeprefix(report) for place in figure.places]
    assert lines == [":2", ":2", ":2", ":5"]
    assert figure.is_over
    assert figure.row.endswith("  OVER")


SCRIPTS = sorted((Path(__file__).parents[3] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_benchmark_imports_exist(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "selfattn_bio":
            names = {}
            exec(ast.unparse(node), names)
            assert {each.asname or each.name for each in node.names} <= names.keys()
