"""Accuracy on published test sets, from scratch: transcription factor binding (GUE) and secondary structure of proteins.

The sets are no part of the project. They are sought in the folder that --bench or the environment variable SELFATTN_BENCH names, else in
../shared/bench beside this project; where there is none, that is said. Sides are as published, but for sequences that stand on two of them
(on either strand of DNA): these are kept in test rather than in train, and in train rather than in dev, where they would favour what is
learnt by heart. Settings were chosen on dev (docs/decisions.md); test is scored here, once.

The run files, corpora and models go to results/bench_accuracy/. What is there with the settings, data and code of now is not done again.
Run: `make bench-accuracy`, or `python benchmarks/accuracy.py gue_tf1` for some of the sets. One thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import protein_ss3
import torch
from published import FOLDER, bench_folder, prepare, said, seconds_of, trained, write_fasta
from scipy.special import expit

from selfattn_bio.baselines import BASELINES, Setup
from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.metrics import Bootstrap
from selfattn_bio.scoring.scorer import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.clusters import similar_pairs
from selfattn_bio.sequence.spelling import Spelling
from selfattn_bio.sequence.splits import read_split, strand_keys

# Sequences of 101 letters with or without a peak of a factor; chosen on dev, docs/decisions.md.
GUE_MODEL: dict[str, Any] = {
    "tokens": {"k": 1},
    "model": {
        **{"kind": "attention", "members": 1, "embed_dim": 128, "num_layers": 2, "feedforward_dim": 256, "dropout": 0.2},
        **{"stem": {"kind": "conv", "kernel": 15, "pool": 4, "second_kernel": 5}, "head": {"kind": "pooling", "parts": 1}},
    },
    "training": {
        **{"learning_rate": 2e-3, "warmup_steps": 100, "reverse_complement": True, "precision": "bf16-mixed"},
        **{"evaluate_every": 400, "checkpoint_every": 400},
    },
}
OF_SET: dict[str, dict[str, Any]] = {
    "gue_tf1": {"batch_size": 256, "learning_rate": 4e-3, "max_steps": 1000, "seeds": 3},
    "gue_tf4": {"max_steps": 2400},
}
PUBLISHED = {
    "gue_tf1": "DNABERT-2 .761, DNABERT .701",
    "gue_tf4": "DNABERT-2 .774, DNABERT .710",
    "protein_ss3": "from scratch: LSTM .71, Transformer .70 (CB513); pretrained: ProtBert .83",
}


# -------------------------------------------------------------------------------------------------------------- GUE
def read_gue(folder: Path) -> pd.DataFrame:
    """sequence, label, side and id of all records; those that stand on two sides are left out of the lesser one."""
    sides = {"test": "test", "train": "train", "valid": "dev"}
    tables = [pd.read_csv(folder / f"{file}.csv.gz").assign(side=side) for side, file in sides.items()]
    records = pd.concat(tables, ignore_index=True)
    key = pd.Series(strand_keys((np.frombuffer(text.encode(), np.uint8) for text in records["sequence"]), DNA))
    records = records[~key.duplicated()]
    counts = ", ".join(f"{side} {(records['side'] == side).sum():,} of {len(table):,}" for side, table in zip(sides, tables, strict=True))
    print(f"{folder.name}: each sequence once: {counts}; {near_train(records)} of test have a near neighbour in train", flush=True)
    return records.assign(id=[f"{side}{row}" for row, side in records["side"].items()])


def near_train(records: pd.DataFrame) -> int:
    """How many records of test share so many k-mers with one of train that the audit would call it near: they are said and kept."""
    test, train = (
        [np.frombuffer(text.encode(), np.uint8) for text in records.loc[records["side"] == side, "sequence"]] for side in ("test", "train")
    )
    return int(similar_pairs([*test, *train], DNA, sides=np.repeat([False, True], [len(test), len(train)]))["first"].nunique())


def judge_gue(name: str, bench: Path) -> dict[str, str]:
    """A row of the table."""
    records, files = read_gue(bench / name), {}
    for label, key in ((1, "positives"), (0, "negatives")):
        own = records[records["label"] == label]
        files[key] = write_fasta(FOLDER / name / f"{key}.fa.gz", own["id"], own["sequence"])
    training = {**GUE_MODEL["training"], **OF_SET[name]}
    run_file = prepare(name, {"data": files, **GUE_MODEL, "training": training, "variants": {}}, records)
    folders, corpus = trained(run_file), Corpus.open(run_file.with_name("corpus"))
    split = np.array(read_split(run_file.with_name("split.tsv"), corpus.records["id"]))
    letters = {side: [corpus.letters(int(row)) for row in np.flatnonzero(split == side)] for side in ("train", "valid", "test")}
    labels = {side: corpus.records["label"].to_numpy(dtype=np.int64)[split == side] for side in letters}
    kmers = BASELINES["kmer6_positional_logistic"](Setup(Spelling(DNA), "both"))  # the network reads both strands, too
    kmers.fit(letters["train"], labels["train"], letters["valid"], labels["valid"])
    found = {}
    for side in ("valid", "test"):
        bootstrap = Bootstrap(labels[side])
        baseline = expit(kmers.logits(letters[side]))
        model = expit(both_strands(folders, letters[side]))
        found[side] = [bootstrap.metrics(each, threshold=0.5)["mcc"] for each in (model, baseline)]
    (model_dev, _), (model, baseline) = found["valid"], found["test"]
    run = read_run_file(run_file)
    return {
        **{"set": name, "metric": "MCC", "model on dev": f"{model_dev.value:.3f}", "model on test": said(model.interval())},
        **{
            "simple baseline": f"6-mers, positional 3-mers, both strands: {said(baseline.interval())}",
            "model - baseline": said(model.minus(baseline), "+"),
        },
        **{"networks averaged": str(run.model.members * len(folders)), "seconds": f"{seconds_of(folders):.0f}"},
    }


def both_strands(folders: list[Path], letters: list[np.ndarray]) -> np.ndarray:
    """Logits, the mean over models and strands."""
    scorers = load(folders).members
    turned = [DNA.reverse_complement(row) for row in letters]
    return np.mean([scorer.logits(strand) for scorer in scorers for strand in (letters, turned)], axis=0)


# ------------------------------------------------------------------------------------------------------------ the table
JUDGES: dict[str, Callable[[str, Path], dict[str, str]]] = {"gue_tf1": judge_gue, "gue_tf4": judge_gue, "protein_ss3": protein_ss3.judge}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(JUDGES)}; all if none is named")
    parser.add_argument("--bench", metavar="DIR", help="folder of the sets (default: SELFATTN_BENCH, or ../shared/bench)")
    options = parser.parse_args(arguments)
    if strange := set(options.sets) - set(JUDGES):
        parser.error(f"SET must be one of {', '.join(JUDGES)}, got {', '.join(sorted(strange))}")
    bench = bench_folder(options.bench)
    torch.set_num_threads(1)
    start, rows = time.monotonic(), []
    for name in options.sets or JUDGES:
        if not (bench / name).is_dir():
            sys.exit(f"error: {name} must be a folder of the published sets, got none such in {str(bench)!r}")
        rows.append({**JUDGES[name](name, bench), "published": PUBLISHED[name]})
    print(f"\n{time.monotonic() - start:.0f} s, but for what was there. 95 % intervals by bootstrap over the records of test.\n")
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")


if __name__ == "__main__":
    main()
