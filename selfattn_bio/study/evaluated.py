"""The models and the records of an evaluation: read, checked and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.config import AnyObjective, RunFile, read_run_file
from selfattn_bio.data.batches import Laid, laid_windows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.inputs import Alone, inputs_of
from selfattn_bio.display import counted
from selfattn_bio.errors import CorpusError, ModelFolderError
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.evaluation.summary import EVALUATED_SPLITS, TRUE, Classifier
from selfattn_bio.evaluation.units import Units
from selfattn_bio.files import read_json, sha256_of
from selfattn_bio.log import LOG
from selfattn_bio.model.checkpoint import RETRAIN, RUN, TRAINING_COST, check_trained_on
from selfattn_bio.objectives import Objective, objective_of
from selfattn_bio.objectives.base import Examples
from selfattn_bio.objectives.numbers import WORDS
from selfattn_bio.objectives.outputs import LabelOutput, spread
from selfattn_bio.scoring.loading import load
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.split_names import SPLIT_NAMES
from selfattn_bio.study.splitting import block_of, blocks_of, record_units
from selfattn_bio.study.trained import check_objective

Letters = dict[str, list[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Candidate:
    """A model or variant to evaluate, with one model folder per member.

    Attributes
    ----------
    folders
        The model folders. Members are the trainings of [training] seeds.
    """

    folders: list[Path]

    def members(self) -> list[Scorer]:
        """Load each member; errors are those of `load`.

        Only one candidate at a time should be in memory.
        """
        return [load(path) for path in self.folders]

    def runs(self) -> list[RunFile]:
        """Read the run file of each member."""
        return [read_run_file(folder / RUN) for folder in self.folders]

    def size(self) -> dict[str, int]:
        """Count the networks and trainings."""
        runs = self.runs()
        return {"networks": sum(run.model.members for run in runs), "trainings": len(runs)}

    def cost(self) -> dict[str, Any]:
        """Return the cost of training: for several members total time, peak memory, mean speed."""
        each = [
            read_json(folder / TRAINING_COST, ModelFolderError, RETRAIN) for folder in self.folders
        ]
        if len(each) == 1:
            return each[0]
        seconds, memory, speed = (
            [of[key] for of in each] for key in ("seconds", "peak_memory_mb", "letters_per_second")
        )
        return {
            "seconds": sum(seconds),
            "peak_memory_mb": max(memory),
            "letters_per_second": sum(speed) / len(speed),
            "members": each,
        }


def check_candidates(
    candidates: Mapping[str, Candidate], task: RunFile, records: EvaluationRecords, split: Path
) -> None:
    """Refuse models that were trained on other data, or on records of the test split.

    Raises
    ------
    ModelFolderError
        If a model was trained on another corpus, split or objective, a parent of it saw a test
        record, or "model" reads other strands than the run file.
    """
    corpus, split_sha256 = records.corpus, sha256_of(split)
    _check_strands(candidates["model"], task)
    for candidate in candidates.values():
        for folder in candidate.folders:
            check_trained_on(folder, corpus.fingerprint, split_sha256)
            own = read_run_file(folder / RUN).objective
            check_objective(own, task, folder)
            _check_targets(own, task, folder)
            check_unseen(folder, corpus, records.rows["test"])


def _check_strands(model: Candidate, task: RunFile) -> None:
    """Refuse a model that reads other strands than the run file, which its baselines follow."""
    names = {True: "both strands", False: "the given strand"}
    for folder, run in zip(model.folders, model.runs(), strict=True):
        if (own := run.both_strands) != task.both_strands:
            message = f"the model scores {names[own]}, but the run file {names[not own]}"
            hint = "Undo the change of the strands in the run file, or train the model again"
            raise ModelFolderError(message, place=str(folder), hint=hint)


def _check_targets(own: AnyObjective, task: RunFile, folder: Path) -> None:
    """Refuse a model that was trained on other points or tracks than those of the files."""
    for file in task.objective.hashes:
        learnt, found = own.hashes.get(file, ""), sha256_of(file)
        if learnt != found:
            message = (
                f"{folder} was trained on other targets: their sha256 begins with {learnt[:12]}, "
                f"that of this file with {found[:12]}"
            )
            raise ModelFolderError(message, place=file, hint="Train it again")


@dataclass(frozen=True)
class EvaluationRecords:
    """The records of an evaluation, by split: "train" for baselines, "valid" and "test".

    Attributes
    ----------
    corpus
        The corpus of the records.
    rows
        Rows of the corpus, (n,) for each split.
    letters
        ASCII sequences, one array (L,) per row.
    keys, unit
        Records with equal keys, (number of records in the corpus,), are resampled together; what
        such units are.
    block
        bp of a chromosome whose examples are resampled together, for examples that are not records.
    windows
        Windows of the records if [training] window is set; then `rows` and `letters` have one
        element per window. Otherwise empty.
    """

    corpus: Corpus
    rows: dict[str, NDArray[np.int64]]
    letters: Letters
    keys: NDArray[Any]
    unit: str
    block: int = 0
    windows: Mapping[str, Laid] = field(default_factory=dict)

    @classmethod
    def read(cls, task: RunFile, corpus: Corpus, split: Path) -> EvaluationRecords:
        """Read all records of a split table; only labelled ones if the objective is binary.

        Raises
        ------
        CorpusError
            If a split is empty, or lacks one of two classes.
        """
        assigned = np.array(read_split(split, corpus.records["id"]))
        rows = {name: np.flatnonzero(assigned == name) for name in ("train", *EVALUATED_SPLITS)}
        if objective_of(task.objective).is_labelled:
            rows = {name: _labelled(corpus, rows[name], name, split) for name in rows}
        if empty := [name for name, of_split in rows.items() if not len(of_split)]:
            message = f"the {empty[0]} split is empty"
            raise CorpusError(message, place=str(split), hint="Change [split] in the run file")
        letters = {
            name: [corpus.letters(int(i)) for i in of_split] for name, of_split in rows.items()
        }
        return cls(corpus, rows, letters, *record_units(task, corpus, split), block_of(task))

    def in_windows(self, task: RunFile) -> EvaluationRecords:
        """Return the windows of [training] window; the records themselves if it is not set.

        Raises
        ------
        CorpusError
            If a split has no window with known letters.
        """
        if (window := task.training.window) is None:
            return self
        k = max(run.tokens.k for run in task.trained.values())
        windows = {
            split: laid_windows(self.corpus, of_split, window, k)
            for split, of_split in self.rows.items()
        }
        counts = ", ".join(f"{split} {len(of.rows):,}" for split, of in windows.items())
        LOG.info(
            f"adjacent windows of at most {window:,} {self.corpus.alphabet.unit}, evenly "
            f"subsampled if there are too many: {counts}"
        )
        rows = {split: of.rows for split, of in windows.items()}
        letters = {split: of.letters for split, of in windows.items()}
        return replace(self, rows=rows, letters=letters, windows=windows)

    def counts(self, task: RunFile) -> list[str]:
        """Return the number of records of each split as text, and of positives if there are any."""
        if not objective_of(task.objective).is_labelled:
            return [f"{split} {counted(len(rows), 'record')}" for split, rows in self.rows.items()]
        return [
            f"{split} {counted(len(labels), 'record')} ({int(labels.sum())} positive)"
            for split, labels in self.labels().items()
        ]

    def origin(self, split: Path) -> dict[str, str]:
        """Return the source of the records, which saved baselines name."""
        return {"corpus_fingerprint": self.corpus.fingerprint, "split_sha256": sha256_of(split)}

    def labels(self) -> dict[str, NDArray[np.int64]]:
        """Return the labels of the records, 0 or 1, (n,) for each split."""
        return {split: self.table(split)["label"].to_numpy(dtype="int64") for split in self.rows}

    def units(self) -> dict[str, Units]:
        """Return the records that are resampled together, for the validation and test splits."""
        return {
            split: Units.of(self.keys[self.rows[split]], self.unit) for split in EVALUATED_SPLITS
        }

    def units_of(self, examples: Examples, split: str) -> Units:
        """Return the examples that are resampled together; bins are by blocks of chromosomes.

        Neighbouring bins share sequence and points, so resampling single bins would give intervals
        that are too narrow.

        Raises
        ------
        CorpusError
            If the bins with a point are in fewer than two blocks, so that there is no interval.
        """
        if "chrom" not in examples.table:
            return self.units()[split]
        blocks, block = blocks_of(examples.table, self.block), f"{self.block:,} bp"
        if (number := len(np.unique(blocks[examples.targets == 1]))) < 2:
            message = (
                f"the points of the {SPLIT_NAMES[split]} split are in {number} block of {block}, "
                "and a confidence interval needs at least 2"
            )
            hint = f"Lower [evaluation] block, or give {split} more chromosomes in [split]"
            raise CorpusError(message, hint=hint)
        return Units(f"blocks of {block}", blocks)

    def table(self, split: str) -> pd.DataFrame:
        """Return the rows of `Corpus.records` of a split."""
        return self.corpus.records.iloc[self.rows[split]]

    def inputs(self, run: RunFile, split: str) -> list[Any]:
        """Return the inputs of a model for the records of a split."""
        inputs = inputs_of(run, self.corpus)
        if isinstance(inputs, Alone):
            return self.letters[split]
        return [inputs.of(int(row)) for row in self.rows[split]]

    def targets(self, task: RunFile) -> tuple[pd.DataFrame, dict[str, NDArray]]:
        """Return the targets as text, one row per record of the corpus, and as arrays by split.

        Raises
        ------
        CorpusError
            If a value is not valid, or the metrics would be undefined.
        """
        objective, columns = objective_of(task.objective), task.objective.target_columns
        corpus = self.corpus
        table = corpus.targets(columns)
        place = corpus.targets_place if columns else str(corpus.path)
        found = {
            split: objective.targets(table.iloc[rows], self.table(split), place)
            for split, rows in self.rows.items()
        }
        for split in EVALUATED_SPLITS:
            objective.check_evaluated(found[split], split, place)
        if getattr(task.objective, "normalisation", "none") != "none":  # as predictions are
            values = objective.targets(table, corpus.records, place)
            table = pd.DataFrame(values, columns=list(columns))
        return table, found


def _labelled(corpus: Corpus, rows: NDArray[np.int64], split: str, path: Path) -> NDArray[np.int64]:
    """Return the labelled rows of a split; both labels must occur."""
    labels = corpus.records["label"].iloc[rows]
    if sorted(set(labels.dropna().astype(int))) != [0, 1]:
        counts = " and ".join(
            counted(int((labels == label).sum()), noun)
            for label, noun in ((1, "positive"), (0, "negative"))
        )
        message = f"the {SPLIT_NAMES[split]} split has {counts}; it needs both"
        raise CorpusError(message, place=str(path), hint="Change [split] in the run file")
    return rows[labels.notna().to_numpy()]


def predictions_table(
    objective: Objective[Any],
    classifiers: Mapping[str, Classifier],
    examples: Examples,
    split: str,
    best: str | None,
    truth: pd.DataFrame,
) -> pd.DataFrame:
    """Return a table with one row per example: predictions, and the truth.

    Parameters
    ----------
    objective, classifiers
        The objective, and the classifiers by name.
    examples, split
        The examples of the split, and its name.
    best
        Name of the best baseline, if there is one.
    truth
        The table of targets of the records, as text; without columns for labels and bins.

    Returns
    -------
    The columns of `examples.table`, and `predicted` by the rules of `score`. For objectives with
    calls, the probability from each classifier under its name; with log-odds also `model_logit` and
    `model_calibrated` (calibrated probability), and `model_spread`, the standard deviation of the
    logits over several members. Otherwise, the columns of the model's predictions, those of the
    best baseline as BEST.COLUMN, prediction intervals as low_COLUMN and high_COLUMN, and the
    targets as true.COLUMN, where words for labels such as yes and no are 1 and 0.
    """
    model = classifiers["model"]
    columns: dict[str, Any] = {}
    if model.threshold is not None:
        columns = objective.calls(np.asarray(model.predictions[split]), model.threshold)
        columns |= {name: of.predictions[split] for name, of in classifiers.items()}
        if model.logits is not None:
            columns |= {
                "model_logit": model.logits[split],
                "model_calibrated": model.calibrated(split),
            }
            if model.members:
                columns["model_spread"] = spread(np.stack(model.members[split]))
    else:
        for name in ("model", best):
            if name:
                found = objective.prediction_columns(classifiers[name].predictions[split])
                prefix = "" if name == "model" else f"{name}."
                columns |= {f"{prefix}{column}": values for column, values in found.items()}
        columns |= model.bounds.get(split, {})
        labels = [of.name for of in objective.outputs if isinstance(of, LabelOutput)]
        for target, texts in truth.items():
            is_label = any(f".{label}".endswith(f".{target}") for label in labels)
            columns[f"{TRUE}{target}"] = _as_read(texts, is_label)
    return examples.table.reset_index(drop=True).assign(**columns)


def _as_read(column: pd.Series, is_label: bool) -> NDArray[Any]:
    """Return a column of text as numbers, (n,), if all known values are numbers.

    Words for labels, such as yes and no, are 1 and 0.
    """
    if is_label:
        column = column.map(lambda text: WORDS.get(str(text).strip().lower(), text))
    numbers = pd.to_numeric(column, errors="coerce")
    return (numbers if (numbers.isna() == column.isna()).all() else column).to_numpy()
