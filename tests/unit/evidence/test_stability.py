"""Test the comparison of motifs and attributions of several seeds, with planted motifs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from learners import CONV, SMALL, scorer_of
from letters import BASES, ascii_of, ppm_of

from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import AttnLRP
from selfattn_bio.errors import ArgumentError
from selfattn_bio.evidence.stability import attribution_correlations, motif_stability
from selfattn_bio.motifs.callers import Clusters
from selfattn_bio.motifs.matching import SIMILAR, alignment, one_hot, same_motifs
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern
from selfattn_bio.sequence.alphabet import DNA

WORDS = {"A": "TATCGATAGC", "B": "GGTCACACTG", "C": "CCGTTTGGAA"}
LENGTH, RECORDS = 60, 120
COORDINATES = ["chrom", "start", "end", "strand"]


def eye(word):
    return ppm_of(word) * 0.9 + 0.025


def explained(words, seed):
    """Return an explanation of sequences with all words, in which only `words` have scores."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(BASES, (RECORDS, LENGTH))
    scores = rng.normal(0, 0.02, (RECORDS, LENGTH, 4))
    for row in range(RECORDS):
        for place, (name, word) in enumerate(WORDS.items()):
            start = 20 * place + int(rng.integers(0, 10))
            site = ascii_of(word)
            if rng.random() < 0.5:
                site = DNA.reverse_complement(site)
            span = slice(start, start + len(word))
            letters[row, span] = site
            if name in words:
                scores[row, span] += one_hot(letters[row, span])
    scores -= scores.mean(axis=2, keepdims=True)
    ids = {"id": [f"r{i}" for i in range(RECORDS)], "target": "positive", "length": LENGTH}
    records = pd.DataFrame(ids | dict.fromkeys(COORDINATES))
    attention = np.zeros((RECORDS, LENGTH), dtype=np.float32)
    return Explanation(records, letters, scores.astype(np.float32), attention, "dna")


def with_support(motifs, name):
    """Return the motifs with verdicts: only the motif of this word is supported."""
    is_word = [alignment(motif.ppm, eye(WORDS[name])).similarity > SIMILAR for motif in motifs]
    table = motifs.table.assign(verdict=np.where(is_word, "supported", "inconclusive"))
    return dataclasses.replace(motifs, table=table)


@pytest.fixture(scope="module")
def runs():
    """Return the motifs of three trainings, which use the words AB, AB and AC."""
    return [
        with_support(explained(words, seed).find_motifs(None, caller=Clusters()), supported)
        for seed, (words, supported) in enumerate((("AB", "A"), ("AB", "B"), ("AC", "A")))
    ]


def found_words(table):
    """Return word -> (first run, found in, supported in)."""
    names = {}
    for row in table.to_dict("records"):
        reverse = DNA.reverse_complement(ascii_of(row["consensus"])).tobytes().decode()
        both = row["consensus"], reverse
        (name,) = [name for name, word in WORDS.items() if any(word[2:-2] in each for each in both)]
        names[name] = row["run"], row["found_in"], row["supported_in"]
    return names


def test_planted_motifs_are_counted_over_seeds(runs):
    table = motif_stability(runs)
    assert (table["runs"] == 3).all()
    assert (table["tested"] == 3).all()
    assert found_words(table) == {"A": (1, 3, 2), "B": (1, 2, 1), "C": (3, 1, 0)}
    with pytest.raises(ArgumentError, match="at least two runs"):
        motif_stability(runs[:1])


def test_saved_motifs_are_compared_as_those_in_memory(runs, tmp_path):
    for number, motifs in enumerate(runs):
        motifs.save(tmp_path / str(number))
    saved = motif_stability([tmp_path / str(number) for number in range(3)])
    pd.testing.assert_frame_equal(saved, motif_stability(runs))


def test_motifs_without_verdicts_are_not_supported(runs):
    bare = [dataclasses.replace(of, table=of.table.drop(columns="verdict")) for of in runs]
    table = motif_stability(bare)
    assert not table["supported_in"].any()
    assert not table["tested"].any()
    assert (motif_stability([*bare[:2], runs[2]])["tested"] == 1).all()
    assert table["found_in"].tolist() == motif_stability(runs)["found_in"].tolist()


def test_similar_motifs_of_a_run_count_once():
    seqlets = pd.DataFrame({"record": [0] * 100, "start": 0, "strand": "+"})
    patterns = [
        SeqletPattern(np.round(100 * eye(word)).astype(int), seqlets.assign(end=len(word)))
        for word in (WORDS["A"], WORDS["A"][1:], WORDS["B"])
    ]
    records = pd.DataFrame({"id": ["r0"]}).reindex(columns=["id", *COORDINATES])
    twice, once = (build_motifs(some, records, {}) for some in (patterns, patterns[:1]))
    table = motif_stability([with_support(twice, "A"), once])
    assert table["found_in"].tolist() == [2, 1]
    assert table["supported_in"].tolist() == [1, 0]


def test_alignment_finds_offset_and_strand():
    ppm = eye("TTGGTCACACTG")
    same, shifted, reverse = (
        alignment(ppm, other) for other in (ppm, ppm[3:], ppm[2:][::-1, ::-1])
    )
    assert same == (pytest.approx(1), 0, False)
    assert shifted == (pytest.approx(np.sqrt(9 / 12)), 3, False)
    assert reverse == (pytest.approx(np.sqrt(10 / 12)), 2, True)
    assert alignment(ppm, ppm[2:][::-1, ::-1], has_complement=False).similarity < SIMILAR
    assert alignment(np.full((5, 4), 0.25), ppm).similarity == 0


def test_same_motifs_may_be_shorter_or_reversed():
    words = {"A": "TTGGTCACACTG", "short": "GTCACACT", "reverse": "GTGTGACC", "other": "CCGTTTGGAA"}
    ppms = {name: eye(word) for name, word in words.items()}
    assert same_motifs("A", ppms) == ["short", "reverse"]
    assert same_motifs("A", ppms, has_complement=False) == ["short"]
    assert same_motifs("other", ppms) == []


def test_columns_in_random_order_are_not_similar():
    rng, word = np.random.default_rng(0), eye("GGTCACACTG")
    permuted = [alignment(word, rng.permutation(word)).similarity for _ in range(50)]
    assert np.quantile(permuted, 0.9) < SIMILAR


def test_correlation_is_over_common_records():
    first = explained("AB", 0)
    same = dataclasses.replace(first, hypothetical=2 * first.hypothetical)
    assert attribution_correlations([first, same]) == pytest.approx(np.ones(RECORDS))
    rows = [5, 3, 9]
    some = dataclasses.replace(
        first,
        records=first.records.iloc[rows].assign(id=["r5", "other", "r9"]),
        letters=first.letters[rows],
        hypothetical=first.hypothetical[rows],
    )
    assert attribution_correlations([first, some]) == pytest.approx(np.ones(2))
    other = explained("C", 0)  # the same sequences and noise
    assert np.nanmean(attribution_correlations([first, other])) < 0.6
    three = attribution_correlations([first, same, other])
    pairs = attribution_correlations([first, other])
    assert three == pytest.approx((1 + 2 * pairs) / 3)


@pytest.mark.parametrize("strands", ["given", "shared"])
def test_networks_of_a_model_are_explained_alone(strands):
    scorer = scorer_of(SMALL | {"stem": CONV, "strands": strands})
    sequences = ["ACGTTGCATGCATTAGCCAT", "TTTGACACATGACGT"]
    each = [explain(network, sequences, method=AttnLRP()) for network in scorer.networks]
    both = explain(scorer, sequences, method=AttnLRP())
    mean = (each[0].hypothetical + each[1].hypothetical) / 2
    np.testing.assert_allclose(mean, both.hypothetical, atol=1e-6)
    assert np.abs(each[0].hypothetical - each[1].hypothetical).max() > 1e-4
    letters = [ascii_of(text) for text in sequences]
    alone = [network.logits(letters) for network in scorer.networks]
    np.testing.assert_allclose(np.mean(alone, axis=0), scorer.logits(letters), atol=1e-6)
