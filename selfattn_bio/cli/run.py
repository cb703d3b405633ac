"""Run a task of this folder through the workflow: `train_NAME` or `sweep_NAME` for workflows/tasks/NAME.toml.

Starts the Snakemake that is installed, with the workflow of a clone or, where the package was installed from a wheel, the one that came
with it; results go into results/NAME/ here, and it says at the end where the report is. A task that ships (promoter, amp, tss, smoke) and
is not here is put here first, with its data. What stands behind the target is passed on to Snakemake, as --cores 4, --dry-run or
--unlock; where no cores are named, all are used. Options of this command stand in front of the target. The exit code is Snakemake's.

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

PROFILES = ("default", "gpu", "slurm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `selfattn-bio run`."""
    parser.add_argument("--profile", choices=PROFILES, help="what the workflow runs on, as docs/clusters.md says (default: this machine)")
    parser.add_argument("target", help="train_NAME or sweep_NAME")
    parser.add_argument("extra", nargs=argparse.REMAINDER, metavar="...", help="options and more targets for Snakemake")


def run(arguments: argparse.Namespace) -> int:
    """Start Snakemake and wait for it.

    Raises
    ------
    SelfAttnBioError
        If the target is the name of a task alone, of which Snakemake would say that no rule makes it.
    """
    if "/" not in arguments.target and not arguments.target.startswith(("train_", "sweep_")):
        cure = f"Did you mean train_{arguments.target}?"
        raise SelfAttnBioError(f"target must be train_NAME or sweep_NAME, or a file, got {arguments.target!r}", cure=cure)
    name = arguments.target.removeprefix("train_").removeprefix("sweep_")
    if not Path(f"workflows/tasks/{name}.toml").exists() and (project_folder() / f"workflows/tasks/{name}.toml").is_file():
        bring(name)
    profile = ["--workflow-profile", str(project_folder() / "profiles" / arguments.profile)] if arguments.profile else []
    return snakemake([*profile, arguments.target, *arguments.extra], arguments)


def project_folder() -> Path:
    """The folder with Snakefile, workflows/, profiles/ and data/: the clone that the package stands in, or what a wheel put into it.

    Raises
    ------
    SelfAttnBioError
        If there is none.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent, package / "project"):
        if (folder / "Snakefile").is_file() and (folder / "workflows/classify.smk").is_file():
            return folder
    raise SelfAttnBioError("package must come with its workflow, got none", place=str(package), cure="Install it anew")


def bring(task: str) -> None:
    """Put a task that ships, and the one that it starts from, into this folder: data and run file, where they are not there."""
    from selfattn_bio.config import read_run_file
    from selfattn_bio.files import whole_file

    source, name = project_folder(), f"workflows/tasks/{task}.toml"
    run_file = read_run_file(source / name)
    if run_file.transfer and not run_file.transfer.ships:
        bring(run_file.transfer.parent)
    others = [getattr(run_file.objective, "points", None), run_file.interpret.database_file]
    data = [*run_file.data.inputs, *filter(None, others)]
    indices = [f"{file}{suffix}" for file in data for suffix in (".fai", ".gzi") if (source / f"{file}{suffix}").is_file()]
    for file in ("data/README.md", *data, *indices, name):  # the run file last: what has one has its data
        if not Path(file).exists():
            with whole_file(file) as temporary:
                shutil.copyfile(source / file, temporary)
            print(f"{file} is here now: it came with the package", flush=True)


def _check_cache() -> None:
    """Refuse a cache, in which Snakemake makes a folder at its start, that cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        cure = "Name a folder of your own in XDG_CACHE_HOME"
        raise OutputError(f"folder for caches must be writable, got {error.strerror}", place=str(cache), cure=cure) from error


def snakemake(words: list[str], arguments: argparse.Namespace) -> int:
    """Run Snakemake in this folder; its exit code. A signal is passed on, and its end waited for: it saves what it can.

    Quiet, what it says is printed only if it fails. Of what it says once it was stopped by Ctrl-C, a traceback, nothing is.

    Raises
    ------
    OutputError
        If the folder, or the one for Snakemake's cache, cannot be written to, which Snakemake says with a traceback.
    KeyboardInterrupt
        After Ctrl-C, once Snakemake has ended.
    """
    if not os.access(".", os.W_OK | os.X_OK):
        raise OutputError("folder must be writable, got Permission denied", place=os.getcwd(), cure="Run it in one of your own")
    _check_cache()
    quiet = ["--quiet", "all"] if arguments.quiet else []
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(project_folder() / "Snakefile"), *words, *quiet]
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")]
    )  # rules call what is installed beside it
    stopped, held = [], []  # signals of Ctrl-C; lines that are printed on failure alone
    pipes: dict[str, int | None] = {"stdout": None, "stderr": subprocess.PIPE}
    if arguments.json:  # all that is said becomes objects
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    elif arguments.quiet:
        pipes["stdout"] = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | {"PATH": path}, text=True, **pipes) as process:  # type: ignore[call-overload]
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))  # a terminal sends it to both
        signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            for line in process.stdout or process.stderr:
                if arguments.quiet:
                    held.append(line)
                elif not stopped:
                    print(line, end="", file=sys.stdout if arguments.json else sys.stderr, flush=True)
            code = process.wait()
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
    if stopped and code:
        raise KeyboardInterrupt("stopped; the same command goes on from where it was")
    if code:
        print("".join(held), end="", file=sys.stderr)
    return code if code >= 0 else 128 - code
