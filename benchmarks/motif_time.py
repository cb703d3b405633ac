"""Time the way from a trained model to its report, command by command, on one thread.

A model trained for 300 steps explains 1,000 positives of 200 bp of the development grammar `five`
with 3,000 records; the evidence comes from the 15 % in test. The commands are those of the
workflow, each in a separate process, so that starting Python and importing libraries count. The
functions of numba are compiled before, as `make` does at setup. The steps before (simulation,
ingest, split, train, evaluate) are not timed and are kept in results/bench_motif_time/. The
four timed commands run again each time.

The table has CPU seconds and wall-clock seconds of explain, motifs (with the default caller,
matches and evidence), interactions and report. The goal is a sum of less than 90 CPU seconds. On an
idle core wall-clock time is similar; with other work it is much longer.

    python benchmarks/motif_time.py
    python benchmarks/motif_time.py --records 400 --steps 4      # a check
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Row, Table, option, run
from runs import Study, command, read_json, settings_of, write_run_file
from simulation import read_grammar, write_task

from selfattn_bio.attribution.explanation import Explanation

GRAMMAR = Path(__file__).parent / "grammars/development/five.toml"
FOLDER = Path("results/bench_motif_time")
EXPLAINED, AIM = 1000, 90  # sequences; CPU seconds
WRITTEN = ("attribution", "motifs.tsv", "interactions.tsv", "report.html")


def prepared(records: int, steps: int) -> Study:
    """Prepare a task with an evaluated model, the inputs of `explain` and later commands."""
    study = Study(FOLDER / f"{records}-{steps}")
    folder, run_file = study.folder, study.folder / "run.toml"
    folder.mkdir(parents=True, exist_ok=True)
    if not study.split.exists():
        task = write_task(read_grammar(GRAMMAR), folder / "data", records=records)
        values = settings_of(task) | {"variants": {}}
        values["training"] |= {
            "max_steps": steps,
            "warmup_steps": min(100, steps // 3),
            "evaluate_every": steps,
            "checkpoint_every": steps,
        }
        values["interpret"]["max_sequences"] = EXPLAINED
        study.prepare(write_run_file(run_file, values))
    study.evaluate(run_file, study.train(run_file, folder / "model"))
    return study


def timed(*arguments: object) -> tuple[float, float]:
    """Return CPU seconds and wall-clock seconds of a command, including its startup."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command(*arguments)
    clock, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def rows(study: Study, took: dict[str, tuple[float, float]]) -> Iterator[Row]:
    """Time each command; `took` receives CPU seconds and wall-clock seconds."""
    folder, run_file = study.folder, study.folder / "run.toml"
    files = ("--run-file", run_file, "--corpus", study.corpus, "--split", study.split)
    model = ("--model", folder / "model")
    attribution, motifs = folder / "attribution", folder / "motifs.meme"
    found, report = folder / "interactions.tsv", folder / "report.html"
    words: dict[str, tuple[object, ...]] = {
        "explain": (*files, *model, "--output", attribution),
        "motifs": (*files, *model, "--attribution", attribution, "--output", folder),
        "interactions": (*files, *model, "--motifs", motifs, "--output", found),
        "report": ("--run-file", run_file, "--results", folder, "--output", report),
    }
    for name, options in words.items():
        took[name] = timed(name, *options)
    took["total"] = tuple(map(sum, zip(*took.values(), strict=True)))
    for name, (cpu, clock) in took.items():
        yield {"command": name, "CPU s": f"{cpu:.1f}", "wall s": f"{clock:.1f}"}


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Remove earlier results and time the commands."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    study = prepared(chosen.records, chosen.steps)
    for name in WRITTEN:
        path = study.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    took: dict[str, tuple[float, float]] = {}
    yield Table("", rows(study, took))
    auroc = read_json(study.folder / "metrics.json")["test"]["model"]["auroc"]["value"]
    explained = len(Explanation.load(study.folder / "attribution").ids)
    yield f"test AUROC {auroc:.3f}; {explained} sequences explained"
    yield f"goal of less than {AIM} CPU s: {'reached' if took['total'][0] < AIM else 'missed'}"


if __name__ == "__main__":
    records = option("--records", type=int, default=3000, help="records of the grammar")
    run(__doc__, measure, records, option("--steps", type=int, default=300, help="of the training"))
