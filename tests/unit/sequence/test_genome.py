"""Test windows of a genome against slices, the location and renewal of its index, and errors."""

import os
import pickle
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pysam
import pytest

from selfattn_bio.errors import ArgumentError, GenomeError
from selfattn_bio.scoring.inputs import read_inputs
from selfattn_bio.sequence import faidx
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.policy import SequencePolicy

LETTERS = {
    name: np.random.default_rng(len(name)).choice(list(b"ACGTN"), size).astype(np.uint8)
    for name, size in (("chr1", 1003), ("M", 60))
}


def text_of(letters, end=b"\n"):
    """Return FASTA of these chromosomes with lines of 60 letters."""
    lines = []
    for name, row in letters.items():
        text = row.tobytes()
        lines += [f">{name}".encode(), *(text[at : at + 60] for at in range(0, len(row), 60))]
    return end.join(lines) + end


def bgzip(path, content):
    """Write bgzip with htslib."""
    with pysam.BGZFile(str(path), "wb") as handle:
        handle.write(content)
    return path


@pytest.fixture(params=["plain", "bgzip", "CRLF"])
def genome(request, tmp_path):
    """Return the chromosomes of LETTERS."""
    content = text_of(LETTERS, b"\r\n" if request.param == "CRLF" else b"\n")
    if request.param == "bgzip":
        return Genome(bgzip(tmp_path / "g é.fa.gz", content))
    (tmp_path / "g.fa").write_bytes(content)
    return Genome(tmp_path / "g.fa")


def test_a_window_is_a_slice(genome):
    assert (genome.names, genome.lengths) == (["chr1", "M"], {"chr1": 1003, "M": 60})
    places = [(0, 1003), (0, 1), (59, 61), (60, 60), (1002, 1003), (1003, 1003), (17, 500)]
    for start, end in places:
        window = LETTERS["chr1"][start:end]
        np.testing.assert_array_equal(genome.fetch("chr1", start, end), window)
        np.testing.assert_array_equal(
            genome.fetch("chr1", start, end, "-"), DNA.reverse_complement(window)
        )
    np.testing.assert_array_equal(genome.fetch("M"), LETTERS["M"])


plain = pytest.mark.parametrize("genome", ["plain"], indirect=True)


@plain
@pytest.mark.parametrize(
    ("asked", "found"),
    [("chr1", "chr1"), ("1", "chr1"), ("M", "M"), ("chrM", "M"), ("MT", "M"), ("chrMT", "M")],
)
def test_other_names_are_resolved(genome, asked, found, caplog):
    assert [genome.resolve(asked), genome.resolve(asked)] == [found, found]
    message = f"{genome.path}: names differ; {asked!r} is read as {found!r}"
    assert caplog.messages == ([] if asked == found else [message])


@plain
@pytest.mark.parametrize(
    ("name", "start", "end", "message"),
    [
        ("chr2", 0, 1, "no chromosome 'chr2' in the genome (it has chr1, M). Did you mean 'chr1'?"),
        ("scaffold_7", 0, 1, "(it has chr1, M). Is it the same file or assembly?"),
        ("1", -1, 3, "window [-1, 3) is not within chr1 (1003 bp)"),
        ("chr1", 9, 1004, "window [9, 1004) is not within chr1 (1003 bp)"),
        ("chr1", 9, 8, "window [9, 8) is not within chr1 (1003 bp)"),
    ],
)
def test_intervals_outside_the_genome(genome, name, start, end, message):
    with pytest.raises(GenomeError) as caught:
        genome.fetch(name, start, end)
    assert str(caught.value).startswith(f"{genome.path}: ")
    assert str(caught.value).endswith(message)


def test_a_record_is_found_by_its_accession(tmp_path):
    names = "sp|P7ZMS6|K001_MOUSE", "sp|P7ZMS7|K002_MOUSE"
    (tmp_path / "p.fa").write_text("".join(f">{name} x\nMKV\n" for name in names))
    genome = Genome(tmp_path / "p.fa", PROTEIN)
    for part in ("P7ZMS7", "K002_MOUSE"):
        assert genome.resolve(part) == names[1]
    with pytest.raises(GenomeError, match=r"Did you mean 'sp\|P7ZMS6\|K001_MOUSE'\?"):
        genome.resolve("K001_MOUS")
    (tmp_path / "q.fa").write_text(">P7ZMS6\nMKV\n")
    assert Genome(tmp_path / "q.fa", PROTEIN).resolve(names[0]) == "P7ZMS6"


@plain
def test_invalid_strand_is_refused(genome):
    with pytest.raises(ValueError, match=r"invalid strand '\.' \(expected \+ or -\)"):
        genome.fetch("chr1", 0, 1, ".")


def test_genome_can_be_pickled_closed_and_forked(genome):
    with genome:
        genome.fetch("M")
    window = LETTERS["chr1"][100:200]
    for each in (pickle.loads(pickle.dumps(genome)), genome):
        np.testing.assert_array_equal(each.fetch("chr1", 100, 200), window)
    ours = genome._open()
    # Fork passes the object without pickling
    child = get_context("fork").Process(target=_exit_if_new_handle, args=(genome,))
    child.start()
    child.join()
    assert child.exitcode == 7
    assert genome._open() is ours


def _exit_if_new_handle(genome):
    genome.fetch("M")
    os._exit(7 if genome._process == os.getpid() else 1)


@plain
def test_an_index_is_made_once(genome, caplog):
    index = genome._fai.stat()
    assert genome._fai == Path(f"{genome.path}.fai")
    assert Genome(genome.path)._fai.stat().st_ino == index.st_ino
    assert caplog.messages == []


def test_an_index_is_cached_where_the_folder_is_read_only(tmp_path, monkeypatch):
    (tmp_path / "g.fa").write_bytes(text_of(LETTERS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(faidx.os, "access", lambda path, mode: False)
    genome = Genome(tmp_path / "g.fa")
    assert genome._fai.is_relative_to(tmp_path / "cache")
    assert not (tmp_path / "g.fa.fai").exists()
    inode = genome._fai.stat().st_ino
    np.testing.assert_array_equal(Genome(tmp_path / "g.fa").fetch("M"), LETTERS["M"])
    assert genome._fai.stat().st_ino == inode


OLDER, DIFFERENT = "older than the FASTA file", "does not match the FASTA file"
OTHER_BLOCK = (1).to_bytes(8, "little") + (77).to_bytes(8, "little") * 2


@pytest.mark.parametrize(
    ("index", "spoil", "reason"),
    [
        ("fai", lambda fai: os.utime(fai, (1, 1)), OLDER),
        ("fai", lambda fai: fai.write_text(fai.read_text().replace("chr1", "chr9")), DIFFERENT),
        ("fai", lambda fai: fai.write_text(fai.read_text().replace("1003", "1103")), DIFFERENT),
        ("fai", lambda fai: fai.write_text("M\t60\n"), DIFFERENT),
        ("fai", lambda fai: fai.write_bytes(b"\xff\x00"), DIFFERENT),
        ("fai", lambda fai: fai.write_bytes(b""), DIFFERENT),
        ("gzi", lambda gzi: gzi.unlink(), "no .gzi file next to it"),
        ("gzi", lambda gzi: gzi.write_bytes(b"\x01"), DIFFERENT),
        ("gzi", lambda gzi: gzi.write_bytes(OTHER_BLOCK), DIFFERENT),
        ("gzi", lambda gzi: os.utime(gzi, (1, 1)), OLDER),
    ],
)
def test_stale_index_is_rebuilt(tmp_path, index, spoil, reason, caplog):
    path, content = tmp_path / "g.fa", text_of(LETTERS | {"last": LETTERS["chr1"]})
    path.write_bytes(content) if index == "fai" else bgzip(path, content)
    Genome(path)
    spoil(Path(f"{path}.{index}"))
    np.testing.assert_array_equal(Genome(path).fetch("M"), LETTERS["M"])
    assert caplog.messages == [f"{path}.fai: {reason}; rebuilding the index"]


def test_a_genome_of_protein(tmp_path):
    (tmp_path / "p.fa").write_bytes(b">a\nACGTL\n")
    message = r"invalid character 'L' at position 5 of a \(expected IUPAC DNA codes\)"
    with pytest.raises(GenomeError, match=message):
        Genome(tmp_path / "p.fa").fetch("a", 2, 5)


def test_a_damaged_block(tmp_path):
    path = bgzip(tmp_path / "g.fa.gz", text_of(LETTERS))
    content = bytearray(path.read_bytes())
    content[40] ^= 255
    path.write_bytes(content)
    with pytest.raises(GenomeError, match=r"g.fa.gz: damaged gz file: "):
        Genome(path)


@plain
@pytest.mark.parametrize("spoil", [os.unlink, lambda path: os.truncate(path, 100)])
def test_a_genome_that_changes_while_it_is_read(genome, spoil, capfd):
    spoil(genome.path)
    message = r"cannot read \[90, 900\) of chr1; the file is damaged or has changed"
    with pytest.raises(GenomeError, match=message):
        genome.fetch("chr1", 90, 900)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", [5, ["a.fa"]])
def test_a_genome_is_a_path(path):
    inputs = read_inputs(SequencePolicy(DNA), "a.bed", 1, genome=path)
    for opened in (lambda: Genome(path), lambda: next(inputs)):
        with pytest.raises(ArgumentError, match="expected the path of a FASTA file, not a"):
            opened()
