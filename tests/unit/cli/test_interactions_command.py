"""Run `selfattn-bio interactions`."""

import numpy as np
import pandas as pd
import pytest
from test_explain_motifs import CALIBRATION, MODEL, folder, save  # noqa: F401

from selfattn_bio.cli.main import main
from selfattn_bio.evidence import interactions
from selfattn_bio.evidence.epistasis import strands_log_odds
from selfattn_bio.motifs import meme_text
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.study import interactions as api


def asked(motifs, output="pairs.tsv"):
    return main(
        ["interactions", *MODEL, "--model", "model", "--motifs", str(motifs), "--output", output]
    )


@pytest.mark.usefixtures("folder")
def test_pairs_of_hits_on_test_positives(tmp_path, monkeypatch, capsys):
    ppms = {
        name: np.eye(4)[DNA.codes(np.frombuffer(word, dtype=np.uint8))]
        for name, word in (("one", b"ACGT"), ("two", b"CCA"))
    }
    (tmp_path / "my.meme").write_text(meme_text(ppms, dict.fromkeys(ppms, 100)))
    monkeypatch.setattr(interactions, "MIN_RECORDS", 3)
    monkeypatch.setattr(interactions, "relevant_hits", lambda hits, attribution: hits)
    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text(text + "hit_p = 0.2\n")
    seen = []
    find = interactions.find_hits
    monkeypatch.setattr(
        interactions, "find_hits", lambda *arguments: seen.append(arguments) or find(*arguments)
    )
    assert asked("my.meme") == 0
    ((_, _, sequences, hit_p),) = seen
    assert (len(sequences), hit_p) == (10, 0.2)  # positives on c3
    table = pd.read_csv("pairs.tsv", sep="\t")
    assert table[["name_a", "name_b"]].values.tolist() == [["one", "two"]]
    assert table["verdict"].tolist() == ["inconclusive"]  # no other pairs to compare with
    assert table["marginal_low"][0] <= table["marginal"][0] <= table["marginal_high"][0]
    curves = pd.read_csv("pairs.distances.tsv", sep="\t")
    assert set(curves["name_a"]) == {"one"}
    assert curves["epistasis"].mean() == pytest.approx(table["marginal"][0], abs=1e-4)
    assert "interactions: supported: 0 of 1 pair" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_interactions_without_motifs(tmp_path):
    (tmp_path / "none.meme").write_text(meme_text({}, {}))
    assert asked("none.meme") == 0
    assert pd.read_csv("pairs.tsv", sep="\t").empty


@pytest.mark.usefixtures("folder")
def test_interactions_of_one_motif(tmp_path, capsys):
    (tmp_path / "one.meme").write_text(meme_text({"one": np.eye(4)}, {"one": 100}))
    assert asked("one.meme") == 0
    assert "interactions: one motif, so no pairs" in capsys.readouterr().out
    assert pd.read_csv("pairs.tsv", sep="\t").empty


@pytest.mark.usefixtures("folder")
def test_interactions_refuse_model_without_one_score(tmp_path, capsys):
    text = (
        (tmp_path / "run.toml")
        .read_text()
        .replace("[model]", '[objective]\nkind = "masked"\n[model]')
    )
    text = text.replace('positives = "p.fa"\nnegatives = "n.fa"', 'sequences = "p.fa"')
    (tmp_path / "run.toml").write_text(text)
    assert asked("my.meme") == 1
    assert (
        "run.toml: interactions cannot be used with objective 'masked': a language model has no"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("folder")
def test_interactions_use_calibrated_log_odds_of_both_strands(tmp_path, monkeypatch):
    monkeypatch.setitem(CALIBRATION, "slope", 0.25)
    save(tmp_path / "calibrated", 0)
    (tmp_path / "none.meme").write_text(meme_text({}, {}))
    asked_for = []
    evaluate = interactions.evaluate_interactions
    monkeypatch.setattr(
        api,
        "evaluate_interactions",
        lambda *given, **named: asked_for.append(given) or evaluate(*given, **named),
    )
    assert (
        main(
            [
                "interactions",
                *MODEL,
                "--model",
                "calibrated",
                "--motifs",
                "none.meme",
                "--output",
                "pairs.tsv",
            ]
        )
        == 0
    )
    ((_, letters, log_odds, _),) = asked_for
    np.testing.assert_allclose(
        log_odds(letters), strands_log_odds(load(tmp_path / "calibrated"))(letters)
    )
    assert abs(log_odds(letters) * 4 - load(tmp_path / "calibrated").logits(letters)).max() > 1e-6
