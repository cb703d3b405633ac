"""Cluster records with MMseqs2, if it is installed.

MMseqs2 aligns sequences and so finds more distant relatives than the shared k-mers of
`sequence.clusters`, which need no external program.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.errors import RunFileError
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.clusters import components

COVERAGE = 0.8  # minimum fraction of the shorter record that an alignment must cover


def mmseqs_clusters(
    letters: Sequence[NDArray[np.uint8]], alphabet: Alphabet, identity: float
) -> tuple[NDArray[np.int64], str]:
    """Cluster records by `mmseqs easy-cluster`.

    Clusters are connected components of alignments with at least the given identity.

    Parameters
    ----------
    letters
        Upper-case ASCII of each of n records.
    identity
        Minimum fraction of identical aligned letters, in (0, 1].

    Returns
    -------
    Cluster numbers, shape (n,), counted from 0 in the order of the records, and the program with
    its version.

    Raises
    ------
    RunFileError
        If MMseqs2 is not installed, or fails.

    References
    ----------
    Steinegger and Söding 2017, MMseqs2.
    """
    program = shutil.which("mmseqs")
    if program is None:
        hint = 'Install MMseqs2, or set method = "kmers"'
        raise RunFileError(
            "program mmseqs not found in PATH, but the run file has split.method 'mmseqs2'",
            hint=hint,
        )
    version = subprocess.run(
        [program, "version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = "".join(f">{i}\n{row.tobytes().decode('ascii')}\n" for i, row in enumerate(letters))
        (folder / "records.fa").write_text(fasta, encoding="ascii")
        kind = "2" if alphabet.has_complement else "1"  # 2 is nucleotides, searched on both strands
        options = [
            "--min-seq-id",
            str(identity),
            "-c",
            str(COVERAGE),
            "--cov-mode",
            "5",
            "--cluster-mode",
            "1",
            "--dbtype",
            kind,
        ]
        files = [str(folder / part) for part in ("records.fa", "out", "tmp")]
        done = subprocess.run(
            [program, "easy-cluster", *files, *options, "--threads", "1"],
            capture_output=True,
            text=True,
            check=False,
        )
        table = folder / "out_cluster.tsv"
        if done.returncode or not table.exists():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise RunFileError(
                f"MMseqs2 failed: {last[0] if last else f'exit code {done.returncode}'}"
            )
        pairs = pd.read_csv(table, sep="\t", names=["centre", "member"], dtype="int64")
    clusters = components(len(letters), pairs["centre"].to_numpy(), pairs["member"].to_numpy())
    return clusters, f"MMseqs2 {version}"
