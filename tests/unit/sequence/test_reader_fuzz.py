"""Test that damaged files of every format give data or a one-line error of the package.

Hundreds of files are damaged at random, with fixed seeds: sequences, intervals, tracks, genomes.
"""

import gzip
import zlib

import numpy as np
import pytest
from odd import zstd
from odd_fastq_genbank import EMBL, FQ, GENBANK
from odd_intervals import GENOME, bigwig, compressed, cut, genome, gff, intervals, values
from odd_tables import parquet

from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.policy import SequencePolicy
from selfattn_bio.sequence.readers import SequenceFile
from selfattn_bio.sequence.records import Fields, ReadSummary

FASTA = (
    b">a chrom=c start=2 end=6 strand=+ label=1\nACGT\n>b label=0\r\nACNNa-cgu\r\n\n>c "
    b"label=1\nMKV*\n"
)
TABLE = (
    b'id,sequence,start,end,label,"x '
    b'""y"""\na,ACGT,2,6,1,2.5\nb,"AC\nNN",,,0,\nc,ACGU,1,5,1,"t,u"\n'
)
BED = (
    b"#c\ntrack name=a\nchr1\t5\t10\tp1\t7\t+\nchr1\t20\t44\tp2\t.\t-\n"
    b"chrM\t0\t4\tp3\t1.5\t.\nMT\t30\t40\t.\t0\t+\n"
)
PEAKS = b"chr1\t5\t10\tp1\t7\t+\t1.5\t2\t3\t4\nchr1\t20\t44\tp2\t0\t.\t0\t-1\t-1\t-1\n"
GFF = gff(r"chr1 f exon 1 9 . + . ID=a;Name=b\nchrM f exon 2 30 5 - 0 Parent=a\n##FASTA\n>x\nAC")
GTF = gff('chr1 f exon 1 9 . + . gene_id "a"; transcript_id "b";')
BEDGRAPH = b"track type=bedGraph\nchr1\t2\t4\t1.5\nchr1 5 6 -1e3\nchrM\t0\t9\tnan\n"
TABLES = {"id": ["a", "b"], "sequence": ["ACGT", "ACGN"], "label": [1, 0], "x": [0.5, None]}
OF_SEQUENCES = [b">", b"@", b"\n", b"\r", b"\0", b'"', b",", b"\t", b"//", b"ORIGIN", b"\xff\xfe"]
OF_SEQUENCES += [b"start=9"]
OF_INTERVALS = [b"\t", b"\n", b"\r", b" ", b"\0", b"-", b"9" * 20, b"chr1", b"\xff\xfe", b"#", b"."]
OF_INTERVALS += [b">", b"1e9", b";", b'"']
SETTINGS = (
    (SequencePolicy(DNA), Fields()),
    (SequencePolicy(PROTEIN, "hard", "remove"), Fields("label")),
    (SequencePolicy(DNA, "keep"), Fields(header="(c)")),
)


def sequences(path):
    """Read the records with one of SETTINGS, which depends on the content."""
    policy, fields = SETTINGS[zlib.crc32(path.read_bytes()) % len(SETTINGS)]
    known = policy.alphabet.readable.upper()
    for record in SequenceFile(path, None, fields).records(policy, ReadSummary()):
        assert len(record.letters)
        assert record.id
        assert not record.letters.tobytes().translate(None, known)


FILES = {  # name: (content or function that writes it, reader, rounds)
    "odd.fasta": (FASTA, sequences, 300),
    "odd.fastq": (FQ + FQ.replace(b"@a", b"@b"), sequences, 300),
    "odd.gb": (GENBANK, sequences, 150),
    "odd.embl": (EMBL, sequences, 150),
    "odd.csv": (TABLE, sequences, 300),
    "odd.tsv": (TABLE.replace(b",", b"\t"), sequences, 200),
    "odd.fasta.gz": (gzip.compress(FASTA, mtime=0), sequences, 150),
    "odd.fasta.zst": (zstd(FASTA), sequences, 150),
    "odd.parquet": (parquet(**TABLES), sequences, 150),
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


def damaged(content: bytes, rng: np.random.Generator, tokens: list[bytes]) -> bytes:
    """Apply one to three changes: change, cut or insert bytes, swap lines, or truncate."""
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(len(content) + 1)), int(rng.integers(1, 9))
        before, behind, lines = content[:at], content[at:], content.split(b"\n")
        i, j = rng.integers(len(lines), size=2)
        lines[i], lines[j] = lines[j], lines[i]
        changes = [
            before + rng.bytes(1) + behind[1:],
            before + behind[size:],
            before + rng.bytes(size) + behind,
            before + tokens[rng.integers(len(tokens))] + behind,
            b"\n".join(lines),
            before,
        ]
        content = changes[rng.integers(len(changes))]
    return content


@pytest.mark.parametrize("name", FILES)
def test_damaged_file_gives_records_or_known_error(name, tmp_path):
    content, read, rounds = FILES[name]
    path, errors = tmp_path / name, []
    if callable(content):
        content(path)
        content = path.read_bytes()
    tokens = OF_SEQUENCES if read is sequences else OF_INTERVALS
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(rounds):
        for left in tmp_path.glob("odd*"):
            left.unlink()
        path.write_bytes(damaged(content, rng, tokens))
        try:
            read(path)
        except SelfAttnBioError as error:
            errors.append(str(error))
    assert errors  # some changes must cause errors
    assert not [error for error in errors if "\n" in error or str(tmp_path) not in error]
    assert len(errors) < rounds or name in ("odd.fa.gz", "odd.fasta.gz")  # with checksums
