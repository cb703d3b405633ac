"""Scan FASTA files or strings for motifs.

Records are scanned in chunks, so files may be of any length. Hits have genomic coordinates if the
records do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from selfattn_bio.arrays import Floats
from selfattn_bio.display import counted
from selfattn_bio.errors import ArgumentError
from selfattn_bio.files import check_ending, check_output_file, listed, whole_file
from selfattn_bio.log import LOG, logging_from
from selfattn_bio.motifs import (
    alphabet_of,
    has_patterns,
    matrix_of,
    meme_sites,
    open_database,
    read_forms,
)
from selfattn_bio.motifs.matching import HIT_P, NUM_SITES, best_p, find_hits
from selfattn_bio.motifs.motif_set import MotifSet
from selfattn_bio.motifs.residues import background, forms_of
from selfattn_bio.scoring.inputs import read_inputs
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, Alphabet, Ascii, get_alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.records import ReadSummary, Record
from selfattn_bio.sequence.tables import BED_COLUMNS, on_chromosome, write_bed, write_table

CHUNK_LETTERS = 8_000_000  # letters per chunk, padding included: 32 MB of DNA in one-hot coding
MAX_SCORE = 1000  # of BED
# keeps U, which alphabets of DNA read as T
_EITHER = replace(DNA, ambiguous=DNA.ambiguous + "U", synonyms=(), complements="")
HEAD = 100  # records that are searched for U
RECORD_COLUMNS = ["id", "chrom", "start", "end", "strand"]


@dataclass(frozen=True)
class MotifSearch:
    """Search for motifs: exact matches of patterns, and good matches of matrices.

    Attributes
    ----------
    ppms, num_sites
        As for `matching.find_hits`.
    forms
        Name to text of the motifs that are patterns.
    limits
        Name to p-value below which a match is a hit.
    alphabet
        Alphabet of motifs and sequences.
    """

    ppms: Mapping[str, Floats]
    num_sites: Mapping[str, int]
    forms: Mapping[str, str]
    limits: Mapping[str, float]
    alphabet: Alphabet

    @classmethod
    def of(
        cls,
        motifs: MotifSet | Mapping[str, Floats | str] | str | Path,
        alphabet: Alphabet,
        hit_p: float | None = None,
    ) -> MotifSearch:
        """Prepare the search for motifs, given as for `hits`; warn of short matrices."""
        limit = HIT_P if hit_p is None else hit_p
        if not 0 < limit < 1:
            raise ArgumentError(f"hit_p is {hit_p}; choose a value between 0 and 1")
        num_sites = dict[str, int]()
        if isinstance(motifs, MotifSet):
            num_sites, motifs = motifs.num_sites, motifs.ppms
        elif not isinstance(motifs, Mapping):
            are_forms = alphabet == PROTEIN and has_patterns(motifs)
            path = str(motifs)
            motifs = read_forms(Path(path)) if are_forms else open_database(path, alphabet)
            num_sites = meme_sites(path, motifs)
        ppms = {str(name): matrix_of(motif, alphabet) for name, motif in motifs.items()}
        texts = {str(name): each for name, each in motifs.items() if isinstance(each, str)}
        forms = {name: forms_of(text, alphabet)[0] for name, text in texts.items()}
        for name in forms:  # all letters that a position allows get the same score
            allowed = (ppms[name] > 0) * background(alphabet)
            ppms[name] = allowed / allowed.sum(axis=1, keepdims=True)
        best = {n: best_p(ppm, num_sites.get(n, NUM_SITES), alphabet) for n, ppm in ppms.items()}
        short = [name for name, p in best.items() if p >= limit and name not in forms]
        takes_best = hit_p is None and alphabet == PROTEIN
        if short:
            examples = ", ".join(f"{name} with p = {best[name]:.2g} at best" for name in short[:3])
            hint = "Only their best matches are hits" if takes_best else "Raise hit_p of `hits`"
            LOG.warning(
                f"{counted(len(short), 'motif')} cannot have a hit with p < {limit:.2g}, for "
                f"example {examples}. {hint}"
            )
        # The smallest limit with the best match below it. The letters of a position of a pattern
        # score the same, so only its exact matches have the best p.
        of_best = [*forms, *short] if takes_best else forms
        limits = {name: float(np.nextafter(best[name], 1)) for name in of_best}
        return cls(ppms, num_sites, forms, dict.fromkeys(ppms, limit) | limits, alphabet)

    @property
    def anchored(self) -> list[str]:
        """Return the names of the patterns with `^` or `$`."""
        return [name for name, form in self.forms.items() if form.strip("^$") != form]

    def find(self, sequences: Sequence[Ascii]) -> pd.DataFrame:
        """Find the hits, as `matching.find_hits`; patterns with an anchor only at an end."""
        found = find_hits(self.ppms, self.num_sites, sequences, self.limits, self.alphabet)
        form = found["name"].map(lambda name: self.forms.get(name, "")).astype(str)
        after = np.array([*map(len, sequences), 0])[found["record"]] - found["end"]
        is_inside = form.str.startswith("^") & (found["start"] > 0)
        is_inside |= form.str.endswith("$") & (after > 0)
        return found[~is_inside].reset_index(drop=True)


def hits(
    motifs: MotifSet | Mapping[str, Floats | str] | str | Path,
    sequences: Sequence[str] | str | Path,
    *,
    hit_p: float | None = None,
    alphabet: str = "",
) -> pd.DataFrame:
    """Find motif hits with FIMO, on both strands of DNA.

    `hits("motifs.meme", ["TTTATCGATAGG"])` returns one row for each motif and position in the
    string. Patterns and consensus sequences, also of files of ELM and PROSITE, match exactly,
    whatever their p-value: each letter is one of those of its position. A matrix of probabilities
    has any match with a p-value below `hit_p`. An unknown letter, such as N or X, scores as the
    worst letter of its position, so that it never matches a pattern, except where any letter does.
    A pattern that begins with `^` (`<` in PROSITE) matches at the start of a sequence only, and one
    that ends with `$` (`>`) at its end only.

    Parameters
    ----------
    motifs
        A `MotifSet`; a mapping of names to (width, A) probabilities, or to a consensus in IUPAC
        codes such as "TATAWAAR"; or an argument of `open_database`: `jaspar:GROUP`, or the path of
        a MEME, JASPAR or TRANSFAC file, or for proteins of an ELM or PROSITE file. Numbers of
        sites, which make the pseudocounts, are those of a `MotifSet` or a MEME file (nsites=), and
        100 for others.
    sequences
        Strings, or the path of a FASTA file (plain, gz, bgzip).
    hit_p
        p-value threshold of matrices, in (0, 1). By default 2.5e-4, and for a motif of proteins too
        short for that the p-value of its best match. The p-value is the probability that a random
        sequence scores at least as high, with equally frequent bases, or with residues as frequent
        as in Swiss-Prot.
    alphabet
        dna, rna, ssdna (one strand of DNA) or protein. By default that of the motifs, and dna for
        a mapping, but rna for motifs of DNA if the first sequences have U and no T.

    Returns
    -------
    chrom, start, end (0-based half-open), name (of the motif), score (-10 log10 p, at most 1000),
    strand, p_value; sorted by position. Coordinates are genomic if the header of the record has
    `chrom=`, `start=` and `end=`. Otherwise they are positions in the record, with its id (or the
    index of the string) as chrom.

    Raises
    ------
    ArgumentError
        If `hit_p` is not in (0, 1), a consensus has another character (in DNA also `^` and `$`),
        the motifs do not fit the alphabet, or the sequences are neither a list nor a file.
    DatabaseError
        If the motif file cannot be read.
    SequenceFileError
        If the FASTA file is malformed, or a character is not in the alphabet.
    """
    own = DNA
    if isinstance(motifs, MotifSet):
        own = motifs.alphabet
    elif not isinstance(motifs, Mapping):
        own = alphabet_of(motifs)
        if own is DNA and not alphabet:  # name an error in this file before those of sequences
            open_database(str(motifs))
    if own is DNA and not alphabet and _are_rna(sequences):
        own = RNA
    letters = get_alphabet(alphabet) if alphabet else own
    search = MotifSearch.of(motifs, letters, hit_p)
    tables = [_of(chunk, search) for chunk in _chunks(_records(sequences, letters))]
    found = [table for table in tables if len(table)]
    if not found:
        return pd.DataFrame(columns=[*BED_COLUMNS, "p_value"])
    return pd.concat(found).sort_values(
        ["chrom", "start", "end", "name", "strand"], ignore_index=True
    )


def scan_files(
    motifs: MotifSet | Mapping[str, Floats | str] | str | Path,
    files: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    hit_p: float | None = None,
    alphabet: str = "",
) -> pd.DataFrame:
    """Find motif hits in FASTA files, and write one table.

    Parameters
    ----------
    motifs, hit_p, alphabet
        As for `hits`.
    files
        One or more FASTA files, plain, gz or bgzip.
    output
        .bed, which has p as a seventh column, or .tsv or .parquet with the same columns.

    Returns
    -------
    The hits, with the columns of `hits`.

    Raises
    ------
    OutputError
        If the output has another ending, or is also an input.
    ArgumentError, DatabaseError, SequenceFileError
        As for `hits`.
    """
    output = check_ending(output, ".bed", ".tsv", ".parquet")
    check_output_file(output, motifs, *listed(files))
    tables = [
        hits(motifs, path, hit_p=hit_p, alphabet=alphabet) for path in map(Path, listed(files))
    ]
    found = pd.concat(tables, ignore_index=True)
    if output.suffix == ".bed":
        with whole_file(output) as temporary:
            write_bed(temporary, found, ["p_value"])
    else:
        write_table(output, found)
    return found


def _records(sequences: Sequence[str] | str | Path, alphabet: Alphabet) -> Iterator[Record]:
    for each in read_inputs(SequencePolicy(alphabet), sequences, 1, ids=ReadSummary()):
        yield Record(each.id, each.letters, *(each.place or ())[:4])


def _are_rna(sequences: Sequence[str] | str | Path) -> bool:
    """Return whether the first records have U and no T."""
    first = islice(_records(sequences, _EITHER), HEAD)
    with logging_from(logging.WARNING):  # the records are read again
        found = set[int]().union(*(record.letters.tobytes() for record in first))
    return ord("U") in found and ord("T") not in found


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Yield records in order, in chunks of at most CHUNK_LETTERS letters after padding."""
    chunk: list[Record] = []
    longest = 0
    for record in records:
        longest = max(longest, len(record.letters))
        if chunk and longest * (len(chunk) + 1) > CHUNK_LETTERS:
            yield chunk
            chunk, longest = [], len(record.letters)
        chunk.append(record)
    if chunk:
        yield chunk


def _of(chunk: list[Record], search: MotifSearch) -> pd.DataFrame:
    """Find the hits in a chunk, with their coordinates."""
    found = search.find([record.letters for record in chunk])
    score = (-10 * np.log10(found["p_value"].clip(lower=10 ** (-MAX_SCORE / 10)))).round()
    table = pd.DataFrame(
        {name: [getattr(record, name) for record in chunk] for name in RECORD_COLUMNS}
    )
    return on_chromosome(
        found.assign(score=score), table.astype({"start": "Int64", "end": "Int64"})
    )
