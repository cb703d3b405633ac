"""Test that damaged interval, track and genome files give data or a one-line error of the package.

Damage is random with fixed seeds, on BED, GFF, bedGraph, bigWig and genome files.
"""

import gzip
import zlib

import numpy as np
import pytest
from odd_intervals import GENOME, bigwig, compressed, cut, genome, gff, intervals, values

from selfattn_bio.errors import SelfAttnBioError

BED = (
    b"#c\ntrack name=a\nchr1\t5\t10\tp1\t7\t+\nchr1\t20\t44\tp2\t.\t-\n"
    b"chrM\t0\t4\tp3\t1.5\t.\nMT\t30\t40\t.\t0\t+\n"
)
PEAKS = b"chr1\t5\t10\tp1\t7\t+\t1.5\t2\t3\t4\nchr1\t20\t44\tp2\t0\t.\t0\t-1\t-1\t-1\n"
GFF = (
    gff("chr1 f exon 1 9 . + . ID=a;Name=b", "chrM f exon 2 30 5 - 0 Parent=a").encode()
    + b"##FASTA\n>x\nAC\n"
)
GTF = gff('chr1 f exon 1 9 . + . gene_id "a"; transcript_id "b";').encode()
BEDGRAPH = b"track type=bedGraph\nchr1\t2\t4\t1.5\nchr1 5 6 -1e3\nchrM\t0\t9\tnan\n"
TOKENS = [b"\t", b"\n", b"\r", b" ", b"\0", b"-", b"9" * 20, b"chr1", b"\xff\xfe", b"#", b"."]
TOKENS += [b">", b"1e9", b";", b'"']


def made(writer, path):
    writer(path)
    return path.read_bytes()


FILES = {  # name: (content or function that writes it, reader, rounds)
    "odd.bed": (BED, cut, 60),
    "odd.2.bed": (BED, intervals, 300),
    "odd.narrowPeak": (PEAKS, intervals, 200),
    "odd.gff3": (GFF, intervals, 200),
    "odd.gtf": (GTF, intervals, 200),
    "odd.bed.gz": (gzip.compress(BED, mtime=0), intervals, 150),
    "odd.bedGraph": (BEDGRAPH, values, 200),
    "odd.bw": (bigwig, values, 150),
    "odd.fa": (GENOME.encode(), genome, 60),
    "odd.fa.gz": (compressed(GENOME), genome, 60),
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Apply up to three changes: change a byte, cut or insert a piece, or truncate."""
    for _ in range(rng.integers(1, 4)):
        at, token = int(rng.integers(len(content) + 1)), TOKENS[rng.integers(len(TOKENS))]
        flipped = bytes(rng.integers(256, size=1, dtype=np.uint8))
        before, behind = content[:at], content[at:]
        changed, inserted = before + flipped + behind[1:], before + token + behind
        choices = [changed, before + behind[5:], inserted, before]
        content = choices[rng.choice(4, p=[0.4, 0.2, 0.3, 0.1])]
    return content


@pytest.mark.parametrize("name", FILES)
def test_damaged_file_gives_records_or_known_error(name, tmp_path):
    content, read, rounds = FILES[name]
    path, errors = tmp_path / name, []
    content = made(content, path) if callable(content) else content
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(rounds):
        for left in tmp_path.glob("odd*"):
            left.unlink()
        path.write_bytes(damaged(content, rng))
        try:
            read(path)
        except SelfAttnBioError as error:
            errors.append(str(error))
    assert errors
    assert not [error for error in errors if "\n" in error or str(tmp_path) not in error]
    assert len(errors) < rounds or name == "odd.fa.gz"  # blocks of bgzip have checksums
