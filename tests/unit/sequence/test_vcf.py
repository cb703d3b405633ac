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
    "empty": (b"", "a.vcf:1: the file is empty"),
    "no fileformat": (line(), "a.vcf:1: VCF starts with 'chr1"),
    "another first line": (
        "##source=x\n" + HEADER,
        "a.vcf:1: VCF starts with '##source=x' instead of ##fileformat=VCF",
    ),
    "no line of columns": (
        "##fileformat=VCFv4.2\n" + line(),
        "a.vcf:2: VCF header ends with 'chr1",
    ),
    "a header alone": (
        "##fileformat=VCFv4.2\n",
        "a.vcf:1: VCF header ends with '##fileformat=VCFv4.2' instead of a #CHROM line",
    ),
    "columns by spaces": (
        HEADER.replace("\t", " "),
        "a.vcf:2: invalid columns '#CHROM POS ID REF ALT QUAL FILTER INFO' (expected "
        "#CHROM POS ID REF ALT QUAL FILTER INFO, separated by tabs)",
    ),
    "too few columns in the header": (
        HEADER.replace("\tINFO", ""),
        "a.vcf:2: invalid columns '#CHROM",
    ),
    "line by spaces": (
        HEADER + line().replace("\t", " "),
        "a.vcf:3: line 'chr1 1 . A C . PASS DP=1' has 1 columns (expected 8, separated by tabs)",
    ),
    "too few columns": (
        HEADER + line() + "chr1\t1\t.\tA\tC\n",
        "a.vcf:4: line 'chr1\\t1\\t.\\tA\\tC' has 5 columns (expected 8, separated by tabs)",
    ),
    "too many columns": (HEADER + line(rest=".\t.\t.\tGT"), "a.vcf:3: line 'chr1"),
    "POS is no number": (
        HEADER + line(pos="1e3"),
        "a.vcf:3: invalid POS '1e3' (expected a whole number, 1 or more)",
    ),
    "POS is negative": (HEADER + line(pos="-1"), "a.vcf:3: invalid POS '-1'"),
    "POS 0": (HEADER + line(pos="0"), "a.vcf:3: invalid POS '0'"),
    "POS in other digits": (HEADER + line(pos="\u0661"), "a.vcf:3: invalid POS "),
    "POS too large a number": (HEADER + line(pos="9" * 5000), "a.vcf:3: invalid POS '9999"),
    "off the end": (
        HEADER + line(pos="11"),
        "a.vcf:3: REF ends at 11, beyond the end of chr1 (10 bp). Is it the same assembly?",
    ),
    "REF over the end": (
        HEADER + line(pos="10", ref="CA"),
        "a.vcf:3: REF ends at 11, beyond the end of chr1 (10 bp)",
    ),
    "unknown chromosome": (
        HEADER + line("chrUn"),
        "a.vcf:3: no chromosome 'chrUn' in the genome (it has chr1, 2)",
    ),
    "no chromosome": (
        HEADER + line(""),
        "a.vcf:3: no chromosome '' in the genome (it has chr1, 2)",
    ),
    "REF is empty": (HEADER + line(ref=""), "a.vcf:3: invalid REF '' (expected A, C, G, T or N)"),
    "REF is .": (HEADER + line(ref="."), "a.vcf:3: invalid REF '.'"),
    "REF in IUPAC": (HEADER + line(ref="R"), "a.vcf:3: invalid REF 'R'"),
    "ALT is empty": (
        HEADER + line(alt=""),
        "a.vcf:3: invalid ALT '' (expected A, C, G, T, N, . or *)",
    ),
    "ALT has an empty one": (
        HEADER + line(alt="C,,G"),
        "a.vcf:3: invalid ALT '' (expected A, C, G, T, N, . or *)",
    ),
    "ALT is no letter": (HEADER + line(alt="C-"), "a.vcf:3: invalid ALT 'C-'"),
    "symbolic": (
        HEADER + line(alt="C,<DEL>"),
        "a.vcf:3: unsupported symbolic ALT '<DEL>' (expected A, C, G, T, N, . or *). "
        "Remove such lines: bcftools view --exclude-types other,bnd",
    ),
    "symbolic of a caller": (
        HEADER + line(alt="<NON_REF>"),
        "a.vcf:3: unsupported symbolic ALT '<NON_REF>'",
    ),
    "breakend": (HEADER + line(alt="A[2:3["), "a.vcf:3: unsupported breakend ALT 'A[2:3['"),
    "NUL": (HEADER + line(alt="C\0"), "a.vcf:3: invalid ALT 'C\\x00'"),
    "not UTF-8": (
        HEADER.encode() + line().encode().replace(b"DP", b"\xe9"),
        "a.vcf:3: invalid byte 0xE9 (expected UTF-8)",
    ),
    "UTF-16": (
        (HEADER + line()).encode("utf-16"),
        "a.vcf: the file is UTF-16 (expected UTF-8). Save it as plain text (UTF-8)",
    ),
    "truncated gz": (
        packed(HEADER + line() * 99, -20),
        "a.vcf: gz file is truncated. Download or copy it again",
    ),
    "truncated in the header of gz": (packed(HEADER, 5), "a.vcf: gz file is truncated"),
    "damaged gz": (
        packed(HEADER, -8) + bytes(8),
        "a.vcf: damaged gz file: Error -3 while decompressing data: incorrect data check",
    ),
    "BCF": (
        gzip.compress(b"BCF\2\2" + bytes(50)),
        "a.vcf: BCF is not supported. Convert it: bcftools view old.bcf > new.vcf",
    ),
    "FASTA": (GENOME, "a.vcf:1: VCF starts with '>chr1' instead of ##fileformat=VCF"),
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
    with pytest.raises(VariantFileError, match=r"absent\.vcf: no such file"):
        VcfFile(tmp_path / "absent.vcf", genome)
    with pytest.raises(VariantFileError, match="this is a folder, not a file"):
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
