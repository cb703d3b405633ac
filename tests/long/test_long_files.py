"""Score long files in the memory of a few thousand sequences."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.long
# ru_maxrss begins with that of the process which started this one, VmHWM does not
CODE = """
import sys
from selfattn_bio.cli.main import main
assert main(sys.argv[1:]) == 0
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def write(path: Path, number: int) -> Path:
    """Write records of 40 bases with an id of 200 characters, to show memory per record."""
    rows = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), (number, 40))
    head = b">" + b"x" * 200 + b"\n"
    with path.open("wb") as file:
        for row in rows:
            file.write(head + row.tobytes() + b"\n")
    return path


def peak_mb(*words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1]) // 1024


@pytest.mark.parametrize("command", ["score", "embed"])
def test_memory_does_not_grow_with_the_file(tmp_path, command):
    """Ten times the records need at most 15 MB more.

    The ids alone are 18 MB more; as a table, the rows are 40 MB (score) or 60 MB (embed).
    """
    out = tmp_path / ("out.tsv" if command == "score" else "out.parquet")
    peaks = []
    for number in (10_000, 100_000):
        fasta = write(tmp_path / f"{number}.fa", number)
        peaks.append(
            peak_mb(command, "--model", "promoter", "--fasta", str(fasta), "--output", str(out))
        )
    print(f"{command}: peak {peaks[0]} MB for 10,000 records, {peaks[1]} MB for 100,000")
    assert peaks[1] < peaks[0] + 15
    rows = (
        pd.read_csv(out, sep="\t", usecols=["logit"])
        if command == "score"
        else pd.read_parquet(out, columns=["d0"])
    )
    assert len(rows) == 100_000
    assert not list(tmp_path.glob(".out*"))
