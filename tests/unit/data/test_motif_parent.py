"""The encoder that ships for [transfer] parent = "motifs", and the script that rebuilds it."""

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fast_python import fast_python
from letters import BASES, ascii_of, ppm_of

from selfattn_bio.model.checkpoint import TRAINING_RECORDS, read_provenance
from selfattn_bio.motifs import open_database
from selfattn_bio.motifs.scores import ScoreMatrices
from selfattn_bio.scoring.loading import load
from selfattn_bio.sequence.alphabet import DNA

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "selfattn_bio/models/motifs"
SMALL = "import make_motif_parent as made; made.CALIBRATION = 640; made.main()"
OPTIONS = ["--steps", "3", "--motifs", "8", "--output"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data"))
    return importlib.import_module("make_motif_parent")


def exact_hits(motifs, codes):
    return ScoreMatrices.from_probabilities(motifs).scores(list(BASES[codes]))[:, : len(motifs)]


def test_script_twice_same_weights(script, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(script, "CALIBRATION", 640)
    monkeypatch.setattr(sys, "argv", ["make_motif_parent.py", *OPTIONS, str(first)])
    script.main()
    # another process has other hashes
    command = [fast_python(), "-c", SMALL, *OPTIONS, second]
    subprocess.run(command, cwd=ROOT / "data", check=True)
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
    assert len(pd.read_parquet(SHIPPED / TRAINING_RECORDS)) == 0
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 5e6


def test_parent_run_file_describes_its_training(script):
    training, provenance = load("motifs").run.training, read_provenance(SHIPPED)
    assert training.max_steps == provenance["best_step"]
    assert training.max_steps * training.batch_size == provenance["num_train"]
    rates = training.learning_rate, training.warmup_steps, training.ema_decay
    assert rates == (script.RATE, script.WARMUP, script.AVERAGE)
    targets = script.Targets(None, *(torch.ones(3) for _ in range(4)))
    assert script.run_file(["a"], targets, training.max_steps).training == training


def test_changed_matrices_are_refused(script, tmp_path, monkeypatch):
    lines = script.CHECKSUMS.read_text(encoding="utf-8")
    _, checksum = script.checked_database()
    changed = tmp_path / "checksums.sha256"
    changed.write_text(lines.replace(checksum, "0" * 64), encoding="utf-8")
    monkeypatch.setattr(script, "CHECKSUMS", changed)
    with pytest.raises(SystemExit, match="the matrices have changed"):
        script.checked_database()


def test_targets_are_standardised_excesses(script):
    motifs = dict(list(open_database("jaspar:vertebrates").items())[:5])
    rng = np.random.default_rng(0)
    plain, planted = script.background(rng, 200, 64), script.background(rng, 200, 64)
    script.plant(rng, planted, motifs)
    targets = script.Targets.fit(script.Hits(motifs, 4), plain, planted)
    found, of_tokens = targets(planted)
    quantiles = np.quantile(exact_hits(motifs, plain), script.QUANTILES, axis=0)
    excess = (exact_hits(motifs, planted)[:, None] - quantiles).clip(min=0)
    expected = (excess - excess.mean(0)) / (excess.std(0, ddof=1) + 0.001)
    np.testing.assert_allclose(found, expected.clip(max=script.LARGEST).reshape(200, -1), atol=0.01)
    assert of_tokens.shape == (200, 16, 5)
    best = of_tokens.amax(1).numpy()
    uncut = best < script.LARGEST_OF_TOKEN
    wanted = excess[:, script.TOKEN_LEVEL] / targets.token_scale.numpy()
    assert uncut.mean() > 0.5
    np.testing.assert_allclose(best[uncut], wanted[uncut], atol=0.01)


def test_planted_sites_are_on_both_strands(script, monkeypatch):
    monkeypatch.setattr(script, "SITES", 1)
    site = "GATTACA"
    other = DNA.reverse_complement(ascii_of(site)).tobytes().decode()
    motifs, empty = {"m": ppm_of(site)}, np.zeros((300, 30), np.uint8)
    codes = script.plant(np.random.default_rng(0), empty, motifs)
    texts = ["".join("ACGT"[code] for code in row) for row in codes]
    starts = ["A" * start for start in range(24)]
    records = [(start + each).ljust(30, "A") for each in (site, other) for start in starts]
    assert set(texts) <= {"A" * 30, *records}
    counts = [sum(each in text for text in texts) for each in (site, other)]
    assert min(counts) > 60
    assert sum(counts) / 300 == pytest.approx(script.PLANTED, abs=0.1)


def test_parent_predicts_best_hits(script):
    model, database = load("motifs"), open_database("jaspar:vertebrates")
    columns = model.run.objective.columns
    labels = [name.removesuffix(" above 85 %") for name in columns if name.endswith(" above 85 %")]
    motifs = {label: database[label] for label in labels}
    rng = np.random.default_rng(1)
    codes = script.plant(rng, script.background(rng, 400, 100), motifs)
    found = model.outputs(list(BASES[codes]))[:, len(labels) : 2 * len(labels)]
    exact = exact_hits(motifs, codes)
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(found.T, exact.T, strict=True)]
    # 0.49 measured on other sequences; 0 for an untrained network
    assert np.mean(correlations) > 0.4
