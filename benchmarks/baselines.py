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
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from selfattn_bio.baselines import Setup, suitable
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.copies import find_copies, strand_keys
from selfattn_bio.sequence.policy import SequencePolicy

COLUMNS = (
    "set",
    "baseline",
    "MCC on validation",
    "MCC on test",
    "AUROC on test",
    "seconds",
    "chosen on validation",
)


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


def rows(folder: Path, setup: Setup) -> Iterator[tuple[str, ...]]:
    """Fit and score each baseline that suits the records."""
    splits = read_splits(folder, setup.policy)
    for kind, obstacle in suitable(setup, splits["train"][0]):
        if obstacle:
            print(f"{folder.name}: {kind.name} left out: {obstacle}", flush=True)
            continue
        start = time.process_time()
        baseline = kind(setup).fit(*splits["train"], *splits["valid"])
        seconds = time.process_time() - start
        scored = [
            (splits[split][1], baseline.logits(splits[split][0])) for split in ("valid", "test")
        ]
        mcc = [f"{matthews_corrcoef(labels, logits > 0):.3f}" for labels, logits in scored]
        chosen = ", ".join(f"{name} {value}" for name, value in baseline.chosen().items())
        yield (
            folder.name,
            kind.name,
            *mcc,
            f"{roc_auc_score(*scored[1]):.3f}",
            f"{seconds:.0f}",
            chosen,
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="with tables train, dev (or valid, val, validation) and test: .csv or .tsv, also .gz",
    )
    parser.add_argument("--alphabet", choices=("dna", "protein"), default="dna")
    parser.add_argument(
        "--database",
        default="none",
        metavar="NAME",
        help="motif database, as in [interpret] (default: none)",
    )
    parser.add_argument(
        "--strands",
        choices=("given", "both"),
        default="given",
        help="strands that k-mers are counted on",
    )
    options = parser.parse_args(arguments)
    setup = Setup(
        SequencePolicy(get_alphabet(options.alphabet)), options.strands, options.database, threads=1
    )
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for folder in options.folders:
        for row in rows(folder, setup):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
