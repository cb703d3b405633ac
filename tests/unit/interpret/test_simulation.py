"""Test simulations: sites agree with the truth and their motif, negatives with their kind.

The same seed gives the same files.
"""

import gzip
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.config import read_run_file
from selfattn_bio.errors import GrammarError, OutputError, SelfAttnBioError
from selfattn_bio.interpret.simulation import read_grammar, simulate
from selfattn_bio.sequence.alphabet import DNA

TAL1, GATA2, CTCF, AP1 = (
    "TAL1::TCF3 (MA0091.2)",
    "GATA2 (MA0036.4)",
    "CTCF (MA0139.2)",
    "FOS::JUN (MA0099.4)",
)
SITES = f'[sites.ctcf]\nmotifs = "{CTCF}"\n'
PAIR = f'[pairs.one]\nfirst = "{TAL1}"\nsecond = "{GATA2}"\nspacing = [5, 15]\n'
OTHER_PAIR = f'[pairs.two]\nfirst = "{CTCF}"\nsecond = "{AP1}"\nspacing = [5, 15]\n'
BACKGROUND = "[negatives]\nbackground = { fraction = 1 }\n"
MOTIFS = """MEME version 4

ALPHABET= ACGT

MOTIF M1 SURE
letter-probability matrix: alength= 4 w= 6 nsites= 10 E= 0
1 0 0 0
0 1 0 0
0 0 1 0
0 0 0 1
0.5 0 0.5 0
1 0 0 0
MOTIF M2 LONG
letter-probability matrix: alength= 4 w= 9 nsites= 10 E= 0
0.7 0.1 0.1 0.1
0.7 0.1 0.1 0.1
0 1 0 0
0 1 0 0
0 0 1 0
0.1 0.1 0.1 0.7
0.1 0.1 0.1 0.7
0.1 0.1 0.1 0.7
0.25 0.25 0.25 0.25
"""


@pytest.fixture
def made(tmp_path):
    """Return a function that simulates the text of a grammar."""

    def make(*parts, records=400, length=120, seed=0, head=""):
        (tmp_path / "grammar.toml").write_text(
            f"records = {records}\nlength = {length}\n{head}\n" + "".join(parts), encoding="utf-8"
        )
        return simulate(read_grammar(tmp_path / "grammar.toml"), seed)

    return make


def sites_of(simulation):
    """Yield the bases of each site, as its motif reads, with its row of the truth."""
    row_of = {name: row for row, name in enumerate(simulation.records["id"])}
    for site in simulation.truth.itertuples():
        letters = simulation.letters[row_of[site.id], site.start : site.end]
        yield site, DNA.reverse_complement(letters) if site.strand == "-" else letters


def pairs_in(simulation, first, second):
    """Yield the sites of both motifs and the bases between them, for each record that has both."""
    for _, sites in simulation.truth.groupby("id"):
        if set(sites["motif"]) >= {first, second}:
            left, right = (sites[sites["motif"] == motif].iloc[0] for motif in (first, second))
            yield left, right, max(left["start"], right["start"]) - min(left["end"], right["end"])


def test_sites_follow_motif_probabilities(made, tmp_path):
    (tmp_path / "own.meme").write_text(MOTIFS, encoding="utf-8")
    sites = '[sites.a]\nmotifs = ["SURE (M1)", "LONG (M2)"]\nnumber = [0, 4]\n'
    simulation = made(sites, BACKGROUND, records=4000, head=f'database = "{tmp_path}/own.meme"')
    for label, ppm in simulation.grammar.ppms().items():
        letters = np.array(
            [DNA.codes(letters) for site, letters in sites_of(simulation) if site.motif == label]
        )
        found = np.stack([(letters == code).mean(axis=0) for code in range(4)], axis=1)
        assert len(letters) > 1500
        assert np.abs(found - ppm).max() < 4 * np.sqrt(0.25 / len(letters))
        assert (found[ppm == 0] == 0).all()
    assert Counter(simulation.truth["strand"]).keys() == {"+", "-"}


def test_site_counts_and_strands_follow_grammar(made):
    simulation = made(SITES + 'number = [1, 3]\nstrand = "-"\n', BACKGROUND)
    per_record = simulation.truth.groupby("id").size()
    assert len(per_record) == 200
    assert set(per_record) == {1, 2, 3}
    assert set(simulation.truth["strand"]) == {"-"}


def test_sites_do_not_overlap_and_are_anywhere(made):
    simulation = made(SITES + "number = 5\n", PAIR, BACKGROUND, length=130)
    for _, sites in simulation.truth.groupby("id"):
        assert (sites["start"].to_numpy()[1:] >= sites["end"].to_numpy()[:-1]).all()
    assert simulation.truth["start"].min() == 0
    assert simulation.truth["end"].max() == 130


@pytest.mark.parametrize(
    ("rule", "orders", "same_strand"),
    [
        ("", {True}, {True}),
        ('order = "either"\n', {True, False}, {True}),
        ('orientation = "opposite"\n', {True}, {False}),
    ],
)
def test_pairs_keep_order_and_distance(made, rule, orders, same_strand):
    simulation = made(PAIR + rule, BACKGROUND)
    found = list(pairs_in(simulation, TAL1, GATA2))
    assert len(found) == 200
    assert {gap for _, _, gap in found} == set(range(5, 16))
    assert {
        (left["start"] < right["start"]) == (left["strand"] == "+") for left, right, _ in found
    } == orders
    assert {left["strand"] == right["strand"] for left, right, _ in found} == same_strand
    assert set(simulation.truth["pair"]) == {"one"}


def test_any_of_several_elements_or_all_of_them(made):
    one = made(SITES, PAIR, BACKGROUND, head="elements = 1")
    kinds = one.truth.groupby("id")["motif"].agg(frozenset)
    assert set(kinds) == {frozenset({CTCF}), frozenset({TAL1, GATA2})}
    every = made(SITES, PAIR, BACKGROUND).truth.groupby("id")["motif"].agg(frozenset)
    assert set(every) == {frozenset({CTCF, TAL1, GATA2})}


def test_bystander_keeps_distance_of_the_pair(made):
    simulation = made(PAIR + f'bystanders = "{CTCF}"\n', BACKGROUND)
    gaps, sides = Counter(), Counter()
    for _, sites in simulation.truth.groupby("id"):
        at = sites["motif"].tolist().index(CTCF)
        sides[at] += 1
        gaps[
            sites["start"].iloc[at] - sites["end"].iloc[at - 1]
            if at
            else sites["start"].iloc[1] - sites["end"].iloc[0]
        ] += 1
        assert sites["pair"].tolist().count("one") == 2
        assert sites["pair"].iloc[at] == ""
    assert set(gaps) == set(range(5, 16))
    assert set(sides) == {0, 2}


def test_half_pairs_keep_other_elements(made):
    simulation = made(SITES, PAIR, "[negatives]\nhalf_pair = { fraction = 1 }\n")
    negative = simulation.truth[simulation.truth["label"] == 0]
    motifs = negative.groupby("id")["motif"].agg(frozenset)
    assert len(motifs) == 200
    assert set(motifs) == {frozenset({CTCF, TAL1}), frozenset({CTCF, GATA2})}
    assert set(negative["pair"]) == {""}
    assert set(negative["kind"]) == {"half_pair"}


def test_half_pairs_alone_have_no_other_elements(made):
    simulation = made(
        SITES,
        PAIR,
        '[negatives]\nhalf_pair = { fraction = 1, others = "left_out" }\n',
        head="elements = 1",
    )
    negative = simulation.truth[simulation.truth["label"] == 0]
    assert negative["id"].nunique() == len(negative) == 200
    assert set(negative["motif"]) == {TAL1, GATA2}
    assert set(negative["pair"]) == {""}


def test_far_pairs_have_both_halves_apart(made):
    simulation = made(PAIR, "[negatives]\nfar_pair = { fraction = 1, spacing = [30, 60] }\n")
    far = [
        (gap, left["pair"])
        for left, _, gap in pairs_in(simulation, TAL1, GATA2)
        if left["label"] == 0
    ]
    assert len(far) == 200
    assert all(30 <= gap <= 60 for gap, _ in far)
    assert {pair for _, pair in far} == {""}


def test_swapped_pairs_combine_halves_of_two_pairs(made):
    simulation = made(
        PAIR, OTHER_PAIR, "[negatives]\nswapped_pair = { fraction = 1 }\n", head="elements = 1"
    )
    negative = simulation.truth[simulation.truth["label"] == 0].groupby("id")
    assert set(negative["motif"].agg(frozenset)) == {
        frozenset({TAL1, AP1}),
        frozenset({CTCF, GATA2}),
    }
    assert {int(sites["start"].iloc[1] - sites["end"].iloc[0]) for _, sites in negative} == set(
        range(5, 16)
    )
    assert {pair for _, sites in negative for pair in sites["pair"]} == {""}


def test_shuffled_negatives_keep_dinucleotides_of_positives(made):
    simulation = made(
        SITES + "number = 6\n", "[negatives]\nshuffled = { fraction = 1 }\n", length=110
    )
    assert set(simulation.truth["label"]) == {1}
    of_label = [simulation.letters[simulation.records["label"] == label] for label in (1, 0)]
    gc = [np.isin(rows, list(b"GC")).mean() for rows in of_label]
    assert abs(gc[0] - gc[1]) < 0.02
    assert gc[1] > 0.55  # GC of CTCF sites, not of the background

    def counts(rows):
        return {
            tuple(sorted(Counter(zip(row[:-1].tolist(), row[1:].tolist(), strict=True)).items()))
            for row in rows
        }

    assert not counts(of_label[0]) & counts(of_label[1])


def test_thinned_negatives_keep_sites_independently(made):
    simulation = made(
        PAIR, SITES, "[negatives]\nthinned = { fraction = 1, keep = 0.3 }\n", records=4000
    )
    found = simulation.truth[simulation.truth["label"] == 0]
    shares = found.groupby("motif").size() / 2000
    assert shares.between(0.26, 0.34).all()
    both = found[found["pair"] == "one"].groupby("id").size()
    assert set(both) == {2}
    assert 0.06 < len(both) / 2000 < 0.12  # 0.3 x 0.3: the halves are independent


def test_presence_of_halves_is_independent(made):
    simulation = made(
        PAIR + "presence = 0.5\n",
        "[negatives]\nthinned = { fraction = 1, keep = 1.0 }\n",
        records=4000,
    )
    for label in (0, 1):
        found = simulation.truth[simulation.truth["label"] == label]
        assert (found.groupby("motif").size() / 2000).between(0.45, 0.55).all()
        assert 0.2 < found[found["pair"] == "one"]["id"].nunique() / 2000 < 0.3


def test_fractions_of_negative_kinds_are_kept(made):
    negatives = (
        "[negatives]\nshuffled = { fraction = 0.5 }\nbackground = { fraction = 0.3 }\nhalf_pair "
        "= { fraction = 0.2 }\n"
    )
    records = made(PAIR, negatives, records=101).records
    assert Counter(records["kind"]) == {
        "positive": 50,
        "shuffled": 26,
        "background": 15,
        "half_pair": 10,
    }
    assert records["id"].is_unique
    assert (records["label"] == (records["kind"] == "positive")).all()


@pytest.mark.parametrize(
    ("rule", "gc", "cpg"),
    [
        ('kind = "independent"\ngc = 0.3\n', 0.3, 1.0),
        ('kind = "markov"\ngc = 0.4\ncpg = 0.2\n', 0.4, 0.2),
    ],
)
def test_backgrounds_have_their_gc_and_cpg(made, rule, gc, cpg):
    simulation = made(SITES, BACKGROUND, f"[background]\n{rule}", records=2000, length=200)
    rows = simulation.letters[simulation.records["kind"] == "background"]
    share = {letter: (rows == ord(letter)).mean() for letter in "ACGT"}
    assert abs(share["G"] + share["C"] - gc) < 0.01
    found = ((rows[:, :-1] == ord("C")) & (rows[:, 1:] == ord("G"))).mean() / (
        share["C"] * share["G"]
    )
    assert abs(found - cpg) < 0.06


def test_given_background_keeps_base_composition(made, tmp_path):
    (tmp_path / "own.fa").write_text(
        ">a\n" + "ACCA" * 40 + "\n>short\nGG\n>unknown\n" + "GGNT" * 50 + "\n", encoding="utf-8"
    )
    simulation = made(
        SITES, BACKGROUND, f'[background]\nkind = "shuffled"\nsequences = "{tmp_path}/own.fa"\n'
    )
    rows = simulation.letters[simulation.records["kind"] == "background"]
    assert set(np.unique(rows).tolist()) == set(b"AC")
    assert len({row.tobytes() for row in rows}) > 190
    with pytest.raises(
        GrammarError,
        match=r"own\.fa: none of the \d+ background sequences has at least 161 bp and only ACGT",
    ):
        made(
            SITES,
            BACKGROUND,
            f'[background]\nkind = "shuffled"\nsequences = "{tmp_path}/own.fa"\n',
            length=161,
        )


def test_the_same_seed_gives_the_same_files(made, tmp_path):
    parts = (
        SITES,
        PAIR,
        "[negatives]\nshuffled = { fraction = 0.5 }\nhalf_pair = { fraction = 0.5 }\n",
    )
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made(*parts, seed=seed).save(tmp_path / name)
    files = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    assert files.keys() == {
        "positives.fa.gz",
        "negatives.fa.gz",
        "truth.tsv",
        "truth.bed",
        "records.tsv",
        "grammar.toml",
        "task.toml",
    }
    assert all(
        (tmp_path / "b" / name).read_bytes() == raw
        for name, raw in files.items()
        if name != "task.toml"
    )
    assert (tmp_path / "c" / "positives.fa.gz").read_bytes() != files["positives.fa.gz"]


def test_written_files_match_simulation(made, tmp_path):
    simulation = made(SITES, PAIR, "[negatives]\nhalf_pair = { fraction = 1 }\n")
    simulation.save(tmp_path / "out")
    texts = [
        gzip.decompress((tmp_path / "out" / name).read_bytes()).decode()
        for name in ("positives.fa.gz", "negatives.fa.gz")
    ]
    expected = [row.tobytes().decode() for row in simulation.letters]
    assert [line for text in texts for line in text.splitlines() if line[0] != ">"] == expected
    truth = pd.read_csv(tmp_path / "out/truth.tsv", sep="\t", keep_default_na=False)
    pd.testing.assert_frame_equal(truth, simulation.truth, check_dtype=False)
    bed = pd.read_csv(tmp_path / "out/truth.bed", sep="\t", header=None)
    assert set(map(tuple, bed[[0, 1, 2, 3, 5]].values)) == set(
        map(tuple, truth[["id", "start", "end", "motif", "strand"]].values)
    )
    assert read_grammar(tmp_path / "out/grammar.toml") == simulation.grammar
    run = read_run_file(tmp_path / "out/task.toml")
    assert run.data.positives == (str(tmp_path / "out/positives.fa.gz"),)
    assert run.interpret.database == simulation.grammar.database
    simulation.save(tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").touch()
    with pytest.raises(
        OutputError, match=r"other: the folder is not replaced: it contains 'mine\.txt'"
    ):
        simulation.save(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BACKGROUND, "positives have no motif; add [sites.NAME] or [pairs.NAME]"),
        (
            SITES + "nubmer = 1\n" + BACKGROUND,
            ":4: unknown key 'nubmer' in [sites.ctcf]; did you mean 'number'?",
        ),
        (
            '[sites.a]\nmotifs = "CTCF"\n' + BACKGROUND,
            "motif 'CTCF' is not in jaspar:vertebrates; did you mean 'CTCF (MA",
        ),
        (
            SITES + "number = [2, 1]\n" + BACKGROUND,
            ":2: [sites.ctcf] number = [2, 1] is not in increasing order",
        ),
        (
            SITES + "number = 9\n" + BACKGROUND,
            "length 120 is too short for the sites of a record, which take up to 135 bp",
        ),
        (
            SITES + "[negatives]\nhalf_pair = { fraction = 1 }\n",
            "negatives of kind half_pair need at least 1 of [pairs], but there are 0",
        ),
        (
            PAIR + "[negatives]\nswapped_pair = { fraction = 1 }\n",
            "negatives of kind swapped_pair need at least 2 of [pairs], but there is 1",
        ),
        (
            PAIR + "[negatives]\nfar_pair = { fraction = 1, spacing = [15, 20] }\n",
            "spacing [15, 20] overlaps the spacing of one, [5, 15]",
        ),
        (
            SITES + "[negatives]\nshuffled = { fraction = 0.5 }\n",
            "[negatives] fractions of the kinds of negatives sum to 0.5 instead of 1",
        ),
        (
            "elements = 1\n" + SITES + PAIR + "[negatives]\nhalf_pair = { fraction = 1 }\n",
            "with elements = [1, 1] a positive may have no pair, which negatives of kind half_pair "
            "need; start at 2",
        ),
        (
            "elements = 2\n" + SITES + BACKGROUND,
            "elements allows up to 2, but [sites] and [pairs] have only 1",
        ),
        (
            SITES + BACKGROUND + '[background]\nkind = "iid"\n',
            "unknown kind 'iid' in [background]; choose one of 'independent', 'markov', 'shuffled'",
        ),
        (
            SITES + BACKGROUND + '[background]\nkind = "markov"\ngc = 0.6\ncpg = 0.1\n',
            "cpg = 0.1 is impossible at gc = 0.6; choose at least 0.556",
        ),
        ("[sites", "grammar is not valid TOML"),
    ],
)
def test_grammar_errors_are_reported(tmp_path, text, message):
    path = tmp_path / "grammar.toml"
    path.write_text(f"length = 120\n{text}", encoding="utf-8")
    with pytest.raises(SelfAttnBioError) as caught:
        read_grammar(path)
    assert isinstance(caught.value, GrammarError)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_two_pairs_with_one_second_motif_are_not_swapped(tmp_path):
    twins = PAIR + PAIR.replace("one", "two") + "[negatives]\nswapped_pair = { fraction = 1 }\n"
    (tmp_path / "grammar.toml").write_text(twins, encoding="utf-8")
    with pytest.raises(
        GrammarError, match="have the same second motif, so negatives of kind swapped_pair"
    ):
        read_grammar(tmp_path / "grammar.toml")
