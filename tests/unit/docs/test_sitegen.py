"""Test the generated parts of the documentation site, and parse all commands of the documentation.

tests/integration/test_docs_blocks.py runs most blocks; others would take too long there.
"""

import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import selfattn_bio
from selfattn_bio.baselines import BASELINES
from selfattn_bio.cli.main import COMMANDS, build_parser
from selfattn_bio.config import AnyModel, AnyObjective, RunFile
from selfattn_bio.report import plots, target_plots

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [
    path
    for folder in (".", "data", "docs", "workflows")
    for path in ROOT.glob(f"{folder}/*.md")
    if path.name not in ("CHANGELOG.md", "decisions.md")  # which also name what was removed
]
# a line that starts with the command, with the lines that continue it
LINE = re.compile(r"^ *selfattn-bio ((?:[^\n\\]|\\\n|\\.)+)", re.MULTILINE)
LISTED = re.compile(r"^- `(--[a-z][\w-]*)", re.MULTILINE)  # options in a list
INLINE = re.compile(rf"`(?:selfattn-bio )?((?:{'|'.join(COMMANDS)})(?: [^`]*)?)`")
sys.path.insert(0, str(DOCS))

from make_pages import pages  # noqa: E402
from sitegen import commands, gallery, run_file, simulated, support  # noqa: E402

MODULES = ("class_figures", "figures", "performance")  # figures of the smoke task


def test_every_key_of_the_run_file_is_described():
    text = run_file.reference()
    schema = RunFile.model_json_schema()
    tables = run_file.Tables(schema["$defs"])
    for key, node in schema["properties"].items():
        tables.add(key, node)
    for name in schema["properties"]:
        assert re.search(rf"^## \[?{name}\]?$", text, re.MULTILINE), name
    missing = []
    for name, definition in schema["$defs"].items():
        if "properties" not in definition:
            continue
        title = tables.title(name)
        heading = rf"^(### {re.escape(title)}|## \[{re.escape(title.strip('`'))}\])$"
        below = re.split(heading, text, maxsplit=1, flags=re.MULTILINE)[-1]
        section = re.split(r"^##", below, maxsplit=1, flags=re.MULTILINE)[0]
        rows = re.findall(r"^\| `(\w+)` \|.* \S+ \|$", section, re.MULTILINE)
        missing += [f"{name}.{key}" for key in definition["properties"] if key not in rows]
    assert [key for key in missing if not key.endswith(".kind")] == []


def test_keys_have_values_ranges_and_defaults():
    text = run_file.reference()
    assert "| `batch_size` | whole number, at least 1 | `64` | records per batch |" in text
    assert "| `learning_rate` | number, above 0 | `0.004` |" in text
    assert '| `schedule` | `"cosine"`, `"linear"`, `"inverse_sqrt"`, `"constant"` |' in text
    assert "| `position` | [t5](#modelposition-kind-t5) or " in text
    assert "| `epsilon` | number, above 0, at most 50 | required |" in text


def test_baselines_are_listed_with_their_alphabets():
    text = (DOCS / "baselines.md").read_text(encoding="utf-8")
    read = {("dna",): "DNA and RNA", ("protein",): "protein"}
    rows = re.findall(r"^\| (`[\w`, ]+`) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    listed = [
        (BASELINES[name], of)
        for names, of in rows
        for name in re.findall(r"\w+", names)
        if name != "cnn"
    ]
    assert {kind.name for kind, _ in listed} > {"gc", "motif_scores", "kmer2_trees"}
    for kind, of in listed:
        assert of.startswith(read.get(kind.alphabets, "")), kind.name


def test_generated_parts_of_pages_are_current():
    old = [path.name for path, text in pages() if path.read_text(encoding="utf-8") != text]
    assert old == []  # run python docs/make_pages.py


def test_every_option_of_each_command_is_described():
    text = commands.reference()
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == list(COMMANDS)
    parser = commands.build_parser()
    (choices,) = [each.choices for each in parser._actions if each.dest == "command"]
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    for name, section in zip(COMMANDS, sections, strict=True):
        options = {each for action in choices[name]._actions for each in action.option_strings}
        shown = set(re.findall(r"--?[a-z][\w-]*", section))
        assert options - {"-h", "--help"} <= shown, name


def test_support_tables_list_every_kind():
    assert set(support.MODELS) == set(support.kinds(AnyModel))
    named = {text.split('"')[1] if text else "binary" for text in support.OBJECTIVES.values()}
    assert named == set(support.kinds(AnyObjective))
    rows = {row[0]: dict(zip(support.MODELS, row[1:], strict=True)) for row in support.models()}
    assert rows["two classes (`binary`)"]["cnn"] == "DNA, RNA, protein"
    assert rows["bins along a chromosome (`bins`)"]["dilated"] == "DNA"
    assert rows["masked language model (`masked`)"]["cnn"] == "-"


def test_gallery_draws_the_simulated_plots():
    drawn = list(gallery.of_objectives())
    assert [plot.title for plot in drawn] == [title for title, *_ in simulated.plots()]
    assert all("<img" in plot.image or "<svg" in plot.image for plot in drawn)


def test_gallery_shows_every_plot():
    shown = {name for _, _, _, name, _ in simulated.plots()}
    assert {name for name in dir(target_plots) if name.startswith("draw_")} <= shown
    report = (ROOT / f"selfattn_bio/report/{name}.py" for name in MODULES)
    modules = [*report, DOCS / "sitegen/gallery.py"]
    drawn = "".join(path.read_text(encoding="utf-8") for path in modules)
    functions = {name for name in dir(plots) if name.startswith("draw_")} - shown
    assert [name for name in functions if f"plots.{name}" not in drawn] == []
    gallery = (DOCS / "sitegen/gallery.py").read_text(encoding="utf-8")
    classes = [
        name
        for name in selfattn_bio.__all__
        if inspect.isclass(thing := getattr(selfattn_bio, name)) and hasattr(thing, "plot")
    ]
    assert len(classes) >= 5
    assert [name for name in classes if f"selfattn_bio.{name}" not in gallery] == []


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
    """Return the errors of complete commands, and the unknown options of inline code and lists."""
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
    for match in LISTED.finditer(text):
        before = [words[0] for _, words in commands_of(text[: match.start()])]
        before = [name for name in before if name in choices]
        if before and match[1] not in choices[before[-1]]._option_string_actions:
            found.append(f"{match[0]}: no option of {before[-1]}")
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
    listed = "selfattn-bio audit mine\n\n- `--pretraining DIR` is known\n- `--model DIR` is not\n"
    assert mistakes(listed, capsys) == ["- `--model: no option of audit"]
