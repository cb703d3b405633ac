"""Simulate sequences with known motifs from a grammar, and write them to files.

`selfattn-bio simulate` writes sequences, the truth and a run file that trains on them. The bases
of a site are sampled position by position from the probabilities in the database. Sites are
therefore as variable as the motif, and a base with probability 0 never occurs.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from selfattn_bio.config.writing import toml_value
from selfattn_bio.display import counted
from selfattn_bio.errors import GrammarError
from selfattn_bio.files import check_replaceable, whole_folder
from selfattn_bio.interpret.formats import write_bed
from selfattn_bio.interpret.grammar import Grammar, read_grammar
from selfattn_bio.interpret.grammar_parts import (
    BackgroundModel,
    Blocks,
    IndependentLetters,
    MarkovLetters,
    Ppms,
    Shuffled,
)
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.shuffle import shuffle_letters

__all__ = ["Grammar", "Simulation", "read_grammar", "simulate"]

POSITIVES, NEGATIVES = "positives.fa.gz", "negatives.fa.gz"
TRUTH, BED, RECORDS = "truth.tsv", "truth.bed", "records.tsv"
GRAMMAR, TASK = "grammar.toml", "task.toml"
PLACED = ["id", "label", "kind", "motif", "start", "end", "strand", "pair"]
ACGT = np.frombuffer(DNA.letters.encode(), np.uint8)
Row = NDArray[np.uint8]

# The model that docs/interpretation.md uses to compare attribution methods: a convolution of width
# 11 with pooling by 4, then the default encoder.
TASK_TEXT = """# Trains on the sequences in this folder. Unnamed keys use their defaults.
title = {title}

[data]
positives = {positives}
negatives = {negatives}

[split]
kind = "random"  # records are independent: no negative was made from a positive

[tokens]
k = 1

[model]
kind = "attention"
members = 1
dropout = 0.0
stem = {{ kind = "conv", token_dim = 16, kernel = 11, pool = 4, second_kernel = 3 }}
head = {{ kind = "pooling", parts = 1 }}  # a motif may be anywhere

[training]
max_steps = 1500
learning_rate = 4e-3
shift = 0
reverse_complement = true

[interpret]
database = {database}
"""


@dataclass(frozen=True)
class Simulation:
    """Records of a grammar and the sites planted in them.

    Attributes
    ----------
    records
        One row per record, positives first: id, label (1 or 0), kind (positive, or the section of
        [negatives]).
    letters
        (n, L) ASCII, in the order of `records`.
    truth
        One row per planted site, in the order of `records`, sorted by start: id, label, kind,
        motif (label in the database), start, end (0-based half-open), strand, pair. `pair` is the
        name of the pair if both halves are present and arranged as required, else empty. Each pair
        occurs at most once in a record.
    """

    grammar: Grammar
    records: pd.DataFrame
    letters: Row
    truth: pd.DataFrame

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{count} {kind}"
            for kind, count in self.records["kind"].value_counts(sort=False).items()
        )
        records = counted(len(self.records), "record")
        return f"Simulation of {records} ({counts}) with {counted(len(self.truth), 'site')}"

    def save(self, folder: str | Path) -> None:
        """Write the simulation to a folder.

        Files: positives.fa.gz, negatives.fa.gz, truth.tsv, truth.bed (BED6), records.tsv,
        grammar.toml and task.toml, a run file.

        Raises
        ------
        OutputError
            If the folder contains other files, which would be replaced.
        """
        check_output(folder)
        with whole_folder(folder) as temporary:
            for name, label in ((POSITIVES, 1), (NEGATIVES, 0)):
                (temporary / name).write_bytes(gzip.compress(self._fasta(label), mtime=0))
            for name, table in ((TRUTH, self.truth), (RECORDS, self.records)):
                table.to_csv(temporary / name, sep="\t", index=False, lineterminator="\n")
            sites = self.truth.rename(columns={"id": "chrom", "motif": "name"}).assign(score=1000)
            write_bed(temporary / BED, sites)
            (temporary / GRAMMAR).write_text(
                tomli_w.dumps(self.grammar.model_dump(exclude_none=True)), encoding="utf-8"
            )
            (temporary / TASK).write_text(self._task(Path(folder)), encoding="utf-8")

    def _fasta(self, label: int) -> bytes:
        rows = np.flatnonzero(self.records["label"] == label)
        return "".join(
            f">{self.records['id'][row]}\n{self.letters[row].tobytes().decode()}\n" for row in rows
        ).encode()

    def _task(self, folder: Path) -> str:
        values = {
            "title": self.grammar.title or "Made sequences",
            "database": self.grammar.database,
        }
        values |= {"positives": str(folder / POSITIVES), "negatives": str(folder / NEGATIVES)}
        return TASK_TEXT.format(**{name: toml_value(value) for name, value in values.items()})


def check_output(folder: str | Path) -> None:
    """Raise an error unless a simulation may be written there; see `files.check_replaceable`."""
    check_replaceable(
        folder, "simulation", (POSITIVES, NEGATIVES, TRUTH, BED, RECORDS, GRAMMAR, TASK), GRAMMAR
    )


def simulate(grammar: Grammar, seed: int) -> Simulation:
    """Sample the records of a grammar.

    Half of the records are positives. Each negative is made from a positive that is sampled for
    this purpose and is not among the records. Records are therefore independent, and a random split
    has no leakage. The same grammar and seed give the same records.

    Parameters
    ----------
    grammar
        From `read_grammar`.
    seed
        >= 0.

    Raises
    ------
    GrammarError
        If sequences for the background are given, but none is long enough and only ACGT.
    DatabaseError, SequenceFileError
        If a file named in the grammar cannot be read.
    ValueError
        If the grammar was not read by `read_grammar` and names motifs that are not in its database.
    """
    rng = np.random.default_rng(seed)
    ppms, background = grammar.ppms(), background_of(grammar.background, grammar.length)
    records = _kinds_of(grammar)
    letters, sites = np.empty((len(records), grammar.length), np.uint8), []
    for row, kind in enumerate(records["kind"]):
        negative = grammar.negatives.kinds.get(kind)
        blocks = grammar.positive(rng)
        if negative:
            blocks = negative.to_negative(blocks, grammar, rng)
        letters[row], placed = _planted(background(rng), blocks, ppms, rng)
        if isinstance(negative, Shuffled):
            letters[row], placed = shuffle_letters(letters[row], negative.k, rng), []
        sites += [(row, *site) for site in sorted(placed)]
    found = pd.DataFrame(sites, columns=["row", "start", "end", "motif", "strand", "pair"])
    truth = records.loc[found["row"]].reset_index(drop=True).join(found)[PLACED]
    return Simulation(grammar, records, letters, truth)


def _kinds_of(grammar: Grammar) -> pd.DataFrame:
    """Return id, label and kind of each record.

    Counts are rounded down; the remaining records go to the kinds with the largest remainders.
    """
    positives = grammar.records // 2
    fractions = {name: kind.fraction for name, kind in grammar.negatives.kinds.items()}
    wanted = np.array(list(fractions.values())) * (grammar.records - positives)
    counts = np.floor(wanted).astype(int)
    counts[
        np.argsort(counts - wanted, kind="stable")[: grammar.records - positives - counts.sum()]
    ] += 1
    numbers = {"positive": positives, **dict(zip(fractions, counts.tolist(), strict=True))}
    digits = len(str(grammar.records))
    rows = [
        (f"{kind}_{at:0{digits}d}", int(kind == "positive"), kind)
        for kind, number in numbers.items()
        for at in range(number)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "kind"])


def background_of(rule: BackgroundModel, length: int) -> Callable[[np.random.Generator], Row]:
    """Return a function that samples `length` background bases as ASCII.

    Raises
    ------
    GrammarError
        If sequences are given, but none has `length` bases and only ACGT.
    SequenceFileError
        If their file cannot be read.
    """
    if isinstance(rule, IndependentLetters):
        chances = np.array([1 - rule.gc, rule.gc, rule.gc, 1 - rule.gc]) / 2
        return lambda rng: ACGT[rng.choice(4, length, p=chances)]
    if isinstance(rule, MarkovLetters):
        return _chain(rule, length)
    sources = [record.letters for record in read_records(rule.sequences, DNA)]
    fit = [row for row in sources if len(row) >= length and (DNA.codes(row) < 4).all()]
    if not fit:
        message = (
            f"none of the {len(sources)} background sequences has at least {length} bp and only "
            "ACGT"
        )
        raise GrammarError(
            message, place=rule.sequences, hint="Choose a shorter length or another file"
        )

    def shuffled(rng: np.random.Generator) -> Row:
        row = fit[int(rng.integers(len(fit)))]
        start = int(rng.integers(len(row) - length + 1))
        return shuffle_letters(row[start : start + length], rule.k, rng)

    return shuffled


def _chain(rule: MarkovLetters, length: int) -> Callable[[np.random.Generator], Row]:
    # cumulative probabilities: the index of a base sampled with u is the number of limits <= u
    below = rule.transitions.cumsum(axis=1)[:, :3].tolist()
    first = np.cumsum([(1 - rule.gc) / 2, rule.gc / 2, rule.gc / 2]).tolist()

    def sample(rng: np.random.Generator) -> Row:
        limits, codes = first, []
        for u in rng.random(length).tolist():
            code = (u >= limits[0]) + (u >= limits[1]) + (u >= limits[2])
            codes.append(code)
            limits = below[code]
        return ACGT[codes]

    return sample


def _planted(
    letters: Row, blocks: Blocks, ppms: Ppms, rng: np.random.Generator
) -> tuple[Row, list[tuple[int, int, str, str, str]]]:
    """Plant the blocks at random positions; all arrangements without overlap are equally likely.

    Returns the letters and start, end, motif, strand and pair of each site.
    """
    placed = []
    widths = [block.width(ppms) for block in blocks]
    free = len(letters) - sum(widths)
    # positions within the letters between blocks
    starts = np.sort(rng.choice(free + len(blocks), len(blocks), replace=False)) - np.arange(
        len(blocks)
    )
    taken = 0
    for free_before, at in zip(starts.tolist(), rng.permutation(len(blocks)).tolist(), strict=True):
        block, start = blocks[at], free_before + taken
        taken += widths[at]
        is_complete = bool(block.pair) and all(block.sites[half].planted for half in block.halves)
        for site, gap in zip(block.sites, (*block.gaps, 0), strict=True):
            end = start + len(ppms[site.motif])
            if site.planted:
                letters[start:end] = sample_site(ppms[site.motif], site.strand, rng)
                placed.append(
                    (
                        start,
                        end,
                        site.motif,
                        site.strand,
                        block.pair if is_complete and site.half else "",
                    )
                )
            start = end + gap
    return letters, placed


def sample_site(ppm: NDArray[np.float64], strand: str, rng: np.random.Generator) -> Row:
    """Sample a site from (width, 4) probabilities: (width,) ASCII as the record reads."""
    below = ppm.cumsum(axis=1)[:, :3]
    site = ACGT[
        (rng.random(len(ppm))[:, None] * ppm.sum(axis=1, keepdims=True) >= below).sum(axis=1)
    ]
    return DNA.reverse_complement(site) if strand == "-" else site
