"""Score variants: compare the window with the reference allele to that with the alternative allele.

Only for binary models of DNA.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from selfattn_bio.errors import ArgumentError, VariantFileError
from selfattn_bio.objectives.base import spread
from selfattn_bio.scoring.origin import Model, ModelOrigin, origin_of
from selfattn_bio.scoring.regions import Region
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.vcf import NO_LETTERS, VcfFile, VcfVariant

BATCH = 256  # lines held in memory and scored at a time
SCORED, MISMATCH, NO_ALLELE, NO_WINDOW, MASKED = (
    "scored",
    "reference_mismatch",
    "no_allele",
    "no_window",
    "soft_masked",
)
MEANING = {  # description of each status
    SCORED: "scored",
    MISMATCH: "not scored: REF differs from the genome",
    NO_ALLELE: "not scored: ALT is . or *",
    NO_WINDOW: "not scored: too long for the window, or too close to the end of the chromosome",
    MASKED: "not scored: REF has soft-masked bases, which the model reads as N",
}
NAMED = "ACGT"  # only these bases can contradict each other
NAMED_CODES = np.frombuffer(NAMED.encode(), np.uint8)


@dataclass(frozen=True)
class VariantWindows:
    """Position of the windows around a variant.

    Attributes
    ----------
    window
        Window size in bp. None for the length of the model's training records.
    placements
        Number of windows per variant whose scores are averaged. With one, the first base of the
        variant is in the middle of the window. With several, it is at evenly spaced positions in
        the middle half.
    rc
        Average both strands. By default only the forward strand is read.
    around
        0-based position in the middle of the windows of all variants. None to centre windows on
        each variant.
    """

    window: int | None = None
    placements: int = 1
    rc: bool = False
    around: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "placements"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ArgumentError(f"{name} is {value}; it must be at least 1")

    def starts(self, variant: VcfVariant, size: int) -> list[int]:
        """Return the first position of each window, which may be outside the chromosome."""
        middle = variant.start if self.around is None else self.around
        return [
            middle
            - size // 2
            + round((i - (self.placements - 1) / 2) * size / (2 * self.placements))
            for i in range(self.placements)
        ]


@dataclass(frozen=True)
class AllelePair:
    """Windows with the reference and with an alternative allele.

    `ref` and `alt` are sequences (P, size). `positions` (P,) are where the allele begins in them.
    """

    ref: NDArray[np.uint8]
    alt: NDArray[np.uint8]
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class VariantBatch:
    """Variants, a table with one row per alternative allele, and the windows of each row.

    The windows of an allele that is not scored are None.
    """

    variants: list[VcfVariant]
    table: pd.DataFrame
    pairs: list[AllelePair | None]


def score_variants(
    model: Model,
    genome: Genome | str | Path,
    vcf: str | Path,
    *,
    windows: VariantWindows | None = None,
    prior: float | None = None,
    background: int = 0,
) -> pd.DataFrame:
    """Score the alleles of a VCF file in windows of a genome.

    Parameters
    ----------
    model
        A folder of a binary model of DNA, a list of folders whose logits are averaged, or the
        result of `load` or `origin_of`.
    genome
        FASTA file, plain or bgzip, or an open `Genome`, of the same assembly as the VCF. Chromosome
        names may differ by "chr".
    vcf
        Plain, gz or bgzip, sorted or not.
    windows
        Windows and strands. By default one window per variant, centred on it, on the forward
        strand.
    prior
        Fraction of windows that are positive, for the probabilities. None for the fraction in the
        validation split.
    background
        Number of random substitutions that each allele is compared with. The time grows in
        proportion.

    Returns
    -------
    One row per alternative allele, in the order of the file: chrom, pos (1-based, as in the file),
    id, ref, alt, logit_ref, logit_alt, effect (their difference in logits), probability_ref,
    probability_alt, probability_effect and status. The status is scored, reference_mismatch,
    no_allele, no_window or, for a model that reads soft-masked bases as N, soft_masked. Numbers are
    missing unless the status is scored. For several models, effect_spread is the standard deviation
    of the effect between them. With a background, effect_percentile is the percentage of single
    random substitutions elsewhere in the reference window whose effect is smaller in size.

    Raises
    ------
    VariantFileError
        If the file is malformed (see `VcfFile`), or does not match the genome (see
        `check_reference`).
    GenomeError, ModelFolderError, ValueError
        As for `score_genome`.
    """
    genome = genome if isinstance(genome, Genome) else Genome(genome)
    variants = VcfFile(vcf, genome)
    check_reference(variants)
    options = windows or VariantWindows(), prior, background
    tables = [batch.table for batch in scored(origin_of(model), genome, variants, *options)]
    return pd.concat(tables, ignore_index=True)


def check_reference(variants: VcfFile, most: float = 0.05) -> tuple[int, int, str]:
    """Compare each REF of a VCF file with the genome.

    Returns
    -------
    The number of lines, the number of mismatches, and a description of the first mismatch.

    Raises
    ------
    VariantFileError
        If the file has no line or a malformed one, or the fraction of mismatches exceeds `most`,
        which suggests another assembly.
    """
    lines = wrong = 0
    first = ""
    for variant in variants:
        lines += 1
        if (there := mismatch(variants.genome, variant)) is not None:
            wrong += 1
            first = (
                first
                or f"{variant.place}: REF is {_short(variant.ref)}, but the genome has "
                f"{_short(there)}"
            )
    if not lines:
        raise VariantFileError("the VCF has a header but no variants", place=str(variants.path))
    if wrong > most * lines:
        message = (
            f"REF differs from the genome in {wrong} of {lines} lines, more than {most:.0%}; the "
            f"first is {first}"
        )
        raise VariantFileError(message, place=str(variants.path), hint="Is it the same assembly?")
    return lines, wrong, first


def mismatch(genome: Genome, variant: VcfVariant) -> str | None:
    """Return the genome's bases if they contradict REF, otherwise None.

    N and other ambiguous bases match everything.
    """
    there = (
        genome.fetch(variant.name, variant.start, variant.start + len(variant.ref))
        .tobytes()
        .decode()
    )
    differs = any(
        own != other and own in NAMED and other in NAMED
        for own, other in zip(variant.ref, there, strict=True)
    )
    return there if differs else None


def substitutions(genome: Genome, region: Region) -> Iterator[VcfVariant]:
    """Yield all single-base variants of a region in order of position.

    Positions with an ambiguous base in the genome are skipped.
    """
    for start, letter in enumerate(genome.fetch(*region).tobytes().decode(), start=region.start):
        if letter in NAMED:
            others = tuple(other for other in NAMED if other != letter)
            yield VcfVariant(
                f"{region.chrom}:{start}", region.chrom, region.chrom, start, ".", letter, others
            )


def scored(
    origin: ModelOrigin,
    genome: Genome,
    variants: Iterable[VcfVariant],
    windows: VariantWindows,
    prior: float | None = None,
    background: int = 0,
) -> Iterator[VariantBatch]:
    """Yield scored variants in batches of BATCH lines.

    Arguments and errors are those of `score_variants`.
    """
    if background < 0:
        raise ArgumentError(f"background is {background}; it must be at least 0")
    size, shift, lines = origin.window(windows.window), origin.shift(prior), iter(variants)
    read = genome.with_soft_mask(origin.scorer.policy.soft_mask)
    while batch := list(islice(lines, BATCH)):
        rows = [(variant, alt) for variant in batch for alt in variant.alts]
        unscored = {id(variant): _unscored(genome, read, variant) for variant in batch}
        pairs, status = [], []
        for variant, alt in rows:
            unfit = NO_ALLELE if alt in NO_LETTERS else unscored[id(variant)]
            pair = (
                None
                if unfit
                else windows_of(read, variant, alt, windows.starts(variant, size), size)
            )
            pairs.append(pair)
            status.append(unfit or (NO_WINDOW if pair is None else SCORED))
        table = _table(rows, status, pairs, origin, shift, windows.rc)
        if background:
            table["effect_percentile"] = [
                np.nan if pair is None else _percentile(row, pair, origin, windows.rc, background)
                for row, pair in zip(table.to_dict("records"), pairs, strict=True)
            ]
        yield VariantBatch(batch, table, pairs)


def _unscored(genome: Genome, read: Genome, variant: VcfVariant) -> str:
    """Return the status of a line that cannot be scored with any allele, otherwise ""."""
    if mismatch(genome, variant) is not None:
        return MISMATCH
    span = variant.name, variant.start, variant.start + len(variant.ref)
    return MASKED if read is not genome and genome.fetch_masked(*span)[1].any() else ""


def windows_of(
    genome: Genome, variant: VcfVariant, alt: str, starts: Iterable[int], size: int
) -> AllelePair | None:
    """Return the windows with REF and with an alternative allele.

    Both windows have the same sequence before the variant. The allele is followed by the bases to
    the right of REF, as many as fit into the window: a deletion pulls bases in from the right, an
    insertion pushes some out. For example, in ACGTACGT with a window of 5 starting at 1, the
    deletion CG>C at 1 gives CGTAC and CTACG. A window that would exceed the chromosome is moved
    inside.

    Returns
    -------
    None if an allele does not fit into a window, or the chromosome is too short.
    """
    end, length = variant.start + len(variant.ref), genome.lengths[variant.name]
    pulled = max(0, len(variant.ref) - len(alt))
    found: tuple[list[NDArray[np.uint8]], ...] = ([], [])
    positions = []
    for start in starts:
        start = max(0, min(start, length - size - pulled))
        at = variant.start - start
        if start + size + pulled > length or at < 0 or at + max(len(variant.ref), len(alt)) > size:
            return None
        left, right = (
            genome.fetch(variant.name, start, variant.start),
            genome.fetch(variant.name, end, min(length, end + size)),
        )
        for allele, windows in zip((variant.ref, alt), found, strict=True):
            windows.append(
                np.concatenate((left, np.frombuffer(allele.encode(), np.uint8), right))[:size]
            )
        positions.append(at)
    return AllelePair(np.stack(found[0]), np.stack(found[1]), np.array(positions))


def _table(
    rows: list[tuple[VcfVariant, str]],
    status: list[str],
    pairs: list[AllelePair | None],
    origin: ModelOrigin,
    shift: float,
    rc: bool,
) -> pd.DataFrame:
    logits = np.full(
        (len(origin.scorer.members), 2, len(rows)), np.nan
    )  # (members, ref and alt, rows)
    if known := [i for i, pair in enumerate(pairs) if pair is not None]:
        letters = np.stack([[pair.ref, pair.alt] for pair in pairs if pair is not None], axis=1)
        logits[:, :, known] = _logits(origin, letters, rc)
    ref, alt = logits.mean(axis=0)
    probability_ref, probability_alt = (
        expit(origin.scorer.calibration.log_odds(x) + shift) for x in (ref, alt)
    )
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


def _percentile(
    row: Mapping[Hashable, Any], pair: AllelePair, origin: ModelOrigin, rc: bool, number: int
) -> float:
    """Return the percentage of random substitutions with a smaller effect than a scored allele."""
    rng = np.random.default_rng(zlib.crc32(f"{row['chrom']}:{row['pos']}".encode()))
    mutants = random_substitutions(pair, len(row["ref"]), number, rng)
    if not len(mutants):
        return float("nan")
    effects = _logits(origin, mutants, rc).mean(axis=0) - row["logit_ref"]
    return float(100 * np.mean(np.abs(effects) < abs(row["effect"])))


def random_substitutions(
    pair: AllelePair, ref_length: int, number: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return windows with the reference in which another base is replaced.

    Parameters
    ----------
    pair
        Windows of the variant.
    ref_length
        Length of REF, whose bases are not replaced.
    number
        Number of substitutions, or fewer if there are not as many different ones.

    Returns
    -------
    (number, P, size); the P windows of a substitution have it at the same position of the genome.
    """
    size = pair.ref.shape[1]
    # relative to the variant, within all windows
    places = np.arange(-pair.positions.min(), size - pair.positions.max())
    places = places[(places < 0) | (places >= ref_length)]
    places = places[np.isin(pair.ref[0, pair.positions[0] + places], NAMED_CODES)]
    chosen = rng.permutation(3 * len(places))[:number]
    mutants = np.repeat(pair.ref[None], len(chosen), axis=0)
    for windows, place, other in zip(mutants, places[chosen // 3], chosen % 3, strict=True):
        at = pair.positions + place
        others = np.setdiff1d(NAMED_CODES, windows[0, at[0]])
        windows[np.arange(len(at)), at] = others[other]
    return mutants


def _logits(origin: ModelOrigin, windows: NDArray[np.uint8], rc: bool) -> NDArray[np.float64]:
    """Return logits of windows (..., P, size) of ASCII, (members, ...).

    They are averaged over the P placements and, with `rc`, over both strands.
    """
    # alleles of a line share the REF window
    flat = windows.reshape(-1, windows.shape[-1])
    distinct, back = np.unique(flat, axis=0, return_inverse=True)
    readings = (
        [distinct, DNA.reverse_complement(distinct)]
        if rc and not origin.scorer.both_strands
        else [distinct]
    )
    of_members = [
        np.mean([member.logits(reading) for reading in readings], axis=0)
        for member in origin.scorer.members
    ]
    return np.stack(
        [logits[back].reshape(windows.shape[:-1]).mean(axis=-1) for logits in of_members]
    )


def tally(table: pd.DataFrame) -> Counter[str]:
    """Count the rows with each status."""
    return Counter(table["status"])


def _short(letters: str) -> str:
    return letters if len(letters) <= 20 else f"{letters[:20]}..."
