"""Test motif files and those of other tools: round trips, reading by these tools, and errors."""

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
from letters import BASES, ascii_of
from planted_motifs import planted_words
from test_clusters_caller import WORDS

from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.errors import DatabaseError
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
    motif = "AC  M00001\nXX\nID  V$MYOD_01\nXX\nP0      A      C      G      T\n"
    motif += "01      1      2      2      0      S\nXX\n//\n"
    (tmp_path / "a.transfac").write_text(f"VV  a\nXX\n//\n{motif}")
    assert list(read_motifs(tmp_path / "a.jaspar")) == ["Arnt (MA0004.1)"]
    ((name, ppm),) = open_database(str(tmp_path / "a.transfac")).items()
    assert name == "V$MYOD_01 (M00001)"
    np.testing.assert_allclose(ppm, [[0.2, 0.4, 0.4, 0]])


HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF a\nletter-probability matrix:"
MATRIX = HEAD + "\n1 0 0 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", r":1: not a motif database in MEME, .* format: it starts with 'hello'"),
        ("", r":1: not a motif database in MEME, .* format: it starts with ''"),
        (">a\nA [1 2]\nC [1 2]\nG [1 2]\n", "1 of 1 motifs is incomplete: JASPAR needs 4 lines of"),
        (">a\nA [1 2 3]\nC [1 2]\nG [1]\nT [1]\n", "cannot read this file as JASPAR: .*lengths"),
        (">a\nA [1 0]\nC [1 0]\nG [1 0]\nT [1 0]\n", "a position of motif 'a' has no counts"),
        (">a\nA [nan]\nC [1]\nG [1]\nT [1]\n", "a count of motif 'a' is not a number"),
        (2 * ">a\nA [1]\nC [1]\nG [1]\nT [1]\n", "two motifs are named 'a'"),
        ("ID  a\nP0 A C G T\n01 x 1 1 1\n//\n", "cannot read this file as TRANSFAC: "),
        ("XX\n//\n", "the motif database contains no motif"),
        ("MEME version 4\n", ": the motif database contains no motif$"),
        ("MEME version 4\nALPHABET= ACDE\n", ":2: expected ALPHABET= ACGT, found 'ALPHABET= ACDE"),
        (HEAD + " w= 2\n.5 .5 0 0\n", r":6: the motif has 1 row instead of 2 \(w=\)$"),
        (HEAD + "\n.5 .5 0\n", r":7: \[0.5, 0.5, 0.0\] are not 4 probabilities that sum to 1$"),
        (HEAD + "\n1 1 0 0\n", r":7: \[1.0, 1.0, 0.0, 0.0\] are not 4 probabilities that sum to 1"),
        (HEAD + "\nnan 1 0 0\n", r":7: \[nan, 1.0, 0.0, 0.0\] are not 4 probabilities"),
        (MATRIX + "\nMOTIF a\n", ":9: two motifs are named 'a'$"),
    ],
)
def test_invalid_databases(tmp_path, text, message):
    path = tmp_path / "motifs.txt"
    path.write_text(text)
    with pytest.raises(DatabaseError, match=f"^{path}.*{message}"):
        read_motifs(path)


def test_protein_goes_as_meme_only(tmp_path):
    ppm = np.random.default_rng(0).dirichlet(np.ones(20), size=5)
    path = tmp_path / "p.meme"
    path.write_text(meme_text({"motif_01": ppm}, {"motif_01": 9}, PROTEIN))
    assert "\nA 0.0825826 C 0.0138138 " in path.read_text()  # residues are not equally frequent
    np.testing.assert_allclose(read_motifs(path, PROTEIN)["motif_01"], ppm, atol=1e-5)
    with pytest.raises(DatabaseError, match="expected ALPHABET= ACGT, found 'ALPHABET= ACDEF"):
        read_meme(path)
    (tmp_path / "a.jaspar").write_text(jaspar_text(PFMS))
    with pytest.raises(DatabaseError, match="not a motif database in MEME, ELM or PROSITE"):
        read_motifs(tmp_path / "a.jaspar", PROTEIN)
    seqlets = pd.DataFrame(columns=["record", "start", "end", "strand"])
    found = SeqletPattern(np.eye(20, dtype=int)[:4], seqlets, alphabet=PROTEIN)
    for write in ("to_jaspar", "to_transfac"):
        with pytest.raises(ValueError, match=r"\w+ stores DNA motifs only, not motifs of protein"):
            getattr(build_motifs([found], pd.DataFrame(), {}), write)()


@pytest.fixture(scope="module")
def explained():
    """Return an explanation with three words, and its motifs."""
    letters, scores, _ = planted_words(WORDS, num=240)
    records = pd.DataFrame({"id": [f"r{i}" for i in range(len(letters))], "target": "positive"})
    records["length"] = letters.shape[1]
    attention = np.zeros(letters.shape, dtype=np.float32)
    explanation = Explanation(records, letters, scores, attention, "dna")
    return explanation, explanation.find_motifs("none", caller=Clusters())


def test_a_set_of_motifs_writes_all(explained, tmp_path):
    _, motifs = explained
    assert len(motifs) == 3
    for name in ("meme", "jaspar", "transfac"):
        path, write = tmp_path / f"m.{name}", getattr(motifs, f"to_{name}")
        assert write(path) is None
        assert write() == path.read_text()
        found = read_motifs(path)
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
        columns = ["record", "strand"]
        np.testing.assert_array_equal(found.seqlets[columns], motif.seqlets[columns])
        last = widest - len(motif.pfm) - first
        before = np.where(motif.seqlets["strand"] == "-", last, first)
        np.testing.assert_array_equal(found.seqlets["start"] + before, motif.seqlets["start"])
        np.testing.assert_array_equal(found.seqlets["end"] - found.seqlets["start"], widest)
    with h5py.File(tmp_path / "m.h5") as file:
        group = file["pos_patterns/pattern_0"]
        # The scores of the sites, read on their strands, are highest for the observed base.
        width = len(motifs.motifs[0].pfm)
        first = (widest - width) // 2
        best = group["hypothetical_contribs"][first : first + width].argmax(axis=1)
        np.testing.assert_array_equal(best, motifs.motifs[0].pfm.argmax(axis=1))
        each = group["seqlets/contrib_scores"][:]
        assert each.shape == (motifs.motifs[0].num_sites, widest, 4)
        np.testing.assert_allclose(each.mean(axis=0), group["contrib_scores"][:], atol=1e-6)


@pytest.mark.long  # the program is compiled, which takes 4 s
def test_modisco_exchange_round_trip(explained, tmp_path):
    explained[0].to_npz(tmp_path / "npz")
    files = "motifs -s npz/ohe.npz -a npz/attributions.npz -o out.h5"
    words = [Path(sys.executable).parent / "modisco", *files.split()]
    words += shlex.split("-n 400 -w 100 -z 11 -t 20 -f 5 -g 5")
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    patterns = list(_patterns_of(tmp_path / "out.h5"))
    assert len(patterns) >= 3
    best = {bytes(BASES[pattern.pfm.argmax(axis=1)]) for pattern in patterns}
    for word in WORDS:
        forms = (word, bytes(DNA.reverse_complement(ascii_of(word))))
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


PPM = np.array([[2 / 3, 1 / 9, 1 / 9, 1 / 9], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])


@pytest.mark.parametrize("suffix", ["meme", "meme.gz"])
def test_meme_round_trip(tmp_path, suffix):
    ppms = {"motif_01": PPM, "MA0001.1 Abc d": PPM[::-1]}
    text = "\n" + meme_text(ppms, dict.fromkeys(ppms, 12))  # empty lines before are allowed
    path = tmp_path / f"motifs.{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    found = read_meme(path)
    assert list(found) == ["motif_01", "Abc d (MA0001.1)"]
    np.testing.assert_allclose(found["motif_01"], PPM, atol=1e-9)
    np.testing.assert_allclose(found["Abc d (MA0001.1)"], PPM[::-1], atol=1e-9)


def test_memelite_reads_what_we_write(tmp_path):
    from memelite.io import read_meme as theirs

    path = tmp_path / "motifs.meme"
    path.write_text(meme_text({"motif_01": PPM}, {"motif_01": 12}))
    np.testing.assert_allclose(theirs(str(path))["motif_01"], PPM.T, atol=1e-6)


def test_missing_binary_and_truncated_databases(tmp_path):
    (tmp_path / "jaspar.meme").write_text(">x\nACGT\n")
    with pytest.raises(DatabaseError, match=":1: not a MEME file: it does not start with 'MEME"):
        read_meme(tmp_path / "jaspar.meme")
    with pytest.raises(DatabaseError, match="motif database not found"):
        read_meme(tmp_path / "none.meme")
    (tmp_path / "binary.meme").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "cut.meme.gz").write_bytes(gzip.compress(b"MEME version 4\n" * 99)[:-9])
    with pytest.raises(DatabaseError, match=r"binary.meme: cannot read this file as MEME: "):
        read_meme(tmp_path / "binary.meme")
    with pytest.raises(DatabaseError, match=r"cut.meme.gz: gz file is truncated"):
        read_meme(tmp_path / "cut.meme.gz")
