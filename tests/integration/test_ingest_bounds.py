"""Ingest and train on files larger than memory; a killed ingest leaves no partial files."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import run_measured
from small_task import small

INGEST = """
import sys
from selfattn_bio import ingest_files
corpus = ingest_files(sys.argv[1], "out/corpus", "dna")
print(corpus.summary["num_letters"])
"""
RUN = 'objective.kind = "masked"\n[data]\nsequences = "a.fa"\nmax_length = 1_000_000_000\n'
# MB: torch, a tiny model and 8 million bases that are read together at the end; at most 985 were
# measured
TRAINING = 1200
MASKED = """
objective.kind = "masked"
split = { kind = "chromosome", valid = ["r0"], test = ["r1"] }
training = { window = 512, batch_size = 8, warmup_steps = 1 }
data = { sequences = "a.fa", header = '(?P<chrom>\\w+)', max_length = 1_000_000_000 }
model.pattern = { kind = "window", window = 16 }
"""


def write(path: Path, megabytes: int, records: int, line: int) -> None:
    """Write a FASTA file with lower- and upper-case bases."""
    generator = np.random.default_rng(0)
    letters = generator.choice(np.frombuffer(b"ACGTacgt", np.uint8), 10**6)
    with path.open("wb") as file:
        for record in range(records):
            file.write(b">r%d\n" % record)
            for _ in range(megabytes // records):
                block = np.roll(letters, int(generator.integers(10**6)))
                if line:
                    ends = np.full((10**6 // line, 1), 10, np.uint8)
                    block = np.hstack([block.reshape(-1, line), ends])
                file.write(block.tobytes())
            file.write(b"" if line else b"\n")


def ingest_of(folder: Path, megabytes: int, records: int, line: int) -> float:
    """Return the peak memory in MB of reading a file."""
    write(folder / "a.fa", megabytes, records, line)
    (folder / "run.toml").write_text(RUN)
    return run_measured("ingest .", folder=folder)[1]


@pytest.mark.long
@pytest.mark.parametrize(("total", "records", "line"), [(200, 20, 50), (200, 4, 0), (100, 1, 0)])
def test_ingest_memory_is_bounded_by_largest_record(total, records, line, tmp_path):
    start = ingest_of(tmp_path, 1, 1, line)
    peak = ingest_of(tmp_path, total, records, line)
    assert peak < start + total / records + 30, f"{peak:.0f} MB, {start:.0f} for a small file"
    assert (tmp_path / "corpus" / "letters.bin").stat().st_size == total * 1_000_000


@pytest.mark.long
def test_masked_training_does_not_load_genome(tmp_path):
    (tmp_path / "run.toml").write_text(small(MASKED))
    write(tmp_path / "a.fa", 10, 10, 50)
    start = {step: run_measured(f"{step} .", folder=tmp_path)[1] for step in ("ingest", "split")}
    write(tmp_path / "a.fa", 500, 10, 50)
    peaks = {step: run_measured(f"{step} .", folder=tmp_path)[1] for step in start}
    peaks["train"] = run_measured("train . --threads 1", folder=tmp_path)[1]
    print(start, peaks)
    assert peaks["ingest"] < start["ingest"] + 50 + 30, (start, peaks)
    assert peaks["split"] < start["split"] + 64 + 30, (start, peaks)  # the bases of one pass
    assert peaks["train"] < TRAINING, peaks


@pytest.mark.long
def test_killed_ingest_leaves_no_partial_files(tmp_path):
    write(tmp_path / "a.fa", 36, 6, 50)
    (tmp_path / "b.fa").write_text(">b\nACGT\n")
    corpus, command = tmp_path / "out/corpus", [sys.executable, "-c", INGEST]
    for before in ((), ("corpus",)):  # without a corpus, then with an existing one
        process = subprocess.Popen([*command, "a.fa"], cwd=tmp_path)
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in corpus.parent.glob(".corpus.*/letters.bin")):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        visible = [part.name for part in corpus.parent.iterdir() if part.name[0] != "."]
        assert visible == list(before)
        assert subprocess.check_output([*command, "b.fa"], cwd=tmp_path) == b"4\n"
        # the partial files of the killed process are removed
        assert os.listdir(corpus.parent) == ["corpus"]
    assert (corpus / "letters.bin").read_bytes() == b"ACGT"


def test_standard_input(tmp_path):
    command = [sys.executable, "-c", INGEST, "-"]
    options = {"capture_output": True, "check": False, "cwd": tmp_path}
    made = subprocess.run(command, input=b">a\nACGT\n>b\nAC\n", **options)
    assert (made.returncode, made.stdout, made.stderr) == (0, b"6\n", b"")
    summary = (tmp_path / "out/corpus/corpus.json").read_text()
    assert re.search(r'"path": "standard input",\s+"sha256": "\w{64}"', summary)
    made = subprocess.run(command, input=b">a\nAC!T\n", **options)
    message = b"SequenceFileError: standard input:2: invalid character '!' in record 'a'"
    assert message in made.stderr.splitlines()[-1]
