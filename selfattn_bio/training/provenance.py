"""Where a model comes from: data, code and machine, as they were when its training started; and what its checkpoints depend on.

Hides: git, versions. The loop alone uses it, once, before the first step: a split may be another when a run ends, or gone.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selfattn_bio.config import RunFile
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.model.checkpoint import read_provenance

VERSIONS = ("selfattn-bio", "torch", "numpy", "lightning-fabric", "safetensors")


def provenance_of(run: RunFile, corpus: Corpus, split_sha256: str, *, device: str, processes: int, threads: int) -> dict[str, Any]:
    """What is known before the first step, as provenance.json holds it."""
    return {
        "data": corpus.summary["sources"],
        "targets": corpus.summary.get("targets"),
        **({"partners": corpus.partner.summary["sources"]} if corpus.partner else {}),
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
    """SHA-256 of all that the weights of a step depend on."""
    parts = [run.data.alphabet, run.training.model_dump_json(exclude={"tensorboard"})]
    parts += [part.model_dump_json() for part in (run.tokens, run.objective, run.model)]
    if run.both_strands:
        parts.append("evaluated on both strands")  # which evaluation is the best depends on it
    if run.partner:
        parts.append(run.partner.model_dump_json())
    if run.transfer:
        parts += [run.transfer.model_dump_json(), str(read_provenance(run.transfer.folder)["weights_sha256"])]
    if run.privacy:
        parts += [run.privacy.model_dump_json(), f"opacus {version('opacus')}"]
    parts += [corpus.fingerprint, split_sha256, f"{processes} processes", *(f"{p} {version(p)}" for p in VERSIONS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def commit_of(folder: Path) -> str | None:
    """The git commit that a folder is of, with "-dirty" behind it if something in the folder was changed since; None if it is of none.

    A package that is installed within another's repository is not part of that one's commits, and so of none.
    """
    found = _git(folder, "rev-parse", "HEAD", "HEAD:./")  # the second fails where the commit has no such folder
    if found is None:
        return None
    return found.split()[0] + ("-dirty" if _git(folder, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What it prints; None if it fails or is not there."""
    try:
        done = subprocess.run(["git", "--no-optional-locks", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
