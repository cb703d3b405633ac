"""Test the benchmark of explanations: its metrics, simulated sequences, and pinned grammars."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from letters import BASES, ascii_of

from selfattn_bio.layout import Layout
from selfattn_bio.motifs import open_database
from selfattn_bio.sequence.alphabet import DNA


def places(*rows):
    return pd.DataFrame(rows, columns=["id", "start", "end"])


def test_called_sites_of_worked_example():
    from planted_sites import called_sites

    sites = places(("a", 10, 20), ("a", 40, 50), ("b", 10, 20))
    seqlets = places(("a", 5, 15), ("a", 5, 15), ("a", 16, 24), ("a", 30, 39), ("b", 0, 30))
    found = called_sites(seqlets, sites)
    # [5, 15) counts once; [16, 24) overlaps by 4 of 10 bases
    assert found["precision"] == pytest.approx(2 / 4)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert called_sites(places(), sites) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_true_pairs_cover_both_halves():
    from planted_sites import true_pairs

    truth = places(("a", 0, 10), ("a", 20, 30), ("a", 50, 60), ("b", 0, 10), ("b", 20, 30))
    truth["pair"] = ["p", "p", "", "q", "q"]
    rows = "0 1 9 18 28  0 0 10 50 60  0 0 10 40 45  1 22 30 0 12  1 0 10 0 10  0 2 8 0 9"
    names = ["record", "start_a", "end_a", "start_b", "end_b"]
    pairs = pd.DataFrame(np.fromstring(rows, int, sep=" ").reshape(-1, 5), columns=names)
    assert true_pairs(pairs, ["a", "b"], truth).tolist() == [True, False, False, True, False, False]


def test_matrices_found_counts_and_precision():
    from harness import ROOT
    from planted_sites import matrices
    from simulation import DATABASE, read_grammar

    grammar = read_grammar(ROOT / "benchmarks/grammars/development/five.toml")
    database = open_database(DATABASE)
    ctcf, other = database["CTCF (MA0139.2)"], database["PAX6 (MA0069.1)"]
    found = matrices({"m1": ctcf, "m2": ctcf[::-1, ::-1], "m3": other}, grammar)
    counts = {"wanted": 5, "found": 1, "motifs_each": 2.0}
    assert found == counts | {"matrix_precision": pytest.approx(2 / 3)}
    assert matrices({}, grammar)["found"] == 0


def test_final_grammars_are_pinned_and_use_new_motifs(tmp_path):
    from harness import ROOT
    from motifs import NAMES, PINNED, check_pinned
    from simulation import read_grammar

    grammars = ROOT / "benchmarks/grammars"
    check_pinned(grammars / "final")
    assert set(PINNED) == set(NAMES)
    for name in NAMES:
        files = (grammars / kind / f"{name}.toml" for kind in ("development", "final"))
        first, second = (set(read_grammar(file).motifs) for file in files)
        assert not first & second
        (tmp_path / f"{name}.toml").write_text("records = 4\n")
    with pytest.raises(SystemExit, match=r"sha256 .* is not the pinned"):
        check_pinned(tmp_path)


def test_metrics_of_a_model():
    import motifs

    records = pd.DataFrame({"id": list("abcd"), "label": [1, 0, 1, 1]})
    sequences = [ascii_of(text) for text in ("AACGTAAA", "ACGTAAAA", "AAAACGTA", "ACGTACGT")]
    calibration = SimpleNamespace(probabilities=lambda logits: np.array([0.95, 0.99, 0.9, 0.2]))
    scorer = SimpleNamespace(logits=lambda rows: np.arange(4.0), calibration=calibration)
    run = motifs.Run("development", "five", 0)
    truth = places(("a", 2, 5), ("c", 4, 7), ("b", 0, 4))
    for name, value in {"test": (records, sequences), "scorer": scorer, "truth": truth}.items():
        run.__dict__[name] = value  # instead of reading a folder
    assert run.confident[0] == ["a", "c"]  # positives with confident predictions

    class Told(motifs.AttnLRP):
        def attribution(self, scorer, letters, target):
            starts = [bytes(row).index(b"CGT") for row in letters]
            return [np.isin(np.arange(8), np.arange(3) + at).astype(float) for at in starts]

    found = motifs.letters(run, Told())
    assert (found["aupr"], found["fraction"], found["records"]) == (1.0, pytest.approx(6 / 16), 2)


@pytest.mark.parametrize(
    ("auroc", "labels", "explained"),
    [(0.93, "given", True), (0.91, "given", False), (0.5, "shuffled", True)],
    ids=["good", "bad", "control"],
)
def test_gate_applies_to_models_not_controls(monkeypatch, auroc, labels, explained):
    import motifs

    asked = []
    monkeypatch.setattr(motifs, "train", lambda *given: None)
    found = {"auroc": auroc}
    monkeypatch.setattr(motifs.Run, "kept", lambda self, name, *_: asked.append(name) or found)
    run = motifs.Run("development", "five", 0, labels)
    run.__dict__["rules"] = SimpleNamespace(pairs={"p": None})
    run.__dict__["study"] = SimpleNamespace(files=Layout(Path()))
    assert motifs.finished(run)["explained"] == explained
    assert ("motifs" in asked) == explained
    assert ("interactions" in asked) == (explained and labels == "given")


def test_other_strand_is_reversed():
    import motifs

    class Letter(motifs.AttnLRP):
        def scores(self, scorer, letters, target):
            (row,) = letters
            return [(row[:, None] == BASES) * np.arange(1.0, 1 + len(row))[:, None]]

    scorer = SimpleNamespace(alphabet=DNA)
    (found,) = motifs.BothStrands(Letter()).scores(scorer, [ascii_of("AAC")], None)
    assert found.tolist() == [[2, 0, 0, 0], [2, 0, 0, 0], [0, 2, 0, 0]]


def simulated(name, records=400):
    from harness import ROOT
    from simulation import read_grammar, simulate

    grammar = read_grammar(ROOT / f"benchmarks/grammars/development/{name}.toml")
    return grammar, *simulate(grammar, 1, records)


@pytest.mark.parametrize("name", ["five", "pair", "unlearnt"])
def test_sites_are_apart_and_possible(name):
    from simulation import DATABASE

    ppms = open_database(DATABASE)
    _, ids, letters, truth = simulated(name)
    row_of = {record: row for row, record in enumerate(ids)}
    assert ids.str.startswith("positive").sum() == 200
    for record, sites in truth.groupby("id"):
        assert (sites["start"].to_numpy()[1:] >= sites["end"].to_numpy()[:-1]).all()
        for site in sites.itertuples():
            found = letters[row_of[record], site.start : site.end]
            codes = DNA.codes(DNA.reverse_complement(found) if site.strand == "-" else found)
            assert (ppms[site.motif][np.arange(len(codes)), codes] > 0).all()
    assert not truth["id"].str.startswith("shuffled").any()


def test_pairs_and_negatives_follow_the_grammar():
    grammar, _, _, truth = simulated("pair")
    seconds = {name: rule["second"] for name, rule in grammar.pairs.items()}
    assert not truth.loc[~truth["id"].str.startswith("positive"), "pair"].any()
    halves = truth[truth["pair"] != ""].groupby("id")
    assert len(halves) == 200
    for _, sites in halves:
        left, right = sites.to_dict("records")
        assert 5 <= right["start"] - left["end"] <= 15
        assert left["strand"] == right["strand"]
        assert (right if left["strand"] == "+" else left)["motif"] == seconds[left["pair"]]
    swapped = truth[truth["id"].str.startswith("swapped")].groupby("id")["motif"].agg(set)
    pairs = [{rule["first"], rule["second"]} for rule in grammar.pairs.values()]
    assert len(swapped) == 100
    assert not any(pair <= motifs for motifs in swapped for pair in pairs)
