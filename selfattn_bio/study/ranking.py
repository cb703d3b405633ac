"""Rank the trained jobs of a sweep by their validation metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from selfattn_bio.display import counted
from selfattn_bio.errors import RunFileError
from selfattn_bio.evaluation.ranking import rank
from selfattn_bio.log import LOG
from selfattn_bio.result import TableResult

if TYPE_CHECKING:
    from selfattn_bio.study.study import Study


@dataclass(frozen=True, repr=False)
class Ranking(TableResult):
    """The jobs of a sweep, best first.

    Attributes
    ----------
    table
        One row per job, with the columns of `evaluation.ranking.rank`.
    """

    table: pd.DataFrame

    def __repr__(self) -> str:
        return f"Ranking of {counted(len(self.table), 'job')}: {'; '.join(self.lines)}"

    @property
    def best(self) -> pd.DataFrame:
        """Return the best job of the model and of each variant."""
        return self.table.groupby("of", sort=False).head(1)

    @property
    def lines(self) -> list[str]:
        """Return the best job of the model and of each variant, as text."""
        number = self.table["of"].value_counts()
        _, _, *settings, metric, _, _, _ = self.table.columns
        return [
            f"best of {counted(number[row['of']], 'job')} of {row['of']}: {metric} "
            f"{row[metric]:.4f} with " + ", ".join(f"{key} = {row[key]}" for key in settings)
            for row in self.best.to_dict("records")
        ]


def rank_jobs(study: Study) -> Ranking:
    """Rank the trained jobs of a sweep; `Study.rank_jobs` describes it."""
    jobs = study.task.jobs()
    if not jobs:
        raise RunFileError("the run file has no [sweep]", place=study.place)
    ranking = Ranking(rank(jobs, study.root.folder))
    ranking.save(study.root.ranking)
    for line in ranking.lines:
        LOG.info(line)
    LOG.info(
        f"wrote {study.root.ranking}. The validation metric of the best of many jobs is slightly "
        "optimistic. The test split was not read"
    )
    return ranking
