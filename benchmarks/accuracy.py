"""Measure the default model on practice sets: `init`, `train` and `evaluate`, nothing by hand.

Any folder with train, dev and test tables (CSV, columns sequence and label) can be measured. The
published sets that `make bench-accuracy` measures are not part of the project. They are looked for
in --bench DIR, in the environment variable SELFATTN_BENCH, and in ../shared/bench. The tasks of the
project are measured next to them.

Three trainings with different seeds are scored on the test records: the complete model, its network
alone, and the simple baseline with the best test figure, which is the hardest comparison. The
interval of the difference is over test records, chains or blocks of a chromosome. Each row is
printed when its set is finished, and the complete table at the end.

Results stay in results/bench_accuracy/SET. A training is repeated only if its run file, data or
code changed, and `init` only if its code changed.

    python benchmarks/accuracy.py gue_core_tata ecoli70      # some of the sets
    python benchmarks/accuracy.py path/to/folder             # a folder of your own
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Protocol

import numpy as np
import torch
from comparison import (
    DRAWS,
    Comparison,
    closing_line,
    ingest_and_split,
    markdown,
    mean_of,
    seconds_of,
    train_seeds,
)
from promoter import command
from protein_ss3 import Chains
from published import FOLDER, bench_folder, code_hash
from scipy.special import expit, logit
from tss import BinsTask

from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.calibration import choose_threshold
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric
from selfattn_bio.scoring.scorer import Scorer, load
from selfattn_bio.sequence.splits import read_split

SEEDS = 3
# What init depends on, besides the code of the models that it tries.
INIT_SOURCES = ("cli/init.py", "cli/proposal/*.py", "config/*.py", "training/recipes.py")


class PracticeSet(Protocol):
    """A set that can be measured.

    Attributes
    ----------
    published
        Figures of other models, for the table.
    seeds
        Trainings, unless --seeds gives another number.
    reason
        Why it is another number than for most sets.
    """

    @property
    def published(self) -> str: ...
    @property
    def seeds(self) -> int: ...
    @property
    def reason(self) -> str: ...

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Train with each seed and compare.

        `folder` holds the data of a set that is not part of the project.
        """


@dataclass(frozen=True)
class TableSet:
    """A folder of train, dev and test tables with two classes of DNA.

    Parameters
    ----------
    organism
        Chooses the motif database, as `init --organism`.
    metric
        Name in metrics.json.
    """

    organism: str = "vertebrates"
    published: str = ""
    metric: str = "mcc"
    seeds: int = SEEDS
    reason: str = ""

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Write the run file with `init`, train and compare."""
        place = FOLDER / name
        return compare_classes(self.prepare(folder, place), place, seeds, self.metric)

    def prepare(self, folder: Path, place: Path) -> Path:
        """Write the run file, unless the code of `init` is that of the last time; return it."""
        place.mkdir(parents=True, exist_ok=True)
        task = place / "workflows" / "tasks" / "task.toml"
        code, now = task.with_suffix(".code"), code_hash(*INIT_SOURCES)
        if not (task.exists() and code.exists() and code.read_text() == now):
            task.unlink(missing_ok=True)
            files = {split: find_table(folder, *names) for split, names in TABLES.items()}
            options = [
                word
                for split, file in files.items()
                for word in (f"--{split}", str(file.resolve()))
            ]
            init = [
                sys.executable,
                "-m",
                "selfattn_bio.cli.main",
                "init",
                "task",
                *options,
                "--organism",
                self.organism,
            ]
            subprocess.run(init, check=True, cwd=place)
            code.write_text(now)
        return task


@dataclass(frozen=True)
class ProjectTask:
    """A task of two classes that ships with the project."""

    published: str = ""
    metric: str = "auroc"
    seeds: int = SEEDS
    reason: str = ""

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Train and compare."""
        return compare_classes(
            Path("workflows/tasks") / f"{name}.toml", FOLDER / name, seeds, self.metric
        )


TABLES = {"train": ("train",), "valid": ("dev", "valid", "val", "validation"), "test": ("test",)}
SETS: dict[str, PracticeSet] = {
    "gue_tf1": TableSet(published="DNABERT-2 .761"),
    "gue_tf4": TableSet(published="DNABERT-2 .774"),
    "gue_mouse0": TableSet(published="DNABERT-2 .642, further pretrained"),
    "gue_core_tata": TableSet(published="DNABERT-3mer .782"),
    "ecoli70": TableSet("bacteria", "CNNProm .84 (another split)"),
    "arabidopsis_tata": TableSet("plants", "iPTT-CNN .937 (10-fold)"),
    "protein_ss3": Chains(published="ProtT5 .87 (pretrained)"),
    "promoter": ProjectTask(),
    "amp": ProjectTask(),
    "tss": BinsTask(),
}
OF_BENCH = (TableSet, Chains)  # their data are not part of the project


def find_table(folder: Path, *names: str) -> Path:
    """Return the table of one of these names in a folder; the process ends if there is none."""
    for name in names:
        for suffix in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    sys.exit(f"error: {folder}: no table named {' or '.join(names)} (.csv or .tsv, also .gz)")


def compare_classes(task: Path, place: Path, seeds: int, metric: str) -> Comparison:
    """Train a run file of two classes and compare it.

    Models and baselines call records by thresholds from the validation records, as `score` does.
    """
    ingest_and_split(task, place)
    models = train_seeds(tomllib.loads(task.read_text(encoding="utf-8")), place, seeds)
    shared = (
        "--run-file",
        place / "seed0.toml",
        "--corpus",
        place / "corpus",
        "--split",
        place / "split.tsv",
    )
    command("evaluate", *shared, "--model", models[0], "--output", place)  # fits the baselines
    corpus = Corpus.open(place / "corpus")
    split = np.array(read_split(place / "split.tsv", corpus.records["id"]))
    rows = {of: np.flatnonzero(split == of) for of in ("valid", "test")}
    letters = {of: [corpus.letters(int(row)) for row in of_split] for of, of_split in rows.items()}
    labels = {
        of: corpus.records["label"].to_numpy(dtype=np.int64)[of_split]
        for of, of_split in rows.items()
    }
    bootstrap = Bootstrap(labels["test"], DRAWS)

    def on_test(logits: np.ndarray, threshold: float) -> ResampledMetric:
        return bootstrap.metrics(expit(logits), threshold)[metric]

    scorers = [load(model) for model in models]
    tests = [logits_of(scorer, letters["test"]) for scorer in scorers]
    valids = [logits_of(scorer, letters["valid"]) for scorer in scorers]
    thresholds = [float(expit(logit(scorer.threshold) * scorer.temperature)) for scorer in scorers]
    networks = [choose_threshold(expit(network), labels["valid"]) for network, _ in valids]
    model = [
        on_test(both, threshold) for (_, both), threshold in zip(tests, thresholds, strict=True)
    ]
    network = [
        on_test(alone, threshold) for (alone, _), threshold in zip(tests, networks, strict=True)
    ]
    baselines, at_half = {}, {}
    for folder in sorted((place / "baselines").iterdir()):
        baseline = load(folder)
        logits = baseline.logits(letters["test"])
        baselines[folder.name] = on_test(
            logits, float(expit(logit(baseline.threshold) * baseline.temperature))
        )
        at_half[folder.name] = on_test(logits, 0.5).value
    at_half["model"] = mean(on_test(both, 0.5).value for _, both in tests)
    at_half["network"] = mean(on_test(alone, 0.5).value for alone, _ in tests)
    stack = scorers[0].stack
    return Comparison(
        metric=metric.upper(),
        valid=mean(
            Bootstrap(labels["valid"], 1).metrics(expit(both), threshold)[metric].value
            for (_, both), threshold in zip(valids, thresholds, strict=True)
        ),
        model=mean_of(model),
        network=mean_of(network),
        baselines=baselines,
        seconds=seconds_of(models[0]),
        stacked_with=[part.name for part in stack.parts] if stack else [],
        at_half=at_half if metric == "mcc" else {},
    )


def logits_of(scorer: Scorer, letters: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the network alone and of the complete model, (n,) each."""
    network = scorer.network_outputs(letters)[:, :, 0].mean(axis=1)
    return network, scorer.stacked(network, letters)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}, or a folder (default: all)"
    )
    parser.add_argument(
        "--bench",
        metavar="DIR",
        help="folder of the sets (default: SELFATTN_BENCH, or ../shared/bench)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"trainings per set (default: {SEEDS}; 1 for protein_ss3, whose training takes 48 "
        "minutes)",
    )
    options = parser.parse_args(arguments)
    names = options.sets or list(SETS)
    kinds = {name: SETS.get(name, TableSet()) for name in names}
    bench = (
        bench_folder(options.bench)
        if any(isinstance(SETS.get(name), OF_BENCH) for name in names)
        else Path()
    )
    folders = {name: bench / name if name in SETS else Path(name) for name in names}
    for name, kind in kinds.items():
        if isinstance(kind, OF_BENCH) and not folders[name].is_dir():
            sys.exit(f"error: {folders[name]}: no such folder; known sets are {', '.join(SETS)}")
    torch.set_num_threads(1)
    rows, found = [], []
    for name, kind in kinds.items():
        seeds = options.seeds or kind.seeds
        short = folders[name].name or name
        found.append(kind.measure(short, folders[name], seeds))
        note = f"{seeds} ({kind.reason})" if kind.reason and seeds < SEEDS else str(seeds)
        rows.append(found[-1].row(short, note, kind.published))
        print(f"\n{markdown(rows[-1:])}\n", flush=True)
    print(
        "\nMeans over seeds on test. Calls are made at thresholds from the validation records, as "
        "`score` makes them.\n"
        "95 % intervals are by bootstrap over test records, chains or blocks of a chromosome."
    )
    print("Seconds are those of one training with one thread, with its stack and its parent.\n")
    print(f"{markdown(rows)}\n\n{closing_line(found)}")


if __name__ == "__main__":
    main()
