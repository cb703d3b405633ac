"""Train a model with several seeds and compare it with simple baselines.

Each comparison is one row of the table of `benchmarks/accuracy.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import tomli_w
from promoter import command, is_trained
from published import code_hash, said

from selfattn_bio.config import Transfer
from selfattn_bio.evaluation.metrics import ResampledMetric
from selfattn_bio.model.checkpoint import read_provenance

DRAWS = 1000  # of the bootstrap


@dataclass(frozen=True)
class Comparison:
    """Figures of one practice set; the draws of all test figures are of the same resampled records.

    Parameters
    ----------
    metric
        Name for the table.
    valid
        The model on the validation records, mean over seeds.
    model, network
        On test, mean over seeds: the complete model, and its network without the stack.
    baselines
        Simple models by name, on test.
    others
        Other networks by name, on test, mean over as many seeds.
    seconds
        One training, with its stack and its parent.
    stacked_with
        Names of the parts of the stack.
    at_half
        The metric of `model`, `network` and each baseline at a probability of 0.5, if it depends on
        a threshold.
    """

    metric: str
    valid: float
    model: ResampledMetric
    network: ResampledMetric
    baselines: Mapping[str, ResampledMetric]
    seconds: float
    others: Mapping[str, ResampledMetric] = field(default_factory=dict)
    stacked_with: Sequence[str] = ()
    at_half: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The simple baseline with the best test figure, which makes the comparison hardest."""
        return max(self.baselines, key=lambda name: self.baselines[name].value)

    @property
    def lead(self) -> dict[str, float]:
        """Model minus best simple baseline, `{value, low, high, p}`."""
        return self.model.minus(self.baselines[self.best])

    @property
    def verdict(self) -> str:
        """Whether the interval of the lead excludes 0."""
        if self.lead["low"] > 0:
            return "yes, ahead"
        return "yes, behind" if self.lead["high"] < 0 else "no"

    def row(self, name: str, seeds: str, published: str) -> dict[str, str]:
        """Return a row of the table; the columns are the same for every set."""
        baseline = self.baselines[self.best]
        others = [
            f"{other} {of.value:.3f}; model - it {said(self.model.minus(of), '+')}"
            for other, of in self.others.items()
        ]
        return {
            "set": name,
            "metric": self.metric,
            "seeds": seeds,
            "model, validation": f"{self.valid:.3f}",
            "model": said(self.model.interval()),
            "network alone": f"{self.network.value:.3f}",
            "best simple baseline": f"{baseline.value:.3f} ({self.best})",
            "model - baseline": said(self.lead, "+"),
            "interval excludes 0": self.verdict,
            "network - baseline": said(self.network.minus(baseline), "+"),
            "model / network / baseline at 0.5": " / ".join(
                f"{self.at_half[each]:.3f}" for each in ("model", "network", self.best)
            )
            if self.at_half
            else "-",
            "other network": "; ".join(others) or "-",
            "best published": published or "-",
            "stacked with": ", ".join(self.stacked_with) or "-",
            "seconds": f"{self.seconds:.0f}",
        }


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


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows with the same columns as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ingest_and_split(task: Path, place: Path) -> None:
    """Read the records of a run file into `place` and split them."""
    command("ingest", "--run-file", task, "--output", place / "corpus")
    command(
        "split", "--run-file", task, "--corpus", place / "corpus", "--output", place / "split.tsv"
    )


def mean_of(sampled: Iterable[ResampledMetric]) -> ResampledMetric:
    """Average a metric over models; their draws are of the same resampled records."""
    each = list(sampled)
    return ResampledMetric(
        mean(of.value for of in each), np.mean([of.draws for of in each], axis=0), each[0].low_high
    )


def train_seeds(
    values: Mapping[str, Any], place: Path, seeds: int, variant: str = ""
) -> list[Path]:
    """Train a run file with each seed, one thread and one core each; return the model folders.

    A model that is there is kept if its run file, data, code and parent are those of now. The parts
    of a stack are fitted once, by the first training.

    Parameters
    ----------
    values
        Content of the run file.
    place
        Folder with `corpus` and `split.tsv`, where the models are written.
    variant
        Name of a variant of the run file, to train it instead of the model.
    """
    parent = Transfer(**values["transfer"]).folder if "transfer" in values else None
    stamp = code_hash() + (read_provenance(parent)["weights_sha256"] if parent else "")
    shared = ("--corpus", place / "corpus", "--split", place / "split.tsv")
    name = f"{variant}_seed" if variant else "seed"

    def train(seed: int, *more: object) -> Path:
        run_file, output = place / f"{name}{seed}.toml", place / f"{name}{seed}"
        with_seed = {**values, "training": {**values.get("training", {}), "seed": seed, "seeds": 1}}
        run_file.write_text(tomli_w.dumps(with_seed), encoding="utf-8")
        code = output.with_suffix(".code")
        is_done = is_trained(run_file, variant, output, place / "corpus", place / "split.tsv")
        if not (is_done and code.exists() and code.read_text() == stamp):
            options = ("--variant", variant) if variant else ()
            command(
                "train",
                "--run-file",
                run_file,
                *options,
                *shared,
                "--threads",
                1,
                *more,
                "--output",
                output,
            )
            code.write_text(stamp)
        return output

    stacked = bool(values.get("stack", {}).get("parts")) and not variant
    first = [train(0)] if stacked else []
    more = ("--parts", first[0]) if stacked else ()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return first + list(pool.map(lambda seed: train(seed, *more), range(len(first), seeds)))


def seconds_of(model: Path) -> float:
    """Return how long a training took, with the fit of its stack."""
    return json.loads((model / "train.json").read_text(encoding="utf-8"))["seconds"]
