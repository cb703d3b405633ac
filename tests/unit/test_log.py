"""Test progress: lines in a log, and one line that is written again on a terminal."""

import os
import pty
import re
import subprocess
import sys

from selfattn_bio import log
from selfattn_bio.cli import main as cli
from selfattn_bio.log import Progress, logging_from

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
            progress.update("{:.0f} s left".format, clock[0] / 30)
        for clock[0] in range(31, 44):
            progress.update(f"{clock[0]} s".format, keep=clock[0] == 33)  # of an unknown fraction
    assert caplog.messages == ["20 s left", "10 s left", "0 s left", "33 s", "43 s"]


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
