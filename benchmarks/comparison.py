"""Compare the trainings of a model with simple baselines.

Each comparison is one row of the table of `benchmarks/accuracy.py`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from harness import Row, interval, option

import selfattn_bio
from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.files import sha256_of

FOLDER = Path("results/bench_accuracy")
# Figures depend on the code and the motif databases of the package, except these modules.
SOURCES = ("**/*.py", "**/*.cpp", "**/*.h", "motifs/**/*.meme.gz")
NOT_SOURCES = ("cli", "report", "attribution", "evidence")
DRAWS = 1000  # of the bootstrap
BENCH = option(
    "--bench", metavar="DIR", help="folder of the sets (SELFATTN_BENCH, ../shared/bench)"
)
COMPARED = "model / network / parts / best baseline"


def bench_folder(given: str | None, name: str = "") -> Path:
    """Return the folder of published sets or of one set; end the process if it does not exist.

    The sets are not part of the project.
    """
    folder = Path(given or os.environ.get("SELFATTN_BENCH") or "../shared/bench") / name
    if not folder.is_dir():
        hint = "choose the published sets with --bench DIR or SELFATTN_BENCH=DIR"
        sys.exit(f"error: {folder}: no such folder; {hint}")
    return folder


def code_hash() -> str:
    """Return the SHA-256 of `SOURCES` and of torch's version: models of other code are outdated."""
    package = Path(selfattn_bio.__file__).parent
    files = {
        file
        for pattern in SOURCES
        for file in package.glob(pattern)
        if file.relative_to(package).parts[0] not in NOT_SOURCES
    }
    names = [f"{file.relative_to(package)} {sha256_of(file)}" for file in sorted(files)]
    return hashlib.sha256("\n".join([torch.__version__, *names]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One metric on test. All bootstrap samples are of the same records.

    Parameters
    ----------
    model, network
        Mean over seeds: the complete model, and its network without the stack.
    parts
        The stack without the network, its weights fitted again on validation; None without a stack.
    baselines
        Simple models by name.
    """

    model: ResampledMetric
    network: ResampledMetric
    parts: ResampledMetric | None = None
    baselines: Mapping[str, ResampledMetric]

    @property
    def best(self) -> str:
        """The simple baseline with the best test figure, which makes the comparison hardest.

        A constant has no correlation, so it is never the best.
        """
        known = [name for name, of in self.baselines.items() if np.isfinite(of.value)]
        return max(known, key=lambda name: self.baselines[name].value)

    @property
    def lead(self) -> dict[str, float]:
        """Model minus best simple baseline, `{value, low, high, p}`."""
        return self.model.minus(self.baselines[self.best])

    @property
    def text(self) -> str:
        """The four figures: `.835 / .810 / - / .802 (gc)`."""
        each = (self.model, self.network, self.parts, self.baselines[self.best])
        return f"{' / '.join(_figure(of) for of in each)} ({self.best})"


@dataclass(frozen=True, kw_only=True)
class Comparison(Scores):
    """Figures of one practice set, with those of its metric.

    Parameters
    ----------
    metric
        Name for the table.
    by_seed
        The complete model on test, for each training.
    valid
        The model on the validation records, mean over seeds. Stack and threshold are fitted on
        these records, so the figure is too high.
    others
        Other networks by name, on test, mean over as many seeds.
    seconds
        The first training with the fit of its stack, and that of its parent if the set trains one.
    stacked_with
        Names of the parts of the stack.
    at_half
        The metric at a probability of 0.5, if it depends on a threshold.
    auroc
        AUROC, if it is not the metric.
    """

    metric: str
    by_seed: Sequence[float]
    valid: float
    seconds: float
    others: Mapping[str, ResampledMetric] = field(default_factory=dict)
    stacked_with: Sequence[str] = ()
    at_half: Scores | None = None
    auroc: Scores | None = None

    @property
    def range_of_seeds(self) -> str:
        """Lowest and highest figure of a training, or `one training`."""
        if len(self.by_seed) == 1:
            return "one training"
        return f"{min(self.by_seed):.3f} to {max(self.by_seed):.3f}"

    @property
    def verdict(self) -> str:
        """Whether the interval of the lead excludes 0.

        The interval is over test records only. With one training it says nothing about others.
        """
        if self.lead["low"] > 0:
            return "yes, ahead"
        return "yes, behind" if self.lead["high"] < 0 else "no"

    def row(self, name: str, seeds: str, published: str) -> Row:
        """Return a row of the table; the columns are the same for every set."""
        baseline = self.baselines[self.best]
        others = [
            f"{other} {of.value:.3f}; model - it {interval(self.model.minus(of), sign='+')}"
            for other, of in self.others.items()
        ]
        return {
            "set": name,
            "metric": self.metric,
            "seeds": seeds,
            "validation (fitted on these records)": f"{self.valid:.3f}",
            "model": interval(self.model.interval()),
            "lowest to highest seed": self.range_of_seeds,
            "network alone": _figure(self.network),
            "parts alone": _figure(self.parts),
            "best simple baseline": f"{baseline.value:.3f} ({self.best})",
            "model - baseline": interval(self.lead, sign="+"),
            "interval over records excludes 0": self.verdict
            + (" (one training)" if len(self.by_seed) == 1 else ""),
            "network - baseline": interval(self.network.minus(baseline), sign="+"),
            f"at 0.5: {COMPARED}": self.at_half.text if self.at_half else "-",
            "at 0.5: model - baseline": _lead(self.at_half),
            f"AUROC: {COMPARED}": self.auroc.text if self.auroc else "-",
            "AUROC: model - baseline": _lead(self.auroc),
            "other network": "; ".join(others) or "-",
            "best published": published or "-",
            "stacked with": ", ".join(self.stacked_with) or "-",
            "seconds": f"{self.seconds:.0f}",
        }


def _figure(metric: ResampledMetric | None) -> str:
    return f"{metric.value:.3f}" if metric else "-"


def _lead(scores: Scores | None) -> str:
    return interval(scores.lead, sign="+") if scores else "-"


def closing_line(found: Sequence[Comparison]) -> str:
    """Count the sets on which the model, its lead and its network are where they should be."""
    reached = sum(each.model.value >= each.baselines[each.best].value for each in found)
    ahead, behind = (
        sum(each.verdict == f"yes, {where}" for each in found) for where in ("ahead", "behind")
    )
    below = sum(each.network.value < each.baselines[each.best].value for each in found)
    return (
        f"The mean of the model is at least that of the best simple baseline on {reached} of "
        f"{len(found)} sets. "
        f"The interval of the difference excludes 0 on {ahead + behind}: {ahead} ahead, {behind} "
        "behind. "
        f"The network alone is below the best simple baseline on {below}."
    )


def mean_of(sampled: Iterable[ResampledMetric]) -> ResampledMetric:
    """Average a metric over models; their draws are of the same resampled records."""
    each = list(sampled)
    return ResampledMetric(
        mean(of.value for of in each), np.mean([of.draws for of in each], axis=0), each[0].low_high
    )
