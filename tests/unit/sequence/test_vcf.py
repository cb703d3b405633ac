"""Test that odd and malformed VCF files give the expected variants or one-line errors."""

import gzip
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfattn_bio.errors import SelfAttnBioError, VariantFileError
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.vcf import VcfFile

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
GENOME = ">chr1\nACGTACGTAC\n>2\nTTTT\n"


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(GENOME)
    return Genome(path)


def line(chrom="chr1", pos="1", ref="A", alt="C", rest=".\tPASS\tDP=1"):
    return f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t{rest}\n"


def records(path, genome):
    return [(v.chrom, v.name, v.start, v.ref, v.alts) for v in VcfFile(path, genome)]


GOOD = {
    "one": (HEADER + line(), [("chr1", "chr1", 0, "A", ("C",))]),
    "no record": (HEADER, []),
    "no end of line": (HEADER + line().rstrip("\n"), [("chr1", "chr1", 0, "A", ("C",))]),
    "CRLF": ((HEADER + line()).replace("\n", "\r\n"), [("chr1", "chr1", 0, "A", ("C",))]),
    "byte order mark": ("\ufeff" + HEADER + line(), [("chr1", "chr1", 0, "A", ("C",))]),
    "blank lines": (
        HEADER + line() + "\n\n" + line(pos="2", ref="C", alt="T"),
        [("chr1", "chr1", i, *a) for i, *a in ((0, "A", ("C",)), (1, "C", ("T",)))],
    ),
    "unsorted": (
        HEADER + line(pos="3") + line("2") + line(),
        [
            ("chr1", "chr1", 2, "A", ("C",)),
            ("2", "2", 0, "A", ("C",)),
            ("chr1", "chr1", 0, "A", ("C",)),
        ],
    ),
    "names without chr": (
        HEADER + line("1") + line("chr2"),
        [("1", "chr1", 0, "A", ("C",)), ("chr2", "2", 0, "A", ("C",))],
    ),
    "several alternatives": (
        HEADER + line(alt="C,G,T"),
        [("chr1", "chr1", 0, "A", ("C", "G", "T"))],
    ),
    "indels": (
        HEADER + line(ref="ACG", alt="A,ACGTT"),
        [("chr1", "chr1", 0, "ACG", ("A", "ACGTT"))],
    ),
    "lower case": (HEADER + line(ref="a", alt="c,gt"), [("chr1", "chr1", 0, "A", ("C", "GT"))]),
    "N": (HEADER + line(ref="N", alt="NA"), [("chr1", "chr1", 0, "N", ("NA",))]),
    "no letters": (HEADER + line(alt="*,.,C"), [("chr1", "chr1", 0, "A", ("*", ".", "C"))]),
    "to the last letter": (HEADER + line(pos="10", ref="C"), [("chr1", "chr1", 9, "C", ("C",))]),
    "samples": (
        HEADER.replace("INFO", "INFO\tFORMAT\ts1") + line(rest=".\t.\t.\tGT\t0/1"),
        [("chr1", "chr1", 0, "A", ("C",))],
    ),
    "UTF-8 in INFO": (HEADER + line(rest=".\t.\tN=é"), [("chr1", "chr1", 0, "A", ("C",))]),
}


@pytest.mark.parametrize("case", GOOD)
def test_read_variants(case, genome, tmp_path):
    text, expected = GOOD[case]
    (tmp_path / "a é.vcf").write_bytes(text.encode())
    assert records(tmp_path / "a é.vcf", genome) == expected
    # Recognised by content, not by name
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    assert records(tmp_path / "packed", genome) == expected


def packed(text, cut=None):
    return gzip.compress(text.encode())[:cut]


BAD = {
    "empty": (b"", "a.vcf:1: VCF must begin with ##fileformat=VCF, got an empty file"),
    "no fileformat": (line(), "a.vcf:1: VCF must begin with ##fileformat=VCF, got 'chr1"),
    "another first line": (
        "##source=x\n" + HEADER,
        "a.vcf:1: VCF must begin with ##fileformat=VCF, got '##source=x'",
    ),
    "no line of columns": (
        "##fileformat=VCFv4.2\n" + line(),
        "a.vcf:2: VCF header must end with a line #CHROM, got 'chr1",
    ),
    "a header alone": (
        "##fileformat=VCFv4.2\n",
        "a.vcf:1: VCF header must end with a line #CHROM, got '##fileformat=VCFv4.2'",
    ),
    "columns by spaces": (
        HEADER.replace("\t", " "),
        "a.vcf:2: columns must be #CHROM POS ID REF ALT QUAL FILTER INFO, parted by tabs, got "
        "'#CHROM POS ID REF ALT QUAL FILTER INFO'",
    ),
    "too few columns in the header": (
        HEADER.replace("\tINFO", ""),
        "a.vcf:2: columns must be #CHROM POS ID REF ALT QUAL FILTER INFO, parted by tabs",
    ),
    "line by spaces": (
        HEADER + line().replace("\t", " "),
        "a.vcf:3: a line must have 8 columns parted by tabs, got 1: 'chr1 1 . A C . PASS DP=1'",
    ),
    "too few columns": (
        HEADER + line() + "chr1\t1\t.\tA\tC\n",
        "a.vcf:4: a line must have 8 columns parted by tabs, got 5",
    ),
    "too many columns": (
        HEADER + line(rest=".\t.\t.\tGT"),
        "a.vcf:3: a line must have 8 columns parted by tabs, got 9",
    ),
    "POS is no number": (
        HEADER + line(pos="1e3"),
        "a.vcf:3: POS must be a whole number from 1 on, got '1e3'",
    ),
    "POS is negative": (
        HEADER + line(pos="-1"),
        "a.vcf:3: POS must be a whole number from 1 on, got '-1'",
    ),
    "POS 0": (HEADER + line(pos="0"), "a.vcf:3: POS must be a whole number from 1 on, got '0'"),
    "POS in other digits": (
        HEADER + line(pos="\u0661"),
        "a.vcf:3: POS must be a whole number from 1 on",
    ),
    "POS too large a number": (
        HEADER + line(pos="9" * 5000),
        "a.vcf:3: POS must be a whole number from 1 on, got '9999",
    ),
    "off the end": (
        HEADER + line(pos="11"),
        "a.vcf:3: REF must end within chr1 (10 letters), got 11. Is it the same assembly?",
    ),
    "REF over the end": (
        HEADER + line(pos="10", ref="CA"),
        "a.vcf:3: REF must end within chr1 (10 letters), got 11",
    ),
    "unknown chromosome": (
        HEADER + line("chrUn"),
        "a.vcf:3: chromosome must be one of the genome's (chr1, 2), got 'chrUn'",
    ),
    "no chromosome": (
        HEADER + line(""),
        "a.vcf:3: chromosome must be one of the genome's (chr1, 2), got ''",
    ),
    "REF is empty": (HEADER + line(ref=""), "a.vcf:3: REF must be letters A C G T N, got ''"),
    "REF is .": (HEADER + line(ref="."), "a.vcf:3: REF must be letters A C G T N, got '.'"),
    "REF in IUPAC": (HEADER + line(ref="R"), "a.vcf:3: REF must be letters A C G T N, got 'R'"),
    "ALT is empty": (
        HEADER + line(alt=""),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got ''",
    ),
    "ALT has an empty one": (
        HEADER + line(alt="C,,G"),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got ''",
    ),
    "ALT is no letter": (
        HEADER + line(alt="C-"),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got 'C-'",
    ),
    "symbolic": (
        HEADER + line(alt="C,<DEL>"),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got symbolic '<DEL>'. "
        "Remove such lines: bcftools view --exclude-types other,bnd",
    ),
    "symbolic of a caller": (
        HEADER + line(alt="<NON_REF>"),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got symbolic '<NON_REF>'",
    ),
    "breakend": (
        HEADER + line(alt="A[2:3["),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got breakend 'A[2:3['",
    ),
    "NUL": (
        HEADER + line(alt="C\0"),
        "a.vcf:3: ALT must be letters A C G T N, or . or *, got 'C\\x00'",
    ),
    "not UTF-8": (
        HEADER.encode() + line().encode().replace(b"DP", b"\xe9"),
        "a.vcf:3: VCF must be UTF-8 text, plain or gz, got byte 0xE9",
    ),
    "UTF-16": (
        (HEADER + line()).encode("utf-16"),
        "a.vcf: VCF must be UTF-8 text, got UTF-16. Save it as plain text (UTF-8)",
    ),
    "truncated gz": (
        packed(HEADER + line() * 99, -20),
        "a.vcf: gz file must be whole, got an end in the middle (truncated). Download or copy it "
        "again",
    ),
    "truncated in the header of gz": (
        packed(HEADER, 5),
        "a.vcf: gz file must be whole, got an end in the middle (truncated)",
    ),
    "damaged gz": (
        packed(HEADER, -8) + bytes(8),
        "a.vcf: gz file must be undamaged, got CRC check failed",
    ),
    "BCF": (
        gzip.compress(b"BCF\2\2" + bytes(50)),
        "a.vcf: variants must be VCF text, plain or gz, got BCF. Convert it: bcftools view old.bcf "
        "> new.vcf",
    ),
    "FASTA": (GENOME, "a.vcf:1: VCF must begin with ##fileformat=VCF, got '>chr1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_vcf_refusals(case, genome, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, message = BAD[case]
    (tmp_path / "a.vcf").write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(VariantFileError) as error:
        records("a.vcf", genome)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_invalid_vcf(genome, tmp_path):
    with pytest.raises(
        VariantFileError, match="VCF file must be an existing file, got no such file"
    ):
        VcfFile(tmp_path / "absent.vcf", genome)
    with pytest.raises(VariantFileError, match="VCF file must be an existing file, got a folder"):
        VcfFile(tmp_path, genome)


def test_vcf_can_be_read_again_and_keeps_its_text(genome, tmp_path):
    (tmp_path / "a.vcf").write_text(HEADER + line() + line("2", "4", "T", "TA"))
    variants = VcfFile(tmp_path / "a.vcf", genome)
    assert variants.header == HEADER.splitlines()
    for _ in range(2):
        assert ["\t".join(v.fields) + "\n" for v in variants] == [line(), line("2", "4", "T", "TA")]
        assert [v.place for v in variants] == [
            f"{tmp_path / 'a.vcf'}:{number}" for number in (3, 4)
        ]


FIELDS = st.lists(
    st.sampled_from(
        [
            "chr1",
            "1",
            "2",
            "0",
            "10",
            "A",
            "ACGT",
            "<DEL>",
            "*",
            ".",
            ",",
            "",
            "A,C",
            "é",
            "\r",
            "\0",
        ]
    ),
    max_size=10,
)
LINES = st.lists(
    FIELDS.map("\t".join) | st.sampled_from([*HEADER.splitlines(), line().rstrip("\n"), "##x"]),
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
