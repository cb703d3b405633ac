"""A genome and VCF files for the tests of variants."""

import numpy as np
from genome_models import random_letters, run_file, write_genome

from selfattn_bio.sequence.genome import Genome

RUN = run_file(stem={"kind": "conv", "pool": 4})
HEADER = (
    '##fileformat=VCFv4.2\n##INFO=<ID=DP,Number=1,Type=Integer,Description="d">\n'
    "##contig=<ID=chrA>\n##contig=<ID=A>\n"
)
HEADER += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def open_genome(tmp_path):
    letters = random_letters(400, 3)
    letters[150:154] = np.frombuffer(b"NNRA", np.uint8)
    return Genome(write_genome(tmp_path / "toy1.fa", {"chrA": letters, "tiny": "ACGTACGTAC"}))


def text(genome, start, end, chrom="chrA"):
    return genome.fetch(chrom, start, end).tobytes().decode()


def write_vcf(path, rows):
    lines = (f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref, alt in rows)
    path.write_text(HEADER + "".join(lines))
    return path


def other(letter, number=0):
    return [x for x in "ACGT" if x != letter][number]
