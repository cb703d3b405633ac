"""Motifs, their logos and the files they are written to.

`Explanation.find_motifs` and the `motifs` command return a `MotifSet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from Bio.motifs import Motif as BioMotif
from matplotlib import rc_context

from selfattn_bio.arrays import Floats, Integers
from selfattn_bio.display import counted, short_name
from selfattn_bio.errors import ArgumentError, ResultsError
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import read_json, read_with, whole_file, whole_folder, write_text
from selfattn_bio.layout import Layout
from selfattn_bio.motifs import alphabet_of, jaspar_text, meme_text, read_meme, transfac_text
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.logos import LetterPlot, logo
from selfattn_bio.motifs.matching import match_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.motifs.residues import consensus_of
from selfattn_bio.sequence.alphabet import DNA, SSDNA, Alphabet
from selfattn_bio.sequence.tables import on_chromosome, read_bed, read_table, write_bed, write_table

if TYPE_CHECKING:
    from selfattn_bio.evidence.held_out import Targets
    from selfattn_bio.scoring.inputs import Inputs
    from selfattn_bio.scoring.loading import Models

MOTIF_COLUMNS = ("name", "target", "consensus", "num_sites")  # in every table of motifs
SAVED = "Run `selfattn-bio motifs TASK` first, or save a MotifSet"


@dataclass(frozen=True)
class Motif(SeqletPattern):
    """A named pattern; `record` of its seqlets is a row of the explanation.

    Attributes
    ----------
    name
        motif_01 is the motif with most sites of the first explained output. Numbers continue with
        the next output.
    """

    name: str

    def __repr__(self) -> str:
        return f"Motif {self.name} {self.consensus} of {counted(self.num_sites, 'site')}"

    def _repr_html_(self) -> str:
        about = f"<b>{escape(self.name)}</b> {escape(self.consensus)}, "
        about += counted(self.num_sites, "site")
        svg = self.logo.svg(label=f"logo of {self.name}")
        return f"<div><div>{about}</div><div>{svg}</div></div>"

    @property
    def logo(self) -> LetterPlot:
        """Return the logo: `logo.draw(axes)` draws it, `logo.svg(label=...)` is SVG text."""
        return logo(self.ppm, self.alphabet.letters)

    @property
    def consensus(self) -> str:
        """Return the consensus sequence.

        DNA and RNA: IUPAC codes by Cavener's rules. Protein: a pattern such as PKK[KR]RKV
        (`residues.consensus_of`).
        """
        if not self.alphabet.is_nucleic:
            return consensus_of(self.ppm)
        counts = {letter: self.pfm[:, i].tolist() for i, letter in enumerate("ACGT")}
        text = str(BioMotif("ACGT", counts=counts).degenerate_consensus)
        return self.alphabet.normalise(text.encode()).decode()


@dataclass(frozen=True)
class MotifSet:
    """Motifs and a table of their properties.

    Attributes
    ----------
    motifs
        Most sites first, for each explained output.
    table
        One row per motif: name, input (only for models with two inputs), target (the explained
        output), consensus, num_sites, match, family, match_p, match_q, other_matches,
        near_ties. More columns after `with_evidence`.
    records
        id, chrom, start, end, strand of the records; the seqlets refer to its rows. Coordinates
        may be missing.
    sites
        Hits in held-out positives that the model uses, as BED6 rows with the columns p_value and
        rank (`matching.relevant_hits`). The score is 1000 x rank. None before `with_evidence`.
    curves
        Effects of the motifs alone in neutral backgrounds, by position and strand
        (`Marginals.curves`). None before `with_evidence`.
    source
        `Explanation.source` of the attributions; empty if unknown.
    notes
        Numbers of motifs, seqlets and sequences of each explained output, by its name, and why it
        has no motif. Empty if unknown.
    found_in
        Keys of the sequences in which the motifs were found (`evaluation.leakage.record_keys`); for
        models with two inputs, keys of the input that ends with the id of the record. Empty if
        unknown, as after `load`.
    """

    motifs: tuple[Motif, ...]
    table: pd.DataFrame
    records: pd.DataFrame
    sites: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    found_in: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        if not len(self):
            return "MotifSet without motifs"
        verdicts = self.table.get("verdict", [""] * len(self))
        pairs = zip(self, verdicts, strict=True)
        names = ", ".join(f"{each.name} {each.consensus} {of}".strip() for each, of in pairs)
        supported = f", {num_supported(self.table)} supported" if "verdict" in self.table else ""
        return f"MotifSet of {counted(len(self), 'motif')}{supported}: {names}"

    def _repr_html_(self) -> str:
        """Return the table as HTML, with a logo in each row."""
        table = self.table.map(lambda cell: escape(cell) if isinstance(cell, str) else cell)
        table.insert(1, "logo", [motif.logo.svg(label=f"logo of {motif.name}") for motif in self])
        with pd.option_context("display.max_colwidth", None):
            html = table.to_html(escape=False, index=False, na_rep="", float_format="{:.3g}".format)
        return f'<div style="overflow-x:auto">{html}</div>'

    def __len__(self) -> int:
        return len(self.motifs)

    def __iter__(self) -> Iterator[Motif]:
        return iter(self.motifs)

    def __getitem__(self, name: str | int) -> Motif:
        if isinstance(name, int):
            return self.motifs[name]
        named = {motif.name: motif for motif in self.motifs}
        if name not in named:
            raise KeyError(f"no motif {name!r}; there are {', '.join(named) or 'no motifs'}")
        return named[name]

    def row(self, name: str) -> dict[Hashable, Any]:
        """Return the row of the table of a motif, by column."""
        (row,) = self.table[self.table["name"] == name].to_dict("records")
        return row

    @property
    def input(self) -> str:
        """Return which input of a model with two inputs has the motifs, "first" or "partner"."""
        return str(self.table["input"].iloc[0]) if "input" in self.table and len(self) else "first"

    @property
    def alphabet(self) -> Alphabet:
        """Return the alphabet of the motifs; DNA if there are none."""
        return self.motifs[0].alphabet if self.motifs else DNA

    @property
    def ppms(self) -> dict[str, Floats]:
        """Return motif name to (width, A) probabilities."""
        return {motif.name: motif.ppm for motif in self.motifs}

    @property
    def num_sites(self) -> dict[str, int]:
        """Return motif name to number of sites."""
        return {motif.name: motif.num_sites for motif in self.motifs}

    def with_evidence(
        self,
        model: Models,
        sequences: Inputs,
        targets: Targets | None = None,
        *,
        partner: Inputs | None = None,
        groups: Sequence[object] | None = None,
        hit_p: float | None = None,
        window: tuple[int, int] | None = None,
        significance: float = 0.05,
        seed: int = 0,
    ) -> MotifSet:
        """Test each motif on held-out sequences with known targets, and decide its verdict.

        A motif of a class is supported if it is more frequent in positives and the score of the
        model falls when its sites are shuffled, by more than for motifs with its columns in random
        order. A motif of a number is supported if the numbers of records with a hit are higher, or
        lower, and the prediction falls, or rises. docs/interpretation_evidence.md describes the
        tests.

        Parameters
        ----------
        model
            A model with a score of each record: a model folder, or a model returned by `load`.
        sequences
            Sequences that were used neither to train the model nor to find the motifs: strings, the
            path of a FASTA file, or a table with a column `sequence` and optionally `id`. With the
            columns `chrom, start, end` (0-based half-open) and `strand`, the sites have genomic
            coordinates.
        targets
            The targets of the sequences, as in training: a table with the columns of the objective,
            or the values of its only column, (n,). For a binary model, 1 = positive and 0 =
            negative. By default the columns of `sequences`; the label of a binary model is in
            `label`. A model of bins reads its targets at the coordinates of the sequences.
        partner
            Second input of each sequence for models with two inputs, as in `score_sequences`. The
            tests change only the input of the motifs (`input`).
        groups
            Sequences with equal values, (n,), such as loci, count as one observation; by default
            all sequences are independent, and if there are fewer than three groups.
        hit_p
            A match of a motif is a hit if its p-value is below this, as in `hits`. By default
            2.5e-4, less for sequences of more than 300 letters, and for a short motif the p-value
            of its best match; a warning names another `hit_p` in the table. For motifs of a task
            whose run file sets it, pass `study.task.interpret.hit_p`.
        window
            [start, end) of a sequence where the centres of hits are expected; 0-based, or negative
            from its end, such as (-31, -25). The end is not part of it, and an end of 0 is the end
            of the sequence. By default the 10 positions with most hits are tested.
        significance
            q-value below which enrichment and effect are significant.
        seed
            Seed for shuffles, control sites and resampling.

        Returns
        -------
        The same motifs. `table` has the columns of `verdicts.COLUMNS` and `marginals.COLUMNS`,
        `sites` the hits that the model uses (in positives of the class of the motif, or in all
        sequences for a number), and `curves` the effects of the motifs alone.

        Raises
        ------
        SequenceFileError
            If the FASTA file is malformed, or a character is not in the alphabet.
        CorpusError
            If a target is not valid.
        ArgumentError
            If there is no sequence, or not one target per sequence, or no target for the output of
            a motif; if the model has another alphabet, no score of a record, or is an ensemble; if
            a partner is missing; if the model or its parent was trained or selected on one of the
            sequences (seen.parquet of its folder), or the motifs were found in one (`found_in`).
        """
        from selfattn_bio.evidence import held_out  # imports torch, which scanning does not need

        scorer = held_out.scorer_for_motifs(model, self)
        read = held_out.read_held_out(scorer, sequences, targets, partner)
        return held_out.add_evidence(
            self,
            scorer,
            *read,
            units=held_out.units_of(groups, len(read[1])),
            hit_p=hit_p,
            window=window,
            significance=significance,
            seed=seed,
        )

    def save(self, folder: str | Path) -> None:
        """Write the files of `selfattn-bio motifs` to a folder; other files in it are kept.

        These are motifs.meme, motifs.tsv (the table), motifs.json (the source),
        discovery_seqlets.bed (the seqlets from which motifs were built) and logos/, and after
        `with_evidence` seqlets.bed (the sites) and marginals.tsv (the curves).
        """
        layout = Layout(Path(folder))
        self.to_meme(layout.matrices)
        self.to_bed(layout.discovery_sites)
        for path in (layout.sites, layout.marginals):
            path.unlink(missing_ok=True)  # of other motifs
        if self.sites is not None:
            with whole_file(layout.sites) as path:
                write_bed(path, self.sites)
        if self.curves is not None:
            write_table(layout.marginals, self.curves)
        # equal logos give equal files
        with rc_context({"svg.hashsalt": "selfattn_bio"}), whole_folder(layout.logos) as logos:
            for motif in self:
                figure = DisplayedFigure(
                    figsize=(1 + 0.3 * len(motif.ppm), 1.6), layout="constrained"
                )
                motif.logo.draw(figure.subplots())
                figure.savefig(logos / f"{motif.name}.svg", metadata={"Date": None})
        write_text(layout.motifs_source, json.dumps({**self.source, "notes": self.notes}) + "\n")
        write_table(layout.motifs, self.table)

    @classmethod
    def load(cls, folder: str | Path) -> MotifSet:
        """Read a folder of `save`.

        Counts follow from the saved probabilities and numbers of sites. The seqlets have the
        coordinates of discovery_seqlets.bed, so `records` are the chromosomes or records named
        there. `sites` has the columns of BED6.

        Raises
        ------
        ResultsError
            If a file is missing or damaged, or a name of a motif is not that of a file.
        DatabaseError
            If motifs.meme is not MEME text.
        """
        layout = Layout(Path(folder))
        read = partial(read_with, error=ResultsError, hint=SAVED)
        table = read(partial(read_table, columns=MOTIF_COLUMNS), layout.motifs)
        seqlets = read(read_bed, layout.discovery_sites)
        if not layout.matrices.exists():
            ResultsError.fail("file not found", layout.matrices, SAVED)
        alphabet = alphabet_of(layout.matrices)
        if alphabet == DNA and "strands: + -" not in layout.matrices.read_text(encoding="utf-8"):
            alphabet = SSDNA
        ppms = read_meme(layout.matrices, alphabet)
        if unsafe := [name for name in ppms if not re.fullmatch(r"[\w.-]+", name)]:
            message = f"the motif name {unsafe[0]!r} cannot be the name of a file"
            raise ResultsError(message, place=str(layout.matrices), hint="Rename the motif")
        if sorted(table["name"]) != sorted(ppms):
            message = f"the names of the motifs are not those of {layout.matrices.name}"
            ResultsError.fail(message, layout.motifs, SAVED)
        records = pd.DataFrame({"id": seqlets["chrom"].unique()})
        records = records.reindex(columns=["id", "chrom", "start", "end", "strand"])
        seqlets["record"] = seqlets["chrom"].map({name: i for i, name in enumerate(records["id"])})
        motifs = []
        for name, ppm in ppms.items():
            own = seqlets.loc[seqlets["name"] == name, ["record", "start", "end", "strand"]]
            counts = np.rint(ppm * len(own)).astype(np.int64)
            motifs.append(Motif(counts, own.reset_index(drop=True), name, alphabet=alphabet))
        sites = read(read_bed, layout.sites) if layout.sites.exists() else None
        curves = read(read_table, layout.marginals) if layout.marginals.exists() else None
        source = read_json(layout.motifs_source, ResultsError, SAVED)
        notes = source.pop("notes", {})
        return cls(tuple(motifs), table, records, sites, curves, source, notes)

    def to_meme(self, path: str | Path | None = None) -> str | None:
        """Return the motifs as MEME text, version 4, or write it to `path`."""
        return _written(meme_text(self.ppms, self.num_sites, self.alphabet), path)

    def to_jaspar(self, path: str | Path | None = None) -> str | None:
        """Return the counts as JASPAR text, or write it to `path`.

        DNA only; raises ArgumentError for RNA and protein.
        """
        return _written(jaspar_text(self._counts_of_dna("JASPAR")), path)

    def to_transfac(self, path: str | Path | None = None) -> str | None:
        """Return the counts as TRANSFAC text, or write it to `path`.

        DNA only; raises ArgumentError for RNA and protein.
        """
        return _written(transfac_text(self._counts_of_dna("TRANSFAC")), path)

    def _counts_of_dna(self, format_name: str) -> dict[str, Integers]:
        if self.alphabet.letters != DNA.letters:
            raise ArgumentError(
                f"{format_name} stores DNA motifs only, not motifs of {self.alphabet.name}; use "
                "MEME"
            )
        return {motif.name: motif.pfm for motif in self.motifs}

    def to_bed(self, path: str | Path | None = None) -> pd.DataFrame:
        """Return the seqlets as BED6 rows and write them to `path` if given.

        Coordinates are 0-based half-open. They are genomic if the record has coordinates, else
        positions in the record with its id as chrom. The score is 1000.
        """
        intervals = [motif.seqlets.assign(name=motif.name, score=1000) for motif in self.motifs]
        empty = pd.DataFrame(columns=["record", "start", "end", "strand", "name", "score"])
        rows = on_chromosome(pd.concat(intervals) if intervals else empty, self.records)
        if path is not None:
            with whole_file(path) as temporary:
                write_bed(temporary, rows)
        return rows

    def plot(self, names: Sequence[str] = ()) -> DisplayedFigure:
        """Draw the logos of all motifs, or of those with these names, one below the other.

        They are in bits, with name and match, and the output if the motifs are of several. Raises
        KeyError if a motif does not exist.
        """
        shown = [self[name] for name in names] or self.motifs
        rows = max(1, len(shown))
        figure = DisplayedFigure(figsize=(6, 1.4 * rows), layout="constrained")
        for axes, motif in zip(figure.subplots(rows, 1, squeeze=False)[:, 0], shown, strict=False):
            motif.logo.draw(axes)
            row = self.row(motif.name)
            of = f" of {short_name(row['target'])}" if len({*self.table["target"]}) > 1 else ""
            title = f"{motif.name}{of}  {match_label(row)}"
            axes.set_title(title, loc="left", fontsize=9)
        return figure


def _written(text: str, path: str | Path | None) -> str | None:
    if path is None:
        return text
    write_text(path, text)
    return None


def build_motifs(
    patterns: list[SeqletPattern],
    records: pd.DataFrame,
    database: dict[str, Floats],
    targets: Sequence[str] = (),
    input: str = "",
    source: Mapping[str, str] | None = None,
) -> MotifSet:
    """Name the patterns motif_01, motif_02, … in order and match them with the database.

    `targets` has the explained output of each pattern; "" is the only output of a model. With an
    empty database no motif has a match. `input` and `source` are those of the explanation.
    """
    motifs = tuple(
        Motif(pattern.pfm, pattern.seqlets, f"motif_{i:02d}", alphabet=pattern.alphabet)
        for i, pattern in enumerate(patterns, start=1)
    )
    table = pd.DataFrame(
        {
            "name": [motif.name for motif in motifs],
            "target": list(targets) or [""] * len(motifs),
            "consensus": [motif.consensus for motif in motifs],
            "num_sites": [motif.num_sites for motif in motifs],
        }
    )
    if input:
        table.insert(1, "input", input)
    found = MotifSet(motifs, table, records, source=source or {})
    matches = match_motifs(found.ppms, database, found.alphabet)
    return replace(found, table=pd.concat([table, matches.drop(columns="name")], axis=1))


def num_supported(motifs: pd.DataFrame) -> int:
    """Count the rows with the verdict "supported"."""
    return int((motifs["verdict"] == "supported").sum())
