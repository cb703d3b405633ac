"""Test raw attention: what letters receive, rollout, between spans, and maps."""

import numpy as np
import pytest
import torch
from dense_weights import dense_weights
from learners import CNN, NO_STEM, SEQUENCES, SMALL, WINDOW_CLS, scorer_of
from letters import ascii_of

from selfattn_bio.attribution.capture import read_attention
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import Received
from selfattn_bio.attribution.targets import Target

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
