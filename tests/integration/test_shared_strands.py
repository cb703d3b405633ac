"""A model with `strands = "shared"` through the commands, and its attributions on both strands."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from selfattn_bio import config, load, score_sequences
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import (
    AttnLRP,
    AttnLRPCopies,
    Gradient,
    GradientRollout,
    Received,
    Saturation,
)
from selfattn_bio.attribution.targets import Target
from selfattn_bio.cli.main import main
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.windows import GenomeWindows, SharedStem, strand_logits
from selfattn_bio.sequence.alphabet import DNA

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
tokens = { k = 3 }
stack = { parts = ["kmer6_logistic"] }
evaluation = { bootstraps = 20 }
interpret = { max_sequences = 8, database = "none", method = { kind = "attnlrp" } }

[data]
positives = "p.fa"
negatives = "n.fa"

[model]
kind = "attention"
strands = "shared"
members = 2
embed_dim = 8
num_layers = 2
num_heads = 2
feedforward_dim = 8
dropout = 0.0
stem = { kind = "conv", token_dim = 8, kernel = 5, pool = 2, second_kernel = 3 }
gates = { kind = "hard_concrete" }
exits = { kind = "confidence" }

[training]
seeds = 2
max_steps = 80
warmup_steps = 5
learning_rate = 0.02
ema_decay = 0.9
evaluate_every = 40
batch_size = 32

[variants.cnn]
model.kind = "cnn"
model.members = 1
model.channels = [8, 8, 8]
model.kernels = [7, 3, 3]
model.pools = [2, 2, 2]
model.hidden_dim = 8
training = { seeds = 1, max_steps = 2, evaluate_every = 2 }
"""
NUMBER, LENGTH = 150, 40
MODELS = ["members/1", "members/2"]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """The working folder of a trained and judged task; positives have GACCAGCA on either strand."""
    folder = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    for name in "pn":
        rows = ["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(NUMBER)]
        if name == "p":
            at = rng.integers(0, LENGTH - 8, NUMBER)
            rows = [
                row[:i] + ("GACCAGCA", "TGCTGGTC")[i % 2] + row[i + 8 :]
                for row, i in zip(rows, at, strict=True)
            ]
        (folder / f"{name}.fa").write_text(
            "".join(f">{name}{i}\n{row}\n" for i, row in enumerate(rows))
        )
    (folder / "run.toml").write_text(RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shared = ["--run-file", "run.toml", "--corpus", "corpus", "--split", "split.tsv"]
        train = ["train", *shared, "--threads", "1"]
        commands = [
            ["ingest", "--run-file", "run.toml", "--output", "corpus"],
            ["split", "--run-file", "run.toml", "--corpus", "corpus", "--output", "split.tsv"],
            *(
                [*train, "--member", str(i), "--output", output]
                for i, output in enumerate(MODELS, start=1)
            ),
            [*train, "--variant", "cnn", "--output", "cnn"],
            ["evaluate", *shared, "--model", *MODELS, "--variant", "cnn=cnn", "--output", "."],
            ["explain", *shared, "--model", MODELS[0], "--output", "attribution"],
            ["prune", "--model", MODELS[0], "--output", "pruned"],
        ]
        assert [main(each) for each in commands] == [0] * len(commands)
        yield folder


def sequences(number=6, seed=1):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGT"), length)) for length in rng.integers(30, 60, number)]


def other_strand(texts):
    return [text.translate(str.maketrans("ACGT", "TGCA"))[::-1] for text in texts]


def test_commands_train_and_evaluate_the_model(task):
    metrics = json.loads((task / "metrics.json").read_text())
    assert metrics["test"]["model"]["auroc"]["value"] > 0.8
    assert 1 <= metrics["test"]["layers"]["mean"] <= metrics["test"]["layers"]["of"] == 2
    for name in MODELS:
        assert (
            json.loads((task / name / "provenance.json").read_text())["calibration"]["strands"]
            == "both"
        )
    assert "weights shared by both strands" in (task / MODELS[0] / "README.md").read_text()
    assert (
        json.loads((task / "baselines" / "kmer6_logistic" / "baseline.json").read_text())["strands"]
        == "both"
    )


@pytest.mark.parametrize(
    "folders", [MODELS, MODELS[:1], ["pruned"], ["cnn"]], ids=["members", "stack", "pruned", "cnn"]
)
def test_scores_equal_the_other_strand(task, folders):
    model = load([task / folder for folder in folders])
    assert model.both_strands
    given, other = (
        score_sequences(model, sequences()),
        score_sequences(model, other_strand(sequences())),
    )
    np.testing.assert_allclose(given["logit"], other["logit"], rtol=0, atol=1e-5)
    assert given["logit"].std() > 1e-3
    pd.testing.assert_frame_equal(given, score_sequences(model, sequences(), rc=True))


def test_pruned_model_has_the_same_scores(task):
    model, pruned = (
        score_sequences(task / name, sequences())["logit"] for name in (MODELS[0], "pruned")
    )
    np.testing.assert_allclose(model, pruned, rtol=0, atol=1e-5)


def test_explain_command_finds_the_motif(task):
    explained = Explanation.load(task / "attribution")
    found = []
    for row, letters in enumerate(explained.letters):
        text = letters.tobytes().decode()
        if (at := max(text.find("GACCAGCA"), text.find("TGCTGGTC"))) >= 0:
            importance = np.linalg.norm(explained.hypothetical[row], axis=1)
            found.append(importance[at : at + 8].mean() / importance.mean())
    assert np.mean(found) > 1.5


def test_embeddings_swap_halves(task):
    given, other = (
        embed(task / MODELS[0], texts).vectors for texts in (sequences(), other_strand(sequences()))
    )
    assert given.shape == (6, 2 * 2 * 8)
    np.testing.assert_allclose(given, np.roll(other, 16, axis=1), rtol=0, atol=1e-5)
    assert embed(task / MODELS[0], []).vectors.shape == (0, 32)
    places = embed(task / MODELS[0], sequences(), per_token=True)
    assert len(places) == sum(-(-(len(text) - 2) // 2) for text in sequences())


def test_shared_stem_scan_equals_single_windows(task, monkeypatch):
    scorer = load(task / "pruned")
    scorer = Scorer(
        scorer.run, scorer.tokenizer, scorer.network
    )  # without the stack, whose parts read complete windows
    windows, letters = (
        GenomeWindows(60, 8),
        np.random.default_rng(0).choice(
            np.frombuffer(b"ACGT", np.uint8), GenomeWindows(60, 8).reach(9)
        ),
    )
    assert SharedStem.of(scorer, windows) is not None
    views = [letters[start : start + 60] for start in range(0, 72, 8)]
    found = strand_logits(scorer, letters, windows)
    assert found.shape == (1, 9)
    np.testing.assert_allclose(found[0], scorer.logits(views), rtol=0, atol=1e-5)
    monkeypatch.setattr(SharedStem, "of", lambda *_: None)
    np.testing.assert_allclose(found, strand_logits(scorer, letters, windows), rtol=0, atol=1e-5)


def network_of(k=1, embedding=1.0, **model):
    """A scorer with random weights, without exits."""
    torch.manual_seed(0)
    stem = {"kind": "conv", "token_dim": 6, "kernel": 3, "pool": 1, "second_kernel": 3}
    section = {
        "kind": "attention",
        "strands": "shared",
        "members": 2,
        "embed_dim": 8,
        "num_heads": 2,
        "feedforward_dim": 8,
        "stem": stem,
    }
    data = {"positives": "a", "negatives": "b"}
    run = config.RunFile.model_validate(
        {"data": data, "tokens": {"k": k}, "model": section | model, "variants": {}}
    )
    network = build_network(run).double().eval()
    for name, parameter in network.named_parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
        parameter.data *= embedding if name.startswith("embedding") else 1
    return scorer_of(run, network)


@pytest.mark.parametrize("k", [1, 3])
def test_gradient_scores_are_substitution_effects(k):
    """With small embeddings the network is linear in them, so both methods must agree."""
    scorer = network_of(k, embedding=1e-5)
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences(2)]
    for found, measured in zip(
        *(method.scores(scorer, letters, Target()) for method in (Gradient(), Saturation())),
        strict=True,
    ):
        np.testing.assert_allclose(found, measured, rtol=0, atol=0.01 * np.abs(measured).max())
        assert measured.std() > 1e-8


@pytest.mark.parametrize(
    "method",
    [AttnLRP(), AttnLRPCopies(copies=2, share=0.0), Gradient(), Saturation()],
    ids=lambda each: each.name,
)
def test_attributions_of_other_strand_are_mirrored(method):
    scorer = network_of(3)
    given, other = (
        explain(scorer, texts, method=method).hypothetical
        for texts in (sequences(), other_strand(sequences()))
    )
    for row, text in enumerate(sequences()):
        np.testing.assert_allclose(
            given[row, : len(text)], other[row, : len(text)][::-1, ::-1], rtol=0, atol=1e-6
        )
    assert np.abs(given).max() > 1e-3


@pytest.mark.parametrize("method", [Received(), GradientRollout()], ids=lambda each: each.name)
def test_attention_is_read_on_the_given_strand(method):
    scorer = network_of(num_layers=1)
    run = scorer.run.model_copy(
        update={"model": scorer.run.model.model_copy(update={"strands": "given"})}
    )
    plain = scorer_of(run, build_network(run).double().eval())
    plain.network.load_state_dict(scorer.network.state_dict())
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences()]
    found, expected = (method.attribution(each, letters, Target()) for each in (scorer, plain))
    share = 2 if method.name == "gradient_rollout" else 1  # a strand has half of the mean
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(share * one, two, rtol=1e-5, atol=1e-7)
        assert one.any()


def test_score_reads_each_sequence_once(monkeypatch):
    scorer, read = network_of(), []
    monkeypatch.setattr(
        Scorer,
        "_strand_outputs",
        lambda *inputs, plain=Scorer._strand_outputs: read.append(1) or plain(*inputs),
    )
    text = np.frombuffer(sequences()[0].encode(), np.uint8)
    np.testing.assert_allclose(
        scorer.logits([text]), scorer.logits([DNA.reverse_complement(text)]), rtol=0, atol=1e-10
    )
    assert len(read) == 2
