"""Test contact maps (correction, ranges, P@L, the command), and raw attention for users."""

import numpy as np
import pandas as pd
import pytest
import torch
from commands import exit_code, run
from learners import CNN, NO_STEM, POOLED, SEQUENCES, SMALL, WINDOW_CLS, scorer_of
from letters import ascii_of

import selfattn_bio as sb
from selfattn_bio.attention.kernels.reference import dense_weights
from selfattn_bio.attribution.capture import read_attention, read_letters
from selfattn_bio.attribution.contacts import (
    average_product_corrected,
    contact_map,
    fit_contacts,
    head_maps,
    precision_at_length,
    predict_contacts,
    read_contacts,
)
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import Received
from selfattn_bio.attribution.targets import Target
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
    with pytest.raises(SequenceFileError, match=r"known\.tsv: no such file"):
        read_contacts(tmp_path / "known.tsv", {"A": 10})
    (tmp_path / "known.tsv").write_text(text)
    with pytest.raises(SequenceFileError, match=message):
        read_contacts(tmp_path / "known.tsv", {"A": 10})


def test_contacts_command_writes_maps_and_pairs(here, capsys):
    scorer = scorer_of(CLS, "protein", k=1)
    (here / "model").mkdir()
    calibration = {"calibration": {"slope": 1.0, "threshold": 0.5}}
    save_model(here / "model", scorer.run, scorer.network.state_dict(), calibration)
    texts = random_proteins(30)
    lengths = {name: len(text) for name, text in texts.items()}
    (here / "a.fa").write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    (here / "known.tsv").write_text("id\ti\tj\np0\t0\t9\np0\t2\t28\np1\t20\t3\n")
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
    assert not (here / "plain.precision.tsv").exists()
    (here / "near.tsv").write_text("id\ti\tj\np0\t0\t2\np1\t20\t23\n")
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


# ------------ raw attention: letters, rollout and maps
TEXTS = ["ACGTACCATT", "ACGTAC"]


def test_received_is_a_mean_over_layers_heads_and_tokens():
    scorer = scorer_of(NO_STEM, k=1)
    letters = ascii_of(b"ACGTACCA")[None]
    (received,) = Received().attribution(scorer, letters, Target())
    # each token gives attention 1 in total
    np.testing.assert_allclose(received.sum(), 1, rtol=1e-5)
    assert received.min() > 0
    assert received.std() > 0
    assert all(not module._forward_pre_hooks for module in scorer.network.modules())
    assert not explain(scorer_of(CNN), ["ACGTACCA"]).attention.any()


def test_received_equals_the_dense_weights():
    reading = read_attention(scorer_of(WINDOW_CLS, k=1), TEXTS)
    found = reading.received()
    layers = [layer for layers in reading.layers for layer in layers]
    dense = torch.stack([dense_weights(layer).detach() for layer in layers])
    expected = dense[:, 1, :, :7].mean((0, 1, 2))  # of [CLS] and six letters
    np.testing.assert_allclose(found[1, :6], expected[1:7], rtol=1e-5)
    assert not found[1, 6:].any()


def test_rollout_starts_where_the_head_reads():
    reading = read_attention(scorer_of(WINDOW_CLS, k=1), TEXTS)
    found = reading.rollout()
    assert found.shape == (2, 10)
    assert not found[1, 6:].any()
    assert 0 < found[0].sum() < 1  # the rest stays at [CLS]
    pooled = read_attention(scorer_of(NO_STEM, k=1), TEXTS).rollout()
    np.testing.assert_allclose(pooled.sum(1), 1, rtol=1e-5)


def test_pooled_positions_cover_their_bases():
    scorer = scorer_of(SMALL, k=3)
    reading = read_attention(scorer, SEQUENCES)
    pool = scorer.network.members[0].stem.pool
    assert reading.spans[1].tolist() == [pool, 2 * pool + 2]
    received = reading.received()
    assert received.shape == (len(SEQUENCES), max(map(len, SEQUENCES)))


def test_unreadable_models():
    with pytest.raises(ValueError, match="no sequences to read attention for"):
        read_attention(scorer_of(), [])
    with pytest.raises(ValueError, match="has length 2, but the model needs at least 3"):
        read_attention(scorer_of(), ["AC"])
    with pytest.raises(ValueError, match="models of kind 'cnn' have no attention"):
        read_attention(scorer_of(CNN), ["ACGTACGT"])


def test_attention_between_spans_equals_dense_weights():
    reading = read_attention(scorer_of(WINDOW_CLS, k=1), TEXTS)
    spans = [np.array([[0, 3], [5, 9], [9, 10]]), np.array([[1, 2], [4, 6]])]
    first, second = reading.between(spans)
    assert (first.shape, second.shape) == ((3, 3), (2, 2))
    each = [dense_weights(layer).detach() for layers in reading.layers for layer in layers]
    dense = np.mean([of_layer.mean(1).numpy() for of_layer in each], axis=0)  # [CLS] first
    np.testing.assert_allclose(first[0, 1], dense[0, 1:4, 6:10].sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(second[1, 0], dense[1, 5:7, 2:3].sum(1).mean(), rtol=1e-5)
    assert first[0, 2] == 0  # outside the window


def test_map_equals_dense_weights_with_one_bin_per_token():
    reading = read_attention(scorer_of(WINDOW_CLS, k=3), TEXTS)
    layer = reading.layers[1][0]
    dense = dense_weights(layer).detach().numpy()
    whole = reading.map(1, member=1, layer=0, head=1)
    assert whole.edges.tolist() == [0, 1, 2, 3, 6]  # four 3-mers of six letters
    np.testing.assert_allclose(whole.weights, dense[1, 1, 1:5, 1:5], rtol=1e-5)
    two = reading.map(1, member=1, layer=0, bins=2)
    assert two.edges.tolist() == [0, 2, 6]
    blocks = dense[1, :, 1:5, 1:5].mean(0).reshape(2, 2, 2, 2).sum(3).mean(1)
    np.testing.assert_allclose(two.weights, blocks, rtol=1e-5)
    with pytest.raises(ValueError, match=r"^bins is 0; choose at least 1$"):
        reading.map(bins=0)
