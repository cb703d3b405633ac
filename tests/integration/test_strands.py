"""Canonical k-mers with undirected positions score both strands equally; others do not."""

import numpy as np
import pytest
import torch

from selfattn_bio import config
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attribution.rules import gradient_scores
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import tokenizer_of

SYMMETRIC = {name: {"kind": name} for name in ("t5", "alibi", "none")}
SYMMETRIC["t5"]["symmetric"] = True


REASON = unavailable_reason()
needs_band = pytest.mark.skipif(REASON is not None, reason=f"no band kernel here: {REASON}")


def scorer_of(position, canonical=True, pattern=None, kernel="auto", dtype=torch.float64):
    torch.manual_seed(0)
    model = {"kind": "attention", "stem": {"kind": "none"}, "position": position}
    model |= {"pattern": pattern or {"kind": "full"}, "kernel": kernel}
    # the fused kernels need heads of size 16
    model["embed_dim"] = 16 if dtype == torch.float64 else 64
    model["head"] = {"kind": "pooling", "parts": 1}
    sections = {"data": {"positives": "a", "negatives": "b"}, "model": model}
    sections["tokens"] = {"k": 3, "canonical": canonical}
    run = config.RunFile.model_validate(sections)
    network = build_network(run).to(dtype).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Scorer(run, tokenizer_of(run), network)


def both_strands(scorer):
    rng = np.random.default_rng(0)
    sequences = [
        rng.choice(np.frombuffer(b"ACGTN", dtype=np.uint8), length, p=[0.24] * 4 + [0.04])
        for length in (30, 90, 200)
    ]
    other = [DNA.reverse_complement(sequence) for sequence in sequences]
    return scorer.logits(sequences), scorer.logits(other)


WINDOW = {"kind": "window", "window": 20}
STRIDED = {"kind": "strided", "window": 5, "stride": 7}
PATTERNS = {"full": {"kind": "full"}, "window": WINDOW, "strided": STRIDED}


@pytest.mark.parametrize("kernel", ["auto", "reference", "slab"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("position", SYMMETRIC.values(), ids=SYMMETRIC)
def test_both_strands_score_the_same(position, pattern, kernel):
    forward, backward = both_strands(scorer_of(position, pattern=pattern, kernel=kernel))
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
    assert np.ptp(forward) > 0.01


@needs_band
@pytest.mark.parametrize(
    ("kernel", "name"),
    [("band", "full"), ("band", "window"), ("joint", "strided"), ("slab", "window")],
)
@pytest.mark.parametrize("position", SYMMETRIC.values(), ids=SYMMETRIC)
def test_both_strands_score_the_same_in_float32(position, name, kernel):
    settings = {"pattern": PATTERNS[name], "kernel": kernel, "dtype": torch.float32}
    forward, backward = both_strands(scorer_of(position, **settings))
    np.testing.assert_allclose(forward, backward, rtol=1e-5, atol=1e-6)
    assert np.ptp(forward) > 0.01


BIGBIRD = {"kind": "bigbird", "window": 5, "block": 8, "num_global": 0}
DIRECTIONAL = {
    "T5 of both directions": ({"kind": "t5"}, True, None),
    "Shaw": ({"kind": "shaw"}, True, None),
    "k-mers as they are": (SYMMETRIC["t5"], False, None),
    "causal": (SYMMETRIC["t5"], True, WINDOW | {"causal": True}),
    "global tokens": (SYMMETRIC["t5"], True, WINDOW | {"num_global": 1}),
    "blocks": (SYMMETRIC["t5"], True, {"kind": "block_local", "block": 16}),
    "BigBird": (SYMMETRIC["t5"], True, BIGBIRD),
}


@pytest.mark.parametrize(
    ("position", "canonical", "pattern"), DIRECTIONAL.values(), ids=DIRECTIONAL
)
def test_directional_models_score_strands_differently(position, canonical, pattern):
    forward, backward = both_strands(scorer_of(position, canonical, pattern))
    assert np.abs(forward - backward).max() > 1e-4


def test_attributions_of_other_strand_are_reversed():
    scorer = scorer_of(SYMMETRIC["t5"])
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", dtype=np.uint8), (1, 40))
    both = (letters, DNA.reverse_complement(letters))
    forward, backward = (gradient_scores(scorer, x) for x in both)
    np.testing.assert_allclose(forward[0], backward[0, ::-1, ::-1], atol=1e-6)
    assert np.abs(forward).max() > 1e-3
