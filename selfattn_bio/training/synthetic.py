"""Write random records with targets, on which training steps can be measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio import config
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.data.ingest import build_corpus
from selfattn_bio.data.writer import Rules
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
    binary = run.objective.kind == "binary"
    files = [folder / "0.fa", folder / "1.fa"] if binary else [folder / "0.fa"]
    for number, file in enumerate(files):
        names = list(wanted)[number :: len(files)]
        intervals = (
            f" chrom={name} start=0 end={wanted[name]}" if run.objective.kind == "bins" else ""
            for name in names
        )
        rows = (rng.choice(letters, wanted[name]).tobytes().decode() for name in names)
        records = (
            f">{name}{interval}\n{row}\n"
            for name, interval, row in zip(names, intervals, rows, strict=True)
        )
        file.write_text("".join(records), encoding="ascii")
    targets = _targets(run.objective, list(wanted.values()), rng)
    table = None
    if targets:
        table = folder / "targets.tsv"
        pd.DataFrame({"id": list(wanted), **targets}).to_csv(table, sep="\t", index=False)
    sources = [(file, number if binary else None) for number, file in enumerate(files)]
    corpus = build_corpus(sources, folder / "corpus", Rules(alphabet), table)
    split = pd.DataFrame(
        {
            "id": corpus.records["id"],
            "split": corpus.records["id"].str.partition("-")[0],
            "reason": "",
        }
    )
    split.to_csv(folder / "split.tsv", sep="\t", index=False)
    return corpus, folder / "split.tsv"


def with_points(run: config.RunFile, folder: Path) -> config.RunFile:
    """Return the run; for objective bins, with synthetic points.

    There is one point on the first record of each split.
    """
    if not isinstance(run.objective, config.BinsObjective):
        return run
    path = folder / "points.bed"
    path.write_text("train-0\t0\t1\t.\t0\t+\nvalid-0\t0\t1\t.\t0\t-\n", encoding="ascii")
    return run.model_copy(
        update={"objective": run.objective.model_copy(update={"points": str(path)})}
    )


def _targets(
    objective: config.AnyObjective, lengths: list[int], rng: np.random.Generator
) -> dict[str, list]:
    """Return columns of synthetic targets, one value per record."""
    number = len(lengths)
    match objective:
        case config.MulticlassObjective(column=column, classes=classes):
            names = classes or ("a", "b")
            return {column: [names[i % len(names)] for i in range(number)]}
        case (
            config.MultilabelObjective(columns=columns)
            | config.RegressionObjective(columns=columns)
        ):
            return {column: [i // 2 % 2 for i in range(number)] for column in columns}
        case config.SeveralObjective(parts=parts):
            return {
                column: values
                for part in parts.values()
                for column, values in _targets(part, lengths, rng).items()
            }
        case config.LabelsObjective(column=column, classes=text):
            return {column: ["".join(rng.choice(list(text), length)) for length in lengths]}
        case _:
            return {}
