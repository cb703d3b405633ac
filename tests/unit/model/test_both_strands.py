"""Networks with `strands = "shared"` have the same output for both strands."""

import numpy as np
import pytest
import torch
from letters import ascii_of

from selfattn_bio import config
from selfattn_bio.model.build import build_network
from selfattn_bio.model.classifier import both_strands, mirrored
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.sequence.alphabet import DNA

SIZES = {"embed_dim": 16, "num_layers": 2, "num_heads": 2, "feedforward_dim": 16}
SMALL = {"kind": "attention", **SIZES}
NO_STEM = {"kind": "none"}
CONV = {"kind": "conv", "token_dim": 6, "kernel": 5, "pool": 4, "second_kernel": 3}
BIGBIRD = {"kind": "bigbird", "window": 5, "block": 8, "num_global": 0}
MODELS = {
    "conv stem": {"stem": CONV},
    "record norm": {"stem": CONV | {"norm": "record"}},
    "tower stem": {"stem": {"kind": "tower", "channels": [8], "kernels": [5, 3], "pools": [2, 2]}},
    "cls head": {"stem": NO_STEM, "head": {"kind": "cls"}},
    "grouped keys": {"stem": NO_STEM, "num_kv_heads": 1},
    **{
        kind: {"stem": NO_STEM, "position": {"kind": kind}}
        for kind in ("none", "t5", "alibi", "rotary", "shaw", "transformer_xl", "sinusoidal")
    },
    "learned": {"stem": NO_STEM, "position": {"kind": "learned", "max_length": 96}},
    "causal": {"stem": NO_STEM, "pattern": {"kind": "full", "causal": True}},
    "window": {"stem": NO_STEM, "pattern": {"kind": "window", "window": 5, "num_global": 1}},
    "bigbird": {"stem": NO_STEM, "pattern": BIGBIRD},
    "cnn": {"kind": "cnn", "channels": [4, 4, 4], "kernels": [5, 3, 3], "hidden_dim": 8},
}


def run_of(name, k=1, strands="shared"):
    model = ({} if "kind" in MODELS[name] else SMALL) | MODELS[name]
    model |= {"members": 2, "strands": strands}
    sections = {"data": {"positives": "a", "negatives": "b"}, "tokens": {"k": k}, "variants": {}}
    return config.RunFile.model_validate(sections | {"model": model})


def trained(run):
    """A scorer with random weights and with statistics in its batch norms."""
    torch.manual_seed(0)
    network = build_network(run).double().train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for _ in range(3):
            network(torch.randint(4, 4 + 4**run.tokens.k, (16, 60)))
    return scorer_of(run, network.eval())


def sequences(lengths=(30, 37, 44, 61, 90)):
    """Records of odd and even lengths with some N."""
    rng = np.random.default_rng(0)
    return [rng.choice(ascii_of("ACGT" * 6 + "N"), length) for length in lengths]


def other_strand(letters):
    return [DNA.reverse_complement(row) for row in letters]


def test_mirrored_reverses_tokens_and_keeps_padding():
    x = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])[..., None]
    expected = [[3, 2, 1, 0, 0], [8, 7, 6, 5, 4]]
    assert mirrored(x, x[..., 0] > 0)[..., 0].tolist() == expected
    assert mirrored(x[1:], x[1:, :, 0] > 0)[..., 0].tolist() == expected[1:]


def test_both_strands_alternate_in_the_batch():
    x = torch.tensor([[[1, -1], [2, -2], [0, 0]], [[3, -3], [4, -4], [5, -5]]])
    rows, mask = both_strands(x, x[..., 0] > 0)
    assert rows[..., 0].tolist() == [[1, 2, 0], [-2, -1, 0], [3, 4, 5], [-5, -4, -3]]
    assert mask.sum(1).tolist() == [2, 2, 3, 3]


WITH_KMERS = [(name, 3) for name in ("conv stem", "t5", "causal", "cnn")]


@pytest.mark.parametrize(("name", "k"), [*((name, 1) for name in MODELS), *WITH_KMERS])
def test_output_equals_the_other_strand(name, k):
    scorer = trained(run_of(name, k))
    letters = sequences()
    assert len(list(scorer.batches(letters))) == 1  # with padding
    forward, backward = map(scorer.network_outputs, (letters, other_strand(letters)))
    np.testing.assert_allclose(forward, backward, rtol=0, atol=1e-10)
    alone = [scorer.network_outputs([row])[0] for row in letters]
    np.testing.assert_allclose(forward, alone, rtol=0, atol=1e-8)
    assert np.ptp(forward[:, 0]) > 1e-3


@pytest.mark.parametrize("name", ["conv stem", "cls head", "t5", "causal", "cnn"])
def test_weights_without_sharing_depend_on_the_strand(name):
    shared, run = trained(run_of(name)), run_of(name, strands="given")
    plain = build_network(run).double().eval()
    plain.load_state_dict(shared.network.state_dict())
    given = scorer_of(run, plain)
    forward, backward = given.logits(sequences()), given.logits(other_strand(sequences()))
    assert np.abs(forward - backward).max() > 1e-4
    found = shared.logits(sequences())
    np.testing.assert_allclose(found, (forward + backward) / 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["conv stem", "cls head", "window"])
def test_encode_swaps_halves_and_mirrors_positions(name):
    scorer = trained(run_of(name))
    letters = sequences()
    forward, mask = scorer.network.encode(scorer.tokens_of(letters))
    backward, _ = scorer.network.encode(scorer.tokens_of(other_strand(letters)))
    places = -(-90 // scorer.run.output_stride)
    assert forward.shape == (5, places, 2 * 2 * 16)
    assert mask.sum(1).tolist() == [-(-len(row) // scorer.run.output_stride) for row in letters]
    swapped = torch.cat(backward.chunk(2, -1)[::-1], -1)
    torch.testing.assert_close(forward[mask], mirrored(swapped, mask)[mask], rtol=0, atol=1e-10)
    assert not torch.allclose(*forward.chunk(2, -1))


def test_training_gradient_equals_the_other_strand():
    stem = config.ConvStemSection()
    model = config.AttentionModel(**SIZES, stem=stem, dropout=0, strands="shared")
    scorer = trained(run_of("conv stem").model_copy(update={"model": model}))
    found = []
    for letters in (sequences(), other_strand(sequences())):
        scorer.network.zero_grad()
        scorer.network(scorer.tokens_of(letters)).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in scorer.network.parameters()])
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)
    assert found[0][-1].abs().max() > 1e-3
