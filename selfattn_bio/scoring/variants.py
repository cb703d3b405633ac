"""What a variant does to a model's score: the window with the reference allele against the window with the alternative.

Hides: where a window lies, what an indel pulls in, chromosome ends, and batches. DNA, positives against negatives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.errors import ArgumentError, VariantFileError
from selfattn_bio.evaluation.summary import spread
from selfattn_bio.scoring.origin import Model, Origin, origin_of
from selfattn_bio.scoring.regions import Region
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.vcf import NO_LETTERS, Variant, VcfFile

BATCH = 256  # lines whose windows are held and scored at once
SCORED, MISMATCH, NO_ALLELE, NO_WINDOW, MASKED = "scored", "reference_mismatch", "no_allele", "no_window", "soft_masked"
MEANING = {  # of a status, in words
    SCORED: "scored",
    MISMATCH: "not scored: REF is not what the genome holds",
    NO_ALLELE: "not scored: ALT is . or *",
    NO_WINDOW: "not scored: too long for the window, or too near the chromosome's end",
    MASKED: "not scored: REF has soft-masked letters, which the model reads as N",
}
NAMED = "ACGT"  # letters that can contradict each other; N contradicts none


@dataclass(frozen=True)
class Placing:
    """Where the windows of a variant lie.

    Attributes
    ----------
    window
        Letters; None for the length of the records that the model was trained on.
    placements
        Windows a variant, over which is averaged: of one the variant's first letter stands in the middle, of several it stands at
        places spread evenly over the middle half.
    rc
        Average both strands; else the forward strand is read.
    around
        0-based place around which one window lies for all variants; None for a window of each.
    """

    window: int | None = None
    placements: int = 1
    rc: bool = False
    around: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "placements"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ArgumentError(f"{name} must be at least 1, got {value}")

    def starts(self, variant: Variant, size: int) -> list[int]:
        """First letter of each window, not yet moved into the chromosome."""
        middle = variant.start if self.around is None else self.around
        return [middle - size // 2 + round((i - (self.placements - 1) / 2) * size / (2 * self.placements)) for i in range(self.placements)]


@dataclass(frozen=True)
class Pair:
    """The windows of an alternative allele: letters (P, size) with `ref` and with `alt`, and where in each the allele begins, (P,)."""

    ref: NDArray[np.uint8]
    alt: NDArray[np.uint8]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Some lines: the variants, a table with a row an alternative allele, and of each row its windows, None where it is not scored."""

    variants: list[Variant]
    table: pd.DataFrame
    pairs: list[Pair | None]


def score_variants(
    model: Model, genome: Genome | str | Path, vcf: str | Path, *, placing: Placing | None = None, prior: float | None = None
) -> pd.DataFrame:
    """Score the alleles of a VCF file in their windows of a genome.

    Parameters
    ----------
    model
        A model folder of positives against negatives of DNA, several of them whose logits are averaged, or what `load` or `origin_of`
        returned.
    genome
        FASTA, plain or bgzip, or an open `Genome`, of the assembly of the VCF; names may differ by "chr".
    vcf
        Plain, gz or bgzip, sorted or not.
    placing
        Windows and strands; by default one window a variant, in the middle of which it stands, on the forward strand.
    prior
        Share of windows that are positive, for the probabilities; None for the training set's.

    Returns
    -------
    One row an alternative allele, in the file's order: chrom, pos (1-based, as in the file), id, ref, alt, logit_ref, logit_alt, effect
    (their difference, in logits), probability_ref, probability_alt, probability_effect, status (scored, reference_mismatch, no_allele,
    no_window, and of a model that reads soft-masked letters as N soft_masked; numbers are missing but for scored), and of several models
    effect_spread (standard deviation over them).

    Raises
    ------
    VariantFileError
        If the file is malformed (see `VcfFile`), or the genome is not its own (see `check_reference`).
    GenomeError, ModelFolderError, ValueError
        As of `score_genome`.
    """
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    variants = VcfFile(vcf, genome)
    check_reference(variants)
    tables = [batch.table for batch in scored(origin_of(model), genome, variants, placing or Placing(), prior)]
    return pd.concat(tables, ignore_index=True)


def check_reference(variants: VcfFile, most: float = 0.05) -> tuple[int, int, str]:
    """Read the file through and compare each REF with the genome: lines, those that differ, and the first of these in words.

    Raises
    ------
    VariantFileError
        If there is no line, one is malformed, or more than a share `most` of the lines differs: it is then of another assembly.
    """
    lines = wrong = 0
    first = ""
    for variant in variants:
        lines += 1
        if (there := mismatch(variants.genome, variant)) is not None:
            wrong += 1
            first = first or f"{variant.place}: REF {_short(variant.ref)} where the genome holds {_short(there)}"
    if not lines:
        raise VariantFileError("VCF must hold variants, got a header and no line", place=str(variants.path))
    if wrong > most * lines:
        message = f"REF must be what the genome holds in all but {most:.0%} of the lines, got {wrong} of {lines} that differ, first {first}"
        raise VariantFileError(message, place=str(variants.path), cure="Is it the same assembly?")
    return lines, wrong, first


def mismatch(genome: Genome, variant: Variant) -> str | None:
    """The genome's letters if they contradict REF; N and other ambiguous letters contradict none."""
    there = genome.fetch(variant.name, variant.start, variant.start + len(variant.ref)).tobytes().decode()
    differs = any(own != other and own in NAMED and other in NAMED for own, other in zip(variant.ref, there, strict=True))
    return there if differs else None


def substitutions(genome: Genome, region: Region) -> Iterator[Variant]:
    """All single-letter variants of a region, place by place; none where the genome's letter is ambiguous."""
    for start, letter in enumerate(genome.fetch(*region).tobytes().decode(), start=region.start):
        if letter in NAMED:
            others = tuple(other for other in NAMED if other != letter)
            yield Variant(f"{region.chrom}:{start}", region.chrom, region.chrom, start, ".", letter, others)


def scored(origin: Origin, genome: Genome, variants: Iterable[Variant], placing: Placing, prior: float | None = None) -> Iterator[Batch]:
    """Score variants BATCH by BATCH; arguments and errors as of `score_variants`."""
    size, shift, lines = origin.window(placing.window), origin.shift(prior), iter(variants)
    read = genome.spelled(origin.scorer.spelling.soft_mask)
    while batch := list(islice(lines, BATCH)):
        rows = [(variant, alt) for variant in batch for alt in variant.alts]
        unscored = {id(variant): _unscored(genome, read, variant) for variant in batch}
        pairs, status = [], []
        for variant, alt in rows:
            unfit = NO_ALLELE if alt in NO_LETTERS else unscored[id(variant)]
            pair = None if unfit else windows_of(read, variant, alt, placing.starts(variant, size), size)
            pairs.append(pair)
            status.append(unfit or (NO_WINDOW if pair is None else SCORED))
        yield Batch(batch, _table(rows, status, pairs, origin, shift, placing.rc), pairs)


def _unscored(genome: Genome, read: Genome, variant: Variant) -> str:
    """Why a line is not scored, whatever its alleles: by the genome, or by what the model reads of it; empty if it is."""
    if mismatch(genome, variant) is not None:
        return MISMATCH
    span = variant.name, variant.start, variant.start + len(variant.ref)
    return MASKED if read is not genome and genome.fetch_masked(*span)[1].any() else ""


def windows_of(genome: Genome, variant: Variant, alt: str, starts: Iterable[int], size: int) -> Pair | None:
    """The windows with REF and with an alternative allele.

    Both begin with the same letters, up to the variant; after the allele follow the letters to the right of REF, so many that the window
    keeps its size: a deletion pulls letters in from the right, an insertion pushes some out there. In ACGTACGT with window 5 from 1 on, the
    deletion CG>C at 1 gives CGTAC and CTACG. A window that would leave the chromosome is moved into it.

    Returns
    -------
    None if either allele does not fit into a window, or the chromosome is too short.
    """
    end, length = variant.start + len(variant.ref), genome.lengths[variant.name]
    pulled = max(0, len(variant.ref) - len(alt))
    found: tuple[list[NDArray[np.uint8]], ...] = ([], [])
    places = []
    for start in starts:
        start = max(0, min(start, length - size - pulled))
        at = variant.start - start
        if start + size + pulled > length or at < 0 or at + max(len(variant.ref), len(alt)) > size:
            return None
        left, right = genome.fetch(variant.name, start, variant.start), genome.fetch(variant.name, end, min(length, end + size))
        for allele, windows in zip((variant.ref, alt), found, strict=True):
            windows.append(np.concatenate((left, np.frombuffer(allele.encode(), np.uint8), right))[:size])
        places.append(at)
    return Pair(np.stack(found[0]), np.stack(found[1]), np.array(places))


def _table(
    rows: list[tuple[Variant, str]], status: list[str], pairs: list[Pair | None], origin: Origin, shift: float, rc: bool
) -> pd.DataFrame:
    logits = np.full((len(origin.scorer.members), 2, len(rows)), np.nan)  # (members, ref and alt, rows)
    if known := [i for i, pair in enumerate(pairs) if pair is not None]:
        logits[:, :, known] = _logits(origin, [pair for pair in pairs if pair is not None], rc)
    ref, alt = logits.mean(axis=0)
    probability_ref, probability_alt = (expit(x / origin.scorer.temperature + shift) for x in (ref, alt))
    columns = {
        "chrom": [variant.chrom for variant, _ in rows],
        "pos": [variant.start + 1 for variant, _ in rows],
        "id": [variant.id for variant, _ in rows],
        "ref": [variant.ref for variant, _ in rows],
        "alt": [allele for _, allele in rows],
        "logit_ref": ref,
        "logit_alt": alt,
        "effect": alt - ref,
        "probability_ref": probability_ref,
        "probability_alt": probability_alt,
        "probability_effect": probability_alt - probability_ref,
        "status": status,
    }
    if len(logits) > 1:
        columns["effect_spread"] = spread(logits[:, 1] - logits[:, 0])
    return pd.DataFrame(columns)


def _logits(origin: Origin, pairs: list[Pair], rc: bool) -> NDArray[np.float64]:
    """(members, 2, pairs): logits of the windows with REF and with the alternative, the mean over placements and, if asked, strands."""
    letters = np.stack([[pair.ref, pair.alt] for pair in pairs], axis=1)  # (2, n, P, size)
    flat = letters.reshape(-1, letters.shape[-1])
    distinct, back = np.unique(flat, axis=0, return_inverse=True)  # alleles of a line share the window with REF
    readings = [distinct, DNA.reverse_complement(distinct)] if rc and not origin.scorer.both_strands else [distinct]
    of_members = [np.mean([member.logits(reading) for reading in readings], axis=0) for member in origin.scorer.members]
    return np.stack([logits[back].reshape(letters.shape[:3]).mean(axis=2) for logits in of_members])


def tally(table: pd.DataFrame) -> Counter[str]:
    """Rows of each status."""
    return Counter(table["status"])


def _short(letters: str) -> str:
    return letters if len(letters) <= 20 else f"{letters[:20]}..."
