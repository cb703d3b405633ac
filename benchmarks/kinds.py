"""Compare all kinds of attention on promoters and transcription starts.

Each training is the task of the run file with another `pattern` or `mixer`, and another position if
the kind does not support that of the task. Nothing else changes, and nothing was tuned for a kind.
On the promoters, a single network is used whose stem pools 2 tokens instead of 8, so that attention
has 148 positions instead of 37. On transcription starts the stem is that of the task, with 656
positions for 32,768 bp, and the parent uses the same mixer and is trained like that of the task.

The table has accuracy, speed and memory. There is one training per kind and seed, each with one
thread, as many at a time as there are cores. Each model is evaluated once. Speed (bp/s) and memory
are those of a training step, measured as `plan` measures them, in seconds of the process. An
interrupted benchmark continues where it stopped. `benchmarks/long_range.py` has the table of the
long-range task.

    make bench-kinds
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w
from promoter import command, trained_at_once

from selfattn_bio.cli.process import keep_memory
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.training.probe import measure

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
        main: str,
        length: int,
        model: dict[str, Any] | None = None,
        parent: Task | None = None,
    ) -> None:
        self.name, self.kinds, self.main, self.length, self.model, self.parent = (
            name,
            kinds,
            main,
            length,
            model or {},
            parent,
        )
        self.run: RunFile = read_run_file(Path(f"workflows/tasks/{name}.toml"))
        self.folder, self.corpus, self.split = (
            FOLDER / name,
            FOLDER / name / "corpus",
            FOLDER / name / "split.tsv",
        )

    def run_file(self, kind: str, seed: int) -> Path:
        """Write the run file of a kind, without the variants of the task."""
        values = self.run.model_dump(mode="json", exclude_unset=True)
        values.pop("variants", None)
        model = values.setdefault("model", {"kind": "attention"}) | self.model | self.kinds[kind]
        if "mixer" in self.kinds[kind]:
            model.pop("pattern", None)
        values["model"] = model
        values.setdefault("training", {}).update(seed=seed, seeds=1)
        if self.parent:
            parent = self.parent.run_file(kind if kind in self.parent.kinds else SOFTMAX, 0)
            values["transfer"]["parent"] = str(parent.with_name("model"))
        path = self.folder / kind.split(" (")[0].replace(" ", "_") / str(seed) / "run.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(values), encoding="utf-8")
        return path

    def train(self, seeds: Sequence[int]) -> list[Path]:
        """Prepare the data and train each kind with each seed if needed; return the run files."""
        run_file = f"workflows/tasks/{self.name}.toml"
        command("ingest", "--run-file", run_file, "--output", self.corpus)
        command("split", "--run-file", run_file, "--corpus", self.corpus, "--output", self.split)
        run_files = [self.run_file(kind, seed) for seed in seeds for kind in self.kinds]
        trained_at_once(
            [(path, "", path.with_name("model")) for path in run_files], self.corpus, self.split
        )
        return run_files

    def judge(self, run_file: Path) -> None:
        """Write metrics.json next to the model if it is missing."""
        if not (run_file.parent / "metrics.json").exists():
            shared = ("--run-file", run_file, "--corpus", self.corpus, "--split", self.split)
            command(
                "evaluate",
                *shared,
                "--model",
                run_file.parent / "model",
                "--output",
                run_file.parent,
            )

    def row(self, kind: str, seeds: Sequence[int]) -> dict[str, str]:
        """Return the row of a kind, with means over seeds."""
        folders = [self.run_file(kind, seed).parent for seed in seeds]
        metrics = [
            json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders
        ]
        run = read_run_file(folders[0] / "run.toml").model_copy(update={"transfer": None})
        step = measure(
            run,
            (self.length, run.training.batch_size),
            (1.0,),
            threads=1,
            seconds=20.0,
            prepare=keep_memory,
        ).points[-1]
        valid = [each["valid"]["model"][self.main]["value"] for each in metrics]
        test = [each["test"]["model"][self.main] for each in metrics]
        return {
            "kind": kind,
            f"valid {self.main}": f"{_mean(valid):.3f}",
            f"test {self.main} by seed (95 % interval)": ", ".join(
                "{value:.3f} ({low:.3f}-{high:.3f})".format(**each) for each in test
            ),
            "mean": f"{_mean([each['value'] for each in test]):.3f}",
            "bp/s": f"{step.length * step.batch / step.seconds:,.0f}",
            "peak MB": f"{step.peak:,.0f}",
        }


def print_table(rows: list[dict[str, str]]) -> None:
    print("\n| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    print("\n".join("| " + " | ".join(row.values()) + " |" for row in rows), flush=True)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Train, evaluate and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    parents = Task(
        "tss_parent",
        {SOFTMAX: {}} | {kind: parts for kind, parts in TSS.items() if "mixer" in parts},
        "auroc",
        300,
    )
    parents.train([0])
    networks = {"members": 1, "stem": {"kind": "conv", "pool": 2}}
    for task in (
        Task("promoter", PROMOTER, "auroc", 300, model=networks),
        Task("tss", TSS, "auprc", 32_768, parent=parents),
    ):
        run_files = task.train(seeds)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(task.judge, run_files))
        print_table([task.row(kind, seeds) for kind in task.kinds])


if __name__ == "__main__":
    main()
