"""Test counts of cut sites against counts by hand, and errors about bad lines."""

import gzip
from pathlib import Path

import pytest
from commands import run

from selfattn_bio.errors import IntervalError
from selfattn_bio.sequence.coverage import count_cut_sites
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.tracks import read_track

# Cut sites of the fragment [10, 20) are 10 and 19, shifted 14 and 15
FRAGMENT, READ = "chrI 10 20", "I 10 20 r 60 -"
PAIR = "chrI 10 20 chrI 40 50 r 60 + -"
CASES = {  # file, line, shift, sites on + and -
    "fragment": ("a.bed", FRAGMENT, None, [14], [15]),
    "unshifted": ("a.bed", FRAGMENT, (0, 0), [10], [19]),
    "read": ("a.bed", READ, None, [], [15]),
    "10x": ("fragments.tsv", f"# header\n{FRAGMENT} ACGT-1 3", None, [10], [20]),
    "MACS": ("a.bedpe.gz", FRAGMENT, None, [14], [15]),
    "pair": ("a.bedpe", f"{PAIR}\n. -1 -1 chrM 0 5 r 0 . +", None, [14], [45]),
    "outside": ("a.bed", "I 57 60", None, [], [55]),
}


@pytest.fixture(autouse=True)
def genome(tmp_path, monkeypatch):
    """Write a genome with I (60 bp) and Mito (9 bp)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(f">I\n{'ACGTAC' * 10}\n>Mito\nGATTACAGA\n")


def write(name, text):
    """Write a file, with tabs for spaces."""
    raw = text.replace(" ", "\t").encode()
    with open(name, "wb") as file:
        file.write(gzip.compress(raw) if name.endswith(".gz") else raw)


def sites(name, chrom="I", length=60):
    """Return the positions of a track, as often as they count, and check that none is missing."""
    counts = read_track(name).values(chrom, 0, length)
    return [at for at, number in enumerate(counts) for _ in range(int(number))]


@pytest.mark.parametrize(("name", "text", "shift", "plus", "minus"), CASES.values(), ids=CASES)
def test_sites_by_hand(name, text, shift, plus, minus):
    write(name, text)
    found = count_cut_sites([Path(name)], Genome("g.fa"), Path("out"), shift=shift, by_strand=True)
    assert (sites("out.plus.bw"), sites("out.minus.bw")) == (plus, minus)
    assert sites("out.plus.bw", "Mito", 9) == [4] * (name == "a.bedpe")
    assert found == len(plus + minus) + (name == "a.bedpe")


def test_command_adds_files_in_any_order(capsys):
    write("b.bed", f"{READ}\nM 0 9\n{FRAGMENT}\nI 11 20")
    write("a.bed", FRAGMENT)
    words = "coverage --fragments b.bed a.bed --genome g.fa --output out"
    run(words)
    assert sites("out.bw") == [14] * 2 + [15] * 5
    assert sites("out.bw", "Mito", 9) == [4, 4]
    assert "wrote 9 cut sites to out" in capsys.readouterr().out
    run(f"{words} --shift 0 -1")
    assert sites("out.bw") == [10, 10, 11] + [18] * 4


BAD = {  # file, line, part of the error
    "columns": ("a.bed", "I 1", "a.bed:1: BED line has 2 columns"),
    "columns of a pair": ("a.bedpe", "I 1 5 I 9 12", "expected 3, or 10 or more"),
    "number": ("a.tsv", "I 1 x A 1", "invalid end 'x'"),
    "strand": ("a.bed", "I 1 5 a 0 x", "invalid strand 'x'"),
    "chromosome": ("a.bed", f"{FRAGMENT}\nII 1 5", "a.bed:2: no chromosome 'II' in the genome"),
    "end": ("a.bed", "I 1 61", r"ends beyond I of g.fa \(60 bp\)\. Is it the same"),
    "order": ("a.bed", "I 5 5", "start is not before end"),
    "format": ("a.bam", "", "unknown type .* convert BAM"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD.values(), ids=BAD)
def test_bad_lines(name, text, message, tmp_path):
    write(name, text)
    with pytest.raises(IntervalError, match=message):
        count_cut_sites([Path(name)], Genome("g.fa"), Path("out"))
    assert {file.name for file in tmp_path.iterdir()} <= {name, "g.fa", "g.fa.fai"}


@pytest.mark.parametrize(
    ("text", "shift"), [("", None), ("# header\n", None), ("a 1 9", (10**30, 9))]
)
def test_no_site_is_an_error(tmp_path, text, shift):
    (tmp_path / "g.fa").write_text(">a\nACGTACGTAC\n")
    (path := tmp_path / "r.bed").write_text(text)
    with pytest.raises(
        IntervalError, match=r"r\.bed: no cut sites\. Each has no lines, or the shift"
    ):
        count_cut_sites([path], Genome(tmp_path / "g.fa"), tmp_path / "out", shift)
    assert not list(tmp_path.glob("*out*"))
