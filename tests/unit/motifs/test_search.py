"""Test hits, whose p-values are exact, matches, and patterns as libraries return them."""

import warnings
from itertools import product

import igraph
import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of, ppm_of
from planted_motifs import planted_words, read

from selfattn_bio.config import MOTIF_DATABASES
from selfattn_bio.evidence.associations import enrichment
from selfattn_bio.motifs import open_database, shipped
from selfattn_bio.motifs.callers import Modisco
from selfattn_bio.motifs.callers.modisco import LEIDEN_RUNS
from selfattn_bio.motifs.families import match_label
from selfattn_bio.motifs.matching import (
    HIT_P,
    TOGETHER,
    WINDOWS,
    default_hit_p,
    find_hits,
    integer_scores,
    match_motifs,
    one_hot,
    p_values,
    palindrome_shift,
    relevant_hits,
)
from selfattn_bio.motifs.patterns import (
    SeqletPattern,
    align,
    count_letters,
    information,
    informative_span,
    one_per_site,
    refine_patterns,
)
from selfattn_bio.motifs.residues import background
from selfattn_bio.sequence.alphabet import DNA, PROTEIN, RNA

WORD = ascii_of(b"GGTCACACT")
PPM = ppm_of(WORD)


def filled(length):
    return np.full(length, ord("A"), dtype=np.uint8)


def has(text, word):
    """Return whether text has a word on either strand."""
    return bytes(word) in text or bytes(DNA.reverse_complement(word)) in text


def test_hits_on_both_strands_of_records_of_any_length():
    first, second, third = filled(40), filled(25), filled(12)
    first[5:14] = WORD
    second[16:25] = DNA.reverse_complement(WORD)
    ppms = {"m": PPM, "none": PPM[:4]}
    hits = find_hits(ppms, dict.fromkeys(ppms, 50), [first, second, third], 1e-4, DNA)
    assert hits[["name", "record", "start", "end", "strand"]].to_numpy().tolist() == [
        ["m", 0, 5, 14, "+"],
        ["m", 1, 16, 25, "-"],
    ]
    assert (hits["p_value"] < 1e-4).all()
    none = find_hits({}, {}, [first], 1e-4, DNA)
    assert none.empty
    assert list(none) == list(hits)


def test_a_hit_does_not_reach_into_padding():
    # the end of the motif matches any base, also padding
    flat = np.vstack([PPM, np.full((4, 4), 0.25)])
    short, long = filled(14), filled(40)
    short[5:14] = WORD
    long[5:14] = WORD
    hits = find_hits({"m": flat}, {"m": 50}, [short, long], 1e-4, DNA)
    assert hits["record"].unique().tolist() == [1]


def test_better_matches_need_less_attribution():
    attribution = {3: np.array([1.0, 1, 1, 1, 5, 5, 1, 1, 3, 3, 1, 1, 1], dtype=np.float32)}
    hits = pd.DataFrame({"name": "m", "record": 3, "start": [4, 8, 11], "strand": "+"})
    hits["end"] = hits["start"] + 2
    kept = relevant_hits(hits.assign(p_value=2e-4), attribution)
    assert kept["start"].tolist() == [4]
    assert kept["rank"].tolist() == [pytest.approx(11 / 12)]
    assert relevant_hits(hits.assign(p_value=5e-5), attribution)["start"].tolist() == [4, 8]
    # hits with low attribution are dropped at any p-value
    assert relevant_hits(hits.assign(p_value=1e-9), attribution)["start"].tolist() == [4, 8]


def test_the_best_of_overlapping_hits_is_kept():
    hits = pd.DataFrame(
        {
            "name": ["a", "a", "a", "a", "b", "a"],
            "record": [0, 0, 0, 0, 0, 1],
            "start": [1, 3, 5, 9, 3, 3],
            "end": [5, 7, 9, 13, 7, 7],
            "p_value": [2e-5, 1e-4, 1e-5, 1e-5, 1e-4, 1e-4],
        }
    )
    # the hit at 3 overlaps two better ones, which only touch
    pd.testing.assert_frame_equal(one_per_site(hits), hits.drop(index=1).reset_index(drop=True))
    assert one_per_site(hits[:0]).empty


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_database_motif_finds_itself(strand):
    database = open_database("jaspar:insects")
    names = [name for name in database if name.startswith(("Dref (", "Trl (", "M1BP ("))]
    assert len(names) == 3
    step = 1 if strand == "+" else -1
    table = match_motifs({name: database[name][::step, ::step] for name in names}, database)
    assert table["match"].tolist() == names
    assert (table["match_q"] < 1e-3).all()
    assert (table["match_q"] >= table["match_p"]).all()


def test_q_is_over_all_pairs_of_motif_and_entry():
    rng = np.random.default_rng(0)
    database = {f"d{i}": rng.dirichlet(np.full(4, 0.3), size=8) for i in range(40)}
    one = match_motifs({"m": database["d7"][:7]}, database)["match_q"].iloc[0]
    others = {f"u{i}": rng.dirichlet(np.full(4, 5.0), size=8) for i in range(9)}
    many = match_motifs({"m": database["d7"][:7]} | others, database)["match_q"].iloc[0]
    assert many > 3 * one  # ten times as many tests
    small = match_motifs({"m": database["d7"]}, dict(list(database.items())[:10]))
    assert small["match"].tolist() == ["d7"]
    # the smallest q is at most the number of tests times the smallest p
    assert small["match_q"].item() <= 10 * small["match_p"].item() + 1e-12
    assert match_motifs({}, database).empty
    weak = match_motifs({name: database[name] for name in database} | {"u": others["u0"]}, database)
    assert weak["match"].tolist() == [*database, ""]
    assert weak["match_q"].iloc[-1] > 0.05


def test_the_known_databases_are_those_that_ship():
    files = sorted(path.name for path in shipped().glob("*.meme.gz"))
    assert files == [f"{name.removeprefix('jaspar:')}.meme.gz" for name in MOTIF_DATABASES]


def test_bases_are_counted_on_their_strand():
    letters = np.stack([filled(12), filled(12)])
    letters[0, 2:6] = ascii_of(b"ACGG")
    letters[1, 5:9] = ascii_of(b"CCGT")
    places = pd.DataFrame({"record": [0, 1], "start": [2, 5], "end": [6, 9], "strand": ["+", "-"]})
    np.testing.assert_array_equal(count_letters(places, letters), 2 * np.eye(4)[[0, 1, 2, 2]])


def test_sites_over_an_end_count_partly_and_are_dropped():
    records = [ascii_of(b"TATCGATANN"), ascii_of(b"NNTATCGATA"), ascii_of(b"ATCGATANNN")]
    places = {"record": [0, 1, 2] * 20, "start": [-2, 0, -3] * 20, "end": [10, 12, 9] * 20}
    places = pd.DataFrame(places | {"strand": "+"})
    assert count_letters(places, records).sum(axis=1).tolist() == [0, 0, 40, *[60] * 7, 0, 0]
    found = align(places, records)
    # The third record lacks the first letter of TATCGATA; the motif, like the others, has it.
    assert found.seqlets["record"].unique().tolist() == [0, 1]
    spans = found.seqlets[["start", "end"]].drop_duplicates()
    assert spans.to_numpy().tolist() == [[0, 8], [2, 10]]
    np.testing.assert_array_equal(count_letters(found.seqlets, records), found.pfm)


def test_information_and_trimming():
    counts = np.array([[5, 5, 5, 5], [20, 0, 0, 0], [10, 10, 0, 0], [0, 0, 0, 0]])
    chance = 3 / (2 * 20 * np.log(2))
    np.testing.assert_allclose(information(counts), [0, 2 - chance, 1 - chance, 0])
    assert informative_span(np.array([0, 2, 0.1, 1, 0.2])) == (1, 4)
    # a gap of 5 separates, one of 4 does not
    assert informative_span(np.array([1.5, *[0] * 4, 1, *[0] * 5, 2, 0.5, 0.5])) == (11, 14)
    assert informative_span(np.array([2, *[0] * 4, 2, *[0] * 5, 2, 0.5, 0.5])) == (0, 6)
    assert informative_span(np.zeros(3)) == (0, 0)
    gaps = np.array([2, *[0] * 15, 2, *[0] * 16, 2])
    assert informative_span(gaps, 20) == (0, 17)


def planted(num=160):
    """Return random records with WORD on either strand, and scores that are high there."""
    return planted_words((bytes(WORD),), num=num, length=120, noise=0.02)[:2]


def test_a_planted_word_becomes_a_pattern():
    letters, scores = planted()
    found = Modisco(1000).call(letters, scores, DNA)
    assert found.note == ""
    best = found.patterns[0]
    assert has(read(best), WORD)
    assert len(best.pfm) <= len(WORD) + 2
    # trimmed seqlets contain the trimmed letters
    np.testing.assert_array_equal(count_letters(best.seqlets, letters), best.pfm)
    assert sum(len(pattern.seqlets) for pattern in found.patterns) >= 40
    assert set(best.seqlets["strand"]) == {"+", "-"}


def test_the_best_begun_clustering_is_finished(monkeypatch):
    leiden, runs = igraph.Graph.community_leiden, []

    def recorded(graph, *args, **settings):
        runs.append((settings, leiden(graph, *args, **settings)))
        return runs[-1][1]

    monkeypatch.setattr(igraph.Graph, "community_leiden", recorded)
    Modisco(1000).call(*planted(), DNA)
    best = max((run for _, run in runs[:LEIDEN_RUNS]), key=lambda run: run.quality)
    settings, finished = runs[LEIDEN_RUNS]
    assert settings["initial_membership"] == best.membership
    assert finished.quality >= best.quality


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((5, 60, 4)),
        np.ones((5, 60, 4)),
        np.random.default_rng(0).normal(1, 0.01, size=(5, 1000, 4)),
        np.random.default_rng(0).normal(size=(5, 30, 4)),
    ],
    ids=["nothing", "everything", "of one sign", "shorter than a seqlet"],
)
def test_no_pattern_has_a_reason(scores):
    letters = np.random.default_rng(1).choice(BASES, scores.shape[:2])
    found = Modisco(100).call(letters, scores.astype(np.float32), DNA)
    assert found.patterns == []
    assert found.note == "grouping needs at least 30 seqlets"


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("extract_seqlets.extract_seqlets", ValueError("ours")),
        ("extract_seqlets.extract_seqlets", IndexError("index 7 is out of bounds")),
        ("core.TrackSet", ValueError("ours")),
        # a known message, but raised elsewhere
        ("core.TrackSet", IndexError("index -1 is out of bounds for axis 0 with size 0")),
    ],
)
def test_unknown_error_is_not_a_lack_of_seqlets(monkeypatch, where, error):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(f"modiscolite.{where}", fails)
    letters, scores = planted(num=5)
    with pytest.raises(type(error), match=str(error)):
        Modisco(100).call(letters, scores, DNA)


def test_library_warnings_are_shown(monkeypatch):
    def warns(*args, **kwargs):
        warnings.warn("seen", RuntimeWarning, stacklevel=1)
        return [], 0.0

    monkeypatch.setattr("modiscolite.extract_seqlets.extract_seqlets", warns)
    letters, scores = planted(num=5)
    with pytest.warns(RuntimeWarning, match="seen"):
        Modisco(100).call(letters, scores, DNA)


def test_refining_extends_motifs_and_drops_duplicates():
    letters, scores = planted()
    attribution = list(np.abs(scores).sum(-1))
    every = pd.DataFrame({"record": range(30), "start": 0, "end": 7, "strand": "+"})
    cut = [SeqletPattern((PPM[first : first + 7] * 30).astype(int), every) for first in (0, 2)]
    refined = refine_patterns(cut, list(letters), attribution)
    assert len(refined) == 1  # both are the same word
    motif = refined[0]
    assert has(read(motif), WORD)
    assert 140 <= len(motif.seqlets) <= 180  # each record contains the word once, on either strand
    np.testing.assert_array_equal(count_letters(motif.seqlets, letters), motif.pfm)


def test_refining_keeps_one_motif_per_word():
    letters, scores = planted()
    other = ascii_of(b"TTCCGGAACGA")
    # in a third of the records only this word has attribution
    letters[::3, 40 : 40 + len(other)] = other
    scores[::3] = np.random.default_rng(1).normal(scale=0.02, size=scores[::3].shape)
    scores[::3, 40 : 40 + len(other)] += one_hot(other) - np.float32(0.25)
    found = Modisco(1000).call(letters, scores, DNA).patterns
    refined = refine_patterns(found, list(letters), list(np.abs(scores).sum(-1)))
    assert len(found) > 2
    assert len(refined) == 2
    for word in (WORD, other):
        assert any(has(read(pattern), word) for pattern in refined)


def test_refining_keeps_motifs_it_cannot_find():
    letters, scores = planted()
    every = pd.DataFrame({"record": range(30), "start": 0, "end": 12, "strand": "+"})
    absent = SeqletPattern(np.tile([30, 0, 0, 0], (12, 1)), every)
    assert refine_patterns([absent], list(letters), list(np.abs(scores).sum(-1))) == [absent]
    assert refine_patterns([], list(letters), list(np.abs(scores).sum(-1))) == []


def test_other_matches_are_of_the_same_family():
    ppms = np.random.default_rng(0).dirichlet(np.full(4, 0.3), size=(30, 8))
    database = {f"d{i}": ppm for i, ppm in enumerate(ppms)}
    table = match_motifs({"m": PPM}, database | {"same": PPM, "like": PPM[:8]})
    assert table[["match", "other_matches"]].to_numpy().tolist() == [["same", "like"]]
    # two positions less, so p is more than 10 times as large
    assert table["near_ties"].tolist() == [0]
    twice = match_motifs({"m": PPM}, database | {"same": PPM, "equal": PPM})
    assert match_label(twice.iloc[0]) == "same or equal"


def all_words(width):
    """Return every word of ACGT, as (n, width) numbers and as ASCII."""
    words = np.array(list(product(range(4), repeat=width)))
    return words, list(BASES[words])


@pytest.mark.parametrize("num_sites", [2, 20, 5000])
@pytest.mark.parametrize("width", range(3, 9))
def test_p_values_equal_enumeration(width, num_sites):
    ppm = np.random.default_rng(width).dirichlet(np.full(4, 0.2), width)
    scores, (words, sequences) = integer_scores(ppm, num_sites, DNA), all_words(width)
    of_words, of_reversed = (
        scores[np.arange(width), strand].sum(1) for strand in (words, 3 - words[:, ::-1])
    )
    p_of = {score: np.mean(of_words >= score) for score in np.unique(of_words)}
    best = np.array([p_of[score] for score in np.maximum(of_words, of_reversed)])
    for hit_p in (0.9999, 0.01, 2.5e-4):
        hits = find_hits({"motif": ppm}, {"motif": num_sites}, sequences, hit_p, DNA)
        assert hits["record"].tolist() == np.flatnonzero(best < hit_p).tolist()
        np.testing.assert_allclose(hits["p_value"], best[best < hit_p], rtol=1e-9)


def test_p_values_of_proteins_weight_residues_by_their_frequency():
    ppm = np.random.default_rng(0).dirichlet(np.full(20, 0.2), 3)
    scores, expected = integer_scores(ppm, 20, PROTEIN), background(PROTEIN)
    words = np.array(list(product(range(20), repeat=3)))
    of_words, weights = scores[np.arange(3), words].sum(1), expected[words].prod(1)
    p = p_values(scores, expected)
    for score in np.unique(of_words)[::40]:
        assert p[score] == pytest.approx(weights[of_words >= score].sum(), rel=1e-9)
    assert expected[PROTEIN.letters.index("L")] > 8 * expected[PROTEIN.letters.index("W")]
    letters = np.frombuffer(PROTEIN.letters.encode(), np.uint8)
    hits = find_hits({"m": ppm}, {"m": 20}, list(letters[words]), 0.001, PROTEIN)
    assert hits["record"].tolist() == np.flatnonzero(p[of_words] < 0.001).tolist()


def test_motifs_of_all_widths_are_found_in_records_of_any_length():
    rng = np.random.default_rng(0)
    ppms = {f"m{n}": rng.dirichlet(np.full(4, 0.3), n % 9 + 3) for n in range(TOGETHER + 9)}
    sequences = [rng.choice(np.append(BASES, ord("N")), n) for n in [WINDOWS + 9, 0, 2, 3, 40]]
    hits = find_hits(ppms, {}, sequences, 0.02, DNA)
    found = set(hits[["name", "record", "start", "strand"]].itertuples(index=False, name=None))
    for name, ppm in [each for each in ppms.items() if not palindrome_shift(each[1])][::9]:
        scores = integer_scores(ppm, 100, DNA)
        p = p_values(scores, np.full(4, 0.25))
        for record, letters in enumerate(sequences):
            coded = one_hot(letters[None])[0]
            sums = [
                [
                    int((coded[start : start + len(ppm)] * each).sum())
                    for each in (scores, scores[::-1, ::-1])
                ]
                for start in range(len(letters) - len(ppm) + 1)
            ]
            wanted = {
                (name, record, start, "+-"[int(reverse > forward)])
                for start, (forward, reverse) in enumerate(sums)
                if p[max(forward, reverse)] < 0.02
            }
            assert {hit for hit in found if hit[:2] == (name, record)} == wanted


@pytest.mark.parametrize(("site", "strand"), [("GGTACCTTAG", "+"), ("CTAAGGTACC", "-")])
def test_a_site_of_a_motif_with_a_palindrome_is_one_hit(site, strand):
    ppm = np.full((10, 4), 0.04)
    ppm[range(10), ["ACGT".index(base) for base in "GGTACCTTAG"]] = 0.88
    ppm[6:] = 0.7 * ppm[6:] + 0.075  # the palindrome GGTACC matches on both strands
    record = np.frombuffer(f"AAAAAAAAAA{site}AAAAAAAAAA".encode(), np.uint8)
    hits = find_hits({"m": ppm}, {}, [record], 2.5e-4, DNA)
    assert hits[["start", "strand"]].to_numpy().tolist() == [[10, strand]]


@pytest.mark.parametrize("word", ["CATATGA", "TCATATG"])
def test_equal_matches_at_a_palindrome_prefer_no_strand(word):
    ppm = np.eye(4)[["ACGT".index(base) for base in word]]
    records = [ascii_of(b"GGGTCATATGAGGG")] * 200  # has the word on both strands
    hits = find_hits({"m": ppm}, {}, records, 2.5e-4, DNA)
    assert hits["record"].tolist() == list(range(200))
    assert 70 < (hits["strand"] == "+").sum() < 130


@pytest.mark.parametrize("num_sites", [10, 100, 100_000])
def test_perfect_match_has_the_smallest_p_value(num_sites):
    # rounded down to multiples of a tenth, each of these log-odds would lose half a tenth
    ppm = np.full((9, 4), (1 - 0.6826) / 3)
    ppm[range(9), [0, 2, 1, 3, 0, 0, 3, 2, 1]] = 0.6826
    word = ascii_of(b"AGCTAATGC")
    hits = find_hits({"motif": ppm}, {"motif": num_sites}, [word], 1e-4, DNA)
    assert hits["p_value"].tolist() == [4.0**-9]


@pytest.mark.parametrize("length", [300, 5000])
def test_chance_and_power_do_not_depend_on_the_length_of_records(length):
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    records = list(rng.choice(BASES, (200, length)))
    word = ascii_of(b"GGCTAATGTC")
    of_word = word[:, None] == BASES
    ppm = 0.7 * of_word + 0.3 * rng.dirichlet(np.ones(4), 10)

    def enriched(hit_p):
        return enrichment(find_hits({"m": ppm}, {"m": 100}, records, hit_p, DNA), labels)

    hit_p = default_hit_p([length] * 200)
    assert 0.05 < enriched(hit_p)["positives_with_hit"] / 100 < 0.25
    for row in np.flatnonzero(labels):  # one site in each positive
        at = rng.integers(0, length - len(word))
        records[row][at : at + len(word)] = word
    assert enriched(hit_p)["enrichment_p"] < 1e-20
    if length > 300:
        assert enriched(HIT_P)["enrichment_p"] > 1e-4


def test_an_unknown_letter_is_the_worst_of_its_position():
    ppm = np.array([[0.8, 0.1, 0.06, 0.04]] * 8)
    records = [ascii_of(text) for text in ("AAAAAAAA", "AAAANAAA", "AAAATAAA", "N" * 30)]
    p = find_hits({"m": ppm}, {}, records, 0.01, RNA).set_index("record")["p_value"]
    assert p.index.tolist() == [0, 1, 2]
    assert p[0] == 4.0**-8
    assert p[1] == p[2] > p[0]
