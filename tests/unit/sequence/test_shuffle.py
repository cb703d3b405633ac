"""Test the cache of the compiled walk; the property tests check its results."""

import os
import subprocess
import sys
from pathlib import Path

USE = """
import numpy as np
from selfattn_bio.sequence import shuffle
letters = np.frombuffer(b"ACGTGGACAGTACAGTACCAGATTACA", dtype=np.uint8)
made = shuffle.shuffle_letters(letters, 2, np.random.default_rng(0))
print(made.tobytes().decode(), sum(shuffle._euler_walk.stats.cache_hits.values()))
"""
NOWHERE = """
from numba.core import dispatcher
def refuse(function):
    raise RuntimeError("cannot cache function: no locator available")
dispatcher.FunctionCache = refuse
"""


def used(code: str, cache: Path) -> tuple[str, int]:
    """Return the letters shuffled by a new process, and the number of cache hits."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    letters, hits = done.stdout.split()
    return letters, int(hits)


def test_only_the_first_process_compiles(tmp_path: Path) -> None:
    letters, hits = used(USE, tmp_path / "cache")
    assert hits == 0
    assert used(USE, tmp_path / "cache") == (letters, 1)
    # without a folder for the cache, each process compiles
    assert used(NOWHERE + USE, tmp_path / "none") == (letters, 0)
    assert not (tmp_path / "none").exists()
