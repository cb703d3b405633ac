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


ONE = ("chr1", "chr1", 0, "A", ("C",))
GOOD = {
    "one": (HEADER + line(), [ONE]),
    "no record": (HEADER, []),
    "no end of line": (HEADER + line().rstrip("\n"), [ONE]),
    "CRLF": ((HEADER + line()).replace("\n", "\r\n"), [ONE]),
    "byte order mark": ("\ufeff" + HEADER + line(), [ONE]),
    "blank lines": (
        HEADER + line() + "\n\n" + line(pos="2", ref="C", alt="T"),
        [ONE, ("chr1", "chr1", 1, "C", ("T",))],
    ),
    "unsorted": (
        HEADER + line(pos="3") + line("2") + line(),
        [("chr1", "chr1", 2, "A", ("C",)), ("2", "2", 0, "A", ("C",)), ONE],
    ),
    "names without chr": (
        HEADER + line("1") + line("chr2"),
        [("1", "chr1", 0, "A", ("C",)), ("chr2", "2", 0, "A", ("C",))],
    ),
    "several alternatives": (HEADER + line(alt="C,G,T"), [(*ONE[:4], ("C", "G", "T"))]),
    "indels": (HEADER + line(ref="ACG", alt="A,ACGTT"), [(*ONE[:3], "ACG", ("A", "ACGTT"))]),
    "lower case": (HEADER + line(ref="a", alt="c,gt"), [(*ONE[:4], ("C", "GT"))]),
    "N": (HEADER + line(ref="N", alt="NA"), [(*ONE[:3], "N", ("NA",))]),
    "no letters": (HEADER + line(alt="*,.,C"), [(*ONE[:4], ("*", ".", "C"))]),
    "to the last letter": (HEADER + line(pos="10", ref="C"), [("chr1", "chr1", 9, "C", ("C",))]),
    "samples": (HEADER.replace("INFO", "INFO\tFORMAT\ts1") + line(rest=".\t.\t.\tGT\t0/1"), [ONE]),
    "UTF-8 in INFO": (HEADER + line(rest=".\t.\tN=é"), [ONE]),
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
    return gzip.compress(text.encode(), mtime=0)[:cut]


PACKED = gzip.compress((HEADER + line() * 99).encode(), mtime=0)
OFF = ":3: REF ends at 11, beyond the end of chr1 (10 bp). Is it the same assembly?"
NO_ALT = ":3: invalid ALT '' (expected A, C, G, T, N, . or *)"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ":1: the file is empty"),
        (line(), ":1: VCF starts with 'chr1"),
        ("##source=x\n" + HEADER, ":1: VCF starts with '##source=x' instead of ##fileformat=VCF"),
        ("##fileformat=VCFv4.2\n" + line(), ":2: VCF header ends with 'chr1"),
        (
            "##fileformat=VCFv4.2\n",
            ":1: VCF header ends with '##fileformat=VCFv4.2' instead of a #CHROM line",
        ),
        (
            HEADER.replace("\t", " "),
            ":2: invalid columns '#CHROM POS ID REF ALT QUAL FILTER INFO' (expected "
            "#CHROM POS ID REF ALT QUAL FILTER INFO, separated by tabs)",
        ),
        (HEADER.replace("\tINFO", ""), ":2: invalid columns '#CHROM"),
        (
            HEADER + line().replace("\t", " "),
            ":3: line 'chr1 1 . A C . PASS DP=1' has 1 columns (expected 8, separated by tabs)",
        ),
        (
            HEADER + line() + "chr1\t1\t.\tA\tC\n",
            ":4: line 'chr1\\t1\\t.\\tA\\tC' has 5 columns (expected 8, separated by tabs)",
        ),
        (HEADER + line(rest=".\t.\t.\tGT"), ":3: line 'chr1"),
        (HEADER + line(pos="1e3"), ":3: invalid POS '1e3' (expected a whole number, 1 or more)"),
        (HEADER + line(pos="-1"), ":3: invalid POS '-1'"),
        (HEADER + line(pos="0"), ":3: invalid POS '0'"),
        (HEADER + line(pos="\u0661"), ":3: invalid POS "),
        (HEADER + line(pos="9" * 5000), ":3: invalid POS '9999"),
        (HEADER + line(pos="11"), OFF),
        (HEADER + line(pos="10", ref="CA"), OFF),
        (HEADER + line("chrUn"), ":3: no chromosome 'chrUn' in the genome (it has chr1, 2)"),
        (HEADER + line(""), ":3: no chromosome '' in the genome (it has chr1, 2)"),
        (HEADER + line(ref=""), ":3: invalid REF '' (expected A, C, G, T or N)"),
        (HEADER + line(ref="."), ":3: invalid REF '.'"),
        (HEADER + line(ref="R"), ":3: invalid REF 'R'"),
        (HEADER + line(alt=""), NO_ALT),
        (HEADER + line(alt="C,,G"), NO_ALT),
        (HEADER + line(alt="C-"), ":3: invalid ALT 'C-'"),
        (
            HEADER + line(alt="C,<DEL>"),
            ":3: unsupported symbolic ALT '<DEL>' (expected A, C, G, T, N, . or *). "
            "Remove such lines: bcftools view --exclude-types other,bnd",
        ),
        (HEADER + line(alt="<NON_REF>"), ":3: unsupported symbolic ALT '<NON_REF>'"),
        (HEADER + line(alt="A[2:3["), ":3: unsupported breakend ALT 'A[2:3['"),
        (HEADER + line(alt="C\0"), ":3: binary data (expected text)"),
        (HEADER.encode() + b"\xe9\n", ":3: invalid byte 0xE9 (expected UTF-8 text)"),
        (HEADER.encode("utf-16"), ": the file is UTF-16 (expected UTF-8). Save it as plain text"),
        (PACKED[:-20], ": gz file is truncated. Download or copy it"),
        (PACKED[:5], ": gz file is truncated"),
        (
            PACKED[:-8] + bytes(8),
            ": damaged gz file: Error -3 while decompressing data: incorrect data check",
        ),
        (
            gzip.compress(b"BCF\2\2" + bytes(50), mtime=0),
            ": BCF is not supported. Convert it: bcftools view old.bcf > new.vcf",
        ),
        (GENOME, ":1: VCF starts with '>chr1' instead of ##fileformat=VCF"),
    ],
)
def test_vcf_refusals(data, message, genome, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vcf").write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(VariantFileError) as error:
        records("a.vcf", genome)
    assert str(error.value).startswith(f"a.vcf{message}")
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
        assert [v.place for v in variants] == [f"{variants.path}:3", f"{variants.path}:4"]


WORDS = ["chr1", "1", "2", "0", "10", "A", "ACGT", "<DEL>", "*", ".", ",", "", "A,C", "é"]
FIELDS = st.lists(st.sampled_from([*WORDS, "\r", "\0"]), max_size=10)
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
