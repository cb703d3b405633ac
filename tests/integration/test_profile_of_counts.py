"""Objective `profile` learns planted footprints, scans and variants agree, and bias is added."""

import json
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from scipy.spatial.distance import jensenshannon

from selfattn_bio import Study, explain, score_genome, score_sequences, score_variants
from selfattn_bio.attribution.methods import Saturation
from selfattn_bio.config import run_file_of
from selfattn_bio.errors import IntervalError
from selfattn_bio.objectives.profile import expected_counts
from selfattn_bio.sequence.genome import Genome

LENGTH, WIDTH, RECORDS, WORD = 96, 40, 120, b"TGACTCAT"
RUN = f"""
[data]
genome = "genome.fa"
sequences = "peaks.bed"
[split]
kind = "chromosome"
valid = ["chrB"]
test = ["chrC"]
[objective]
kind = "profile"
tracks = {{ cuts = ["plus.bw", "minus.bw"] }}
width = {WIDTH}
[tokens]
k = 1
[model]
kind = "attention"
members = 1
embed_dim = 16
num_layers = 1
num_heads = 2
feedforward_dim = 16
dropout = 0.0
[model.stem]
kind = "conv"
token_dim = 4
pool = 4
[training]
max_steps = 160
warmup_steps = 5
evaluate_every = 40
batch_size = 16
learning_rate = 0.01
shift = 4
reverse_complement = true
[stack]
parts = ["kmer6_linear", "kmer6_trees"]
[interpret]
database = "none"
[evaluation]
bootstraps = 20
block = 1000
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on records with a word whose 5' ends of both strands are next to it."""
    folder, rng = tmp_path_factory.mktemp("profile"), np.random.default_rng(0)
    peaks, fasta = [], []
    tracks = {
        strand: pyBigWig.open(str(folder / f"{strand}.bw"), "w") for strand in ("plus", "minus")
    }
    for file in tracks.values():
        file.addHeader([(f"chr{name}", RECORDS * LENGTH) for name in "ABC"])
    for name in "ABC":
        letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), RECORDS * LENGTH)
        rates = {strand: np.full(len(letters), 0.02) for strand in tracks}
        for start in range(0, len(letters), LENGTH):
            peaks.append(f"chr{name}\t{start}\t{start + LENGTH}")
            if rng.random() < 0.5:
                at = start + int(rng.integers(36, 52))
                letters[at : at + 8] = np.frombuffer(WORD, np.uint8)
                rates["plus"][at - 6 : at] += 1.0
                rates["minus"][at + 8 : at + 14] += 1.0
        for strand, file in tracks.items():
            counts = rng.poisson(rates[strand]).astype(float)
            file.addEntries(f"chr{name}", 0, values=counts, span=1, step=1)
        fasta.append(f">chr{name}\n{letters.tobytes().decode()}\n")
    for file in tracks.values():
        file.close()
    (folder / "genome.fa").write_text("".join(fasta))
    (folder / "peaks.bed").write_text("\n".join(peaks) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "run.toml").write_text(RUN)
        study = Study("run.toml")
        study.ingest(), study.split(), study.train(threads=1)
        study.evaluate()
    return folder


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(folder)
    return Study("run.toml")


def test_profile_is_learnt(study: Study):
    metrics = json.loads(study.root.metrics.read_text())
    model, baselines = (metrics["test"][key] for key in ("model", "baselines"))
    assert model["jsd"]["high"] < baselines["mean_profile"]["jsd"]["low"]
    assert model["pearson"]["low"] > 0.6
    assert {"mean_profile", "kmer6_linear", "kmer6_trees", "network"} < set(baselines)
    assert baselines["network"]["jsd"] == model["jsd"]
    assert model["mse"]["value"] < baselines["network"]["mse"]["value"] < 1.0
    assert len(metrics["shown"]) == 3
    study.write_report()
    assert "Observed and predicted profiles" in study.root.report.read_text()


def test_scan_and_variants_equal_outputs_by_hand(study: Study):
    model, genome = study.model, Genome("genome.fa")
    objective, flank = model.objective, (LENGTH - WIDTH) // 2
    regions = ["chrC:101-200", "chrC:11401-11520"]  # the last window is moved to the end
    score_genome(model, genome, "scan", regions=regions)
    middles = [68, 108, 148, 188, 11388, 11428, 11452]
    windows = [genome.fetch("chrC", at - flank, at - flank + LENGTH) for at in middles]
    counts = expected_counts(objective.read(model, windows)).reshape(-1, 2, WIDTH)
    for strand, name in enumerate(("plus", "minus")):
        track = pyBigWig.open(f"scan.genome.cuts.{name}.bw")
        found = track.values("chrC", 0, RECORDS * LENGTH, numpy=True)
        first, *inner, third, fourth, fifth, last = counts[:, strand]
        parts = first[32:], *inner, third[:12], fourth[12:], fifth, last[16:]
        expected = np.concatenate(parts)
        np.testing.assert_allclose(found[~np.isnan(found)], expected, rtol=1e-4)
        assert not np.isnan(found[100:200]).any()
    site = genome.fetch("chrC", 0, 5000).tobytes().find(WORD)
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    Path("a.vcf").write_text(f"{header}chrC\t{site + 2}\t.\tG\tA\t.\t.\t.\n")
    row = score_variants(model, genome, "a.vcf").iloc[0]
    start = site + 1 - LENGTH // 2
    ref = genome.fetch("chrC", start, start + LENGTH)
    alt = ref.copy()
    alt[LENGTH // 2] = ord("A")
    scores = score_sequences(model, [each.tobytes().decode() for each in (ref, alt)])
    for name in ("cuts", "cuts_shape"):
        assert row[f"effect_{name}"] == pytest.approx(np.diff(scores[name])[0], abs=1e-5)
    assert row["effect_cuts"] < -0.3
    profiles = expected_counts(objective.read(model, [ref, alt]))[..., 0]
    assert row["jsd_cuts"] == pytest.approx(jensenshannon(*profiles), rel=1e-4)


def test_attributions_equal_scores_of_substitutions(study: Study):
    model, row = study.model, Genome("genome.fa").fetch("chrC", 0, LENGTH)
    assert model.stack.parts
    assert (model.stack.weights[1:, 1] == 0).all()  # the shape is the network's
    mutants = np.repeat(row[None], 4, axis=0)
    mutants[:, 50] = np.frombuffer(b"ACGT", np.uint8)
    scores = score_sequences(model, [each.tobytes().decode() for each in mutants])
    for name in ("cuts", "cuts_shape"):
        found = explain(model, [row.tobytes().decode()], method=Saturation(), target=name)
        expected = scores[name] - scores[name].mean()
        np.testing.assert_allclose(found.hypothetical[0][50], expected, atol=1e-4)
    np.testing.assert_allclose(model.read(list(mutants))[:, 7, 0], scores["cuts"], atol=1e-4)


def test_tracks_of_another_assembly_are_refused(study: Study):
    with pyBigWig.open("other.bw", "w") as file:
        file.addHeader([("chrA", RECORDS * LENGTH + 1)])
        file.addEntries("chrA", 0, values=[1.0], span=1, step=1)
    text = RUN.replace("minus.bw", "other.bw")
    other = Study(run_file_of(text, Path("run.toml")), "other")
    other.ingest(), other.split()
    with pytest.raises(IntervalError, match="chrA has 11,521 bp in the track, and 11,520"):
        other.train(threads=1)


def test_evaluation_adds_the_bias(study: Study):
    """The tracks themselves as bias: a network without training then predicts them."""
    text = RUN.replace("width =", 'bias = { cuts = ["plus.bw", "minus.bw"] }\nwidth =')
    text = text.replace("max_steps = 160", "max_steps = 1").replace("warmup_steps = 5", "")
    biased = Study(
        run_file_of(text.replace("= 40\nbatch", "= 1\nbatch"), Path("run.toml")), "biased"
    )
    biased.ingest(), biased.split(), biased.train(threads=1)
    metrics = biased.evaluate().metrics["test"]
    assert metrics["model"]["jsd"]["value"] < 0.3 < metrics["model"]["jsd_replicates"]["value"]
