"""Train and evaluate run files for a benchmark; finished trainings are kept.

Commands of the package run in separate processes, and each training has one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from selfattn_bio.config import BinsObjective, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import check_trained_on
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.split_table import read_split
from selfattn_bio.study.evaluators.records import EvaluationRecords

MEASURED = """
import re, sys, time
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s*([0-9]+)", open("/proc/self/status").read())
print(time.process_time(), peak[1], file=sys.stderr)
sys.exit(code)
"""
Letters = list[NDArray[np.uint8]]


def command(*arguments: object) -> None:
    """Run a command of the package."""
    subprocess.run(
        [sys.executable, "-m", "selfattn_bio.cli.main", *map(str, arguments)], check=True
    )


def measured_command(*arguments: object, folder: Path | None = None) -> tuple[float, float]:
    """Run a command in a separate process; return its CPU seconds and its peak memory in MB.

    The peak is that of the process; `getrusage` may report that of its parent.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr}error: {arguments[0]} failed")
    seconds, peak = done.stderr.split()[-2:]
    return float(seconds), int(peak) * 1024 / 1e6


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_run_file(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a run file and its folder; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def settings_of(task: Path) -> dict[str, Any]:
    """Return the settings that a run file names."""
    return read_run_file(task).model_dump(mode="json", exclude_unset=True)


def settings_in(task: Path) -> dict[str, Any]:
    """Return the content of a run file as it is written, with its variants."""
    return tomllib.loads(task.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Study:
    """A folder with the corpus and the split of all trainings of a benchmark."""

    folder: Path

    @property
    def corpus(self) -> Path:
        """Folder of the corpus."""
        return self.folder / "corpus"

    @property
    def split(self) -> Path:
        """Table of the split."""
        return self.folder / "split.tsv"

    def prepare(self, run_file: Path, *options: object) -> None:
        """Read and split the records of a run file."""
        command("ingest", "--run-file", run_file, "--output", self.corpus, *options)
        shared = ("--run-file", run_file, "--corpus", self.corpus)
        command("split", *shared, "--output", self.split, *options)

    def write_split(self, splits: pd.Series | Sequence[str] | NDArray[np.str_]) -> None:
        """Write a split of the records of the corpus, in the order of the corpus."""
        table = pd.DataFrame({"id": Corpus.open(self.corpus).records["id"], "split": splits})
        table.assign(reason="benchmark").to_csv(self.split, sep="\t", index=False)

    def call(self, name: str, run_file: Path, *options: object, output: Path) -> None:
        """Run a command on the corpus and the split."""
        shared = ("--run-file", run_file, "--corpus", self.corpus, "--split", self.split)
        command(name, *shared, *options, "--output", output)

    def train(
        self,
        run_file: Path,
        output: Path,
        variant: str = "",
        options: Sequence[object] = (),
        code: str = "",
    ) -> Path:
        """Train with one thread, unless the model folder has these settings and data.

        Parameters
        ----------
        variant
            Name of a variant of the run file, to train it instead of the model.
        code
            Hash of the code. With it, a model of other code is trained again.
        """
        stamp = output.with_suffix(".code")
        is_current = not code or (stamp.exists() and stamp.read_text() == code)
        if not (self.has_trained(run_file, output, variant) and is_current):
            more = ("--variant", variant) if variant else ()
            self.call("train", run_file, *more, "--threads", 1, *options, output=output)
            if code:
                stamp.write_text(code)
        return output

    def train_all(self, jobs: Iterable[tuple[Path, Path, str]]) -> None:
        """Train each (run file, model folder, variant), as many at a time as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda job: self.train(*job), jobs))

    def has_trained(self, run_file: Path, output: Path, variant: str = "") -> bool:
        """Return whether the model folder exists with these settings and data.

        Changes of the code are not detected.
        """
        run = read_run_file(run_file)
        wanted = run.variant(variant) if variant else run.model_copy(update={"variants": {}})
        objective = wanted.objective
        if isinstance(objective, BinsObjective):  # the training adds the checksum of its points
            points = {"points_sha256": sha256_of(objective.points)}
            objective = objective.model_copy(update=points)
            wanted = wanted.model_copy(update={"objective": objective})
        if not output.exists():
            return False
        trained = read_run_file(output / "run.toml")
        if wanted.training.precision == "auto":  # the training writes the one that it chose
            chosen = {"precision": trained.training.precision}
            wanted = wanted.model_copy(
                update={"training": wanted.training.model_copy(update=chosen)}
            )
        if trained != wanted:
            return False
        try:
            check_trained_on(output, Corpus.open(self.corpus).fingerprint, sha256_of(self.split))
        except ModelFolderError:
            return False
        return True

    def evaluate(self, run_file: Path, model: Path, *options: object) -> dict[str, Any]:
        """Return metrics.json, written next to the run file if it is missing or older."""
        metrics = run_file.with_name("metrics.json")
        trained = (model / "provenance.json").stat().st_mtime
        if not metrics.exists() or metrics.stat().st_mtime < trained:
            self.call("evaluate", run_file, "--model", model, *options, output=run_file.parent)
        return read_json(metrics)

    def records(self) -> Records:
        """Read corpus and split."""
        return Records.of(self.corpus, self.split)

    def units(self, run_file: Path) -> NDArray[np.int64]:
        """Return the unit of each test record that `evaluate` resamples, (n,)."""
        corpus = Corpus.open(self.corpus)
        records = EvaluationRecords.read(read_run_file(run_file), corpus, self.split)
        return records.units()["test"].numbers


def random_corpus(folder: Path, length: int, number: int) -> tuple[Corpus, Path]:
    """Write random DNA of one length in two classes; return its corpus and the path of its split.

    It has at least `number` training records, and two for validation.
    """
    rng, sources = np.random.default_rng(0), []
    for label in (0, 1):
        rows = (
            f">{label}-{i}\n{''.join(rng.choice(list('ACGT'), length))}\n"
            for i in range(1 + (number + 1) // 2)
        )
        (folder / f"{label}.fa").write_text("".join(rows), encoding="ascii")
        sources.append((folder / f"{label}.fa", label))
    study = Study(folder)
    corpus = build_corpus(sources, study.corpus, RecordRules(DNA))
    study.write_split(np.where(corpus.records["id"].str.endswith("-0"), "valid", "train"))
    return corpus, study.split


@dataclass(frozen=True)
class Records:
    """The records of a corpus by split.

    Parameters
    ----------
    table
        Rows of records.parquet with the column `split`.
    """

    corpus: Corpus
    table: pd.DataFrame

    @classmethod
    def of(cls, corpus: Path, split: Path) -> Records:
        """Read a corpus and a split."""
        opened = Corpus.open(corpus)
        splits = read_split(split, opened.records["id"])
        return cls(opened, opened.records.assign(split=splits).reset_index(drop=True))

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a split in the corpus."""
        return np.flatnonzero(self.table["split"] == split)

    def letters(self, split: str) -> Letters:
        """Return the sequences of a split."""
        return [self.corpus.letters(int(row)) for row in self.rows(split)]

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the labels of a split, 0 or 1."""
        return self.table["label"].iloc[self.rows(split)].to_numpy(dtype=np.int64)
