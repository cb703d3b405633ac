"""Compare all kinds of attention on promoters and transcription starts.

Each training is the task of the run file with another `pattern` or `mixer`, and another position if
the kind does not support that of the task. Nothing else changes, and nothing was tuned for a kind.
On the promoters, a single network is used whose stem pools 2 tokens instead of 8, so that attention
has 148 positions instead of 37. On transcription starts the stem is that of the task, with 656
positions for 32,768 bp, and the parent uses the same mixer and is trained like that of the task.

The table has accuracy, speed and memory. There is one training per kind and seed, each with one
thread, as many at a time as there are cores. Each model is evaluated once. Speed (bp/s) and memory
are those of a step in a dry run with one thread. An interrupted benchmark continues where it
stopped. `benchmarks/long_range.py` has the table of the
long-range task.

    make bench-kinds
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

from harness import Row, Table, interval, option, run
from runs import Study, settings_of, write_run_file

from selfattn_bio.api.training import dry_run
from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus

FOLDER, SOFTMAX = Path("results/bench_kinds"), "softmax"
Kinds = dict[str, dict[str, Any]]
SINUSOIDAL, ROTARY = {"kind": "sinusoidal"}, {"kind": "rotary"}
PROMOTER: Kinds = {
    "full": {},
    "window": {"pattern": {"kind": "window", "window": 16}},
    "BigBird": {
        "pattern": {
            "kind": "bigbird",
            "window": 16,
            "num_global": 2,
            "random_blocks": 1,
            "block": 16,
        }
    },
    "hierarchical": {"mixer": {"kind": "hierarchical", "window": 16, "pool": 16}},
    "dynamic": {"mixer": {"kind": "dynamic", "block": 16, "top": 2}},
    "reformer": {"mixer": {"kind": "reformer", "num_buckets": 16, "chunk": 16, "hashes": 2}},
    "linear": {"mixer": {"kind": "linear"}, "position": SINUSOIDAL},
    "performer": {"mixer": {"kind": "performer", "features": 64}, "position": ROTARY},
    "linformer": {
        "mixer": {"kind": "linformer", "max_length": 300, "rank": 32},
        "position": SINUSOIDAL,
    },
}
TSS: Kinds = {
    "window + global (the task)": {},
    "BigBird": {
        "pattern": {
            "kind": "bigbird",
            "window": 64,
            "num_global": 4,
            "random_blocks": 1,
            "block": 64,
        }
    },
    "hierarchical": {"mixer": {"kind": "hierarchical", "window": 64, "pool": 16}},
    "dynamic": {"mixer": {"kind": "dynamic", "block": 32, "top": 3}},
}


class Task:
    """Run files, corpus and split of a task that is trained with each kind.

    The models start from those of the task `parent`.
    """

    def __init__(
        self,
        name: str,
        kinds: Kinds,
        metric: str,
        length: int,
        model: dict[str, Any] | None = None,
        parent: Task | None = None,
    ) -> None:
        self.run_file = Path(f"workflows/tasks/{name}.toml")
        self.kinds, self.metric, self.length = kinds, metric, length
        self.model, self.parent = model or {}, parent
        self.study = Study(FOLDER / name)

    def write(self, kind: str, seed: int) -> Path:
        """Write the run file of a kind, without the variants of the task."""
        values = settings_of(self.run_file)
        values.pop("variants", None)
        model = values.setdefault("model", {"kind": "attention"}) | self.model | self.kinds[kind]
        if "mixer" in self.kinds[kind]:
            model.pop("pattern", None)
        values["model"] = model
        values.setdefault("training", {}).update(seed=seed, seeds=1)
        if self.parent:
            parent = self.parent.write(kind if kind in self.parent.kinds else SOFTMAX, 0)
            values["transfer"]["parent"] = str(parent.with_name("model"))
        folder = self.study.folder / kind.split(" (")[0].replace(" ", "_") / str(seed)
        return write_run_file(folder / "run.toml", values)

    def train(self, seeds: Sequence[int]) -> None:
        """Prepare the data and train each kind with each seed if needed."""
        self.study.prepare(self.run_file)
        files = [self.write(kind, seed) for seed in seeds for kind in self.kinds]
        self.study.train_all((path, path.with_name("model"), "") for path in files)

    def judge(self, run_file: Path) -> dict[str, Any]:
        """Return metrics.json, written if it is missing."""
        return self.study.evaluate(run_file, run_file.with_name("model"))

    def rows(self, seeds: Sequence[int]) -> Iterator[Row]:
        """Train and evaluate; return a row per kind, with means over seeds."""
        self.train(seeds)
        files = [self.write(kind, seed) for kind in self.kinds for seed in seeds]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.judge, files))
        for kind in self.kinds:
            yield self.row(kind, [self.write(kind, seed) for seed in seeds])

    def row(self, kind: str, run_files: Sequence[Path]) -> Row:
        """Return the row of a kind; measure its speed and memory."""
        metrics = [self.judge(path) for path in run_files]
        run, corpus = read_run_file(run_files[0]), Corpus.open(self.study.corpus)
        measured = dry_run(run, corpus, self.study.split, threads=1)
        bases = self.length * run.training.batch_size * run.training.accumulate
        valid = [each["valid"]["model"][self.metric]["value"] for each in metrics]
        test = [each["test"]["model"][self.metric] for each in metrics]
        return {
            "kind": kind,
            f"valid {self.metric}": f"{mean(valid):.3f}",
            f"test {self.metric} by seed (95 % interval)": ", ".join(map(interval, test)),
            "mean": f"{mean(each['value'] for each in test):.3f}",
            "bp/s": f"{bases / measured.seconds_per_step:,.0f}",
            "peak MB": f"{measured.peak_memory_mb:,.0f}",
        }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train, evaluate and return both tables."""
    seeds = range(chosen.seeds)
    mixers = {kind: parts for kind, parts in TSS.items() if "mixer" in parts}
    parents = Task("tss_parent", {SOFTMAX: {}} | mixers, "auroc", 300)
    parents.train([0])
    networks = {"members": 1, "stem": {"kind": "conv", "pool": 2}}
    yield Table("Promoters", Task("promoter", PROMOTER, "auroc", 300, networks).rows(seeds))
    tss = Task("tss", TSS, "auprc", 32_768, parent=parents)
    yield Table("Transcription starts", tss.rows(seeds))


if __name__ == "__main__":
    seeds = option("--seeds", type=int, default=2, help="trainings per kind (default: %(default)s)")
    run(__doc__, measure, seeds)
