"""Scorers with random weights for the tests of methods, and queries on CUDA."""

import torch

from selfattn_bio.attribution.targets import Target
from selfattn_bio.config import RunFile
from selfattn_bio.model.build import build_network
from selfattn_bio.scoring.scorer import Scorer
from selfattn_bio.sequence.alphabet import get_alphabet
from selfattn_bio.sequence.kmers import KmerTokenizer

CONV = {"kind": "conv", "token_dim": 4, "kernel": 3, "pool": 2, "second_kernel": 3}
SMALL = {"kind": "attention", "members": 2, "embed_dim": 8, "num_layers": 2, "num_heads": 2}
SMALL |= {"feedforward_dim": 8, "dropout": 0.0}
CNN = {"kind": "cnn", "embed_dim": 4, "channels": [4, 4, 4], "kernels": [3, 3, 3]}
CNN |= {"pools": [2, 2, 2], "hidden_dim": 4}
SEQUENCES = ["ACGTTGCATGCATTAGCCAT", "ACGTNGCATG", "TTTGACACATGACGT"]
NO_STEM = SMALL | {"stem": {"kind": "none"}}
WINDOW_CLS = NO_STEM | {
    "pattern": {"kind": "window", "window": 2, "num_global": 1},
    "head": {"kind": "cls"},
}


def learner(objective, model=NO_STEM, alphabet="dna", k=1, stride=1, **data):
    """Return a scorer for any objective, with random weights in float64."""
    torch.manual_seed(0)
    run = RunFile(
        data={"alphabet": alphabet, **data},
        tokens={"k": k, "stride": stride},
        training={"shift": 0},
        objective=objective,
        model=model,
    )
    network = build_network(run).eval().double()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return Scorer(run, KmerTokenizer(get_alphabet(alphabet), k, stride), network)


def targets_learner(objective, *model, **settings):
    return learner(objective, *model, sequences="s", targets="t", **settings)


CLASSES = {"kind": "multiclass", "column": "c", "classes": ["a", "b", "c"]}
NUMBERS = {"kind": "regression", "columns": ["a", "b"], "center": [0.0, 0.0], "scale": [1.0, 1.0]}
MARKS = {"kind": "multilabel", "columns": ["a", "b"]}
PARTS = {
    "one": {"kind": "multilabel", "columns": ["a"]},
    "two": {"kind": "multiclass", "column": "c", "classes": ["x", "y"]},
}
SEVERAL = {"kind": "several", "parts": PARTS}
LETTERS = {"kind": "labels", "column": "c", "classes": "HEC"}
BINS = {"kind": "bins", "points": "p.bed", "bin": 4}
POOLED = SMALL | {"stem": CONV}
WINDOWED = POOLED | {"pattern": {"kind": "window", "window": 2, "num_global": 2}}
HEADS = {  # a scorer, a target, and its value in the outputs
    "class": (targets_learner(CLASSES), Target("b"), lambda x: x[:, 1]),
    "label": (targets_learner(MARKS, k=3), Target(1), lambda x: x[:, 1]),
    "number": (targets_learner(NUMBERS), Target("a"), lambda x: x[:, 0]),
    "part": (targets_learner(SEVERAL), Target("two.y"), lambda x: x[:, 2]),
    "letter of protein": (
        *(targets_learner(LETTERS, alphabet="protein"), Target("E", 3, 5)),
        lambda x: x[:, 3:5, 1].sum(1),
    ),
    "letter, pooled stem": (
        *(targets_learner(LETTERS, POOLED), Target("C", 8)),
        lambda x: x[:, 8:, 2].sum(1),
    ),
    "place": (
        *(learner(BINS, WINDOWED, sequences="s"), Target("-", 2, 5)),
        lambda x: x[:, 1:3, 1].sum(1),
    ),
    "masked k-mer": (
        *(learner({"kind": "masked"}, k=3, sequences="s"), Target("ACG", 4, 5)),
        lambda x: x[:, 4, 4 + 6],
    ),
}


def scorer_of(model=None, alphabet="dna", k=3):
    torch.manual_seed(0)
    data = {"alphabet": alphabet, "positives": "a", "negatives": "b"}
    run = RunFile(data=data, tokens={"k": k}, model=model or POOLED)
    return Scorer(run, KmerTokenizer(get_alphabet(alphabet), k), build_network(run).eval())


class OnCuda:
    """The attributes of queries on CUDA that kernels read."""

    device = torch.device("cuda")

    def __init__(self, q):
        self.dtype, self.shape = q.dtype, q.shape
