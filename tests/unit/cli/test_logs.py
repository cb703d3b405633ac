"""Test --quiet, --json, progress, and the table of exit codes in docs/commands.md."""

import ast
import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from selfattn_bio import log
from selfattn_bio.cli import main as cli
from selfattn_bio.errors import SequenceFileError, TrainingInterrupted
from selfattn_bio.log import LOG, Progress, log_lines, logging_from

PAGE = (Path(__file__).parents[3] / "docs/commands.md").read_text(encoding="utf-8")
CODES = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}


def speak(arguments):
    """Print and log lines, and fail."""
    print("step 1\nhalf ", end="")
    print("of step 2\n")
    print("no --prior", file=sys.stderr)
    LOG.info("read 2 records")
    LOG.warning("a batch was short")
    raise SequenceFileError("invalid character 'ü'", place="a.fa:3")


def test_json_lines(command, capsys):
    command(speak)
    assert cli.main(["try", "--json"]) == 1
    printed = capsys.readouterr()
    assert "ü" in printed.err  # not escaped
    out, err = ([json.loads(line) for line in text.splitlines()] for text in printed)
    assert {each["command"] for each in out + err} == {"try"}
    times = [each["time"] for each in out + err]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in times)
    assert {each["level"] for each in out} == {"info"}
    messages = ["step 1", "half of step 2", "read 2 records"]
    messages += ["no --prior", "a batch was short", "a.fa:3: invalid character 'ü'"]
    assert [each["message"] for each in out + err] == messages
    assert [each["level"] for each in err] == ["warning", "warning", "error"]
    assert err[-1]["exit_code"] == 1
    print("after it stdout is as it was")
    assert capsys.readouterr().out == "after it stdout is as it was\n"


@pytest.mark.parametrize("option", ["--verbose", "--quiet"])
def test_logged_lines_name_the_command(command, capsys, option):
    command(speak)
    assert cli.main(["try", option]) == 1
    out, err = capsys.readouterr()
    assert "no --prior\nselfattn-bio try: warning: a batch was short\n" in err
    assert "selfattn-bio try: error: a.fa:3: invalid character 'ü'\n" in err
    shown = "step 1\nhalf of step 2\n\ntry: read 2 records\n"
    assert out.endswith(shown) if option == "--verbose" else out == ""
    LOG.info("after it nothing is printed")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SequenceFileError("a file is damaged"), 1),
        (OSError(errno.ENOSPC, "full", "a"), 1),
        (KeyboardInterrupt(), 130),
        (TrainingInterrupted("stopped", place="m", hint="", signal_number=signal.SIGTERM), 143),
    ],
)
def test_exit_codes_match_docs(fails_with, error, code):
    fails_with(error)
    assert cli.main(["try"]) == code
    assert code in CODES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tyr", "(choose from 'try'). Did you mean try?"),
        ("try --unknown", "try: error: unrecognized arguments: --unknown\n"),
        ("try --model x", "unrecognized arguments: --model x\n"),
        ("try --qiuet", "unrecognized arguments: --qiuet. Did you mean --quiet?"),
        ("try --quiet --json", "not allowed with argument"),
    ],
)
def test_wrong_call_exits_with_2(command, capsys, words, message):
    command()
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(CODES) == [0, 1, 2, 3, 130, 137, 143]


def test_unknown_option_is_named_next_to_a_missing_one(capsys):
    with pytest.raises(SystemExit):
        cli.main(["score", "--model", "promoter", "--fasta", "a.fa", "--outptu", "x.tsv"])
    message = "required: --output, and --outptu is unknown. Did you mean --output?\n"
    assert message in capsys.readouterr().err


def test_ambiguous_option_is_named_without_the_usage(capsys):
    with pytest.raises(SystemExit):
        cli.main(["init", "a", "--sequence", "a.fa"])
    names = "--sequence; did you mean --sequences, --sequence-column?"
    assert capsys.readouterr().err == f"selfattn-bio init: error: ambiguous option: {names}\n"


def test_options_in_hints_exist():
    commands = cli.build_parser()._actions[-1].choices
    options = {name for each in commands.values() for name in each._option_string_actions}
    others = {"--nproc-per-node", "--exclude-types", "--mem"}  # of torchrun, bcftools and sbatch
    for path in Path(cli.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [getattr(each, "id", "") for each in getattr(node, "targets", [])]
            if "hint" in [getattr(node, "arg", ""), *map(str.lower, names)] and hasattr(
                node, "value"
            ):
                found = set(re.findall("--[a-z][a-z-]+", ast.unparse(node.value)))
                assert found <= options | others, path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_gives_shell_exit_code(number):
    """A command without a state to save ends at once, with code 128 + the signal in a shell."""
    code = (
        "import os, sys, time; from selfattn_bio.cli import main as cli, options;"
        "run = lambda a: print(os.getpid()) or time.sleep(60);"
        "cli.COMMANDS = {'try': options.Command('try', 'T', (), run)};"
        "sys.exit(cli.main(['try']))"
    )
    words = ["bash", "-c", '"$@" 2> /dev/null; echo $?', "bash", sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as shell:
        os.kill(int(shell.stdout.readline()), number)
        assert int(shell.stdout.read()) == 128 + number
    assert 128 + number in CODES


# ------------ progress: lines in a log, and one line that is written again on a terminal
# a command with 30 steps; an evaluation and a warning in between
COMMAND = """
import os, sys, time
from selfattn_bio.cli import main as cli, options
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.log import LOG, Progress

def run(arguments):
    progress = Progress()
    for step in range(1, 31):
        time.sleep(float(os.environ.get("SECONDS_PER_STEP", 0)))
        text = f"step {step} of 30" + " and more" * 30
        progress.update(lambda left: text, step / 30, keep=step == 10)
        if step == 20:
            LOG.warning("a batch was short")
    raise SelfAttnBioError("the disk is full")

cli.COMMANDS = {"try": options.Command("try", "Try.", (), run)}
sys.exit(cli.main(["try", *sys.argv[1:]]))
"""
KEPT = [
    "try: step 10 of 30" + " and more" * 30,
    "selfattn-bio try: warning: a batch was short",
    "selfattn-bio try: error: the disk is full",
]


def test_progress_is_logged_every_ten_seconds_or_if_kept(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    with logging_from(20):
        progress = Progress()
        for clock[0] in range(1, 31):
            progress.update("step{}".format, clock[0] / 32)
        for clock[0] in range(31, 44):
            progress.update(f"{clock[0]} s".format, keep=clock[0] == 33)  # of an unknown fraction
    assert caplog.messages == [
        "step, about 22 s left",
        "step, about 12 s left",
        "step, about 2 s left",
        "33 s",
        "43 s",
    ]


def test_time_left_leaves_the_first_step_out(monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    with logging_from(20):
        progress = Progress()
        for step, clock[0] in enumerate((50, 51, 61, 71), start=1):  # a slow start
            progress.update("step{}".format, step / 4)
    assert caplog.messages == ["step", "step, about 6 s left", "step"]


def run_on_terminal(*options: str, **variables: str) -> str:
    """Run the command with a terminal of 60 columns as stdout and stderr; return its output."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")}
    env |= {"COLUMNS": "60", **variables}
    words = [sys.executable, "-c", COMMAND, *options]
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    found = b""
    try:
        while block := os.read(ours, 4096):
            found += block
    except OSError:  # Linux: the other end was closed
        pass
    os.close(ours)
    assert process.wait() == 1
    return found.decode().replace("\r\n", "\n")


def screen(output: str) -> list[str]:
    """Return the lines that remain on a terminal."""
    return [line.rpartition("\r\x1b[K")[2] for line in output.split("\n")[:-1]]


def test_terminal_has_a_bar_which_leaves_nothing():
    output = run_on_terminal(TERM="xterm", SECONDS_PER_STEP="0.05")
    assert screen(output) == KEPT
    bars = re.findall(r"\x1b\[K(( *\d+%) \[(#*) *\] step (\d+) of 30[^\r\n]*)", output)
    assert len(bars) > 5
    for bar, percent, done, step in bars:
        assert len(bar) == 59
        assert percent == f"{int(step) / 30:4.0%}"
        assert len(done) == round(20 * int(step) / 30)
    assert set(re.findall(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", output)) == {"\x1b[K"}  # no colours


def test_other_terminals_have_plain_lines():
    assert run_on_terminal(TERM="dumb").splitlines() == KEPT
    assert run_on_terminal("--quiet", TERM="xterm").splitlines() == KEPT[1:]


def test_pipe_has_plain_lines():
    env = os.environ | {"TERM": "xterm"}
    words = [sys.executable, "-c", COMMAND]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    assert (done.stdout.splitlines(), done.stderr.splitlines()) == (KEPT[:1], KEPT[1:])


def test_bars_end_with_the_command(monkeypatch):
    shown = []
    monkeypatch.setattr(cli, "shows_bars", lambda output: True)
    monkeypatch.setattr(cli, "_run", lambda *_: shown.append(Progress.bars) or 0)
    assert cli.main(["schema"]) == 0
    assert (shown, Progress.bars) == ([True], False)


def test_minus_signs_are_hyphens(caplog):
    caplog.set_level("INFO", "selfattn_bio")
    log_lines(["effect \N{MINUS SIGN}0.5 (-0.6 to -0.4)"])
    assert caplog.messages == ["effect -0.5 (-0.6 to -0.4)"]
