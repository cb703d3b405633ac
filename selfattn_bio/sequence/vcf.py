"""Read VCF files one line at a time.

The text of each line is kept, so that it can be written again with more INFO fields. The package
has its own reader because htslib (pysam) gives no line numbers, prints its own warnings, silently
corrects some lines, and does not write lines back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selfattn_bio.compression import lines_of, open_uncompressed
from selfattn_bio.display import short_name
from selfattn_bio.errors import GenomeError, VariantFileError
from selfattn_bio.sequence.genome import Genome

_fail = VariantFileError.fail

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
NO_LETTERS = (".", "*")  # no alternative allele; an allele removed by the deletion of another line
_LETTERS = re.compile("[ACGTUNacgtun]+")  # the genome reads U as T, or T as U
_UNSUPPORTED = {"[": "breakend", "]": "breakend", "<": "symbolic"}
_SHOWN = 40  # characters of a file shown in an error


@dataclass(frozen=True, slots=True)
class VcfVariant:
    """One line of a VCF file.

    Attributes
    ----------
    place
        `path:line`.
    chrom, name
        Name of the chromosome in the VCF file, and in the genome.
    start
        0-based position of the first base of `ref`: POS - 1.
    ref, alts
        Upper-case bases; an alternative allele may also be one of NO_LETTERS.
    fields
        Text of all columns.
    """

    place: str
    chrom: str
    name: str
    start: int
    id: str
    ref: str
    alts: tuple[str, ...]
    fields: tuple[str, ...] = ()


class VcfFile:
    """A VCF file, plain or compressed.

    Iteration reads the file from the start each time and yields variants in file order, sorted or
    not.

    Attributes
    ----------
    header
        Lines up to #CHROM, without line ends.

    Raises
    ------
    VariantFileError
        On construction, if the file is missing, unreadable, BCF, a damaged gz, or has no header.
        During iteration, if a line does not have the columns of the header, a value is not a whole
        number or not bases where required, an allele is symbolic or a breakend, or the genome lacks
        the chromosome or position. The place is `path:line`.
    """

    def __init__(self, path: str | Path, genome: Genome) -> None:
        self.path, self.genome = Path(path), genome
        self.header: list[str] = []
        with open_uncompressed(self.path, VariantFileError) as file:
            if file.read(3) == b"BCF":
                hint = "Convert it: bcftools view old.bcf > new.vcf"
                _fail("BCF is not supported", str(self.path), hint)
        for _, line in lines_of(self.path, VariantFileError):
            self.header.append(line)
            if not line.startswith("##"):
                break
        self._check_header()

    def __iter__(self) -> Iterator[VcfVariant]:
        for variant in self.with_any_allele():
            for one in variant.fields[4].split(","):
                _check_allele(one, variant.place)
            yield variant

    def with_any_allele(self) -> Iterator[VcfVariant]:
        """Yield variants as iteration does, but also those with symbolic or invalid alleles."""
        for number, line in lines_of(self.path, VariantFileError):
            if number > len(self.header) and line:
                yield self._variant(line, f"{self.path}:{number}")

    def _check_header(self) -> None:
        if not self.header or not self.header[0].startswith("##fileformat=VCF"):
            _fail(
                f"VCF starts with {self.header[0][:_SHOWN]!r} instead of ##fileformat=VCF"
                if self.header
                else "the file is empty",
                f"{self.path}:1",
            )
        place, columns = f"{self.path}:{len(self.header)}", self.header[-1].split("\t")
        if not self.header[-1].startswith("#CHROM"):
            message = f"VCF header ends with {self.header[-1][:_SHOWN]!r} instead of a #CHROM line"
            _fail(message, place)
        if tuple(columns[: len(COLUMNS)]) != COLUMNS:
            _fail(
                f"invalid columns {self.header[-1][:_SHOWN]!r} (expected {' '.join(COLUMNS)}, "
                "separated by tabs)",
                place,
            )
        self._num_columns = len(columns)

    def _variant(self, line: str, place: str) -> VcfVariant:
        fields = tuple(line.split("\t"))
        if len(fields) != self._num_columns:
            _fail(
                f"line {line[:_SHOWN]!r} has {len(fields)} columns (expected {self._num_columns}, "
                "separated by tabs)",
                place,
            )
        chrom, position, name, ref, alt = fields[:5]
        if not re.fullmatch("[0-9]{1,18}", position) or int(position) == 0:
            _fail(f"invalid POS {position[:_SHOWN]!r} (expected a whole number, 1 or more)", place)
        if not _LETTERS.fullmatch(ref):
            _fail(f"invalid REF {ref[:_SHOWN]!r} (expected A, C, G, T or N)", place)
        try:
            own = self.genome.resolve(chrom)
        except GenomeError as error:
            raise VariantFileError(error.message, place=place, hint=error.hint) from None
        start = int(position) - 1
        if (end := start + len(ref)) > (length := self.genome.lengths[own]):
            message = f"REF ends at {end}, beyond the end of {chrom} ({length} bp)"
            _fail(message, place, "Is it the same assembly?")
        alts = tuple(alt.upper().split(","))
        return VcfVariant(place, chrom, own, start, name, ref.upper(), alts, fields)


def _check_allele(allele: str, place: str) -> None:
    if allele in NO_LETTERS or _LETTERS.fullmatch(allele):
        return
    found = next((name for mark, name in _UNSUPPORTED.items() if mark in allele), "")
    hint = "Remove such lines: bcftools view --exclude-types other,bnd" if found else ""
    kind = f"unsupported {found}" if found else "invalid"
    _fail(f"{kind} ALT {allele[:_SHOWN]!r} (expected A, C, G, T, N, . or *)", place, hint)


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
            ref, there = short_name(variant.ref, 20), short_name(there, 20)
            first = first or f"{variant.place}: REF is {ref}, but the genome has {there}"
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
    end = variant.start + len(variant.ref)
    there = genome.fetch(variant.name, variant.start, end).tobytes().decode()
    ref = genome.alphabet.normalise(variant.ref.encode()).decode()
    known = genome.alphabet.letters  # only these can contradict each other
    differs = any(
        own != other and own in known and other in known
        for own, other in zip(ref, there, strict=True)
    )
    return there if differs else None
