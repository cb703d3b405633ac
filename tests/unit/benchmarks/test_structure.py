"""Test the figures of `make style` on a small package."""

from pathlib import Path

MODULE = '''"""Text
of a module."""

# a comment
def add_arguments(parser, *rest, name="x", **more):
    """Text."""
    return """two
lines"""
'''


def test_figures_of_small_package(tmp_path: Path) -> None:
    from structure import CODE_LINES, FILE_LINES, figures

    command, long = tmp_path / "selfattn_bio/cli/try.py", tmp_path / "tests/test_long.py"
    for path, text in ((command, MODULE), (long, "x = 1\n" * (FILE_LINES + 1))):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    found = {each.name: each for each in figures(tmp_path, [command, long])}
    assert found["files above 450 lines"].places == ("tests/test_long.py: 451 lines",)
    assert found["lines of a command module, median"].value == 8
    assert found["functions with more than 10 arguments"].value == 0
    assert found["lines of the package"].value == 8
    code = found["without docstrings, comments and blank lines"]
    assert (code.value, code.limit) == (3, CODE_LINES)


def test_arguments_are_counted_without_self() -> None:
    from structure import argument_counts

    assert list(argument_counts(MODULE)) == [(5, "add_arguments", 4)]
    assert list(argument_counts("class A:\n    def run(self, x, /, y): ...\n")) == [(2, "run", 2)]


def test_questions_about_the_kind_are_found(tmp_path: Path) -> None:
    from structure import figures

    text = """
if run.objective.kind == "binary" or MAIN[objective.kind] or isinstance(x, BinsObjective):
    print(f"{run.objective.kind!r}")
match run.objective:
    case config.MaskedObjective() | Other():
        pass
"""
    asks, allowed = (tmp_path / "selfattn_bio" / of / "a.py" for of in ("report", "config"))
    for path in (asks, allowed):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    found = {each.name: each for each in figures(tmp_path, [asks, allowed])}
    figure = found["tests of objective.kind or its section's class"]
    assert [place.split(": ")[0] for place in figure.places] == [
        "selfattn_bio/report/a.py:2",
        "selfattn_bio/report/a.py:2",
        "selfattn_bio/report/a.py:2",
        "selfattn_bio/report/a.py:5",
    ]
    assert figure.is_over


def test_figure_above_its_limit_is_marked() -> None:
    from structure import Figure

    assert Figure("files", 3, 2).row.endswith("  OVER")
    assert not Figure("files", 2, 2).is_over
    assert not Figure("files", 9).is_over
