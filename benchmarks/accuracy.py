"""Measure the default model on practice sets: `init`, `train` and `evaluate`, nothing by hand.

Any folder of train, dev and test tables that `init --sequences FOLDER` understands can be measured,
if every record has classes, labels or numbers. The metric is MCC for one column of classes,
otherwise the main metric of the objective. The published sets that `make bench-accuracy` measures
are not part of the project. They are looked for in --bench DIR, in the environment variable
SELFATTN_BENCH, and in ../shared/bench. The tasks of the project are measured next to them.

Three trainings with different seeds are scored on the test records: the complete model, its network
alone, its stack without the network, and the simple baseline with the best test figure, which is
the hardest comparison. The interval of the difference is over test records, chains or blocks of a
chromosome, not over seeds. Each row is printed when its set is finished.

Results stay in results/bench_accuracy/SET. A training is repeated only if its run file, data or
code changed.

    python benchmarks/accuracy.py gue_core_tata ecoli70      # some of the sets
    python benchmarks/accuracy.py path/to/folder --seeds 1   # a folder of your own, one training
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
    BENCH,
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
from tss import TASKS, BinsTask

from selfattn_bio import propose
from selfattn_bio.config import EvaluationSection
from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.evaluation.calibration import choose_threshold
from selfattn_bio.evaluation.metrics import Bootstrap, ResampledMetric, Units, title_of
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, resampled_metrics
from selfattn_bio.objectives import Objective
from selfattn_bio.scoring.loading import load
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
    """A folder of train, dev and test tables.

    Parameters
    ----------
    organism
        Chooses the motif database, as `init --organism`; empty for its default.
    metric
        Name in metrics.json; empty for the default of `compare_records`.
    """

    organism: str = ""
    published: str = ""
    metric: str = ""
    seeds: int = SEEDS
    reason: str = ""

    def measure(self, name: str, folder: Path, seeds: int) -> Comparison:
        """Propose the run file as `init` does, train and compare."""
        return compare_records(self.proposed(folder), FOLDER / name, seeds, self.metric)

    def proposed(self, folder: Path) -> dict[str, Any]:
        """Return the content of the run file that `init` would write; end the process if none."""
        try:
            proposal = propose("task", {"sequences": str(folder)}, organism=self.organism)
        except SelfAttnBioError as error:
            sys.exit(f"error: {error}")
        return tomllib.loads(proposal.text)


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
        return compare_records(values, FOLDER / name, seeds, self.metric)


SETS: dict[str, PracticeSet] = {
    "gue_tf1": TableSet(published="DNABERT-2 .761"),
    "gue_tf4": TableSet(published="DNABERT-2 .774"),
    "gue_mouse0": TableSet(published="DNABERT-2 .642, further pretrained"),
    "gue_core_tata": TableSet(published="DNABERT-3mer .782"),
    "ecoli70": TableSet("bacteria", "CNNProm .84 (another split)"),
    "arabidopsis_tata": TableSet("plants", "iPTT-CNN .937 (10-fold)"),
    "fly6ma": TableSet("insects"),
    "ncrna": TableSet(published="nRC accuracy .74 (with structure)"),
    "thermo": TableSet("bacteria", metric="spearman"),
    "pab1": TableSet(metric="spearman"),
    "protein_ss3": Chains(published="ProtT5 .87 (pretrained)"),
    "promoter": ProjectTask(),
    "amp": ProjectTask(),
    "tss": BinsTask(),
}
OF_BENCH = (TableSet, Chains)  # their data are not part of the project
LEGEND = """\
Means over seeds on test. Two classes are called at thresholds from the validation records, as
`score` calls them. 95 % intervals are by bootstrap over test records, chains or blocks of a
chromosome. They leave out the luck of a training: see the lowest and highest seed. Figures on
validation are too high, because stack and threshold are fitted there. Parts alone: the stack
without the network, fitted again. Seconds are those of the first training with one thread and of
fitting its stack, for tss also those of training its parent. Not counted are init and the
baselines."""


def compare_records(
    values: Mapping[str, Any], place: Path, seeds: int, metric: str = ""
) -> Comparison:
    """Train a run file of an objective with scores per record, and compare it.

    Models and baselines of two classes call records by thresholds from the validation records, as
    `score` does. The default metric is MCC for two classes, otherwise the main metric of the
    objective. The process ends if the outputs belong to positions of a record.
    """
    study = prepared(place, with_training({**values, "variants": {}}, seeds=seeds))
    if not (section := study.run.objective).is_per_sequence:
        sys.exit(f"error: {place}: objective {section.kind!r} has no scores of complete records")
    train_all(study.members, code_hash())
    study.evaluate()  # fits the baselines
    models = [each.files.model for each in study.members]
    scorers, records = [load(model) for model in models], records_of(study)
    objective, letters, units = scorers[0].objective, records.letters, records.units()
    _, targets = records.targets(study.run.model_copy(update={"objective": objective.section}))
    metric = metric or ("mcc" if objective.has_calls else objective.main_metric)

    def measured(
        outputs: np.ndarray, threshold: float, split: str = "test", draws: int = DRAWS
    ) -> dict[str, ResampledMetric]:
        return sampled(objective, outputs, threshold, targets[split], units[split], draws)

    complete, alone, valid = [], [], []
    for scorer in scorers:
        network = {
            split: scorer.network_outputs(letters[split]).mean(axis=1) for split in EVALUATED_SPLITS
        }
        both = {split: scorer.stacked(of, letters[split]) for split, of in network.items()}
        threshold = scorer.calibration.uncalibrated_threshold
        complete.append(measured(both["test"], threshold))
        valid.append(measured(both["valid"], threshold, "valid", draws=1)[metric].value)
        threshold = threshold_of(objective, network["valid"], targets["valid"])
        alone.append(measured(network["test"], threshold))
    baselines = {}
    for folder in sorted(study.root.baselines.iterdir()):
        baseline = load(folder)
        baselines[folder.name] = measured(
            baseline.outputs(letters["test"]), baseline.calibration.uncalibrated_threshold
        )
    stack = scorers[0].stack
    parts = measured(*parts_alone(models[0], objective, letters, targets["valid"])) if stack else {}

    def scores(of: str) -> dict[str, Any]:
        return {
            "model": mean_of(each[of] for each in complete),
            "network": mean_of(each[of] for each in alone),
            "parts": parts.get(of),
            "baselines": {name: each[of] for name, each in baselines.items()},
        }

    has_calls = objective.has_calls and metric == "mcc"
    return Comparison(
        metric=title_of(metric),
        by_seed=[each[metric].value for each in complete],
        valid=mean(valid),
        seconds=seconds_of(study),
        stacked_with=[part.name for part in stack.parts] if stack else [],
        at_half=Scores(**scores("mcc_at_half")) if has_calls else None,
        auroc=Scores(**scores("auroc")) if has_calls else None,
        **scores(metric),
    )


def sampled(
    objective: Objective[Any],
    outputs: np.ndarray,
    threshold: float,
    targets: np.ndarray,
    units: Units,
    draws: int,
) -> dict[str, ResampledMetric]:
    """Compute all metrics of outputs (n, C); only two classes have the threshold."""
    predictions = objective.predictions(outputs)
    if objective.has_calls:
        bootstrap = Bootstrap(targets, draws, units=units.numbers)
        return bootstrap.metrics(predictions[:, 0], threshold)
    settings = EvaluationSection(bootstraps=draws)
    return resampled_metrics(objective.measurer(predictions, targets), units, settings)


def threshold_of(objective: Objective[Any], outputs: np.ndarray, valid: np.ndarray) -> float:
    """Choose the threshold of outputs on validation, (n, C); 0.5 except for two classes."""
    if not objective.has_calls:
        return 0.5
    return choose_threshold(objective.predictions(outputs)[:, 0], valid)


def parts_alone(
    model: Path,
    objective: Objective[Any],
    letters: Mapping[str, Sequence[np.ndarray]],
    valid: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return the outputs of a stack without its network on test, and their threshold.

    Weights and threshold are fitted on validation, as those of the complete stack.
    """
    width = len(objective.section.output_names)
    none = {split: np.zeros((len(of_split), width)) for split, of_split in letters.items()}
    parts, answers = list(fitted_parts(model).values()), objective.answers(valid)
    stack, held_out = fit_stack(none["valid"], parts, letters["valid"], answers)
    outputs = stack.outputs(none["test"], letters["test"])
    return outputs, threshold_of(objective, held_out, valid)


def own_name(folder: Path) -> str:
    """Name a folder that is not one of the sets; other folders have other names."""
    path = folder.resolve()
    return f"{path.name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


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
        BENCH,
        option("--seeds", type=int, metavar="N", help=f"trainings per set ({SEEDS}; 1 for chains)"),
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
