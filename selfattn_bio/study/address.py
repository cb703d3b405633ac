"""Find the run file and the results folder of a task that is given by name, run file or folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from selfattn_bio.display import did_you_mean
from selfattn_bio.errors import OutputError, RunFileError
from selfattn_bio.layout import PROVENANCE, Layout

TASKS, RESULTS = Path("workflows/tasks"), Path("results")
RUN_FILE = "run.toml"  # run file and results are in the same folder
_PARTS = re.compile(
    r"(?P<task>.*?)(/variants/(?P<variant>[^/]+))?"
    r"(/members/(?P<member>[0-9]+)|/sweep/(?P<job>[^/]+))?"
)


@dataclass(frozen=True)
class Address:
    """Which study: the results folder of its task, and the part of it.

    Parameters
    ----------
    folder
        Results folder of the task.
    variant, member, job
        As for `RunFile.part`.
    """

    folder: Path
    variant: str | None = None
    member: int = 1
    job: str | None = None

    @property
    def root(self) -> Layout:
        """Files of the task."""
        return Layout(self.folder)

    @property
    def files(self) -> Layout:
        """Files of the study itself."""
        own = self.root.variant(self.variant) if self.variant else self.root
        return own.job(self.job) if self.job else own.member(self.member)

    @property
    def label(self) -> str:
        """Return "model", or the name of the variant, with the number of the member or the job."""
        number = self.job or (self.member if self.member > 1 else "")
        return f"{self.variant or 'model'} {number}".rstrip()

    def text(self, layout: Layout, run_file: Path | None) -> str:
        """Return the text for `resolve` that names the study with these files."""
        task = self.folder
        if run_file and run_file.name != RUN_FILE and task == results_of(run_file):
            task = Path(run_file.stem) if run_file.parent == TASKS else run_file
        return str(task / layout.folder.relative_to(self.folder))


def results_of(run_file: Path) -> Path:
    """Return the results folder of a run file: results/NAME for workflows/tasks/NAME.toml.

    The results of FOLDER/run.toml are in FOLDER, those of FOLDER/NAME.toml in FOLDER/NAME.
    """
    if run_file.name == RUN_FILE:
        return run_file.parent
    return RESULTS / run_file.stem if run_file.parent == TASKS else run_file.with_suffix("")


def resolve(text: str) -> tuple[Path, Address]:
    """Resolve NAME, FILE.toml or FOLDER, with /variants/NAME and /members/N or /sweep/JOB.

    Returns
    -------
    The run file of the task, and the address of the study.

    Raises
    ------
    RunFileError
        If there is no such task.
    """
    is_task = (Path(text) / RUN_FILE).is_file()  # also a folder such as a/variants/b
    found = None if is_task else _PARTS.fullmatch(text.rstrip("/"))
    parts = found.groupdict() if found else {"task": text}
    run_file, folder = _find(parts["task"] or "/")  # not the current folder, which is "."
    member = int(parts.get("member") or 1)
    return run_file, Address(folder, parts.get("variant"), member, parts.get("job"))


def _find(text: str) -> tuple[Path, Path]:
    """Return the run file and the results folder of a task."""
    path = Path(text)
    name = path.relative_to(RESULTS) if path.is_relative_to(RESULTS) else path
    if len(name.parts) == 1 and (run_file := TASKS / f"{name}.toml").is_file():
        return run_file, RESULTS / name
    if path.suffix == ".toml" and path.name != RUN_FILE:
        return path, results_of(path)
    if path.name == RUN_FILE or (path / RUN_FILE).is_file():
        folder = path.parent if path.name == RUN_FILE else path
        if (folder / PROVENANCE).exists():
            message = "this is the folder of a model, not of a task"
            RunFileError.fail(message, folder, "Name the task, or copy run.toml to another folder")
        return folder / RUN_FILE, folder
    known = [each.stem for each in sorted(TASKS.glob("*.toml"))]
    if name.parts[1:] and name.parts[0] in known:
        message = f"task {name.parts[0]!r} has no part {'/'.join(name.parts[1:])!r}"
        hint = "Its parts are variants/NAME, members/NUMBER and sweep/JOB"
        raise RunFileError(message, hint=hint)
    hint = did_you_mean(str(name), known).replace("did", "Did", 1) or (
        f"Tasks in {TASKS}/: {', '.join(known) or 'none'}."
    )
    message = f"unknown task {text!r}"
    raise RunFileError(message, hint=f"{hint} Name a task, a run file, or a folder with {RUN_FILE}")


def check_new_task(name: str) -> None:
    """Raise unless workflows/tasks/NAME.toml can be written and does not exist.

    Raises
    ------
    OutputError
        If it exists, or its folder is not writable.
    """
    path = TASKS / f"{name}.toml"
    if path.exists():
        message = "the run file already exists"
        OutputError.fail(message, path, "Edit it, remove it, or choose another name")
    folder = next(each for each in path.parents if each.exists())
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        message = f"cannot write {path}: permission denied"
        raise OutputError(message, hint="Run init in a folder of your own")
