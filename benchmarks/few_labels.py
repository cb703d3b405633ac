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

Two trainings run at the same time, each with one thread.

    python benchmarks/few_labels.py            # half an hour on two cores
    python benchmarks/few_labels.py --quick    # a check of a few steps in a separate folder

An interrupted benchmark continues in results/bench_few_labels/.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import promoter
from harness import Row, Table, listed, option, run
from runs import Study, quick_folder, write_run_file
from sklearn.metrics import roc_auc_score

from selfattn_bio.config import ChromosomeSplit, read_run_file
from selfattn_bio.evaluation.lineage import check_unseen
from selfattn_bio.model.checkpoint import read_provenance
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record

FOLDER = Path("results/bench_few_labels")
SHARES = {0.01: 150, 0.1: 500, 1.0: 1500}  # fraction of the labels of train and valid -> steps
PRETRAINING = {
    "max_steps": 1000,
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


@dataclass(frozen=True)
class Training:
    """A training of the promoter model with a fraction of the labels."""

    share: float
    seed: int
    start: str
    study: Study
    run_file: Path
    model: Path

    def finished(self) -> dict[str, Any]:
        """Train if needed; return the best AUROC on validation, and that on test."""
        model = trained(self.study, self.run_file, self.model)
        records = self.study.records()
        corpus, test = records.corpus, records.table.iloc[records.rows("test")]
        letters = records.letters("test")
        check_unseen(model, test, letters, corpus.alphabet, corpus.assembly)
        return {
            "labels": self.share,
            "seed": self.seed,
            "start": self.start,
            "valid": pd.read_csv(model / "history.csv")["valid_auroc"].max(),
            "test": roc_auc_score(records.labels("test"), load(model).logits(letters)),
        }


def trained(study: Study, run_file: Path, output: Path) -> Path:
    """Return the model folder of a run file; train if it is missing or its parent changed."""
    transfer = read_run_file(run_file).transfer
    parent = read_provenance(transfer.folder)["weights_sha256"] if transfer else ""
    return study.train(run_file, output, code=parent)


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


def pretraining_of(study: Study, classes: Classes, held_out: set[str], steps: int) -> Path:
    """Write the run file of the masked language model.

    Its corpus has no labels and no records of held-out chromosomes.
    """
    unlabelled = [
        record for records in classes.values() for record in records if record.chrom not in held_out
    ]
    chroms = ", ".join(sorted({str(record.chrom) for record in unlabelled}))
    print(f"pretraining: {len(unlabelled):,} records of {chroms}", flush=True)
    sequences = write_fasta(study.folder / "unlabelled.fa.gz", unlabelled)
    values = {
        "data": {"assembly": "dm3", "sequences": sequences},
        "split": {"kind": "random", "valid_fraction": 0.05, "test_fraction": 0.01},
        "objective": {"kind": "masked"},
        "model": {"kind": "attention", "members": 1, "dropout": 0.1, "attention_dropout": 0.1},
        "training": PRETRAINING | {"max_steps": steps},
    }
    return write_run_file(study.folder / "model.toml", values)


def trainings_of(
    study: Study, share: float, seed: int, steps: int, classes: Classes, parent: Path
) -> list[Training]:
    """Write the run files of a fraction of the labels; all use the same records."""
    split, files = task_split(), {}
    for name, records in classes.items():
        kept = []
        for split_name in ("train", "valid", "test"):
            own = [record for record in records if split_of(record, split) == split_name]
            number = len(own) if split_name == "test" else round(share * len(own))
            # One order per seed, so that a smaller fraction is part of a larger one.
            order = np.random.default_rng((seed, name == "positives")).permutation(len(own))
            kept += [own[i] for i in sorted(order[:number])]
        files[name] = write_fasta(study.folder / f"{name}.fa.gz", kept)
    values: dict[str, Any] = {
        "data": {"assembly": "dm3", **files},
        "split": split.model_dump(mode="json"),
        "training": {
            "seed": seed,
            "max_steps": steps,
            "evaluate_every": max(25, steps // 6),
            "warmup_steps": min(200, steps // 5),
        },
    }
    found = []
    for start, transfer in STARTS.items():
        if share == 1 and start != "pretrained":
            continue  # random weights come from bench-promoter; LoRA is for few labels
        more = {"transfer": {"parent": str(parent), **transfer}} if transfer else {}
        model = study.folder / start.replace(", ", "_").lower()
        run_file = write_run_file(model.with_suffix(".toml"), values | more)
        found.append(Training(share, seed, start, study, run_file, model))
    return found


def split_of(record: Record, split: ChromosomeSplit) -> str:
    """Return the split of a record in the task."""
    if record.chrom in split.valid:
        return "valid"
    return "test" if record.chrom in split.test else "train"


def task_split() -> ChromosomeSplit:
    """Return the split of the promoter task."""
    split = read_run_file(promoter.TASK).split
    assert isinstance(split, ChromosomeSplit)
    return split


def all_labels(seeds: Sequence[int]) -> Iterator[Training]:
    """Yield the models of bench-promoter, which have random weights and all labels."""
    promoter.STUDY.prepare(promoter.TASK)
    for seed in seeds:
        run_file = promoter.write_seed(seed)
        model = run_file.with_name("model")
        yield Training(1.0, seed, "random", promoter.STUDY, run_file, model)


def rows(results: pd.DataFrame) -> Iterator[Row]:
    """Return a row per fraction and start, with differences to random weights."""
    for (share, start), own in results.groupby(["labels", "start"], sort=False):
        random = results[(results["labels"] == share) & (results["start"] == "random")]
        leads = (own.set_index("seed")["test"] - random.set_index("seed")["test"]).tolist()
        yield {
            "labels": f"{share:.0%}",
            "start": str(start),
            "test AUROC by seed": listed(own["test"], 4),
            "mean": f"{mean(own['test']):.4f}",
            "valid, mean": f"{mean(own['valid']):.4f}",
            "test - random by seed": listed(leads, 4, "+"),
            "mean difference": f"{mean(leads):+.4f}",
        }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Train what is missing; write few_labels.csv next to the models."""
    folder = quick_folder(FOLDER, chosen.quick)
    shares, seeds = ({0.01: 4}, (0,)) if chosen.quick else (SHARES, promoter.SEEDS)
    data, split = read_run_file(promoter.TASK).data, task_split()
    classes = {
        name: [record for path in getattr(data, name) or () for record in read_records(path, DNA)]
        for name in ("positives", "negatives")
    }
    own = Study(folder / "pretraining")
    steps = 4 if chosen.quick else PRETRAINING["max_steps"]
    parent = pretraining_of(own, classes, {*split.valid, *split.test}, int(steps))
    trainings = []
    for share, steps in shares.items():
        for seed in seeds:
            study = Study(folder / f"{100 * share:.0f}_seed{seed}")
            trainings += trainings_of(study, share, seed, steps, classes, parent.with_suffix(""))
    studies = {each.study: each.run_file for each in trainings}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: item[0].prepare(item[1]), [(own, parent), *studies.items()]))
        trained(own, parent, parent.with_suffix(""))
        trainings += all_labels(seeds) if 1.0 in shares else ()
        results = pd.DataFrame(list(pool.map(Training.finished, trainings)))
    results["start"] = pd.Categorical(results["start"], list(STARTS))
    results = results.sort_values(["labels", "start", "seed"]).astype({"start": str})
    results.to_csv(folder / "few_labels.csv", index=False)
    yield Table("", rows(results))


if __name__ == "__main__":
    run(__doc__, measure, option("--quick", action="store_true", help="a check of a few steps"))
