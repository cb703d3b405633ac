"""Total memory and time of all trainings of a run file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from selfattn_bio import config
from selfattn_bio.display import TableDisplay
from selfattn_bio.files import whole_file
from selfattn_bio.training.plan import CROWDED, Plan, duration, gigabytes


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
