"""Run a protein task from FASTA to report; negatives are longer and often begin with M."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfattn_bio.cli.main import main
from selfattn_bio.report import words

pytestmark = pytest.mark.slow

RUN = """
[data]
alphabet = "protein"
positives = "positives.fa"
negatives = "negatives.fa"
[split]
kind = "random"
[tokens]
k = 2
[model]
kind = "attention"
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 32
dropout = 0.0
members = 1
stem = { kind = "conv", token_dim = 8, kernel = 5, pool = 1, second_kernel = 3 }
[training]
max_steps = 40
batch_size = 32
learning_rate = 5e-3
warmup_steps = 10
evaluate_every = 40
shift = 0
[evaluation]
bootstraps = 20
gc_slices = 2
[interpret]
max_sequences = 5
[variants]
"""


def peptides(number: int, alphabet: str, first: str, rng: np.random.Generator) -> list[str]:
    return [first + "".join(rng.choice(list(alphabet), rng.integers(8, 30))) for _ in range(number)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("protein"), np.random.default_rng(0)
    classes = {
        "positives": peptides(80, "KRLAGIKK", "", rng),
        "negatives": peptides(80, "DESTLAGI", "M", rng),
    }
    classes["negatives"][:20] = peptides(20, "DESTLAGI", "", rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "run.toml").write_text(RUN)
        for name, texts in classes.items():
            (folder / f"{name}.fa").write_text(
                "".join(f">{name}{i}\n{text}\n" for i, text in enumerate(texts))
            )
        shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
        fasta = ["--fasta", "positives.fa", "negatives.fa", "--label", "1", "0"]
        for command in (
            ["ingest", *fasta, "--alphabet", "protein", "--output", "corpus"],
            ["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"],
            ["train", *shared, "--threads", "1", "--output", "model"],
            ["evaluate", *shared, "--model", "model", "--output", "."],
            ["explain", *shared, "--model", "model", "--output", "attribution"],
            [
                "motifs",
                *shared,
                "--model",
                "model",
                "--attribution",
                "attribution",
                "--output",
                ".",
            ],
            ["report", "--run-file", "run.toml", "--results", ".", "--output", "report.html"],
        ):
            assert main(command) == 0, command
    return folder


def test_protein_shortcut_baselines_are_reported(results: Path) -> None:
    metrics = json.loads((results / "metrics.json").read_text())
    baselines = metrics["test"]["baselines"]
    assert list(baselines) == ["length", "first_letter", "composition", "kmer2_logistic"]
    assert baselines["composition"]["auroc"]["value"] > 0.9
    # three of four negatives begin with M, no positive does
    assert 0.7 < baselines["first_letter"]["auroc"]["value"] < 1
    assert metrics["test"]["model"]["auroc"]["value"] > 0.9


def test_protein_slices_omit_gc(results: Path) -> None:
    slices = json.loads((results / "metrics.json").read_text())["slices"]
    assert list(slices) == ["length", "begins_with_m"]
    without, with_m = slices["begins_with_m"]
    assert with_m["positives"] == 0 < with_m["n"]
    assert with_m["model"] is None
    assert without["model"]["auroc"]["value"] > 0.9


def test_protein_residues_have_attributions(results: Path) -> None:
    with np.load(results / "attribution" / "attribution.npz") as arrays:
        assert arrays["hypothetical"].shape[2] == 20
        there = arrays["letters"] > 0
        assert (np.abs(arrays["hypothetical"]).sum(axis=2)[there] > 0).mean() > 0.9


def test_protein_motifs_have_no_match(results: Path) -> None:
    page, motifs = (
        (results / "report.html").read_text(),
        pd.read_csv(results / "motifs.tsv", sep="\t"),
    )
    assert motifs["match"].isna().all()
    assert words.motif_sentence(motifs) in page
    assert ("no database of protein motifs" in page) == (len(motifs) > 0)
    assert "first residue alone" in page
    assert "JASPAR" not in page.partition("Run file used for training")[0]
    assert "GC content" not in page
