"""The encoder that ships for [transfer] parent = "motifs", and the script that rebuilds it."""

import hashlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.model.checkpoint import SEEN, read_provenance
from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.scores import ScoreMatrices
from selfattn_bio.scoring.scorer import load

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "selfattn_bio/models/motifs"
SCRIPT = ROOT / "data/make_motif_parent.py"


def rebuild(output):
    command = [sys.executable, SCRIPT, "--steps", "3", "--motifs", "8", "--output", output]
    subprocess.run(command, check=True, capture_output=True)
    return output


@pytest.mark.slow
def test_script_twice_same_weights(tmp_path):
    first, second = (rebuild(tmp_path / name) for name in ("first", "second"))
    weights = [read_provenance(folder)["weights_sha256"] for folder in (first, second)]
    assert weights[0] == weights[1]
    columns = load(first).run.objective.columns
    assert columns[0].endswith(" above 50 %")
    assert len(columns) % 3 == 0


def test_parent_origin():
    provenance = read_provenance(SHIPPED)
    (source,) = provenance["data"]
    assert source["sha256"] == hashlib.sha256((ROOT / source["path"]).read_bytes()).hexdigest()
    assert source["records"] == len(open_database("jaspar:vertebrates"))
    assert "CC BY 4.0" in source["source"]
    assert len(pd.read_parquet(SHIPPED / SEEN)) == 0
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 5e6


def test_parent_predicts_best_hits(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    script = importlib.import_module("make_motif_parent")
    model, database = load("motifs"), open_database("jaspar:vertebrates")
    columns = model.run.objective.columns
    labels = [name.removesuffix(" above 85 %") for name in columns if name.endswith(" above 85 %")]
    motifs = {label: database[label] for label in labels}
    rng = np.random.default_rng(1)
    codes = script.plant(rng, script.background(rng, 400, 100), motifs)
    letters = list(np.frombuffer(b"ACGT", np.uint8)[codes])
    found = model.outputs(letters)[:, len(labels) : 2 * len(labels)]
    exact = ScoreMatrices.of(motifs).scores(letters)[:, : len(labels)]
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(found.T, exact.T, strict=True)]
    assert (
        np.mean(correlations) > 0.4
    )  # 0.49 measured on other sequences; 0 for an untrained network


def test_parent_names_no_machine():
    for name in ("provenance.json", "README.md", "run.toml"):
        assert not re.search(r"[\"'`\s]/\w", (SHIPPED / name).read_text(encoding="utf-8")), name
