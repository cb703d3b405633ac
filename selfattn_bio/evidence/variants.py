"""Score the variants of a VCF file, or all substitutions in a region of a genome or protein."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.attribution.plot_regions import PlotRegion, figure_width, plot_interval
from selfattn_bio.display import counted, short_name
from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.evidence.scanning import MotifSearch
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import whole_file
from selfattn_bio.log import LOG, log_lines
from selfattn_bio.motifs.logos import track
from selfattn_bio.objectives.outputs import no_output_chosen, safe_names, unknown_output
from selfattn_bio.result import TableResult
from selfattn_bio.scoring.annotated import open_writer
from selfattn_bio.scoring.language_model import LanguageModel
from selfattn_bio.scoring.loading import Models
from selfattn_bio.scoring.regions import parse_region
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.variants import (
    MEANING,
    SCORED,
    VariantBatch,
    VariantOptions,
    VariantScorer,
    column,
    substitutions,
)
from selfattn_bio.scoring.windows import assembly_of, load_dna_model, warn_of_other_assembly
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, Ascii, get_alphabet
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.tables import write_table
from selfattn_bio.sequence.vcf import VcfFile, check_reference

AlleleWindow = tuple[Ascii, int, int, bool]  # letters, start and end of the allele, is complete


@dataclass(frozen=True, repr=False)
class Substitutions(TableResult):
    """The effects of all substitutions of one base or residue in a region of a genome or protein.

    Attributes
    ----------
    table
        One row per substitution, with the columns of `score_variants`, and motifs_lost and
        motifs_gained if motifs were given.
    units
        The unit of the effect on each output. The output of a binary model is named "".
    alphabet
        Name of the alphabet of the model.
    """

    table: pd.DataFrame
    units: Mapping[str, str] = field(default_factory=lambda: {"": "logits"})
    alphabet: str = "dna"

    def __repr__(self) -> str:
        chrom, first, last = self.table["chrom"].iloc[0], *self.table["pos"].iloc[[0, -1]]
        return f"Substitutions in {chrom}:{first}-{last}: {', '.join(self.lines)}"

    @property
    def lines(self) -> list[str]:
        """Return the number of alleles with each status, as text."""
        return _status_lines(Counter(self.table["status"]))

    def plot(self, region: PlotRegion = None, output: str | None = None) -> DisplayedFigure:
        """Draw the effect of each substitution, and above it the mean loss at each position.

        A reference letter is as tall as the mean loss of its substitutions: minus their mean
        effect. The heat map below has one row per alternative letter. Positions without a
        substitution stay empty.

        Parameters
        ----------
        region
            The positions to draw: (start, end) on the chromosome, 0-based half-open;
            "CHROM:FIRST-LAST", 1-based inclusive as in samtools; or "all". By default, the 100
            positions with the largest mean effects.
        output
            Name of the class, label or column; needed if the model has several outputs.

        Raises
        ------
        ArgumentError
            If the region is not within the substitutions, there is no such output, or there are
            several and none is chosen.
        """
        if output is None and len(self.units) > 1:
            raise no_output_chosen(list(self.units), "output")
        output = next(iter(self.units)) if output is None else output
        if output not in self.units:
            raise unknown_output(output, list(self.units))
        unit, effect = self.units[output], column("effect", output)
        effects = self.table.groupby("pos")[effect].mean()  # NaN: not scored
        effects = effects.reindex(range(effects.index[0], effects.index[-1] + 1)).fillna(0.0)
        chrom, first = self.table["chrom"].iloc[0], int(effects.index[0]) - 1
        start, end = plot_interval(region, effects, chrom, first)
        shown = self.table[self.table["pos"].between(start + 1, end)]
        if shown.empty:
            raise ArgumentError(f"there are no substitutions at {chrom}:{start + 1}-{end}")
        known = list(get_alphabet(self.alphabet).letters)
        size = figure_width(end - start), 2.4 + 0.2 * len(known)
        figure = DisplayedFigure(figsize=size, layout="constrained")
        letters, heat = figure.subplots(
            2, 1, sharex=True, height_ratios=(4, max(4, len(known) // 2))
        )
        table = shown.pivot_table(effect, "pos", "alt")
        by_base = table.reindex(range(start + 1, end + 1), columns=known).to_numpy(float)
        heights = np.zeros_like(by_base)
        for pos, ref in shown[["pos", "ref"]].drop_duplicates().itertuples(index=False):
            heights[pos - start - 1, known.index(ref)] = -effects[pos]
        track(heights, "".join(known), start).draw(letters)
        letter = get_alphabet(self.alphabet).letter
        letters.set_ylabel(f"contribution\nof the {letter}")  # the bar names the unit
        limit = float(np.nanmax(np.abs(by_base), initial=1e-9))
        image = heat.imshow(
            by_base.T,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
            extent=(start, end, len(known), 0),
        )
        heat.set_yticks(np.arange(len(known)) + 0.5, known)
        heat.set_xlabel("position, as in the table")
        about = f" on {short_name(output)}" if output not in ("", unit) else ""
        label = f"effect{about} ({short_name(unit)})"
        figure.colorbar(image, ax=[letters, heat], label=label, shrink=0.8)
        return figure

    def save(self, prefix: str | Path) -> None:
        """Write PREFIX.effects.tsv, with six digits, and PREFIX.saturation.svg.

        With several outputs there is one plot of each, PREFIX.saturation.OUTPUT.svg (`safe_names`).

        Raises
        ------
        ArgumentError
            If two outputs would have the same file name.
        """
        names = safe_names(list(self.units))
        with ExitStack() as files:
            for output in self.units:
                figure = self.plot("all", output)
                figure.set_figwidth(min(40.0, 2 + 0.07 * self.table["pos"].nunique()))
                name = f"saturation.{names[output]}" if len(self.units) > 1 else "saturation"
                path = files.enter_context(whole_file(f"{prefix}.{name}.svg"))
                figure.savefig(path, format="svg", metadata={"Date": None})
            write_table(f"{prefix}.effects.tsv", self.table)


def score_substitutions(
    model: Models | LanguageModel,
    genome: Genome | str | Path,
    region: str,
    options: VariantOptions | None = None,
    *,
    motifs: str | Path | None = None,
) -> Substitutions:
    """Score all substitutions in a region, in one window if the region fits into it.

    In a longer region, each position has a window around it. In a protein, the window is the
    complete sequence, as in other sequences that are not longer than the longest training record. A
    warning is logged if the genome is named differently from the assembly of the training records.

    Parameters
    ----------
    model
        As for `score_variants`, but it may also be a model of proteins, or the result of
        `load_pretrained`. The effect is then the log ratio of the probabilities of the letters,
        each with its position masked, in the complete protein or in the region of the genome.
    genome, options
        As for `score_variants`; for a model of proteins, the FASTA file of the sequences.
    region
        CHROM:FIRST-LAST, 1-based inclusive as in samtools; ID for a complete protein.
    motifs
        MEME, JASPAR or TRANSFAC file, for proteins also of ELM or PROSITE, or a database that
        ships, such as "jaspar:insects", to list the motifs that each substitution destroys and
        creates: those with a hit, as by `hits`, over one of both alleles only. Patterns that begin
        with `^` or end with `$` have hits only in windows that are complete sequences.

    Raises
    ------
    GenomeError
        If the region is malformed, is not on the genome, or has no letter that can be replaced.
    DatabaseError
        If the file of motifs cannot be read.
    ModelFolderError, ArgumentError
        As for `score_variants`; ArgumentError also if no allele can be scored.
    """
    if isinstance(model, LanguageModel):
        return _of_language_model(model, genome, region)
    own = load_dna_model(model, (DNA.name, PROTEIN.name))
    search = None if motifs is None else MotifSearch.of(motifs, own.alphabet)
    scorer = _opened(own, genome, options)
    genome, options = scorer.genome, scorer.options
    found = parse_region(region, genome)
    length = found.end - found.start
    one = length <= scorer.size(found.chrom) and options.placements == 1
    LOG.info(
        f"{found.chrom}:{found.start + 1}-{found.end}: {length} {own.alphabet.unit}, "
        f"{'all in one window' if one else 'each in its own window'}"
    )
    if one:
        scorer = replace(scorer, options=replace(options, around=found.start + length // 2))
    variants = substitutions(genome.with_soft_mask(scorer.model.policy.soft_mask), found)
    tables = [_with_changes(batch, search, scorer) for batch in scorer.batches(variants)]
    if not tables:
        known = ", ".join(own.alphabet.letters[:-1]) + f" or {own.alphabet.letters[-1]}"
        message = f"the region has no {known} that the model reads"
        raise GenomeError(message, place=f"{genome.path} {region}")
    table = pd.concat(tables, ignore_index=True)
    _check_scored(Counter(table["status"]), scorer, found.chrom, f"{genome.path} {region}")
    return Substitutions(table, scorer.units, own.alphabet.name)


def _of_language_model(
    model: LanguageModel, genome: Genome | str | Path, region: str
) -> Substitutions:
    genome = genome if isinstance(genome, Genome) else Genome(genome, model.alphabet)
    found = parse_region(region, genome)
    # a protein is read completely, the region of a chromosome alone
    start = found.start if model.alphabet is DNA else 0
    letters = genome.fetch(found.chrom, start, found.end if model.alphabet is DNA else None)
    effects = model.score_substitutions(letters.tobytes().decode("ascii"))
    rows = [
        (found.chrom, start + i + 1, chr(letters[i]), alt, effects[i, j], SCORED)
        for i, j in np.argwhere(np.isfinite(effects)).tolist()
        if (alt := model.alphabet.letters[j]) != chr(letters[i])
        if found.start <= start + i < found.end
    ]
    table = pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt", "effect", "status"])
    return Substitutions(table, {"": "log ratio"}, model.alphabet.name)


def annotate_variants(
    model: Models,
    genome: Genome | str | Path,
    vcf: str | Path,
    output: str | Path,
    options: VariantOptions | None = None,
    *,
    mismatches: float = 0.05,
    motifs: str | Path | None = None,
) -> Counter[str]:
    """Score the alleles of a VCF file of any size, and write a table and an annotated VCF.

    Writes PREFIX.effects.tsv with the columns of `score_variants`, and PREFIX.annotated.vcf.gz, the
    same lines with SAB_EFFECT and other fields in INFO, or SAB_EFFECT_OUTPUT for each output of a
    model that is not binary. Lines are scored in batches, so memory does not grow with the file. A
    warning is logged if the genome is named differently from the assembly of the training records.

    Parameters
    ----------
    model, genome, vcf, options
        As for `score_variants`.
    output
        Prefix of the file names.
    mismatches
        Allowed fraction of lines whose REF differs from the genome.
    motifs
        As for `score_substitutions`; adds the columns motifs_lost and motifs_gained.

    Returns
    -------
    The number of alleles with each status.

    Raises
    ------
    VariantFileError, GenomeError, ModelFolderError, ArgumentError
        As for `score_variants`; VariantFileError also if the header already defines the fields, and
        ArgumentError if no allele can be scored.
    DatabaseError
        If the file of motifs cannot be read.
    """
    own = load_dna_model(model)
    scorer = _opened(own, genome, options)
    source = VcfFile(vcf, scorer.genome)
    search = None if motifs is None else MotifSearch.of(motifs, own.alphabet)
    lines, wrong, first = check_reference(source, mismatches)
    differs = f"REF differs from the genome in {wrong}: {first}"
    LOG.info(
        f"{counted(lines, 'line')}, {differs if wrong else 'every REF agrees with the genome'}"
    )
    counts = Counter[str]()
    with open_writer(output, source, _name(model), scorer.units) as write:
        for batch in scorer.batches(source):
            write(batch.variants, _with_changes(batch, search, scorer))
            counts.update(batch.table["status"])
        _check_scored(counts, scorer, batch.variants[-1].name, str(vcf))
    log_lines(_status_lines(counts))
    return counts


def _opened(
    scorer: Scorer | Ensemble, genome: Genome | str | Path, options: VariantOptions | None
) -> VariantScorer:
    """Open the genome of a model, and warn if it has another name than the assembly."""
    genome = genome if isinstance(genome, Genome) else Genome(genome, scorer.alphabet)
    warn_of_other_assembly(scorer, assembly_of(genome))
    return VariantScorer(scorer, genome, options or VariantOptions())


def _name(model: Models) -> str:
    """Return the model as it was named, or the folders of a loaded model."""
    if isinstance(model, str | Path):
        return str(model)
    folders = model if isinstance(model, Sequence) else [m.folder for m in model.members]
    return " ".join(map(str, folders))


def _check_scored(counts: Counter[str], scorer: VariantScorer, chrom: str, place: str) -> None:
    """Raise unless an allele was scored. The error names the window of a chromosome."""
    if not counts[SCORED]:
        window = f"{scorer.size(chrom)} {scorer.model.alphabet.unit}"
        message = f"no allele can be scored in a window of {window}"
        raise ArgumentError(message, place=place, hint="; ".join(_status_lines(counts)))


def _status_lines(counts: Counter[str]) -> list[str]:
    return [f"{counted(count, 'allele')} {MEANING[status]}" for status, count in counts.items()]


def _with_changes(
    batch: VariantBatch, search: MotifSearch | None, scorer: VariantScorer
) -> pd.DataFrame:
    """Return the table of a batch, with motifs_lost and motifs_gained if there are motifs.

    The first window of each allele is searched. Alleles without a score have empty values. Patterns
    with an anchor are searched only in windows that are complete sequences.
    """
    if search is None:
        return batch.table
    variants = [variant for variant in batch.variants for _ in variant.alts]
    known = [(i, pair) for i, pair in enumerate(batch.pairs) if pair is not None]
    refs, alts = [], []
    for i, pair in known:
        at, is_complete = int(pair.positions[0]), scorer.is_complete(variants[i].name)
        ref, alt = batch.table["ref"].iloc[i], batch.table["alt"].iloc[i]
        refs.append((pair.ref[0], at, at + len(ref), is_complete))
        alts.append((pair.alt[0], at, at + len(alt), is_complete))
    rows = [
        [";".join(name for name in search.ppms if name in some) for some in (ref - alt, alt - ref)]
        for ref, alt in zip(_touched(search, refs), _touched(search, alts), strict=True)
    ]
    index = [i for i, _ in known]
    found = pd.DataFrame(rows, index, columns=["motifs_lost", "motifs_gained"])
    return batch.table.join(found.reindex(range(len(batch.table)), fill_value=""))


def _touched(search: MotifSearch, windows: Sequence[AlleleWindow]) -> list[set[str]]:
    """Return, for each window, the motifs with a hit that overlaps the allele."""
    width = max((len(ppm) for ppm in search.ppms.values()), default=0)
    # one letter more than a hit needs: only hits at an end of the window are at an end of the cut
    cut = [letters[max(0, start - width) : end + width] for letters, start, end, _ in windows]
    hits = search.find(cut)
    first = np.array([min(start, width) for _, start, _, _ in windows])
    last = first + np.array([end - start for _, start, end, _ in windows])
    is_cut = np.array([not is_complete for *_, is_complete in windows], dtype=bool)
    record = hits["record"].to_numpy(dtype=int)
    is_over = (hits["start"] < last[record]) & (hits["end"] > first[record])
    is_unsure = is_cut[record] & hits["name"].isin(search.anchored)
    over = hits[is_over & ~is_unsure]
    of_records = over.groupby("record")["name"].agg(set)
    return [of_records.get(i, set()) for i in range(len(windows))]
