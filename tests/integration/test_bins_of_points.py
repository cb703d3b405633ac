"""Train objective 'bins' on a planted directed word in random DNA, in bins of 20 bp."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import exit_code, run
from small_task import read_json, read_tsv, run_steps, small

from selfattn_bio.sequence.alphabet import DNA

WORD = b"TATCGATACG"
BASELINES = "bin_constant", "bin_gc", "bin_kmers", "bin_trees"
STEM = '{ kind = "tower", channels = [16], kernels = [11, 3], pools = [5, 2]'
RUN = f"""
data.sequences = "s.fa"
split = {{ kind = "chromosome", valid = ["c1"], test = ["c2"] }}
tokens.k = 1
evaluation = {{ bootstraps = 50, block = BLOCK }}
objective = {{ kind = "bins", points = "points.bed", bin = 20 }}
[model]
num_heads = 1
stem = {STEM}, token_dim = 4, residual_kernel = 3 }}
pattern = {{ kind = "window", window = 4, num_global = 1 }}
[stack]
parts = ["bin_kmers"]
[variants.dilated]
model = {{ kind = "dilated", embed_dim = 16, dilations = [1], stem = {STEM} }} }}
training.max_steps = 5
[training]
max_steps = STEPS
learning_rate = 1e-2
warmup_steps = 10
evaluate_every = 50
ema_decay = 0.9
shift = 19
reverse_complement = true
"""


@pytest.fixture
def task(here):
    """Write three chromosomes of 8,000 bp with 60 directed words; windows of 420 bp every 200."""
    rng, fasta, bed = np.random.default_rng(0), [], []
    for chrom in ("c0", "c1", "c2"):
        letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), 8000)
        for at in np.sort(rng.choice(np.arange(1, 265), 60, replace=False)) * 30:
            word, strand = np.frombuffer(WORD, np.uint8), "+-"[int(rng.integers(2))]
            letters[at : at + len(word)] = word if strand == "+" else DNA.reverse_complement(word)
            first = at if strand == "+" else at + len(word) - 1
            bed.append(f"{chrom}\t{first}\t{first + 1}\tp\t0\t{strand}\n")
        for start in range(0, len(letters) - 420, 200):
            place = f"chrom={chrom} start={start} end={start + 420} strand=+"
            text = bytes(letters[start : start + 420]).decode()
            fasta.append(f">{chrom}_{start} {place}\n{text}\n")
    Path("s.fa").write_text("".join(fasta))
    Path("points.bed").write_text("".join(bed))

    def go(steps=100, block=200):
        text = RUN.replace("STEPS", str(steps)).replace("BLOCK", str(block))
        Path("run.toml").write_text(small(text))
        run_steps("ingest split train")
        run("train ./variants/dilated --threads 1")
        return exit_code("evaluate .")

    return go


@pytest.mark.slow
def test_planted_words_are_found_on_their_strand(task, capsys):
    assert task() == 0
    print(capsys.readouterr().out)
    metrics = read_json("metrics.json")
    test = metrics["test"]
    assert (test["n"], test["units"]) == (7820 // 20, 40)
    auprc = test["model"]["auprc"]
    assert auprc["value"] > 0.9
    assert auprc["low"] <= auprc["value"] <= auprc["high"]
    assert set(test["baselines"]) == {"network", "dilated", "dilated+stack", *BASELINES}
    assert metrics["differences"]["baselines"]["bin_gc"]["auprc"]["low"] > 0.3
    run_steps("audit report")
    page = Path("report.html").read_text()
    assert "60 of" in page
    assert page.count("<figure") == 5
    calls = r"Calls of model: \d+ % contain a point, and \d+ % are at most one bin"
    assert re.search(calls, page)
    assert "Each of the 38 test records was compared with the records that the model" in page
    names = ["chrom", "start", "label", "end", "predicted", "model", "network"]
    table = read_tsv("predictions/test.tsv")
    assert list(table) == [*names, "dilated", "dilated+stack", *BASELINES]
    assert {path.name for path in Path("baselines").iterdir()} == {*BASELINES}
    run("score --model baselines/bin_kmers --fasta s.fa --output kmers.tsv")
    assert len(read_tsv("kmers.tsv")) == 3 * 38 * 21
    letters = "ACCA" * 50 + WORD.decode() + "ACCA" * 50
    Path("new.fa").write_text(f">a\n{letters}\n>b\n{letters[:405]}\n")
    run("score --model model --fasta new.fa --output scores.tsv")
    scores = read_tsv("scores.tsv")
    assert scores["id"].tolist() == ["a"] * 20 + ["b"] * 20
    best = scores.iloc[scores["probability"].idxmax()]
    assert best["start"] == 200
    assert best["probability_+"] > 5 * best["probability_-"]


def test_bins_that_cannot_be_evaluated_stop_before_training(task, capsys):
    """Report windows off the bin grid, a split without points, and points in a single block."""
    bed, fasta = Path("points.bed").read_text(), Path("s.fa").read_text()
    moved = re.sub(r"(chrom=c2 start=\d*)0 end=(\d*)0", r"\g<1>7 end=\g<2>7", fasta)
    Path("s.fa").write_text(moved)
    with pytest.raises(AssertionError):
        task(steps=2)
    assert "do not begin at multiples of the bin size (20 bp, " in capsys.readouterr().err
    Path("s.fa").write_text(fasta)
    Path("points.bed").write_text(re.sub("^c2.*\n", "", bed, flags=re.MULTILINE))
    with pytest.raises(AssertionError):
        task(steps=2)
    assert "metrics need bins with and without one" in capsys.readouterr().err
    assert not Path("model").exists()
    Path("points.bed").write_text(bed)
    assert task(steps=2, block=100_000) == 1
    message = "the points of the validation split are in 1 block of 100,000 bp, and a confidence"
    assert message in capsys.readouterr().err
    dilated = Path("variants/dilated/model/run.toml")
    of_points = r'points_sha256 = "[0-9a-f]+"'
    dilated.write_text(re.sub(of_points, 'points_sha256 = "0123456789ab"', dilated.read_text()))
    assert exit_code("evaluate .") == 1
    message = "points.bed: variants/dilated/model was trained on other targets: their sha256 begins"
    assert message in capsys.readouterr().err
