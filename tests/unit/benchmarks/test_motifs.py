"""The benchmark of explanations: its measures by hand, and that the final grammars are those that were pinned and of other motifs."""

import pandas as pd
import pytest

from selfattn_bio.interpret.grammar import read_grammar
from selfattn_bio.interpret.matching import open_database


def places(*rows):
    return pd.DataFrame(rows, columns=["id", "start", "end"])


def test_called_sites_by_hand():
    from motifs import called_sites

    sites = places(("a", 10, 20), ("a", 40, 50), ("b", 10, 20))
    seqlets = places(("a", 5, 15), ("a", 5, 15), ("a", 16, 24), ("a", 30, 39), ("b", 0, 30))
    found = called_sites(seqlets, sites)
    assert found["precision"] == pytest.approx(2 / 4)  # [5, 15) twice is one place; [16, 24) has 4 letters of ten
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert called_sites(places(), sites) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_planted_letters_are_those_of_the_records_named():
    from motifs import planted

    mask = planted(places(("a", 1, 3), ("other", 0, 4), ("b", 3, 4)), ["b", "a"], 4)
    assert mask.tolist() == [[False, False, False, True], [False, True, True, False]]


def test_true_pairs_cover_both_halves_of_one_pair():
    from motifs import true_pairs

    truth = places(("a", 0, 10), ("a", 20, 30), ("a", 50, 60), ("b", 0, 10), ("b", 20, 30)).assign(pair=["p", "p", "", "q", "q"])
    pairs = pd.DataFrame(
        {
            "record": [0, 0, 0, 1, 1, 0],
            "start_a": [1, 0, 0, 22, 0, 2],
            "end_a": [9, 10, 10, 30, 10, 8],
            "start_b": [18, 50, 40, 0, 0, 0],
            "end_b": [28, 60, 45, 12, 10, 9],
        }
    )
    assert true_pairs(pairs, ["a", "b"], truth).tolist() == [True, False, False, True, False, False]


def test_matrices_found_precision_and_motifs_to_each():
    from motifs import ROOT, matrices

    grammar = read_grammar(ROOT / "benchmarks/grammars/development/five.toml")
    database = open_database(grammar.database)
    ctcf, other = database["CTCF (MA0139.2)"], database["PAX6 (MA0069.1)"]
    found = matrices({"m1": ctcf, "m2": ctcf[::-1, ::-1], "m3": other}, grammar)
    assert found == {"wanted": 5, "found": 1, "matrix_precision": pytest.approx(2 / 3), "motifs_each": 2.0}
    assert matrices({}, grammar)["found"] == 0


def test_intervals_are_students():
    from motifs import interval

    assert interval([0.8, 0.9, 1.0]) == "0.900 (0.652 to 1.148)"
    assert interval([0.8]) == "0.800 (one seed)"
    assert interval([None]) == "none"


def test_final_grammars_are_pinned_and_of_other_motifs():
    from motifs import NAMES, PINNED, ROOT, check_pinned

    grammars = ROOT / "benchmarks/grammars"
    check_pinned(grammars / "final")
    assert set(PINNED) == set(NAMES)
    for name in NAMES:
        assert not set(read_grammar(grammars / "development" / f"{name}.toml").motifs) & set(
            read_grammar(grammars / "final" / f"{name}.toml").motifs
        )


def test_a_final_grammar_that_was_changed_is_refused(tmp_path):
    from motifs import NAMES, check_pinned

    for name in NAMES:
        (tmp_path / f"{name}.toml").write_text("records = 4\n")
    with pytest.raises(SystemExit, match="the final grammar must be the one that was pinned"):
        check_pinned(tmp_path)


def test_models_below_the_gate_are_counted_and_not_explained():
    from motifs import models_table

    runs = [{"auroc": auroc, "explained": auroc >= 0.92} for auroc in (0.95, 0.91, 0.93)]
    assert "| five | 0.930 (0.880 to 0.980) | 0.950, 0.910, 0.930 | 2 |" in models_table({"five": runs})


def test_a_measure_is_kept_until_the_weights_change(tmp_path, monkeypatch):
    import motifs

    monkeypatch.setattr(motifs, "FOLDER", tmp_path)
    run = motifs.Run("development", "five", 0)
    (run.folder / "model").mkdir(parents=True)
    (run.folder / "model/model.safetensors").write_bytes(b"one")
    assert run.kept("x", lambda: {"value": 1})["value"] == 1
    assert run.kept("x", lambda: {"value": 2})["value"] == 1
    (run.folder / "model/model.safetensors").write_bytes(b"two")
    assert run.kept("x", lambda: {"value": 2})["value"] == 2
