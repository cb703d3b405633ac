"""Run a task of this folder with Snakemake.

The target is `train_NAME` or `sweep_NAME` for workflows/tasks/NAME.toml.

Uses the installed Snakemake with the workflow of the clone, or of the wheel the package was
installed from. Results go to results/NAME/ in the current folder, and the path of the report is
printed at the end. A task that ships (promoter, amp, tss, smoke) is first copied into this folder
with its data if it is not there.

Write options of this command before the target. Everything after it is passed to Snakemake, for
example --cores 4, --dry-run or --unlock. Without --cores, all cores are used. The exit code is that
of Snakemake.

example: selfattn-bio run train_my_task --cores 4
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from selfattn_bio.errors import OutputError, SelfAttnBioError

TARGETS = ("train_", "sweep_")
PROFILES = ("default", "gpu", "slurm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `selfattn-bio run`."""
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        help="where the workflow runs, see docs/clusters.md (default: this machine)",
    )
    parser.add_argument("target", help="train_NAME or sweep_NAME")
    parser.add_argument(
        "extra",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="options and more targets for Snakemake",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start Snakemake and wait for it.

    Raises
    ------
    SelfAttnBioError
        If the target lacks train_ or sweep_. Snakemake would only report that no rule makes it.
    """
    if "/" not in arguments.target and not arguments.target.startswith(TARGETS):
        hint = f"Did you mean train_{arguments.target}?"
        raise SelfAttnBioError(
            f"unknown target {arguments.target!r}; a target is train_NAME, sweep_NAME or a file",
            hint=hint,
        )
    name = arguments.target.removeprefix("train_").removeprefix("sweep_")
    if (
        not Path(f"workflows/tasks/{name}.toml").exists()
        and (project_folder() / f"workflows/tasks/{name}.toml").is_file()
    ):
        bring(name)
    profile = (
        ["--workflow-profile", str(project_folder() / "profiles" / arguments.profile)]
        if arguments.profile
        else []
    )
    return snakemake([*profile, arguments.target, *arguments.extra], arguments)


def project_folder() -> Path:
    """Return the folder with Snakefile, workflows/, profiles/ and data/, of the clone or the wheel.

    Raises
    ------
    SelfAttnBioError
        If there is none.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent, package / "project"):
        if (folder / "Snakefile").is_file() and (folder / "workflows/classify.smk").is_file():
            return folder
    raise SelfAttnBioError(
        "the package was installed without its workflow", place=str(package), hint="Reinstall it"
    )


def bring(task: str) -> None:
    """Copy missing files of a shipped task, and of its parent task, into this folder."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.files import whole_file

    source, name = project_folder(), f"workflows/tasks/{task}.toml"
    run_file = read_run_file(source / name)
    if run_file.transfer and not run_file.transfer.ships:
        bring(run_file.transfer.parent)
    others = [getattr(run_file.objective, "points", None), run_file.interpret.database_file]
    data = [*run_file.data.inputs, *filter(None, others)]
    indices = [
        f"{file}{suffix}"
        for file in data
        for suffix in (".fai", ".gzi")
        if (source / f"{file}{suffix}").is_file()
    ]
    # the run file comes last, so that its data exist if it does
    for file in ("data/README.md", *data, *indices, name):
        if not Path(file).exists():
            with whole_file(file) as temporary:
                shutil.copyfile(source / file, temporary)
            print(f"copied {file} from the package", flush=True)


def _check_cache() -> None:
    """Refuse a cache folder that is not writable: Snakemake creates a folder in it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise OutputError(
            f"the cache folder cannot be written: {error.strerror}",
            place=str(cache),
            hint="Set XDG_CACHE_HOME to another folder",
        ) from error


def snakemake(words: list[str], arguments: argparse.Namespace) -> int:
    """Run Snakemake in this folder and return its exit code.

    Signals are passed on, and the end of Snakemake is awaited, so that it can save its state. With
    --quiet, its output is printed only if it fails. After Ctrl-C, its traceback is not printed.

    Raises
    ------
    OutputError
        If the folder or Snakemake's cache is not writable. Snakemake would print a traceback.
    KeyboardInterrupt
        After Ctrl-C, once Snakemake has ended.
    """
    if not os.access(".", os.W_OK | os.X_OK):
        raise OutputError(
            "the folder cannot be written: Permission denied",
            place=os.getcwd(),
            hint="Run the command in another folder",
        )
    _check_cache()
    quiet = ["--quiet", "all"] if arguments.quiet else []
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(project_folder() / "Snakefile"),
        *words,
        *quiet,
    ]
    # rules call programs that are installed next to Python
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")]
    )
    stopped, held = [], []  # signals of Ctrl-C; lines to print only on failure
    pipes: dict[str, int | None] = {"stdout": None, "stderr": subprocess.PIPE}
    if arguments.json:  # all output becomes JSON objects
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    elif arguments.quiet:
        pipes["stdout"] = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | {"PATH": path}, text=True, **pipes) as process:  # type: ignore[call-overload]
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # not passed on, because a terminal sends Ctrl-C to both processes
        signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
        signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            for line in process.stdout or process.stderr:
                if arguments.quiet:
                    held.append(line)
                elif not stopped:
                    print(
                        line, end="", file=sys.stdout if arguments.json else sys.stderr, flush=True
                    )
            code = process.wait()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
    if stopped and code:
        raise KeyboardInterrupt("stopped; run the same command again to continue")
    if code:
        print("".join(held), end="", file=sys.stderr)
    return code if code >= 0 else 128 - code
