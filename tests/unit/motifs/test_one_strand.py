"""Test that RNA and single-stranded DNA are read on the given strand alone, and shown as such."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from learners import scorer_of
from letters import BASES, ascii_of, ppm_of

from selfattn_bio.errors import DatabaseError
from selfattn_bio.evaluation.leakage import Part, find_leaks
from selfattn_bio.evidence.epistasis import mean_of_strands
from selfattn_bio.evidence.marginals import Backgrounds, pair_curves, position_curves
from selfattn_bio.evidence.stability import motif_stability
from selfattn_bio.motifs import alphabet_of, database_of, meme_text, of_consensus, read_meme
from selfattn_bio.motifs.matching import find_hits, match_motifs, one_hot
from selfattn_bio.motifs.motif_set import Motif, MotifSet
from selfattn_bio.motifs.scores import ScoreMatrices
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA, SSDNA
from selfattn_bio.sequence.genome import Genome
from selfattn_bio.sequence.kmers import gc_content
from selfattn_bio.sequence.split_table import strand_keys

ONE_STRAND = pytest.mark.parametrize("alphabet", [RNA, SSDNA], ids=["rna", "ssdna"])
WORD = b"TACCGTTAGG"
PPM = ppm_of(WORD)


def in_letters_of(alphabet, *words):
    """Return words of DNA in the letters of an alphabet."""
    return [np.frombuffer(alphabet.normalise(word), np.uint8) for word in words]


def both(alphabet, word=WORD):
    """Return a random record with a word of DNA, and one with its reverse complement."""
    rng = np.random.default_rng(0)
    around = [bytes(rng.choice(BASES, 30)) for _ in range(4)]
    reverse = bytes(DNA.reverse_complement(ascii_of(word)))
    return in_letters_of(alphabet, around[0] + word + around[1], around[2] + reverse + around[3])


@ONE_STRAND
def test_hits_and_matches_are_on_the_given_strand(alphabet):
    hits = find_hits({"m": PPM}, {}, both(alphabet), 1e-5, alphabet)
    assert hits[["record", "strand"]].to_numpy().tolist() == [[0, "+"]]
    rng = np.random.default_rng(0)
    database = {f"d{i}": rng.dirichlet(np.full(4, 0.3), 8) for i in range(40)}
    reverse = {"m": database["d1"][::-1, ::-1]}
    assert match_motifs(reverse, database, DNA)["match"].tolist() == ["d1"]
    assert match_motifs(reverse, database, alphabet)["match"].tolist() == [""]


@ONE_STRAND
def test_motif_scores_are_of_the_given_strand(alphabet):
    ppms = {f"m{n}": np.random.default_rng(n).dirichlet([0.3] * 4, n) for n in (3, 8, 14)}
    matrices = ScoreMatrices.from_probabilities(ppms, alphabet.one_strand)
    records = both(alphabet)
    expected = np.zeros((2, 6))
    for i, record in enumerate(records):
        for j, (width, values) in enumerate(zip(matrices.widths, matrices.values, strict=True)):
            windows = np.lib.stride_tricks.sliding_window_view(alphabet.codes(record), width)
            scores = values[np.arange(width), windows].sum(axis=1)
            expected[i, [j, j + 3]] = scores.max(), np.log(np.exp(scores).sum())
    np.testing.assert_allclose(matrices.scores(records), expected, atol=0.01)
    given, changed = matrices.score_substitutions(records[0])
    np.testing.assert_allclose(given, matrices.scores(records[:1])[0], atol=0.02)
    mutant = records[0].copy()
    mutant[33] = ord(alphabet.letters[3])
    np.testing.assert_allclose(changed[:, 3, 33], matrices.scores([mutant])[0], atol=0.02)


@ONE_STRAND
def test_effect_of_a_motif_alone_is_not_averaged(alphabet):
    word, other = in_letters_of(alphabet, WORD, b"GGTCACACTG")
    letters = np.stack(
        in_letters_of(alphabet, *map(bytes, np.random.default_rng(0).choice(BASES, (20, 90))))
    )

    def score(test, rows):
        return np.array([float(test(bytes(row))) for row in rows])

    of_word = Backgrounds(letters, partial(score, lambda row: 2 * (bytes(word) in row)), alphabet)
    curves, table = position_curves({"word": PPM}, of_word)
    assert set(curves["strand"]) == {"+"}
    assert curves["effect"].tolist() == [2] * len(curves)
    assert (table["marginal"].item(), table["marginal_strand"].item()) == (2, "+")

    def word_after_other(row):
        return 0 <= row.find(bytes(other)) < row.find(bytes(word))

    of_pair = Backgrounds(letters, partial(score, word_after_other), alphabet)
    pairs = pd.DataFrame({"name_a": "word", "name_b": "other", "orientation": ["ab", "ba"]})
    curves, _ = pair_curves(pairs, {"word": PPM, "other": ppm_of(b"GGTCACACTG")}, of_pair)
    effects = curves.groupby("orientation")["epistasis"].agg(["min", "max"])
    assert effects.to_numpy().tolist() == [[0, 0], [1, 1]]


def test_other_strand_of_rna_is_another_sequence():
    scorer = scorer_of(alphabet="rna")
    assert mean_of_strands(scorer, scorer.log_odds) == scorer.log_odds
    records = both(RNA)[0], RNA.reverse_complement(both(RNA)[0])
    assert len(set(strand_keys(records, RNA))) == 2
    for alphabet, similarity in ((RNA, 0), (SSDNA, 0), (DNA, 1)):
        record = in_letters_of(alphabet, bytes(both(SSDNA)[0]))[0]
        table = pd.DataFrame({"id": ["a"], "label": [1], "chrom": None, "start": 0, "end": 0})
        pair = [Part("x", table, [each]) for each in (record, alphabet.reverse_complement(record))]
        leaks = find_leaks(pair[0], pair[1:], {}, alphabet)
        assert leaks["similarity"].item() == pytest.approx(similarity, abs=0.1)


def test_reverse_complement_is_another_motif_of_rna():
    for alphabet, kinds in ((RNA, 2), (SSDNA, 2), (DNA, 1)):
        runs = []
        for ppm in (PPM, PPM[::-1, ::-1]):
            motif = Motif((20 * ppm).astype(int), pd.DataFrame(), "m", alphabet=alphabet)
            table = pd.DataFrame({"name": ["m"], "match_q": 1.0})
            runs.append(MotifSet((motif,), table, pd.DataFrame()))
        assert len(motif_stability(runs)) == kinds


def test_rna_is_shown_with_u(tmp_path):
    motif = Motif((20 * PPM).astype(int), pd.DataFrame(), "m", alphabet=RNA)
    assert motif.consensus == "UACCGUUAGG"
    np.testing.assert_array_equal(of_consensus("UACCGTURGG", RNA)[:6], PPM[:6])
    for alphabet in (DNA, SSDNA, RNA, PROTEIN):
        size = len(alphabet.letters)
        path = tmp_path / f"{alphabet.name}.meme"
        path.write_text(meme_text({"m": np.full((4, size), 1 / size)}, {"m": 9}, alphabet))
        assert alphabet_of(path) == (DNA if alphabet == SSDNA else alphabet)
    assert "ALPHABET= ACGU\n" in (tmp_path / "rna.meme").read_text()
    assert list(read_meme(tmp_path / "dna.meme", RNA)) == ["m"]
    with pytest.raises(DatabaseError, match="expected ALPHABET= ACGU"):
        read_meme(tmp_path / "protein.meme", RNA)
    databases = [database_of(name, RNA) for name in ("jaspar:insects", str(tmp_path / "rna.meme"))]
    assert databases == ["", str(tmp_path / "rna.meme")]
    assert database_of("jaspar:insects", SSDNA) == "jaspar:insects"
    np.testing.assert_array_equal(one_hot(ascii_of("AUNT"), RNA), one_hot(ascii_of("ATNT"), DNA))
    assert gc_content([ascii_of("AUGU")]).tolist() == [0.25]


def test_rna_is_read_from_either_strand_of_a_genome(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\nAACGTT\n")
    genome = Genome(tmp_path / "g.fa", RNA)
    assert bytes(genome.fetch("chr1", 1, 5)) == b"ACGU"
    assert bytes(genome.fetch("chr1", 0, 3, "-")) == b"GUU"
