"""Test the files of other tools: round trips, reading by these tools, and errors."""

import gzip
import importlib.util
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from Bio import motifs as bio
from test_clusters_caller import WORDS, planted

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.errors import DatabaseError, OutputError
from selfattn_bio.motifs import (
    jaspar_text,
    meme_text,
    open_database,
    read_meme,
    read_motifs,
    transfac_text,
)
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.tables import on_chromosome, read_bed, write_bed, write_table

PFMS = {
    "motif_01": np.array([[7, 0, 1, 2], [0, 10, 0, 0], [3, 3, 3, 1]]),
    "motif_02": np.array([[120, 4, 0, 0], [1, 1, 1, 121]]),
}
TEXTS = {"JASPAR": jaspar_text, "TRANSFAC": transfac_text}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
def test_counts_come_back_and_biopython_reads_them(tmp_path, name, suffix):
    path = tmp_path / f"motifs.{suffix}"
    text = TEXTS[name](PFMS)
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    found = read_motifs(path)
    assert list(found) == list(PFMS)
    parsed = bio.parse(StringIO(text), name.lower())
    for motif, (label, pfm) in zip(parsed, PFMS.items(), strict=True):
        np.testing.assert_array_equal([motif.counts[base] for base in "ACGT"], pfm.T)
        np.testing.assert_allclose(found[label], pfm / pfm.sum(axis=1, keepdims=True))


def test_names_in_other_databases(tmp_path):
    (tmp_path / "a.jaspar").write_text(">MA0004.1 Arnt\nA [ 4 19 ]\nC [16 0 ]\nG [0 1]\nT [0 0]\n")
    (tmp_path / "a.transfac").write_text(
        "VV  a\nXX\n//\nAC  M00001\nXX\nID  V$MYOD_01\nXX\nP0      A      C      G      T\n01      "
        "1      2      2      0      S\nXX\n//\n"
    )
    assert list(read_motifs(tmp_path / "a.jaspar")) == ["Arnt (MA0004.1)"]
    assert list(open_database(str(tmp_path / "a.transfac"))) == ["V$MYOD_01 (M00001)"]
    np.testing.assert_allclose(
        read_motifs(tmp_path / "a.transfac")["V$MYOD_01 (M00001)"], [[0.2, 0.4, 0.4, 0]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", r":1: not a motif database in MEME, .* format: it starts with 'hello'"),
        ("", r":1: not a motif database in MEME, .* format: it starts with ''"),
        (
            ">a\nA [1 2]\nC [1 2]\nG [1 2]\n",
            "1 of 1 motifs is incomplete: JASPAR needs 4 lines of counts per motif",
        ),
        (">a\nA [1 0]\nC [1 0]\nG [1 0]\nT [1 0]\n", "a position of motif 'a' has no counts"),
        (">a\nA [nan]\nC [1]\nG [1]\nT [1]\n", "a count of motif 'a' is not a number"),
        (
            ">a\nA [1]\nC [1]\nG [1]\nT [1]\n>a\nA [1]\nC [1]\nG [1]\nT [1]\n",
            "two motifs are named 'a'",
        ),
        ("ID  a\nP0 A C G T\n01 x 1 1 1\n//\n", "cannot read this file as TRANSFAC: "),
        ("XX\n//\n", "the motif database contains no motif"),
    ],
)
def test_invalid_databases(tmp_path, text, message):
    path = tmp_path / "motifs.txt"
    path.write_text(text)
    with pytest.raises(DatabaseError, match=message) as error:
        read_motifs(path)
    assert str(path) in str(error.value)


def test_protein_goes_as_meme_only(tmp_path):
    ppm = np.random.default_rng(0).dirichlet(np.ones(20), size=5)
    path = tmp_path / "p.meme"
    path.write_text(meme_text({"motif_01": ppm}, {"motif_01": 9}, PROTEIN))
    np.testing.assert_allclose(read_motifs(path, PROTEIN)["motif_01"], ppm, atol=1e-5)
    with pytest.raises(
        DatabaseError, match="expected ALPHABET= ACGT, found 'ALPHABET= ACDEFGHIKLMNPQRSTVWY'"
    ):
        read_meme(path)
    (tmp_path / "a.jaspar").write_text(jaspar_text(PFMS))
    with pytest.raises(DatabaseError, match="not a motif database in MEME format"):
        read_motifs(tmp_path / "a.jaspar", PROTEIN)
    found = SeqletPattern(
        np.eye(20, dtype=int)[:4],
        pd.DataFrame(columns=["record", "start", "end", "strand"]),
        alphabet=PROTEIN,
    )
    for write in ("to_jaspar", "to_transfac"):
        with pytest.raises(ValueError, match=r"\w+ stores DNA motifs only, not motifs of protein"):
            getattr(build_motifs([found], pd.DataFrame(), {}), write)()


@pytest.fixture(scope="module")
def explained():
    """Return an explanation with three words, and its motifs."""
    letters, scores, _ = planted(WORDS, num=240)
    records = pd.DataFrame({"id": [f"r{i}" for i in range(len(letters))], "target": "positive"})
    records["length"] = letters.shape[1]
    explanation = Explanation(
        records, letters, scores, np.zeros(letters.shape, dtype=np.float32), "dna"
    )
    return explanation, explanation.find_motifs("none", caller=Clusters())


def test_a_set_of_motifs_writes_all(explained, tmp_path):
    _, motifs = explained
    assert len(motifs) == 3
    for write, name in (
        (motifs.to_meme, "m.meme"),
        (motifs.to_jaspar, "m.jaspar"),
        (motifs.to_transfac, "m.transfac"),
    ):
        text = write(tmp_path / name)
        assert (tmp_path / name).read_text() == text
        found = read_motifs(tmp_path / name)
        for motif in motifs:
            np.testing.assert_allclose(found[motif.name], motif.ppm, atol=1e-5)


def _patterns_of(path):
    """Read the positive patterns of a modisco h5 file."""
    with h5py.File(path) as file:
        groups = file["pos_patterns"]
        for number in range(len(groups)):
            group = groups[f"pattern_{number}"]
            names = {"record": "example_idx", "start": "start", "end": "end"}
            seqlets = pd.DataFrame({name: group["seqlets"][key][:] for name, key in names.items()})
            reverse = group["seqlets/is_revcomp"][:]
            pfm = np.rint(group["sequence"][:] * len(seqlets)).astype(int)
            yield SeqletPattern(pfm, seqlets.assign(strand=np.where(reverse, "-", "+")))


def test_the_layout_of_modisco_comes_back(explained, tmp_path):
    explanation, motifs = explained
    explanation.to_modisco(motifs, tmp_path / "m.h5")
    widest = max(len(motif.pfm) for motif in motifs)
    assert widest > min(len(motif.pfm) for motif in motifs)
    for found, motif in zip(_patterns_of(tmp_path / "m.h5"), motifs, strict=True):
        assert len(found.pfm) == widest
        first = (widest - len(motif.pfm)) // 2
        np.testing.assert_array_equal(found.pfm[first : first + len(motif.pfm)], motif.pfm)
        assert (
            found.seqlets[["record", "strand"]].to_numpy().tolist()
            == motif.seqlets[["record", "strand"]].to_numpy().tolist()
        )
        last = widest - len(motif.pfm) - first
        before = np.where(motif.seqlets["strand"] == "-", last, first)
        np.testing.assert_array_equal(found.seqlets["start"] + before, motif.seqlets["start"])
        np.testing.assert_array_equal(found.seqlets["end"] - found.seqlets["start"], widest)
    with h5py.File(tmp_path / "m.h5") as file:
        group = file["pos_patterns/pattern_0"]
        # The scores of the sites, read on their strands, are highest for the observed base.
        first = (widest - len(motifs.motifs[0].pfm)) // 2
        best = group["hypothetical_contribs"][:].argmax(axis=1)[
            first : first + len(motifs.motifs[0].pfm)
        ]
        np.testing.assert_array_equal(best, motifs.motifs[0].pfm.argmax(axis=1))
        each = group["seqlets/contrib_scores"][:]
        assert each.shape == (motifs.motifs[0].num_sites, widest, 4)
        np.testing.assert_allclose(each.mean(axis=0), group["contrib_scores"][:], atol=1e-6)


def test_modisco_exchange_round_trip(explained, tmp_path):
    explanation, _ = explained
    explanation.to_npz(tmp_path / "npz")
    program = Path(sys.executable).parent / "modisco"
    options = shlex.split("-n 400 -w 100 -z 11 -t 20 -f 5 -g 5 -o out.h5")
    files = ["-s", "npz/ohe.npz", "-a", "npz/attributions.npz"]
    subprocess.run(
        [program, "motifs", *files, *options], cwd=tmp_path, check=True, capture_output=True
    )
    patterns = list(_patterns_of(tmp_path / "out.h5"))
    assert len(patterns) >= 3
    best = {
        bytes(np.frombuffer(b"ACGT", dtype=np.uint8)[pattern.pfm.argmax(axis=1)])
        for pattern in patterns
    }
    for word in WORDS:
        forms = (word, bytes(DNA.reverse_complement(np.frombuffer(word, dtype=np.uint8))))
        assert any(form in text for form in forms for text in best)


@pytest.mark.skipif(importlib.util.find_spec("finemo") is None, reason="finemo is not installed")
def test_the_finemo_program_reads_our_files(explained, tmp_path):
    explanation, motifs = explained
    explanation.to_npz(tmp_path / "npz")
    explanation.to_modisco(motifs, tmp_path / "m.h5")
    finemo = [sys.executable, "-m", "finemo"]
    extract = shlex.split(
        "extract-regions-modisco-fmt -s npz/ohe.npz -a npz/attributions.npz -o regions.npz -w 100"
    )
    subprocess.run([*finemo, *extract], cwd=tmp_path, check=True, capture_output=True)
    for number, regions in enumerate(("regions.npz", "npz/regions.npz")):
        call = ["call-hits", "-r", regions, "-m", "m.h5", "-o", f"hits{number}", "-b", "10"]
        subprocess.run([*finemo, *call], cwd=tmp_path, check=True, capture_output=True)
        assert len(pd.read_csv(tmp_path / f"hits{number}" / "hits.tsv", sep="\t")) > 200


def test_bed_has_more_columns_and_comes_back(tmp_path):
    records = pd.DataFrame({"id": ["a", "1"]} | dict.fromkeys(["chrom", "start", "end", "strand"]))
    places = {
        "record": [0, 1],
        "start": [3, 0],
        "end": [9, 6],
        "strand": ["+", "-"],
        "name": "m",
        "score": [5, 1000],
        "p_value": [1e-5, 2e-4],
    }
    rows = on_chromosome(pd.DataFrame(places), records)
    write_bed(tmp_path / "a.bed", rows, ["p_value"])
    assert (
        tmp_path / "a.bed"
    ).read_text() == "1\t0\t6\tm\t1000\t-\t0.0002\na\t3\t9\tm\t5\t+\t1e-05\n"
    found = read_bed(tmp_path / "a.bed").rename(columns={6: "p_value"})
    pd.testing.assert_frame_equal(found, rows, check_dtype=False)
    (tmp_path / "short.bed").write_text("a\t3\t9\n")
    with pytest.raises(ValueError, match=r"BED file has 3 columns instead of chrom, start"):
        read_bed(tmp_path / "short.bed")
    write_bed(tmp_path / "none.bed", rows[:0])
    assert read_bed(tmp_path / "none.bed").empty


def test_bed_names_stay_text(tmp_path):
    names = ["one#1#chr1", "007", "1e5", "NA", 'a"b', '"c"']
    rows = pd.DataFrame(
        {"chrom": names, "start": 3, "end": 9, "name": names[::-1], "score": 5, "strand": "+"}
    )
    write_bed(tmp_path / "a.bed", rows)
    assert (tmp_path / "a.bed").read_text().splitlines()[4] == 'a"b\t3\t9\t007\t5\t+'
    pd.testing.assert_frame_equal(read_bed(tmp_path / "a.bed"), rows, check_dtype=False)


def test_tables_as_tsv_and_parquet(tmp_path):
    table = pd.DataFrame({"name": ["m", "n"], "p_value": [0.25, 1e-9]})
    write_table(tmp_path / "t.tsv", table)
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "t.tsv", sep="\t"), table, check_dtype=False
    )
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table, check_dtype=False)
    with pytest.raises(
        OutputError, match=r"unknown table format. Use a name ending in .tsv or .parquet"
    ):
        write_table(tmp_path / "t.csv", table)
