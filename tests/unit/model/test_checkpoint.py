"""Test that a model folder loads as saved, and errors for missing, damaged or foreign parts."""

import json

import pytest
import torch
from safetensors import safe_open

from selfattn_bio import config
from selfattn_bio.errors import ModelFolderError
from selfattn_bio.model.build import build_network
from selfattn_bio.model.checkpoint import StackWeights, load_model, save_model

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


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_model_folder_round_trip(folder):
    run, network, provenance = load_model(folder)
    torch.manual_seed(0)
    expected = build_network(TINY)
    assert run.model == TINY.model
    assert run.tokens == TINY.tokens
    assert provenance["calibration"] == CALIBRATED
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), expected.state_dict().values(), strict=True)
    )
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}


def test_formula_leaves_out_a_constant_that_rounds_to_0():
    weights = {"network": 0.5, "motif_scores": 0.25}
    times = "\N{MULTIPLICATION SIGN}"
    formula = f"0.50 {times} network + 0.25 {times} motif_scores"
    for bias, constant in ((-0.004, ""), (-0.006, " - 0.01")):
        stored = StackWeights(weights=weights, bias=bias, weights_sha256="")
        assert stored.formula() == formula + constant


@pytest.mark.parametrize("part", ["model.safetensors", "run.toml", "provenance.json"])
def test_missing_file_is_named(folder, part):
    (folder / part).unlink()
    with pytest.raises(ModelFolderError, match=f"{part} is missing"):
        load_model(folder)


def test_truncated_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(
        ModelFolderError,
        match=r"weights do not match provenance.json: their sha256 is \w{12}, not \w{12}",
    ):
        load_model(folder)


def test_weights_that_do_not_fit_the_run_file(folder):
    rewrite(folder / "run.toml", "embed_dim = 8", "embed_dim = 16")
    with pytest.raises(
        ModelFolderError,
        match=r"weights do not fit the network of run.toml: .* has shape \(.*\), not \(.*\)",
    ):
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


def test_another_vocabulary(folder):
    rewrite(folder / "run.toml", "k = 2", "k = 3")
    with pytest.raises(
        ModelFolderError,
        match=r"vocabulary of run.toml \(\w{12}\) is not the one of the training \(\w{12}\)",
    ):
        load_model(folder)


def test_invalid_provenance_json(folder):
    (folder / "provenance.json").write_text("{")
    with pytest.raises(ModelFolderError, match=r"provenance\.json: cannot read this file"):
        load_model(folder)


def test_provenance_without_calibration(folder):
    path = folder / "provenance.json"
    path.write_text(
        json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "calibration"})
    )
    with pytest.raises(ModelFolderError, match=r"provenance\.json: calibration is missing"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_pickle_is_refused_with_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(
            ModelFolderError,
            match=f"'{name}' is a pickle, which can run code and is not opened",
        ):
            load_model(path)


@pytest.mark.parametrize(
    ("stored", "strands", "both"),
    [({}, None, False), ({"strands": "both"}, None, True), ({}, "both", True)],
)
def test_folders_without_strands_score_the_given_strand(tmp_path, stored, strands, both):
    run = config.RunFile.model_validate(
        TINY.model_dump()
        | {
            "training": {"reverse_complement": True},
            "evaluation": {"strands": strands} if strands else {},
        }
    )
    assert run.both_strands
    save_model(tmp_path, run, build_network(run).state_dict(), {"calibration": CALIBRATED | stored})
    assert load_model(tmp_path)[0].both_strands is both
