"""Estimate before the training how long it takes to fit the parts of a stack."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.model.build import policy_of
from selfattn_bio.scoring.stack import baseline_setup
from selfattn_bio.training.lengths import split_masks
from selfattn_bio.training.plan import duration
from selfattn_bio.training.stacking import check_parts, fit_part

# size of the sample that is fitted; the time grows about linearly with the number of records
RECORDS = 1_000


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
        sample = rows[sample_rows(labels[rows].astype(np.int64), RECORDS)]
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
            fit_part(setup, name, letters_of, labels_of, lambda line: None)
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
