"""Test --quiet and --json of every command, and the table of exit codes in docs/commands.md."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from selfattn_bio.cli import main as cli
from selfattn_bio.errors import SequenceFileError, TrainingInterrupted
from selfattn_bio.log import LOG

PAGE = (Path(__file__).parents[3] / "docs/commands.md").read_text(encoding="utf-8")
CODES = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}


def test_json_lines(command, capsys):
    command(lambda arguments: print("step 1\nhalf ", end="") or print("of step 2\n"))
    assert cli.main(["try", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["command"], each["level"], each["message"]) for each in lines] == [
        ("try", "info", "step 1"),
        ("try", "info", "half of step 2"),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each["time"]) for each in lines)
    print("after it stdout is as it was")
    assert capsys.readouterr().out == "after it stdout is as it was\n"


def test_json_errors_are_objects(fails_with, capsys):
    fails_with(SequenceFileError("invalid character 'ü'", place="a.fa:3"))
    assert cli.main(["try", "--json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ü" in line
    line = json.loads(line)
    assert (line["level"], line["exit_code"]) == ("error", 1)
    assert line["message"] == "a.fa:3: invalid character 'ü'"


def test_json_warnings_are_objects(command, capsys):
    command(lambda arguments: print("no --prior", file=sys.stderr))
    assert cli.main(["try", "--json"]) == 0
    lines = json.loads(capsys.readouterr().err)
    assert (lines["level"], lines["message"]) == ("warning", "no --prior")


def log_two_lines(arguments):
    LOG.info("read 2 records")
    LOG.warning("no --prior")


def test_logged_lines_name_the_command(command, capsys):
    command(log_two_lines)
    assert cli.main(["try"]) == 0
    lines = capsys.readouterr()
    assert lines.out == "try: read 2 records\n"
    assert lines.err == "selfattn-bio try: warning: no --prior\n"
    LOG.info("after it nothing is printed")
    assert capsys.readouterr().out == ""


def test_json_objects_of_logged_lines(command, capsys):
    """The message has no prefix, because the object names the command and the level."""
    command(log_two_lines)
    assert cli.main(["try", "--json"]) == 0
    found = [json.loads(text) for text in capsys.readouterr()]
    assert [(each["command"], each["level"], each["message"]) for each in found] == [
        ("try", "info", "read 2 records"),
        ("try", "warning", "no --prior"),
    ]


def test_quiet_prints_only_warnings_and_errors(command, capsys):
    def run(arguments):
        print("progress")
        LOG.info("progress")
        LOG.warning("no --prior")
        raise SequenceFileError("invalid character 'J'")

    command(run)
    assert cli.main(["try", "--quiet"]) == 1
    lines = capsys.readouterr()
    assert lines.out == ""
    assert lines.err == (
        "selfattn-bio try: warning: no --prior\nselfattn-bio try: error: invalid character 'J'\n"
    )


def test_quiet_and_json_exclude_each_other(command):
    command()
    with pytest.raises(SystemExit) as ended:
        cli.main(["try", "--quiet", "--json"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SequenceFileError("a file is damaged"), 1),
        (OSError(errno.ENOSPC, "full", "a"), 1),
        (KeyboardInterrupt(), 130),
        (TrainingInterrupted("stopped", place="m", hint="again", signal_number=signal.SIGINT), 130),
        (
            TrainingInterrupted("stopped", place="m", hint="again", signal_number=signal.SIGTERM),
            143,
        ),
    ],
)
def test_exit_codes_match_docs(fails_with, error, code):
    fails_with(error)
    assert cli.main(["try"]) == code
    assert code in CODES


def test_wrong_call_exits_with_2(command):
    command()
    with pytest.raises(SystemExit) as ended:
        cli.main(["try", "--unknown"])
    assert ended.value.code == 2
    assert sorted(CODES) == [0, 1, 2, 3, 130, 137, 143]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_gives_shell_exit_code(number):
    """A command without a state to save ends at once, with code 128 + the signal in a shell."""
    code = (
        "import os, sys, time; from selfattn_bio.cli import main as cli, options;"
        "run = lambda a: print(os.getpid()) or time.sleep(60);"
        "cli.COMMANDS = {'try': options.Command('try', 'T', (), run)};"
        "sys.exit(cli.main(['try']))"
    )
    words = ["bash", "-c", '"$@"; echo $?', "bash", sys.executable, "-c", code]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as shell:
        os.kill(int(shell.stdout.readline()), number)
        assert int(shell.stdout.read()) == 128 + number
    assert 128 + number in CODES
