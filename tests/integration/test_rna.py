"""Run a task of RNA: a word on the given strand, which its reverse complement must not explain."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from letters import ascii_of
from small_task import random_texts, read_json, read_tsv, run_steps, small, write_fasta

import selfattn_bio as sb
from selfattn_bio.motifs import matching
from selfattn_bio.sequence.alphabet import RNA

pytestmark = pytest.mark.slow

WORD, REVERSE = "UGUAAAUA", "UAUUUACA"  # a site of Pumilio, and its reverse complement
RUN = """
data = { alphabet = "rna", positives = "positives.fa", negatives = "negatives.fa" }
split.kind = "random"
tokens.k = 1
interpret = { database = "rna.meme", max_sequences = 120, method = { kind = "attnlrp" } }
stack.parts = ["motif_scores"]
training = { max_steps = 120, batch_size = 64, learning_rate = 5e-3, warmup_steps = 10, shift = 0 }
[model]
feedforward_dim = 32
stem = { kind = "conv", token_dim = 8, kernel = 9, pool = 1, second_kernel = 3 }
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("rna"), np.random.default_rng(0)
    texts = random_texts(rng, 800, 30, 50, "ACGU")
    words = [WORD] * 400 + [REVERSE] * 400
    starts = rng.integers(0, 22, 800)
    texts = [t[:i] + word + t[i + 8 :] for t, word, i in zip(texts, words, starts, strict=True)]
    rows = "\n".join(" ".join(str(float(each == base)) for each in "ACGU") for base in WORD)
    others = "".join(
        f"MOTIF other{i}\nletter-probability matrix: alength= 4 w= 7\n"
        + "\n".join(" ".join(f"{p:.6f}" for p in row) for row in rng.dirichlet([0.3] * 4, 7))
        + "\n"
        for i in range(30)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(type(RNA), "reverse_complement", _no_other_strand)
        Path("rna.meme").write_text(
            f"MEME version 4\n\nALPHABET= ACGU\n\nMOTIF PUM2\n"
            f"letter-probability matrix: alength= 4 w= 8\n{rows}\n{others}"
        )
        Path("run.toml").write_text(small(RUN, "training.evaluate_every = 60"))
        for name, part in (("positives", texts[:400]), ("negatives", texts[400:])):
            write_fasta(f"{name}.fa", part)
        run_steps("ingest split audit train evaluate explain motifs interactions report")
    return folder


def _no_other_strand(alphabet, letters):
    raise AssertionError(f"reverse complement of {alphabet.name}")


def test_rna_motif_is_shown_with_u_on_one_strand(results):
    motif = read_tsv(results / "motifs.tsv").iloc[0]
    assert WORD[:7] in motif["consensus"]
    assert motif["match"] == "PUM2"
    assert motif["verdict"] == "supported"
    assert np.isnan(motif["strand_q"])
    assert "ALPHABET= ACGU\n" in (results / "motifs.meme").read_text()
    assert set(read_tsv(results / "marginals.tsv")["strand"]) == {"+"}
    page = (results / "report.html").read_text().partition("Run file of this task")[0]
    assert " nt" in page
    assert not any(word in page for word in (" bp", "either strand", "TGTA"))
    metrics = read_json(results / "metrics.json")["test"]
    assert metrics["model"]["auroc"]["value"] > 0.9
    assert metrics["baselines"]["motif_scores"]["auroc"]["value"] > 0.9


def test_rna_sites_of_pairs_are_on_the_given_strand(results, monkeypatch):
    seen = []
    monkeypatch.chdir(results)
    monkeypatch.setattr(
        matching, "relevant_hits", lambda hits, attribution: seen.append(hits) or hits
    )
    sb.Study("run.toml").find_interactions("rna.meme")
    assert pd.concat(seen)["name"].nunique() > 2
    assert set(pd.concat(seen)["strand"]) == {"+"}


def test_rna_effect_is_that_of_the_given_strand(results):
    model = sb.load(results / "model")
    assert 50 >= model.longest_record > model.record_length
    texts = random_texts(np.random.default_rng(1), 20, 40, letters="ACGU")
    found = sb.marginalize(model, texts, WORD, starts=[16], shuffle=False)
    inserted = [[text[:16] + word + text[24:] for text in texts] for word in (WORD, REVERSE)]
    rows = [[ascii_of(text) for text in each] for each in (texts, *inserted)]
    before, *after = map(model.log_odds, rows)
    effects = [(each - before).mean() for each in after]
    assert found.curves["effect"].tolist() == pytest.approx(effects[:1])
    assert effects[0] > 1 > 0 > effects[1]
    assert found.table["marginal"].item() == pytest.approx(effects[0])


def test_rna_substitutions_have_u(results, tmp_path):
    path = tmp_path / "new.fa"
    path.write_text(f">r1\nACGTAC{WORD}GGCAACGUUGCA\n")  # T is read as U
    found = sb.score_substitutions(results / "model", path, "r1", motifs=results / "rna.meme")
    assert set(found.table["ref"]) == set(found.table["alt"]) == set("ACGU")
    in_word = found.table[found.table["pos"].between(7, 14)]
    assert in_word["motifs_lost"].str.contains("PUM2").mean() > 0.5
    labels = [label.get_text() for label in found.plot().axes[1].get_yticklabels()]
    assert labels == list("ACGU")
    hits = sb.hits(results / "rna.meme", [f"GGG{WORD}GGG", f"GGG{REVERSE}GGG"], hit_p=1e-4)
    assert hits.loc[hits["name"] == "PUM2", ["chrom", "strand"]].to_numpy().tolist() == [["0", "+"]]
