"""Compare the network of modules with the original, and DeepLIFT/SHAP with tangermeme."""

import sys

import numpy as np
import pytest
import torch
from test_attribution import CNN, PATTERNS, SMALL, V, network_of
from torch import nn
from torch.testing import assert_close

from selfattn_bio import config
from selfattn_bio.errors import MissingPackageError
from selfattn_bio.interpret.methods.deepliftshap import LONGEST, DeepLiftShap, references
from selfattn_bio.interpret.methods.modules import with_modules
from selfattn_bio.interpret.targets import Target
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import DNA, PROTEIN
from selfattn_bio.sequence.kmers import KmerTokenizer

CONV = config.ConvStemSection(token_dim=6, kernel=5, pool=3, second_kernel=3)
TOWER = config.TowerStemSection(token_dim=6, channels=(7,), kernels=(3, 3), pools=(2, 2))
POSITIONS = {
    "shaw": config.ShawPosition(max_distance=4),
    "transformer_xl": config.TransformerXLPosition(max_distance=6),
    "rotary": config.RotaryPosition(),
    "sinusoidal": config.SinusoidalPosition(),
}
SECTIONS = {
    "cnn": CNN,
    "conv": config.AttentionModel(**SMALL, stem=CONV),
    "tower": config.AttentionModel(**SMALL, stem=TOWER),
    "shared keys, cls": config.AttentionModel(
        **SMALL, stem=config.NoStemSection(), num_kv_heads=1, head=config.ClsHeadSection()
    ),
    **{
        name: config.AttentionModel(**SMALL, stem=config.NoStemSection(), position=position)
        for name, position in POSITIONS.items()
    },
    **{
        name: config.AttentionModel(**SMALL, stem=config.NoStemSection(), pattern=pattern)
        for name, pattern in PATTERNS.items()
    },
}


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS.keys())
def test_the_network_of_modules_equals_the_network(section):
    network = network_of(section).float()
    tokens = torch.randint(1, V, (3, 17), generator=torch.Generator().manual_seed(1))
    written = with_modules(network)
    with torch.no_grad():
        assert_close(written(tokens), network(tokens), atol=1e-5, rtol=1e-5)
    kinds = {type(module) for module in written.modules()}
    assert kinds & {nn.Softmax, nn.MaxPool1d}
    # the original network is unchanged
    assert not {type(module) for module in network.modules()} & {nn.Softmax, nn.MaxPool1d}


def scorer_of(alphabet=DNA, k=1, stem=None):
    run = config.RunFile.model_validate(
        {
            "data": {"alphabet": alphabet.name, "positives": "a", "negatives": "b"},
            "tokens": {"k": k},
            "model": {
                "kind": "attention",
                **SMALL,
                "stem": stem or {"kind": "conv", "token_dim": 6, "kernel": 5, "pool": 2},
            },
        }
    )
    torch.manual_seed(0)
    network = build_network(run).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Scorer(run, KmerTokenizer(alphabet, k), network)


class OneHot(nn.Module):
    """Network with one-hot letters (B, 4, L) as input and logits as output."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        embeddings = x.transpose(1, 2) @ self.network.embedding.weight[4:]
        return self.network.classify(embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool))


def test_deep_lift_shap_equals_tangermeme_called_directly():
    tangermeme = pytest.importorskip("tangermeme.deep_lift_shap")
    scorer, letters = scorer_of(), np.frombuffer(b"ACGTTGCATTACGGATCCAT", dtype=np.uint8)
    method = DeepLiftShap(shuffles=4, seed=3)
    (found,) = method.scores(scorer, [letters], Target())

    def one_hot(rows):
        return torch.from_numpy(
            (rows[..., None] == np.frombuffer(b"ACGT", dtype=np.uint8))
            .swapaxes(-1, -2)
            .astype(np.float32)
        )

    direct = tangermeme.deep_lift_shap(
        OneHot(with_modules(scorer.network, tangermeme.BilinearOp)),
        one_hot(letters[None]),
        references=one_hot(references(letters, 4, 2, 3))[None],
        hypothetical=True,
        device="cpu",
    )[0].T.numpy()
    np.testing.assert_allclose(found, direct - direct.mean(1, keepdims=True), atol=1e-5)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize(("alphabet", "k"), [(DNA, 3), (PROTEIN, 1)])
def test_deep_lift_shap_of_kmers_and_protein(alphabet, k):
    pytest.importorskip("tangermeme")
    scorer = scorer_of(alphabet, k)
    letters = [
        np.frombuffer(text, dtype=np.uint8) for text in (b"ACGTTGCATTACGGATCCAT", b"ACGANTTAC")
    ]
    found = DeepLiftShap(shuffles=2).scores(scorer, letters, Target())
    assert [rows.shape for rows in found] == [
        (20, len(alphabet.letters)),
        (9, len(alphabet.letters)),
    ]
    for rows in found:
        np.testing.assert_allclose(rows.sum(1), 0, atol=1e-5)
        assert np.abs(rows).max() > 1e-4


def test_deep_lift_shap_refusals(monkeypatch):
    pytest.importorskip("tangermeme")
    with pytest.raises(
        ValueError,
        match=f"method 'deep_lift_shap' supports at most {LONGEST:,}",
    ):
        DeepLiftShap().scores(
            scorer_of(), [np.full(2 * LONGEST + 10, ord("A"), dtype=np.uint8)], Target()
        )
    monkeypatch.setitem(sys.modules, "tangermeme.deep_lift_shap", None)
    with pytest.raises(
        MissingPackageError,
        match=r"needs the extra interpret .*pip install 'selfattn-bio\[interpret\]'",
    ):
        DeepLiftShap().scores(scorer_of(), [np.frombuffer(b"ACGT", dtype=np.uint8)], Target())
