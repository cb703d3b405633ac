"""Rank the jobs of a sweep by their best result on the validation split.

Only history.csv is read from each model folder. The weights are not loaded, so this cannot score
test records.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfattn_bio.config import Job
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.layout import Layout
from selfattn_bio.objectives import objective_of


def rank(jobs: Sequence[Job], results: Path) -> pd.DataFrame:
    """Rank jobs by the best value of their main validation metric, such as AUROC.

    Parameters
    ----------
    jobs
        Jobs of one run file.
    results
        Folder that contains the results of the jobs.

    Returns
    -------
    One row per job, best first; jobs without a value come last. Columns: of (model, or name of the
    variant), job, one column per dotted key of the sweep, the metric (valid_auroc for two classes),
    best_step, steps and seconds of training.

    Raises
    ------
    ModelFolderError
        If history.csv of a job is missing or belongs to another objective.
    """
    objective = objective_of(jobs[0].run.objective)
    metric, rows = f"valid_{objective.main_metric}", []
    ascending = not objective.higher_is_better
    order: Any = {"ascending": ascending, "kind": "stable", "na_position": "last"}
    for job in jobs:
        history = read_history(Layout(results / job.folder).history, "seconds", metric)
        # of equal evaluations, take the earliest, as in training
        best, last = history.sort_values(metric, **order).iloc[0], history.iloc[-1]
        rows.append(
            {
                "of": job.of,
                "job": job.name,
                **{key: _text(value) for key, value in job.settings.items()},
                metric: best[metric],
                "best_step": int(best["step"]),
                "steps": int(last["step"]),
                "seconds": round(last["seconds"], 1),
            }
        )
    return pd.DataFrame(rows).sort_values(metric, **order).reset_index(drop=True)


def read_history(path: Path, *columns: str) -> pd.DataFrame:
    """Read the metrics of each evaluation of a training, at least one, with these columns.

    Raises
    ------
    ModelFolderError
        If the file is missing or not valid CSV, or a column is missing or has text.
    """
    try:
        history = pd.read_csv(path)
    except FileNotFoundError:
        message = "the job has no training history"
        raise ModelFolderError(message, place=str(path), hint="Train the job first") from None
    except ValueError as error:
        raise ModelFolderError(
            f"the training history is not valid CSV: {error}",
            place=str(path),
            hint="Train the job again",
        ) from error
    numeric = history.select_dtypes("number")
    if history.empty or (missing := sorted({"step", *columns} - set(numeric))):
        what = f"no column {missing[0]!r} of numbers" if len(history) else "no rows"
        message = f"the training history has {what}"
        raise ModelFolderError(message, place=str(path), hint="Train the job again")
    return history


def _text(value: Any) -> Any:
    """Return tables and lists of the run file as JSON text, and other values unchanged."""
    return json.dumps(value) if isinstance(value, dict | list) else value
