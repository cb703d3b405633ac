"""Fit every baseline on folders of train, dev and test tables, and print a table.

The tables have columns sequence and label and the names that benchmarks/accuracy.py accepts. As in
`split`, a record that is also in a split closer to test, on either strand, is left out, and so is
a repeated record of training and validation. Settings are chosen on validation; test is scored
once. MCC is at a probability of 0.5. Seconds are CPU seconds with one thread.

    python benchmarks/baselines.py --database jaspar:vertebrates \\
        ../shared/bench/gue_core_tata ../shared/bench/ecoli70
    python benchmarks/baselines.py --database jaspar:vertebrates --strands both \\
        ../shared/bench/gue_mouse0
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from accuracy import TABLES, find_table
from harness import Row, Table, option, run
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from selfattn_bio.baselines import Setup, suitable
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.copies import find_copies, strand_keys
from selfattn_bio.sequence.policy import SequencePolicy


def read_splits(
    folder: Path, policy: SequencePolicy
) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
    """Read sequences and labels of each split; leave out the copies that `split` leaves out."""
    tables = [
        pd.read_csv(file, sep="\t" if ".tsv" in file.suffixes else ",").assign(split=split)
        for split, names in TABLES.items()
        for file in [find_table(folder, *names)]
    ]
    records = pd.concat(tables, ignore_index=True)
    records["id"] = records.index
    letters = [policy.letters_of(text) for text in records["sequence"]]
    keys = strand_keys(letters, policy.alphabet)
    texts = [row.tobytes() for row in letters]
    copies = find_copies(records, keys, texts, records[["label"]])
    kept = records[~records.index.isin(copies.index) | (records["split"] == "test")]
    return {
        split: ([letters[row] for row in of_split.index], of_split["label"].to_numpy())
        for split, of_split in kept.groupby("split")
    }


def rows(folder: Path, setup: Setup) -> Iterator[Row]:
    """Fit and score each baseline that suits the records."""
    splits = read_splits(folder, setup.policy)
    for kind, obstacle in suitable(setup, splits["train"][0]):
        if obstacle:
            print(f"{folder.name}: {kind.name} left out: {obstacle}", flush=True)
            continue
        start = time.process_time()
        baseline = kind(setup).fit(*splits["train"], *splits["valid"])
        seconds = time.process_time() - start
        valid, test = (
            (splits[split][1], baseline.logits(splits[split][0])) for split in ("valid", "test")
        )
        yield {
            "set": folder.name,
            "baseline": kind.name,
            "MCC on validation": f"{matthews_corrcoef(valid[0], valid[1] > 0):.3f}",
            "MCC on test": f"{matthews_corrcoef(test[0], test[1] > 0):.3f}",
            "AUROC on test": f"{roc_auc_score(*test):.3f}",
            "seconds": f"{seconds:.0f}",
            "chosen on validation": ", ".join(
                f"{name} {value}" for name, value in baseline.chosen().items()
            ),
        }


def measure(chosen: argparse.Namespace) -> Iterator[Table]:
    """Fit the baselines on each folder."""
    policy = SequencePolicy(get_alphabet(chosen.alphabet))
    setup = Setup(policy, chosen.strands, chosen.database, threads=1)
    yield Table("", (row for folder in chosen.folders for row in rows(folder, setup)))


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    run(
        __doc__,
        measure,
        option(
            "folders",
            nargs="+",
            type=Path,
            metavar="FOLDER",
            help="with tables train, dev (or valid, val, validation) and test: .csv or .tsv, also "
            ".gz",
        ),
        option("--alphabet", choices=("dna", "protein"), default="dna"),
        option(
            "--database",
            default="none",
            metavar="NAME",
            help="motif database, as in [interpret] (default: none)",
        ),
        option(
            "--strands",
            choices=("given", "both"),
            default="given",
            help="strands that k-mers are counted on",
        ),
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
