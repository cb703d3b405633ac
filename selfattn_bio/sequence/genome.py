"""Random access to an indexed genome, or to a FASTA file of proteins.

Reads plain and bgzip FASTA and accepts chromosome names with or without "chr".
`sequence.faidx` creates the index; pysam reads the file.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pysam
from numpy.typing import NDArray

from selfattn_bio.arrays import Bools
from selfattn_bio.display import did_you_mean, shortened
from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.log import LOG
from selfattn_bio.sequence.alphabet import DNA, Alphabet, printable
from selfattn_bio.sequence.faidx import index_of
from selfattn_bio.sequence.policy import SequencePolicy, SoftMask

_MITOCHONDRION = ("chrM", "M", "MT", "chrMT", "Mito")
_SHOWN = 8  # chromosome names shown in an error


class Genome:
    """An indexed FASTA file of chromosomes, plain or bgzip.

    `Genome("dm3.fa").fetch("chr2L", 7, 11, "-")` is the reverse complement of the bases 7, 8, 9 and
    10 of chr2L.

    The index (`.fai`, and `.gzi` for bgzip) is next to the file, or in the user's cache if the
    folder of the file is not writable. A missing index is created. An index that is older than the
    file or does not match it is rebuilt, with a message. Genomes can be pickled and used after a
    fork, because each process opens its own handle. They cannot be shared between threads.

    Parameters
    ----------
    path
        FASTA file.
    alphabet
        Its letters; protein for the sequences of a protein model.

    Attributes
    ----------
    names
        Chromosome names, in the order of the file.
    lengths
        Length of each chromosome in bp, by name.

    Raises
    ------
    GenomeError
        If the file is missing, unreadable, truncated, not FASTA, or compressed with gzip instead of
        bgzip; if it has a duplicate or missing name, an empty record, or lines of unequal length
        within a record; or if the index cannot be written anywhere.
    ArgumentError
        If the path is not a text or a Path.
    """

    def __init__(self, path: str | Path, alphabet: Alphabet = DNA) -> None:
        if not isinstance(path, str | Path):
            raise ArgumentError(f"expected the path of a FASTA file, not a {type(path).__name__}")
        self.path = Path(path)
        self._fai, self._gzi, self.lengths = index_of(self.path)
        self.names = list(self.lengths)
        self.alphabet = alphabet
        self._policy = SequencePolicy(alphabet)
        self._mapped = False  # whether the message about differing names was printed
        self._file: pysam.FastaFile | None = None
        self._process = 0  # id of the process that opened the file
        if not alphabet.is_nucleic:  # a stop sign at the end is no residue
            for name, length in self.lengths.items():
                if self._read(name, length - 1, length) == b"*":
                    self.lengths[name] = length - 1

    def __enter__(self) -> Genome:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def with_soft_mask(self, soft_mask: SoftMask) -> Genome:
        """Return a genome whose soft-masked bases are read as N if `soft_mask` is "hard".

        Otherwise return this genome unchanged.
        """
        if soft_mask != "hard":
            return self
        view = copy.copy(self)  # opens its own handle
        view._policy = SequencePolicy(self.alphabet, soft_mask)
        return view

    def close(self) -> None:
        """Close the file; a later `fetch` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def resolve(self, name: str) -> str:
        """Return the name that this genome uses for a chromosome.

        If the genome has chr2L and chrM, "2L" gives "chr2L" and "MT" gives "chrM". The first time
        the two names differ, a warning is logged.

        Raises
        ------
        GenomeError
            If the genome has no such chromosome.
        """
        found = self.name_of(name)
        if found is None:
            is_dna = self.alphabet.has_complement
            kind, whole = ("chromosome", "genome") if is_dna else ("sequence", "file")
            message = f"no {kind} {name!r} in the {whole} (it has {shortened(self.names, _SHOWN)})"
            hint = did_you_mean(name, self.names).replace("did", "Did", 1)
            GenomeError.fail(message, self.path, hint or "Is it the same file or assembly?")
        if found != name and not self._mapped:
            LOG.warning(f"{self.path}: names differ; {name!r} is read as {found!r}")
            self._mapped = True
        return found

    def name_of(self, name: str) -> str | None:
        """Return the name as `resolve` does, without a message; None if there is no match."""
        return matching_name(name, self.lengths)

    def fetch(
        self, chrom: str, start: int = 0, end: int | None = None, strand: str = "+"
    ) -> NDArray[np.uint8]:
        """Return the bases of a window.

        Parameters
        ----------
        chrom
            Chromosome name, possibly in another convention (see `resolve`).
        start, end
            0-based half-open, on the forward strand; by default the complete chromosome.
        strand
            "+", or "-" for the reverse complement.

        Returns
        -------
        Upper-case ASCII, shape (end - start,), with U read as T, or T as U for RNA. IUPAC codes are
        kept.

        Raises
        ------
        GenomeError
            If there is no such chromosome, the window is not within it, the window contains a
            character that is not DNA, or the file cannot be read.
        ArgumentError
            If the strand is neither + nor -.
        """
        if strand not in ("+", "-"):
            raise ArgumentError(f"invalid strand {strand!r} (expected + or -)")
        letters, _ = self.fetch_masked(chrom, start, end)
        return letters if strand == "+" else self.alphabet.reverse_complement(letters)

    def fetch_masked(
        self, chrom: str, start: int = 0, end: int | None = None
    ) -> tuple[NDArray[np.uint8], Bools]:
        """Return the forward-strand bases of a window, and a mask that is True where soft-masked.

        Both have shape (end - start,). Soft-masked bases are lower-case in the file. Parameters and
        errors are those of `fetch`.
        """
        chrom = self.resolve(chrom)
        end = self.lengths[chrom] if end is None else end
        if not 0 <= start <= end <= self.lengths[chrom]:
            length = f"{self.lengths[chrom]} {self.alphabet.unit}"
            message = f"window [{start}, {end}) is not within {chrom} ({length})"
            raise GenomeError(message, place=str(self.path))
        raw = self._read(chrom, start, end)
        if foreign := raw.translate(None, self.alphabet.readable):
            at = f"position {start + raw.index(foreign[0]) + 1:,} of {chrom}"
            raise GenomeError(
                f"invalid {printable(foreign[0])} at {at} (expected {self.alphabet.description})",
                place=str(self.path),
            )
        letters = np.frombuffer(raw.translate(self._policy.table), np.uint8)
        return letters, np.frombuffer(raw, np.uint8) >= ord("a")

    def _read(self, chrom: str, start: int, end: int) -> bytes:
        try:
            return cast(str, self._open().fetch(chrom, start, end)).encode("latin-1")
        except (OSError, ValueError) as error:  # the message of htslib gives no reason
            message = f"cannot read [{start}, {end}) of {chrom}; the file is damaged or has changed"
            hint = "Download or copy it again"
            raise GenomeError(message, place=str(self.path), hint=hint) from error

    def _open(self) -> pysam.FastaFile:
        # A handle that is open before a fork shares its file position with the new process
        if self._file is None or self._process != os.getpid():
            gzi = str(self._gzi) if self._gzi else None
            pysam.set_verbosity(0)  # silence htslib's messages on stderr
            self._file = pysam.FastaFile(
                str(self.path), filepath_index=str(self._fai), filepath_index_compressed=gzi
            )
            self._process = os.getpid()
        return self._file


def matching_name(name: str, known: Collection[str]) -> str | None:
    """Return the spelling of a chromosome name that is in `known`, or None.

    If "chr2L" is known and "2L" is not, "2L" gives "chr2L". "P12345" gives "sp|P12345|A_MOUSE", and
    the other way round.
    """
    names = [name, name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"]
    names += name.split("|")[1:]
    if name in _MITOCHONDRION:
        names += _MITOCHONDRION
    related = (each for each in known if name in each.split("|")[1:])
    return next((each for each in names if each in known), None) or next(related, None)


def canonical_name(name: str) -> str:
    """Return the same name for all spellings of a chromosome: "2L" for both "chr2L" and "2L".

    Use it to compare coordinates from two files.
    """
    return "MT" if name in _MITOCHONDRION else name.removeprefix("chr")
