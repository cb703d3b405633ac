"""Train the studies of a benchmark, keep finished results, and measure commands.

Commands of the package run in separate processes, and each training has one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tomli_w

from selfattn_bio import Study
from selfattn_bio.config import RunFile
from selfattn_bio.files import sha256_of, whole_file
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.study.evaluated import EvaluationRecords
from selfattn_bio.training.trainer import Trainer

MEASURED = """
import re, sys, time
from selfattn_bio.cli.main import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s*([0-9]+)", open("/proc/self/status").read())
print(time.process_time(), peak[1], file=sys.stderr)
sys.exit(code)
"""
T = TypeVar("T")


class Cost(NamedTuple):
    """CPU seconds, wall-clock seconds and peak memory in MB of a command, with its startup."""

    cpu: float
    wall: float
    peak: float


def command(*words: object) -> None:
    """Run a command of the package; end this process if it fails."""
    program = [sys.executable, "-m", "selfattn_bio.cli.main"]
    if subprocess.run([*program, *map(str, words)], check=False).returncode:
        raise SystemExit(f"error: {words[0]} failed")


def measured_command(*words: object) -> Cost:
    """Run a command in a separate process and measure it.

    The peak is that of the process; `getrusage` may report that of its parent.
    """
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr}error: {words[0]} failed")
    cpu, peak = done.stderr.split()[-2:]
    return Cost(float(cpu), time.monotonic() - start, int(peak) * 1024 / 1e6)


def settings_in(task: str | Path) -> dict[str, Any]:
    """Return the content of a run file."""
    return tomllib.loads(Path(task).read_text(encoding="utf-8"))


def with_training(values: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Return the content of a run file with these settings in [training]."""
    return {**values, "training": {**values.get("training", {}), **settings}}


def study_in(folder: Path, values: Mapping[str, Any]) -> Study:
    """Write the run file of a results folder; return the study."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
    return Study(folder)


def prepared(folder: Path, values: Mapping[str, Any]) -> Study:
    """Write the run file of a results folder, and read and split its records."""
    study = study_in(folder, values)
    study.ingest()
    study.split()
    return study


def records_of(study: Study) -> EvaluationRecords:
    """Return the records of each split, and the units that `evaluate` resamples."""
    return EvaluationRecords.read(study.task, study.corpus, study.root.split)


def train(study: Study, *options: object, code: str = "") -> None:
    """Train with one thread, unless the model folder has these settings and data.

    Parameters
    ----------
    study
        A task in a folder with run.toml, or a variant or member of it.
    options
        More words of the command.
    code
        Hash of the code. With it, a model of other code is trained again.
    """
    run, points = study.run, getattr(study.run.objective, "points", "")
    # of [interpret], only the database changes a training: a stack may have its motif scores
    of = [run.model_dump_json(exclude={"variants", "interpret"}), run.interpret.database]
    of += [study.corpus.fingerprint, sha256_of(study.root.split), code]
    of += [sha256_of(points)] if points else []
    of += [read_provenance(parent)["weights_sha256"] for parent in run.parents]
    folder, stamp = study.files.folder, study.files.folder / "trained.json"
    if not study.files.model.exists():
        stamp.unlink(missing_ok=True)
    kept(stamp, "\n".join(of), lambda: command("train", folder, "--threads", 1, *options))


def train_all(studies: Iterable[Study], code: str = "") -> None:
    """Train several studies, as many at a time as there are cores.

    First members with a stack come before the others, which share its parts.
    """
    groups: dict[bool, list[Study]] = {True: [], False: []}
    for study in studies:
        groups[study.address.member == 1 and bool(study.run.stack.parts)].append(study)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for group in groups.values():
            list(pool.map(lambda study: train(study, code=code), group))


def trainer_of(study: Study, run: RunFile, folder: Path) -> Trainer:
    """Return a training of a study's records before its first step, with another run file."""
    return Trainer(run, study.corpus, study.root.split, folder, "benchmark")


def seconds_of(study: Study) -> float:
    """Return how long a training took, with the fit of its stack."""
    return json.loads((study.files.model / "train.json").read_text(encoding="utf-8"))["seconds"]


def kept(path: Path, of: str, make: Callable[[], T]) -> T:
    """Return the result in a JSON file if it was made from `of`; otherwise make and write it."""
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["of"] == of:
            return before["result"]
    result = make()
    with whole_file(path) as temporary:
        text = json.dumps({"of": of, "result": result}, indent=1)
        temporary.write_text(text, encoding="utf-8")
    return result
