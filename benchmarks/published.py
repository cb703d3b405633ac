"""Shared code of the benchmarks on published sets: folders, trained models and formats.

The sets are not part of the project and are not copied into it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
import torch
from promoter import command, is_trained

import selfattn_bio
from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.files import sha256_of

FOLDER = Path("results/bench_accuracy")
# Figures depend on the code and the motif databases of the package, except these modules.
SOURCES = ("**/*.py", "**/*.cpp", "motifs/**/*.meme.gz")
NOT_SOURCES = ("cli", "report", "interpret")


def bench_folder(given: str | None) -> Path:
    """Return the folder of the sets; end the process if it does not exist."""
    folder = Path(given or os.environ.get("SELFATTN_BENCH") or "../shared/bench")
    if not folder.is_dir():
        hint = "choose the published sets with --bench DIR or SELFATTN_BENCH=DIR"
        sys.exit(f"error: {folder}: no such folder; {hint}")
    return folder


def write_fasta(path: Path, ids: pd.Series, sequences: pd.Series) -> str:
    """Write a FASTA file; return its path for the run file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(
            f">{name}\n{letters}\n" for name, letters in zip(ids, sequences, strict=True)
        )
    return str(path)


def prepare(name: str, values: Mapping[str, Any], records: pd.DataFrame) -> Path:
    """Write run file, corpus and split of a set; return the run file.

    `records` has the columns id and split, in the order of the FASTA files.
    """
    path = FOLDER / name / "run.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    run, corpus = read_run_file(path), path.with_name("corpus")
    files, labels = zip(*run.data.files, strict=True)
    options = ["--label", *labels] if None not in labels else ["--targets", run.data.targets]
    command(
        "ingest", "--fasta", *files, *options, "--alphabet", run.data.alphabet, "--output", corpus
    )
    kept = Corpus.open(corpus).records["id"]
    split = pd.DataFrame(
        {
            "id": kept,
            "split": records.set_index("id")["split"].loc[kept].to_numpy(),
            "reason": "published",
        }
    )
    split.to_csv(path.with_name("split.tsv"), sep="\t", index=False)
    return path


def code_hash(*more: str) -> str:
    """Return the SHA-256 of `SOURCES`, of further files and of torch's version.

    Models of other code are then not reused.
    """
    package = Path(selfattn_bio.__file__).parent
    files = {
        file
        for pattern in SOURCES
        for file in package.glob(pattern)
        if file.relative_to(package).parts[0] not in NOT_SOURCES
    }
    files |= {file for pattern in more for file in package.glob(pattern)}
    names = [f"{file.relative_to(package)} {sha256_of(file)}" for file in sorted(files)]
    return hashlib.sha256("\n".join([torch.__version__, *names]).encode()).hexdigest()


def trained(run_file: Path) -> list[Path]:
    """Return the model folders of all members of a run file.

    A member is trained if it is missing, or if its settings or the code changed.
    """
    run, folders = read_run_file(run_file), []
    corpus, split = run_file.with_name("corpus"), run_file.with_name("split.tsv")
    for number in range(1, run.training.seeds + 1):
        alone = run_file.with_name(f"member{number}.toml")
        alone.write_text(
            tomli_w.dumps(run.member(number).model_dump(mode="json", exclude_none=True)),
            encoding="utf-8",
        )
        output = alone.with_suffix("")
        code, now = output.with_suffix(".code"), code_hash()
        if not (
            is_trained(alone, "", output, corpus, split)
            and code.exists()
            and code.read_text() == now
        ):
            command(
                "train",
                "--run-file",
                alone,
                "--corpus",
                corpus,
                "--split",
                split,
                "--threads",
                1,
                "--output",
                output,
            )
            code.write_text(now)
        folders.append(output)
    return folders


def seconds_of(folders: list[Path]) -> float:
    """Return the seconds of all trainings."""
    return sum(json.loads((folder / "train.json").read_text())["seconds"] for folder in folders)


def with_interval(interval: Mapping[str, float], sign: str = "") -> str:
    """Format a figure with its 95 % interval."""
    return (
        f"{interval['value']:{sign}.3f} ({interval['low']:{sign}.3f} to "
        f"{interval['high']:{sign}.3f})"
    )
