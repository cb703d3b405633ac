"""Read sequence files of any format as checked records, one at a time.

The format is recognised by the content first and by the file name second. The letters of a record
are upper-case ASCII. Errors give the file and line, the problem and a hint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from selfattn_bio.compression import (
    HEAD,
    BlockReader,
    display_path,
    open_blocks,
    raise_sequence_error,
)
from selfattn_bio.sequence.alphabet import Alphabet
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers.table import is_table
from selfattn_bio.sequence.records import Fields, ReaderState, ReadSummary, Record


class Format(NamedTuple):
    """A file format: its reader, and how files are recognised.

    Attributes
    ----------
    reader
        Module of this package and function, which maps an open file to its records.
    mark
        Regular expression that the text of every file matches at its start, after blanks; empty if
        there is none.
    endings
        Endings of file names, which decide if no mark matches.
    """

    reader: str
    mark: bytes = b""
    endings: tuple[str, ...] = ()

    def read(self, blocks: BlockReader, state: ReaderState) -> Iterator[Record]:
        """Yield the records of an open file."""
        module, function = self.reader.split(".")
        yield from getattr(import_module(f"{__name__}.{module}"), function)(blocks, state)


# To add a format, write its reader in a file of this folder and add a line here.
FORMATS = {
    "FASTA": Format("fasta.read_fasta", rb">"),
    "FASTQ": Format("fasta.read_fastq", rb"@", (".fastq", ".fq")),
    "GenBank": Format("fasta.read_genbank", rb"LOCUS\s", (".gb", ".gbk", ".gbff", ".genbank")),
    "EMBL": Format("fasta.read_embl", rb"ID   ", (".embl",)),
    "table": Format("table.read_table", endings=(".csv", ".tsv", ".tab")),
    "Parquet": Format("table.read_parquet", endings=(".parquet",)),
}
_COMPRESSED = (".gz", ".bgz", ".zst", ".zstd")
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r")
_SAVE_AS_CSV, _UNPACK = "Save the sheet as CSV UTF-8", "Compress it as gz or zstd, or unpack it"
_OF_GENOME = (
    "Intervals need a genome: `score --bed FILE --genome FILE`, genome= in Python, or genome in "
    "[data] of a run file. Elsewhere give their sequences, as `bedtools getfasta` writes them. In "
    "a table with a column of sequences, remove any # before the column names"
)
# a line with a cell of at least 8 bases or 20 residues; the head of a file may end in it
_SEQUENCE_CELL = rb"([^\n]*\t)?([ACGTNacgtn]{8,}|[A-Za-z*]{20,})(\s|\Z)"
_FOREIGN = (  # start of the file, what it is, hint
    (rb"PK\x03\x04", "zip archive or Excel sheet", _SAVE_AS_CSV),
    (rb"\xd0\xcf\x11\xe0", "Excel sheet", _SAVE_AS_CSV),
    (rb"BAM\x01|CRAM", "BAM or CRAM alignments", "Convert it, e.g. samtools fasta reads.bam"),
    (rb"@(HD|SQ|RG|PG|CO)\t", "SAM alignments", "Convert it, e.g. samtools fasta reads.sam"),
    (rb"BZh", "bzip2", _UNPACK),
    (rb"\xfd7zXZ", "xz", _UNPACK),
    (rb"(?i)\s*<(!doctype|html|\?xml)", "web page or XML", "Download the file itself"),
    (rb"##fileformat=VCF", "VCF variants", ""),
    (
        rb"(?!#[^#][^\n]*\n" + _SEQUENCE_CELL + rb")"  # a table whose header begins with #chrom
        rb"(#(?!#gff)[^\n]*\n|\s)*(##gff|track\s|browser\s|(?!LOCUS)[^>@\s]\S*[ \t]+\d+[ "
        rb"\t]+\d+(\s|\Z)|(\S+\t){3}\d+\t\d+\t)",
        "BED or GFF intervals",
        _OF_GENOME,
    ),
)


@dataclass
class SequenceFile:
    """A file of sequences in any format, or standard input for the path `-`.

    Parameters
    ----------
    path
        FASTA, FASTQ, GenBank, EMBL, CSV, TSV or Parquet; plain, gz, bgzip or zstd.
    label
        Label of all records: 1, 0, or None if they are unlabelled or each record has its own (see
        `Fields`).
    fields
        Where labels and other fields are.
    stem
        Name of numbered records; by default the file name without its endings.
    """

    path: Path
    label: int | None = None
    fields: Fields = field(default_factory=Fields)
    stem: str = ""
    _sha256: str = ""

    def records(self, policy: SequencePolicy, summary: ReadSummary) -> Iterator[Record]:
        """Yield the records of the file.

        Parameters
        ----------
        policy
            The alphabet and how letters are read.
        summary
            Counts of unusual features, and the ids so far. Ids must be unique over all files read
            with the same `summary`.

        Raises
        ------
        SequenceFileError
            During iteration, if the file is missing, empty, of an unknown format or damaged, or a
            record is malformed (see the readers). The place is `path:line`.
        """
        with open_blocks(self.path) as blocks:
            kind = kind_of(blocks, self.fields)
            where = "" if kind in ("table", "Parquet") else " in the header"
            stem = self.stem or file_stem(blocks.name)
            yield from FORMATS[kind].read(
                blocks,
                ReaderState(blocks.name, policy, summary, self.fields, where, self.label, stem),
            )
            self._sha256 = blocks.sha256()

    def about(self) -> dict[str, Any]:
        """Return the path and SHA-256 of the file; call this after `records` has been consumed."""
        return {"path": display_path(self.path), "sha256": self._sha256}


def file_stem(path: str | Path) -> str:
    """Return the name of a file without its endings: `data/peaks.csv.gz` gives `peaks`."""
    return Path(path).name.partition(".")[0]


def distinct_stems(paths: Iterable[str | Path]) -> list[str]:
    """Return the stem of each file, numbered where an earlier file has the same.

    `a/train.csv` and `b/train.csv` give `train` and `train.2`.
    """
    counts: Counter[str] = Counter()
    stems = []
    for stem in map(file_stem, paths):
        counts[stem] += 1
        stems.append(stem if counts[stem] == 1 else f"{stem}.{counts[stem]}")
    return stems


def sequence_files(
    paths: Sequence[str | Path], fields: Fields, labels: Sequence[int | None] = ()
) -> list[SequenceFile]:
    """Return the files, each with its label if there are any, and a name for numbered records."""
    each = zip(paths, labels or [None] * len(paths), distinct_stems(paths), strict=True)
    return [SequenceFile(Path(path), label, fields, stem) for path, label, stem in each]


def read_records(path: str | Path, alphabet: Alphabet) -> Iterator[Record]:
    """Read a file of sequences in any format; see `SequenceFile.records`."""
    file = SequenceFile(Path(path), fields=Fields(needs_id=False))
    return file.records(SequencePolicy(alphabet), ReadSummary())


def kind_of(blocks: BlockReader, fields: Fields) -> str:
    """Return the format of an open file, a key of `FORMATS`.

    Raises
    ------
    SequenceFileError
        If the file is empty or does not contain sequences.
    """
    head = blocks.head[:HEAD]
    if not head:
        raise_sequence_error("the file is empty", blocks.name)
    if head.startswith(b"PAR1"):
        return "Parquet"
    _check_text(head, blocks.name)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for kind, known in FORMATS.items():
        if known.mark and re.match(known.mark, start):
            return kind
    if is_table(head, fields):
        return "table"
    name = blocks.path.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return next(
        (kind for kind, known in FORMATS.items() if known.endings and name.endswith(known.endings)),
        "FASTA",
    )


def _expected() -> str:
    """Return the names of all formats, for messages."""
    first, _, last = ", ".join(FORMATS).replace("table", "CSV, TSV").rpartition(", ")
    return f"{first} or {last}"


def _check_text(head: bytes, name: str) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        message = "the file is UTF-16 (expected UTF-8)"
        raise_sequence_error(message, name, "Save it as plain text (UTF-8)")
    for mark, what, hint in _FOREIGN:
        if re.match(mark, head):
            message = f"unsupported file type: {what} (expected {_expected()})"
            raise_sequence_error(message, name, hint)
    if head.translate(None, _CONTROL) != head:
        raise_sequence_error("binary data (expected text or Parquet)", name)
