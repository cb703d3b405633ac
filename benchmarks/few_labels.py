"""Measure what pretraining adds if labels are few: test AUROC with 1 %, 10 % and 100 % of them.

The fraction is sampled from train and validation, so that the choice of the best step uses no more
labels than the training; test is complete. A masked language model is pretrained without labels on
the task's own records of the training chromosomes: the 300 bp before transcription starts and 300
bp from 2 kb further upstream (data/README.md). No other upstream DNA ships. Its weights initialise
the promoter model, which then trains all of them, or its head and LoRA. The control is the same
model from random weights with the same steps.

There are three seeds, which also choose the labels, and one pretraining. The labels of 1 % are a
subset of those of 10 %. With all labels, the models from random weights are those of `make
bench-promoter`, and are reused if they exist. Test records that the pretraining saw are refused.

As in `benchmarks/promoter.py`, two trainings run at the same time, each with one thread.

    python benchmarks/few_labels.py            # half an hour on two cores
    python benchmarks/few_labels.py --quick    # a check of a few steps in a separate folder

An interrupted benchmark continues in results/bench_few_labels/.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import promoter
import tomli_w
import torch
from promoter import command, is_trained
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import ChromosomeSplit, read_run_file
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.scoring.scorer import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record
from selfattn_bio.sequence.split_table import read_split

TASK = Path("workflows/tasks/promoter.toml")
QUICK = "--quick" in sys.argv[1:]
FOLDER = Path("results/bench_few_labels_quick" if QUICK else "results/bench_few_labels")
SEEDS = (0,) if QUICK else (0, 1, 2)
# Fraction of the labels of train and validation -> steps.
SHARES = {0.01: 4} if QUICK else {0.01: 150, 0.1: 500, 1.0: 1500}
PRETRAINING = {
    "max_steps": 4 if QUICK else 1000,
    "learning_rate": 2e-3,
    "evaluate_every": 500,
    "label_smoothing": 0.0,
}
STARTS: dict[str, dict[str, str] | None] = {
    "random": None,
    "pretrained": {"adapt": "all"},
    "pretrained, LoRA": {"adapt": "lora"},
}
Classes = dict[str, list[Record]]  # positives and negatives


def write_fasta(path: Path, records: Iterable[Record]) -> str:
    """Write records with the headers that ingest reads; return the path for the run file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for record in records:
            place = (
                f"chrom={record.chrom} start={record.start} end={record.end} strand={record.strand}"
            )
            file.write(f">{record.id} {place}\n{record.letters.tobytes().decode()}\n")
    return str(path)


def write_run_file(path: Path, values: dict[str, Any]) -> Path:
    """Write a run file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def prepare(run_file: Path) -> None:
    """Write corpus and split next to a run file."""
    run, folder = read_run_file(run_file), run_file.parent
    files, labels = zip(*run.data.files, strict=True)
    options = [] if None in labels else ["--label", *labels]
    command(
        "ingest",
        "--fasta",
        *files,
        *options,
        "--alphabet",
        "dna",
        "--assembly",
        run.data.assembly,
        "--output",
        folder / "corpus",
    )
    command(
        "split",
        "--run-file",
        run_file,
        "--corpus",
        folder / "corpus",
        "--output",
        folder / "split.tsv",
    )


def trained(run_file: Path) -> Path:
    """Return the model folder of a run file, named like it.

    The model is trained on the corpus and split next to the run file if it is missing or its
    settings changed.
    """
    corpus, split, output = (
        run_file.parent / "corpus",
        run_file.parent / "split.tsv",
        run_file.with_suffix(""),
    )
    if not (is_trained(run_file, "", output, corpus, split) and of_same_parent(run_file, output)):
        shared = ("--run-file", run_file, "--corpus", corpus, "--split", split)
        command("train", *shared, "--threads", 1, "--output", output)
    return output


def of_same_parent(run_file: Path, output: Path) -> bool:
    """Return whether the parent of a model, if it has one, is still the same."""
    transfer = read_run_file(run_file).transfer
    weights = [read_provenance(transfer.folder)["weights_sha256"]] if transfer else []
    return [parent["weights_sha256"] for parent in read_provenance(output)["parents"]][
        :1
    ] == weights


def trained_and_judged(run_file: Path, pretraining: Future[Path] | None) -> dict[str, float]:
    """Train a run after its parent; return its best validation AUROC and its test AUROC."""
    if pretraining:
        pretraining.result()
    return judged(trained(run_file), run_file.parent / "corpus", run_file.parent / "split.tsv")


def judged(model: Path, corpus_path: Path, split_path: Path) -> dict[str, float]:
    """Return the best validation AUROC and the test AUROC of a model folder."""
    corpus = Corpus.open(corpus_path)
    rows = np.flatnonzero(np.array(read_split(split_path, corpus.records["id"])) == "test")
    records, letters = corpus.records.iloc[rows], [corpus.letters(int(row)) for row in rows]
    check_unseen(model, records, letters, corpus.alphabet, corpus.assembly)
    test = float(roc_auc_score(records["label"].astype(int), load(model).logits(letters)))
    return {"valid": pd.read_csv(model / "history.csv")["valid_auroc"].max(), "test": test}


def pretraining_of(classes: Classes, held_out: set[str]) -> Path:
    """Write the run file of the masked language model.

    Its corpus has no labels and no records of held-out chromosomes.
    """
    unlabelled = [
        record for records in classes.values() for record in records if record.chrom not in held_out
    ]
    print(
        f"pretraining: {len(unlabelled):,} records of "
        f"{', '.join(sorted({str(record.chrom) for record in unlabelled}))}",
        flush=True,
    )
    values = {
        "data": {
            "assembly": "dm3",
            "sequences": write_fasta(FOLDER / "pretraining" / "unlabelled.fa.gz", unlabelled),
        },
        "split": {"kind": "random", "valid_fraction": 0.05, "test_fraction": 0.01},
        "objective": {"kind": "masked"},
        "model": {"kind": "attention", "members": 1, "dropout": 0.1},
        "training": PRETRAINING,
    }
    return write_run_file(FOLDER / "pretraining" / "model.toml", values)


def runs_of(
    share: float, seed: int, classes: Classes, split: ChromosomeSplit, parent: Path
) -> dict[str, Path]:
    """Write the run files of a fraction of the labels, by start; all use the same records."""
    folder, files = FOLDER / f"{share:.0%}_seed{seed}".replace("%", ""), {}
    for name, records in classes.items():
        kept = []
        for split_name in ("train", "valid", "test"):
            own = [record for record in records if split_of(record, split) == split_name]
            # One order per seed, so that a smaller fraction is part of a larger one.
            order = np.random.default_rng((seed, name == "positives")).permutation(len(own))
            kept += [
                own[i]
                for i in sorted(
                    order[: len(own) if split_name == "test" else round(share * len(own))]
                )
            ]
        files[name] = write_fasta(folder / f"{name}.fa.gz", kept)
    steps, runs = SHARES[share], {}
    training = {
        "seed": seed,
        "max_steps": steps,
        "evaluate_every": max(25, steps // 6),
        "warmup_steps": min(200, steps // 5),
    }
    for start, transfer in STARTS.items():
        if share == 1 and start != "pretrained":
            continue  # random weights come from bench-promoter; LoRA is for few labels
        values = {
            "data": {"assembly": "dm3", **files},
            "split": split.model_dump(mode="json"),
            "training": training,
        }
        values |= {"transfer": {"parent": str(parent), **transfer}} if transfer else {}
        runs[start] = write_run_file(folder / f"{start.replace(', ', '_').lower()}.toml", values)
    return runs


def split_of(record: Record, split: ChromosomeSplit) -> str:
    """Return the split of a record in the task."""
    return (
        "valid"
        if record.chrom in split.valid
        else "test"
        if record.chrom in split.test
        else "train"
    )


def main() -> None:
    torch.set_num_threads(1)  # for scoring, two processes at the same time
    task = read_run_file(TASK)
    split = task.split
    assert isinstance(split, ChromosomeSplit)
    files = (("positives", task.data.positives), ("negatives", task.data.negatives))
    classes = {
        name: [record for path in paths or () for record in read_records(path, DNA)]
        for name, paths in files
    }
    parent = pretraining_of(classes, {*split.valid, *split.test})
    keys = [(share, seed) for share in SHARES for seed in SEEDS]
    runs = {key: runs_of(*key, classes, split, parent.with_suffix("")) for key in keys}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(prepare, [parent, *(each["pretrained"] for each in runs.values())]))
        pretraining = pool.submit(trained, parent)
        # Runs from random weights go first: they do not wait for the pretraining.
        wanted = [
            (share, seed, start)
            for start in STARTS
            for share, seed in keys
            if start in runs[share, seed]
        ]
        found = {
            (share, seed, start): pool.submit(
                trained_and_judged, runs[share, seed][start], pretraining if STARTS[start] else None
            )
            for share, seed, start in wanted
        }
    results = {key: future.result() for key, future in found.items()}
    if 1.0 in SHARES:  # random weights with all labels: the models of bench-promoter
        corpus, split_path = promoter.prepare()
        of_seeds = {seed: promoter.write_run_file(task, seed) for seed in SEEDS}
        promoter.trained_at_once(
            [(path, "", path.with_name("model")) for path in of_seeds.values()], corpus, split_path
        )
        results |= {
            (1.0, seed, "random"): judged(path.with_name("model"), corpus, split_path)
            for seed, path in of_seeds.items()
        }
    rows = [
        {"labels": share, "seed": seed, "start": start, **result}
        for (share, seed, start), result in results.items()
    ]
    pd.DataFrame(rows).sort_values(["labels", "start", "seed"]).to_csv(
        FOLDER / "few_labels.csv", index=False
    )
    print(
        "\n| labels | start | test AUROC by seed | mean | valid, mean | test - random by seed | "
        "mean |\n|---|---|---|---|---|---|---|"
    )
    for share in SHARES:
        for start in STARTS:
            if (share, SEEDS[0], start) not in results:
                continue
            own, random = (
                [results[share, seed, name] for seed in SEEDS] for name in (start, "random")
            )
            tests, leads = (
                [each["test"] for each in own],
                [x["test"] - y["test"] for x, y in zip(own, random, strict=True)],
            )
            said = [
                f"{share:.0%}",
                start,
                ", ".join(f"{test:.4f}" for test in tests),
                f"{mean(tests):.4f}",
            ]
            said += [
                f"{mean(each['valid'] for each in own):.4f}",
                ", ".join(f"{lead:+.4f}" for lead in leads),
                f"{mean(leads):+.4f}",
            ]
            print("| " + " | ".join(said) + " |")


if __name__ == "__main__":
    main()
