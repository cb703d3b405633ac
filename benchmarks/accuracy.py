"""Measure the default model on practice sets: `init`, `train` and `evaluate`, nothing by hand.

Any folder with train, dev and test tables (CSV, columns sequence and label) can be measured. The
published sets that `make bench-accuracy` measures are not part of the project. They are looked for
in --bench DIR, in the environment variable SELFATTN_BENCH, and in ../shared/bench. The tasks of the
project are measured next to them.

Three trainings with different seeds are scored on the test records: the complete model, its network
alone, its stack without the network, and the simple baseline with the best test figure, which is
the hardest comparison. The interval of the difference is over test records, chains or blocks of a
chromosome, not over seeds. Each row is printed when its set is finished.

Results stay in results/bench_accuracy/SET. A training is repeated only if its run file, data or
code changed.

    python benchmarks/accuracy.py gue_core_tata ecoli70      # some of the sets
    python benchmarks/accuracy.py path/to/folder             # a folder of your own
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import numpy as np
from comparison import (
    DRAWS,
    FOLDER,
    Comparison,
    Scores,
    bench_folder,
    closing_line,
    code_hash,
    mean_of,
)
from harness import Row, Table, option, run
from protein_ss3 import Chains
from runs import prepared, records_of, seconds_of, settings_in, train_all, with_training
from scipy.special import expit
from tss import TASKS, BinsTask

from selfattn_bio import propose
from selfattn_bio.evaluation.calibration import choose_threshold
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric
from selfattn_bio.objectives.base import Answer
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.stack import fitted_parts
from selfattn_bio.training.stacking import fit_stack

SEEDS = 3


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
        """Propose the run file as `init` does, train and compare."""
        return compare_classes(self.proposed(folder), FOLDER / name, seeds, self.metric)

    def proposed(self, folder: Path) -> dict[str, Any]:
        """Return the content of the run file that `init` would write."""
        files = {split: [str(find_table(folder, *names))] for split, names in TABLES.items()}
        return tomllib.loads(propose("task", files, organism=self.organism).text)


@dataclass(frozen=True)
class ProjectTask:
    """A task of two classes that ships with the project."""

    published: str = ""
    metric: str = "auroc"
    seeds: int = SEEDS
    reason: str = ""

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Train and compare."""
        values = settings_in(TASKS / f"{name}.toml")
        return compare_classes(values, FOLDER / name, seeds, self.metric)


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
LEGEND = """\
Means over seeds on test. Calls are made at thresholds from the validation records, as `score` makes
them. 95 % intervals are by bootstrap over test records, chains or blocks of a chromosome. They
leave out the luck of a training: see the lowest and highest seed. Figures on validation are too
high, because stack and threshold are fitted there. Parts alone: the stack without the network,
fitted again. Seconds are those of the first training with one thread and of fitting its stack, for
tss also those of training its parent. Not counted are init and the baselines."""


def find_table(folder: Path, *names: str) -> Path:
    """Return the table of one of these names in a folder; the process ends if there is none."""
    for name in names:
        for suffix in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    sys.exit(f"error: {folder}: no table named {' or '.join(names)} (.csv or .tsv, also .gz)")


def compare_classes(values: Mapping[str, Any], place: Path, seeds: int, metric: str) -> Comparison:
    """Train a run file of two classes and compare it.

    Models and baselines call records by thresholds from the validation records, as `score` does.
    """
    study = prepared(place, with_training({**values, "variants": {}}, seeds=seeds))
    train_all(study.members, code_hash())
    study.evaluate()  # fits the baselines
    records = records_of(study)
    letters, labels = records.letters, records.labels()
    bootstrap = Bootstrap(labels["test"], DRAWS, units=records.units()["test"].numbers)

    def on_test(logits: np.ndarray, threshold: float) -> dict[str, ResampledMetric]:
        return bootstrap.metrics(expit(logits), threshold)

    models = [each.files.model for each in study.members]
    scorers = [load(model) for model in models]
    tests = [logits_of(scorer, letters["test"]) for scorer in scorers]
    valids = [logits_of(scorer, letters["valid"]) for scorer in scorers]
    thresholds = [scorer.calibration.uncalibrated_threshold for scorer in scorers]
    networks = [choose_threshold(expit(network), labels["valid"]) for network, _ in valids]
    complete = [
        on_test(both, threshold) for (_, both), threshold in zip(tests, thresholds, strict=True)
    ]
    alone = [
        on_test(network, threshold) for (network, _), threshold in zip(tests, networks, strict=True)
    ]
    baselines = {}
    for folder in sorted(study.root.baselines.iterdir()):
        baseline = load(folder)
        baselines[folder.name] = on_test(
            baseline.logits(letters["test"]),
            baseline.calibration.uncalibrated_threshold,
        )
    stack = scorers[0].stack
    parts = on_test(*parts_alone(models[0], letters, labels["valid"])) if stack else {}

    def scores(of: str) -> dict[str, Any]:
        return {
            "model": mean_of(each[of] for each in complete),
            "network": mean_of(each[of] for each in alone),
            "parts": parts.get(of),
            "baselines": {name: each[of] for name, each in baselines.items()},
        }

    has_calls = metric == "mcc"
    return Comparison(
        metric=metric.upper(),
        by_seed=[each[metric].value for each in complete],
        valid=mean(
            Bootstrap(labels["valid"], 1).metrics(expit(both), threshold)[metric].value
            for (_, both), threshold in zip(valids, thresholds, strict=True)
        ),
        seconds=seconds_of(study),
        stacked_with=[part.name for part in stack.parts] if stack else [],
        at_half=Scores(**scores("mcc_at_half")) if has_calls else None,
        auroc=Scores(**scores("auroc")) if has_calls else None,
        **scores(metric),
    )


def parts_alone(
    model: Path, letters: Mapping[str, Sequence[np.ndarray]], valid: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the logits of a stack without its network on test, and their threshold.

    Weights and threshold are fitted on validation, as those of the complete stack.
    """
    none = {split: np.zeros((len(of_split), 1)) for split, of_split in letters.items()}
    parts, answers = list(fitted_parts(model).values()), [Answer("label", valid)]
    stack, held_out = fit_stack(none["valid"], parts, letters["valid"], answers)
    logits = stack.outputs(none["test"], letters["test"])[:, 0]
    return logits, choose_threshold(expit(held_out[:, 0]), valid)


def own_name(folder: Path) -> str:
    """Name a folder that is not one of the sets; other folders have other names."""
    path = folder.resolve()
    return f"{path.name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def logits_of(scorer: Scorer, letters: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the network alone and of the complete model, (n,) each."""
    network = scorer.network_outputs(letters).mean(axis=1)
    return network[:, 0], scorer.stacked(network, letters)[:, 0]


def measure(chosen: argparse.Namespace) -> Iterator[Table | str]:
    """Train and compare each set; the last line counts sets."""
    kinds = {name: SETS.get(name, TableSet()) for name in chosen.sets or SETS}
    needs_bench = any(isinstance(SETS.get(name), OF_BENCH) for name in kinds)
    bench = bench_folder(chosen.bench) if needs_bench else Path()
    folders = {name: bench / name if name in SETS else Path(name) for name in kinds}
    for name, kind in kinds.items():
        if isinstance(kind, OF_BENCH) and not folders[name].is_dir():
            sys.exit(f"error: {folders[name]}: no such folder; known sets are {', '.join(SETS)}")
    found: list[Comparison] = []

    def rows() -> Iterator[Row]:
        for name, kind in kinds.items():
            seeds = chosen.seeds or kind.seeds
            short = name if name in SETS else own_name(folders[name])
            found.append(kind.measure(short, folders[name], seeds))
            note = f"{seeds} ({kind.reason})" if kind.reason and seeds < SEEDS else str(seeds)
            yield found[-1].row(short, note, kind.published)

    yield Table("", rows())
    yield LEGEND
    yield closing_line(found)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark; `protein_ss3` calls it with its own set."""
    run(
        __doc__,
        measure,
        option("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}, or a folder (all)"),
        option(
            "--bench", metavar="DIR", help="folder of the sets (SELFATTN_BENCH, ../shared/bench)"
        ),
        option("--seeds", type=int, metavar="N", help=f"trainings per set ({SEEDS}; 1 for chains)"),
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
