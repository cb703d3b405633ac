"""Fit every baseline on folders of train, dev and test tables, and print a table.

The tables are CSV files with columns sequence and label. Train and dev records that are also in
test, on either strand, are left out. Settings are chosen on dev; test is scored once. MCC is at a
probability of 0.5. Seconds are CPU seconds with one thread.

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
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from selfattn_bio.baselines import Setup, suitable
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.splits import strand_keys

COLUMNS = (
    "set",
    "baseline",
    "MCC on dev",
    "MCC on test",
    "AUROC on test",
    "seconds",
    "chosen on dev",
)


def read_splits(
    folder: Path, policy: SequencePolicy
) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
    """Read sequences and labels of each split; leave test sequences out of train and dev."""
    tables = {
        split: pd.read_csv(next(folder.glob(f"{split}.csv*"))) for split in ("test", "train", "dev")
    }
    found, keys = {}, set()
    for split, table in tables.items():
        letters = [policy.letters_of(text) for text in table["sequence"]]
        of_split = list(strand_keys(letters, policy.alphabet))
        kept = [row for row, key in enumerate(of_split) if key not in keys]
        keys |= set(of_split) if split == "test" else set()
        found[split] = [letters[row] for row in kept], table["label"].to_numpy()[kept]
    return found


def rows(folder: Path, setup: Setup) -> Iterator[tuple[str, ...]]:
    """Fit and score each baseline that suits the records."""
    splits = read_splits(folder, setup.policy)
    for kind, obstacle in suitable(setup, splits["train"][0]):
        if obstacle:
            print(f"{folder.name}: {kind.name} left out: {obstacle}", flush=True)
            continue
        start = time.process_time()
        baseline = kind(setup).fit(*splits["train"], *splits["dev"])
        seconds = time.process_time() - start
        scored = [
            (splits[split][1], baseline.logits(splits[split][0])) for split in ("dev", "test")
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
        help="with train.csv, dev.csv and test.csv, plain or gz",
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
