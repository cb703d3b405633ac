"""Compare k-mer lengths with and without the convolutional stem on the promoter task.

Prints the best validation AUROC of one network each with the same number of steps. Test is not
read. Without a stem the tokens do not overlap (stride = k); single bases give 300 tokens per
sequence and take the longest by far. As many trainings run at the same time as there are cores,
each with one thread. An interrupted benchmark continues where it stopped.

    python benchmarks/stems.py
"""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
from harness import Row, Table, run
from promoter import FOLDER, STUDY, TASK
from runs import settings_of, write_run_file

STEPS = 750
RUNS = FOLDER.with_name("bench_stems")
MODEL = {"kind": "attention", "members": 1, "attention_dropout": 0.3}
NO_STEM = MODEL | {"stem": {"kind": "none"}}
NETWORKS: dict[str, dict[str, Any]] = {
    **{f"{k}-mers, stem": {"tokens": {"k": k}, "model": MODEL} for k in (1, 3, 6)},
    **{
        f"{k}-mers, no stem": {"tokens": {"k": k, "stride": k}, "model": NO_STEM} for k in (1, 3, 6)
    },
}


def rows() -> Iterator[Row]:
    """Train all networks, and read the best step of each."""
    STUDY.prepare(TASK)
    folders = {name: RUNS / re.sub("[^a-zA-Z0-9.]+", "_", name) for name in NETWORKS}
    for name, folder in folders.items():
        training = {"training": {"max_steps": STEPS}}
        write_run_file(folder / "run.toml", settings_of(TASK) | NETWORKS[name] | training)
    STUDY.train_all((each / "run.toml", each / "model", "") for each in folders.values())
    for name, folder in folders.items():
        history = pd.read_csv(folder / "model" / "history.csv")
        best = history.loc[history["valid_auroc"].idxmax()]
        yield {
            "network": name,
            "valid AUROC": f"{best['valid_auroc']:.4f}",
            "at step": f"{best['step']:.0f}",
            "seconds": f"{history['seconds'].iloc[-1]:.0f}",
        }


if __name__ == "__main__":
    run(__doc__, lambda _: [Table("", rows())])
