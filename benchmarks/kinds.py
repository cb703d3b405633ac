"""Every kind of attention on the fly promoters and on transcription starts: accuracy, letters a second and memory side by side.

The task of the run file, with another `pattern` or `mixer` and, where the kind cannot take the task's position, another position; all else
is as the task has it, and nothing was tuned for a kind. On the promoters of one network whose stem pools 2 tokens and not 8, so that
attention meets 148 places and not 37; on transcription starts with the task's stem, 656 places of 32,768 letters, from a parent of the same
mixer, trained as the task's. A training a kind and seed, one thread each, as many at once as there are cores; each is evaluated once.
Letters a second and memory are those of a step of its own, by the way `plan` measures, in seconds of the process. Goes on where it was
stopped. The long-range task has a table of its own (`benchmarks/long_range.py`). Run: `make bench-kinds`.
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

from selfattn_bio.cli.main import keep_memory
from selfattn_bio.config import RunFile, read_run_file
from selfattn_bio.training.probe import measure

FOLDER, SOFTMAX = Path("results/bench_kinds"), "softmax"
Kinds = dict[str, dict[str, Any]]
SINUSOIDAL, ROTARY = {"kind": "sinusoidal"}, {"kind": "rotary"}
PROMOTER: Kinds = {
    "full": {},
    "window": {"pattern": {"kind": "window", "window": 16}},
    "BigBird": {"pattern": {"kind": "bigbird", "window": 16, "num_global": 2, "random_blocks": 1, "block": 16}},
    "hierarchical": {"mixer": {"kind": "hierarchical", "window": 16, "pool": 16}},
    "dynamic": {"mixer": {"kind": "dynamic", "block": 16, "top": 2}},
    "reformer": {"mixer": {"kind": "reformer", "num_buckets": 16, "chunk": 16, "hashes": 2}},
    "linear": {"mixer": {"kind": "linear"}, "position": SINUSOIDAL},
    "performer": {"mixer": {"kind": "performer", "features": 64}, "position": ROTARY},
    "linformer": {"mixer": {"kind": "linformer", "max_length": 300, "rank": 32}, "position": SINUSOIDAL},
}
TSS: Kinds = {
    "window + global (the task)": {},
    "BigBird": {"pattern": {"kind": "bigbird", "window": 64, "num_global": 4, "random_blocks": 1, "block": 64}},
    "hierarchical": {"mixer": {"kind": "hierarchical", "window": 64, "pool": 16}},
    "dynamic": {"mixer": {"kind": "dynamic", "block": 32, "top": 3}},
}


class Task:
    """A task of which each kind is trained: its run files, corpus and split. `parent` is the task whose models they start from."""

    def __init__(
        self, name: str, kinds: Kinds, main: str, length: int, model: dict[str, Any] | None = None, parent: Task | None = None
    ) -> None:
        self.name, self.kinds, self.main, self.length, self.model, self.parent = name, kinds, main, length, model or {}, parent
        self.run: RunFile = read_run_file(Path(f"workflows/tasks/{name}.toml"))
        self.folder, self.corpus, self.split = FOLDER / name, FOLDER / name / "corpus", FOLDER / name / "split.tsv"

    def run_file(self, kind: str, seed: int) -> Path:
        """Write that of a kind; a task's variants are left out."""
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
        """Make the data and train each kind with each seed, where that is not done; the run files."""
        run_file = f"workflows/tasks/{self.name}.toml"
        command("ingest", "--run-file", run_file, "--output", self.corpus)
        command("split", "--run-file", run_file, "--corpus", self.corpus, "--output", self.split)
        run_files = [self.run_file(kind, seed) for seed in seeds for kind in self.kinds]
        trained_at_once([(path, "", path.with_name("model")) for path in run_files], self.corpus, self.split)
        return run_files

    def judge(self, run_file: Path) -> None:
        """Write metrics.json beside the model, if it is not there."""
        if not (run_file.parent / "metrics.json").exists():
            shared = ("--run-file", run_file, "--corpus", self.corpus, "--split", self.split)
            command("evaluate", *shared, "--model", run_file.parent / "model", "--output", run_file.parent)

    def row(self, kind: str, seeds: Sequence[int]) -> dict[str, str]:
        """Of the table: means over seeds."""
        folders = [self.run_file(kind, seed).parent for seed in seeds]
        metrics = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
        run = read_run_file(folders[0] / "run.toml").model_copy(update={"transfer": None})
        step = measure(run, (self.length, run.training.batch_size), (1.0,), threads=1, seconds=20.0, prepare=keep_memory).points[-1]
        test = [each["test"]["model"][self.main] for each in metrics]
        return {
            "kind": kind,
            f"valid {self.main}": f"{_mean([each['valid']['model'][self.main]['value'] for each in metrics]):.3f}",
            f"test {self.main} by seed (95 % interval)": ", ".join("{value:.3f} ({low:.3f}-{high:.3f})".format(**each) for each in test),
            "mean": f"{_mean([each['value'] for each in test]):.3f}",
            "letters/s": f"{step.length * step.batch / step.seconds:,.0f}",
            "peak MB": f"{step.peak:,.0f}",
        }


def print_table(rows: list[dict[str, str]]) -> None:
    print("\n| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    print("\n".join("| " + " | ".join(row.values()) + " |" for row in rows), flush=True)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Train, judge and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    parents = Task("tss_parent", {SOFTMAX: {}} | {kind: parts for kind, parts in TSS.items() if "mixer" in parts}, "auroc", 300)
    parents.train([0])
    networks = {"members": 1, "stem": {"kind": "conv", "pool": 2}}
    for task in (Task("promoter", PROMOTER, "auroc", 300, model=networks), Task("tss", TSS, "auprc", 32_768, parent=parents)):
        run_files = task.train(seeds)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(task.judge, run_files))
        print_table([task.row(kind, seeds) for kind in task.kinds])


if __name__ == "__main__":
    main()
