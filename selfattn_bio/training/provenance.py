"""Provenance of a training, and the fingerprint that decides whether it can be resumed.

Provenance describes data, code and machine. It is collected before the first step, because the
split table may change or disappear during training.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selfattn_bio.config import ModuleModel, RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.files import sha256_of
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.model.user_module import module_sha256

# packages whose versions are recorded; another version also changes the fingerprint
VERSIONS = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "safetensors")


def provenance_of(
    run: RunFile, corpus: Corpus, split_sha256: str, *, device: str, processes: int, threads: int
) -> dict[str, Any]:
    """Return the entries of provenance.json that are known before the first step.

    Parameters
    ----------
    run
        The run file.
    corpus
        The corpus; its sources are the hashed input files.
    split_sha256
        SHA-256 of the split table.
    device
        Device of the training, for the record only.
    processes, threads
        Number of processes, and of threads per process.
    """
    return {
        "data": corpus.summary["sources"],
        "targets": corpus.summary.get("targets"),
        **({"partners": corpus.partner.summary["sources"]} if corpus.partner else {}),
        **(
            {"module_sha256": module_sha256(run.model.module)}
            if isinstance(run.model, ModuleModel)
            else {}
        ),
        "corpus_fingerprint": corpus.fingerprint,
        "split_sha256": split_sha256,
        "seed": run.training.seed,
        "device": device,
        "processes": processes,
        "threads": threads,
        "command": sys.argv,
        "git_commit": commit_of(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in VERSIONS},
    }


def fingerprint_of(run: RunFile, corpus: Corpus, split_sha256: str, processes: int) -> str:
    """Return a SHA-256 of everything that determines the weights after a given step.

    A checkpoint with another fingerprint is not resumed. It covers the settings that affect
    training, the corpus, the split table, the number of processes, the package versions and the
    package's source code.
    """
    parts = [run.data.alphabet, run.training.model_dump_json()]
    parts += [part.model_dump_json() for part in (run.tokens, run.objective, run.model)]
    if isinstance(run.model, ModuleModel):
        parts.append(module_sha256(run.model.module))
    if run.both_strands:
        parts.append("evaluated on both strands")  # affects which evaluation is the best
    if run.partner:
        parts.append(run.partner.model_dump_json())
    if run.transfer:
        parts += [
            run.transfer.model_dump_json(),
            str(read_provenance(run.transfer.folder)["weights_sha256"]),
        ]
    if run.privacy:
        parts += [run.privacy.model_dump_json(), f"opacus {version('opacus')}"]
    parts += [
        corpus.fingerprint,
        split_sha256,
        f"{processes} processes",
        *(f"{p} {version(p)}" for p in VERSIONS),
        f"code {code_sha256()}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@cache
def code_sha256() -> str:
    """Return a SHA-256 of all source files of the package, Python and C++."""
    package = Path(__file__).parents[1]
    files = sorted(file for kind in ("py", "cpp") for file in package.rglob(f"*.{kind}"))
    names = [f"{file.relative_to(package)} {sha256_of(str(file))}" for file in files]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def commit_of(folder: Path) -> str | None:
    """Return the git commit of a folder, with "-dirty" appended if it has uncommitted changes.

    Returns None if git is not installed, or if no commit contains the folder. That is so for a
    package that is installed inside the repository of another project.
    """
    # HEAD:./ fails if the commit does not contain the folder
    found = _git(folder, "rev-parse", "HEAD", "HEAD:./")
    if found is None:
        return None
    return found.split()[0] + ("-dirty" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git, or None if it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
