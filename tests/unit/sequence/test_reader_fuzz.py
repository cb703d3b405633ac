"""Test that damaged files of every format give records or an error of the package.

Hundreds of files are damaged at random, with fixed seeds.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
from odd import zstd
from odd_fastq_genbank import EMBL, FQ, GENBANK
from odd_tables import parquet

from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.readers.fields import Fields
from selfattn_bio.sequence.records import ReadSummary

FASTA = (
    b">a chrom=c start=2 end=6 strand=+ label=1\nACGT\n>b label=0\r\nACNNa-cgu\r\n\n>c "
    b"label=1\nMKV*\n"
)
TABLE = (
    b'id,sequence,start,end,label,"x '
    b'""y"""\na,ACGT,2,6,1,2.5\nb,"AC\nNN",,,0,\nc,ACGU,1,5,1,"t,u"\n'
)
TOKENS = [
    b">",
    b"@",
    b"\n",
    b"\r",
    b"\0",
    b'"',
    b",",
    b"\t",
    b"//",
    b"ORIGIN",
    b"\xff\xfe",
    b"start=9",
]
SETTINGS = (
    (SequencePolicy(DNA), Fields()),
    (SequencePolicy(PROTEIN, "hard", "remove"), Fields("label")),
    (SequencePolicy(DNA, "keep"), Fields(header="(c)")),
)


def of_parquet(tmp_path: Path) -> bytes:
    parquet(id=["a", "b"], sequence=["ACGT", "ACGN"], label=[1, 0], x=[0.5, None])(
        tmp_path / "whole"
    )
    return (tmp_path / "whole").read_bytes()


FILES = {
    "FASTA": (FASTA, 300),
    "FASTQ": (FQ + FQ.replace(b"@a", b"@b"), 300),
    "GenBank": (GENBANK, 150),
    "EMBL": (EMBL, 150),
    "CSV": (TABLE, 300),
    "TSV": (TABLE.replace(b",", b"\t"), 200),
    "gz": (gzip.compress(FASTA), 150),
    "zstd": (zstd(FASTA), 150),
    "Parquet": (None, 150),
}


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Apply one to three changes: flip, cut or insert bytes, swap lines, or truncate."""
    for _ in range(generator.integers(1, 4)):
        at, size = int(generator.integers(len(content) + 1)), int(generator.integers(1, 9))
        before, behind = content[:at], content[at:]
        match int(generator.integers(6)):
            case 0:
                content = before + generator.bytes(1) + behind[1:]
            case 1:
                content = before + behind[size:]
            case 2:
                content = before + generator.bytes(size) + behind
            case 3:
                lines = content.split(b"\n")
                i, j = generator.integers(len(lines), size=2)
                lines[i], lines[j] = lines[j], lines[i]
                content = b"\n".join(lines)
            case 4:
                content = before
            case 5:
                content = before + TOKENS[generator.integers(len(TOKENS))] + behind
    return content


@pytest.mark.parametrize("kind", FILES)
def test_damaged_file_gives_records_or_known_error(kind, tmp_path):
    content, rounds = FILES[kind]
    content = content or of_parquet(tmp_path)
    generator, path = np.random.default_rng(zlib.crc32(kind.encode())), tmp_path / "odd"
    errors: list[str] = []
    for number in range(rounds):
        path.write_bytes(mutated(content, generator))
        policy, fields = SETTINGS[number % len(SETTINGS)]
        try:
            records = list(SequenceFile(path, None, fields).records(policy, ReadSummary()))
        except SelfAttnBioError as error:
            errors.append(str(error))
        else:
            assert all(len(record.letters) and record.id for record in records)
            assert not any(
                record.letters.tobytes().translate(None, policy.alphabet.readable.upper())
                for record in records
            )
    assert errors  # some changes must cause errors
    assert [error for error in errors if "\n" in error] == []
