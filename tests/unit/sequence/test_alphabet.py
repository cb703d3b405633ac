"""Test codes, complements and their errors on worked examples and Biopython's tables."""

import numpy as np
import pytest
from Bio.Data import IUPACData
from letters import ascii_of

from selfattn_bio.sequence.alphabet import DNA, PROTEIN, get_alphabet


def test_codes_of_bases_ambiguity_and_padding():
    letters = np.array([[*b"ACGTN"], [*b"RA", 0, 0, 0]], np.uint8)
    assert DNA.codes(letters).tolist() == [[0, 1, 2, 3, 4], [4, 0, 255, 255, 255]]
    assert PROTEIN.codes(ascii_of("ACYX")).tolist() == [0, 1, 19, 20]


@pytest.mark.parametrize(
    ("text", "named"),
    [("ACgT", "character 'g'"), ("A-U", "character '-'"), ("A\x80", "byte 0xC2")],
)
def test_codes_refuse_other_characters(text, named):
    message = rf"invalid {named} \(expected upper-case IUPAC DNA codes, or 0"
    with pytest.raises(ValueError, match=message):
        DNA.codes(ascii_of(text))


def test_reverse_complement_of_a_batch_keeps_padding():
    letters = np.array([[*b"AACG"], [*b"AR", 0, 0]], np.uint8)
    assert DNA.reverse_complement(letters).tolist() == [[*b"CGTT"], [0, 0, *b"YT"]]


def test_protein_has_no_complement():
    with pytest.raises(ValueError, match="protein sequences have no reverse complement"):
        PROTEIN.reverse_complement(ascii_of("MK"))


def test_bases_and_complements_follow_iupac():
    every = DNA.letters + DNA.ambiguous
    assert set(every) == set(IUPACData.ambiguous_dna_letters)
    complements = {**IUPACData.ambiguous_dna_complement}
    assert DNA.reverse_complement(ascii_of(every))[::-1].tobytes().decode() == "".join(
        complements[letter] for letter in every
    )
    assert set(PROTEIN.letters) == set(IUPACData.protein_letters)
    assert set(PROTEIN.letters + PROTEIN.ambiguous) == set(IUPACData.extended_protein_letters)


def test_normalise():
    assert DNA.normalise(b"acguNnU") == b"ACGTNNT"
    assert PROTEIN.normalise(b"mkUx") == b"MKUX"


def test_get_alphabet():
    assert get_alphabet("protein") is PROTEIN
    with pytest.raises(ValueError, match=r"unknown alphabet 'rna' \(expected dna or protein\)"):
        get_alphabet("rna")
