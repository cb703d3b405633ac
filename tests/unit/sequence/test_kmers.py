"""Test alphabets against Biopython's tables, and tokens; the property tests encode and decode."""

import numpy as np
import pytest
from Bio.Data import IUPACData
from letters import ascii_of

from selfattn_bio.sequence import kmers
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, get_alphabet
from selfattn_bio.sequence.kmers import MASK, KmerTokenizer, gc_content


def codes_of(*texts: str) -> np.ndarray:
    letters = np.zeros((len(texts), max(map(len, texts))), np.uint8)
    for row, text in zip(letters, texts, strict=True):
        row[: len(text)] = list(text.encode())
    return DNA.codes(letters)


def test_codes_of_bases_ambiguity_and_padding():
    letters = np.array([[*b"ACGTN"], [*b"RA", 0, 0, 0]], np.uint8)
    assert DNA.codes(letters).tolist() == [[0, 1, 2, 3, 4], [4, 0, 255, 255, 255]]
    assert PROTEIN.codes(ascii_of("ACYX")).tolist() == [0, 1, 19, 20]


@pytest.mark.parametrize(
    ("text", "named"), [("ACgT", "character 'g'"), ("A-U", "character '-'"), ("A\x80", "byte 0xC2")]
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
    complements = "".join(IUPACData.ambiguous_dna_complement[letter] for letter in every)
    assert DNA.reverse_complement(ascii_of(every))[::-1].tobytes().decode() == complements
    assert set(PROTEIN.letters) == set(IUPACData.protein_letters)
    assert set(PROTEIN.letters + PROTEIN.ambiguous) == set(IUPACData.extended_protein_letters)


def test_get_alphabet():
    assert get_alphabet("protein") is PROTEIN
    with pytest.raises(
        ValueError, match=r"unknown alphabet 'xna' \(expected dna, rna, ssdna or protein\)"
    ):
        get_alphabet("xna")


@pytest.mark.parametrize(
    ("k", "stride", "starts"), [(3, 1, [0, 1, 2, 3, 4]), (3, 2, [0, 2, 4]), (3, 3, [0, 3])]
)
def test_spans_cover_the_bases_of_tokens(k, stride, starts):
    tokenizer = KmerTokenizer(DNA, k, stride)
    assert tokenizer.num_tokens(7) == len(starts)
    assert tokenizer.spans(len(starts)).tolist() == [[start, start + k] for start in starts]


def test_vocabulary():
    assert KmerTokenizer(DNA, 8).vocabulary_size == 65536 + 4
    assert KmerTokenizer(PROTEIN, 4).vocabulary_size == 20**4 + 4
    first, other, shorter = (KmerTokenizer(DNA, *each).sha256 for each in ((3, 1), (3, 3), (2,)))
    assert first == other != shorter


def test_decode_shows_bases_of_a_kmer():
    tokenizer = KmerTokenizer(DNA, k=3)
    tokens = tokenizer.encode(codes_of("ACGTNACG", "ACGT"))
    assert tokenizer.decode(tokens).tolist() == [[*b"ACGTNACG"], [*b"ACGT", 0, 0, 0, 0]]
    assert tokenizer.decode(np.array([[MASK]])).tobytes() == b"NNN"


@pytest.mark.parametrize("texts", [("ACGT", "AC"), ("AC",)])
def test_a_row_shorter_than_k_is_an_error(texts):
    message = rf"the sequence in row {len(texts) - 1} has length 2, less than k = 3"
    with pytest.raises(ValueError, match=message):
        KmerTokenizer(DNA, 3).encode(codes_of(*texts))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((DNA, 0), "k = 0 is out of range"),
        ((DNA, 9), r"k = 9 is out of range \(1 to 8\)"),
        ((DNA, 3, 4), r"stride = 4 is out of range \(1 to k = 3\)"),
        ((DNA, 3, 0), "stride = 0 is out of range"),
        ((PROTEIN, 5), "k = 5 gives 3200000 protein k-mers, more than the maximum of 262144"),
    ],
)
def test_parameters_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        KmerTokenizer(*arguments)


@pytest.mark.parametrize("invalid", [[[4, 20]], [[1, 4]]])
def test_invalid_tokens_are_not_decoded(invalid):
    with pytest.raises(ValueError, match=r"\(expected 0-19 without 1, \[CLS\]\)"):
        KmerTokenizer(DNA, 2).decode(np.array(invalid))


def test_complement_is_the_token_of_the_other_strand():
    tokenizer = KmerTokenizer(DNA, k=3)
    complement = tokenizer.complement()
    given, other = (tokenizer.encode(codes_of(text))[0] for text in ("ACGTTNACCA", "TGGTNAACGT"))
    assert complement[given][::-1].tolist() == other.tolist()
    assert complement[:4].tolist() == [0, 1, 2, 3]
    assert complement[complement].tolist() == list(range(tokenizer.vocabulary_size))
    assert KmerTokenizer(DNA, k=1).complement().tolist() == [0, 1, 2, 3, 7, 6, 5, 4]


def test_canonical_tokens_are_one_for_both_strands():
    tokenizer = KmerTokenizer(DNA, k=2)
    canonical = tokenizer.canonical()
    aa, tt, ac, gt, cg = tokenizer.encode(codes_of("AA", "TT", "AC", "GT", "CG"))[:, 0]
    assert canonical[:4].tolist() == [0, 1, 2, 3]
    # CG is its own reverse complement
    assert canonical[[tt, aa, gt, ac, cg]].tolist() == [aa, aa, ac, ac, cg]
    assert len(set(canonical[4:])) == 10
    with pytest.raises(ValueError, match="complement"):
        KmerTokenizer(PROTEIN, 1).canonical()


@pytest.mark.parametrize("piece", [3, 100])
def test_gc_content_ignores_ambiguous_bases(monkeypatch, piece):
    monkeypatch.setattr(kmers, "PIECE", piece)
    records = [ascii_of(text) for text in ("ACGTGGGGAA", "GGGN", "NNRA", "N")]
    assert gc_content(records).tolist() == [0.6, 1.0, 0.0, 0.0]
