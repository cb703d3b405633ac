"""Ingest of files larger than memory is to be: its peak is bounded, and a kill leaves nothing half-made."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

INGEST = [sys.executable, "-m", "selfattn_bio.cli.main", "ingest", "--alphabet", "dna"]
PEAK = """
import re, sys
from selfattn_bio.cli.main import main
code = main(["ingest", "--alphabet", "dna", "--sequences", sys.argv[1], "--output", sys.argv[2], "--soft-mask", sys.argv[3]])
print(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
START = 200  # MB of the libraries, and some blocks


def write(path: Path, megabytes: int, records: int, line: int) -> None:
    """A FASTA file of lower and upper case."""
    generator = np.random.default_rng(0)
    letters = generator.choice(np.frombuffer(b"ACGTacgt", np.uint8), 10**6)
    with path.open("wb") as file:
        for record in range(records):
            file.write(b">r%d\n" % record)
            for _ in range(megabytes // records):
                block = np.roll(letters, int(generator.integers(10**6)))
                rows = np.hstack([block.reshape(-1, line), np.full((10**6 // line, 1), 10, np.uint8)]) if line else block
                file.write(rows.tobytes())
            file.write(b"" if line else b"\n")


def peak_of(path: Path, corpus: Path, soft_mask: str = "ignore") -> float:
    made = subprocess.run([sys.executable, "-c", PEAK, path, corpus, soft_mask], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return int(made.stderr) / 1000


@pytest.mark.long
@pytest.mark.parametrize(("records", "line"), [(50, 50), (5, 100), (5, 0)])
def test_memory_is_that_of_the_largest_record(records, line, tmp_path):
    write(tmp_path / "a.fa", 500, records, line)
    peak = peak_of(tmp_path / "a.fa", tmp_path / "corpus")
    assert peak < START + 500 / records + 30, f"{peak:.0f} MB"
    assert (tmp_path / "corpus" / "letters.bin").stat().st_size == 500_000_000


@pytest.mark.long
def test_a_line_of_100_mb(tmp_path):
    write(tmp_path / "a.fa", 100, 1, 0)
    peak = peak_of(tmp_path / "a.fa", tmp_path / "corpus")
    assert peak < START + 130, f"{peak:.0f} MB"


@pytest.mark.slow
def test_a_killed_ingest_leaves_nothing_half_made(tmp_path):
    write(tmp_path / "a.fa", 36, 6, 50)
    (tmp_path / "b.fa").write_text(">b\nACGT\n")
    corpus = tmp_path / "out" / "corpus"
    command = [*INGEST, "--sequences", str(tmp_path / "a.fa"), "--output", str(corpus)]
    for before in ((), ("corpus",)):  # without a corpus, then with one that was there
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in corpus.parent.glob(".corpus.*/letters.bin")):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        visible = sorted(part.name for part in corpus.parent.iterdir() if not part.name.startswith("."))
        assert visible == list(before)
        small = [*INGEST, "--sequences", str(tmp_path / "b.fa"), "--output", str(corpus)]
        assert subprocess.run(small, capture_output=True, check=True).stdout.endswith(b"kept 1 record, 4 letters of dna\n")
        assert os.listdir(corpus.parent) == ["corpus"]  # what the killed one left is gone
    assert (corpus / "letters.bin").read_bytes() == b"ACGT"


def test_standard_input(tmp_path):
    content = b">a\nACGT\n>b\nAC\n"
    command = [*INGEST, "--sequences", "-", "--label", "1", "--output", str(tmp_path / "corpus")]
    made = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (made.returncode, made.stderr) == (0, b"")
    assert made.stdout.endswith(b"kept 2 records, 6 letters of dna\n")
    summary = (tmp_path / "corpus" / "corpus.json").read_text()
    assert re.search(r'"path": "standard input",\s+"sha256": "\w{64}"', summary)
    made = subprocess.run(command, input=b">a\nAC!T\n", capture_output=True, check=False)
    assert made.stderr.startswith(b"selfattn-bio ingest: error: standard input:2: letters must be dna")
