"""Test patterns of residues: consensus, matrices of forms, and the files of ELM and PROSITE."""

import re

import numpy as np
import pytest

from selfattn_bio.errors import ArgumentError, DatabaseError
from selfattn_bio.motifs import database_of, matrix_of, open_database
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.matching import match_motifs
from selfattn_bio.motifs.residues import consensus_of, forms_of, matrix_of_form, read_patterns
from selfattn_bio.sequence.alphabet import DNA, PROTEIN

ELM = """#ELM_Classes_Download_Version: 1.4
"Accession"	"ELMIdentifier"	"Regex"
"ELME1"	"TRG_NLS"	"^.{0,1}P(KK)[KR]RKV"
"ELME2"	"LIG_SH3"	"P.LP.[KR]"
"ELME3"	"LIG_AHEAD"	"K(?=P)"
"""
PROSITE = """CC   *** PROSITE ***
//
ID   NLS; PATTERN.
AC   PS00001;
PA   <P-K(2)-[KR]-R-
PA   K-V.
//
ID   GLY; PATTERN.
AC   PS00002;
PA   G-x(4)-G-K-[ST]-{P}-A>.
//
ID   OTHER; MATRIX.
AC   PS50001;
//
"""


@pytest.mark.parametrize(
    ("pattern", "forms"),
    [
        ("PKK[KR]RKV", ["PKK[KR]RKV"]),
        ("^.G.G..G.V$", [".G.G..G.V"]),
        ("K.{1,2}K", ["K.K", "K..K"]),
        ("[BK]RZ", ["[DKN]R[EQ]"]),
        ("(.RK)|(W[ST]?Y)", [".RK", "WY", "W[ST]Y"]),
        ("C[^ACDEFGHIKLMNPQRST]J", ["C[VWY][IL]"]),
    ],
)
def test_patterns_have_a_matrix_per_form(pattern, forms):
    matrices = [matrix_of_form(form, PROTEIN) for form in forms_of(pattern, PROTEIN)]
    assert sorted(consensus_of(matrix) for matrix in matrices) == sorted(forms)
    for matrix in matrices:
        np.testing.assert_allclose(matrix.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("PK!", "invalid character '!' in motif 'PK!'"),
        ("PKU", "invalid character 'U' in motif"),
        ("K(?=P)", "invalid character"),
        ("A(K|R)", "invalid character"),
        ("(KR){2}", "invalid character"),
        ("", "a motif is empty text"),
        ("A{0,9}.{0,9}C", "more than 64 forms"),
        ("A{0,3000}A{0,3000}L", "repeats a position more than 1000 times"),
        ("K^R", "invalid character '^'"),
        ("A{99999999}", "repeats a position more than 1000 times"),
        ("KA?", "has 2 forms"),
    ],
)
def test_other_patterns_are_errors(pattern, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        matrix_of(pattern, PROTEIN)


def test_forms_keep_anchors():
    assert forms_of("(^MK?)|(K$)", PROTEIN) == ["^M", "^MK", "K$"]
    assert forms_of("^.{0,1}G[^P]$", PROTEIN) == ["^G[^P]$", "^.G[^P]$"]
    prosite = "ID   T; PATTERN.\nAC   PS00267;\nPA   <F-[LM]-M-[G>].\n//\n"
    assert dict(read_patterns(prosite)) == {"T (PS00267)": "^F[LM]M[G]|^F[LM]M$"}


def test_consensus_ignores_rare_residues():
    ppm = np.full((3, 20), 0.005)
    ppm[0, 0] = 0.62  # A
    ppm[1] = 0.04
    ppm[1, 0] = 0.24  # three quarters of the sites need too many residues
    ppm[2, [8, 14]] = 0.40, 0.38  # K or R
    assert consensus_of(ppm / ppm.sum(axis=1, keepdims=True)) == "A.[KR]"


def test_consensus_has_each_residue_of_a_tenth_of_the_sites():
    ppm = np.full((4, 20), 0.002)
    ppm[0, [3, 8, 11, 14]] = 0.19, 0.28, 0.20, 0.28  # three of E, K, N, R are three quarters
    ppm[1, [2, 3]] = 0.7, 0.2
    ppm[2, [2, 3]] = 0.86, 0.08
    ppm[3, :6] = 0.16  # of six residues
    assert consensus_of(ppm) == "[EKNR][DE]D."


def test_files_of_patterns_are_databases(tmp_path, caplog):
    elm, prosite = tmp_path / "elm_classes.tsv", tmp_path / "prosite.dat"
    elm.write_text(ELM)
    prosite.write_text(PROSITE)
    known = open_database(str(elm), PROTEIN)
    found = {name: consensus_of(matrix) for name, matrix in known.items()}
    assert found["LIG_SH3 (ELME2)"] == "P.LP.[KR]"
    assert found["TRG_NLS (ELME1)"] == found["TRG_NLS (ELME1) form 2"] == "PKK[KR]RKV"
    assert len(found) == 3
    assert "LIG_AHEAD (ELME3) is left out: invalid character" in caplog.text
    known = open_database(str(prosite), PROTEIN)
    found = {name: consensus_of(matrix) for name, matrix in known.items()}
    assert found == {"NLS (PS00001)": "PKK[KR]RKV", "GLY (PS00002)": "G....GK[ST].A"}
    assert database_of(str(prosite), PROTEIN) == str(prosite)
    assert database_of("jaspar:insects", PROTEIN) == database_of("none", DNA) == ""
    with pytest.raises(DatabaseError, match="MEME, JASPAR or TRANSFAC"):
        open_database(str(elm), DNA)
    with pytest.raises(DatabaseError, match="expected ALPHABET= ACDE"):
        open_database("jaspar:insects", PROTEIN)
    (tmp_path / "none.dat").write_text("CC   nothing\n//\n")
    with pytest.raises(DatabaseError, match="no motif"):
        open_database(str(tmp_path / "none.dat"), PROTEIN)


def test_protein_motifs_match_patterns():
    rng = np.random.default_rng(0)
    database = {f"d{i}": rng.dirichlet(np.full(20, 0.1), size=7) for i in range(30)}
    database |= {"NLS (1)": matrix_of("PKK[KR]RKV", PROTEIN)}
    motif = 0.9 * matrix_of("PKK[KR]RKV", PROTEIN) + 0.1 / 20
    table = match_motifs({"m": motif, "reversed": motif[::-1, ::-1]}, database, PROTEIN)
    assert [match_label(row) for row in table.to_dict("records")] == ["NLS", ""]
