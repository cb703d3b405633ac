"""Test the benchmark of published models with small ones."""

import importlib

import pytest
import torch
from pretrained_folders import make_folder
from safetensors.torch import load_file

GENES = {"H": {"human": {"A*01": "MK-T", "A*02": "MKS"}, "mouse": {"B*01": "MKW", "C*01": "MKT"}}}


@pytest.fixture
def pretrained(benchmarks):
    return importlib.import_module("pretrained")


def test_converted_weights_give_what_transformers_gives(pretrained, tmp_path):
    folder = make_folder(tmp_path / "protbert", "protbert")
    source = tmp_path / "antiberty"
    (source / "trained").mkdir(parents=True)
    (folder / "config.json").rename(source / "trained/config.json")
    (folder / "vocab.txt").rename(source / "vocab.txt")
    weights = load_file(folder / "model.safetensors")
    weights["cls.species.bias"] = torch.zeros(6)
    torch.save(weights, source / "trained/pytorch_model.bin")
    assert len(list(pretrained.convert(source, tmp_path / "model"))) == 1
    ours, theirs, _ = pretrained.masked_rows(tmp_path / "model", ["MKTAYIAKQRQISF", "GAVLC"] * 8)
    assert float(ours["largest difference of log p"]) < 1e-4
    assert ours["accuracy"] == theirs["accuracy"]


def test_v_genes_are_distinct_first_alleles(pretrained, tmp_path):
    path = tmp_path / "germlines.py"
    path.write_text(f"all_germlines = {{'J': {{}}, 'V': {GENES}}}\n")
    found = pretrained.v_genes(path, "H")
    assert found["sequence"].tolist() == ["MKT", "MKW"]
    assert found["label"].tolist() == [0, 1]
