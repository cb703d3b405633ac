"""What pretraining is worth where labels are few: test AUROC of the fly promoters with 1 %, 10 % and 100 % of the training labels.

A masked-language model is pretrained on the letters of the training chromosomes alone, then its weights start the promoter model; beside it
the same model from random weights, with the same steps and the same choice on valid. Three seeds, which draw the labels too.
Run: `python benchmarks/few_labels.py` (half an hour on two idle cores); results in results/bench_few_labels/.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.model.lineage import check_unseen
from selfattn_bio.scoring.scorer import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.records import read_fasta
from selfattn_bio.sequence.splits import read_split

TASK = Path("workflows/tasks/promoter.toml")
FOLDER = Path("results/bench_few_labels")
SEEDS = (0, 1, 2)
SHARES = {0.01: 150, 0.1: 500, 1.0: 1500}  # of the training labels: steps
PRETRAINING = {"max_steps": 2000, "learning_rate": 2e-3, "evaluate_every": 500, "label_smoothing": 0.0}


def command(*words: object) -> None:
    """Run one command of the package, and say so."""
    print("+ selfattn-bio " + " ".join(map(str, words)), flush=True)
    subprocess.run([sys.executable, "-m", "selfattn_bio.cli.main", *map(str, words)], check=True)


def write_fasta(path: Path, records: list) -> None:
    """Records with the headers that ingest reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for record in records:
            place = f"chrom={record.chrom} start={record.start} end={record.end} strand={record.strand}"
            file.write(f">{record.id} {place}\n{record.letters.tobytes().decode()}\n")


def prepare(folder: Path, run_file: dict) -> None:
    """Corpus and split of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(tomli_w.dumps(run_file))
    run = read_run_file(folder / "run.toml")
    labels = [label for _, label in run.data.files]
    options = [] if None in labels else ["--label", *labels]
    files = [file for file, _ in run.data.files]
    command("ingest", "--fasta", *files, *options, "--alphabet", "dna", "--assembly", "dm3", "--output", folder / "corpus")
    command("split", "--run-file", folder / "run.toml", "--corpus", folder / "corpus", "--output", folder / "split.tsv")


def train(folder: Path) -> None:
    """The model of a prepared run."""
    split = ["--corpus", folder / "corpus", "--split", folder / "split.tsv"]
    command("train", "--run-file", folder / "run.toml", *split, "--output", folder / "model")


def test_auroc(folder: Path) -> float:
    """Of a trained model; test records that its parent saw are refused."""
    corpus = Corpus.open(folder / "corpus")
    rows = np.flatnonzero(np.array(read_split(folder / "split.tsv", corpus.records["id"])) == "test")
    records, letters = corpus.records.iloc[rows], [corpus.letters(int(row)) for row in rows]
    check_unseen(folder / "model", records, letters, corpus.alphabet, corpus.assembly)
    return float(roc_auc_score(records["label"].astype(int), load(folder / "model").logits(letters)))


def main() -> None:
    """Pretrain, fine-tune, train from random weights, print the table."""
    task = read_run_file(TASK)
    held_out = {*task.split.valid, *task.split.test}
    sides = {
        name: [record for path in paths for record in read_fasta(path, DNA)]
        for name, paths in (("positives", task.data.positives), ("negatives", task.data.negatives))
    }
    train_side = {name: [record for record in records if record.chrom not in held_out] for name, records in sides.items()}
    print("training chromosomes:", ", ".join(sorted({record.chrom for records in train_side.values() for record in records})), flush=True)
    write_fasta(FOLDER / "unlabelled.fa.gz", [record for records in train_side.values() for record in records])
    pretraining = FOLDER / "pretrained"
    prepare(
        pretraining,
        {
            "data": {"assembly": "dm3", "sequences": str(FOLDER / "unlabelled.fa.gz")},
            "split": {"kind": "random", "valid_fraction": 0.05, "test_fraction": 0.01},
            "objective": {"kind": "masked"},
            "model": {"kind": "attention", "members": 1, "dropout": 0.1},
            "training": PRETRAINING,
        },
    )
    train(pretraining)
    rows = []
    for share, steps in SHARES.items():
        for seed in SEEDS:
            files = {}
            for name, records in sides.items():
                drawn = np.random.default_rng((seed, int(share * 100))).permutation(len(train_side[name]))[
                    : round(share * len(train_side[name]))
                ]
                kept = [train_side[name][i] for i in sorted(drawn)] + [record for record in records if record.chrom in held_out]
                files[name] = str(FOLDER / f"{name}_{share}_{seed}.fa.gz")
                write_fasta(Path(files[name]), kept)
            for start in ("random", "pretrained"):
                folder = FOLDER / f"{start}_{share}_{seed}"
                run_file = {
                    "data": {"assembly": "dm3", **files},
                    "split": {"kind": "chromosome", "valid": list(task.split.valid), "test": list(task.split.test)},
                    "training": {
                        "seed": seed,
                        "max_steps": steps,
                        "evaluate_every": max(25, steps // 6),
                        "warmup_steps": min(200, steps // 5),
                    },
                }
                if start == "pretrained":
                    run_file["transfer"] = {"parent": str(pretraining / "model")}
                prepare(folder, run_file)
                train(folder)
                valid = pd.read_csv(folder / "model" / "history.csv")["valid_auroc"].max()
                rows.append({"labels": share, "start": start, "seed": seed, "valid": valid, "test": test_auroc(folder)})
                print(pd.DataFrame(rows).to_string(), flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(FOLDER / "few_labels.csv", index=False)
    print(table.pivot_table(index="labels", columns="start", values=["valid", "test"], aggfunc=["mean", "min", "max"]).round(4).to_string())


if __name__ == "__main__":
    main()
