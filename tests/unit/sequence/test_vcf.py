"""Test reading VCF files twice, and fuzzed ones; odd_vcf.py has odd files."""

import gzip
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_intervals import genome_beside
from odd_vcf import HEADER, LINE

from selfattn_bio.errors import SelfAttnBioError
from selfattn_bio.sequence.vcf import VcfFile


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    return genome_beside(tmp_path_factory.mktemp("genome") / "a.vcf")


def test_vcf_can_be_read_again_and_keeps_its_text(genome, tmp_path):
    lines = [LINE, LINE.replace("chr1\t1", "chr1\t5")]
    (tmp_path / "a.vcf").write_text(HEADER + "".join(lines))
    variants = VcfFile(tmp_path / "a.vcf", genome)
    assert variants.header == HEADER.splitlines()
    for _ in range(2):
        assert ["\t".join(v.fields) + "\n" for v in variants] == lines
        assert [v.place for v in variants] == [f"{variants.path}:3", f"{variants.path}:4"]


WORDS = ["chr1", "1", "2", "0", "10", "A", "ACGT", "<DEL>", "*", ".", ",", "", "A,C", "é"]
FIELDS = st.lists(st.sampled_from([*WORDS, "\r", "\0"]), max_size=10)
LINES = st.lists(
    FIELDS.map("\t".join) | st.sampled_from([*HEADER.splitlines(), LINE.rstrip("\n"), "##x"]),
    max_size=6,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lines=LINES,
    with_header=st.booleans(),
    zipped=st.booleans(),
    cut=st.integers(0, 200),
    noise=st.binary(max_size=6),
)
def test_fuzzed_vcf_gives_no_traceback(genome, tmp_path, lines, with_header, zipped, cut, noise):
    data = ((HEADER if with_header else "") + "\n".join(lines)).encode() + noise
    data = gzip.compress(data)[: cut or None] if zipped else data
    (tmp_path / "a.vcf").write_bytes(data)
    with suppress(SelfAttnBioError):
        for variant in VcfFile(tmp_path / "a.vcf", genome):
            assert 0 <= variant.start < genome.lengths[variant.name]
