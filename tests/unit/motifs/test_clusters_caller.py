"""Test the clusters caller on planted motifs, and its seqlets against loops and tangermeme.

Cases: several motifs, both strands, half motifs, protein, and data without motifs.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from letters import ascii_of
from planted_motifs import planted_words, read

from selfattn_bio import config
from selfattn_bio.motifs.callers import Clusters, Modisco, build_caller, clusters
from selfattn_bio.motifs.callers.clusters import BINS, call_seqlets
from selfattn_bio.motifs.matching import find_hits
from selfattn_bio.motifs.patterns import count_letters, information
from selfattn_bio.motifs.residues import background, consensus_of
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA

WORDS = (b"GGTCACACTGCA", b"TTCCGGAAGT", b"CAGCTGATAAG")


def words_in(patterns, words):
    """Return, for each pattern, the word it contains on either strand, or None."""
    both = {word: {word, bytes(DNA.reverse_complement(ascii_of(word)))} for word in words}

    def word_in(text):
        return next((word for word, forms in both.items() if any(f in text for f in forms)), None)

    return [word_in(read(pattern)) for pattern in patterns]


@pytest.mark.parametrize("halves", [0.0, 0.6])
def test_words_become_one_pattern_on_both_strands(halves):
    letters, scores, truth = planted_words(WORDS, halves=halves)
    found = Clusters().call(letters, scores, DNA)
    assert found.note == ""
    # each once: halves and reverse complements are merged
    assert sorted(words_in(found.patterns, WORDS)) == sorted(WORDS)
    for pattern in found.patterns:
        np.testing.assert_array_equal(count_letters(pattern.seqlets, letters), pattern.pfm)
        assert set(pattern.seqlets["strand"]) == {"+", "-"}
        bits = information(pattern.pfm)
        assert min(bits[0], bits[-1]) >= 0.25
    sites = pd.concat([pattern.seqlets for pattern in found.patterns])
    middle = sites.assign(middle=(sites["start"] + sites["end"]) // 2).merge(truth, on="record")
    right = (middle["middle"] >= middle["start_y"]) & (middle["middle"] < middle["end_y"])
    assert right.mean() > 0.95
    assert middle.loc[right, "record"].nunique() > 0.9 * len(truth)


def test_rare_motif_is_found_with_a_frequent_one():
    letters, scores, _ = planted_words(WORDS[:1], num=600)
    rare, rare_scores, _ = planted_words(WORDS[1:2], num=30, seed=1)
    both = np.concatenate([letters, rare]), np.concatenate([scores, rare_scores])
    found = Clusters().call(*both, DNA)
    assert words_in(found.patterns, WORDS) == [WORDS[0], WORDS[1]]
    assert found.patterns[1].num_sites >= 25


def test_protein_has_one_strand_and_twenty_residues():
    words = (b"GKSTHWL", b"HPDRCC")
    letters, scores, _ = planted_words(words, PROTEIN)
    found = Clusters().call(letters, scores, PROTEIN)
    assert sorted(read(pattern) for pattern in found.patterns) == sorted(words)
    for pattern in found.patterns:
        assert pattern.pfm.shape[1] == 20
        assert (pattern.seqlets["strand"] == "+").all()
        assert (
            140 <= pattern.num_sites <= 165
        )  # 150, and some by chance, as the residues are uniform
    turned = ascii_of(PROTEIN.letters.encode())[19 - PROTEIN.codes(letters)][:, ::-1]
    both = np.concatenate([letters, turned]), np.concatenate([scores, scores[:, ::-1, ::-1]])
    assert (
        len(Clusters().call(*both, PROTEIN).patterns) == 4
    )  # in DNA, the second half would be the reverse complement


def test_shifted_copies_are_one_motif():
    """KKKRK matches PKKKRKV at several shifts; the motif has one site per record and no margin."""
    words = (b"PKKKRKV", b"PKKRRKV", b"GAGSAGTV", b"GTGKSGLV")
    letters, scores, truth = planted_words(words, PROTEIN, num=400, noise=0.1)
    found = Clusters().call(letters, scores, PROTEIN)
    assert [consensus_of(pattern.ppm) for pattern in found.patterns][:1] == ["PKK[KR]RKV"]
    assert "G[AT]G[KS][AS]G[LT]V" in [consensus_of(pattern.ppm) for pattern in found.patterns]
    sites = found.patterns[0].seqlets.merge(truth, on="record", suffixes=("", "_true"))
    assert (sites["start"] == sites["start_true"]).mean() > 0.95
    assert 195 <= len(sites) <= 210


def test_a_repeat_has_one_site_per_record():
    """UAUAUAUA matches itself 2 positions later, next to AU or UA."""
    letters, scores, _ = planted_words((b"UAUAUAUA",), RNA, num=200, halves=0.3)
    (found,) = Clusters().call(letters, scores, RNA).patterns
    assert read(found) == b"UAUAUAUA"
    assert found.num_sites == found.seqlets["record"].nunique() == 200


@pytest.mark.parametrize("pattern", ["C..C............H...H", "CHAC............HKWTH"])
def test_protein_motif_may_have_long_gaps(pattern):
    """Seqlets of each half have the other half in their margin."""
    rng = np.random.default_rng(2)
    letters = rng.choice(ascii_of(PROTEIN.letters.encode()), (300, 100))
    scores = rng.normal(scale=0.05, size=(300, 100, 20)).astype(np.float32)
    for row, start in enumerate(rng.integers(5, 75, 300)):
        scores[row, start - 3 : start + 24] += rng.normal(scale=0.1, size=(27, 20))
        for at, residue in enumerate(pattern, start):
            if residue != ".":
                letters[row, at] = ord(residue)
                scores[row, at, PROTEIN.letters.index(residue)] += 1
    found = Clusters().call(letters, scores, PROTEIN).patterns
    assert [consensus_of(each.ppm) for each in found] == [pattern]
    assert found[0].num_sites >= 290


def test_protein_hits_use_twenty_residues():
    rng = np.random.default_rng(0)
    letters = rng.choice(ascii_of(PROTEIN.letters.encode()), (400, 500), p=background(PROTEIN))
    ppms = {f"of {width}": rng.dirichlet(np.full(20, 0.5), size=width) for width in (5, 9)}
    hits = find_hits(ppms, dict.fromkeys(ppms, 100), list(letters), 0.01, PROTEIN)
    assert (hits["strand"] == "+").all()
    assert (hits["p_value"] < 0.01).all()
    for name, ppm in ppms.items():
        for p in (0.01, 0.001):  # p is the fraction of hits in random sequences
            windows = 400 * (501 - len(ppm))
            share = (hits.loc[hits["name"] == name, "p_value"] < p).sum() / windows
            assert share == pytest.approx(p, abs=3 * np.sqrt(p / windows))


@pytest.mark.parametrize(("shape", "scale"), [((40, 100), 0.0), ((40, 100), 1.0), ((3, 30), 1.0)])
def test_no_motif_has_a_reason(shape, scale):
    rng = np.random.default_rng(0)
    letters = rng.choice(ascii_of(b"ACGT"), shape)
    found = Clusters().call(letters, (scale * rng.normal(size=(*shape, 4))).astype(np.float32), DNA)
    assert found.patterns == []
    note = "no stretch of positions has a high attribution"
    if found.num_seqlets:
        note = "no group of seqlets is large and similar enough"
    assert found.note == note


def test_the_run_file_names_the_caller():
    assert build_caller(None, DNA) == Modisco(20_000)
    assert build_caller(None, PROTEIN) == Clusters(20_000)
    section, modisco = (
        config.Interpret(caller={"kind": k}).caller for k in ("clusters", "modisco")
    )
    assert build_caller(section, DNA, 50) == Clusters(50)
    assert build_caller(modisco, DNA) == Modisco()


@pytest.mark.parametrize("caller", [Clusters(), Modisco()])
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((2, 29, 4)), r"hypothetical has shape \(2, 29, 4\) instead of \(2, 30, 4\)"),
        (np.full((2, 30, 4), np.nan), "hypothetical contains nan"),
    ],
)
def test_callers_check_scores(caller, scores, message):
    with pytest.raises(ValueError, match=message):
        caller.call(np.zeros((2, 30), dtype=np.uint8), scores.astype(np.float32), DNA)


def attributions(num=12, length=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.gamma(1.0, 0.3, (num, length)).astype(np.float32)
    for row in rows:
        start = rng.integers(5, length - 20)
        row[start : start + 9] += rng.gamma(6.0, 0.5, 9)
    return rows


def survival(rows, max_length):
    """Return the tail probability of a sum of random letters, binned as in the reference."""
    low, width = rows.min(), (rows.max() - rows.min()) / (BINS - 1)
    bins = ((rows.astype(float) - low) / width).astype(int)
    density = np.bincount(bins.ravel(), minlength=BINS) / rows.size
    tails, of_sum = [], np.ones(1)
    for _ in range(max_length):
        of_sum = np.convolve(of_sum, density)
        tails.append(1 - np.concatenate([[0], np.cumsum(of_sum)])[:-1])
    return lambda total, length: tails[length - 1][int(np.floor((total - low * length) / width))]


def by_definition(rows, threshold, min_length, max_length):
    """Find seqlets with explicit loops.

    A seqlet is a significant span whose parts of at least `min_length` letters are significant as
    well. Longer spans are taken first, and spans that overlap them are skipped.
    """
    p_of, found = survival(rows, max_length), []
    for record, row in enumerate(rows.astype(float)):
        taken = np.zeros(len(row), dtype=bool)
        for length in range(max_length, min_length - 1, -1):
            spans = []
            for start in range(len(row) - length + 1):
                parts = [
                    (a, b)
                    for a in range(start, start + length)
                    for b in range(a + min_length, start + length + 1)
                ]
                if all(p_of(row[a:b].sum(), b - a) < threshold for a, b in parts):
                    spans.append((p_of(row[start : start + length].sum(), length), start))
            for _, start in sorted(spans):
                if not taken[start : start + length].any():
                    taken[start : start + length] = True
                    found.append((record, start, start + length))
    return sorted(found)


@pytest.mark.parametrize(
    ("threshold", "min_length", "max_length"), [(0.01, 4, 12), (0.05, 3, 8), (0.2, 5, 5)]
)
def test_seqlets_match_the_definition(monkeypatch, threshold, min_length, max_length):
    monkeypatch.setattr(clusters, "THRESHOLD", threshold)
    monkeypatch.setattr(clusters, "MIN_LENGTH", min_length)
    monkeypatch.setattr(clusters, "MAX_LENGTH", max_length)
    rows = attributions()
    found = call_seqlets(list(rows))
    spans = [tuple(row) for row in found[["record", "start", "end"]].to_numpy()]
    assert spans == by_definition(rows, threshold, min_length, max_length)
    assert len(found) >= 8
    assert (found["p_value"] < threshold).all()
    sums = [rows[row.record, row.start : row.end].sum() for row in found.itertuples()]
    np.testing.assert_allclose(found["attribution"], sums, rtol=1e-5)


@pytest.mark.long  # tangermeme is compiled, which takes 12 s
def test_most_of_what_tangermeme_calls_is_called():
    reference = pytest.importorskip("tangermeme.seqlet")
    rows = attributions(40, 120)
    theirs = reference.recursive_seqlets(torch.tensor(rows)).iloc[:, :3]
    ours = call_seqlets(list(rows))[["record", "start", "end"]]
    theirs.columns = list(ours)
    assert len(ours.merge(theirs)) >= 0.9 * max(len(ours), len(theirs))


def test_records_of_any_length_and_more_than_a_chunk():
    rows = attributions(600, 80)
    cut = [row[:40] if i % 2 else row for i, row in enumerate(rows)]
    found = call_seqlets(cut)
    lengths = np.array([len(row) for row in cut])
    assert (found["end"].to_numpy() <= lengths[found["record"]]).all()
    assert found["record"].nunique() > 400
    assert found["record"].is_monotonic_increasing
    assert call_seqlets([row[:3] for row in rows]).empty  # shorter than a seqlet


@pytest.mark.parametrize("rows", [[], [np.zeros(0)], [np.full(30, 2.0)]])
def test_uniform_scores_have_no_seqlets(rows):
    found = call_seqlets(rows)
    assert found.empty
    assert list(found) == ["record", "start", "end", "attribution", "p_value"]
