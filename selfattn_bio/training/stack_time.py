"""Estimate how long the parts of a stack take, before the training starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from selfattn_bio.baselines.base import sample_rows
from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.errors import CorpusError
from selfattn_bio.scoring.scorer import policy_of
from selfattn_bio.scoring.stack import baseline_setup
from selfattn_bio.training.plan import duration, split_masks
from selfattn_bio.training.stacking import check_parts, fit_part

# records that the parts are fitted to; the time is about linear in the number of records
RECORDS = 1_000


@dataclass(frozen=True)
class StackTime:
    """Store the time to fit the parts of a stack once.

    Attributes
    ----------
    parts
        Names of the parts.
    seconds
        Time for all training and validation records.
    fitted, records
        Number of records fitted for this estimate, and of all records.
    """

    parts: tuple[str, ...]
    seconds: float
    fitted: int
    records: int

    @classmethod
    def measure(cls, run: RunFile, corpus: Corpus, threads: int) -> StackTime:
        """Fit the parts to a sample of the records outside the test split.

        The split is approximately the one that the run will have.

        Raises
        ------
        CorpusError
            If a class has fewer than two of these records, or a part does not suit them.
        """
        labels = corpus.records["label"].to_numpy(dtype=float)  # NaN without a label
        valid, test = split_masks(run.split, corpus)
        rows = np.flatnonzero(np.isfinite(labels) & ~test)
        policy = policy_of(run.data)
        # a single record can make a part unsuitable, so the sample is not enough
        check_parts(run, [corpus.letters(int(row)) for row in rows[~valid[rows]]], policy)
        sample = rows[sample_rows(labels[rows].astype(np.int64), RECORDS)]
        fraction = valid[rows].mean()
        # Which records are in which split does not matter for the time, and a class might be
        # missing in one split of the sample.
        train, held_out = [], []
        for label in (0, 1):
            of_class = sample[labels[sample] == label]
            if len(of_class) < 2:
                raise CorpusError(
                    f"class {label} needs two records outside the test split; it has "
                    f"{len(of_class)}"
                )
            number = min(max(1, round(fraction * len(of_class))), len(of_class) - 1)
            held_out.append(of_class[:number])
            train.append(of_class[number:])
        chosen = {"train": np.concatenate(train), "valid": np.concatenate(held_out)}
        letters = {split: [corpus.letters(int(row)) for row in of] for split, of in chosen.items()}
        of_split = {split: labels[of].astype(np.int64) for split, of in chosen.items()}
        setup = baseline_setup(run, policy, threads)
        clock, own = time.perf_counter(), time.process_time()
        for name in run.stack.parts:
            fit_part(setup, name, letters, of_split, lambda line: None)
        # Process time excludes other work on the processors, but counts each thread separately.
        seconds = min(time.perf_counter() - clock, time.process_time() - own)
        return cls(run.stack.parts, seconds * len(rows) / len(sample), len(sample), len(rows))

    def line(self) -> str:
        """Describe the time in one line."""
        how = (
            "measured"
            if self.fitted == self.records
            else f"extrapolated from {self.fitted:,} of {self.records:,} records"
        )
        return (
            f"stack of {', '.join(self.parts)}: about {duration(self.seconds)}, {how}; all "
            "seeds use the same parts"
        )
