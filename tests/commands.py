"""Run commands of selfattn-bio in this process or in others; this folder is on the path."""

import multiprocessing
import os
import shlex
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from selfattn_bio.cli.main import main

PROCESSES = multiprocessing.get_context("forkserver")  # libraries are imported once for all
PRELOADED = ("cli.main", "study.evaluation", "study.explain", "study.motifs", "training.loop")
PROCESSES.set_forkserver_preload([f"selfattn_bio.{name}" for name in PRELOADED])
# VmHWM is the peak of this process; ru_maxrss begins with that of its parent
MEASURED = """
import re, sys
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1])
sys.exit(code)
"""


def words_of(command: str, *more: object) -> list[str]:
    """Return the words of a command, such as `words_of("train mine --threads", 1)`."""
    return [*shlex.split(command), *map(str, more)]


def exit_code(command: str, *more: object) -> int:
    """Run a command in this process and return its exit code."""
    return main(words_of(command, *more))


def run(command: str, *more: object) -> None:
    """Run a command that must succeed in this process."""
    assert exit_code(command, *more) == 0


def run_measured(command: str, *more: object, folder: Path | str = ".") -> tuple[str, float]:
    """Run a command that must succeed in a new process; return its output and peak memory in MB."""
    words = [sys.executable, "-c", MEASURED, *words_of(command, *more)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    output, peak = done.stdout.rstrip().rpartition("\n")[::2]
    return output, int(peak) * 1024 / 1e6


def start(
    command: str, *more: object, folder: Path, errors: Path | str = os.devnull
) -> BaseProcess:
    """Start a command in a fork of a process that has imported the package; errors go to a file."""
    process = PROCESSES.Process(target=_run_there, args=(words_of(command, *more), folder, errors))
    process.start()
    return process


def _run_there(words: list[str], folder: Path, errors: Path | str) -> None:
    os.chdir(folder)
    with open(os.devnull, "w") as nothing, open(errors, "w") as file:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(words))
