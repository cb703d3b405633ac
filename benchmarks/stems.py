"""k-mer length with and without the convolutional stem: best valid AUROC of the promoter task after as many steps each. Test is not read.

Without a stem the tokens do not overlap (stride = k), as 300 of them would take ten times as long a step. Goes on where it was stopped.
Run: `python benchmarks/stems.py`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import tomli_w
from promoter import FOLDER, TASK, command, prepare

from selfattn_bio.config import read_run_file

STEPS = 750
RUNS = FOLDER.with_name("bench_stems")


def trained(k: int, stem: bool) -> Path:
    """The model folder of one cell of the table."""
    folder = RUNS / f"k{k}_{'stem' if stem else 'none'}"
    if not (folder / "model").exists():
        values = read_run_file(TASK).model_dump(mode="json", exclude_unset=True)
        values["tokens"] = {"k": k, "stride": 1 if stem else k}
        values["model"] = {"kind": "attention"} | ({} if stem else {"stem": {"kind": "none"}})
        values["training"] = values.get("training", {}) | {"max_steps": STEPS}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
        corpus, split = prepare()
        command("train", "--run-file", folder / "run.toml", "--corpus", corpus, "--split", split, "--output", folder / "model")
    return folder / "model"


def main() -> None:
    rows = [(k, stem, pd.read_csv(trained(k, stem) / "history.csv")) for k in (1, 3, 6) for stem in (True, False)]
    print(f"\n{'k':>2} {'stem':>5} {'valid AUROC':>12} {'at step':>8} {'seconds':>8}")
    for k, stem, history in rows:
        best = history.loc[history["valid_auroc"].idxmax()]
        print(f"{k:2} {'conv' if stem else 'none':>5} {best['valid_auroc']:12.4f} {best['step']:8.0f} {history['seconds'].iloc[-1]:8.0f}")


if __name__ == "__main__":
    main()
