"""Provenance (data, code and machine at the start of training) and checkpoint fingerprints.

Provenance is recorded before the first step, because the split may change or disappear later.
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


def provenance_of(
    run: RunFile, corpus: Corpus, split_sha256: str, *, device: str, processes: int, threads: int
) -> dict[str, Any]:
    """Return the entries of provenance.json that are known before the first step."""
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
    """Return the SHA-256 of everything that the weights of a step depend on."""
    parts = [run.data.alphabet, run.training.model_dump_json(exclude={"tensorboard"})]
    parts += [part.model_dump_json() for part in (run.tokens, run.objective, run.model)]
    if run.both_strands:
        parts.append("evaluated on both strands")  # the choice of the best evaluation depends on it
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
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def commit_of(folder: Path) -> str | None:
    """Return the git commit of a folder, with "-dirty" appended if it has changes, or None.

    A package installed inside another project's repository is not part of its commits, so the
    result is None.
    """
    # the second fails if the commit does not contain the folder
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
