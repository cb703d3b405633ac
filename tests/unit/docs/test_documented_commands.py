"""Parse every `selfattn-bio ...` command of the documentation, inline code included.

tests/integration/test_docs_blocks.py runs most blocks; others would take too long there.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfattn_bio.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).parents[3]
PAGES = [
    path
    for folder in (".", "data", "docs", "workflows")
    for path in ROOT.glob(f"{folder}/*.md")
    if path.name not in ("CHANGELOG.md", "decisions.md")  # which also name what was removed
]
# a line that starts with the command, with the lines that continue it
LINE = re.compile(r"^ *selfattn-bio ((?:[^\n\\]|\\\n|\\.)+)", re.MULTILINE)
INLINE = re.compile(rf"`(?:selfattn-bio )?((?:{'|'.join(COMMANDS)})(?: [^`]*)?)`")


def words_of(line: str) -> list[str]:
    """Split a line of shell into words, up to a pipe, a redirection or another command."""
    words = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found = list(words)
    ends = [index for index, word in enumerate(found) if set(word) <= set("|&;<>")]
    return found[: ends[0]] if ends else found


def commands_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each complete command with the number of its line."""
    for match in LINE.finditer(text):
        yield text[: match.start()].count("\n") + 1, words_of(match[1])


def mistakes(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the errors of complete commands, and the unknown options of inline code."""
    found = []
    parser = build_parser()
    (choices,) = [each.choices for each in parser._actions if each.dest == "command"]
    for line, words in commands_of(text):
        try:
            parser.parse_args(words)
        except SystemExit as stopped:
            if stopped.code:  # --help and --version exit with 0
                found.append(f"line {line}: {capsys.readouterr().err}")
    for match in INLINE.finditer(text):
        name, *words = match[1].split()
        known = {option for each in choices[name]._actions for option in each.option_strings}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if name != "run" and options - known:  # `run` passes options to Snakemake
            found.append(f"{match[0]}: no option {options - known}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_documented_commands_parse(page, capsys):
    assert mistakes(page.read_text(encoding="utf-8"), capsys) == []


def test_wrong_documented_commands_are_found(capsys):
    good = "    selfattn-bio score --model m --fasta a.fa \\\n      --output b.tsv  # scores\n"
    ((_, words),) = commands_of(good)
    assert words == ["score", "--model", "m", "--fasta", "a.fa", "--output", "b.tsv"]
    assert mistakes(good + "`selfattn-bio score --model` and `embed --output x`", capsys) == []
    wrong = "selfattn-bio score --modle m --fasta a.fa --output b.tsv\nselfattn-bio scores\n"
    assert len(mistakes(wrong + "`init task --positive a.fa`", capsys)) == 3
