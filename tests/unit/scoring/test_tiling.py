"""Tiles cover the whole once, and stitched outputs are those of one pass."""

import numpy as np
import pytest
import torch
from genome_models import SMALL, random_letters
from hypothesis import given
from hypothesis import strategies as st

from selfattn_bio import config
from selfattn_bio.model.classifier import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.tiling import reach_of, stitched_outputs, tiles
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import KmerTokenizer


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
        network(torch.randint(4, 8, (8, 64)))
    return Scorer(run, KmerTokenizer(DNA, k=run.tokens.k), network.eval())


@given(length=st.integers(0, 300), overlap=st.integers(0, 20), more=st.integers(0, 60), step=st.integers(1, 9))
def test_cores_cover_the_whole_once_and_keep_their_distance(length, overlap, more, step):
    size = 2 * overlap + step + more
    found = list(tiles(length, size, overlap, step))
    assert [place for tile in found for place in range(tile.first, tile.last)] == list(range(length))
    for tile in found:
        assert tile.end - tile.start <= size
        assert tile.start % step == 0
        assert tile.start == 0 or tile.first - tile.start >= overlap
        assert tile.end == length or tile.end - tile.last >= overlap


def test_the_worked_example_and_what_is_no_tile():
    assert [tuple(tile) for tile in tiles(10, 6, 1)] == [(0, 6, 0, 5), (4, 10, 5, 10)]
    for size, overlap, step in ((4, 2, 1), (8, 2, 5), (5, -1, 1)):
        with pytest.raises(ValueError, match="a tile must be larger than two overlaps and a step"):
            list(tiles(100, size, overlap, step))


@pytest.mark.parametrize(
    ("run", "reach"),
    [
        (labels(), 10),
        (labels(position={"kind": "rotary"}), 10),
        (labels(pattern={"kind": "window", "window": 2, "dilation": 3}), 12),
        (labels(stem=CONV, pattern={"kind": "window", "window": 2}), 25),
    ],
)
def test_stitched_outputs_are_those_of_one_pass(run, reach):
    assert reach_of(run) == reach
    scorer, letters = scorer_of(run), random_letters(301)
    whole = scorer.token_outputs([letters])[0]
    found = list(stitched_outputs(scorer, letters, size=2 * reach + 24))
    assert [first for first, _ in found] == np.cumsum([0, *(len(part) for _, part in found)])[:-1].tolist()
    assert len(found) > 5
    np.testing.assert_allclose(np.concatenate([part for _, part in found]), whole, rtol=0, atol=1e-5)
    less = np.concatenate([part for _, part in stitched_outputs(scorer, letters, size=2 * reach + 24, overlap=0)])
    assert np.abs(less - whole).max() > 1e-3


@pytest.mark.parametrize(
    "run",
    [
        labels(pattern={"kind": "full"}),
        labels(pattern={"kind": "window", "window": 5, "num_global": 1}),
        labels(pattern={"kind": "block_local", "block": 8}),
        labels(position={"kind": "sinusoidal"}),
        config.RunFile(data=config.Data(positives=("a",), negatives=("b",)), model=config.AttentionModel(pattern={"kind": "window"})),
    ],
)
def test_what_sees_the_whole_input_must_name_an_overlap(run):
    assert reach_of(run) is None
    with pytest.raises(ValueError, match="overlap must be given for a model whose outputs see the whole input, got none"):
        list(stitched_outputs(scorer_of(run), random_letters(100), size=50))
