"""Compare k-mer lengths with and without the convolutional stem on the promoter task.

Prints the best validation AUROC of one network each with the same number of steps. Test is not
read. Without a stem the tokens do not overlap (stride = k); single bases give 300 tokens per
sequence and take the longest by far. As many trainings run at the same time as there are cores,
each with one thread. An interrupted benchmark continues where it stopped.

    python benchmarks/stems.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from promoter import FOLDER, TASK, prepare, trained_at_once

from selfattn_bio.config import read_run_file

STEPS = 750
RUNS = FOLDER.with_name("bench_stems")
K = (1, 3, 6)
NETWORKS: dict[str, dict[str, Any]] = {
    **{
        f"{k}-mers, stem": {"tokens": {"k": k}, "model": {"kind": "attention", "members": 1}}
        for k in K
    },
    **{
        f"{k}-mers, no stem": {
            "tokens": {"k": k, "stride": k},
            "model": {"kind": "attention", "members": 1, "stem": {"kind": "none"}},
        }
        for k in K
    },
}


def main() -> None:
    task = read_run_file(TASK).model_dump(mode="json", exclude_unset=True)
    jobs = []
    for name, settings in NETWORKS.items():
        run_file = RUNS / re.sub("[^a-zA-Z0-9.]+", "_", name) / "run.toml"
        run_file.parent.mkdir(parents=True, exist_ok=True)
        run_file.write_text(
            tomli_w.dumps(task | settings | {"training": {"max_steps": STEPS}}), encoding="utf-8"
        )
        jobs.append((run_file, "", run_file.with_name("model")))
    trained_at_once(jobs, *prepare())
    print(f"\n{'network':32} {'valid AUROC':>12} {'at step':>8} {'seconds':>8}")
    for name, (_, _, model) in zip(NETWORKS, jobs, strict=True):
        history = pd.read_csv(Path(model) / "history.csv")
        best = history.loc[history["valid_auroc"].idxmax()]
        print(
            f"{name:32} {best['valid_auroc']:12.4f} {best['step']:8.0f} "
            f"{history['seconds'].iloc[-1]:8.0f}"
        )


if __name__ == "__main__":
    main()
