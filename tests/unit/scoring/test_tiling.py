"""Test tiles and scores of long sequences: equal to one pass, or in tiles of training length."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from genome_models import SMALL, random_letters, run_file
from hypothesis import given
from hypothesis import strategies as st

from selfattn_bio import config
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.scorer import Ensemble, Scorer
from selfattn_bio.scoring.table import score_sequences
from selfattn_bio.scoring.tiling import Tiling, receptive_field, tiles
from selfattn_bio.scoring.tracks import score_genome
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import tokenizer_of


def labels_run(**model):
    """Return a run with the objective "labels"; a window of 5 and no stem by default."""
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
    extra=st.integers(0, 60),
    step=st.integers(1, 9),
)
def test_tile_cores_cover_sequence_once(length, overlap, extra, step):
    size = 2 * overlap + step + extra
    found = list(tiles(length, size, overlap, step))
    covered = [position for tile in found for position in range(tile.first, tile.last)]
    assert covered == list(range(length))
    for tile in found:
        assert tile.end - tile.start <= size
        assert tile.start % step == 0
        assert tile.start == 0 or tile.first - tile.start >= overlap
        assert tile.end == length or tile.end - tile.last >= overlap


def test_tiles_of_docstring():
    assert [tuple(tile) for tile in tiles(10, 6, 1)] == [(0, 6, 0, 5), (4, 10, 5, 10)]


TOWER = {"kind": "tower", "token_dim": 4, "channels": (6,), "kernels": (7, 3), "pools": (5, 2)}
TOWER["residual_kernel"] = 3


def bins_run(tokens=None, kind="attention", **model):
    """Return a run with the objective "bins"; a tower stem and a window of 3 by default."""
    model = {"kind": kind, "embed_dim": 8, "stem": TOWER} | model
    if kind == "attention":
        model = SMALL | {"num_layers": 2, "pattern": {"kind": "window", "window": 3}} | model
    data, objective = config.Data(sequences=("a.fa",)), config.BinsObjective(points="p.bed", bin=20)
    return config.RunFile(data=data, tokens=tokens or {"k": 1}, objective=objective, model=model)


LIMITED = [  # runs with a limited receptive field, and its size in tokens
    (labels_run(), 10),
    (labels_run(position={"kind": "rotary"}), 10),
    (labels_run(pattern={"kind": "window", "window": 2, "dilation": 3}), 12),
    (labels_run(stem=CONV, pattern={"kind": "window", "window": 2}), 25),
    # second stage: (6 + 1 + 1) * 2 - 1 + 1 = 16; first stage: (16 + 1) * 5 - 1 + 3 = 87
    (bins_run(), 87),
    (bins_run(kind="dilated", dilations=(1, 3)), 67),
    (bins_run({"k": 3, "stride": 2}, stem=CONV | {"pool": 5}), 41),
]
UNLIMITED = [
    labels_run(pattern={"kind": "full"}),
    labels_run(pattern={"kind": "window", "window": 5, "num_global": 1}),
    labels_run(pattern={"kind": "block_local", "block": 8}),
    labels_run(position={"kind": "sinusoidal"}),
    labels_run(stem=CONV | {"norm": "record"}),
    bins_run(pattern={"kind": "window", "window": 3, "num_global": 1}),
]


def record_passes(scorer, monkeypatch):
    """Return a list to which each pass of the network will append its number of tokens."""
    lengths, run = [], scorer.network.forward
    forward = lambda tokens: lengths.append(tokens.shape[1]) or run(tokens)  # noqa: E731
    monkeypatch.setattr(scorer.network, "forward", forward)
    return lengths


@pytest.mark.parametrize(("run", "field"), LIMITED)
def test_tiled_scores_equal_one_pass(run, field, monkeypatch):
    """The passes are short, and without an overlap the scores differ."""
    assert receptive_field(run) == field
    scorer, letters = scorer_of(run), random_letters(2011)
    predict, texts = partial(scorer.objective.read, scorer), [letters.tobytes().decode()]
    one_pass, table = predict([letters])[0], score_sequences(scorer, texts)
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    tiling = Tiling.of(scorer)
    assert tiling.exact
    lengths = record_passes(scorer, monkeypatch)
    short, tiled = tiling.read([letters[:50], letters], predict)
    np.testing.assert_allclose(tiled, one_pass, rtol=0, atol=1e-5)
    assert len(short) == 50 // tiling.unit
    assert len(lengths) > 4
    assert max(lengths) <= tiling.size < 1000
    pd.testing.assert_frame_equal(score_sequences(scorer, texts), table, rtol=1e-4)
    without_overlap = replace(tiling, size=tiling.step * 8, longest=0, overlap=0)
    assert np.abs(without_overlap.read([letters], predict)[0] - one_pass).max() > 1e-3


@pytest.mark.parametrize("run", UNLIMITED)
def test_global_models_read_tiles_of_training_length(run, monkeypatch, caplog, tmp_path):
    """The core of the first tile has the same scores as that tile alone."""
    assert receptive_field(run) is None
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    trained = Reference(DNA, np.zeros((1, 4), np.float32), 0.0, np.array([1, 200, 1, -1, 1]))
    scorer = replace(scorer_of(run), reference=trained)
    text = random_letters(801).tobytes().decode()
    lengths = record_passes(scorer, monkeypatch)
    score_sequences(scorer, [text[:800]])
    assert max(lengths) == 800
    assert not caplog.messages
    lengths.clear()
    table = score_sequences(scorer, [text])
    assert max(lengths) == 200
    (message,) = caplog.messages
    long = "sequences longer than 800 positions, such as '0', are read in windows of 200, "
    assert message.startswith(long)
    alone = score_sequences(scorer, [text[:200]])
    if run.objective.kind == "bins":
        first, expected = (each[:7].drop(columns="out_of_distribution") for each in (table, alone))
        pd.testing.assert_frame_equal(first, expected)
    else:
        assert table["predicted"][0][:150] == alone["predicted"][0][:150]
        assert len(table["predicted"][0]) == 801
    assert table["out_of_distribution"].eq("length").all()
    (tmp_path / "g.fa").write_text(f">chr1\n{text}\n")
    score_genome(scorer, tmp_path / "g.fa", tmp_path / "x")
    assert any("chromosomes are read in windows of 200, " in each for each in caplog.messages)


def test_global_model_without_training_length_is_refused(monkeypatch):
    monkeypatch.setattr("selfattn_bio.scoring.tiling.BATCH_LETTERS", 100)
    scorer = scorer_of(UNLIMITED[0])
    assert len(score_sequences(scorer, ["A" * 400])) == 1
    with pytest.raises(ValueError, match="a sequence has 401 positions, but the model can read"):
        score_sequences(scorer, ["A" * 401])


def test_ensemble_has_largest_field_of_members():
    scorers = [scorer_of(bins_run()), scorer_of(bins_run(kind="dilated", dilations=(1, 3)))]
    assert Tiling.of(Ensemble(tuple(scorers))).overlap == 100
    assert not Tiling.of(Ensemble((scorers[0], scorer_of(UNLIMITED[-1])))).exact


def test_sequence_objectives_have_no_limit():
    assert receptive_field(run_file(pattern={"kind": "window"}, stem={"kind": "none"})) is None
