"""Lengths of the records and batches of a run, as far as its plan needs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfattn_bio import config
from selfattn_bio.data.batches import BatchOrder, RecordWindows
from selfattn_bio.data.corpus import Corpus
from selfattn_bio.scoring.scorer import BATCH_LETTERS
from selfattn_bio.sequence.splits import assign_splits, split_by_region

SPREAD = 8  # number of lengths that represent the lengths of all batches


@dataclass(frozen=True)
class Lengths:
    """Store how long the records of a run are.

    Parameters
    ----------
    longest
        Bases or residues of the longest record or window.
    spread
        Lengths that represent those of all batches, as fractions of `longest`, rising to 1.
    valid
        Total length of the validation split; None if unknown.
    scored
        Length of the validation split that is scored in one batch, padding included.
    corpus
        Folder that the training opens.
    letters
        Total length of the corpus. Training maps it into memory, and the system counts what was
        read as resident.
    """

    longest: int
    spread: tuple[float, ...] = (1.0,) * SPREAD
    valid: int | None = None
    scored: int = BATCH_LETTERS
    corpus: Path | None = None
    letters: int = 0

    @classmethod
    def of(cls, run: config.RunFile, corpus: Corpus) -> Lengths:
        """Compute the lengths of a corpus, with approximately the splits that its run will have."""
        lengths = corpus.records["length"].to_numpy()
        valid, test = split_masks(run.split, corpus)
        train = lengths[~(valid | test)] if (~(valid | test)).any() else lengths
        of_train, of_valid = (
            RecordWindows(of_split, run.training.window) for of_split in (train, lengths[valid])
        )
        sampled = of_train.sampled_lengths()
        longest = min(int(lengths.max()), run.training.window or int(lengths.max()))
        batches = BatchOrder(sampled, run.training.batch_size, run.training.seed).epoch(0)
        fractions = (
            np.quantile(
                [sampled[rows].max() for rows in batches], (np.arange(SPREAD) + 0.5) / SPREAD
            )
            / longest
        )
        spread = (*fractions[:-1].tolist(), 1.0)
        measured = int(lengths[valid].sum())
        if run.training.window:
            _, starts, ends = of_valid.laid()
            measured = int((ends - starts).sum())
        scored = min(BATCH_LETTERS, len(of_valid) * longest)
        return cls(longest, spread, measured, scored, corpus.path, int(lengths.sum()))


def split_masks(split: config.AnySplit, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the validation and test records; random splits are approximate."""
    if isinstance(split, config.ChromosomeSplit):
        named = dict.fromkeys(split.valid, "valid") | dict.fromkeys(split.test, "test")
        names = corpus.records["chrom"].map(named)
    elif isinstance(split, config.RegionSplit):
        regions = config.regions(split.valid), config.regions(split.test)
        names = split_by_region(corpus.records, *regions)["split"]
    elif isinstance(split, config.ColumnSplit | config.FilesSplit):
        names = assign_splits(corpus.column(split.column), split.splits)
    else:
        rank = np.random.default_rng(split.seed).permutation(len(corpus)) / len(corpus)
        return rank < split.valid_fraction, rank >= 1 - split.test_fraction
    return (names == "valid").to_numpy(bool), (names == "test").to_numpy(bool)
