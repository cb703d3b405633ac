"""Test designs by other packages with planted words, and `judge`."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import HEADS, scorer_of
from letters import BASES, ascii_of
from torch import nn

import selfattn_bio as sb
from selfattn_bio.errors import ArgumentError
from selfattn_bio.model.user_module import ModuleNetwork
from selfattn_bio.scoring.loading import SHIPPED
from selfattn_bio.scoring.reference import Reference
from selfattn_bio.scoring.scorer import Ensemble
from selfattn_bio.sequence.alphabet import DNA
from selfattn_bio.sequence.kmers import PAD, SPECIAL

WORD, ERROR, FORBIDDEN = "GATCATAC", "TTGGAT", "CCGC"
RECORDS = [bytes(row).decode() for row in np.random.default_rng(0).choice(BASES, (40, 48))]
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
    letters = list(map(ascii_of, RECORDS))
    reference = Reference.of(DNA, letters[:30], letters[30:], {})
    return replace(scorer_of(k=1), network=network, reference=reference)


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


def test_judge_reports_the_drop_and_the_nearest_record():
    made, other = finder(WORD, ERROR), finder(WORD)
    copied = RECORDS[3][:20] + WORD + RECORDS[3][28:]
    exploiting = RECORDS[5][:20] + WORD + "A" * 14 + ERROR
    turned = bytes(DNA.reverse_complement(ascii_of(RECORDS[7]))).decode()
    found = sb.judge(
        [copied, exploiting, turned, "ACAC" * 20], other, made_by=made, training=RECORDS
    )
    table = found.table
    letters = [ascii_of(each) for each in (copied, exploiting, turned, "ACAC" * 20)]
    np.testing.assert_allclose(table["score"], made.log_odds(letters))
    np.testing.assert_allclose(table["judged"], other.log_odds(letters))
    np.testing.assert_allclose(table["drop"], table["score"] - table["judged"])
    assert table["drop"].idxmax() == 1
    assert table["neighbour"].tolist() == ["3", "5", "7", ""]
    assert table["strand"].tolist()[:3] == ["+", "+", "-"]
    assert table["duplicate"].tolist() == ["", "", "7", ""]
    assert 0 < table["similarity"][1] < table["similarity"][0] < table["similarity"][2] == 1
    assert table["out_of_distribution"].tolist()[2:] == ["no", "length"]
    assert repr(found).startswith("Judgement of 4 designs: mean score ")
    assert repr(found).endswith("in the training records: 1")


def test_judge_reads_every_objective():
    for name in ("class", "number", "part", "letter, pooled stem"):
        scorer, target, _ = HEADS[name]
        (output,) = (o for o in scorer.objective.outputs if o.name == target.output)
        other = replace(scorer)
        found = sb.judge([START], other, made_by=scorer, training=[START], target=output.name)
        assert found.unit == output.unit
        expected = output.value(scorer.outputs([ascii_of(START)]))
        np.testing.assert_allclose(found.table["score"], expected)
        assert "out_of_distribution" not in found.table
    made = finder(WORD)
    pair = Ensemble((made, finder(ERROR)))
    found = sb.judge([START], pair, made_by=finder(WORD), training=[START])
    expected = np.mean([each.log_odds([ascii_of(START)]) for each in pair.members])
    np.testing.assert_allclose(found.table["judged"], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"designs": []}, "there are no designs"),
        ({"training": []}, "there are no training records"),
        ({"other": scorer_of(alphabet="protein")}, "reads dna, but the other model reads protein"),
        ({"other": HEADS["number"][0]}, "no output ''; the outputs are a, b"),
        ({"other": HEADS["masked k-mer"][0]}, "objective 'masked' does not score sequences"),
        ({"made_by": "other"}, "made the designs, so it cannot judge them"),
    ],
)
def test_judge_refuses(changes, message):
    options = {"designs": [START], "other": finder(WORD), "made_by": finder(WORD)}
    options |= {"training": RECORDS} | changes
    if options["made_by"] == "other":
        options["made_by"] = options["other"]
    with pytest.raises(ArgumentError, match=message):
        sb.judge(options.pop("designs"), options.pop("other"), **options)


def test_a_copy_of_the_model_does_not_judge(tmp_path):
    copy = shutil.copytree(SHIPPED / "promoter", tmp_path / "copy")
    with pytest.raises(ArgumentError, match="copy made the designs, so it cannot judge them"):
        sb.judge([START], copy, made_by="promoter", training=RECORDS)
