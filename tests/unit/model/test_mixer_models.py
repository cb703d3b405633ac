"""Test every mixer in a model: run file, saving, training, counting, explanation and refusals."""

from typing import get_args

import numpy as np
import pytest
import torch
from learners import scorer_of

from selfattn_bio import config
from selfattn_bio.attribution.capture import has_attention, read_attention
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.methods import METHODS, AttnLRP, Gradient
from selfattn_bio.config.attention import MIXER_POSITIONS
from selfattn_bio.config.interpret import KNOWN_METHODS
from selfattn_bio.errors import RunFileError
from selfattn_bio.evaluation.card import _words
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import load_model, save_model
from selfattn_bio.model.encoder import build_encoder
from selfattn_bio.scoring.tiling import receptive_field
from selfattn_bio.training.transfer import start_from

SETTINGS = {"dynamic": {"block": 4, "top": 2}, "hierarchical": {"window": 4, "pool": 4}}
MIXERS = {
    kind: section(**SETTINGS.get(kind, {}))
    for section in get_args(get_args(config.AnyMixer)[0])
    if (kind := section.model_fields["kind"].default) != "softmax"
}
SMALL = {"members": 1, "embed_dim": 16, "num_layers": 2, "num_heads": 2, "feedforward_dim": 16}
SMALL |= {"dropout": 0.0, "stem": config.NoStemSection(), "position": config.NoPositionSection()}
CALIBRATED = {"slope": 1.0, "threshold": 0.5}


def model(kind, **settings):
    return config.AttentionModel(**SMALL | {"mixer": MIXERS[kind]} | settings)


def run_of(section, **sections):
    data = config.Data(positives=("a.fa",), negatives=("b.fa",))
    sections |= {"data": data, "tokens": config.Tokens(k=1), "variants": {}}
    return config.RunFile(model=section, **sections)


def sequences(*lengths):
    return ["".join(np.random.default_rng(n).choice(list("ACGT"), n)) for n in lengths]


@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_model_round_trip(kind, tmp_path):
    run = run_of(model(kind))
    torch.manual_seed(0)
    network = build_network(run).eval()
    save_model(tmp_path, run, network.state_dict(), {"calibration": CALIBRATED})
    torch.manual_seed(1)
    read, loaded, _ = load_model(tmp_path)
    tokens = torch.randint(4, 8, (2, 30))
    assert read.model == run.model
    assert torch.equal(loaded.eval()(tokens), network(tokens))
    assert _words(run) == f"self-attention encoder (2 layers, dimension 16, mixer {kind})"
    assert receptive_field(run) is None


def test_softmax_is_not_written_to_run_file():
    assert "mixer" not in run_of(config.AttentionModel()).model.model_dump()
    written = run_of(model("dynamic")).model.model_dump()["mixer"]
    assert written == {"kind": "dynamic", "block": 4, "top": 2}


@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_positions_can_be_built(kind):
    for section in get_args(get_args(config.AnyPosition)[0]):
        name = section.model_fields["kind"].default
        position = section(**({"max_length": 40} if name == "learned" else {}))
        if name in MIXER_POSITIONS:
            encoder = build_encoder(model(kind, position=position))
            assert encoder(torch.randn(2, 30, 16)).isfinite().all()
        else:
            with pytest.raises(ValueError, match=f"mixer '{kind}' does not support pos.* '{name}'"):
                model(kind, position=position)


@pytest.mark.parametrize("kind", MIXERS)
def test_mixer_conflicts_with_settings(kind):
    patterns = config.WindowPattern(), config.FullPattern(causal=True)
    for name, value in (*(("pattern", each) for each in patterns), ("kernel", "slab")):
        with pytest.raises(ValueError, match=f"mixer '{kind}' has no {name}; remove model.{name}"):
            model(kind, **{name: value})
    for method in ("received", "rollout"):
        message = rf"'{method}' needs the attention weights of mixer 'softmax'; mixer '{kind}' has"
        with pytest.raises(ValueError, match=message):
            run_of(model(kind), interpret={"method": {"kind": method}})


def test_attention_methods_refuse_mixers():
    reading = {name for name, method in METHODS.items() if not hasattr(method, "scores")}
    assert {kind for kind, (_, need) in KNOWN_METHODS.items() if need == "weights"} == reading


@pytest.mark.parametrize("kind", MIXERS)
def test_mixers_are_explained_by_gradients(kind):
    scorer = scorer_of(model(kind), k=1)
    assert not has_attention(scorer)
    with pytest.raises(ValueError, match=f"mixer '{kind}' does not compute attention weights"):
        read_attention(scorer, sequences(30))
    gradient, lrp = (
        explain(scorer, sequences(30, 20), method=method()) for method in (Gradient, AttnLRP)
    )
    for one, other in zip(gradient.hypothetical, lrp.hypothetical, strict=True):
        assert np.isfinite(one).all()
        assert np.abs(one).max() > 0
        assert not np.allclose(one, other)
    assert not gradient.attention.any()  # zero, as for a CNN


@pytest.mark.parametrize("kind", MIXERS)
def test_child_needs_parent_with_same_mixer(kind, tmp_path):
    run = run_of(model(kind))
    save_model(tmp_path, run, build_network(run).state_dict(), {"calibration": CALIBRATED})
    transfer = config.Transfer(parent=f"{tmp_path}/")
    start_from(build_network(run), run, transfer, "here")
    other = run_of(model(kind, mixer=config.SoftmaxMixer()))
    message = r"model.mixer is \{'kind': 'softmax'\}, but the parent has \{'kind': '\w+'"
    with pytest.raises(RunFileError, match=message):
        start_from(build_network(other), other, transfer, "here")
