"""Total memory and time of all trainings of a run file, and the time to fit its stack."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio import config
from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.display import TableDisplay
from selfattn_bio.errors import CorpusError
from selfattn_bio.files import whole_file
from selfattn_bio.model.build import policy_of
from selfattn_bio.scoring.stack import baseline_setup
from selfattn_bio.training.lengths import split_masks
from selfattn_bio.training.plan import CROWDED, Plan, duration, gigabytes
from selfattn_bio.training.stacking import check_parts, fit_part

# size of the sample that is fitted; the time grows about linearly with the number of records
MAX_RECORDS = 1_000


@dataclass(frozen=True)
class StackTime:
    """Estimated time to fit the parts of a stack once.

    Attributes
    ----------
    parts
        Names of the parts, as in [stack] parts.
    seconds
        Estimated time for all training and validation records.
    fitted
        Number of records in the sample that was fitted.
    records
        Number of all training and validation records.
    """

    parts: tuple[str, ...]
    seconds: float
    fitted: int
    records: int

    @classmethod
    def measure(cls, run: RunFile, corpus: Corpus, threads: int) -> StackTime:
        """Fit the parts to a sample of the training and validation records, and extrapolate.

        Random splits are approximate (`lengths.split_masks`).

        Parameters
        ----------
        run
            Run file with [stack] parts and objective "binary".
        corpus
            The records. Those without a label are ignored.
        threads
            CPU threads for fitting.

        Raises
        ------
        CorpusError
            If a class has fewer than two records outside the test split, or a part cannot be fitted
            to the records.
        """
        labels = corpus.records["label"].to_numpy(dtype=float)  # NaN without a label
        valid, test = split_masks(run.split, corpus)
        rows = np.flatnonzero(np.isfinite(labels) & ~test)
        policy = policy_of(run.data)
        # on all training records, because a single one can make a part unsuitable
        check_parts(run, [corpus.letters(int(row)) for row in rows[~valid[rows]]], policy)
        sample = rows[sample_rows(labels[rows].astype(np.int64), MAX_RECORDS)]
        valid_fraction = valid[rows].mean()
        # The sample is split again by class: with the split of the run, one part of it might lack a
        # class. This does not change the time.
        train_rows, valid_rows = [], []
        for label in (0, 1):
            of_class = sample[labels[sample] == label]
            if len(of_class) < 2:
                raise CorpusError(
                    f"class {label} needs two records outside the test split; it has "
                    f"{len(of_class)}"
                )
            num_valid = min(max(1, round(valid_fraction * len(of_class))), len(of_class) - 1)
            valid_rows.append(of_class[:num_valid])
            train_rows.append(of_class[num_valid:])
        rows_of = {"train": np.concatenate(train_rows), "valid": np.concatenate(valid_rows)}
        letters_of = {
            split: [corpus.letters(int(row)) for row in of_split]
            for split, of_split in rows_of.items()
        }
        labels_of = {
            split: labels[of_split].astype(np.int64) for split, of_split in rows_of.items()
        }
        setup = baseline_setup(run, policy, threads)
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        for name in run.stack.parts:
            fit_part(setup, name, letters_of, labels_of)
        # CPU time excludes waiting for other processes, but adds up the threads.
        seconds = min(time.perf_counter() - wall_start, time.process_time() - cpu_start)
        return cls(run.stack.parts, seconds * len(rows) / len(sample), len(sample), len(rows))

    def line(self) -> str:
        """Return a sentence with the time, for `selfattn-bio plan`."""
        how = (
            "measured"
            if self.fitted == self.records
            else f"extrapolated from {self.fitted:,} of {self.records:,} records"
        )
        return (
            f"stack of {', '.join(self.parts)}: about {duration(self.seconds)}, {how}; all "
            "seeds use the same parts"
        )


@dataclass
class Trainings(TableDisplay):
    """Plans of the trainings of a run file: each seed of the model and of its variants."""

    # name -> number of seeds, plan of one of them
    plans: dict[str, tuple[int, Plan]] = field(default_factory=dict)
    stack_seconds: float = 0.0  # time to fit the parts of the model's stack, once for all seeds
    _by_network: dict[str, Plan] = field(default_factory=dict)

    def known(self, run: config.RunFile) -> Plan | None:
        """Return the plan of an earlier run with the same steps, such as the model of a control.

        A control with shuffled labels takes the same steps as its model.
        """
        return self._by_network.get(_steps_of(run))

    def add(self, name: str, run: config.RunFile, plan: Plan) -> None:
        """Add the seeds of a run."""
        self._by_network[_steps_of(run)] = plan
        self.plans[name] = (run.training.seeds, plan)

    @property
    def table(self) -> pd.DataFrame:
        """Return name, trainings, seconds of each (at most) and peak_memory_mb, one row per run."""
        rows = [
            (name, seeds, plan.seconds, plan.peak) for name, (seeds, plan) in self.plans.items()
        ]
        return pd.DataFrame(rows, columns=["name", "trainings", "seconds", "peak_memory_mb"])

    def save(self, path: str | Path) -> None:
        """Write the table as TSV."""
        with whole_file(path) as file:
            self.table.to_csv(file, sep="\t", index=False, lineterminator="\n")

    def __repr__(self) -> str:
        return f"Plan of {', '.join(self.plans)}: " + (" ".join(self.lines()) or "one training")

    def lines(self) -> Iterator[str]:
        """Describe the total; nothing for a single training."""
        number = sum(seeds for seeds, _ in self.plans.values())
        if number == 1:
            return
        named = ", ".join(
            f"{name} x {seeds}" if seeds > 1 else name for name, (seeds, _) in self.plans.items()
        )
        seconds = self.stack_seconds + sum(
            seeds * plan.seconds for seeds, plan in self.plans.values()
        )
        peak = max(plan.peak for _, plan in self.plans.values())
        crowded = any(plan.probe.crowding > CROWDED for _, plan in self.plans.values())
        yield (
            f"total of {number} trainings ({named}): {duration(seconds)} at most"
            f"{' with the current load' * crowded}, peak memory {gigabytes(peak)}"
        )


def _steps_of(run: config.RunFile) -> str:
    """Return a key that is equal for runs whose steps cost the same.

    Such runs differ only in seeds and labels.
    """
    training = run.training.model_copy(update={"seed": 0, "seeds": 1, "labels": "given"})
    same = run.model_copy(
        update={
            "training": training,
            "variants": {},
            "sweep": None,
            "stack": config.StackSection(),
            "title": "",
        }
    )
    return same.model_dump_json()
