"""The result of an attribution method: an `Explanation` of sequences, position by position.

An `Explanation` can be saved to a folder, loaded, plotted, and searched for motifs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selfattn_bio.arrays import Integers, Scores
from selfattn_bio.attribution.contributions import located, write_contributions
from selfattn_bio.attribution.methods import AttnLRPCopies
from selfattn_bio.attribution.plot_regions import (
    PlotRegion,
    best_track_html,
    figure_width,
    record_interval,
)
from selfattn_bio.attribution.readout import MappedSequence, read_maps, write_maps
from selfattn_bio.attribution.rules import importance
from selfattn_bio.config import NO_DATABASE
from selfattn_bio.data.corpus import PARTNER
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError, ResultsError
from selfattn_bio.evaluation.leakage import record_keys
from selfattn_bio.figure import DisplayedFigure
from selfattn_bio.files import check_replaceable, read_json, read_with, whole_folder
from selfattn_bio.log import LOG
from selfattn_bio.motifs import database_of, open_database
from selfattn_bio.motifs.callers import Caller, build_caller
from selfattn_bio.motifs.logos import track as letter_track
from selfattn_bio.motifs.matching import one_hot
from selfattn_bio.motifs.motif_set import MotifSet, build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern, refine_patterns, write_modisco_h5, write_npz
from selfattn_bio.sequence.alphabet import PROTEIN, Ascii, get_alphabet
from selfattn_bio.sequence.genome import Genome, matching_name
from selfattn_bio.sequence.tables import read_parquet

INTERVAL = ("chrom", "start", "end", "strand")
ARRAYS, RECORDS, ABOUT, MAPS = "attribution.npz", "records.parquet", "attribution.json", "maps.npz"
CONTRIBUTIONS = "contributions"  # folder of bigWig files
# keys of the provenance of the explained model
SOURCE = ("weights_sha256", "corpus_fingerprint", "split_sha256")
OF_RECORDS = ("letters", "hypothetical", "attention")  # arrays with a row per record
SETTINGS = ("alphabet", "method", "member_correlation", "numbers", "input")
SHOWN = 3  # sequences in notebooks
LABEL_WIDTH = 24  # characters that fit next to a plot
AGAIN = "Run `selfattn-bio explain TASK` again"
SPACERS = (
    "; motifs of a few residues with long spacers can be missed, and docs/proteins.md shows how to "
    "search for known patterns"
)


@dataclass(frozen=True)
class Explanation:
    """Attributions of n sequences of up to L positions; A letters in the alphabet.

    Attributes
    ----------
    records
        One row per sequence: id, target (the explained output), length, chrom, start, end and
        strand (the last four are missing if unknown), and any further columns. start and end are
        0-based half-open. A sequence that is explained for several outputs has several rows.
    letters
        (n, L) ASCII, padded with 0.
    hypothetical
        (n, L, A) float32: effect of each letter at each position on the output, in units of the
        output, relative to the mean over the letters. Letters are in alphabet order. 0 in padding.
        Shape (n, L, 0) for methods based on attention.
    attention
        (n, L) float32: raw attention received, or the result of a method based on attention. It
        does not explain the output. 0 for networks without attention.
    alphabet
        Name of the alphabet of the sequences.
    source
        Key to value of `SOURCE` in the provenance of the model; empty if unknown.
    method
        Name of the method.
    numbers
        The `targets` that are numbers, which motifs can raise or lower. Motifs of other targets
        raise the score.
    maps
        Record id to its attention maps, for a few selected records, which need not be among the
        explained ones.
    partner
        Explanation of the second input of models with two inputs, row by row; None for models with
        one.
    input
        "first" or "partner" for models with two inputs, otherwise empty.
    member_correlation
        Spearman's correlation between the attributions of the networks of `[model] members`, each
        explained alone: median over some of the records. None if unknown, or for one network.
    """

    records: pd.DataFrame
    letters: Ascii
    hypothetical: Scores
    attention: Scores
    alphabet: str
    source: Mapping[str, str] = field(default_factory=dict)
    method: str = AttnLRPCopies.name
    numbers: tuple[str, ...] = ()
    maps: Mapping[str, MappedSequence] = field(default_factory=dict)
    partner: Explanation | None = None
    input: str = ""
    member_correlation: float | None = None

    def __repr__(self) -> str:
        sequences = counted(len(self), f"{get_alphabet(self.alphabet).title} sequence")
        return f"Explanation of {sequences} of at most {self.letters.shape[1]} positions"

    def _repr_html_(self) -> str:
        """Return the first sequences as HTML, with letters scaled by score.

        In long sequences, the window with the largest scores is shown.
        """
        tracks = "".join(
            best_track_html(self.ids[row], self.track(row), get_alphabet(self.alphabet).letters)
            for row in range(min(SHOWN, len(self)))
        )
        method = f"{escape(self.method)}{' (raw attention)' * self.is_attention}"
        return f'<div style="overflow-x:auto"><b>{escape(repr(self))}</b> ({method}){tracks}</div>'

    def __len__(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> list[str]:
        """Return the ids of the sequences, in order."""
        return self.records["id"].tolist()

    @property
    def sequences(self) -> list[str]:
        """Return the sequences as text, without padding, in order."""
        return [row.tobytes().decode() for row in self._without_padding(self.letters)]

    @property
    def is_attention(self) -> bool:
        """Return whether the method is based on attention and has no hypothetical scores."""
        return not self.hypothetical.shape[2]

    @property
    def attribution(self) -> list[Scores]:
        """Return the importance of each position, one non-negative (length,) array per sequence.

        It is the L2 norm over the hypothetical scores of a position, or the attention for methods
        based on attention.
        """
        rows = self.attention if self.is_attention else importance(self.hypothetical)
        return self._without_padding(rows)

    def _without_padding(self, rows: NDArray[Any]) -> list[NDArray[Any]]:
        return [row[:length] for row, length in zip(rows, self.records["length"], strict=True)]

    @property
    def targets(self) -> list[str]:
        """Return the names of the explained outputs."""
        return self.records["target"].unique().tolist()

    def of(self, target: str) -> Explanation:
        """Return the rows of one of the `targets`."""
        return self._rows((self.records["target"] == target).to_numpy().nonzero()[0])

    def _rows(self, rows: Integers) -> Explanation:
        return replace(
            self,
            records=self.records.iloc[rows].reset_index(drop=True),
            partner=self.partner and self.partner._rows(rows),
            **{name: getattr(self, name)[rows] for name in OF_RECORDS},
        )

    def find_motifs(
        self, database: str | None = "", *, caller: Caller | None = None, max_motifs: int = 25
    ) -> MotifSet:
        """Find recurring patterns with high attribution and match them with known motifs.

        If several outputs are explained, the motifs of each are found separately.

        Parameters
        ----------
        database
            `jaspar:GROUP` (insects, vertebrates, plants, fungi, nematodes), or a path to MEME,
            JASPAR or TRANSFAC text; for proteins MEME text, or the patterns of ELM or PROSITE.
            None or "none" for no matches. It must be given for DNA.
        caller
            `Modisco()` or `Clusters()` of `motifs.callers`. The default is modisco for DNA and
            clusters for RNA, single-stranded DNA and proteins.
        max_motifs
            Largest number of motifs of an output; those with most sites are kept.

        Returns
        -------
        The motifs with their sites and best matches.

        Raises
        ------
        ArgumentError
            If no database is named for DNA, the method is based on attention, or the
            caller does not support the alphabet (modisco and protein).
        DatabaseError
            If the database cannot be read.
        """
        if self.is_attention:
            raise ArgumentError(
                f"method {self.method!r} reads attention weights, but motifs need attributions of "
                "single positions; choose another method"
            )
        alphabet = get_alphabet(self.alphabet)
        if database == "" and alphabet.has_complement:
            raise ArgumentError(
                "no motif database is named",
                hint='Name that of the organism, such as database="jaspar:vertebrates", '
                "or None for motifs without matches",
            )
        searched = database_of(database, alphabet)
        known = open_database(searched, alphabet) if searched else {}
        if not searched and database not in ("", None, NO_DATABASE):
            LOG.warning(f"motifs are not matched: {database!r} has no {alphabet.title} motifs")
        caller = caller or build_caller(None, alphabet)
        patterns: list[SeqletPattern] = []
        targets: list[str] = []
        notes: dict[str, str] = {}
        for target in self.targets:
            signs = (1, -1) if target in self.numbers else (1,)
            name = f" for {target!r}" * (len(self.targets) > 1)
            found, notes[target] = self.of(target)._patterns(caller, signs, name, max_motifs)
            rows = np.flatnonzero(self.records["target"] == target)  # of the records of the target
            for pattern in found:
                record = rows[pattern.seqlets["record"].to_numpy(dtype=int)]
                patterns.append(replace(pattern, seqlets=pattern.seqlets.assign(record=record)))
            targets += [target] * len(found)
        motifs = build_motifs(patterns, self.records, known, targets, self.input, self.source)
        sequences = self._without_padding(self.letters)
        keys = record_keys(sequences, alphabet, self.ids if self.input else ())
        return replace(motifs, notes=notes, found_in=frozenset(keys))

    def _patterns(
        self, caller: Caller, signs: tuple[int, ...], name: str, most: int
    ) -> tuple[list[SeqletPattern], str]:
        """Find the patterns of one output that raise (1) or lower (-1) it: at most `most`.

        Those with most sites are first. The text has the numbers of all patterns, of seqlets and
        of sequences, and why there is no pattern.
        """
        alphabet = get_alphabet(self.alphabet)
        found = [caller.call(self.letters, sign * self.hypothetical, alphabet) for sign in signs]
        called = [pattern for each in found for pattern in each.patterns]
        patterns = refine_patterns(called, self._without_padding(self.letters), self.attribution)
        most_seqlets = max(found, key=lambda each: each.num_seqlets)
        note = "" if called else most_seqlets.note + ("" if alphabet.is_nucleic else SPACERS)
        log = LOG.info if patterns else LOG.warning  # Python shows only warnings
        text = (
            f"{counted(len(patterns), 'motif')}{name} from "
            f"{counted(sum(each.num_seqlets for each in found), 'seqlet')} of "
            f"{counted(len(self), 'sequence')}{': ' * bool(note)}{note}"
        )
        log(text)
        return patterns[:most], text

    def track(self, row: int = 0) -> Scores:
        """Return the data that `plot` draws for sequence number `row`, (length, A).

        The column of the observed letter has its score: the hypothetical score, or the attention
        for methods based on attention. All other values are 0.
        """
        length = int(self.records["length"].iloc[row])
        observed = one_hot(self.letters[row, :length], get_alphabet(self.alphabet)).astype(bool)
        scores = self.attention[row, :, None] if self.is_attention else self.hypothetical[row]
        return scores[:length] * observed

    def plot(self, row: int | str = 0, region: PlotRegion = None) -> DisplayedFigure:
        """Draw a sequence, given by number or id, with letters as tall as their scores.

        Scores have the units of the output.

        The score of a letter is its hypothetical score: its effect on the output minus the mean
        effect of all letters at this position. Letters that increase the output point upwards.
        Tracks are drawn as bars. For methods based on attention, the attention is drawn. The axis
        counts positions from 1.

        Parameters
        ----------
        row
            Number or id of the sequence, or the accession within it, as in sp|P12345|A_MOUSE.
        region
            The positions to draw: (start, end) in the sequence, 0-based half-open; or "all". Text
            is 1-based inclusive, as in samtools: "ID:FIRST-LAST" with positions in the sequence, or
            "CHROM:FIRST-LAST" if the chromosome of the record is known. By default, the 100
            positions with the largest scores.

        Raises
        ------
        ArgumentError
            If there is no such sequence, or the region is not within it.
        """
        if isinstance(row, str) and (name := matching_name(row, {*self.ids})):
            row = self.ids.index(name)
        if not isinstance(row, int | np.integer) or not -len(self) <= row < len(self):
            raise ArgumentError(
                f"there is no sequence {row!r}; pass an id, or a number from 0 to {len(self) - 1}"
            )
        track = self.track(row)
        scores = track.sum(axis=1)
        start, end = record_interval(region, scores, self.records.iloc[row])
        figure = DisplayedFigure(figsize=(figure_width(end - start), 2.2), layout="constrained")
        axes = figure.subplots()
        letter_track(track[start:end], get_alphabet(self.alphabet).letters, start).draw(axes)
        label = f"effect on {self.records['target'].iloc[row]}"
        if self.is_attention:
            label = f"{self.method} (raw attention)"
        where = f"{start + 1:,} to {end:,} of {len(track):,}"
        axes.set(xlabel=f"position in the sequence, {where}", ylabel=fill(label, LABEL_WIDTH))
        axes.set_title(self.ids[row], loc="left")
        return figure

    def to_bigwig(self, folder: str | Path, genome: Genome | str | Path | None = None) -> None:
        """Write the scores of `plot` along the genome as bigWig, two files per target.

        TARGET.bw has their sum over all records at a position, TARGET-count.bw the number of
        records. Records without an interval as long as their sequence are left out. See
        `contributions.write_contributions` for the arguments and errors.
        """
        write_contributions(folder, self.records, lambda row: self.track(row).sum(axis=1), genome)

    def to_npz(self, folder: str | Path) -> None:
        """Write ohe.npz, attributions.npz and regions.npz for `modisco` and `finemo`; DNA only.

        See `patterns.write_npz`. An existing folder is replaced.
        """
        write_npz(folder, self.letters, self.hypothetical)

    def to_modisco(self, motifs: MotifSet, path: str | Path) -> None:
        """Write motifs of this explanation as h5 for `modisco report` and `finemo`; DNA only.

        See `patterns.write_modisco_h5`.
        """
        write_modisco_h5(path, motifs.motifs, self.letters, self.hypothetical)

    def save(self, folder: str | Path, genome: Genome | str | Path | None = None) -> None:
        """Write the explanation to a folder that `load` reads.

        The folder contains the attributes of the explanation and, for records of DNA with
        coordinates, the result of `to_bigwig` in `contributions`. A folder from an earlier `save`
        is replaced.

        Raises
        ------
        OutputError
            If the folder contains other files.
        """
        check_output(folder)
        with whole_folder(folder) as temporary:
            arrays = {name: getattr(self, name) for name in OF_RECORDS}
            np.savez_compressed(temporary / ARRAYS, **arrays)
            write_maps(temporary / MAPS, self.maps)
            self.records.to_parquet(temporary / RECORDS, index=False)
            about = {**{name: getattr(self, name) for name in SETTINGS}, **self.source}
            (temporary / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")
            if self.alphabet != PROTEIN.name and located(self.records).any():
                self.to_bigwig(temporary / CONTRIBUTIONS, genome)
            if self.partner:
                self.partner.save(temporary / PARTNER, genome)

    @classmethod
    def load(cls, folder: str | Path) -> Explanation:
        """Read a folder written by `save`.

        Raises
        ------
        ResultsError
            If a part is missing or damaged, or the parts have different numbers of records.
        """
        folder = Path(folder)
        read = partial(read_with, error=ResultsError, hint=AGAIN)
        about = read_json(folder / ABOUT, ResultsError, AGAIN)
        # `read` names the file if a key is missing
        settings = read(lambda _: {name: about[name] for name in SETTINGS}, folder / ABOUT)
        # folders of earlier versions have no target
        records = read(lambda path: read_parquet(path).astype({"target": "str"}), folder / RECORDS)
        loaded = cls(
            records,
            **read(_read_arrays, folder / ARRAYS),
            **settings | {"numbers": tuple(settings["numbers"])},
            source={key: about[key] for key in SOURCE if key in about},
            maps=read(read_maps, folder / MAPS),
            partner=cls.load(folder / PARTNER) if (folder / PARTNER).is_dir() else None,
        )
        rows = {len(records), len(loaded.letters), len(loaded.hypothetical), len(loaded.attention)}
        if len(rows) > 1:
            message = (
                "the files of the attribution folder have different numbers of records: "
                f"{' and '.join(map(str, sorted(rows)))}"
            )
            raise ResultsError(message, place=str(folder), hint=AGAIN)
        return loaded


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    # np.load(path) does not close a damaged archive, so open the file here.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in OF_RECORDS}


def check_output(folder: str | Path) -> None:
    """Check that an explanation may be written to a folder.

    Raises
    ------
    OutputError
        If the folder contains files that are not from `Explanation.save`.
    """
    check_replaceable(
        folder, "attribution", (ARRAYS, RECORDS, ABOUT, MAPS, CONTRIBUTIONS, PARTNER), ABOUT
    )
