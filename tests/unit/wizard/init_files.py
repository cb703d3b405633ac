"""Write input files and run init, for the tests of init."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
from commands import run

from selfattn_bio import Study
from selfattn_bio.config import read_run_file

TASK = Path("workflows/tasks/my_task.toml")


def write(path, number=120, length=40, letters="ACGT", header=lambda i: ""):
    """Write random sequences, which differ between paths of different lengths."""
    rng = np.random.default_rng(len(str(path)))
    text = "".join(
        f">{Path(path).stem.split()[-1]}{i} "
        f"{header(i)}\n{''.join(rng.choice(list(letters), length))}\n"
        for i in range(number)
    )
    raw = text.encode()
    Path(path).write_bytes(gzip.compress(raw) if str(path).endswith("gz") else raw)
    return str(path)


def both(**options):
    """Write a.fa and bb.fa; return the options for positives and negatives."""
    return f"--positives {write('a.fa', **options)} --negatives {write('bb.fa', **options)}"


def made(options):
    """Run init, replacing an earlier run file; return the run file."""
    TASK.unlink(missing_ok=True)
    run(f"init my_task {options}")
    return read_run_file(TASK)


def place(i):
    return f"chrom=chr{i % 5} start={i * 50} end={i * 50 + 40}"


def label(i, _):
    return i % 2


def table(path="all.csv", number=120, letters="ACGT", **columns):
    """Write a table of sequences with more columns; return the option for it."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list(letters), 40)) for _ in range(number)]
    made_up = {name: [value(i, rows[i]) for i in range(number)] for name, value in columns.items()}
    pd.DataFrame({"sequence": rows, **made_up}).to_csv(
        path, index=False, sep="\t" if path.endswith("tsv") else ","
    )
    return f"--sequences {path}"


def ingested():
    """Return the records of the corpus of the run file, and the number in each split."""
    run("ingest my_task")
    run("split my_task")
    study = Study("my_task")
    return study.corpus.records, study.splits.table["split"].value_counts().to_dict()
