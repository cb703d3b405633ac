"""Score variants: compare the window with the reference allele to that with the alternative allele.

Models of any objective: each output of the objective has an effect, in its unit. Windows of
proteins are complete sequences. So are those of other sequences that are not longer than all
training records. An allele may change the length of a complete sequence.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.special import expit

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.errors import ArgumentError
from selfattn_bio.objectives.outputs import Output, spread
from selfattn_bio.objectives.profile import expected_counts
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.paired_scorer import check_rc
from selfattn_bio.scoring.regions import Region
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.windows import load_dna_model, prior_shift, window_size
from selfattn_bio.sequence.alphabet import DNA, Ascii
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.vcf import NO_LETTERS, VcfFile, VcfVariant, check_reference, mismatch

BATCH = 256  # lines held in memory and scored at a time
SCORED, MISMATCH, NO_ALLELE = "scored", "reference_mismatch", "no_allele"
NO_WINDOW, MASKED = "no_window", "soft_masked"
MEANING = {  # description of each status
    SCORED: "scored",
    MISMATCH: "not scored: REF differs from the genome",
    NO_ALLELE: "not scored: ALT is . or *",
    NO_WINDOW: "not scored: too long for the window, or too close to the end of the chromosome",
    MASKED: "not scored: REF has soft-masked bases, which the model reads as N",
}


@dataclass(frozen=True)
class VariantOptions:
    """How variants are scored: windows, strands and the values in the table.

    Attributes
    ----------
    window
        Window size. None for the complete sequence if it is a protein or not longer than the
        longest training record, and otherwise for the median length of the training records.
        Profiles of bases always have windows of this length.
    placements
        Number of windows per variant whose scores are averaged. With one, the first base of the
        variant is in the middle of the window. With several, it is at evenly spaced positions in
        the middle half.
    rc
        Average both strands. By default only the forward strand is read.
    around
        0-based position in the middle of the windows of all variants. None to centre windows on
        each variant.
    prior
        Fraction of windows that are positive, for the probabilities of a binary model. None for the
        fraction in the validation split.
    background
        Number of random substitutions that each allele is compared with. The time grows in
        proportion.
    """

    window: int | None = None
    placements: int = 1
    rc: bool = False
    around: int | None = None
    prior: float | None = None
    background: int = 0

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("placements", 1), ("background", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ArgumentError(f"{name} is {value}; it must be at least {least}")

    def starts(self, variant: VcfVariant, size: int) -> list[int]:
        """Return the first position of each window, which may be outside the chromosome."""
        first = (variant.start if self.around is None else self.around) - size // 2
        shifts = np.arange(self.placements) - (self.placements - 1) / 2
        return [first + round(shift * size / (2 * self.placements)) for shift in shifts.tolist()]


@dataclass(frozen=True)
class AllelePair:
    """Windows with the reference and with an alternative allele.

    `ref` and `alt` are sequences (P, size), which differ in size only if they are complete.
    `positions` (P,) are where the allele begins in them.
    """

    ref: Ascii
    alt: Ascii
    positions: Integers


@dataclass(frozen=True)
class VariantBatch:
    """Variants, a table with one row per alternative allele, and the windows of each row.

    The windows of an allele that is not scored are None.
    """

    variants: list[VcfVariant]
    table: pd.DataFrame
    pairs: list[AllelePair | None]


def score_variants(
    model: Models,
    genome: Genome | str | Path,
    vcf: str | Path,
    options: VariantOptions | None = None,
) -> pd.DataFrame:
    """Score the alleles of a VCF file in windows of a genome.

    Parameters
    ----------
    model
        A folder of a model of DNA, a list of folders whose scores are averaged, or the result of
        `load`. The model may have any objective except "masked" and "causal".
    genome
        FASTA file, plain or bgzip, or an open `Genome`, of the same assembly as the VCF. Chromosome
        names may differ by "chr".
    vcf
        Plain, gz or bgzip, sorted or not.
    options
        Windows, strands, prior and background. By default one window per variant, centred on it, on
        the forward strand.

    Returns
    -------
    One row per alternative allele, in the order of the file. Numbers are missing unless the status
    is scored. The columns are:

    - chrom, pos (1-based, as in the file), id, ref, alt
    - for a binary model: logit_ref, logit_alt, effect (their difference in logits),
      probability_ref, probability_alt and probability_effect
    - for other models: ref_OUTPUT, alt_OUTPUT and effect_OUTPUT (their difference) for each class,
      label or column, in its unit: log-odds of classes and labels, numbers as in the training
      table, logarithms of counts and bins, percentages of the positions for labels per position.
      With several outputs, largest_effect names the one that changes most, relative to its scale.
    - for profiles, jsd_TRACK: the Jensen-Shannon distance between the profiles of both alleles
    - status: scored, reference_mismatch, no_allele, no_window or, for a model that reads
      soft-masked bases as N, soft_masked
    - for several models, effect_spread or effect_spread_OUTPUT: the standard deviation of the
      effect between them
    - with a background, effect_percentile or effect_percentile_OUTPUT: the percentage of single
      random substitutions elsewhere in the reference window whose effect is smaller in size

    Raises
    ------
    VariantFileError
        If the file is malformed (see `VcfFile`), or does not match the genome (see
        `check_reference`).
    GenomeError, ModelFolderError, ArgumentError
        As for `score_genome`.
    """
    own = load_dna_model(model)
    genome = genome if isinstance(genome, Genome) else Genome(genome, own.alphabet)
    variants = VcfFile(vcf, genome)
    check_reference(variants)
    scorer = VariantScorer(own, genome, options or VariantOptions())
    return pd.concat([batch.table for batch in scorer.batches(variants)], ignore_index=True)


def substitutions(genome: Genome, region: Region) -> Iterator[VcfVariant]:
    """Yield all variants of a single base or residue in a region, in order of position.

    Positions with an ambiguous letter in the genome are skipped.
    """
    chrom, letters = region.chrom, genome.alphabet.letters
    for start, letter in enumerate(genome.fetch(*region).tobytes().decode(), start=region.start):
        if letter in letters:
            others = tuple(other for other in letters if other != letter)
            yield VcfVariant(f"{chrom}:{start}", chrom, chrom, start, ".", letter, others)


@dataclass(frozen=True)
class VariantScorer:
    """Score variants of a genome, or of proteins, with a model and `VariantOptions`.

    Raises
    ------
    ArgumentError
        If an option does not fit the model: `rc` for proteins or outputs whose strands cannot be
        averaged, a `prior` for a model that is not binary, or no window size. Also if an open
        genome has another alphabet than the model.
    """

    model: Scorer | Ensemble
    genome: Genome
    options: VariantOptions

    def __post_init__(self) -> None:
        alphabet = self.model.alphabet.name
        if self.genome.alphabet.name != alphabet:
            raise ArgumentError(f"the model reads {alphabet}; pass the path of the FASTA file")
        if self.options.rc:
            check_rc(self.model)
        prior_shift(self.model, self.options.prior)

    def is_complete(self, chrom: str) -> bool:
        """Return whether the window is the complete sequence, see `VariantOptions.window`."""
        if self.options.window or self.model.objective.section.is_per_base:
            return False
        first, length = self.model.members[0], self.genome.lengths[chrom]
        shortest = max(member.shortest for member in self.model.members)
        longest = first.longest_record or first.record_length or 0
        return not self.model.alphabet.complements or shortest <= length <= longest

    def size(self, chrom: str) -> int:
        """Return the window size, see `VariantOptions.window`."""
        length = self.genome.lengths[chrom] if self.is_complete(chrom) else self.options.window
        return window_size(self.model, length)

    @cached_property
    def outputs(self) -> dict[str, Output]:
        """Return the outputs by their name in the columns; that of a binary model is ""."""
        objective = self.model.objective
        return {"" if objective.has_log_odds else each.name: each for each in objective.outputs}

    @property
    def units(self) -> dict[str, str]:
        """Return the unit of the effect on each output, by its name in the columns."""
        is_binary = self.model.objective.has_log_odds  # its logits are not calibrated
        return {name: "logits" if is_binary else each.unit for name, each in self.outputs.items()}

    def batches(self, variants: Iterable[VcfVariant]) -> Iterator[VariantBatch]:
        """Yield scored variants in batches of BATCH lines."""
        lines = iter(variants)
        read = self.genome.with_soft_mask(self.model.policy.soft_mask)
        while batch := list(islice(lines, BATCH)):
            rows = [(variant, alt) for variant in batch for alt in variant.alts]
            unscored = {id(variant): self._unscored(read, variant) for variant in batch}
            pairs, status = [], []
            for variant, alt in rows:
                unfit = NO_ALLELE if alt in NO_LETTERS else unscored[id(variant)]
                size, is_complete = self.size(variant.name), self.is_complete(variant.name)
                starts = self.options.starts(variant, size)
                pair = None if unfit else windows_of(read, variant, alt, starts, size, is_complete)
                pairs.append(pair)
                status.append(unfit or (NO_WINDOW if pair is None else SCORED))
            yield VariantBatch(batch, self._table(rows, status, pairs), pairs)

    def _unscored(self, read: Genome, variant: VcfVariant) -> str:
        """Return the status of a line that cannot be scored with any allele, otherwise ""."""
        if mismatch(self.genome, variant) is not None:
            return MISMATCH
        span = variant.name, variant.start, variant.start + len(variant.ref)
        masks = read is not self.genome
        return MASKED if masks and self.genome.fetch_masked(*span)[1].any() else ""

    def _table(
        self, rows: list[tuple[VcfVariant, str]], status: list[str], pairs: list[AllelePair | None]
    ) -> pd.DataFrame:
        shape = len(self.model.members), len(self.outputs), 2, len(rows)
        values = np.full(shape, np.nan)  # 2: ref and alt
        tracks = self.model.objective.tracks if self.model.objective.section.is_per_base else ()
        distances = np.full((len(tracks), len(rows)), np.nan)
        known = {i: pair for i, pair in enumerate(pairs) if pair is not None}
        windows = [(0, i, pair.ref) for i, pair in known.items()]
        windows += [(1, i, pair.alt) for i, pair in known.items()]
        for size in {letters.shape[1] for _, _, letters in windows}:  # several if complete
            of_size = [each for each in windows if each[2].shape[1] == size]
            which, row, letters = zip(*of_size, strict=True)
            values[:, :, which, row] = self._values(np.stack(letters))
        if tracks and known:  # all windows have one size
            both = np.stack([[pair.ref, pair.alt] for pair in known.values()], axis=1)
            distances[:, list(known)] = self._distances(both).T
        ref, alt = np.moveaxis(values.mean(axis=0), 1, 0)  # (outputs, rows)
        effects = alt - ref
        fields = [(each.chrom, each.start + 1, each.id, each.ref, alt) for each, alt in rows]
        names = ("chrom", "pos", "id", "ref", "alt")
        columns: dict[str, object] = dict(zip(names, zip(*fields, strict=True), strict=True))
        for name, *of_output in zip(self.outputs, ref, alt, effects, strict=True):
            alleles = (f"ref_{name}", f"alt_{name}") if name else ("logit_ref", "logit_alt")
            of_columns = (*alleles, column("effect", name))
            columns |= dict(zip(of_columns, of_output, strict=True))
        if self.model.objective.has_log_odds:
            calibration = self.model.calibration
            shift = prior_shift(self.model, self.options.prior)
            before, after = (expit(calibration.log_odds(x[0]) + shift) for x in (ref, alt))
            columns |= {"probability_ref": before, "probability_alt": after}
            columns["probability_effect"] = after - before
        if len(self.outputs) > 1:
            scales = np.array([[output.scale] for output in self.outputs.values()])
            largest = np.nan_to_num(np.abs(effects) / scales).argmax(axis=0)
            named = np.array(list(self.outputs), dtype=object)[largest]
            columns["largest_effect"] = np.where(np.isnan(effects[0]), "", named)
        of_tracks = zip(tracks, distances, strict=True)
        columns |= {f"jsd_{track.name}": of_track for track, of_track in of_tracks}
        columns["status"] = status
        if len(values) > 1:
            spreads = spread(values[:, :, 1] - values[:, :, 0])
            columns |= self._by_output("effect_spread", spreads)
        if self.options.background:
            percentiles = np.full_like(effects, np.nan)
            for i, pair in known.items():
                variant = rows[i][0]
                percentiles[:, i] = self._percentiles(variant, pair, ref[:, i], effects[:, i])
            columns |= self._by_output("effect_percentile", percentiles)
        return pd.DataFrame(columns)

    def _by_output(self, what: str, values: Floats) -> dict[str, Floats]:
        """Return values (outputs, rows) as columns."""
        return {column(what, name): row for name, row in zip(self.outputs, values, strict=True)}

    def _percentiles(
        self, variant: VcfVariant, pair: AllelePair, ref: Floats, effect: Floats
    ) -> Floats:
        """Return the percentage of random substitutions with a smaller effect, (outputs,)."""
        rng = np.random.default_rng(zlib.crc32(f"{variant.chrom}:{variant.start + 1}".encode()))
        length, letters = len(variant.ref), self.model.alphabet.letters
        mutants = random_substitutions(pair, length, self.options.background, rng, letters)
        if not len(mutants):
            return np.full_like(effect, np.nan)
        effects = self._values(mutants).mean(axis=0) - ref[:, None]
        return 100 * np.mean(np.abs(effects) < np.abs(effect[:, None]), axis=1)

    def _distances(self, alleles: Ascii) -> Floats:
        """Return the distance between profiles of alleles (2, rows, P, size), (rows, T)."""
        objective, flat = self.model.objective, list(alleles.reshape(-1, alleles.shape[-1]))
        outputs = np.mean([objective.read(each, flat) for each in self.model.members], axis=0)
        counts = expected_counts(outputs.reshape(*alleles.shape[:-1], *outputs.shape[1:]))
        return np.asarray(jensenshannon(*counts, axis=-2)).mean(axis=1)

    def _values(self, windows: Ascii) -> Floats:
        """Return the outputs of windows (..., P, size) of ASCII, (members, outputs, ...).

        They are averaged over the P placements and, with `rc`, over both strands.
        """
        # alleles of a line share the REF window
        flat = windows.reshape(-1, windows.shape[-1])
        distinct, back = np.unique(flat, axis=0, return_inverse=True)
        strands = [distinct]
        if self.options.rc and not self.model.both_strands:
            strands.append(self.model.alphabet.reverse_complement(distinct))
        found = []
        for member in self.model.members:
            outputs = np.mean([member.outputs(strand) for strand in strands], axis=0)
            found.append([output.value(outputs) for output in self.outputs.values()])
        values = np.array(found)[..., back]
        return values.reshape(*values.shape[:2], *windows.shape[:-1]).mean(axis=-1)


def column(what: str, output: str) -> str:
    """Return the name of a column of an output, such as effect_OUTPUT; effect for ""."""
    return f"{what}_{output}" if output else what


def windows_of(
    genome: Genome, variant: VcfVariant, alt: str, starts: list[int], size: int, is_complete: bool
) -> AllelePair | None:
    """Return the windows with REF and with an alternative allele.

    Both windows have the same sequence before the variant. The allele is followed by the bases to
    the right of REF, as many as fit into the window: a deletion pulls bases in from the right, an
    insertion pushes some out. For example, in ACGTACGT with a window of 5 starting at 1, the
    deletion CG>C at 1 gives CGTAC and CTACG. A window that would exceed the chromosome is moved
    inside. If the window is a complete sequence, each allele is in the complete sequence instead,
    which is then shorter or longer.

    Returns
    -------
    None if an allele does not fit into a window, or the chromosome is too short.
    """
    end, length = variant.start + len(variant.ref), genome.lengths[variant.name]
    pulled = 0 if is_complete else max(0, len(variant.ref) - len(alt))
    found: tuple[list[Ascii], ...] = ([], [])
    positions = []
    for start in starts:
        start = max(0, min(start, length - size - pulled))
        at = variant.start - start
        is_too_long = at + max(len(variant.ref), len(alt)) > size and not is_complete
        if start + size + pulled > length or at < 0 or is_too_long:
            return None
        left = genome.fetch(variant.name, start, variant.start)
        right = genome.fetch(variant.name, end, min(length, end + size))
        for allele, windows in zip((variant.ref, alt), found, strict=True):
            letters = np.frombuffer(genome.alphabet.normalise(allele.encode()), np.uint8)
            complete = np.concatenate((left, letters, right))
            windows.append(complete if is_complete else complete[:size])
        positions.append(at)
    return AllelePair(np.stack(found[0]), np.stack(found[1]), np.array(positions))


def random_substitutions(
    pair: AllelePair,
    ref_length: int,
    number: int,
    rng: np.random.Generator,
    letters: str = DNA.letters,
) -> Ascii:
    """Return windows with the reference in which another base is replaced.

    Parameters
    ----------
    pair
        Windows of the variant.
    ref_length
        Length of REF, whose bases are not replaced.
    number
        Number of substitutions, or fewer if there are not as many different ones.
    letters
        The bases or residues.

    Returns
    -------
    (number, P, size); the P windows of a substitution have it at the same position of the genome.
    """
    size, named = pair.ref.shape[1], np.frombuffer(letters.encode(), np.uint8)
    # relative to the variant, within all windows
    places = np.arange(-pair.positions.min(), size - pair.positions.max())
    places = places[(places < 0) | (places >= ref_length)]
    places = places[np.isin(pair.ref[0, pair.positions[0] + places], named)]
    others = len(named) - 1
    each, other = np.divmod(rng.permutation(others * len(places))[:number], others)
    mutants = np.repeat(pair.ref[None], len(each), axis=0)
    for windows, place, number in zip(mutants, places[each], other, strict=True):
        at = pair.positions + place
        windows[np.arange(len(at)), at] = np.setdiff1d(named, windows[0, at[0]])[number]
    return mutants
