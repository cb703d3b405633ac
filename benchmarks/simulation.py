"""Simulate sequences with motifs planted at known positions, from the rules of a grammar.

A grammar (benchmarks/grammars/) is a TOML file. Positives have all of its [sites] and [pairs], or
a random selection of `elements` of them. The two motifs of a pair lie at a distance (`spacing`),
each is present with probability `presence`, and one of `bystanders` may lie next to the pair. Each
negative is made from a positive that is not in the data set, so records are independent:

- shuffled: dinucleotide shuffle of the bases
- half_pair: one half of each pair is missing; with `others = "left_out"` half of one pair is left
- swapped_pair: the second half of each pair is that of another pair
- thinned: each site is kept with probability `keep`

The bases of a site are sampled position by position from the probabilities of the motif.

With `alphabet = "protein"`, motifs are patterns such as `PKK[KR]RKV`, sites are on one strand, and
positions of a pattern with any residue keep the background, which has the composition of
Swiss-Prot.
"""

from __future__ import annotations

import gzip
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.files import whole_folder
from selfattn_bio.motifs import matrix_of, open_database
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, Alphabet
from selfattn_bio.sequence.shuffle import shuffle_letters

DATABASE, LENGTH, RECORDS = "jaspar:vertebrates", 200, 24_000
PROTEIN_LENGTH, PROTEINS = 100, 4_000  # residues and records
# percentages of the residues in Swiss-Prot, in the order of the alphabet
COMPOSITION = np.fromstring(
    "8.3 1.4 5.5 6.7 3.9 7.1 2.3 5.9 5.8 9.7 2.4 4.1 4.7 3.9 5.5 6.6 5.4 6.9 1.1 2.9", sep=" "
)
KINDS = ("shuffled", "thinned", "half_pair", "swapped_pair")  # in the order of the records
STRANDS = {"+": "-", "-": "+"}
Generator = np.random.Generator
Row = NDArray[np.uint8]
Ppms = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Site:
    """A motif in a record; `half` is its number in a pair, `planted` False leaves it out."""

    motif: str
    strand: str
    half: int = 0
    planted: bool = True


@dataclass(frozen=True)
class Block:
    """Sites from left to right with the number of bases between them, and the name of a pair."""

    sites: tuple[Site, ...]
    gaps: tuple[int, ...] = ()
    pair: str = ""

    @property
    def halves(self) -> list[int]:
        """Return the indices of the sites that are halves of a pair."""
        return [i for i, site in enumerate(self.sites) if site.half]

    def without(self, removed: list[int]) -> Block:
        """Return the block with the background in place of the sites with these indices."""
        sites = enumerate(self.sites)
        left = (replace(site, planted=site.planted and i not in removed) for i, site in sites)
        return replace(self, sites=tuple(left))


@dataclass(frozen=True)
class Grammar:
    """The content of a grammar."""

    rules: dict[str, Any]

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet; DNA if the grammar names none."""
        return PROTEIN if self.rules.get("alphabet") == PROTEIN.name else DNA

    @property
    def sites(self) -> dict[str, dict[str, Any]]:
        """Return the rules of [sites] by name."""
        return self.rules.get("sites", {})

    @property
    def pairs(self) -> dict[str, dict[str, Any]]:
        """Return the rules of [pairs] by name."""
        return self.rules.get("pairs", {})

    @property
    def motifs(self) -> list[str]:
        """Return the labels of all motifs in order, without duplicates."""
        labels = [site["motifs"] for site in self.sites.values()]
        for pair in self.pairs.values():
            labels += [pair[key] for key in ("first", "second", "bystanders") if key in pair]
        return list(dict.fromkeys(labels))

    def positive(self, rng: Generator) -> list[Block]:
        """Sample the blocks of a positive."""
        names = [*self.sites, *self.pairs]
        if elements := self.rules.get("elements"):
            chosen = rng.choice(len(names), sample_integer(elements, rng), replace=False)
            names = [names[i] for i in sorted(chosen)]
        blocks = []
        for name in names:
            if name in self.pairs:
                blocks.append(self.pair(name, rng))
            else:
                rule = self.sites[name]
                blocks += [
                    Block((Site(rule["motifs"], self.strand(rng)),))
                    for _ in range(sample_integer(rule["number"], rng))
                ]
        return blocks

    def strand(self, rng: Generator) -> str:
        """Sample a strand; proteins have one."""
        return sample_strand(rng) if self.alphabet.has_complement else "+"

    def pair(self, name: str, rng: Generator) -> Block:
        """Sample a pair, with its bystander if it has one."""
        rule = self.pairs[name]
        sites = [
            Site(rule[key], "+", half, planted=bool(rng.random() < rule.get("presence", 1)))
            for half, key in ((1, "first"), (2, "second"))
        ]
        if sample_strand(rng) == "-":
            sites = [replace(site, strand=STRANDS[site.strand]) for site in reversed(sites)]
        if "bystanders" in rule:
            at = 2 * int(rng.integers(2))
            sites.insert(at, Site(rule["bystanders"], sample_strand(rng)))
        gaps = tuple(sample_integer(rule["spacing"], rng) for _ in sites[1:])
        return Block(tuple(sites), gaps, name)

    def negative(self, kind: str, rng: Generator) -> list[Block]:
        """Sample the blocks of a kind of negatives; those of `shuffled` are shuffled later."""
        blocks, rule = self.positive(rng), self.rules["negatives"][kind]
        if kind == "thinned":
            return [
                block.without([i for i in range(len(block.sites)) if rng.random() >= rule["keep"]])
                for block in blocks
            ]
        if kind == "half_pair":
            if rule.get("others") == "left_out":
                blocks = [self.pair(list(self.pairs)[int(rng.integers(len(self.pairs)))], rng)]
            return [
                block.without([block.halves[int(rng.integers(2))]]) if block.pair else block
                for block in blocks
            ]
        if kind == "swapped_pair":
            return [self._swapped(block, rng) if block.pair else block for block in blocks]
        return blocks

    def _swapped(self, block: Block, rng: Generator) -> Block:
        others = [pair["second"] for name, pair in self.pairs.items() if name != block.pair]
        foreign = others[int(rng.integers(len(others)))]
        sites = (replace(site, motif=foreign) if site.half == 2 else site for site in block.sites)
        return Block(tuple(sites), block.gaps)


def read_grammar(path: Path) -> Grammar:
    """Read a grammar."""
    return Grammar(tomllib.loads(path.read_text(encoding="utf-8")))


def sample_integer(limits: int | list[int], rng: Generator) -> int:
    """Sample an integer from [min, max], both included; a single number is returned."""
    return limits if isinstance(limits, int) else int(rng.integers(limits[0], limits[1] + 1))


def sample_strand(rng: Generator) -> str:
    """Sample "+" or "-"."""
    return "+-"[int(rng.integers(2))]


def simulate(
    grammar: Grammar, seed: int = 0, records: int = RECORDS
) -> tuple[pd.Series, NDArray[np.uint8], pd.DataFrame]:
    """Sample the records of a grammar, half of them positives.

    Returns
    -------
    Ids, which start with "positive" or the kind of negative; ASCII letters, (n, L); and one row
    per planted site, sorted by record and start: id, start, end (0-based half-open), motif, strand,
    pair. `pair` is the name of a complete pair, else empty.
    """
    rng, alphabet = np.random.default_rng(seed), grammar.alphabet
    if alphabet.has_complement:
        database, length = open_database(DATABASE), LENGTH
        ppms = {label: database[label] for label in grammar.motifs}
        gc = grammar.rules["background"]["gc"]
        chances = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    else:
        length, chances = PROTEIN_LENGTH, COMPOSITION / COMPOSITION.sum()
        ppms = {label: matrix_of(label, alphabet) for label in grammar.motifs}
    own = np.frombuffer(alphabet.letters.encode(), np.uint8)
    negatives = grammar.rules["negatives"]
    fractions = {kind: negatives[kind]["fraction"] for kind in sorted(negatives, key=KINDS.index)}
    ends = np.rint(np.cumsum([0.5, *(fraction / 2 for fraction in fractions.values())]) * records)
    numbers = np.diff(ends.astype(int), prepend=0)
    kinds = np.repeat(["positive", *fractions], numbers)
    digits = len(str(records))
    ids = [f"{kind}_{at:0{digits}d}" for kind, at in zip(kinds, _ranks(numbers), strict=True)]
    letters, sites = np.empty((records, length), np.uint8), []
    for row, kind in enumerate(kinds):
        is_positive = kind == "positive"
        blocks = grammar.positive(rng) if is_positive else grammar.negative(kind, rng)
        letters[row] = own[rng.choice(len(own), length, p=chances)]
        placed = list(_plant(letters[row], blocks, ppms, rng))
        if kind == "shuffled":
            letters[row], placed = shuffle_letters(letters[row], 2, rng), []
        sites += [(ids[row], *site) for site in sorted(placed)]
    columns = ["id", "start", "end", "motif", "strand", "pair"]
    return pd.Series(ids), letters, pd.DataFrame(sites, columns=columns)


def _ranks(numbers: NDArray[np.int64]) -> Iterator[int]:
    for number in numbers:
        yield from range(number)


def _plant(
    letters: Row, blocks: list[Block], ppms: Ppms, rng: Generator
) -> Iterator[tuple[int, int, str, str, str]]:
    """Plant blocks in `letters`; all arrangements without overlap are equally likely.

    Yields start, end, motif, strand and pair of each site.
    """
    widths = [sum(len(ppms[site.motif]) for site in block.sites) for block in blocks]
    widths = [width + sum(block.gaps) for width, block in zip(widths, blocks, strict=True)]
    number, free = len(blocks), len(letters) - sum(widths)
    starts = np.sort(rng.choice(free + number, number, replace=False)) - np.arange(number)
    taken = 0
    for free_before, at in zip(starts.tolist(), rng.permutation(number).tolist(), strict=True):
        block, start = blocks[at], free_before + taken
        taken += widths[at]
        is_complete = bool(block.pair) and all(block.sites[half].planted for half in block.halves)
        for site, gap in zip(block.sites, (*block.gaps, 0), strict=True):
            end = start + len(ppms[site.motif])
            if site.planted:
                letters[start:end] = _sample_site(
                    ppms[site.motif], site.strand, rng, letters[start:end]
                )
                pair = block.pair if is_complete and site.half else ""
                yield start, end, site.motif, site.strand, pair
            start = end + gap


def _sample_site(ppm: NDArray[np.float64], strand: str, rng: Generator, before: Row) -> Row:
    """Sample a site from (width, A) probabilities: (width,) ASCII as the record reads.

    Proteins keep the residue before where any is possible.
    """
    size = ppm.shape[1]
    alphabet = DNA if size == len(DNA.letters) else PROTEIN
    below = ppm.cumsum(axis=1)[:, :-1]
    u = rng.random(len(ppm))[:, None] * ppm.sum(axis=1, keepdims=True)
    site = np.frombuffer(alphabet.letters.encode(), np.uint8)[(u >= below).sum(axis=1)]
    if alphabet == PROTEIN:
        return np.where(ppm.max(axis=1) > 1.5 / size, site, before)
    return DNA.reverse_complement(site) if strand == "-" else site


def write_data(grammar: Grammar, folder: Path, seed: int = 0, records: int = RECORDS) -> None:
    """Write the simulated records and truth.tsv."""
    ids, letters, truth = simulate(grammar, seed, records)
    is_positive = ids.str.startswith("positive").to_numpy()
    with whole_folder(folder) as temporary:
        for name, rows in (("positives", is_positive), ("negatives", ~is_positive)):
            pairs = zip(ids[rows], letters[rows], strict=True)
            text = "".join(f">{name}\n{row.tobytes().decode()}\n" for name, row in pairs)
            (temporary / f"{name}.fa.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        truth.to_csv(temporary / "truth.tsv", sep="\t", index=False)


def settings_of(grammar: Grammar, folder: Path) -> dict[str, Any]:
    """Return the content of a run file for the data in a folder.

    The model is a convolution of width 11 with pooling by 4, then the default encoder. For proteins
    it has width 9 and one position per residue.
    """
    is_dna = grammar.alphabet.has_complement
    stem = {"kind": "conv", "token_dim": 16, "kernel": 11, "pool": 4, "second_kernel": 3}
    stem |= {} if is_dna else {"kernel": 9, "pool": 1}
    model = {"kind": "attention", "members": 1, "dropout": 0.0, "stem": stem}
    return {
        "title": grammar.rules["title"],
        "data": {"alphabet": grammar.alphabet.name}
        | {name: f"{folder}/{name}.fa.gz" for name in ("positives", "negatives")},
        "split": {"kind": "random"},
        "tokens": {"k": 1},
        "model": model | {"head": {"kind": "pooling", "parts": 1}},  # a motif may be anywhere
        "training": {
            "max_steps": 1500 if is_dna else 600,
            "learning_rate": 4e-3,
            "shift": 0,
            "reverse_complement": is_dna,
        },
        "interpret": {"database": DATABASE} if is_dna else {},
        "variants": {},
    }
