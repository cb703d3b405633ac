"""Write random records with targets, on which training steps can be measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import RecordRules
from selfattn_bio.objectives import objective_of
from selfattn_bio.sequence.alphabet import get_alphabet


def synthetic_corpus(
    run: config.RunFile, lengths: list[int], scored: int, folder: Path
) -> tuple[Corpus, Path]:
    """Write a corpus of random records with targets for the objective, and its split.

    It has one training batch of each length, and about `scored` bases or residues for validation,
    in records of the last length.
    """
    rng, alphabet = np.random.default_rng(0), get_alphabet(run.data.alphabet)
    train = [
        length
        for length in lengths
        for _ in range(max(run.training.batch_size, math.ceil(2 / len(lengths))))
    ]
    wanted = {f"train-{i}": length for i, length in enumerate(train)}
    wanted |= {f"valid-{i}": lengths[-1] for i in range(max(2, scored // lengths[-1]))}
    letters = np.frombuffer(alphabet.letters.encode(), np.uint8)
    objective = objective_of(run.objective)
    labelled, has_places = objective.is_labelled, objective.outputs_per == "position"
    files = [folder / "0.fa", folder / "1.fa"] if labelled else [folder / "0.fa"]
    for number, file in enumerate(files):
        names = list(wanted)[number :: len(files)]
        intervals = (
            f" chrom={name} start=0 end={wanted[name]}" if has_places else "" for name in names
        )
        rows = (rng.choice(letters, wanted[name]).tobytes().decode() for name in names)
        records = (
            f">{name}{interval}\n{row}\n"
            for name, interval, row in zip(names, intervals, rows, strict=True)
        )
        file.write_text("".join(records), encoding="ascii")
    targets = objective.synthetic(list(wanted.values()), rng)
    table = None
    if targets:
        table = folder / "targets.tsv"
        pd.DataFrame({"id": list(wanted), **targets}).to_csv(table, sep="\t", index=False)
    sources = [(file, number if labelled else None) for number, file in enumerate(files)]
    corpus = build_corpus(sources, folder / "corpus", RecordRules(alphabet), table)
    split = pd.DataFrame(
        {
            "id": corpus.records["id"],
            "split": corpus.records["id"].str.partition("-")[0],
            "reason": "",
        }
    )
    split.to_csv(folder / "split.tsv", sep="\t", index=False)
    return corpus, folder / "split.tsv"
