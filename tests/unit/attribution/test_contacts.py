"""Test contact maps: correction by hand, symmetry, ranges, P@L on known cases, the command."""

import numpy as np
import pandas as pd
import pytest
from commands import exit_code, run
from learners import NO_STEM, POOLED, scorer_of
from letters import ascii_of

import selfattn_bio as sb
from selfattn_bio.attention.kernels.reference import dense_weights
from selfattn_bio.attribution.capture import read_letters
from selfattn_bio.attribution.contacts import (
    average_product_corrected,
    contact_map,
    fit_contacts,
    head_maps,
    precision_at_length,
    predict_contacts,
    read_contacts,
)
from selfattn_bio.errors import ModelFolderError, SequenceFileError
from selfattn_bio.model.checkpoint import save_model

CLS = NO_STEM | {"head": {"kind": "cls"}}
AMINO = "ACDEFGHIKLMNPQRSTVWY"
PROTEIN = ascii_of(b"MKVLAAGIWQERTYHDNSCP")


def test_correction_removes_row_and_column_effects():
    maps = np.array([[0.0, 2.0, 1.0], [2.0, 0.0, 3.0], [1.0, 3.0, 0.0]])
    sums, total = np.array([3.0, 5.0, 4.0]), 12.0
    expected = [[maps[i, j] - sums[i] * sums[j] / total for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(average_product_corrected(maps), expected)
    both = average_product_corrected(np.stack([maps, 2 * maps]))
    np.testing.assert_allclose(both[1], 2 * np.array(expected))
    # only row and column effects
    np.testing.assert_allclose(average_product_corrected(np.outer(sums, sums)), 0, atol=1e-12)
    assert not average_product_corrected(np.zeros((2, 2))).any()


def test_a_head_is_its_dense_weights_both_ways_without_cls():
    scorer = scorer_of(CLS, "protein", k=1)
    maps = head_maps(scorer, PROTEIN)
    layer = read_letters(scorer, PROTEIN[None], [""]).layers[0][1]
    assert maps.shape == (2 * 2 * 2, 20, 20)  # members, layers, heads
    np.testing.assert_allclose(maps, maps.swapaxes(1, 2), atol=1e-6)
    dense = dense_weights(layer).detach().numpy()[0, 1, 1:, 1:]
    np.testing.assert_allclose(maps[3], average_product_corrected(dense + dense.T), atol=1e-6)


def test_pooled_positions_have_no_contacts():
    message = "contacts need one residue per position of the encoder, but a position has 2"
    with pytest.raises(ValueError, match=message):
        head_maps(scorer_of(POOLED, "protein", k=1), PROTEIN)


def test_precision_counts_the_l_best_pairs_of_each_range():
    length = 30
    contacts = np.zeros((length, length), dtype=bool)
    contacts[[0, 0, 0, 0, 0, 2], [6, 11, 12, 23, 24, 7]] = True
    contacts |= contacts.T
    found = precision_at_length(contacts.astype(float), contacts)
    # 21 pairs are 24 or more apart; the pair 5 apart is in no range
    assert found == {"short": 2 / 30, "medium": 2 / 30, "long": 1 / 21}
    worst = precision_at_length(-contacts.astype(float), contacts)
    assert worst == {"short": 0, "medium": 0, "long": 1 / 21}
    assert np.isnan(precision_at_length(np.zeros((20, 20)), np.zeros((20, 20), dtype=bool))["long"])


def proteins(num=6, length=30, heads=3, seed=0):
    """Return random maps whose second head predicts the contacts."""
    rng = np.random.default_rng(seed)
    contacts = [rng.random((length, length)) < 0.1 for _ in range(num)]
    contacts = [np.triu(each, 6) | np.triu(each, 6).T for each in contacts]
    maps = [rng.normal(size=(heads, length, length)) for _ in range(num)]
    maps = [each + each.swapaxes(1, 2) for each in maps]
    for each, touching in zip(maps, contacts, strict=True):
        each[1] += 6 * touching
    return maps, contacts


def test_regression_finds_the_informative_head():
    maps, contacts = proteins()
    found = contact_map(fit_contacts(maps[:5], contacts[:5]), maps[5])
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()
    close, far = found[contacts[5]], found[np.triu(~contacts[5], 6)]
    assert close.mean() > 0.8
    assert far.mean() < 0.05


def test_no_protein_is_predicted_by_its_own_contacts():
    maps, contacts = proteins()
    lie = ~contacts[0]
    np.fill_diagonal(lie, False)
    told = predict_contacts(maps, dict(enumerate(contacts[:4])))
    misled = predict_contacts(maps, {0: lie, **{number: contacts[number] for number in (1, 2, 3)}})
    np.testing.assert_array_equal(told[0], misled[0])
    assert (told[1] != misled[1]).any()
    fitted = contact_map(fit_contacts(maps[:4], contacts[:4]), maps[5])
    np.testing.assert_array_equal(told[5], fitted)
    np.testing.assert_array_equal(predict_contacts(maps, {0: contacts[0]})[0], maps[0].mean(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\ti\nA\t1\n", "known.tsv:1: column 'j' is missing"),
        ("id\ti\tj\nA\t1\t8\nB\t1\t2\n", "known.tsv:3: id 'B' is not among the sequences"),
        *(
            (f"id\ti\tj\nA\t{i}\t{j}\n", f"known.tsv:2: i = {i} and j = {j} are not two residues")
            for i, j in (("1", "10"), ("3", "3"), ("x", "3"), ("1.7", "9"), ("1", "inf"))
        ),
    ],
)
def test_wrong_contact_error_names_line(tmp_path, text, message):
    with pytest.raises(SequenceFileError, match=r"known\.tsv: file of contacts not found"):
        read_contacts(tmp_path / "known.tsv", {"A": 10})
    (tmp_path / "known.tsv").write_text(text)
    with pytest.raises(SequenceFileError, match=message):
        read_contacts(tmp_path / "known.tsv", {"A": 10})


def test_contacts_command_writes_maps_and_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scorer = scorer_of(CLS, "protein", k=1)
    (tmp_path / "model").mkdir()
    calibration = {"calibration": {"slope": 1.0, "threshold": 0.5}}
    save_model(tmp_path / "model", scorer.run, scorer.network.state_dict(), calibration)
    texts = random_proteins(30)
    lengths = {name: len(text) for name, text in texts.items()}
    (tmp_path / "a.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    (tmp_path / "known.tsv").write_text("id\ti\tj\np0\t0\t9\np0\t2\t28\np1\t20\t3\n")
    run("contacts --model model --fasta a.fa --contacts known.tsv --output out")
    with np.load("out.contacts.npz") as maps:
        assert maps["ids"].tolist() == list(lengths)
        assert [maps[f"map_{i}"].shape for i in range(3)] == [(k, k) for k in lengths.values()]
    best = pd.read_csv("out.contacts.tsv", sep="\t")
    assert best.groupby("id").size().to_dict() == lengths
    assert (best["j"] - best["i"]).min() >= 6
    assert best["contact"].isna().tolist() == (best["id"] == "p2").tolist()
    precision = pd.read_csv("out.precision.tsv", sep="\t")
    assert [*precision] == ["id", "short", "medium", "long"]
    assert precision["id"].tolist() == ["p0", "p1"]
    assert "P@L, mean over 2 sequences: short " in capsys.readouterr().out
    run("contacts --model model --fasta a.fa --output plain")
    assert not (tmp_path / "plain.precision.tsv").exists()
    (tmp_path / "near.tsv").write_text("id\ti\tj\np0\t0\t2\np1\t20\t23\n")
    assert exit_code("contacts --model model --fasta a.fa --contacts near.tsv --output near") == 1
    assert "error: 0 of 325 pairs of residues at least 6 apart are" in capsys.readouterr().err


def random_proteins(shortest):
    """Return three proteins by id, each one residue longer than the one before."""
    rng = np.random.default_rng(0)
    return {f"p{i}": "".join(rng.choice(list(AMINO), shortest + i)) for i in range(3)}


def test_contacts_of_a_table():
    scorer, texts = scorer_of(CLS, "protein", k=1), random_proteins(20)
    table = pd.DataFrame({"id": list(texts), "sequence": list(texts.values())})
    plain = sb.find_contacts(scorer, table)
    assert repr(plain) == "Contacts of 3 sequences, 0 with known contacts"
    assert [scores.shape for scores in plain.maps.values()] == [(20, 20), (21, 21), (22, 22)]
    assert (plain.precision, len(plain.table)) == (None, 63)
    np.testing.assert_array_equal(plain.plot("p1").axes[0].images[0].get_array(), plain.maps["p1"])
    known = {f"p{i}": np.zeros((20 + i, 20 + i), dtype=bool) for i in range(2)}
    for contacts in known.values():
        contacts[2, 15] = contacts[15, 2] = True
    found = sb.find_contacts(scorer, table, known)
    assert found.precision["id"].tolist() == ["p0", "p1"]
    assert all(0 <= scores.min() <= scores.max() <= 1 for scores in found.maps.values())
    with pytest.raises(ModelFolderError, match="this model reads 2-mers"):
        sb.find_contacts(scorer_of(CLS, "protein", k=2), table)
    for given, message in (([], "no sequences"), (table.assign(id="a"), "id 'a' is used more")):
        with pytest.raises(SequenceFileError, match=message):
            sb.find_contacts(scorer, given)
