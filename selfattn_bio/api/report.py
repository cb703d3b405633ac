"""Write the report of a task."""

from __future__ import annotations

from pathlib import Path

from selfattn_bio.config import RunFile
from selfattn_bio.report import page
from selfattn_bio.report.results import read_results


def write_report(task: RunFile, results: str | Path, output: str | Path) -> Path:
    """Write the report of a task: one self-contained HTML page, and its plots as files.

    Parameters
    ----------
    task
        Run file. Its name is that of its file, or of the results folder if it has no file.
    results
        The task's results folder, with the files of the other steps (docs/results.md).
    output
        HTML file to write; plots/ is next to it.

    Returns
    -------
    Path of the page.

    Raises
    ------
    ResultsError
        If a file is missing or cannot be read; the message names the command that writes it.
    """
    results, output = Path(results), Path(output)
    name = task.path.stem if task.path else results.resolve().name
    page.write_report(read_results(task, results), output, name)
    return output
