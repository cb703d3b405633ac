"""Test the benchmark of negatives: windows of the genome, and headers of the shuffled ones."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.readers import read_records
from selfattn_bio.sequence.records import Record


def test_windows_have_the_strand_and_gc_content_of_the_promoter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import negatives

    rng = np.random.default_rng(0)
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), 4000)
    (tmp_path / "g.fa").write_text(f">chr2R\n{letters.tobytes().decode()}\n")
    monkeypatch.setattr(negatives, "GENOME", tmp_path / "g.fa")
    promoters = [
        Record("a", letters[500:560], "chr2R", 500, 560, "+"),
        Record("b", DNA.reverse_complement(letters[2000:2060]), "chr2R", 2000, 2060, "-"),
    ]
    found = negatives.windows_of_genome(promoters)
    gc = [
        sorted(np.isin(window, (ord("G"), ord("C"))).sum() for window in windows)
        for windows in ([record.letters for record in promoters], found["matched"])
    ]
    assert gc[0] == gc[1]
    near = {
        letters[440:500].tobytes(),
        letters[560:620].tobytes(),
        DNA.reverse_complement(letters[1940:2000]).tobytes(),
        DNA.reverse_complement(letters[2060:2120]).tobytes(),
    }
    assert len(found["neighbours"]) == 2
    assert {window.tobytes() for window in found["neighbours"]} < near


def test_shuffled_negatives_keep_their_chromosome(tmp_path: Path) -> None:
    import negatives

    letters = np.frombuffer(b"ACGTACGGT", dtype=np.uint8)
    path = negatives.write_fasta(tmp_path / "s.fa.gz", [Record("a/shuffled1", letters, "chr2R")])
    with gzip.open(path, "rt") as file:
        assert file.readline() == ">a/shuffled1 chrom=chr2R\n"
    (record,) = read_records(path, DNA)
    assert (record.id, record.chrom, record.start) == ("a/shuffled1", "chr2R", None)
