"""Write input files and run init, for the tests of init."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.cli.main import main
from selfattn_bio.config import read_run_file


def write(path, number=120, length=40, letters="ACGT", header=lambda i: ""):
    rng = np.random.default_rng(len(str(path)))
    text = "".join(
        f">{Path(path).stem.split()[-1]}{i} "
        f"{header(i)}\n{''.join(rng.choice(list(letters), length))}\n"
        for i in range(number)
    )
    raw = text.encode()
    Path(path).write_bytes(gzip.compress(raw) if str(path).endswith("gz") else raw)
    return str(path)


def made(*words):
    assert main(["init", "my_task", *words]) == 0
    return read_run_file("workflows/tasks/my_task.toml")


def place(i):
    return f"chrom=chr{i % 5} start={i * 50} end={i * 50 + 40}"


def table(path="all.csv", number=120, letters="ACGT", **columns):
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list(letters), 40)) for _ in range(number)]
    made_up = {name: [value(i, rows[i]) for i in range(number)] for name, value in columns.items()}
    pd.DataFrame({"sequence": rows, **made_up}).to_csv(
        path, index=False, sep="\t" if path.endswith("tsv") else ","
    )
    return path


def ingested():
    """The corpus of the run file, and the records of each split."""
    assert main(["ingest", "--run-file", "workflows/tasks/my_task.toml", "--output", "corpus"]) == 0
    assert (
        main(
            [
                "split",
                "--run-file",
                "workflows/tasks/my_task.toml",
                "--corpus",
                "corpus",
                "--output",
                "split.tsv",
            ]
        )
        == 0
    )
    return pd.read_parquet("corpus/records.parquet"), pd.read_csv("split.tsv", sep="\t")[
        "split"
    ].value_counts().to_dict()
