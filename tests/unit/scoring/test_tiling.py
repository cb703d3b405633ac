"""Test tiles and scores of long sequences: as in one pass, or in windows of training length."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from genome_models import SMALL, random_letters
from hypothesis import given
from hypothesis import strategies as st

from selfattn_bio import config
from selfattn_bio.model.classifier import build_network, tokenizer_of
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.scoring.tiling import Tiling, reach_of, tiles
from selfattn_bio.sequence.alphabet import DNA


def labels(**model):
    model = {"pattern": {"kind": "window", "window": 5}, "stem": {"kind": "none"}} | model
    return config.RunFile(
        data=config.Data(sequences=("a.fa",), targets="t.tsv"),
        tokens=config.Tokens(k=1),
        training=config.Training(shift=0),
        objective=config.LabelsObjective(column="x", classes="HE"),
        model=config.AttentionModel(**SMALL | {"num_layers": 2} | model),
    )


CONV = {"kind": "conv", "token_dim": 6, "kernel": 5, "pool": 4, "second_kernel": 3}


def scorer_of(run):
    torch.manual_seed(0)
    network = build_network(run).train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
        network(torch.randint(4, 4 + 4**run.tokens.k, (8, 64)))
    return Scorer(run, tokenizer_of(run), network.eval())


@given(
    length=st.integers(0, 300),
    overlap=st.integers(0, 20),
    more=st.integers(0, 60),
    step=st.integers(1, 9),
)
def test_tile_cores_cover_sequence_once(length, overlap, more, step):
    size = 2 * overlap + step + more
    found = list(tiles(length, size, overlap, step))
    assert [place for tile in found for place in range(tile.first, tile.last)] == list(
        range(length)
    )
    for tile in found:
        assert tile.end - tile.start <= size
        assert tile.start % step == 0
        assert tile.start == 0 or tile.first - tile.start >= overlap
        assert tile.end == length or tile.end - tile.last >= overlap


def test_tiles_of_worked_example_and_errors():
    assert [tuple(tile) for tile in tiles(10, 6, 1)] == [(0, 6, 0, 5), (4, 10, 5, 10)]
    for size, overlap, step in ((4, 2, 1), (8, 2, 5), (5, -1, 1)):
        with pytest.raises(ValueError, match="has no space for two overlaps and a step"):
            list(tiles(100, size, overlap, step))


TOWER = {
    "kind": "tower",
    "token_dim": 4,
    "channels": (6,),
    "kernels": (7, 3),
    "pools": (5, 2),
    "residual_kernel": 3,
}


def bins(tokens=None, kind="attention", **model):
    model = {"stem": TOWER} | model
    if kind == "attention":
        model = SMALL | {"num_layers": 2, "pattern": {"kind": "window", "window": 3}} | model
    section = {"attention": config.AttentionModel, "dilated": config.DilatedModel}[kind](
        **{"embed_dim": 8} | model
    )
    data, objective = config.Data(sequences=("a.fa",)), config.BinsObjective(points="p.bed", bin=20)
    return config.RunFile(
        data=data, tokens=tokens or config.Tokens(k=1), objective=objective, model=section
    )


EXACT = [
    (labels(), 10),
    (labels(position={"kind": "rotary"}), 10),
    (labels(pattern={"kind": "window", "window": 2, "dilation": 3}), 12),
    (labels(stem=CONV, pattern={"kind": "window", "window": 2}), 25),
    # second stage: (6 + 1 + 1) * 2 - 1 + 1 = 16; first stage: (16 + 1) * 5 - 1 + 3 = 87
    (bins(), 87),
    (bins(kind="dilated", dilations=(1, 3)), 67),
    (bins(config.Tokens(k=3, stride=2), stem=CONV | {"pool": 5}), 41),
]
WHOLE = [
    labels(pattern={"kind": "full"}),
    labels(pattern={"kind": "window", "window": 5, "num_global": 1}),
    labels(pattern={"kind": "block_local", "block": 8}),
    labels(position={"kind": "sinusoidal"}),
    labels(stem=CONV | {"norm": "record"}),
    bins(pattern={"kind": "window", "window": 3, "num_global": 1}),
]


def longest_pass(scorer, monkeypatch):
    """Return a list that receives the number of tokens of each pass."""
    seen, forward = [], scorer.network.forward
    monkeypatch.setattr(
        scorer.network, "forward", lambda tokens: seen.append(tokens.shape[1]) or forward(tokens)
    )
    return seen


@pytest.mark.parametrize(("run", "reach"), EXACT)
def test_tiled_scores_equal_one_pass(run, reach, monkeypatch):
    """The passes have one length, however long the sequence is."""
    assert reach_of(run) == reach
    scorer, letters = scorer_of(run), random_letters(3011)
    ask = scorer.log_rates if run.objective.kind == "bins" else scorer.token_outputs
    whole, table = ask([letters])[0], score_sequences(scorer, [letters.tobytes().decode()])
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    tiling = Tiling.of(scorer)
    assert tiling.exact
    seen = longest_pass(scorer, monkeypatch)
    found = tiling.read([letters[:50], letters], ask)
    np.testing.assert_allclose(found[1], whole, rtol=0, atol=1e-5)
    assert len(found[0]) == 50 // tiling.unit
    assert len(seen) > 4
    assert max(seen) <= tiling.size < 1000
    pd.testing.assert_frame_equal(
        score_sequences(scorer, [letters.tobytes().decode()]), table, rtol=1e-4
    )
    less = replace(tiling, size=tiling.step * 8, longest=0, overlap=0).read([letters], ask)[0]
    assert np.abs(less - whole).max() > 1e-3


@pytest.mark.parametrize("run", WHOLE)
def test_global_models_read_windows_of_training_length(run, monkeypatch, capsys):
    """The first window scores as it does alone, so it was passed alone."""
    assert reach_of(run) is None
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    trained = Reference(DNA, np.zeros((1, 4), np.float32), 0.0, np.array([1, 200, 1, -1, 1]))
    scorer, text = (
        replace(scorer_of(run), reference=trained),
        random_letters(801).tobytes().decode(),
    )
    seen = longest_pass(scorer, monkeypatch)
    score_sequences(scorer, [text[:800]])
    assert max(seen) == 800
    assert "score:" not in capsys.readouterr().err
    seen.clear()
    table = score_sequences(scorer, [text])
    assert max(seen) == 200
    message = (
        "score: sequences longer than 800 positions, such as '0', are read in windows of 200, the "
        "length of the training records, because the model was not trained on longer ones\n"
    )
    assert capsys.readouterr().err.count(message) == 1
    alone = score_sequences(scorer, [text[:200]])
    if run.objective.kind == "bins":
        pd.testing.assert_frame_equal(
            table.drop(columns="unlike")[:7], alone.drop(columns="unlike")[:7]
        )
    else:
        assert table["predicted"][0][:150] == alone["predicted"][0][:150]
        assert len(table["predicted"][0]) == 801
    assert table["unlike"].eq("length").all()


def test_global_model_without_training_length_is_refused(monkeypatch):
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    scorer = scorer_of(WHOLE[0])
    assert len(score_sequences(scorer, ["A" * 400])) == 1
    with pytest.raises(
        ValueError,
        match="a sequence has 401 positions, but the model can read at most 400, because its "
        "folder does not store the length of its training records",
    ):
        score_sequences(scorer, ["A" * 401])


def test_ensemble_has_largest_reach_of_members():
    scorers = [scorer_of(bins()), scorer_of(bins(kind="dilated", dilations=(1, 3)))]
    assert Tiling.of(Ensemble(tuple(scorers))).overlap == 100
    assert not Tiling.of(Ensemble((scorers[0], scorer_of(WHOLE[-1])))).exact


def test_sequence_objectives_have_no_reach():
    run = config.RunFile(
        data=config.Data(positives=("a",), negatives=("b",)),
        model=config.AttentionModel(pattern={"kind": "window"}),
    )
    assert reach_of(run) is None
