"""Test that IPython shows what every method `plot` returns, without magic or pyplot."""

import io

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

import selfattn_bio as sb
from selfattn_bio.evidence.marginalize import Ablation, Marginals, MarginalSpacing
from selfattn_bio.motifs.motif_set import build_motifs
from selfattn_bio.motifs.patterns import SeqletPattern

PLACE = dict.fromkeys(("chrom", "start", "end", "strand"))
BOUNDED = {"auroc": {"value": 0.8, "low": 0.7, "high": 0.9}}
METRICS = {"n": 4, "model": BOUNDED, "baselines": {"gc": BOUNDED}}
CURVES = pd.DataFrame(
    {"unit": "log-odds", "name": "m", "strand": "+", "start": [0, 9], "end": [9, 18]}
    | {"orientation": "++", "distance": [1, 2]}
    | {f"{of}{end}": 0.5 for of in ("effect", "epistasis") for end in ("", "_low", "_high")}
)


def explanation():
    records = pd.DataFrame({"id": ["a"], "target": ["label"], "length": [300], **PLACE})
    scores = np.random.default_rng(0).normal(0, 0.3, (1, 300, 4)).astype("f4")
    letters = np.frombuffer(b"ACGT" * 75, dtype=np.uint8)[None]
    return sb.Explanation(records, letters, scores, scores[..., 0], "dna")


def substitutions():
    rows = [("chr1", p, "A", alt, p % 7 / 7) for p in range(10_001, 10_501) for alt in "CGT"]
    columns = ["chrom", "pos", "ref", "alt", "effect"]
    return sb.Substitutions(pd.DataFrame(rows, columns=columns))


def motifs():
    seqlets = pd.DataFrame({"record": [0], "start": [0], "end": [8], "strand": ["+"]})
    counts = np.eye(4, dtype=int)[np.arange(8) % 4] * 9
    return build_motifs([SeqletPattern(counts, seqlets)] * 3, explanation().records, {})


def evaluation():
    test = pd.DataFrame({"label": [0, 1] * 2, "model": [0.1, 0.8, 0.3, 0.2], "gc": [0.5, 0.6] * 2})
    return sb.Evaluation({"valid": METRICS, "test": METRICS}, {"test": test}, "")


def contacts():
    pairs = pd.DataFrame({"id": ["p"], "i": [0], "j": [9], "score": [0.5]})
    return sb.Contacts({"p": np.eye(40)}, pairs)


@pytest.mark.parametrize(
    "plot",
    [
        *(lambda: explanation().plot(0), lambda: explanation().plot(0, region="all")),
        *(lambda: substitutions().plot(), lambda: substitutions().plot("all")),
        *(lambda: motifs().plot(), lambda: evaluation().plot(), lambda: contacts().plot("p")),
        *(Marginals(CURVES, CURVES, 9).plot, MarginalSpacing(CURVES, CURVES, 9).plot),
        Ablation(CURVES, 0.5, 0.4, 0.6, "log-odds").plot,
    ],
)
def test_plot_is_shown_in_a_notebook(plot) -> None:
    shown, _ = DisplayFormatter().format(plot())
    image = Image.open(io.BytesIO(shown["image/png"]))
    assert 300 < image.width < 1600
    assert 150 < image.height < 1000
