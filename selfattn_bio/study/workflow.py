"""Run the Snakemake workflow of a task, from sequences to a report."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from selfattn_bio.errors import ArgumentError, OutputError, SelfAttnBioError
from selfattn_bio.files import whole_file
from selfattn_bio.log import LOG, logging_from
from selfattn_bio.study.address import TASKS

TARGETS = ("train_", "sweep_")
PROFILES = ("default", "gpu", "slurm")
COMPLETE = "Nothing to be done"  # begins Snakemake's line if all results are up to date


def run_workflow(
    targets: Sequence[str], *, profile: str = "default", quiet: bool = False, merged: bool = False
) -> int:
    """Run a task with Snakemake in this folder, and wait until it ends.

    `run_workflow(["train_promoter", "--cores", "4"])` trains the promoter task. A task that ships
    is first copied into this folder with its data, if it is not there. A dry run copies it into a
    temporary folder and plans it there.

    Parameters
    ----------
    targets
        `train_NAME` or `sweep_NAME` for workflows/tasks/NAME.toml, or a file. More targets and
        options of Snakemake may follow.
    profile
        Where the workflow runs, one of `PROFILES` (docs/clusters.md).
    quiet
        Print the output only if the workflow fails.
    merged
        Print both streams of Snakemake to `sys.stdout`, as in a notebook.

    Returns
    -------
    The exit code of Snakemake, 0 after success.

    Raises
    ------
    ArgumentError
        If the first target lacks `train_` or `sweep_`. Snakemake would only report that no rule
        makes it.
    OutputError
        If the folder or Snakemake's cache is not writable. Snakemake would print a traceback.
    SelfAttnBioError
        If the package was installed without its workflow.
    KeyboardInterrupt
        After Ctrl-C, once Snakemake has ended.
    """
    if isinstance(targets, str) or not targets:
        raise ArgumentError("pass a list of targets, such as ['train_promoter']")
    target = targets[0]
    if "/" not in target and not target.startswith(TARGETS):
        message = f"unknown target {target!r}; a target is train_NAME, sweep_NAME or a file"
        paths = [*TASKS.glob("*.toml"), *(project_folder() / TASKS).glob("*.toml")]
        known = [prefix + path.stem for prefix in TARGETS for path in paths]
        near = get_close_matches(target, known, n=1) or [f"train_{target}"]
        raise ArgumentError(message, hint=f"Did you mean {near[0]}?")
    name = target.split("_", 1)[-1]
    task = f"workflows/tasks/{name}.toml"
    is_new = not Path(task).exists() and (project_folder() / task).is_file()
    is_dry = bool({"-n", "--dry-run", "--dryrun"} & {*targets})
    if is_new and not is_dry:
        copy_task(name)
    if not os.access(".", os.W_OK | os.X_OK):
        message = "the folder cannot be written: Permission denied"
        raise OutputError(message, place=os.getcwd(), hint="Run the command in another folder")
    _check_cache()
    project = project_folder()
    options = [
        *("--snakefile", str(project / "workflows/Snakefile")),
        *("--workflow-profile", str(project / "profiles/default")),
        *(
            ("--cores", "all")  # unless the targets have another number
            if profile == "default"
            else ("--profile", str(project / "profiles" / profile))
        ),
    ]
    more = ["--quiet", "all"] if quiet else []
    command = [sys.executable, "-m", "snakemake", *options, *targets, *more]
    if is_new and is_dry:
        LOG.info(f"{task} and its data are not in this folder; a run copies them from the package")
        with tempfile.TemporaryDirectory() as folder:
            with logging_from(logging.WARNING):
                copy_task(name, folder)
            return _run(command, folder, quiet=quiet, merged=merged)[0]
    code, is_complete = _run(command, quiet=quiet, merged=merged)
    # then `onsuccess` of the workflow, which prints these lines after a run, is not called
    if is_complete and not code and not is_dry:
        _print_results(targets, sys.stdout if merged else sys.stderr)
    return code


def project_folder() -> Path:
    """Return the folder with workflows/, profiles/ and data/, of the clone or the wheel.

    Raises
    ------
    SelfAttnBioError
        If there is none.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent, package / "project"):
        if (folder / "workflows/Snakefile").is_file():
            return folder
    SelfAttnBioError.fail("the package was installed without its workflow", package, "Reinstall it")


def copy_task(task: str, folder: str | Path = ".") -> None:
    """Copy missing files of a shipped task, and of its parent task, into a folder."""
    from selfattn_bio.config import read_run_file

    source, name = project_folder(), f"workflows/tasks/{task}.toml"
    run_file = read_run_file(source / name)
    if run_file.transfer and not run_file.transfer.ships:
        copy_task(run_file.transfer.parent, folder)
    others = [*run_file.objective.hashes, run_file.interpret.database_file]
    data = [*run_file.data.inputs, *filter(None, others)]
    indices = [
        f"{file}{suffix}"
        for file in data
        for suffix in (".fai", ".gzi")
        if (source / f"{file}{suffix}").is_file()
    ]
    # the run file comes last, so that its data exist if it does
    for file in ("data/README.md", *data, *indices, name):
        if not Path(folder, file).exists():
            with whole_file(Path(folder, file)) as temporary:
                shutil.copyfile(source / file, temporary)
            LOG.info(f"copied {file} from the package")


def _print_results(targets: Sequence[str], stream: TextIO) -> None:
    """Print the summary of the tasks among the targets, and the paths of their results."""
    from selfattn_bio.report.lines import final_lines
    from selfattn_bio.study.study import Study

    found: dict[str, list[str]] = {}  # targets by name of the task
    for word in targets:
        if word.startswith(TARGETS):
            target, name = word.split("_", 1)
            found.setdefault(name, []).append(target)
    for name, of_task in found.items():
        if (TASKS / f"{name}.toml").exists():
            for line in final_lines(Study(name), of_task):
                print(line, file=stream)  # not logged: the lines of Snakemake are there


def _check_cache() -> None:
    """Refuse a cache folder that is not writable: Snakemake creates a folder in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        message = f"the cache folder cannot be written: {error.strerror}"
        hint = "Set XDG_CACHE_HOME to another folder"
        raise OutputError(message, place=str(cache), hint=hint) from error


def _run(command: list[str], folder: str = ".", *, quiet: bool, merged: bool) -> tuple[int, bool]:
    """Run Snakemake, show its output and return its exit code, and whether nothing was left to do.

    Signals are passed on, and the end of the program is awaited, so that it can save its state.
    After Ctrl-C, its traceback is not printed.
    """
    held: list[str] = []  # lines to print only on failure
    is_complete = False
    pipes: dict[str, int | None] = {"stdout": None, "stderr": subprocess.PIPE}
    if merged:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    elif quiet:
        pipes["stdout"] = subprocess.DEVNULL
    with (
        subprocess.Popen(  # type: ignore[call-overload]
            command, cwd=folder, text=True, **pipes
        ) as process,
        _signals_to(process) as stopped,
    ):
        for line in process.stdout or process.stderr:
            is_complete |= line.startswith(COMPLETE)
            if quiet:
                held.append(line)
            elif not stopped:
                print(line, end="", file=sys.stdout if merged else sys.stderr, flush=True)
        code = process.wait()
    if stopped and code:
        raise KeyboardInterrupt("stopped; run the same command again to continue")
    if code:
        print("".join(held), end="", file=sys.stderr)
    return (code if code >= 0 else 128 - code), is_complete


@contextmanager
def _signals_to(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Pass SIGTERM on to a process, and collect the signals of Ctrl-C.

    They are not passed on, because a terminal sends Ctrl-C to both processes.
    """
    stopped: list[int] = []
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    try:
        yield stopped
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
