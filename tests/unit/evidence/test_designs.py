"""Test designs by other packages with planted words."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import scorer_of
from letters import BASES, ascii_of
from torch import nn

from selfattn_bio.model.user_module import ModuleNetwork
from selfattn_bio.sequence.kmers import PAD, SPECIAL

WORD, FORBIDDEN = "GATCATAC", "CCGC"
# a forbidden word, and the word with one wrong base twice; the first is protected
START = "ACCGCTGCATGAATTAGATCTTACCATACGTTGCGATGATACGATTAC"
CHANGED = slice(16, 24)


class Words(nn.Module):
    """Score the best match of each word, with a gradient at all positions."""

    def __init__(self, words):
        super().__init__()
        self.table = nn.Parameter(torch.cat([torch.zeros(len(SPECIAL), 4), torch.eye(4)]))
        self.words = [torch.from_numpy(ascii_of(w) == BASES[:, None]).float() for w in words]

    def embed(self, tokens):
        return self.table[tokens]

    def classify(self, embeddings, mask):
        x = embeddings.transpose(1, 2)
        matches = [nn.functional.conv1d(x, word[None])[:, 0] for word in self.words]
        return sum((2 * each).logsumexp(1, keepdim=True) / 2 for each in matches)

    def forward(self, tokens):
        return self.classify(self.embed(tokens), tokens != PAD)


def finder(*words):
    """Return a model that scores these words."""
    network = ModuleNetwork(Words(words), 1, "mine:build", Path("mine.py"))
    return replace(scorer_of(k=1), network=network)


@pytest.fixture(scope="module")
def constrained():
    """Return the class of the documentation."""
    pytest.importorskip("tangermeme")
    page = Path(__file__).parents[3] / "docs/design.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    names = {}
    exec(next(block for block in blocks if "class Constrained" in block), imports(), names)
    return names["Constrained"]


def imports():
    from tangermeme.utils import one_hot_encode, reverse_complement

    return {"nn": nn, "one_hot_encode": one_hot_encode, "reverse_complement": reverse_complement}


def by_tangermeme(network, x, protected):
    from tangermeme.design import greedy_substitution

    return greedy_substitution(network, x, input_mask=~protected, max_iter=20, device="cpu")


def by_ledidi(network, x, protected):
    ledidi = pytest.importorskip("ledidi").ledidi
    options = {"max_iter": 200, "device": "cpu", "random_state": 0, "verbose": False}
    return ledidi(network, x, torch.tensor([[9.0]]), input_mask=protected, **options)


@pytest.mark.parametrize("design", [by_tangermeme, by_ledidi])
def test_designs_have_the_word_and_keep_constraints(constrained, design):
    from tangermeme.utils import characters, one_hot_encode

    x = one_hot_encode(START)[None].float()
    protected = torch.zeros(len(START), dtype=torch.bool)
    protected[CHANGED] = True
    network = constrained(finder(WORD).as_module(), [FORBIDDEN], gc=(0.42, 0.6))
    assert network.broken(x).item() > 1  # the word, and GC below 42 %
    found = design(network, x, protected)
    kept = [characters(each) for each in found[network.broken(found) == 0]]
    assert len(kept) >= len(found) / 2
    assert sum(WORD in each for each in kept) >= len(kept) / 2
    for each in kept:
        assert each[CHANGED] == START[CHANGED] != WORD
        assert FORBIDDEN not in each
        assert "GCGG" not in each
        assert 0.42 <= np.mean([base in "CG" for base in each]) <= 0.6
