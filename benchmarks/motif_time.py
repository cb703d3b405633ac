"""Time the way from a trained model to its report, command by command, on one thread.

A model trained for 300 steps explains 1,000 positives of 200 bp of the development grammar `five`
with 3,000 records; the evidence comes from the 15 % in test. The commands are those of the
workflow, each in a separate process, so that starting Python and importing libraries count. The
functions of numba are compiled before, as `make` does at setup. The steps before (simulation,
ingest, split, train, evaluate) are not timed; data and model are kept in results/bench_motif_time/.

The table has CPU seconds and wall-clock seconds of explain, motifs (with the default caller,
matches and evidence), interactions and report. The goal is a sum of less than 90 CPU seconds. On an
idle core wall-clock time is similar; with other work it is much longer.

    python benchmarks/motif_time.py
    python benchmarks/motif_time.py --records 400 --steps 4      # a check
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import Row, Table, option, run
from runs import Cost, measured_command, prepared, train, with_training
from simulation import read_grammar, settings_of, write_data

from selfattn_bio import Study

GRAMMAR = Path(__file__).parent / "grammars/development/five.toml"
FOLDER = Path("results/bench_motif_time")
EXPLAINED, AIM = 1000, 90  # sequences; CPU seconds


def evaluated(records: int, steps: int) -> Study:
    """Prepare a task with an evaluated model, the inputs of `explain` and later commands."""
    folder, grammar = FOLDER / f"{records}-{steps}", read_grammar(GRAMMAR)
    data = folder / "data"
    if not data.exists():
        write_data(grammar, data, records=records)
    values = with_training(
        settings_of(grammar, data),
        max_steps=steps,
        warmup_steps=min(100, steps // 3),
        evaluate_every=steps,
        checkpoint_every=steps,
    )
    values["interpret"]["max_sequences"] = EXPLAINED
    study = prepared(folder, values)
    train(study)
    study.evaluate()
    return study


def rows(study: Study, took: dict[str, Cost]) -> Iterator[Row]:
    """Time each command; `took` receives its cost."""
    for name in ("explain", "motifs", "interactions", "report"):
        took[name] = measured_command(name, study.root.folder)
    each = {name: (cost.cpu, cost.wall) for name, cost in took.items()}
    each["total"] = (sum(cost.cpu for cost in took.values()), sum(of.wall for of in took.values()))
    for name, (cpu, clock) in each.items():
        yield {"command": name, "CPU s": f"{cpu:.1f}", "wall s": f"{clock:.1f}"}


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Remove earlier results and time the commands."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    study = evaluated(chosen.records, chosen.steps)
    for path in (
        study.files.attribution,
        study.files.motifs,
        study.files.interactions,
        study.root.report,
    ):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    took: dict[str, Cost] = {}
    yield Table("", rows(study, took))
    auroc = study.evaluation.metrics["test"]["model"]["auroc"]["value"]
    yield f"test AUROC {auroc:.3f}; {len(study.explanation.ids)} sequences explained"
    is_reached = sum(cost.cpu for cost in took.values()) < AIM
    yield f"goal of less than {AIM} CPU s: {'reached' if is_reached else 'missed'}"


if __name__ == "__main__":
    records = option("--records", type=int, default=3000, help="records of the grammar")
    run(__doc__, measure, records, option("--steps", type=int, default=300, help="of the training"))
