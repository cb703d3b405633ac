"""Run a protein task from FASTA to report; negatives are longer and often begin with M."""

from pathlib import Path

import numpy as np
import pytest
from small_task import read_json, read_tsv, run_steps, small, write_fasta

from selfattn_bio.config.split import RandomSplit
from selfattn_bio.report import words

pytestmark = pytest.mark.slow

RUN = """
data = { alphabet = "protein", positives = "positives.fa", negatives = "negatives.fa" }
split.kind = "random"
tokens.k = 2
evaluation.gc_slices = 2
interpret.max_sequences = 5
training = { max_steps = 40, batch_size = 32, learning_rate = 5e-3, warmup_steps = 10, shift = 0 }
[model]
feedforward_dim = 32
stem = { kind = "conv", token_dim = 8, kernel = 5, pool = 1, second_kernel = 3 }
"""


PLANTED = """
data = { alphabet = "protein", positives = "positives.fa", negatives = "negatives.fa" }
split.kind = "random"
tokens.k = 1
interpret = { database = "prosite.dat", max_sequences = 120, method = { kind = "attnlrp" } }
training = { max_steps = 120, batch_size = 64, learning_rate = 5e-3, warmup_steps = 10, shift = 0 }
[model]
feedforward_dim = 32
stem = { kind = "conv", token_dim = 8, kernel = 9, pool = 1, second_kernel = 3 }
"""
PROSITE = """ID   NLS; PATTERN.
AC   PS00001;
PA   P-K(2)-[KR]-R-K-V.
//
ID   RGD; PATTERN.
AC   PS00016;
PA   R-G-D.
//
"""


def peptides(number, alphabet, first, rng):
    return [first + "".join(rng.choice(list(alphabet), rng.integers(8, 30))) for _ in range(number)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("protein"), np.random.default_rng(0)
    classes = {
        "positives": peptides(80, "KRLAGIKK", "", rng),
        "negatives": peptides(80, "DESTLAGI", "M", rng),
    }
    classes["negatives"][:20] = peptides(20, "DESTLAGI", "", rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("run.toml").write_text(small(RUN, "training.evaluate_every = 40"))
        for name, texts in classes.items():
            write_fasta(f"{name}.fa", texts)
        run_steps("ingest split train evaluate explain motifs report")
    return folder


def test_protein_shortcut_baselines_are_reported(results):
    metrics = read_json(results / "metrics.json")
    baselines = metrics["test"]["baselines"]
    shown = ["length", "first_letter", "composition", "kmer2_logistic", "kmer2_trees"]
    assert list(baselines) == shown
    assert baselines["composition"]["auroc"]["value"] > 0.9
    # three of four negatives begin with M, no positive does
    assert 0.7 < baselines["first_letter"]["auroc"]["value"] < 1
    assert metrics["test"]["model"]["auroc"]["value"] > 0.9


def test_protein_groups_omit_gc(results):
    groups = read_json(results / "metrics.json")["groups"]
    assert list(groups) == ["length", "begins_with_m"]
    with_m, without = groups["begins_with_m"]["groups"]
    assert (with_m["group"], without["group"]) == ("M", "another")
    assert with_m["positives"] == 0 < with_m["n"]
    assert with_m["model"] is None
    assert without["model"]["auroc"]["value"] > 0.9


def test_protein_residues_have_attributions(results):
    with np.load(results / "attribution" / "attribution.npz") as arrays:
        assert arrays["hypothetical"].shape[2] == 20
        there = arrays["letters"] > 0
        assert (np.abs(arrays["hypothetical"]).sum(axis=2)[there] > 0).mean() > 0.9


def test_protein_motifs_have_no_match(results):
    page, motifs = (results / "report.html").read_text(), read_tsv(results / "motifs.tsv")
    assert motifs["match"].isna().all()
    assert words.motif_sentence(motifs, RandomSplit(), ()) in page
    assert ("no database of protein motifs" in page) == (len(motifs) > 0)
    assert "first residue alone" in page
    assert "JASPAR" not in page.partition("Run file of this task")[0]
    assert "GC content" not in page


def test_a_planted_motif_is_found_and_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    texts = peptides(800, "ACDEFGHIKLMNPQRSTVWY", "", rng)
    planted = [text[:4] + f"PKK{rng.choice(list('KR'))}RKV" + text[4:] for text in texts[:400]]
    shuffled = ["".join(rng.permutation(list(text))) for text in planted]
    write_fasta("positives.fa", planted)
    write_fasta("negatives.fa", shuffled)
    Path("prosite.dat").write_text(PROSITE)
    Path("run.toml").write_text(small(PLANTED, "training.evaluate_every = 40"))
    run_steps("ingest split train evaluate explain motifs report")
    motif = read_tsv("motifs.tsv").iloc[0]
    shown = ["consensus", "match", "verdict"]
    assert motif[shown].tolist() == ["PKK[KR]RKV", "NLS (PS00001)", "supported"]
    page = Path("report.html").read_text()
    assert "Matches are from prosite.dat" in page
    assert words.motif_sentence(read_tsv("motifs.tsv"), RandomSplit(), ()) in page
    assert "NLS (PS00001), best match" in page
