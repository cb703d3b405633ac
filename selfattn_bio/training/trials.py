"""Short fits of baselines to training records, compared on validation records; see `recipes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.baselines import Setup
from selfattn_bio.baselines.base import PROFILE
from selfattn_bio.display import with_interval
from selfattn_bio.evaluation.metrics import title_of
from selfattn_bio.sequence.alphabet import Letters
from selfattn_bio.training.stacking import fit_part

RESAMPLES, CONFIDENCE = 200, 0.95  # of the comparisons of two baselines
CLEARLY = 3.0  # standard errors above chance of a baseline that has learned something


@dataclass(frozen=True)
class Trial:
    """Store the metric of a fitted baseline on validation records and on resamples of them.

    Attributes
    ----------
    name, metric
        Readable name of the baseline; the main metric of the objective, or "r2" of log counts.
    value, draws
        The metric of all records, and of each resample; trials have the same resamples.
    """

    name: str
    metric: str
    value: float
    draws: NDArray[np.float64]

    def beats(self, other: Trial) -> bool:
        """Return whether the metric is higher in at least `CONFIDENCE` of the resamples."""
        return float(np.mean(self.draws > other.draws)) >= CONFIDENCE

    def __str__(self) -> str:
        low, high = np.quantile(self.draws, [0.025, 0.975])
        shown = with_interval(self.value, low, high, 3, sign="")
        return f"{self.name}: {title_of(self.metric)} {shown}"


def fit_trial(
    name: str,
    kind: str,
    setup: Setup,
    letters: Mapping[str, Letters],
    targets: Mapping[str, NDArray],
) -> Trial:
    """Fit a baseline to the training records, and measure it on resampled validation records."""
    objective = setup.objective
    model = fit_part(setup, kind, letters, targets)
    records = pd.DataFrame({"id": range(len(targets["valid"]))})
    examples = objective.examples_of(targets["valid"], records)
    outputs = examples.of_records(model.read(letters["valid"]))
    measure = objective.measurer(objective.predictions_of(outputs), examples.targets)
    size, rng = len(examples.targets), np.random.default_rng(0)
    draws = [np.arange(size), *(rng.integers(size, size=size) for _ in range(RESAMPLES))]
    metric = "r2" if setup.question == PROFILE else objective.main_metric  # of the log counts
    # a constant prediction has no correlation
    value, *others = (np.nan_to_num(measure(draw)[metric]) for draw in draws)
    return Trial(name, metric, float(value), np.array(others))


def learns_nothing(trials: Sequence[Trial]) -> bool:
    """Return whether no baseline is clearly above chance on the validation records.

    It must be so by `CLEARLY` standard errors, because the settings of several baselines were
    chosen on the same records.
    """
    # the first fit to labels per position or bin, or to profiles, is a constant
    constant = trials[0].draws if trials else 0.0
    chance: dict[str, Any] = {"auroc": 0.5, "accuracy": constant, "auprc": constant, "r2": constant}
    gains = [one.draws - chance.get(one.metric, 0.0) for one in trials]
    return bool(trials) and all(of.mean() <= CLEARLY * of.std() for of in gains)
