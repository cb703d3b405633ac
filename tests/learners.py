"""Scorers with random weights for the tests of methods."""

import torch

from selfattn_bio.attribution.targets import Target
from selfattn_bio.config import RunFile
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer

CONV = {"kind": "conv", "token_dim": 4, "kernel": 3, "pool": 2, "second_kernel": 3}
SMALL = {
    "kind": "attention",
    "members": 2,
    "embed_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "feedforward_dim": 8,
    "dropout": 0.0,
}
CNN = {
    "kind": "cnn",
    "embed_dim": 4,
    "channels": [4, 4, 4],
    "kernels": [3, 3, 3],
    "pools": [2, 2, 2],
    "hidden_dim": 4,
}
SEQUENCES = ["ACGTTGCATGCATTAGCCAT", "ACGTNGCATG", "TTTGACACATGACGT"]
NO_STEM = SMALL | {"stem": {"kind": "none"}}
WINDOW_CLS = NO_STEM | {
    "pattern": {"kind": "window", "window": 2, "num_global": 1},
    "head": {"kind": "cls"},
}


def learner(objective, model=NO_STEM, alphabet="dna", k=1, stride=1, **data):
    """Return a scorer for any objective, with random weights in float64."""
    torch.manual_seed(0)
    sections = {
        "data": {"alphabet": alphabet, **data},
        "tokens": {"k": k, "stride": stride},
        "training": {"shift": 0},
    }
    run = RunFile.model_validate(sections | {"objective": objective, "model": model})
    network = build_network(run).eval().double()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return Scorer(run, KmerTokenizer(get_alphabet(alphabet), k, stride), network)


CLASSES = {"kind": "multiclass", "column": "c", "classes": ["a", "b", "c"]}
LABELS = {"kind": "labels", "column": "c", "classes": "HEC"}
NUMBERS = {"kind": "regression", "columns": ["a", "b"], "center": [0.0, 0.0], "scale": [1.0, 1.0]}
PARTS = {
    "one": {"kind": "multilabel", "columns": ["a"]},
    "two": {"kind": "multiclass", "column": "c", "classes": ["x", "y"]},
}
POOLED = SMALL | {"stem": CONV}
POOLED_WINDOW = POOLED | {"pattern": {"kind": "window", "window": 2, "num_global": 2}}
TABLE = {"sequences": "s", "targets": "t"}
HEADS = {
    "class": (learner(CLASSES, **TABLE), Target("b"), lambda x: x[:, 1]),
    "label": (
        learner({"kind": "multilabel", "columns": ["a", "b"]}, k=3, **TABLE),
        Target(1),
        lambda x: x[:, 1],
    ),
    "number": (learner(NUMBERS, **TABLE), Target("a"), lambda x: x[:, 0]),
    "part": (
        learner({"kind": "several", "parts": PARTS}, **TABLE),
        Target("two.y"),
        lambda x: x[:, 2],
    ),
    "letter of protein": (
        learner(LABELS, alphabet="protein", **TABLE),
        Target("E", 3, 5),
        lambda x: x[:, 3:5, 1].sum(1),
    ),
    "letter, pooled stem": (
        learner(LABELS, POOLED, **TABLE),
        Target("C", 8),
        lambda x: x[:, 8:, 2].sum(1),
    ),
    "place": (
        learner({"kind": "bins", "points": "p.bed", "bin": 4}, POOLED_WINDOW, sequences="s"),
        Target("-", 2, 5),
        lambda x: x[:, 1:3, 1].sum(1),
    ),
    "masked k-mer": (
        learner({"kind": "masked"}, k=3, sequences="s"),
        Target("ACG", 4, 5),
        lambda x: x[:, 4, 4 + 6],
    ),
}


def scorer_of(model=None, alphabet="dna", k=3):
    torch.manual_seed(0)
    data = {"alphabet": alphabet, "positives": "a", "negatives": "b"}
    run = RunFile.model_validate({"data": data, "tokens": {"k": k}, "model": model or POOLED})
    letters = get_alphabet(alphabet)
    tokenizer = KmerTokenizer(letters, k)
    return Scorer(run, tokenizer, build_network(run).eval())
