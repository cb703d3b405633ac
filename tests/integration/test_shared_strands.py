"""Models whose strands share weights, through the commands, and canonical k-mers: equal strands."""

import numpy as np
import pandas as pd
import pytest
import small_task as st
import torch
from commands import run

from selfattn_bio import config, load, score_sequences
from selfattn_bio.attention.kernels.band import unavailable_reason
from selfattn_bio.attribution import methods
from selfattn_bio.attribution.explain import explain
from selfattn_bio.attribution.explanation import Explanation
from selfattn_bio.attribution.methods import Gradient, Saturation
from selfattn_bio.attribution.rules import gradient_scores
from selfattn_bio.attribution.targets import Target
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.embedding import embed
from selfattn_bio.scoring.paired_scorer import scorer_of
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.scoring.windows import GenomeWindows, SharedStem, strand_outputs
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import tokenizer_of

RUN = """
split = { kind = "random", valid_fraction = 0.3, test_fraction = 0.3 }
stack.parts = ["kmer6_logistic"]
interpret = { max_sequences = 8, database = "none", method = { kind = "attnlrp" } }
[model]
strands = "shared"
members = 2
embed_dim = 8
num_layers = 2
feedforward_dim = 8
stem = { kind = "conv", token_dim = 8, kernel = 5, pool = 2, second_kernel = 3 }
[training]
seeds = 2
max_steps = 80
warmup_steps = 5
learning_rate = 0.02
ema_decay = 0.9
evaluate_every = 40
batch_size = 32
[variants.cnn]
training = { seeds = 1, max_steps = 2, evaluate_every = 2 }
[variants.cnn.model]
kind = "cnn"
members = 1
channels = [8, 8, 8]
kernels = [7, 3, 3]
pools = [2, 2, 2]
hidden_dim = 8
"""
NUMBER, LENGTH, WORD = 150, 40, "GACCAGCA"
MODELS, CNN = ["model", "members/2/model"], "variants/cnn/model"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Return the working folder of a task; positives have GACCAGCA on either strand."""
    folder = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        texts = st.planted_texts(rng, NUMBER, LENGTH, WORD)
        st.write_fasta("positives.fa", [*texts[::2], *other_strand(texts[1::2])])
        st.write_fasta("negatives.fa", st.random_texts(rng, NUMBER, LENGTH))
        (folder / "run.toml").write_text(st.small(RUN))
        st.run_steps("ingest split train")
        for part in ("members/2", "variants/cnn"):
            run("train", f"./{part}", "--threads", 1)
        st.run_steps("evaluate explain")
        yield folder


def sequences(number=6):
    return st.random_texts(np.random.default_rng(1), number, 30, 60)


def other_strand(texts):
    return [st.reverse_complement(text) for text in texts]


def test_commands_train_and_evaluate_the_model(task):
    test = st.read_json(task / "metrics.json")["test"]
    assert test["model"]["auroc"]["value"] > 0.8
    for name in MODELS:
        provenance = st.read_json(task / name / "provenance.json")
        assert provenance["calibration"]["strands"] == "both"
    assert "weights shared by both strands" in (task / "model/README.md").read_text()
    assert st.read_json(task / "baselines/kmer6_logistic/baseline.json")["strands"] == "both"


@pytest.mark.parametrize("folders", [MODELS, ["model"], [CNN]], ids=["members", "stack", "cnn"])
def test_scores_equal_the_other_strand(task, folders):
    model = load([task / folder for folder in folders])
    assert model.both_strands
    given, other = (score_sequences(model, of(sequences())) for of in (list, other_strand))
    np.testing.assert_allclose(given["logit"], other["logit"], rtol=0, atol=1e-5)
    assert given["logit"].std() > 1e-3
    pd.testing.assert_frame_equal(given, score_sequences(model, sequences(), rc=True))


def test_explain_command_finds_the_motif(task):
    explained = Explanation.load(task / "attribution")
    found = []
    for row, letters in enumerate(explained.letters):
        text = letters.tobytes().decode()
        if (at := max(text.find(WORD), text.find(st.reverse_complement(WORD)))) >= 0:
            importance = np.linalg.norm(explained.hypothetical[row], axis=1)
            found.append(importance[at : at + 8].mean() / importance.mean())
    assert np.mean(found) > 1.5


def test_embeddings_swap_halves(task):
    both = (sequences(), other_strand(sequences()))
    given, other = (embed(task / "model", texts).vectors for texts in both)
    assert given.shape == (6, 2 * 2 * 8)
    np.testing.assert_allclose(given, np.roll(other, 16, axis=1), rtol=0, atol=1e-5)
    assert embed(task / "model", []).vectors.shape == (0, 32)
    places = embed(task / "model", sequences(), per_token=True)
    assert len(places) == sum(-(-(len(text) - 2) // 2) for text in sequences())


def test_shared_stem_scan_equals_single_windows(task, monkeypatch):
    scorer = load(task / "model")
    # without the stack, whose parts read complete windows
    scorer, windows = Scorer(scorer.run, scorer.tokenizer, scorer.network), GenomeWindows(60, 8)
    bases = np.frombuffer(b"ACGT", np.uint8)
    letters = np.random.default_rng(0).choice(bases, windows.span(9))
    assert SharedStem.of(scorer, windows) is not None
    views = [letters[start : start + 60] for start in range(0, 72, 8)]
    found = strand_outputs(scorer, letters, windows)
    np.testing.assert_allclose(found, scorer.outputs(views)[None], rtol=0, atol=1e-5)
    monkeypatch.setattr(SharedStem, "of", lambda *_: None)
    np.testing.assert_allclose(found, strand_outputs(scorer, letters, windows), rtol=0, atol=1e-5)


def network_of(k=1, embedding=1.0, **model):
    """A scorer with random weights."""
    torch.manual_seed(0)
    stem = {"kind": "conv", "token_dim": 6, "kernel": 3, "pool": 1, "second_kernel": 3}
    section = {"kind": "attention", "strands": "shared", "members": 2, "embed_dim": 8}
    section |= {"num_heads": 2, "feedforward_dim": 8, "stem": stem}
    sections = {"data": {"positives": "a", "negatives": "b"}, "tokens": {"k": k}, "variants": {}}
    run_file = config.RunFile.model_validate(sections | {"model": section | model})
    network = build_network(run_file).double().eval()
    for name, parameter in network.named_parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
        parameter.data *= embedding if name.startswith("embedding") else 1
    return scorer_of(run_file, network)


@pytest.mark.parametrize("k", [1, 3])
def test_gradient_scores_are_substitution_effects(k):
    """With small embeddings the network is linear in them, so both methods must agree."""
    scorer = network_of(k, embedding=1e-5)
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences(2)]
    each = (method.scores(scorer, letters, Target()) for method in (Gradient(), Saturation()))
    for found, measured in zip(*each, strict=True):
        np.testing.assert_allclose(found, measured, rtol=0, atol=0.01 * np.abs(measured).max())
        assert measured.std() > 1e-8


COPIES = methods.AttnLRPCopies(copies=2, fraction=0.0)


@pytest.mark.parametrize("method", [methods.AttnLRP(), COPIES, Gradient(), Saturation()])
def test_attributions_of_other_strand_are_mirrored(method):
    scorer = network_of(3)
    both = (sequences(), other_strand(sequences()))
    given, other = (explain(scorer, texts, method=method).hypothetical for texts in both)
    for row, text in enumerate(sequences()):
        mirrored = other[row, : len(text)][::-1, ::-1]
        np.testing.assert_allclose(given[row, : len(text)], mirrored, rtol=0, atol=1e-6)
    assert np.abs(given).max() > 1e-3


def test_attention_is_read_on_the_given_strand():
    scorer = network_of(num_layers=1)
    given = scorer.run.model.model_copy(update={"strands": "given"})
    run_file = scorer.run.model_copy(update={"model": given})
    plain = scorer_of(run_file, build_network(run_file).double().eval())
    plain.network.load_state_dict(scorer.network.state_dict())
    letters = [np.frombuffer(text.encode(), np.uint8) for text in sequences()]
    found, expected = (
        methods.Received().attribution(each, letters, Target()) for each in (scorer, plain)
    )
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
        assert one.any()


def test_score_reads_each_sequence_once(monkeypatch):
    scorer, read, plain = network_of(), [], Scorer.of_each
    monkeypatch.setattr(Scorer, "of_each", lambda *inputs: read.append(1) or plain(*inputs))
    text = np.frombuffer(sequences()[0].encode(), np.uint8)
    given, other = (scorer.logits([each]) for each in (text, DNA.reverse_complement(text)))
    np.testing.assert_allclose(given, other, rtol=0, atol=1e-10)
    assert len(read) == 2


# ------------ canonical k-mers with undirected positions
SYMMETRIC = {name: {"kind": name} for name in ("t5", "alibi", "none")}
SYMMETRIC["t5"]["symmetric"] = True


REASON = unavailable_reason()
needs_band = pytest.mark.skipif(REASON is not None, reason=f"no band kernel here: {REASON}")


def canonical_scorer(position, canonical=True, pattern=None, kernel="auto", dtype=torch.float64):
    torch.manual_seed(0)
    model = {"kind": "attention", "stem": {"kind": "none"}, "position": position}
    model |= {"pattern": pattern or {"kind": "full"}, "kernel": kernel}
    # the fused kernels need heads of size 16
    model["embed_dim"] = 16 if dtype == torch.float64 else 64
    model["head"] = {"kind": "pooling", "parts": 1}
    sections = {"data": {"positives": "a", "negatives": "b"}, "model": model}
    sections["tokens"] = {"k": 3, "canonical": canonical}
    run = config.RunFile.model_validate(sections)
    network = build_network(run).to(dtype).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Scorer(run, tokenizer_of(run), network)


def both_strands(scorer):
    rng = np.random.default_rng(0)
    sequences = [
        rng.choice(np.frombuffer(b"ACGTN", dtype=np.uint8), length, p=[0.24] * 4 + [0.04])
        for length in (30, 90, 200)
    ]
    other = [DNA.reverse_complement(sequence) for sequence in sequences]
    return scorer.logits(sequences), scorer.logits(other)


WINDOW = {"kind": "window", "window": 20}
STRIDED = {"kind": "strided", "window": 5, "stride": 7}
PATTERNS = {"full": {"kind": "full"}, "window": WINDOW, "strided": STRIDED}


@pytest.mark.parametrize("kernel", ["auto", "reference", "slab"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("position", SYMMETRIC.values(), ids=SYMMETRIC)
def test_both_strands_score_the_same(position, pattern, kernel):
    forward, backward = both_strands(canonical_scorer(position, pattern=pattern, kernel=kernel))
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
    assert np.ptp(forward) > 0.01


@needs_band
@pytest.mark.parametrize(
    ("kernel", "name"),
    [("band", "full"), ("band", "window"), ("joint", "strided"), ("slab", "window")],
)
@pytest.mark.parametrize("position", SYMMETRIC.values(), ids=SYMMETRIC)
def test_both_strands_score_the_same_in_float32(position, name, kernel):
    settings = {"pattern": PATTERNS[name], "kernel": kernel, "dtype": torch.float32}
    forward, backward = both_strands(canonical_scorer(position, **settings))
    np.testing.assert_allclose(forward, backward, rtol=1e-5, atol=1e-6)
    assert np.ptp(forward) > 0.01


BIGBIRD = {"kind": "bigbird", "window": 5, "block": 8, "num_global": 0}
DIRECTIONAL = {
    "T5 of both directions": ({"kind": "t5"}, True, None),
    "Shaw": ({"kind": "shaw"}, True, None),
    "k-mers as they are": (SYMMETRIC["t5"], False, None),
    "causal": (SYMMETRIC["t5"], True, WINDOW | {"causal": True}),
    "global tokens": (SYMMETRIC["t5"], True, WINDOW | {"num_global": 1}),
    "blocks": (SYMMETRIC["t5"], True, {"kind": "block_local", "block": 16}),
    "BigBird": (SYMMETRIC["t5"], True, BIGBIRD),
}


@pytest.mark.parametrize(
    ("position", "canonical", "pattern"), DIRECTIONAL.values(), ids=DIRECTIONAL
)
def test_directional_models_score_strands_differently(position, canonical, pattern):
    forward, backward = both_strands(canonical_scorer(position, canonical, pattern))
    assert np.abs(forward - backward).max() > 1e-4


def test_attributions_of_other_strand_are_reversed():
    scorer = canonical_scorer(SYMMETRIC["t5"])
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", dtype=np.uint8), (1, 40))
    both = (letters, DNA.reverse_complement(letters))
    forward, backward = (gradient_scores(scorer, x) for x in both)
    np.testing.assert_allclose(forward[0], backward[0, ::-1, ::-1], atol=1e-6)
    assert np.abs(forward).max() > 1e-3
