"""What the promoter task's network was chosen from: six settings of the attention network and six of the CNN, best valid AUROC of one
network each after as many steps. Test is not read.

The attention network: k-mers of 1, 3 and 6 letters, with and without the convolutional stem. Without one the tokens do not overlap
(stride = k), for 300 of them take ten times as long a step. The CNN: the same k-mers, and half of its dropout. As many trainings run at
once as there are cores, each with one thread. Goes on where it was stopped. Run: `python benchmarks/choices.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from promoter import FOLDER, TASK, trained_at_once

from selfattn_bio.config import read_run_file

STEPS = 750
RUNS = FOLDER.with_name("bench_choices")
K = (1, 3, 6)
CHOICES: dict[str, dict[str, Any]] = {
    **{f"attention, {k}-mers, stem": {"tokens": {"k": k}, "model": {"kind": "attention", "members": 1}} for k in K},
    **{
        f"attention, {k}-mers, no stem": {
            "tokens": {"k": k, "stride": k},
            "model": {"kind": "attention", "members": 1, "stem": {"kind": "none"}},
        }
        for k in K
    },
    **{
        f"CNN, {k}-mers, dropout {dropout}": {"tokens": {"k": k}, "model": {"kind": "cnn", "dropout": dropout}}
        for k in K
        for dropout in (0.15, 0.3)
    },
}


def main() -> None:
    task = read_run_file(TASK).model_dump(mode="json", exclude_unset=True)
    jobs = []
    for name, choice in CHOICES.items():
        run_file = RUNS / re.sub("[^a-zA-Z0-9.]+", "_", name) / "run.toml"
        run_file.parent.mkdir(parents=True, exist_ok=True)
        run_file.write_text(tomli_w.dumps(task | choice | {"training": {"max_steps": STEPS}}), encoding="utf-8")
        jobs.append((run_file, "", run_file.with_name("model")))
    trained_at_once(jobs)
    print(f"\n{'network':32} {'valid AUROC':>12} {'at step':>8} {'seconds':>8}")
    for name, (_, _, model) in zip(CHOICES, jobs, strict=True):
        history = pd.read_csv(Path(model) / "history.csv")
        best = history.loc[history["valid_auroc"].idxmax()]
        print(f"{name:32} {best['valid_auroc']:12.4f} {best['step']:8.0f} {history['seconds'].iloc[-1]:8.0f}")


if __name__ == "__main__":
    main()
