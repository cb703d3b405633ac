"""Test that a model folder loads as saved, and errors for missing, damaged or foreign parts."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from selfattn_bio import config
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import StackWeights, load_model, save_model
from selfattn_bio.report.tables import stack_table

TINY = config.RunFile(
    data=config.Data(positives=("a.fa",), negatives=("b.fa",)),
    tokens=config.Tokens(k=2),
    model=config.AttentionModel(embed_dim=8, num_layers=1, num_heads=2, feedforward_dim=8),
)

CALIBRATED = {"slope": 0.5, "intercept": 0.25, "threshold": 0.4}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path, TINY, build_network(TINY).state_dict(), {"calibration": CALIBRATED})
    return tmp_path


def rewritten(old, new):
    """Return a function that replaces text of a file."""

    def rewrite(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return rewrite


def test_model_folder_round_trip(folder):
    run, network, provenance = load_model(folder)
    torch.manual_seed(0)
    expected = build_network(TINY)
    assert run.model == TINY.model
    assert run.tokens == TINY.tokens
    assert provenance["calibration"] == CALIBRATED
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=0, atol=0)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}


def test_formula_leaves_out_a_constant_that_rounds_to_0():
    weights = {"network": 0.5, "motif_scores": 0.25}
    times = "\N{MULTIPLICATION SIGN}"
    formula = f"0.50 {times} network + 0.25 {times} motif_scores"
    for bias, constant in ((-0.004, ""), (-0.006, " - 0.01")):
        stored = StackWeights(weights=weights, bias=bias, weights_sha256="")
        assert stored.formula() == formula + constant


def test_formula_of_outputs_that_differ_has_no_weights():
    weights = {"network": [0.5, 1.0], "motif_scores": [63.75, 0.0]}
    stored = StackWeights(weights=weights, bias=[0.0, 0.0], weights_sha256="")
    assert stored.formula() == "network + motif_scores, with different weights for each output"
    (first, second) = (row.cells for row in stack_table(stored, ["liver", "heart"]).rows)
    assert first == {"output": "liver", "network": "0.50", "motif_scores": "63.75"}
    assert second == {"output": "heart", "network": "1.00", "motif_scores": "0.00"}
    assert not stack_table(None, ["liver"]).rows


def truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    ("part", "damage", "message"),
    [
        *(
            (part, Path.unlink, f"{part} is missing")
            for part in ("model.safetensors", "run.toml", "provenance.json")
        ),
        ("model.safetensors", truncate, r"file of the weights \(\w{12}\) is not the one of the"),
        (
            "run.toml",
            rewritten("embed_dim = 8", "embed_dim = 16"),
            r"weights do not fit the network of run.toml: .* has shape \(.*\), not \(.*\)",
        ),
        ("run.toml", rewritten("num_layers = 1", "num_layers = 2"), r"has shape none, not \(.*\)"),
        ("run.toml", rewritten("k = 2", "k = 3"), r"vocabulary of run.toml \(\w{12}\) is not the"),
    ],
)
def test_damaged_folder_names_the_part(folder, part, damage, message):
    damage(folder / part)
    with pytest.raises(ModelFolderError, match=message):
        load_model(folder)


def test_missing_folder_of_a_pretrained_model(folder):
    model = config.PretrainedModel(folder=str(folder))
    save_model(folder, config.RunFile(data=TINY.data, model=model), {}, {"calibration": CALIBRATED})
    shutil.rmtree(folder / "pretrained")
    with pytest.raises(ModelFolderError, match=r"folder 'pretrained' is missing; run\.toml"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.to(torch.complex64), "has type torch.complex64, not torch.float32"),
        (lambda weight: weight.bool(), "has type torch.bool, not torch.float32"),
        (lambda weight: weight * torch.nan, "has values that are not finite"),
    ],
)
def test_weights_of_a_wrong_type_or_value(folder, change, message):
    weights = build_network(TINY).state_dict()
    name = list(weights)[-1]
    save_model(folder, TINY, weights | {name: change(weights[name])}, {"calibration": CALIBRATED})
    with pytest.raises(ModelFolderError, match=rf"model\.safetensors: weight {name} {message}"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_pickle_is_refused_with_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(ModelFolderError, match=f"'{name}' is a pickle, which can run code"):
            load_model(path)


def test_weights_without_memory_are_not_random(folder, monkeypatch):
    """Random numbers on torch's device `meta` import its compiler, which takes over a second."""
    monkeypatch.setattr("torch._refs.normal", None)  # a call would fail
    load_model(folder)
